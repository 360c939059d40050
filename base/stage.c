#include "base/stage.h"

#include "base/clock.h"
#include "base/metrics.h"

static struct metric stages[] = {
#define STAGE(name, label)                                                                         \
    METRIC_HISTOGRAM_L("guildbus_stage_seconds", "time in each stage of the way",                  \
                       "stage=\"" label "\""),
#include "base/stages.def"
#undef STAGE
};

void stage_took(enum stage stage, int64_t us)
{
    metric_observe_us(&stages[stage], us < 0 ? 0 : us);
}

void stage_ends(enum stage stage, int64_t began_us)
{
    stage_took(stage, clock_now_us() - began_us);
}
