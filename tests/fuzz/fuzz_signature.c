/* fuzz: links edge_core
 *
 * The two signature headers and the body of an interaction: a line with X-Signature-Ed25519, a line
 * with X-Signature-Timestamp, the rest. "good" as signature stands for the right one. Nothing but the
 * one signature that the key makes is taken. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/macros.h"
#include "base/sign.h"
#include "base/xmem.h"
#include "messages/interaction.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW_S = 1790000000, PAST_S = 300, FUTURE_S = 60 };

static const struct sign_key *private_key(void)
{
    static const uint8_t seed[32] = { 7 };
    static struct sign_key *key;

    if (!key)
        must(sign_private_key_new(seed, &key, NULL) == STATUS_OK);
    return key;
}

static const struct sign_key *public_key(void)
{
    static struct sign_key *key;
    char hex[65];

    sign_public_hex(private_key(), hex);
    if (!key)
        must(sign_public_key_new(hex, &key, NULL) == STATUS_OK);
    return key;
}

static void check_timestamp(const char *text)
{
    if (!timestamp_is_current(text, NOW_S, PAST_S, FUTURE_S))
        return;
    must(*text && text[strspn(text, "0123456789")] == '\0');
    long long at = strtoll(text, NULL, 10);
    must(at >= NOW_S - PAST_S && at <= NOW_S + FUTURE_S);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = xmemdup(data, size), *rest = text, expected[129];
    const char *signature = strsep(&rest, "\n"), *timestamp = rest ? strsep(&rest, "\n") : "";
    const char *body = rest ? rest : "";
    size_t body_size = rest ? size - (size_t)(rest - text) : 0;

    check_timestamp(timestamp);
    must(sign_make(private_key(), timestamp, body, body_size, expected, NULL) == STATUS_OK);
    if (strcmp(signature, "good") == 0)
        signature = expected;
    bool is_right = strcasecmp(signature, expected) == 0;
    must(sign_verify(public_key(), signature, timestamp, body, body_size) == is_right);
    free(text);
    return 0;
}
