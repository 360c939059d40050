#include "messages/json.h"

#include <jansson.h>
#include <string.h>

void json_field_name(const ProtobufCFieldDescriptor *field, char ret_name[JSON_NAME_SIZE])
{
    size_t n = 0;
    bool upper = false;

    for (const char *c = field->name; *c && n + 1 < JSON_NAME_SIZE; c++) {
        if (*c == '_') {
            upper = true;
            continue;
        }
        ret_name[n] = *c;
        if (upper && *c >= 'a' && *c <= 'z')
            ret_name[n] = (char)(*c - 'a' + 'A');
        n++;
        upper = false;
    }
    ret_name[n] = '\0';
}

bool json_field_is_json(const ProtobufCFieldDescriptor *field)
{
    static const char suffix[] = "_json";
    size_t n = strlen(field->name);

    return field->type == PROTOBUF_C_TYPE_STRING && n >= sizeof(suffix) &&
           !strcmp(field->name + n - (sizeof(suffix) - 1), suffix);
}

static bool loads(const char *text, size_t size, size_t flags)
{
    json_t *value = json_loadb(text, size, JSON_DECODE_ANY | flags, NULL);

    json_decref(value);
    return value != NULL;
}

bool json_is_valid(const char *text, size_t size)
{
    return loads(text, size, JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL);
}

bool json_is_plain(const char *text, size_t size)
{
    return loads(text, size, JSON_REJECT_DUPLICATES);
}

size_t json_value_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return 4;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(int);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    }
    return 0;
}
