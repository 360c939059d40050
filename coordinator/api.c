#include "coordinator/api.h"

#include <stdlib.h>
#include <string.h>

#include "base/http_server.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/sign.h"
#include "base/xmem.h"
#include "coordinator/api_call.h"
#include "coordinator/state.h"

struct api {
    const struct coordinator_config *config;
    struct coordinator *c;
};

static struct metric requests_total =
    METRIC_COUNTER("guildbus_coordinator_api_requests_total", "API requests");
static struct metric denied_total =
    METRIC_COUNTER("guildbus_coordinator_api_denied_total", "API requests without the right token");

static void respond_err(struct http_exchange *x, enum status status, const char *text)
{
    struct err err = { 0 };

    (void)err_set(&err, status, "%s", text);
    http_respond_err(x, &err);
}

/* ---- what is asked ---- */

static enum status parse_list(struct http_exchange *x, struct api_call *call, struct err *err)
{
    const char *limit = http_query(x, "limit"), *after = http_query(x, "after"),
               *pod = http_query(x, "pod");
    uint64_t number = 0;

    call->limit = API_DEFAULT_LIMIT;
    call->from_start = !after || !*after;
    if (limit && *limit) {
        if (!api_parse_number(limit, &number) || !number || number > API_MOST_LIMIT)
            return err_set(err, STATUS_INVALID, "limit must be 1 … %d", API_MOST_LIMIT);
        call->limit = (uint32_t)number;
    }
    if (!call->from_start && !api_parse_number(after, &call->id))
        return err_set(err, STATUS_INVALID, "after must be a guild id in decimal digits");
    if (pod && *pod) {
        if (!pod_id_is_valid(pod))
            return err_set(err, STATUS_INVALID, "pod must be 1 to 64 of A-Z a-z 0-9 _ -");
        text_copy(call->pod, sizeof(call->pod), pod);
    }
    return STATUS_OK;
}

/* before: an id of the answer; guild_id: of one guild only. */
static enum status parse_history(struct http_exchange *x, struct api_call *call, struct err *err)
{
    const char *before = http_query(x, "before"), *guild = http_query(x, "guild_id");

    TRY(parse_list(x, call, err));
    call->id = 0;
    if (before && *before && !api_parse_number(before, &call->id))
        return err_set(err, STATUS_INVALID, "before must be an id of an earlier answer");
    call->has_guild = guild && *guild;
    if (call->has_guild && !api_parse_number(guild, &call->guild_id))
        return err_set(err, STATUS_INVALID, "guild_id must be a guild id in decimal digits");
    return STATUS_OK;
}

static enum status parse_body(struct http_exchange *x, struct api_call *call, struct err *err)
{
    size_t size = 0;
    const char *text = http_body(x, &size);

    if (strlen(text) != size)
        return err_set(err, STATUS_INVALID, "the body holds a NUL");
    call->body = xstrdup(text);
    return api_parse_change(call->path, text, call, err);
}

static enum status parse_nothing(struct http_exchange *x UNUSED, struct api_call *call UNUSED,
                                 struct err *err UNUSED)
{
    return STATUS_OK;
}

static const struct route {
    const char *path;
    bool takes_id; /* path is followed by /<id> */
    enum http_method method;
    enum api_kind kind;
    enum status (*parse)(struct http_exchange *x, struct api_call *call, struct err *err);
} routes[] = {
    { "/guild-assignments", false, HTTP_GET, API_ASSIGNMENTS, parse_list },
    { "/guild-assignments", true, HTTP_GET, API_ASSIGNMENT, parse_nothing },
    { "/pod-health", false, HTTP_GET, API_PODS, parse_nothing },
    { "/moves", false, HTTP_GET, API_MOVES, parse_list },
    { "/moves", true, HTTP_GET, API_MOVE, parse_nothing },
    { "/history", false, HTTP_GET, API_HISTORY, parse_history },
    { "/status", false, HTTP_GET, API_STATUS, parse_nothing },
    { "/reassign-guild", false, HTTP_POST, API_REASSIGN, parse_body },
    { "/drain-pod", false, HTTP_POST, API_DRAIN, parse_body },
    { "/undrain-pod", false, HTTP_POST, API_UNDRAIN, parse_body },
    { "/rebalance", false, HTTP_POST, API_REBALANCE, parse_body },
    { "/reshard", false, HTTP_POST, API_RESHARD, parse_body },
    { "/unfreeze", false, HTTP_POST, API_UNFREEZE, parse_body },
};

static const struct route *find_route(const char *path, const char **ret_id)
{
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        size_t n = strlen(routes[i].path);
        if (strncmp(path, routes[i].path, n) != 0)
            continue;
        *ret_id = path + n + 1;
        if (routes[i].takes_id ? path[n] == '/' && path[n + 1] : !path[n])
            return &routes[i];
    }
    return NULL;
}

/* ---- who asks ---- */

static bool is_equal(const char *a, const char *b)
{
    uint8_t hash_a[32], hash_b[32];

    /* Hashes have one length, so that neither the token's length nor its beginning shows in the
     * time. */
    sign_sha256(a, strlen(a), hash_a);
    sign_sha256(b, strlen(b), hash_b);
    return sign_equal(hash_a, hash_b, sizeof(hash_a));
}

static void respond_401(struct http_exchange *x)
{
    http_answer_header(x, "www-authenticate", "Bearer realm=\"guildbus-coordinator\"");
    http_respond_json(
        x, 401,
        "{\"error\":{\"status\":\"DENIED\",\"text\":\"this needs the header Authorization: Bearer "
        "<COORDINATOR_TOKEN>\"}}");
}

/* false: answered. */
static bool is_allowed(const struct api *api, struct http_exchange *x)
{
    static const char scheme[] = "Bearer ";
    const char *header = http_header(x, "authorization");
    bool has_token = header && !strncasecmp(header, scheme, sizeof(scheme) - 1);

    if (!api->config->token)
        respond_err(x, STATUS_DENIED,
                    "changes are off: this coordinator was started without COORDINATOR_TOKEN");
    else if (!has_token)
        respond_401(x);
    else if (!is_equal(header + sizeof(scheme) - 1, api->config->token))
        respond_err(x, STATUS_DENIED, "this is not the coordinator's token");
    else
        return true;
    metric_add(&denied_total, 1);
    return false;
}

/* ---- there and back ---- */

void api_call_free(struct api_call *call)
{
    free(call->json);
    free(call->body);
    free(call);
}

/* On the loop, with the answer. */
static void on_answered(struct letter *l, void *owner UNUSED)
{
    struct api_call *call = CONTAINER_OF(l, struct api_call, letter);

    if (call->json)
        http_respond_json(call->exchange, call->code, call->json);
    else
        http_respond_err(call->exchange, &call->err);
    api_call_free(call);
}

/* The box closes: the exchange goes with the loop. */
static void on_discarded(struct letter *l)
{
    api_call_free(CONTAINER_OF(l, struct api_call, letter));
}

/* On the coordinator's thread. */
static void on_asked(struct letter *l, void *owner)
{
    struct api_call *call = CONTAINER_OF(l, struct api_call, letter);
    struct coordinator *c = owner;

    if (call->kind >= API_REASSIGN && !c->leads) {
        api_forward(c, call);
        return;
    }
    api_answer(c, call);
    api_return(c, call);
}

void api_return(struct coordinator *c, struct api_call *call)
{
    struct letter *back = &call->letter;

    call->letter = (struct letter){ .read = on_answered, .discard = on_discarded };
    mailbox_post_always(loop_mailbox(c->loop), &back);
}

static void ask(struct api *api, struct api_call *call)
{
    struct http_exchange *x = call->exchange;
    struct letter *l = &call->letter;

    call->letter = (struct letter){ .read = on_asked, .discard = on_discarded };
    if (!coordinator_is_up(api->c))
        respond_err(x, STATUS_UNAVAILABLE, "starting: waits for NATS and the database");
    else if (coordinator_post(api->c, &l) != STATUS_OK)
        respond_err(x, STATUS_BUSY, "too many requests wait");
    else
        return;
    api_call_free(call);
}

static void respond_405(struct http_exchange *x, enum http_method allowed)
{
    http_answer_header(x, "allow", allowed == HTTP_POST ? "POST" : "GET, HEAD");
    http_respond_json(
        x, 405, "{\"error\":{\"status\":\"INVALID\",\"text\":\"this path takes another method\"}}");
}

static bool is_method(const struct http_exchange *x, enum http_method wanted)
{
    enum http_method method = http_method(x);

    return method == wanted || (method == HTTP_HEAD && wanted == HTTP_GET);
}

static void on_request(void *ctx, struct http_exchange *x)
{
    struct api *api = ctx;
    const char *id = NULL;
    const struct route *route = find_route(http_path(x), &id);
    struct err err = { 0 };

    metric_add(&requests_total, 1);
    if (!route) {
        respond_err(
            x, STATUS_NOT_FOUND,
            "no such path: there are /guild-assignments /pod-health /moves /history /status "
            "/reassign-guild /drain-pod /undrain-pod /rebalance /reshard /unfreeze");
        return;
    }
    if (!is_method(x, route->method)) {
        respond_405(x, route->method);
        return;
    }
    if (route->method == HTTP_POST && !is_allowed(api, x))
        return;
    struct api_call *call = xcalloc(1, sizeof(*call));
    call->exchange = x;
    call->kind = route->kind;
    call->path = route->path;
    if (route->takes_id && !api_parse_number(id, &call->id))
        err.code = err_set(&err, STATUS_INVALID, "the id in the path must be decimal digits");
    if (err.code == STATUS_OK && route->parse(x, call, &err) == STATUS_OK) {
        ask(api, call);
        return;
    }
    http_respond_err(x, &err);
    api_call_free(call);
}

static void free_api(void *ctx)
{
    free(ctx);
}

enum status api_start(const struct coordinator_config *config, struct coordinator *c,
                      struct loop *loop, struct http_server **ret_server, struct err *err)
{
    struct api *api = xcalloc(1, sizeof(*api));
    const struct http_server_config server = {
        .name = "api",
        .bind = config->api_bind,
        .port = (int)config->api_port,
        .max_body = API_MAX_BODY,
        .on_request = on_request,
        .ctx = api,
    };

    *api = (struct api){ config, c };
    loop_on_free(loop, free_api, api);
    TRY(http_server_listen(loop, &server, ret_server, err));
    log_info("api_listening", "bind=%s port=%d changes=%s", config->api_bind,
             http_server_port(*ret_server), config->token ? "token" : "off");
    return STATUS_OK;
}
