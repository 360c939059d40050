#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/xmem.h"

enum status json_parse(const char *text, size_t size, json_t **ret_root, struct err *err)
{
    json_error_t why;

    /* jansson 2.14 drops a NUL behind a number, so that what follows would pass unseen */
    if (memchr(text, '\0', size))
        return err_set(err, STATUS_INVALID, "JSON: there is a NUL in it");
    json_t *root = json_loadb(text, size, JSON_DECODE_ANY, &why);

    if (!root)
        return err_set(err, STATUS_INVALID, "JSON, line %d column %d: %s", why.line, why.column,
                       why.text);
    *ret_root = root;
    return STATUS_OK;
}

char *json_text(const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

    return text ? text : xstrdup("null");
}

bool id_parse(const char *text, uint64_t *ret_id)
{
    uint64_t id = 0;
    size_t n = 0;

    for (; text[n] >= '0' && text[n] <= '9'; n++) {
        uint64_t digit = (uint64_t)(text[n] - '0');
        if (id > (UINT64_MAX - digit) / 10)
            return false;
        id = id * 10 + digit;
    }
    if (text[n] || id == 0)
        return false;
    *ret_id = id;
    return true;
}

uint64_t json_id(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    uint64_t id = 0;

    if (json_is_string(value) && !id_parse(json_string_value(value), &id))
        return 0;
    if (json_is_integer(value) && json_integer_value(value) > 0)
        id = (uint64_t)json_integer_value(value);
    return id;
}

const char *json_str(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

int64_t json_int(const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *value = json_object_get(object, key);

    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

bool json_bool(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

json_t *json_from_id(uint64_t id)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%" PRIu64, id);
    json_t *value = json_string(text);
    must(value);
    return value;
}
