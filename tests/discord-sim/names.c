#include <stdio.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/xmem.h"
#include "tests/discord-sim/out.h"
#include "tests/discord-sim/world.h"

static const char *const adjectives[] = { "quiet", "brave",  "lazy",  "amber", "hollow", "rapid",
                                          "merry", "silver", "sunny", "wild",  "mossy",  "polite" };
static const char *const nouns[] = { "otter",  "falcon", "maple", "badger",  "comet", "lantern",
                                     "harbor", "walnut", "heron", "thistle", "pixel", "kettle" };
static const char *const topics[] = { "Gardeners", "Compilers", "Chess Club", "Night Shift",
                                      "Synth Lab", "Cyclists",  "Bakers",     "Rail Fans" };
/* What strangers call themselves to see who escapes and who does not. */
static const char *const hostile[] = {
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(2)>",
    "\xe2\x80\xae" /* NOLINT(bugprone-suspicious-missing-comma): "n" is no hex digit of it */
    "nimda",
    "\xf0\x9f\xa6\xa6\xf0\x9f\x94\xa5 otter \xf0\x9f\x8e\x89",
    "'; DROP TABLE guilds;--",
    "\xd9\x85\xd8\xad\xd9\x85\xd8\xaf",
    "a\xe2\x80\x8b"
    "b\xe2\x80\x8b"
    "c",
    "&amp; {{name}} %s %n",
    "\xe6\x9d\xb1\xe4\xba\xac\xe3\x81\xae\xe4\xba\xba",
    "@everyone",
};
static const char *const words[] = {
    "the",    "garden",  "window", "over",  "there", "maybe",  "later",  "this",   "build",
    "works",  "again",   "after",  "lunch", "could", "you",    "look",   "at",     "my",
    "branch", "because", "tests",  "are",   "green", "today",  "and",    "nobody", "knows",
    "why",    "thanks",  "a",      "lot",   "for",   "your",   "help",   "with",   "that",
    "old",    "train",   "photo",  "from",  "last",  "summer", "people", "really", "liked",
    "which",  "colour",  "should", "we",    "paint", "it",     "now",    "soup",   "weather"
};
static const char *const emoji[] = { "\xf0\x9f\x98\x80", "\xf0\x9f\x9a\x80", "\xf0\x9f\xa6\xa6",
                                     "<:blob:412345678901234567>", "\xf0\x9f\x8e\x89" };

#define PICK(r, list) ((list)[rng_below((r), ARRAY_LEN(list))])

char *name_of_guild(struct rng *r, size_t index)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    out_text(&o, PICK(r, topics));
    out_json(&o, " %d", (int)index);
    if (index % 7 == 3)
        out_json(&o, " %r", PICK(r, hostile));
    return out_take(&o);
}

char *name_of_user(struct rng *r, size_t index)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;

    out_json(&o, "%r_%r%d", PICK(r, adjectives), PICK(r, nouns), (int)index);
    return out_take(&o);
}

char *name_to_show(struct rng *r, size_t index)
{
    if (index % 6 == 5)
        return xstrdup(hostile[(index / 6) % ARRAY_LEN(hostile)]);
    return xstrdup(PICK(r, nouns));
}

static void add_words(struct out *o, struct rng *r, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out_text(o, i ? " " : "");
        out_text(o, PICK(r, words));
    }
}

/* Three words drawn by letter, so that no two messages of a member are the same. */
static void add_unique(struct out *o, struct rng *r)
{
    char made[13];

    for (size_t i = 0; i < sizeof(made) - 1; i++)
        made[i] = i % 2 ? "aou"[rng_below(r, 3)] : "bklmrtvz"[rng_below(r, 8)];
    made[sizeof(made) - 1] = '\0';
    out_json(o, " %r", made);
}

static void add_code(struct out *o, struct rng *r)
{
    out_text(o, "\n```c\nint ");
    out_text(o, PICK(r, nouns));
    out_text(o, "(void)\n{\n    return \"<b>\" != NULL && 2 > 1;\n}\n```\n");
    add_words(o, r, 4);
}

static void add_lines(struct out *o, struct rng *r)
{
    out_text(o, "\n> ");
    add_words(o, r, 6);
    out_text(o, "\n\n\"");
    add_words(o, r, 3);
    out_text(o, "\" \\o/ `inline <code>`");
}

char *content_make(struct rng *r)
{
    CLEANUP(out_release) struct out o = OUT_EMPTY;
    size_t kind = rng_below(r, 20);

    if (kind == 0)
        return xstrdup(""); /* a picture without words */
    add_words(&o, r, 2 + rng_below(r, 24));
    add_unique(&o, r);
    if (kind == 1)
        add_code(&o, r);
    else if (kind == 2 || kind == 3)
        out_json(&o, " https://example.org/%r?a=b&c=%r", PICK(r, nouns), PICK(r, words));
    else if (kind <= 6)
        out_json(&o, " %r %r", PICK(r, emoji), PICK(r, emoji));
    else if (kind == 7)
        add_lines(&o, r);
    else if (kind == 8)
        out_text(&o, " \xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d \xd8\xb3\xd9\x84\xd8\xa7\xd9\x85");
    else if (kind == 9)
        out_text(&o, " <script>alert('hi')</script> & <b>bold</b>");
    return out_take(&o);
}
