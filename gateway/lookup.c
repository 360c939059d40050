#include "gateway/lookup.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/macros.h"
#include "base/xmem.h"

enum { ASK_AGAIN_MS = 5, ASK_AGAIN_MAX_MS = 100 };

/* Lives until glibc is done with request: a cancelled one goes on alone, without timer and caller.
 */
struct lookup {
    char host[256];
    struct addrinfo hints;
    struct gaicb request;
    bool numeric, failed;
    int64_t wait_ms;
    struct loop_timer *timer;
    void (*on_done)(void *ctx, const char *address);
    void *ctx;
    struct lookup *next_left; /* in left_behind */
};

/* Cancelled while glibc was still at it; freed when a later lookup finds them done. Confined to the
 * loop's thread. */
static struct lookup *left_behind;

static void lookup_free(struct lookup *l)
{
    if (l->request.ar_result)
        freeaddrinfo(l->request.ar_result);
    if (l->timer)
        loop_timer_free(l->timer);
    free(l);
}

static bool is_under_way(struct lookup *l)
{
    return !l->numeric && !l->failed && gai_error(&l->request) == EAI_INPROGRESS;
}

static void sweep_left_behind(void)
{
    struct lookup **slot = &left_behind;
    while (*slot) {
        struct lookup *l = *slot;
        if (is_under_way(l)) {
            slot = &l->next_left;
            continue;
        }
        *slot = l->next_left;
        lookup_free(l);
    }
}

static const char *first_address(const struct lookup *l, char *buf, size_t size)
{
    if (l->numeric)
        return l->host;
    const struct addrinfo *found = l->request.ar_result;
    if (!found || getnameinfo(found->ai_addr, found->ai_addrlen, buf, (socklen_t)size, NULL, 0,
                              NI_NUMERICHOST) != 0)
        return NULL;
    return buf;
}

static void on_timer(void *ctx)
{
    struct lookup *l = ctx;
    char buf[LOOKUP_ADDRESS_SIZE];

    if (is_under_way(l)) {
        if (l->wait_ms < ASK_AGAIN_MAX_MS)
            l->wait_ms += l->wait_ms / 2 + 1;
        loop_timer_start(l->timer, l->wait_ms);
        return;
    }
    const char *address = first_address(l, buf, sizeof(buf));
    void (*on_done)(void *, const char *) = l->on_done;
    void *done_ctx = l->ctx;
    char copy[sizeof(l->host)];
    if (address)
        (void)snprintf(copy, sizeof(copy), "%s", address);
    lookup_free(l);
    on_done(done_ctx, address ? copy : NULL);
}

static bool is_numeric(const char *host)
{
    unsigned char into[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, into) == 1 || inet_pton(AF_INET6, host, into) == 1;
}

struct lookup *lookup_start(struct loop *loop, const char *host,
                            void (*on_done)(void *ctx, const char *address), void *ctx)
{
    struct lookup *l = xcalloc(1, sizeof(*l));

    sweep_left_behind();
    (void)snprintf(l->host, sizeof(l->host), "%s", host);
    l->on_done = on_done;
    l->ctx = ctx;
    l->wait_ms = ASK_AGAIN_MS;
    l->hints = (struct addrinfo){ .ai_family = AF_UNSPEC,
                                  .ai_socktype = SOCK_STREAM,
                                  .ai_flags = AI_ADDRCONFIG };
    l->numeric = is_numeric(host);
    l->request = (struct gaicb){ .ar_name = l->host, .ar_request = &l->hints };
    struct gaicb *list[] = { &l->request };
    l->failed = !l->numeric && getaddrinfo_a(GAI_NOWAIT, list, 1, NULL) != 0;
    l->timer = loop_timer_new(loop, on_timer, l);
    loop_timer_start(l->timer, l->numeric ? 0 : l->wait_ms);
    return l;
}

void lookup_cancel(struct lookup **slot)
{
    struct lookup *l = TAKE(*slot);
    if (!l)
        return;
    if (!is_under_way(l) || gai_cancel(&l->request) == EAI_CANCELED) {
        lookup_free(l);
        return;
    }
    loop_timer_free(TAKE(l->timer));
    l->next_left = left_behind;
    left_behind = l;
}
