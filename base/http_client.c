/* Calls are queued under a lock and taken by the one curl thread, which owns every easy handle. An
 * answer is the call's letter: it is allocated with the call and posted when the call has ended. */
#include "base/http_client.h"

#include <curl/curl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/xmem.h"

enum {
    DEFAULT_TIMEOUT_MS = 15000,
    CONNECT_TIMEOUT_MS = 5000,
    DEFAULT_MAX_ANSWER = 4 * 1024 * 1024,
    MAX_ANSWER_HEADERS = 64 * 1024,
    MAX_CONNECTIONS = 256,
};

struct buffer {
    char *bytes; /* NUL added */
    size_t size, room;
};

struct call {
    struct letter letter;
    struct call *next;
    /* the request */
    char *method, *url, *body;
    size_t size;
    struct curl_slist *headers;
    int timeout_ms;
    size_t max_answer;
    bool once;
    struct mailbox *box;
    void (*on_done)(void *ctx, uint64_t tag, const struct http_result *result);
    void *ctx;
    uint64_t tag;
    /* the answer */
    CURL *easy;
    struct buffer answer, answer_headers;
    bool too_long;
    struct http_result result;
    char why[CURL_ERROR_SIZE];
};

struct http_client {
    CURLM *multi;
    char *user_agent;
    pthread_t thread;
    /* confined to the thread */
    struct call *running;
    /* guarded by mu */
    pthread_mutex_t mu;
    struct call *first, **end;
    bool stopping;
};

static void call_free(struct call *c)
{
    curl_slist_free_all(c->headers);
    free(c->method);
    free(c->url);
    free(c->body);
    free(c->answer.bytes);
    free(c->answer_headers.bytes);
    free(c);
}

static void call_read(struct letter *l, void *owner UNUSED)
{
    struct call *c = CONTAINER_OF(l, struct call, letter);

    c->on_done(c->ctx, c->tag, &c->result);
    call_free(c);
}

static void call_discard(struct letter *l)
{
    call_free(CONTAINER_OF(l, struct call, letter));
}

/* --- what curl calls back --- */

static bool buffer_add(struct buffer *b, const char *data, size_t size, size_t limit)
{
    if (size > limit - b->size)
        return false;
    if (b->size + size + 1 > b->room) {
        b->room = (b->size + size + 1) * 2;
        b->bytes = xrealloc(b->bytes, b->room);
    }
    memcpy(b->bytes + b->size, data, size);
    b->size += size;
    b->bytes[b->size] = '\0';
    return true;
}

static size_t on_body(char *data, size_t one, size_t n, void *arg)
{
    struct call *c = arg;

    if (!buffer_add(&c->answer, data, one * n, c->max_answer)) {
        c->too_long = true;
        return 0;
    }
    return one * n;
}

static size_t on_header(char *data, size_t one, size_t n, void *arg)
{
    struct call *c = arg;

    /* A new status line: what came before belonged to a 100 Continue. */
    if (one * n > 5 && memcmp(data, "HTTP/", 5) == 0)
        c->answer_headers.size = 0;
    if (!buffer_add(&c->answer_headers, data, one * n, MAX_ANSWER_HEADERS)) {
        c->too_long = true;
        return 0;
    }
    return one * n;
}

/* --- one call --- */

static struct curl_slist *add_header(struct curl_slist *list, const char *text)
{
    struct curl_slist *more = curl_slist_append(list, text);

    must(more);
    return more;
}

static struct curl_slist *copy_headers(const char *const *headers)
{
    struct curl_slist *list = NULL;
    bool has_type = false;

    for (; headers && *headers; headers++) {
        list = add_header(list, *headers);
        has_type = has_type || strncasecmp(*headers, "content-type:", 13) == 0;
    }
    if (!has_type)
        list = add_header(list, "Content-Type:"); /* curl would claim a form */
    return add_header(list, "Expect:");
}

static struct call *call_new(const struct http_call *from)
{
    struct call *c = xcalloc(1, sizeof(*c));

    c->letter = (struct letter){ .read = call_read, .discard = call_discard };
    c->method = xstrdup(from->method);
    c->url = xstrdup(from->url);
    c->body = from->body ? xmemdup(from->body, from->size) : NULL;
    c->size = from->body ? from->size : 0;
    c->headers = copy_headers(from->headers);
    c->timeout_ms = from->timeout_ms > 0 ? from->timeout_ms : DEFAULT_TIMEOUT_MS;
    c->max_answer = from->max_answer ? from->max_answer : DEFAULT_MAX_ANSWER;
    c->once = from->once;
    c->box = from->box;
    c->on_done = from->on_done;
    c->ctx = from->ctx;
    c->tag = from->tag;
    return c;
}

static bool sends_body(const struct call *c)
{
    return c->body || strcmp(c->method, "POST") == 0 || strcmp(c->method, "PUT") == 0 ||
           strcmp(c->method, "PATCH") == 0;
}

static void set_request(const struct http_client *client, struct call *c)
{
    CURL *e = c->easy;

    curl_easy_setopt(e, CURLOPT_URL, c->url);
    curl_easy_setopt(e, CURLOPT_USERAGENT, client->user_agent);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->headers);
    curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, (long)c->once);
    if (strcmp(c->method, "HEAD") == 0) {
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    } else if (sends_body(c)) {
        curl_easy_setopt(e, CURLOPT_POST, 1L);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, c->body ? c->body : "");
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->size);
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, c->method);
    } else {
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, c->method);
    }
}

static void set_limits(struct call *c)
{
    CURL *e = c->easy;

    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)c->timeout_ms);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->why);
    curl_easy_setopt(e, CURLOPT_PRIVATE, c);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
}

static void begin_call(struct http_client *client, struct call *c)
{
    c->easy = curl_easy_init();
    must(c->easy);
    set_request(client, c);
    set_limits(c);
    c->next = client->running;
    client->running = c;
    must(curl_multi_add_handle(client->multi, c->easy) == CURLM_OK);
}

/* Takes the call out of curl and out of the running list. */
static void detach_call(struct http_client *client, struct call *c)
{
    struct call **at = &client->running;

    curl_multi_remove_handle(client->multi, c->easy);
    curl_easy_cleanup(c->easy);
    c->easy = NULL;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
}

/* Before the first byte of the call. */
static bool is_before_the_call(CURLcode code)
{
    return code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY ||
           code == CURLE_COULDNT_CONNECT || code == CURLE_SSL_CONNECT_ERROR ||
           code == CURLE_PEER_FAILED_VERIFICATION;
}

static void fill_result(struct call *c, CURLcode code)
{
    struct http_result *r = &c->result;
    long http = 0;

    r->answer = c;
    r->body = c->answer.bytes ? c->answer.bytes : "";
    r->size = c->answer.size;
    if (code == CURLE_OK) {
        curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &http);
        r->code = (int)http;
        return;
    }
    r->status = code == CURLE_OPERATION_TIMEDOUT ? STATUS_TIMEOUT : STATUS_UNAVAILABLE;
    r->unsent = is_before_the_call(code);
    if (c->too_long)
        r->error = "the answer is too long";
    else
        r->error = c->why[0] ? c->why : curl_easy_strerror(code);
}

static void finish_calls(struct http_client *client)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(client->multi, &left))) {
        struct call *c = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &c);
        must(c);
        fill_result(c, code);
        detach_call(client, c);
        struct letter *l = &c->letter;
        mailbox_post_always(c->box, &l);
    }
}

/* --- the thread --- */

/* False: the client is being freed. */
static bool take_queued(struct http_client *client)
{
    pthread_mutex_lock(&client->mu);
    bool stopping = client->stopping;
    struct call *all = TAKE(client->first);
    client->end = &client->first;
    pthread_mutex_unlock(&client->mu);

    for (struct call *c = all, *next; c; c = next) {
        next = c->next;
        if (stopping)
            call_free(c);
        else
            begin_call(client, c);
    }
    return !stopping;
}

static void *run(void *arg)
{
    struct http_client *client = arg;
    int running;

    while (take_queued(client)) {
        must(curl_multi_perform(client->multi, &running) == CURLM_OK);
        finish_calls(client);
        must(curl_multi_poll(client->multi, NULL, 0, 60000, NULL) == CURLM_OK);
    }
    while (client->running) {
        struct call *c = client->running;
        detach_call(client, c);
        call_free(c);
    }
    return NULL;
}

static void init_curl(void)
{
    must(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

bool http_takes_token(const char *token)
{
    const char *c = token;

    while (*c > ' ' && *c < 0x7f)
        c++;
    return c > token && !*c;
}

enum status http_client_new(const char *user_agent, struct http_client **ret_client,
                            struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct http_client *client = xcalloc(1, sizeof(*client));

    pthread_once(&once, init_curl);
    client->multi = curl_multi_init();
    must(client->multi);
    curl_multi_setopt(client->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)MAX_CONNECTIONS);
    client->user_agent = xstrdup(user_agent);
    client->end = &client->first;
    pthread_mutex_init(&client->mu, NULL);
    if (pthread_create(&client->thread, NULL, run, client) != 0) {
        pthread_mutex_destroy(&client->mu);
        curl_multi_cleanup(client->multi);
        free(client->user_agent);
        free(client);
        return err_set(err, STATUS_UNAVAILABLE, "cannot start a thread: %m");
    }
    (void)pthread_setname_np(client->thread, "http_client");
    *ret_client = client;
    return STATUS_OK;
}

void http_client_free(struct http_client *client)
{
    if (!client)
        return;
    pthread_mutex_lock(&client->mu);
    client->stopping = true;
    pthread_mutex_unlock(&client->mu);
    curl_multi_wakeup(client->multi);
    pthread_join(client->thread, NULL);
    curl_multi_cleanup(client->multi);
    pthread_mutex_destroy(&client->mu);
    free(client->user_agent);
    free(client);
}

void http_client_send(struct http_client *client, const struct http_call *call)
{
    struct call *c = call_new(call);

    pthread_mutex_lock(&client->mu);
    *client->end = c;
    client->end = &c->next;
    pthread_mutex_unlock(&client->mu);
    curl_multi_wakeup(client->multi);
}

const char *http_result_header(const struct http_result *r, const char *name)
{
    struct call *c = r->answer;
    size_t len = strlen(name);
    char *found = NULL;

    if (!c || !c->answer_headers.size)
        return NULL;
    /* Lines end in CR LF until one has been handed out; then its CR is a NUL. */
    char *end = c->answer_headers.bytes + c->answer_headers.size;
    for (char *line = c->answer_headers.bytes, *next; line < end; line = next) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        next = newline ? newline + 1 : end;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':')
            found = line + len + 1;
    }
    if (!found)
        return NULL;
    found += strspn(found, " \t");
    size_t size = strcspn(found, "\r\n");
    while (size > 0 && (found[size - 1] == ' ' || found[size - 1] == '\t'))
        size--;
    found[size] = '\0';
    return found;
}

/* --- waiting --- */

struct waited {
    bool done;
    enum status status;
    int code;
    char *body;
    struct err *err;
};

static void on_waited(void *ctx, uint64_t tag UNUSED, const struct http_result *r)
{
    struct waited *w = ctx;

    w->done = true;
    w->status = r->status;
    w->code = r->code;
    if (r->status == STATUS_OK)
        w->body = xmemdup(r->body, r->size);
    else
        err_set(w->err, r->status, "%.200s", r->error);
}

enum status http_client_wait(struct http_client *client, const struct http_call *call,
                             int *ret_code, char **ret_body, struct err *err)
{
    CLEANUP(mailbox_free) struct mailbox *box = NULL;
    struct waited w = { .err = err };
    struct http_call mine = *call;

    TRY(mailbox_new(1, &box, err));
    mine.box = box;
    mine.on_done = on_waited;
    mine.ctx = &w;
    http_client_send(client, &mine);
    while (!w.done) {
        struct pollfd p = { .fd = mailbox_fd(box), .events = POLLIN };
        (void)poll(&p, 1, -1);
        mailbox_drain(box, NULL);
    }
    if (w.status != STATUS_OK)
        return w.status;
    *ret_code = w.code;
    *ret_body = w.body;
    return STATUS_OK;
}
