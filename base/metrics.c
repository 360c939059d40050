#include "base/metrics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/xmem.h"

/* Words are string literals in the programs: a few dozen. */
enum { MAX_WORDS = 512 };

static _Atomic(struct metric *) registered_metrics;

struct word {
    _Atomic(const char *) text;
    _Atomic int64_t count;
};
static struct word words[MAX_WORDS];
static _Atomic int64_t uncounted_words;

static void ensure_registered(struct metric *m)
{
    int unknown = 0;

    if (atomic_load_explicit(&m->registered, memory_order_relaxed))
        return;
    if (!atomic_compare_exchange_strong(&m->registered, &unknown, 1))
        return;
    m->next = atomic_load(&registered_metrics);
    while (!atomic_compare_exchange_weak(&registered_metrics, &m->next, m))
        ;
}

void metric_add(struct metric *m, int64_t by)
{
    ensure_registered(m);
    atomic_fetch_add_explicit(&m->value, by, memory_order_relaxed);
}

void metric_set(struct metric *m, int64_t value)
{
    ensure_registered(m);
    atomic_store_explicit(&m->value, value, memory_order_relaxed);
}

static int64_t bucket_limit_us(int i)
{
    return (int64_t)5 << i;
}

void metric_observe_us(struct metric *m, int64_t us)
{
    int i = 0;

    while (i < METRIC_BUCKETS && us > bucket_limit_us(i))
        i++;
    metric_add(m, us);
    atomic_fetch_add_explicit(&m->buckets[i], 1, memory_order_relaxed);
}

int64_t metric_get(const struct metric *m)
{
    return atomic_load_explicit(&m->value, memory_order_relaxed);
}

static size_t hash_text(const char *text)
{
    size_t h = 5381;

    for (; *text; text++)
        h = h * 33 + (unsigned char)*text;
    return h;
}

void metric_count_event(const char *word)
{
    size_t start = hash_text(word);

    for (size_t i = 0; i < MAX_WORDS; i++) {
        struct word *w = &words[(start + i) % MAX_WORDS];
        const char *there = atomic_load(&w->text);
        if (!there && atomic_compare_exchange_strong(&w->text, &there, word))
            there = word;
        if (strcmp(there, word) == 0) {
            atomic_fetch_add_explicit(&w->count, 1, memory_order_relaxed);
            return;
        }
    }
    atomic_fetch_add(&uncounted_words, 1);
}

static int compare_words(const void *a, const void *b)
{
    const struct word *const *x = a, *const *y = b;

    return strcmp(atomic_load(&(*x)->text), atomic_load(&(*y)->text));
}

static void print_words(FILE *out)
{
    static const char name[] = "guildbus_log_events_total";
    struct word *known[MAX_WORDS];
    size_t n = 0;

    for (size_t i = 0; i < MAX_WORDS; i++) {
        if (atomic_load(&words[i].text))
            known[n++] = &words[i];
    }
    /* NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers */
    qsort(known, n, sizeof(*known), compare_words);
    fprintf(out, "# HELP %s warnings and errors logged, by event word\n# TYPE %s counter\n", name,
            name);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "%s{event=\"%s\"} %" PRId64 "\n", name, atomic_load(&known[i]->text),
                atomic_load(&known[i]->count));
    if (atomic_load(&uncounted_words))
        fprintf(out, "%s{event=\"other\"} %" PRId64 "\n", name, atomic_load(&uncounted_words));
}

static void print_histogram(const struct metric *m, FILE *out)
{
    const char *labels = m->labels ? m->labels : "", *comma = m->labels ? "," : "";
    int64_t below = 0;

    for (int i = 0; i < METRIC_BUCKETS; i++) {
        below += atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
        fprintf(out, "%s_bucket{%s%sle=\"%.6g\"} %" PRId64 "\n", m->name, labels, comma,
                (double)bucket_limit_us(i) / 1e6, below);
    }
    below += atomic_load_explicit(&m->buckets[METRIC_BUCKETS], memory_order_relaxed);
    fprintf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRId64 "\n", m->name, labels, comma, below);
    const char *open = m->labels ? "{" : "", *close = m->labels ? "}" : "";
    fprintf(out, "%s_sum%s%s%s %.6f\n", m->name, open, labels, close, (double)metric_get(m) / 1e6);
    fprintf(out, "%s_count%s%s%s %" PRId64 "\n", m->name, open, labels, close, below);
}

static void print_metric(const struct metric *m, FILE *out)
{
    if (m->kind == METRIC_KIND_HISTOGRAM)
        print_histogram(m, out);
    else if (m->labels)
        fprintf(out, "%s{%s} %" PRId64 "\n", m->name, m->labels, metric_get(m));
    else
        fprintf(out, "%s %" PRId64 "\n", m->name, metric_get(m));
}

static int compare_metrics(const void *a, const void *b)
{
    const struct metric *const *x = a, *const *y = b;
    int by_name = strcmp((*x)->name, (*y)->name);

    if (by_name)
        return by_name;
    return strcmp((*x)->labels ? (*x)->labels : "", (*y)->labels ? (*y)->labels : "");
}

static void print_all(struct metric *const *list, size_t n, FILE *out)
{
    static const char *const kinds[] = { "counter", "gauge", "histogram" };
    const char *family = "";

    for (size_t i = 0; i < n; i++) {
        if (strcmp(family, list[i]->name) != 0) {
            family = list[i]->name;
            fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", family, list[i]->help, family,
                    kinds[list[i]->kind]);
        }
        print_metric(list[i], out);
    }
}

char *metrics_text(size_t *ret_size)
{
    char *text = NULL;
    size_t n = 0, size = 0;
    struct metric *newest = atomic_load(&registered_metrics);

    for (struct metric *m = newest; m; m = m->next)
        n++;
    struct metric **list = xcalloc(n, sizeof(struct metric *));
    n = 0;
    for (struct metric *m = newest; m; m = m->next)
        list[n++] = m;
    /* NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers */
    qsort(list, n, sizeof(*list), compare_metrics);

    FILE *out = open_memstream(&text, &size);
    must(out);
    print_all(list, n, out);
    print_words(out);
    must(fclose(out) == 0);
    free(list);
    *ret_size = size;
    return text;
}
