#include "base/stall.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/metrics.h"

enum { STALL_US = 500 * 1000 };

static struct metric stalls =
    METRIC_HISTOGRAM("guildbus_loop_stall_seconds", "the event loop stood still for 0.5 s or more");

static void tell(int64_t us, const char *kind, void (*fn)(void))
{
    const char *program = "-";
    uintptr_t at = (uintptr_t)fn;
    Dl_info where;

    /* NOLINTNEXTLINE(performance-no-int-to-ptr): dladdr wants it so */
    if (fn && dladdr((void *)at, &where) && where.dli_fname) {
        const char *slash = strrchr(where.dli_fname, '/');
        program = slash ? slash + 1 : where.dli_fname;
        at -= (uintptr_t)where.dli_fbase;
    }
    metric_observe_us(&stalls, us);
    log_warn("loop_stalled", "ms=%" PRId64 " in=%s fn=%s+0x%" PRIxPTR, us / 1000, kind, program,
             at);
}

void stall_begin(struct stall *s, int64_t due_us)
{
    int64_t now_us = clock_now_us(), free_us = due_us > s->from_us ? due_us : s->from_us;

    if (now_us - free_us >= STALL_US)
        tell(now_us - free_us, "other", NULL);
    s->from_us = now_us;
}

void stall_look(struct stall *s, const char *kind, void (*fn)(void))
{
    int64_t now_us = clock_now_us(), took_us = now_us - s->from_us;

    s->from_us = now_us;
    if (took_us >= STALL_US)
        tell(took_us, kind, fn);
}

void stall_forget(struct stall *s)
{
    s->from_us = clock_now_us();
}
