#include "edge/owner.h"

#include "messages/codec.h"

enum status owner_error(const Guildbus__V1__Error *e)
{
    static const struct {
        unsigned wire;
        enum status status;
    } known[] = {
#define STATUS(name, wire, http) { wire, STATUS_##name },
#include "base/status.def"
#undef STATUS
    };

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].wire == e->status && known[i].status != STATUS_OK)
            return known[i].status;
    return STATUS_INTERNAL;
}

bool owner_encode(struct bus_out *out, const Guildbus__V1__Envelope *e, struct arena *a)
{
    void *data;

    if (codec_encode(e, a, &data, &out->size, NULL) != STATUS_OK)
        return false;
    out->data = data;
    return true;
}
