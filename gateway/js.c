#include "gateway/js.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/json.h"

enum { SUBJECT_SIZE_JS = 256, WRONG_LAST_SEQUENCE = 10071, MESSAGE_TOO_LARGE = 10054 };

static bool parse_u64(const char *text, uint64_t *ret)
{
    char *end;

    if (!text || *text < '0' || *text > '9')
        return false;
    *ret = strtoull(text, &end, 10);
    return !*end;
}

void js_get_next(struct bus *bus, const char *stream, const char *subject, uint64_t seq,
                 const struct bus_waiter *waiter)
{
    char api[SUBJECT_SIZE_JS], body[SUBJECT_SIZE_JS];

    (void)snprintf(api, sizeof(api), "$JS.API.DIRECT.GET.%s", stream);
    int size =
        snprintf(body, sizeof(body), "{\"seq\":%" PRIu64 ",\"next_by_subj\":\"%s\"}", seq, subject);
    const struct bus_out out = { .subject = api, .data = body, .size = (size_t)size };
    bus_request_in_turn(bus, &out, waiter);
}

void js_get(struct bus *bus, const char *stream, uint64_t seq, const struct bus_waiter *waiter)
{
    char api[SUBJECT_SIZE_JS], body[64];

    (void)snprintf(api, sizeof(api), "$JS.API.DIRECT.GET.%s", stream);
    int size = snprintf(body, sizeof(body), "{\"seq\":%" PRIu64 "}", seq);
    const struct bus_out out = { .subject = api, .data = body, .size = (size_t)size };
    bus_request_in_turn(bus, &out, waiter);
}

void js_get_head(struct bus *bus, const char *stream, const char *subject,
                 const struct bus_waiter *waiter)
{
    char api[SUBJECT_SIZE_JS], body[SUBJECT_SIZE_JS];

    (void)snprintf(api, sizeof(api), "$JS.API.DIRECT.GET.%s", stream);
    int size = snprintf(body, sizeof(body), "{\"last_by_subj\":\"%s\"}", subject);
    const struct bus_out out = { .subject = api, .data = body, .size = (size_t)size };
    bus_request_in_turn(bus, &out, waiter);
}

enum status js_parse_next(const struct bus_in *in, struct js_message *ret, struct err *err)
{
    const char *status = bus_header_get(in, "Status");

    if (status && !strcmp(status, "404"))
        return err_set(err, STATUS_NOT_FOUND, "no more messages");
    if (status)
        return err_set(err, STATUS_UNAVAILABLE, "direct get: status %.20s", status);
    if (!parse_u64(bus_header_get(in, "Nats-Sequence"), &ret->seq))
        return err_set(err, STATUS_CORRUPT, "direct get: no sequence");
    ret->data = in->data;
    ret->size = in->size;
    return STATUS_OK;
}

enum { FROM_LEADER_SIZE = 96 };

static const char *from_leader(const char *stream, char buf[FROM_LEADER_SIZE])
{
    (void)snprintf(buf, FROM_LEADER_SIZE, "$JS.API.STREAM.MSG.GET.%s", stream);
    return buf;
}

void js_get_last(struct bus *bus, const char *stream, const char *subject,
                 const struct bus_waiter *waiter)
{
    char api[FROM_LEADER_SIZE], body[SUBJECT_SIZE_JS];

    int size = snprintf(body, sizeof(body), "{\"last_by_subj\":\"%s\"}", subject);
    const struct bus_out out = { .subject = from_leader(stream, api),
                                 .data = body,
                                 .size = (size_t)size };
    bus_request(bus, &out, waiter);
}

void js_find_next(struct bus *bus, const char *stream, const char *subject, uint64_t seq,
                  const struct bus_waiter *waiter)
{
    char api[FROM_LEADER_SIZE], body[SUBJECT_SIZE_JS];

    int size =
        snprintf(body, sizeof(body), "{\"seq\":%" PRIu64 ",\"next_by_subj\":\"%s\"}", seq, subject);
    const struct bus_out out = { .subject = from_leader(stream, api),
                                 .data = body,
                                 .size = (size_t)size };
    bus_request_in_turn(bus, &out, waiter);
}

void js_purge(struct bus *bus, const char *stream, const char *subject, uint64_t seq,
              const struct bus_waiter *waiter)
{
    char api[SUBJECT_SIZE_JS], body[SUBJECT_SIZE_JS];

    (void)snprintf(api, sizeof(api), "$JS.API.STREAM.PURGE.%s", stream);
    int size =
        snprintf(body, sizeof(body), "{\"filter\":\"%s\",\"seq\":%" PRIu64 "}", subject, seq);
    const struct bus_out out = { .subject = api, .data = body, .size = (size_t)size };
    bus_request_in_turn(bus, &out, waiter);
}

/* {"error":{"code":404,"err_code":10037,"description":"no message found"}} */
static enum status api_error(const json_t *error, struct err *err)
{
    int64_t code = json_int(error, "code", 500), detail = json_int(error, "err_code", 0);
    enum status status = detail == WRONG_LAST_SEQUENCE ? STATUS_CONFLICT
                         : detail == MESSAGE_TOO_LARGE ? STATUS_INVALID
                         : code == 404                 ? STATUS_NOT_FOUND
                                                       : STATUS_UNAVAILABLE;
    return err_set(err, status, "JetStream: %.120s (%" PRId64 ")", json_str(error, "description"),
                   detail);
}

static enum status unbase64(const char *text, struct arena *arena, struct js_message *ret,
                            struct err *err)
{
    size_t length = strlen(text);
    unsigned char *data = arena_alloc(arena, length / 4 * 3 + 1);

    if (!data || length % 4)
        return err_set(err, STATUS_CORRUPT, "message body is not base64 or too long");
    int size = EVP_DecodeBlock(data, (const unsigned char *)text, (int)length);
    if (size < 0)
        return err_set(err, STATUS_CORRUPT, "message body is not base64");
    for (size_t i = length; i && text[i - 1] == '='; i--)
        size--;
    ret->data = data;
    ret->size = (size_t)size;
    return STATUS_OK;
}

enum status js_parse_last(const struct bus_in *in, struct arena *arena, struct js_message *ret,
                          struct err *err)
{
    CLEANUP(json_decref) json_t *root = NULL;

    TRY(json_parse(in->data, in->size, &root, err));
    const json_t *error = json_object_get(root, "error");
    if (error)
        return api_error(error, err);
    const json_t *message = json_object_get(root, "message");
    ret->seq = (uint64_t)json_int(message, "seq", 0);
    if (!ret->seq)
        return err_set(err, STATUS_CORRUPT, "stream message without a sequence");
    return unbase64(json_str(message, "data"), arena, ret, err);
}

enum status js_parse_ack(const struct bus_in *in, uint64_t *ret_seq, bool *ret_duplicate,
                         struct err *err)
{
    CLEANUP(json_decref) json_t *root = NULL;

    if (json_parse(in->data, in->size, &root, err) != STATUS_OK)
        return err_set(err, STATUS_CORRUPT, "publish ack is not JSON");
    const json_t *error = json_object_get(root, "error");
    if (error)
        return api_error(error, err);
    *ret_seq = (uint64_t)json_int(root, "seq", 0);
    *ret_duplicate = json_bool(root, "duplicate");
    return *ret_seq ? STATUS_OK : err_set(err, STATUS_CORRUPT, "publish ack without a sequence");
}

bool js_republished(const struct bus_in *in, uint64_t *ret_seq, uint64_t *ret_previous)
{
    return parse_u64(bus_header_get(in, "Nats-Sequence"), ret_seq) &&
           parse_u64(bus_header_get(in, "Nats-Last-Sequence"), ret_previous);
}
