/* nkey.h - NATS's way to write Ed25519 keys: the keys that tell programs from each other.
 *
 *     seed   "SU…" base32 of: two prefix bytes, 32 secret bytes, CRC-16     58 characters, keep it
 *     public "U…"  base32 of: a prefix byte, 32 public bytes, CRC-16        56 characters, nats-server's
 *
 * Only keys of users are made and taken. A login signs the server's nonce with the seed.
 *
 * THREAD: any. */
#ifndef BASE_NKEY_H
#define BASE_NKEY_H

#include <stdint.h>

#include "base/status.h"

enum { NKEY_SEED_SIZE = 58 + 1, NKEY_PUBLIC_SIZE = 56 + 1 };

/* A new random key. */
void nkey_make(char ret_seed[NKEY_SEED_SIZE]);
/* INVALID: it is no seed of a user; the text does not show it. */
enum status nkey_public(const char *seed, char ret_public[NKEY_PUBLIC_SIZE], struct err *err)
    MUST_CHECK;
/* The signature of a nonce, as a login wants it. INVALID: as above. */
enum { NKEY_SIGNATURE_SIZE = 64 };
enum status nkey_sign(const char *seed, const char *nonce,
                      uint8_t ret_signature[NKEY_SIGNATURE_SIZE], struct err *err) MUST_CHECK;

#endif
