#include "base/sign.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <string.h>

#include "base/xmem.h"

enum { SIGNATURE_SIZE = 64, NONCE_SIZE = 12, TAG_SIZE = 16, SMALL_MESSAGE = 8 * 1024 };

struct sign_key {
    EVP_PKEY *pkey;
    char public_hex[65];
};

/* --- Ed25519 --- */

static enum status key_wrap(EVP_PKEY *pkey, struct sign_key **ret_key, struct err *err)
{
    uint8_t raw[32];
    size_t size = sizeof(raw);

    if (!pkey)
        return err_set(err, STATUS_INVALID, "not an Ed25519 key");
    if (EVP_PKEY_get_raw_public_key(pkey, raw, &size) != 1 || size != sizeof(raw)) {
        EVP_PKEY_free(pkey);
        return err_set(err, STATUS_INVALID, "not an Ed25519 key");
    }
    struct sign_key *key = xcalloc(1, sizeof(*key));
    key->pkey = pkey;
    sign_hex(raw, sizeof(raw), key->public_hex);
    *ret_key = key;
    return STATUS_OK;
}

enum status sign_public_key_new(const char *hex64, struct sign_key **ret_key, struct err *err)
{
    uint8_t raw[32];

    if (!sign_unhex(hex64, raw, sizeof(raw)))
        return err_set(err, STATUS_INVALID, "a public key has 64 hex digits");
    return key_wrap(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, raw, sizeof(raw)), ret_key,
                    err);
}

enum status sign_private_key_new(const uint8_t seed[32], struct sign_key **ret_key, struct err *err)
{
    return key_wrap(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32), ret_key, err);
}

void sign_key_free(struct sign_key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pkey);
    free(key);
}

void sign_public_hex(const struct sign_key *key, char ret_hex[65])
{
    memcpy(ret_hex, key->public_hex, sizeof(key->public_hex));
}

/* Ed25519 is one-shot in OpenSSL: timestamp and body must lie in one piece. Small ones (nearly
 * all interactions) use the caller's buffer. */
struct message {
    uint8_t small[SMALL_MESSAGE];
    uint8_t *bytes;
    size_t size;
};

static void message_init(struct message *m, const char *timestamp, const void *body, size_t size)
{
    size_t head = strlen(timestamp);

    m->size = head + size;
    m->bytes = m->size > sizeof(m->small) ? xcalloc(1, m->size) : m->small;
    memcpy(m->bytes, timestamp, head);
    if (size)
        memcpy(m->bytes + head, body, size);
}

static void message_release(struct message *m)
{
    if (m->bytes != m->small)
        free(m->bytes);
}

bool sign_verify(const struct sign_key *key, const char *signature_hex, const char *timestamp,
                 const void *body, size_t size)
{
    uint8_t signature[SIGNATURE_SIZE];
    struct message m;

    if (!signature_hex || !timestamp || !sign_unhex(signature_hex, signature, sizeof(signature)))
        return false;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    must(md);
    message_init(&m, timestamp, body, size);
    bool good = EVP_DigestVerifyInit(md, NULL, NULL, NULL, key->pkey) == 1 &&
                EVP_DigestVerify(md, signature, sizeof(signature), m.bytes, m.size) == 1;
    message_release(&m);
    EVP_MD_CTX_free(md);
    return good;
}

enum status sign_make(const struct sign_key *key, const char *timestamp, const void *body,
                      size_t size, char ret_hex[129], struct err *err)
{
    uint8_t signature[SIGNATURE_SIZE];
    size_t signature_size = sizeof(signature);
    struct message m;
    EVP_MD_CTX *md = EVP_MD_CTX_new();

    must(md);
    message_init(&m, timestamp, body, size);
    bool good = EVP_DigestSignInit(md, NULL, NULL, NULL, key->pkey) == 1 &&
                EVP_DigestSign(md, signature, &signature_size, m.bytes, m.size) == 1;
    message_release(&m);
    EVP_MD_CTX_free(md);
    if (!good)
        return err_set(err, STATUS_INVALID, "cannot sign: not a private key");
    sign_hex(signature, sizeof(signature), ret_hex);
    return STATUS_OK;
}

/* --- hashes and random bytes --- */

void sign_hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
                      uint8_t ret_mac[32])
{
    unsigned int mac_size = 0;

    must(key_size <= INT32_MAX);
    must(HMAC(EVP_sha256(), key, (int)key_size, data, size, ret_mac, &mac_size));
    must(mac_size == 32);
}

void sign_sha256(const void *data, size_t size, uint8_t ret_hash[32])
{
    must(SHA256(data, size, ret_hash));
}

void sign_random(void *into, size_t size)
{
    must(size <= INT32_MAX);
    must(RAND_bytes(into, (int)size) == 1);
}

uint64_t sign_random_u64(void)
{
    uint64_t value = 0;

    while (value == 0)
        sign_random(&value, sizeof(value));
    return value;
}

bool sign_equal(const void *a, const void *b, size_t size)
{
    return CRYPTO_memcmp(a, b, size) == 0;
}

/* --- sealing --- */

/* nonce · ciphertext · tag */
static bool seal_into(EVP_CIPHER_CTX *c, const uint8_t key[32], const char *purpose,
                      const void *data, int size, uint8_t *out)
{
    uint8_t *text = out + NONCE_SIZE;
    int n = 0;

    sign_random(out, NONCE_SIZE);
    return EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, out) == 1 &&
           EVP_EncryptUpdate(c, NULL, &n, (const uint8_t *)purpose, (int)strlen(purpose)) == 1 &&
           (size == 0 || EVP_EncryptUpdate(c, text, &n, data, size) == 1) &&
           EVP_EncryptFinal_ex(c, text + size, &n) == 1 &&
           EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_SIZE, text + size) == 1;
}

char *sign_seal(const uint8_t key[32], const char *purpose, const void *data, size_t size)
{
    must(size < INT32_MAX / 2);
    size_t sealed_size = NONCE_SIZE + size + TAG_SIZE;
    uint8_t *sealed = xcalloc(1, sealed_size);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();

    must(c);
    must(seal_into(c, key, purpose, data, (int)size, sealed));
    EVP_CIPHER_CTX_free(c);
    char *text = sign_base64url(sealed, sealed_size);
    free(sealed);
    return text;
}

static bool open_into(EVP_CIPHER_CTX *c, const uint8_t key[32], const char *purpose,
                      const uint8_t *sealed, int size, uint8_t *out)
{
    const uint8_t *text = sealed + NONCE_SIZE;
    uint8_t tag[TAG_SIZE];
    int n = 0;

    memcpy(tag, text + size, sizeof(tag));
    return EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, sealed) == 1 &&
           EVP_DecryptUpdate(c, NULL, &n, (const uint8_t *)purpose, (int)strlen(purpose)) == 1 &&
           (size == 0 || EVP_DecryptUpdate(c, out, &n, text, size) == 1) &&
           EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_SIZE, tag) == 1 &&
           EVP_DecryptFinal_ex(c, out + size, &n) == 1;
}

void *sign_open(const uint8_t key[32], const char *purpose, const char *sealed, size_t *ret_size)
{
    size_t size = 0;
    uint8_t *bytes = sign_unbase64url(sealed, &size);

    if (!bytes || size < NONCE_SIZE + TAG_SIZE || size > INT32_MAX) {
        free(bytes);
        return NULL;
    }
    size -= NONCE_SIZE + TAG_SIZE;
    uint8_t *data = xcalloc(1, size + TAG_SIZE);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    must(c);
    bool good = open_into(c, key, purpose, bytes, (int)size, data);
    EVP_CIPHER_CTX_free(c);
    free(bytes);
    if (!good) {
        free(data);
        return NULL;
    }
    data[size] = '\0';
    *ret_size = size;
    return data;
}

/* --- hex and base64url --- */

void sign_hex(const void *data, size_t size, char *ret_text)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++) {
        ret_text[2 * i] = digits[bytes[i] >> 4];
        ret_text[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret_text[2 * size] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool sign_unhex(const char *text, void *ret_data, size_t size)
{
    uint8_t *bytes = ret_data;

    for (size_t i = 0; i < size; i++) {
        int high = hex_digit(text[2 * i]);
        int low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);
        if (low < 0)
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return text[2 * size] == '\0';
}

static const char base64url_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

char *sign_base64url(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    char *text = xcalloc(1, size / 3 * 4 + 5), *out = text;

    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t three = (uint32_t)bytes[i] << 16;
        three |= left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
        three |= left > 2 ? (uint32_t)bytes[i + 2] : 0;
        *out++ = base64url_digits[three >> 18];
        *out++ = base64url_digits[three >> 12 & 63];
        if (left > 1)
            *out++ = base64url_digits[three >> 6 & 63];
        if (left > 2)
            *out++ = base64url_digits[three & 63];
    }
    return text;
}

static int base64url_digit(char c)
{
    const char *at = c ? strchr(base64url_digits, c) : NULL;

    return at ? (int)(at - base64url_digits) : -1;
}

void *sign_unbase64url(const char *text, size_t *ret_size)
{
    size_t len = strlen(text), n = 0;
    uint8_t *bytes = xcalloc(1, len / 4 * 3 + 4);
    uint32_t bits = 0;
    int have = 0;
    bool bad = len % 4 == 1;

    for (size_t i = 0; i < len && !bad; i++) {
        int digit = base64url_digit(text[i]);
        bad = digit < 0;
        bits = (bits << 6 | (uint32_t)(digit & 63)) & 0xffff;
        have += 6;
        if (have >= 8) {
            have -= 8;
            bytes[n++] = (uint8_t)(bits >> have);
        }
    }
    /* One value has one text: bits left over must be zero. */
    if (bad || (bits & ((1u << have) - 1)) != 0) {
        free(bytes);
        return NULL;
    }
    bytes[n] = 0;
    *ret_size = n;
    return bytes;
}
