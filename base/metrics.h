/* metrics.h - counters, gauges and histograms, printed as Prometheus text.
 *
 *     static struct metric applied = METRIC_COUNTER("events_applied_total", "events applied");
 *     metric_add(&applied, 1);
 *
 * A metric registers itself at its first use; no allocation, no lock on the way. Labels are fixed
 * text given in the initialiser (METRIC_COUNTER_L), so a family's members are separate statics.
 *
 * THREAD: any. */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum metric_kind { METRIC_KIND_COUNTER, METRIC_KIND_GAUGE, METRIC_KIND_HISTOGRAM };
enum { METRIC_BUCKETS = 23 }; /* upper bounds 2^i × 5 µs: 5 µs … 21 s */

struct metric {
    const char *name, *help, *labels; /* labels: NULL or a="b",c="d" */
    enum metric_kind kind;
    _Atomic int registered;
    _Atomic int64_t value; /* counter, gauge; histogram: sum in µs */
    _Atomic int64_t buckets[METRIC_BUCKETS + 1];
    struct metric *next;
};
#define METRIC_COUNTER(n, h)                                                                       \
    {                                                                                              \
        .name = (n), .help = (h), .kind = METRIC_KIND_COUNTER                                      \
    }
#define METRIC_COUNTER_L(n, h, l)                                                                  \
    {                                                                                              \
        .name = (n), .help = (h), .labels = (l), .kind = METRIC_KIND_COUNTER                       \
    }
#define METRIC_GAUGE(n, h)                                                                         \
    {                                                                                              \
        .name = (n), .help = (h), .kind = METRIC_KIND_GAUGE                                        \
    }
#define METRIC_HISTOGRAM(n, h)                                                                     \
    {                                                                                              \
        .name = (n), .help = (h), .kind = METRIC_KIND_HISTOGRAM                                    \
    }

#define METRIC_HISTOGRAM_L(n, h, l)                                                                \
    {                                                                                              \
        .name = (n), .help = (h), .labels = (l), .kind = METRIC_KIND_HISTOGRAM                     \
    }

void metric_add(struct metric *m, int64_t by);
void metric_set(struct metric *m, int64_t value);
void metric_observe_us(struct metric *m, int64_t us);
int64_t metric_get(const struct metric *m);
/* Counts a warn/error event word: guildbus_log_events_total{event="word"}; log_at calls it. word is
 * static text. */
void metric_count_event(const char *word);
/* malloc'd Prometheus text 0.0.4. */
char *metrics_text(size_t *ret_size);

#endif
