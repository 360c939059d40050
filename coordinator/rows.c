#include "coordinator/rows.h"

#include <string.h>

#include "base/macros.h"

static const char *const guild_states[] = {
#define GUILD_STATE(name, text) text,
#include "coordinator/states.def"
};
static const char *const pod_statuses[] = {
#define POD_STATUS(name, text) text,
#include "coordinator/states.def"
};
static const struct {
    const char *text;
    bool open;
} move_states[] = {
#define MOVE_STATE(name, text, open) { text, open },
#include "coordinator/states.def"
};

const char *guild_state_text(enum guild_state state)
{
    return guild_states[state];
}

const char *pod_status_text(enum pod_status status)
{
    return pod_statuses[status];
}

const char *move_state_text(enum move_state state)
{
    return move_states[state].text;
}

bool move_state_is_open(enum move_state state)
{
    return move_states[state].open;
}

bool guild_state_parse(const char *text, enum guild_state *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(guild_states); i++) {
        if (!strcmp(guild_states[i], text)) {
            *ret = (enum guild_state)i;
            return true;
        }
    }
    return false;
}

bool pod_status_parse(const char *text, enum pod_status *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(pod_statuses); i++) {
        if (!strcmp(pod_statuses[i], text)) {
            *ret = (enum pod_status)i;
            return true;
        }
    }
    return false;
}

bool move_state_parse(const char *text, enum move_state *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(move_states); i++) {
        if (!strcmp(move_states[i].text, text)) {
            *ret = (enum move_state)i;
            return true;
        }
    }
    return false;
}

void text_copy(char *into, size_t size, const char *text)
{
    size_t n = strnlen(text, size - 1);

    memcpy(into, text, n);
    into[n] = '\0';
}

void text_copy_clean(char *into, size_t size, const char *text)
{
    text_copy(into, size, text);
    for (; *into; into++) {
        if (*into < ' ' || *into > '~')
            *into = '?';
    }
}

bool pod_id_is_valid(const char *pod)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t n = strspn(pod, allowed);

    return n > 0 && n < POD_ID_SIZE && !pod[n];
}
