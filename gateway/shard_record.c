#include "gateway/shard_record.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"

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
