#include "messages/subjects.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum parameters {
    TAKES_PART_GUILD,
    TAKES_GUILD,
    TAKES_POD,
    TAKES_VERB,
    TAKES_SHARD,
    TAKES_SHARD_OF
};

static const struct {
    enum parameters takes;
    const char *format, *wildcard, *body;
} kinds[SUBJECT_KINDS] = {
#define SUBJECT(NAME, function, parameters, format, wildcard, body, ...)                           \
    { TAKES_##parameters, format, wildcard, body },
#include "messages/subjects.def"
#undef SUBJECT
};

uint32_t subject_part(uint64_t guild_id)
{
    uint64_t x = guild_id >> 22; /* below: worker, process and counter, nearly always the same */

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return (uint32_t)(x % SUBJECT_PARTITIONS);
}

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

static bool is_token(const char *text)
{
    size_t n = 0;

    while (n < SUBJECT_TOKEN_SIZE && is_token_char(text[n]))
        n++;
    return n > 0 && n < SUBJECT_TOKEN_SIZE && !text[n];
}

#define MAKE_PART_GUILD(function, format)                                                          \
    struct subject subject_##function(uint64_t guild_id)                                           \
    {                                                                                              \
        struct subject s;                                                                          \
        (void)snprintf(s.text, sizeof(s.text), format, subject_part(guild_id), guild_id);          \
        return s;                                                                                  \
    }
#define MAKE_GUILD(function, format)                                                               \
    struct subject subject_##function(uint64_t guild_id)                                           \
    {                                                                                              \
        struct subject s;                                                                          \
        (void)snprintf(s.text, sizeof(s.text), format, guild_id);                                  \
        return s;                                                                                  \
    }
/* NOLINTBEGIN(bugprone-macro-parentheses): the name of a parameter takes none */
#define MAKE_TOKEN(function, format, token)                                                        \
    struct subject subject_##function(const char *token)                                           \
    {                                                                                              \
        struct subject s = { "" };                                                                 \
        if (is_token(token) || !strcmp(token, "*"))                                                \
            (void)snprintf(s.text, sizeof(s.text), format, token);                                 \
        return s;                                                                                  \
    }
/* NOLINTEND(bugprone-macro-parentheses) */
#define MAKE_POD(function, format)  MAKE_TOKEN(function, format, pod)
#define MAKE_VERB(function, format) MAKE_TOKEN(function, format, verb)
#define MAKE_SHARD(function, format)                                                               \
    struct subject subject_##function(uint32_t shard)                                              \
    {                                                                                              \
        struct subject s;                                                                          \
        (void)snprintf(s.text, sizeof(s.text), format, shard);                                     \
        return s;                                                                                  \
    }
#define MAKE_SHARD_OF(function, format)                                                            \
    struct subject subject_##function(uint32_t count, uint32_t shard)                              \
    {                                                                                              \
        struct subject s;                                                                          \
        (void)snprintf(s.text, sizeof(s.text), format, count, shard);                              \
        return s;                                                                                  \
    }
#define SUBJECT(NAME, function, parameters, format, ...) MAKE_##parameters(function, format)
#include "messages/subjects.def"
#undef SUBJECT

struct subject subject_log_stream(uint64_t guild_id)
{
    struct subject s;

    (void)snprintf(s.text, sizeof(s.text), "LOG_%u", subject_part(guild_id));
    return s;
}

const char *subject_wildcard(enum subject_kind kind)
{
    return kinds[kind].wildcard;
}

const char *subject_body(enum subject_kind kind)
{
    return kinds[kind].body;
}

struct subject subject_of_part(enum subject_kind kind, uint32_t part)
{
    struct subject s;
    const char *all = kinds[kind].wildcard;

    (void)snprintf(s.text, sizeof(s.text), "%.*s%u.>", (int)strlen(all) - 1, all, part);
    return s;
}

/* What the holes of a format held. */
struct holes {
    uint64_t part, guild_id;
    char token[SUBJECT_TOKEN_SIZE];
};

/* As printf would write it: no sign, no leading zero. */
static const char *read_number(const char *at, uint64_t *ret)
{
    uint64_t value = 0;
    const char *start = at;

    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return NULL;
    }
    if (at == start || (*start == '0' && at > start + 1))
        return NULL;
    *ret = value;
    return at;
}

static const char *read_token(const char *at, char ret[SUBJECT_TOKEN_SIZE])
{
    size_t n = strcspn(at, ".");

    if (n == 0 || n >= SUBJECT_TOKEN_SIZE)
        return NULL;
    memcpy(ret, at, n);
    ret[n] = '\0';
    return is_token(ret) ? at + n : NULL;
}

/* Reads one hole; *format stands on its '%' and moves past it. */
static const char *read_hole(const char **format, const char *at, struct holes *ret)
{
    const char *f = *format;

    if (!strncmp(f, "%" PRIu64, strlen("%" PRIu64))) {
        *format = f + strlen("%" PRIu64);
        return read_number(at, &ret->guild_id);
    }
    *format = f + 2;
    return f[1] == 's' ? read_token(at, ret->token) : read_number(at, &ret->part);
}

static bool format_matches(const char *format, const char *subject, struct holes *ret)
{
    while (*format) {
        if (*format == '%') {
            subject = read_hole(&format, subject, ret);
            if (!subject)
                return false;
        } else if (*format++ != *subject++) {
            return false;
        }
    }
    return !*subject;
}

static bool subject_read(const char *subject, enum subject_kind *ret_kind, struct holes *ret)
{
    for (int kind = 0; kind < SUBJECT_KINDS; kind++) {
        if (!format_matches(kinds[kind].format, subject, ret))
            continue;
        if (kinds[kind].takes == TAKES_PART_GUILD && ret->part != subject_part(ret->guild_id))
            return false;
        *ret_kind = (enum subject_kind)kind;
        return true;
    }
    return false;
}

bool subject_guild(const char *subject, uint64_t *ret_guild_id)
{
    struct holes holes = { 0 };
    enum subject_kind kind;

    if (!subject_read(subject, &kind, &holes) ||
        (kinds[kind].takes != TAKES_PART_GUILD && kinds[kind].takes != TAKES_GUILD))
        return false;
    *ret_guild_id = holes.guild_id;
    return true;
}

bool subject_pod(const char *subject, char ret_pod[SUBJECT_TOKEN_SIZE])
{
    struct holes holes = { 0 };
    enum subject_kind kind;

    if (!subject_read(subject, &kind, &holes) || kinds[kind].takes != TAKES_POD)
        return false;
    memcpy(ret_pod, holes.token, sizeof(holes.token));
    return true;
}

bool subject_kind(const char *subject, enum subject_kind *ret_kind)
{
    struct holes holes = { 0 };

    return subject_read(subject, ret_kind, &holes);
}
