#include "base/bus_auth.h"

#include <stdlib.h>
#include <string.h>

#include "base/bus_options.h"
#include "base/nkey.h"
#include "base/xmem.h"

/* ---- settings ---- */

static bool complain(FILE *errors, const char *name, const char *what)
{
    fprintf(errors, "%s: %s\n", name, what);
    return false;
}

static bool check_seed(const char *seed, FILE *errors)
{
    char public_key[NKEY_PUBLIC_SIZE];
    struct err err = { 0 };

    if (!seed || nkey_public(seed, public_key, &err) == STATUS_OK)
        return true;
    fprintf(errors, "NATS_NKEY_SEED: %s: make one with guildbusctl nats-keys\n", err.text);
    return false;
}

static bool check_file(const char *name, const char *path, FILE *errors)
{
    FILE *file = path ? fopen(path, "re") : NULL;

    if (file)
        (void)fclose(file);
    else if (path)
        fprintf(errors, "%s: cannot read %s (%m): give a readable file\n", name, path);
    return !path || file;
}

bool bus_auth_check(const char *url, const struct bus_auth *auth, FILE *errors)
{
    bool good = check_seed(auth->nkey_seed, errors);

    if (auth->nkey_seed && url &&
        strchr(url, '@')) /* libnats would take that one and not the key */
        good =
            complain(errors, "NATS_URL", "names a user beside NATS_NKEY_SEED: take the user out");
    good &= check_file("NATS_CA_FILE", auth->ca_file, errors);
    good &= check_file("NATS_CERT_FILE", auth->cert_file, errors);
    good &= check_file("NATS_KEY_FILE", auth->key_file, errors);
    if (auth->cert_file && !auth->key_file)
        good = complain(errors, "NATS_KEY_FILE", "is not set: NATS_CERT_FILE needs it beside");
    if (auth->key_file && !auth->cert_file)
        good = complain(errors, "NATS_CERT_FILE", "is not set: NATS_KEY_FILE needs it beside");
    return good;
}

/* ---- libnats ---- */

/* libnats 3.4.1 takes a signature that begins with a zero byte for an empty one and sends none, so
 * that the server refuses one login of 256. Such a nonce is not answered: the next one is another. */
enum { UNLUCKY = NATS_NO_SERVER_SUPPORT, TRIES = 4 };

static natsStatus on_sign(char **error UNUSED, unsigned char **signature, int *size,
                          const char *nonce, void *seed)
{
    uint8_t *s = xcalloc(1, NKEY_SIGNATURE_SIZE);

    *signature = s; /* libnats frees it, also when this fails */
    *size = NKEY_SIGNATURE_SIZE;
    if (nkey_sign(seed, nonce ? nonce : "", s, NULL) != STATUS_OK) /* NULL: it asks nobody */
        return NATS_ERR;
    return s[0] ? NATS_OK : (natsStatus)UNLUCKY;
}

natsStatus bus_options_connect(natsOptions *o, natsConnection **ret_nc)
{
    natsStatus s;
    int tries = 0;

    do
        s = natsConnection_Connect(ret_nc, o);
    while (s == (natsStatus)UNLUCKY && ++tries < TRIES);
    return s;
}

static natsStatus set_key(natsOptions *o, const char *seed)
{
    char public_key[NKEY_PUBLIC_SIZE];

    if (nkey_public(seed, public_key, NULL) != STATUS_OK)
        return NATS_INVALID_ARG;
    return natsOptions_SetNKey(o, public_key, on_sign, mutable_text(seed));
}

natsStatus bus_options_set_auth(natsOptions *o, const struct bus_auth *auth)
{
    bool secure = auth->ca_file || auth->cert_file;
    natsStatus s = auth->nkey_seed ? set_key(o, auth->nkey_seed) : NATS_OK;

    if (s == NATS_OK && secure)
        s = natsOptions_SetSecure(o, true);
    if (s == NATS_OK && auth->ca_file)
        s = natsOptions_LoadCATrustedCertificates(o, auth->ca_file);
    if (s == NATS_OK && auth->cert_file)
        s = natsOptions_LoadCertificatesChain(o, auth->cert_file, auth->key_file);
    return s;
}
