#include "coordinator/ctl/nats_keys.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/nkey.h"
#include "base/xmem.h"

static const char *const users[] = { "edge", "gateway", "coordinator", "operator" };
/* Of a seed's file, and of the variable with its public half. */
static const struct kind {
    const char *file, *variable;
} kinds[] = { { ".seed", "_NKEY" }, { ".spare.seed", "_NKEY_SPARE" } };
enum { KEY, SPARE };

static enum status failed(const char *path, struct err *err)
{
    return err_set(err, STATUS_UNAVAILABLE, "%s: %m", path);
}

static char *seed_path(const char *folder, const char *user, int kind)
{
    return xasprintf("%s/%s%s", folder, user, kinds[kind].file);
}

/* Whole or not at all, and on the disk when it returns. */
static enum status write_file(const char *path, const char *text, mode_t mode, struct err *err)
{
    CLEANUP(xfree) char *draft = xasprintf("%s.new", path);
    size_t size = strlen(text);

    (void)unlink(draft);
    int fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return failed(draft, err);
    bool good = write(fd, text, size) == (ssize_t)size && fsync(fd) == 0;
    good = close(fd) == 0 && good;
    if (good && rename(draft, path) == 0)
        return STATUS_OK;
    enum status status = failed(path, err);
    (void)unlink(draft);
    return status;
}

static enum status make_seed(const char *path, struct err *err)
{
    char seed[NKEY_SEED_SIZE], line[NKEY_SEED_SIZE + 1];

    nkey_make(seed);
    (void)snprintf(line, sizeof(line), "%s\n", seed);
    enum status status = write_file(path, line, 0600, err);
    explicit_bzero(seed, sizeof(seed));
    explicit_bzero(line, sizeof(line));
    return status;
}

static enum status read_public(const char *path, char ret_public[NKEY_PUBLIC_SIZE], struct err *err)
{
    char seed[NKEY_SEED_SIZE + 1] = "";
    struct err why = { 0 };
    FILE *file = fopen(path, "re");

    if (!file)
        return failed(path, err);
    (void)!fgets(seed, sizeof(seed), file);
    (void)fclose(file);
    seed[strcspn(seed, "\r\n")] = '\0';
    enum status status = nkey_public(seed, ret_public, &why);
    explicit_bzero(seed, sizeof(seed));
    return status == STATUS_OK ? STATUS_OK : err_set(err, status, "%s %s", path, why.text);
}

static enum status make_missing(const char *folder, struct err *err)
{
    if (mkdir(folder, 0700) && errno != EEXIST)
        return failed(folder, err);
    for (size_t i = 0; i < ARRAY_LEN(users) * ARRAY_LEN(kinds); i++) {
        CLEANUP(xfree) char *path = seed_path(folder, users[i / 2], (int)(i % 2));
        if (access(path, F_OK) == 0)
            continue;
        TRY(make_seed(path, err));
        (void)printf("made %s\n", path);
    }
    return STATUS_OK;
}

static enum status put_public(const char *folder, const char *user, int kind, FILE *out,
                              struct err *err)
{
    CLEANUP(xfree) char *path = seed_path(folder, user, kind);
    char public_key[NKEY_PUBLIC_SIZE];

    TRY(read_public(path, public_key, err));
    for (const char *c = user; *c; c++)
        fputc(toupper((unsigned char)*c), out);
    fprintf(out, "%s=%s\n", kinds[kind].variable, public_key);
    return STATUS_OK;
}

static enum status write_environment(const char *folder, struct err *err)
{
    CLEANUP(xfree) char *path = xasprintf("%s/nats.env", folder);
    char *text = NULL;
    size_t size;
    enum status status = STATUS_OK;
    FILE *out = open_memstream(&text, &size);

    must(out);
    for (size_t i = 0; status == STATUS_OK && i < ARRAY_LEN(users) * ARRAY_LEN(kinds); i++)
        status = put_public(folder, users[i / 2], (int)(i % 2), out, err);
    must(fclose(out) == 0);
    if (status == STATUS_OK)
        status = write_file(path, text, 0644, err);
    free(text);
    if (status == STATUS_OK)
        (void)printf("wrote %s\n", path);
    return status;
}

static enum ctl_exit told(enum status status, const struct err *err)
{
    if (status == STATUS_OK)
        return CTL_DONE;
    (void)fprintf(stderr, "guildbusctl: %s\n", err->text);
    return CTL_FAILED;
}

enum ctl_exit on_nats_keys(const struct request *r)
{
    struct err err = { 0 };

    if (r->word_count != 1)
        return usage("nats-keys takes FOLDER", "");
    enum status status = make_missing(r->words[0], &err);
    if (status == STATUS_OK)
        status = write_environment(r->words[0], &err);
    return told(status, &err);
}

/* Stopped anywhere, nats-keys makes what is missing then. */
static enum status rotate(const char *folder, const char *user, struct err *err)
{
    CLEANUP(xfree) char *key = seed_path(folder, user, KEY);
    CLEANUP(xfree) char *spare = seed_path(folder, user, SPARE);
    char public_key[NKEY_PUBLIC_SIZE];

    TRY(read_public(spare, public_key, err));
    if (rename(spare, key))
        return failed(key, err);
    TRY(make_seed(spare, err));
    (void)printf("%s has the key %s now\n", user, public_key);
    return write_environment(folder, err);
}

enum ctl_exit on_rotate_nats_key(const struct request *r)
{
    struct err err = { 0 };

    if (r->word_count != 2)
        return usage("rotate-nats-key takes FOLDER and USER", "");
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        if (!strcmp(users[i], r->words[1]))
            return told(rotate(r->words[0], r->words[1], &err), &err);
    }
    return usage("USER is edge, gateway, coordinator or operator, not ", r->words[1]);
}
