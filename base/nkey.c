#include "base/nkey.h"

#include <string.h>

#include "base/sign.h"
#include "base/xmem.h"

enum {
    KEY_SIZE = 32,
    CRC_SIZE = 2,
    SEED_BYTES = 2 + KEY_SIZE + CRC_SIZE,
    PUBLIC_BYTES = 1 + KEY_SIZE + CRC_SIZE,
    /* nkeys, Prefixes: five bits each, chosen for the letter they begin the text with. */
    IS_SEED = 18 << 3, /* S */
    IS_USER = 20 << 3, /* U */
};

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"; /* RFC 4648, without padding */

/* CRC-16/XMODEM, as nkeys appends it, low byte first. */
static uint16_t crc16(const uint8_t *data, size_t size)
{
    unsigned crc = 0;

    for (size_t i = 0; i < size; i++) {
        crc ^= (unsigned)data[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
    }
    return (uint16_t)crc;
}

static void put_crc(uint8_t *data, size_t size)
{
    uint16_t crc = crc16(data, size);

    data[size] = (uint8_t)crc;
    data[size + 1] = (uint8_t)(crc >> 8);
}

static void encode(const uint8_t *data, size_t size, char *text)
{
    unsigned held = 0;
    int bits = 0;

    for (size_t i = 0; i < size; i++) {
        held = held << 8 | data[i];
        for (bits += 8; bits >= 5; bits -= 5)
            *text++ = alphabet[held >> (bits - 5) & 31];
    }
    if (bits)
        *text++ = alphabet[held << (5 - bits) & 31];
    *text = '\0';
}

/* Exactly size bytes. */
static bool decode(const char *text, uint8_t *data, size_t size)
{
    unsigned held = 0;
    size_t used = 0;
    int bits = 0;

    if (strlen(text) != (size * 8 + 4) / 5)
        return false;
    for (; *text; text++) {
        const char *digit = strchr(alphabet, *text);
        if (!digit)
            return false;
        held = held << 5 | (unsigned)(digit - alphabet);
        bits += 5;
        if (bits < 8)
            continue;
        bits -= 8;
        data[used++] = (uint8_t)(held >> bits);
    }
    return used == size && !(held & ((1U << bits) - 1)); /* one way to write each key */
}

void nkey_make(char ret_seed[NKEY_SEED_SIZE])
{
    uint8_t raw[SEED_BYTES] = { IS_SEED | IS_USER >> 5, (IS_USER & 31) << 3 };

    sign_random(raw + 2, KEY_SIZE);
    put_crc(raw, sizeof(raw) - CRC_SIZE);
    encode(raw, sizeof(raw), ret_seed);
    explicit_bzero(raw, sizeof(raw));
}

static bool read_seed(const char *seed, uint8_t raw[SEED_BYTES])
{
    uint8_t right[SEED_BYTES];

    if (!decode(seed, raw, SEED_BYTES) || raw[0] != (IS_SEED | IS_USER >> 5) ||
        raw[1] != (IS_USER & 31) << 3)
        return false;
    memcpy(right, raw, SEED_BYTES);
    put_crc(right, SEED_BYTES - CRC_SIZE);
    bool good = memcmp(right, raw, SEED_BYTES) == 0;
    explicit_bzero(right, sizeof(right));
    return good;
}

static enum status open_seed(const char *seed, struct sign_key **ret_key, struct err *err)
{
    uint8_t raw[SEED_BYTES];
    bool good = read_seed(seed, raw);
    enum status status = good ? sign_private_key_new(raw + 2, ret_key, err)
                              : err_set(err, STATUS_INVALID, "is no NKey seed of a user (SU…)");

    explicit_bzero(raw, sizeof(raw));
    return status;
}

enum status nkey_public(const char *seed, char ret_public[NKEY_PUBLIC_SIZE], struct err *err)
{
    CLEANUP(sign_key_free) struct sign_key *key = NULL;
    uint8_t out[PUBLIC_BYTES] = { IS_USER };
    char hex[65];

    TRY(open_seed(seed, &key, err));
    sign_public_hex(key, hex);
    must(sign_unhex(hex, out + 1, KEY_SIZE));
    put_crc(out, sizeof(out) - CRC_SIZE);
    encode(out, sizeof(out), ret_public);
    return STATUS_OK;
}

enum status nkey_sign(const char *seed, const char *nonce,
                      uint8_t ret_signature[NKEY_SIGNATURE_SIZE], struct err *err)
{
    CLEANUP(sign_key_free) struct sign_key *key = NULL;
    char hex[2 * NKEY_SIGNATURE_SIZE + 1];

    TRY(open_seed(seed, &key, err));
    TRY(sign_make(key, nonce, NULL, 0, hex, err));
    must(sign_unhex(hex, ret_signature, NKEY_SIGNATURE_SIZE));
    return STATUS_OK;
}
