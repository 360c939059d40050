#include "gateway/shard_record.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/xmem.h"
#include "messages/text.h"

enum { /* nats-server's errors.json */
       JS_WRONG_LAST_SEQUENCE = 10071,
       JS_MESSAGE_TOO_LARGE = 10054,
       JS_NO_MESSAGE = 10037,
       ANSWER_MAX = 64 << 10,
};

static bool copy_text(const json_t *object, const char *key, char *buf, size_t size)
{
    const char *text = json_str(object, key);
    if (strlen(text) >= size)
        return false;
    memcpy(buf, text, strlen(text) + 1);
    return true;
}

enum status shard_record_parse(const char *text, size_t size, struct shard_record *ret_record,
                               struct err *err)
{
    CLEANUP(json_decref) json_t *root = NULL;
    struct shard_record r = { .released = false };

    TRY(json_parse(text, size, &root, err));
    if (!json_is_object(root) ||
        !copy_text(root, "session_id", r.session.id, sizeof(r.session.id)) ||
        !copy_text(root, "resume_url", r.session.resume_url, sizeof(r.session.resume_url)) ||
        !copy_text(root, "pod", r.pod, sizeof(r.pod)))
        return err_set(err, STATUS_INVALID, "not a shard's record");
    r.session.seq = (uint64_t)json_int(root, "seq", 0);
    r.incarnation = json_id(root, "incarnation");
    r.released = json_bool(root, "released");
    r.shard_count = (uint32_t)json_int(root, "shard_count", 0);
    r.at_ms = json_int(root, "at_ms", 0);
    *ret_record = r;
    return STATUS_OK;
}

char *shard_record_text(const struct shard_record *r)
{
    CLEANUP(json_decref)
    json_t *root =
        json_pack("{s:s, s:s, s:I, s:s, s:o, s:b, s:I, s:I}", "session_id", r->session.id,
                  "resume_url", r->session.resume_url, "seq", (json_int_t)r->session.seq, "pod",
                  r->pod, "incarnation", json_from_id(r->incarnation), "released", r->released,
                  "shard_count", (json_int_t)r->shard_count, "at_ms", (json_int_t)r->at_ms);
    return json_text(root);
}

static enum status api_error(const json_t *answer, struct err *err)
{
    const json_t *error = json_object_get(answer, "error");
    if (!error)
        return STATUS_OK;
    int64_t code = json_int(error, "err_code", 0);
    enum status status = code == JS_WRONG_LAST_SEQUENCE ? STATUS_CONFLICT
                         : code == JS_NO_MESSAGE        ? STATUS_NOT_FOUND
                         : code == JS_MESSAGE_TOO_LARGE ? STATUS_INVALID
                                                        : STATUS_UNAVAILABLE;
    return err_set(err, status, "JetStream %d: %.160s", (int)code, json_str(error, "description"));
}

static enum status parse_answer(const char *text, size_t size, json_t **ret, struct err *err)
{
    CLEANUP(json_decref) json_t *root = NULL;

    if (json_parse(text, size, &root, err) != STATUS_OK || !json_is_object(root))
        return err_set(err, STATUS_UNAVAILABLE, "JetStream's answer is no JSON object");
    TRY(api_error(root, err));
    *ret = TAKE(root);
    return STATUS_OK;
}

enum status shard_record_read_stored(const char *answer, size_t size,
                                     struct shard_record *ret_record, uint64_t *ret_revision,
                                     struct err *err)
{
    CLEANUP(json_decref) json_t *root = NULL;
    uint8_t data[ANSWER_MAX];
    size_t used = 0;

    *ret_revision = 0;
    enum status status = parse_answer(answer, size, &root, err);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    const json_t *message = json_object_get(root, "message");
    const char *encoded = json_str(message, "data");
    uint64_t revision = (uint64_t)json_int(message, "seq", 0);
    if (revision == 0)
        return err_set(err, STATUS_UNAVAILABLE, "JetStream's answer has no message");
    *ret_revision = revision;
    if (strlen(encoded) / 4 * 3 + 3 > sizeof(data) ||
        !text_read_base64(encoded, strlen(encoded), data, &used))
        return err_set(err, STATUS_CORRUPT, "a shard's record is over %d bytes", ANSWER_MAX);
    if (shard_record_parse((const char *)data, used, ret_record, err) != STATUS_OK)
        return err_set(err, STATUS_CORRUPT, "a shard's record is not readable");
    return STATUS_OK;
}

enum status shard_record_read_ack(const char *answer, size_t size, uint64_t *ret_seq,
                                  struct err *err)
{
    CLEANUP(json_decref) json_t *root = NULL;

    TRY(parse_answer(answer, size, &root, err));
    int64_t seq = json_int(root, "seq", 0);
    if (seq <= 0)
        return err_set(err, STATUS_UNAVAILABLE, "JetStream's answer has no sequence");
    *ret_seq = (uint64_t)seq;
    return STATUS_OK;
}
