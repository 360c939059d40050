/* sign.h - Ed25519, HMAC-SHA-256, SHA-256, random bytes, hex and base64url, all from OpenSSL.
 *
 * THREAD: any. */
#ifndef BASE_SIGN_H
#define BASE_SIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct sign_key; /* an Ed25519 key, parsed once */

enum status sign_public_key_new(const char *hex64, struct sign_key **ret_key, struct err *err)
    MUST_CHECK;
/* seed: 32 bytes; for the simulator and tests. */
enum status sign_private_key_new(const uint8_t seed[32], struct sign_key **ret_key, struct err *err)
    MUST_CHECK;
void sign_key_free(struct sign_key *key);
DEFINE_CLEANUP(struct sign_key *, sign_key_free)
void sign_public_hex(const struct sign_key *key, char ret_hex[65]);

/* signature_hex must be exactly 128 hex digits, else false. */
bool sign_verify(const struct sign_key *key, const char *signature_hex, const char *timestamp,
                 const void *body, size_t size);
enum status sign_make(const struct sign_key *key, const char *timestamp, const void *body,
                      size_t size, char ret_hex[129], struct err *err) MUST_CHECK;

void sign_hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
                      uint8_t ret_mac[32]);
void sign_sha256(const void *data, size_t size, uint8_t ret_hash[32]);
void sign_random(void *into, size_t size);                  /* aborts when the system has none */
uint64_t sign_random_u64(void);                             /* never 0 */
bool sign_equal(const void *a, const void *b, size_t size); /* constant time */

/* AES-256-GCM with a random nonce; the text is base64url and malloc'd. purpose is bound in
 * (associated data). */
char *sign_seal(const uint8_t key[32], const char *purpose, const void *data, size_t size);
/* malloc'd, NUL added; NULL: forged, damaged, of another key or another purpose. */
void *sign_open(const uint8_t key[32], const char *purpose, const char *sealed, size_t *ret_size);

void sign_hex(const void *data, size_t size, char *ret_text /* 2 × size + 1 */);
bool sign_unhex(const char *text, void *ret_data, size_t size); /* exactly 2 × size digits */
/* malloc'd, without padding. */
char *sign_base64url(const void *data, size_t size);
/* malloc'd; NULL: not base64url. */
void *sign_unbase64url(const char *text, size_t *ret_size);

#endif
