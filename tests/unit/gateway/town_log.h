/* town_log.h - a town whose log takes nothing for a while, or whose tail brings nothing; and one whose
 * pods make calls, to a Discord that is not there. */
#ifndef TESTS_TOWN_LOG_H
#define TESTS_TOWN_LOG_H

#include "gateway/discord_rest.h"
#include "tests/unit/gateway/town.h"

/* ---- the stream of the guild's log ---- */

static UNUSED json_t *log_stream_call(struct town *t, const char *verb, const char *body)
{
    CLEANUP(xfree)
    char *api = xasprintf("$JS.API.STREAM.%s.%s", verb, subject_log_stream(t->guild).text);
    const struct bus_out out = { .subject = api, .data = body, .size = strlen(body) };
    json_t *root = NULL;
    struct err err;
    char *data;
    size_t size;

    assert_int_equal(bus_request_wait(t->bus, &out, 5000, &data, &size, &err), STATUS_OK);
    assert_int_equal(json_parse(data, size, &root, &err), STATUS_OK);
    if (json_object_get(root, "error"))
        fail_msg("%s: %.*s", api, (int)size, data);
    free(data);
    return root;
}

/* value NULL: the setting goes. */
static UNUSED void log_stream_set(struct town *t, const char *setting, json_t *value)
{
    CLEANUP(json_decref) json_t *info = log_stream_call(t, "INFO", "");
    json_t *config = json_object_get(info, "config");

    if (value)
        json_object_set_new(config, setting, value);
    else
        json_object_del(config, setting);
    CLEANUP(xfree) char *body = json_text(config);
    json_decref(log_stream_call(t, "UPDATE", body));
}

/* Takes no message above this, with its headers. */
static UNUSED void limit_log(struct town *t, int bytes)
{
    log_stream_set(t, "max_msg_size", json_integer(bytes));
}

/* No record is small enough while it is held. */
static UNUSED void hold_log(struct town *t, bool held)
{
    limit_log(t, held ? 1 : -1);
}

/* Begins the stream anew, empty; nobody is told of what is written there from then on. */
static UNUSED json_t *mute_log(struct town *t)
{
    CLEANUP(json_decref) json_t *info = log_stream_call(t, "INFO", "");
    json_t *config = json_object_get(info, "config");
    CLEANUP(json_decref) json_t *muted = json_copy(config);

    json_object_del(muted, "republish");
    CLEANUP(xfree) char *body = json_text(muted);
    json_decref(log_stream_call(t, "DELETE", ""));
    json_decref(log_stream_call(t, "CREATE", body));
    return json_incref(config);
}

/* … and as it was, for the next town. */
static UNUSED void unmute_log(struct town *t, json_t *config)
{
    CLEANUP(xfree) char *body = json_text(config);

    json_decref(log_stream_call(t, "DELETE", ""));
    json_decref(log_stream_call(t, "CREATE", body));
    json_decref(config);
}

/* As the server would: the message with this sequence is in the log. Not which one stands before it, so that the
 * log is read: this one has no body. */
static UNUSED void tell_tail(struct town *t, uint64_t seq)
{
    const struct subject subject = subject_tail(t->guild);
    CLEANUP(xfree) char *seq_text = xasprintf("%" PRIu64, seq);
    const struct bus_header headers[] = { { "Nats-Sequence", seq_text },
                                          { "Nats-Last-Sequence", "0" } };
    const struct bus_out out = { .subject = subject.text, .headers = headers, .header_count = 2 };
    struct err err;

    assert_int_equal(bus_publish(t->bus, &out, &err), STATUS_OK);
}

/* ---- calls ---- */

/* An edge has deferred it: it is answered by a call. */
static UNUSED void publish_setup(struct town *t, uint64_t id)
{
    CLEANUP(xfree) char *json = setup_json(t, id, "12345");
    Guildbus__V1__Event event = GUILDBUS__V1__EVENT__INIT;

    event.type = mutable_text("INTERACTION_CREATE");
    event.session = mutable_text("deferred");
    event.payload_json = json;
    publish_event(t, &event);
}

static UNUSED int open_with_rest_at(void **state, int port)
{
    struct town wanted = { .snapshot_records = 128 };
    struct err err = { 0 };
    char url[64];

    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d", port);
    const struct discord_rest_config config = { .api_url = url, .token = "token" };
    assert_int_equal(discord_rest_new(&config, &wanted.rest, &err), STATUS_OK);
    return town_open_as(state, &wanted);
}

/* Discord cannot be reached. */
static UNUSED int open_with_rest(void **state)
{
    return open_with_rest_at(state, 1);
}

static UNUSED int close_with_rest(void **state)
{
    struct town *t = *state;

    pod_stop(t, 0);
    pod_stop(t, 1);
    discord_rest_free(t->rest); /* its answers go to the town's mailbox */
    return town_close(state);
}

#endif
