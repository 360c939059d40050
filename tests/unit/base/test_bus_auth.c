#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bus.h"
#include "base/bus_auth.h"
#include "base/nkey.h"
#include "tests/unit/base/nats_relay.h"

/* Made for this test; nobody knows it. */
static const char seed[] = "SUADQNRLQFAO3DTEII4FSI3EMNIRFTPIAIJGAYV5ENV7NWT5SI6335ZC3M";
/* The seed's signature of the first begins with a zero byte: see bus_auth.c. */
static const char *const nonces[] = { "nonce-37", "nonce-38" };

/* As much of a NATS server as a login needs, once for each nonce. */
struct server {
    int listener, port;
    pthread_t thread;
    char hello[ARRAY_LEN(nonces)][1024]; /* what the clients said, up to their PING */
};

static void read_hello(int fd, char *text, size_t size)
{
    size_t used = 0;

    for (ssize_t n; used + 1 < size && (n = recv(fd, text + used, size - used - 1, 0)) > 0;) {
        used += (size_t)n;
        text[used] = '\0';
        if (strstr(text, "PING\r\n"))
            return;
    }
}

static void *serve(void *arg)
{
    struct server *s = arg;
    char info[256], rest[256];

    for (size_t i = 0; i < ARRAY_LEN(nonces); i++) {
        int fd = accept(s->listener, NULL, NULL);
        must(fd >= 0);
        int size = snprintf(info, sizeof(info),
                            "INFO {\"server_id\":\"X\",\"version\":\"2.9.10\",\"proto\":1,"
                            "\"headers\":true,\"auth_required\":true,\"max_payload\":1048576,"
                            "\"nonce\":\"%s\"}\r\n",
                            nonces[i]);
        must(send(fd, info, (size_t)size, MSG_NOSIGNAL) == size);
        read_hello(fd, s->hello[i], sizeof(s->hello[i]));
        (void)!send(fd, "PONG\r\n", 6, MSG_NOSIGNAL);
        while (recv(fd, rest, sizeof(rest), 0) > 0)
            ;
        close(fd);
    }
    return NULL;
}

static bool give_up(void *ctx UNUSED)
{
    return true;
}

static void test_a_signature_that_begins_with_zero_is_not_sent(void **state UNUSED)
{
    static const struct bus_auth auth = { .nkey_seed = seed };
    struct server s = { .listener = bound_socket(0, &s.port) };
    char public_key[NKEY_PUBLIC_SIZE], url[64];
    uint8_t signature[NKEY_SIGNATURE_SIZE];
    struct bus *bus = NULL;

    assert_int_equal(nkey_sign(seed, nonces[0], signature, NULL), STATUS_OK);
    assert_int_equal(signature[0], 0);
    assert_int_equal(listen(s.listener, 4), 0);
    assert_int_equal(pthread_create(&s.thread, NULL, serve, &s), 0);
    (void)snprintf(url, sizeof(url), "nats://127.0.0.1:%d", s.port);
    const struct bus_config config = {
        .url = url, .name = "test", .auth = &auth, .give_up = give_up
    };
    assert_int_equal(bus_open(&config, &bus, NULL), STATUS_OK); /* the next nonce, at once */
    bus_close(bus);
    pthread_join(s.thread, NULL);
    close(s.listener);
    assert_string_equal(s.hello[0], "");
    assert_int_equal(nkey_public(seed, public_key, NULL), STATUS_OK);
    assert_non_null(strstr(s.hello[1], public_key));
    assert_non_null(strstr(s.hello[1], "\"sig\":\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_signature_that_begins_with_zero_is_not_sent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
