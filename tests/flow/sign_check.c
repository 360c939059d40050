/* sign_check.c - our check of Ed25519 signatures, for those who compare it with others'.
 *
 *     echo "<public key> <signature> <message>" | sign_check        all in hex; message may be missing
 *
 * A line of output for each: true, false, or "no key" when the key is none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sign.h"
#include "base/xmem.h"

static const char *check(const char *key_hex, const char *signature, const char *message_hex)
{
    CLEANUP(sign_key_free) struct sign_key *key = NULL;
    size_t size = strlen(message_hex) / 2;
    CLEANUP(xfree) char *message = xcalloc(1, size + 1);

    if (sign_public_key_new(key_hex, &key, NULL) != STATUS_OK)
        return "no key";
    if (!sign_unhex(message_hex, message, size))
        return "not hex";
    return sign_verify(key, signature, "", message, size) ? "true" : "false";
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;

    while (getline(&line, &room, stdin) > 0) {
        char *rest = line;
        line[strcspn(line, "\n")] = '\0';
        const char *key = strsep(&rest, " "), *signature = strsep(&rest, " "),
                   *message = strsep(&rest, " ");
        (void)puts(check(key, signature ? signature : "", message ? message : ""));
    }
    free(line);
    return EXIT_SUCCESS;
}
