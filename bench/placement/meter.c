#include "bench/placement/meter.h"

#include "bench/placement/clock.h"
#include "coordinator/rebalance.h"
#include "coordinator/standby.h"

enum { TIMED_EACH = 16 }; /* reading the clock costs as much as a short decision */

static struct meter meter;
static enum part running = PART_MODEL;
static int64_t since_ns;

const char *part_text(enum part part)
{
    static const char *const texts[] = {
#define PART(name, text) text,
#include "bench/placement/parts.def"
    };

    return texts[part];
}

const char *decision_text(enum decision decision)
{
    static const char *const texts[] = {
#define DECISION(function, name) #function,
#include "bench/placement/decisions.def"
    };

    return texts[decision];
}

enum part meter_enter(enum part part)
{
    enum part before = running;
    int64_t now_ns = sim_cpu_ns();

    meter.cpu_ns[running] += since_ns ? now_ns - since_ns : 0;
    since_ns = now_ns;
    running = part;
    return before;
}

void meter_leave(enum part before)
{
    (void)meter_enter(before);
}

struct meter meter_read(void)
{
    (void)meter_enter(running);
    struct meter read = meter;
    meter = (struct meter){ 0 };
    return read;
}

int64_t meter_leader_ns(void)
{
    int64_t sum = 0;

    (void)meter_enter(running);
    for (int i = 0; i < PART_COUNT; i++)
        sum += i == PART_MODEL ? 0 : meter.cpu_ns[i];
    return sum;
}

void meter_note_turn(int64_t ns)
{
    meter.longest_turn_ns = ns > meter.longest_turn_ns ? ns : meter.longest_turn_ns;
}

double decision_ns(const struct meter *m, enum decision decision)
{
    uint64_t timed = m->decisions[decision].timed;

    return timed ? (double)m->decisions[decision].timed_ns / (double)timed : 0;
}

/* ---- the calls that the linker sends here ---- */

/* NOLINTBEGIN(cert-dcl37-c,bugprone-reserved-identifier): the linker gives these names */

#define PART(name, text)
#define TURN(function, owner)                                                                      \
    enum status __real_##function(struct coordinator *c, struct err *err);                         \
    enum status __wrap_##function(struct coordinator *c, struct err *err);                         \
    enum status __wrap_##function(struct coordinator *c, struct err *err)                          \
    {                                                                                              \
        enum part before = meter_enter(PART_##owner);                                              \
        enum status status = __real_##function(c, err);                                            \
        meter_leave(before);                                                                       \
        return status;                                                                             \
    }
#include "bench/placement/parts.def"

void __real_mirror_apply(struct mirror *m, const struct plan *plan, struct moment at);
void __wrap_mirror_apply(struct mirror *m, const struct plan *plan, struct moment at);
void __wrap_mirror_apply(struct mirror *m, const struct plan *plan, struct moment at)
{
    enum part before = meter_enter(PART_MIRROR);

    __real_mirror_apply(m, plan, at);
    meter_leave(before);
}

void __real_orders_send(struct coordinator *c, bool whole_turn);
void __wrap_orders_send(struct coordinator *c, bool whole_turn);
void __wrap_orders_send(struct coordinator *c, bool whole_turn)
{
    enum part before = meter_enter(PART_ORDERS);

    __real_orders_send(c, whole_turn);
    meter_leave(before);
}

void __real_handoffs_send(struct coordinator *c);
void __wrap_handoffs_send(struct coordinator *c);
void __wrap_handoffs_send(struct coordinator *c)
{
    enum part before = meter_enter(PART_MOVES);

    __real_handoffs_send(c);
    meter_leave(before);
}

/* 0: this call is not timed. */
static int64_t begin(enum decision decision)
{
    return meter.decisions[decision].count++ % TIMED_EACH ? 0 : sim_cpu_ns();
}

static void end(enum decision decision, int64_t begun_ns)
{
    if (!begun_ns)
        return;
    meter.decisions[decision].timed++;
    meter.decisions[decision].timed_ns += sim_cpu_ns() - begun_ns;
}

struct place_pod *__real_place_guild(struct place *place, uint32_t schema, const char *except,
                                     bool *ret_full);
struct place_pod *__wrap_place_guild(struct place *place, uint32_t schema, const char *except,
                                     bool *ret_full);
struct place_pod *__wrap_place_guild(struct place *place, uint32_t schema, const char *except,
                                     bool *ret_full)
{
    int64_t begun_ns = begin(DECISION_PLACE_GUILD);
    struct place_pod *pod = __real_place_guild(place, schema, except, ret_full);

    end(DECISION_PLACE_GUILD, begun_ns);
    return pod;
}

bool __real_place_prefer(struct place *place, struct place_pod *pod, uint32_t schema);
bool __wrap_place_prefer(struct place *place, struct place_pod *pod, uint32_t schema);
bool __wrap_place_prefer(struct place *place, struct place_pod *pod, uint32_t schema)
{
    int64_t begun_ns = begin(DECISION_PLACE_PREFER);
    bool takes = __real_place_prefer(place, pod, schema);

    end(DECISION_PLACE_PREFER, begun_ns);
    return takes;
}

struct standby_pod *__real_standby_choose(struct standby_pods *all, const struct standby_ask *ask);
struct standby_pod *__wrap_standby_choose(struct standby_pods *all, const struct standby_ask *ask);
struct standby_pod *__wrap_standby_choose(struct standby_pods *all, const struct standby_ask *ask)
{
    int64_t begun_ns = begin(DECISION_STANDBY_CHOOSE);
    struct standby_pod *pod = __real_standby_choose(all, ask);

    end(DECISION_STANDBY_CHOOSE, begun_ns);
    return pod;
}

struct standby_pod *__real_standby_better(struct standby_pods *all, const struct standby_ask *ask,
                                          struct standby_pod *at);
struct standby_pod *__wrap_standby_better(struct standby_pods *all, const struct standby_ask *ask,
                                          struct standby_pod *at);
struct standby_pod *__wrap_standby_better(struct standby_pods *all, const struct standby_ask *ask,
                                          struct standby_pod *at)
{
    int64_t begun_ns = begin(DECISION_STANDBY_BETTER);
    struct standby_pod *pod = __real_standby_better(all, ask, at);

    end(DECISION_STANDBY_BETTER, begun_ns);
    return pod;
}

size_t __real_balance_plan(struct balance *b, double even, struct balance_move *ret_moves,
                           size_t most);
size_t __wrap_balance_plan(struct balance *b, double even, struct balance_move *ret_moves,
                           size_t most);
size_t __wrap_balance_plan(struct balance *b, double even, struct balance_move *ret_moves,
                           size_t most)
{
    int64_t begun_ns = sim_cpu_ns();
    size_t moves = __real_balance_plan(b, even, ret_moves, most);

    meter.decisions[DECISION_BALANCE_PLAN].count++;
    end(DECISION_BALANCE_PLAN, begun_ns);
    return moves;
}
/* NOLINTEND(cert-dcl37-c,bugprone-reserved-identifier) */
