/* stage.h - how long each stage of the way takes: guildbus_stage_seconds{stage="…"} (stages.def).
 *
 * THREAD: any. */
#ifndef BASE_STAGE_H
#define BASE_STAGE_H

#include <stdint.h>

enum stage {
#define STAGE(name, label) name,
#include "base/stages.def"
#undef STAGE
};

/* Microseconds; below 0 counts as 0: some are the difference of two machines' clocks. */
void stage_took(enum stage stage, int64_t us);
/* From a time of clock_now_us() until now. */
void stage_ends(enum stage stage, int64_t began_us);

#endif
