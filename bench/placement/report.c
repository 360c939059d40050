#include "bench/placement/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/json.h"

static double leader_s(const struct phase *p)
{
    int64_t ns = 0;

    for (int i = 0; i < PART_COUNT; i++)
        ns += i == PART_MODEL ? 0 : p->meter.cpu_ns[i];
    return (double)ns / 1e9;
}

static uint64_t rows_of(const struct sim_counts *n)
{
    return n->guild_rows + n->history_rows + n->move_rows + n->standby_rows;
}

static uint64_t moves_of(const struct sim_counts *n)
{
    return n->placed + n->to_standby + n->to_least + n->drain_moves + n->rebalance_moves;
}

/* ---- for people ---- */

static void tell_spread(const char *what, struct spread before, struct spread after)
{
    (void)fprintf(stderr, "    %-7s most %.2f -> %.2f, least %.2f -> %.2f of the mean\n", what,
                  before.most, after.most, before.least, after.least);
}

static void tell_cpu(const struct phase *p)
{
    double cpu_s = leader_s(p);

    (void)fprintf(stderr, "    leader  %.1f s CPU in %.0f s, longest turn %.0f ms:", cpu_s,
                  p->simulated_s, (double)p->meter.longest_turn_ns / 1e6);
    for (int i = 0; i < PART_COUNT; i++) {
        if (i != PART_MODEL && p->meter.cpu_ns[i] > 50000000)
            (void)fprintf(stderr, " %.1f %s;", (double)p->meter.cpu_ns[i] / 1e9,
                          part_text((enum part)i));
    }
    (void)fputs("\n", stderr);
    for (int i = 0; i < DECISION_COUNT; i++) {
        if (p->meter.decisions[i].count)
            (void)fprintf(stderr, "            %s: %" PRIu64 " calls, %.2f us each\n",
                          decision_text((enum decision)i), p->meter.decisions[i].count,
                          decision_ns(&p->meter, (enum decision)i) / 1000);
    }
}

void report_phase(const struct phase *p)
{
    const struct sim_counts *n = &p->counts;

    (void)fprintf(stderr, "%s (%zu pods)%s\n", p->name, p->after.pods,
                  p->is_settled ? "" : ", not waited for to be even");
    (void)fprintf(stderr,
                  "    after   %.1f s served, %.1f s all standbys, %.0f s last move to even out\n",
                  p->served_s, p->standbys_s, p->settled_s);
    (void)fprintf(stderr,
                  "    guilds  %" PRIu64 " placed, %" PRIu64 " to a standby, %" PRIu64
                  " to the least loaded, %" PRIu64 " drained, %" PRIu64 " evened; %" PRIu64
                  " ended early; %" PRIu64 " standbys given, %" PRIu64 " guilds without\n",
                  n->placed, n->to_standby, n->to_least, n->drain_moves, n->rebalance_moves,
                  n->ended_early, n->standbys, p->without_standby);
    if (p->heirs.guilds)
        (void)fprintf(stderr,
                      "    heirs   %" PRIu64 " guilds to %zu pods, most %u, mean %.2f; %" PRIu64
                      " without a standby then\n",
                      p->heirs.guilds, p->heirs.pods, p->heirs.most, p->heirs.mean,
                      p->heirs.without_standby);
    tell_spread("number", p->before.guilds, p->after.guilds);
    tell_spread("load", p->before.load, p->after.load);
    tell_spread("weight", p->before.weight, p->after.weight);
    (void)fprintf(stderr,
                  "    store   %" PRIu64 " rows in %" PRIu64 " commits, %" PRIu64 " beats\n",
                  rows_of(n), n->commits, n->beat_rows);
    tell_cpu(p);
}

/* ---- JSON ---- */

static json_t *json_spread(struct spread s)
{
    return json_pack("{s:f, s:f}", "most", s.most, "least", s.least);
}

static json_t *json_skew(const struct skew *s)
{
    return json_pack("{s:I, s:f, s:f, s:o, s:o, s:o}", "pods", (json_int_t)s->pods, "guilds_mean",
                     s->guilds_mean, "load_mean", s->load_mean, "guilds", json_spread(s->guilds),
                     "load", json_spread(s->load), "weight", json_spread(s->weight));
}

static json_t *json_counts(const struct sim_counts *n)
{
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "placed", (json_int_t)n->placed,
        "to_standby", (json_int_t)n->to_standby, "to_least_loaded", (json_int_t)n->to_least,
        "drained", (json_int_t)n->drain_moves, "rebalanced", (json_int_t)n->rebalance_moves,
        "ended_early", (json_int_t)n->ended_early, "standbys", (json_int_t)n->standbys,
        "reauthorised", (json_int_t)n->reauthorised, "refused", (json_int_t)n->refused);
}

static json_t *json_rows(const struct sim_counts *n)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "guilds", (json_int_t)n->guild_rows,
                     "history", (json_int_t)n->history_rows, "moves", (json_int_t)n->move_rows,
                     "standbys", (json_int_t)n->standby_rows, "heartbeats",
                     (json_int_t)n->beat_rows, "commits", (json_int_t)n->commits);
}

static json_t *json_cpu(const struct meter *m)
{
    json_t *parts = json_object();

    for (int i = 0; i < PART_COUNT; i++)
        (void)json_object_set_new(parts, part_text((enum part)i),
                                  json_real((double)m->cpu_ns[i] / 1e9));
    return parts;
}

static json_t *json_decisions(const struct meter *m)
{
    json_t *all = json_object();

    for (int i = 0; i < DECISION_COUNT; i++) {
        if (m->decisions[i].count)
            (void)json_object_set_new(all, decision_text((enum decision)i),
                                      json_pack("{s:I, s:f}", "count",
                                                (json_int_t)m->decisions[i].count, "us_each",
                                                decision_ns(m, (enum decision)i) / 1000));
    }
    return all;
}

static json_t *json_heirs(const struct heirs *h)
{
    return json_pack("{s:I, s:I, s:I, s:f, s:I}", "guilds", (json_int_t)h->guilds, "pods",
                     (json_int_t)h->pods, "most", (json_int_t)h->most, "mean", h->mean,
                     "without_standby_then", (json_int_t)h->without_standby);
}

static json_t *json_phase(const struct phase *p)
{
    double cpu_s = leader_s(p);
    json_t *phase = json_pack(
        "{s:s, s:b, s:f, s:f, s:f, s:f, s:I, s:I, s:f, s:f, s:f, s:f}", "name", p->name, "settled",
        p->is_settled, "served_s", p->served_s, "standbys_s", p->standbys_s, "settled_s",
        p->settled_s, "simulated_s", p->simulated_s, "without_standby",
        (json_int_t)p->without_standby, "moves", (json_int_t)moves_of(&p->counts), "leader_cpu_s",
        cpu_s, "leader_busy_percent", cpu_s * 100 / p->simulated_s, "longest_turn_ms",
        (double)p->meter.longest_turn_ns / 1e6, "skew", p->after.weight.most);

    (void)json_object_set_new(phase, "changes", json_counts(&p->counts));
    (void)json_object_set_new(phase, "stored", json_rows(&p->counts));
    (void)json_object_set_new(phase, "before", json_skew(&p->before));
    (void)json_object_set_new(phase, "after", json_skew(&p->after));
    (void)json_object_set_new(phase, "cpu_s", json_cpu(&p->meter));
    (void)json_object_set_new(phase, "decisions", json_decisions(&p->meter));
    if (p->heirs.guilds)
        (void)json_object_set_new(phase, "heirs", json_heirs(&p->heirs));
    return phase;
}

static json_t *json_assumed(void)
{
    const struct sim_costs *c = &sim_costs;

    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "net_us", (json_int_t)c->net,
                     "own_us", (json_int_t)c->own, "load_us", (json_int_t)c->load, "take_us",
                     (json_int_t)c->take, "commit_us", (json_int_t)c->commit, "row_us",
                     (json_int_t)c->row, "identify_us", (json_int_t)c->identify, "restart_us",
                     (json_int_t)c->restart);
}

void report_all(const struct report_head *head, const struct sim *s, const struct phase *phases,
                size_t count)
{
    struct rusage usage = { 0 };
    json_t *list = json_array();
    size_t own = s->world.guild_count * sizeof(*s->world.guilds) +
                 s->world.pod_room * sizeof(*s->world.pods) +
                 s->events.room * sizeof(*s->events.heap);

    (void)getrusage(RUSAGE_SELF, &usage);
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(list, json_phase(&phases[i]));
    CLEANUP(json_decref)
    json_t *all =
        json_pack("{s:I, s:I, s:I, s:f, s:I, s:o, s:f, s:f, s:o}", "pods", (json_int_t)head->pods,
                  "guilds", (json_int_t)head->guilds, "seed", (json_int_t)head->seed, "load",
                  head->load, "patience_s", (json_int_t)s->patience_s, "assumed", json_assumed(),
                  "peak_memory_mib", (double)usage.ru_maxrss / 1024, "simulation_memory_mib",
                  (double)own / 1048576, "phases", list);
    (void)fprintf(stderr, "peak memory %.0f MiB, of which the simulation's own tables %.0f MiB\n",
                  (double)usage.ru_maxrss / 1024, (double)own / 1048576);
    must(all && json_dumpf(all, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6)) == 0);
    (void)fputs("\n", stdout);
}
