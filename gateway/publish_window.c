#include "gateway/publish_window.h"

#include <stdlib.h>

#include "base/macros.h"
#include "base/xmem.h"

enum { LANE_SLOTS = 4096 };

/* The unacked entries of one guild, oldest first. Exists while there are any. */
struct lane {
    struct lane *next_in_slot;
    struct lane *next_ready; /* in window.ready */
    uint64_t guild_id;
    struct window_entry *first, *last;
};

struct window {
    struct window_entry ring[WINDOW_RING];
    uint64_t head, tail; /* numbers: the oldest entry, and one past the newest */
    uint64_t base;       /* what stands in ring[0]: so who is seldom busy uses few pages of it */
    size_t bytes;
    uint32_t session;
    uint64_t watermark;
    struct lane *slots[LANE_SLOTS];
    struct lane *ready, **ready_end; /* their first entry may go out */
    struct lane *failed;             /* linked through next_ready */
};

struct window *window_new(void)
{
    struct window *w = xcalloc(1, sizeof(*w));
    w->head = w->tail = 1;
    w->ready_end = &w->ready;
    return w;
}

static struct window_entry *at(struct window *w, uint64_t number)
{
    return &w->ring[(number - w->base) % WINDOW_RING];
}

void window_free(struct window *w)
{
    if (!w)
        return;
    for (uint64_t n = w->head; n < w->tail; n++)
        free(at(w, n)->data);
    for (size_t i = 0; i < LANE_SLOTS; i++) {
        for (struct lane *l = w->slots[i], *next; l; l = next) {
            next = l->next_in_slot;
            free(l);
        }
    }
    free(w);
}

static struct lane **lane_slot(struct window *w, uint64_t guild_id)
{
    uint64_t mixed =
        guild_id * 0x9E3779B97F4A7C15u; /* the low bits of snowflakes are nearly alike */
    struct lane **slot = &w->slots[(mixed >> 40) % LANE_SLOTS];
    while (*slot && (*slot)->guild_id != guild_id)
        slot = &(*slot)->next_in_slot;
    return slot;
}

static void make_ready(struct window *w, struct lane *l)
{
    l->next_ready = NULL;
    *w->ready_end = l;
    w->ready_end = &l->next_ready;
}

static void lane_append(struct window *w, struct window_entry *e)
{
    struct lane **slot = lane_slot(w, e->guild_id);
    if (*slot) {
        e->lane = *slot;
        e->lane->last->next_of_guild = e;
        e->lane->last = e;
        return;
    }
    struct lane *l = e->lane = *slot = xcalloc(1, sizeof(*l));
    l->guild_id = e->guild_id;
    l->first = l->last = e;
    make_ready(w, l);
}

/* Entries acked from the oldest on are done with; the watermark follows. */
static void advance(struct window *w)
{
    while (w->head < w->tail && at(w, w->head)->acked) {
        struct window_entry *e = at(w, w->head);
        if (e->session == w->session)
            w->watermark = e->seq;
        w->bytes -= e->size;
        free(TAKE(e->data));
        w->head++;
    }
}

void window_begin_session(struct window *w, uint64_t seq)
{
    w->session++;
    w->watermark = seq;
}

/* NULL: the ring is full. */
static struct window_entry *append(struct window *w, const struct window_entry *e)
{
    if (w->tail - w->head >= WINDOW_RING)
        return NULL;
    if (w->head == w->tail)
        w->base = w->tail;
    struct window_entry *at_tail = at(w, w->tail);
    *at_tail = *e;
    at_tail->number = w->tail++;
    at_tail->session = w->session;
    w->bytes += e->size;
    return at_tail;
}

bool window_add(struct window *w, uint64_t guild_id, uint64_t seq, char **data, size_t size)
{
    struct window_entry *e = append(w, &(struct window_entry){ .guild_id = guild_id,
                                                               .seq = seq,
                                                               .acked = *data == NULL,
                                                               .data = *data,
                                                               .size = size });
    if (!e)
        return false;
    *data = NULL;
    if (!e->acked)
        lane_append(w, e);
    advance(w);
    return true;
}

uint64_t window_hold(struct window *w, uint64_t guild_id, uint64_t seq, char **data, size_t size)
{
    struct window_entry *e = append(
        w, &(struct window_entry){
               .guild_id = guild_id, .seq = seq, .held = true, .data = *data, .size = size });
    if (!e)
        return 0;
    *data = NULL;
    return e->number;
}

static struct window_entry *find_held(struct window *w, uint64_t number)
{
    must(number >= w->head && number < w->tail && at(w, number)->held);
    return at(w, number);
}

void window_release(struct window *w, uint64_t number)
{
    struct window_entry *e = find_held(w, number);

    e->held = false;
    e->acked = true;
    advance(w);
}

void window_send(struct window *w, uint64_t number)
{
    struct window_entry *e = find_held(w, number);

    e->held = false;
    lane_append(w, e);
}

struct window_entry *window_next(struct window *w)
{
    struct lane *l = w->ready;
    if (!l)
        return NULL;
    w->ready = l->next_ready;
    if (!w->ready)
        w->ready_end = &w->ready;
    l->first->out = true;
    l->first->tries++;
    return l->first;
}

struct window_entry *window_find(struct window *w, uint64_t number)
{
    if (number < w->head || number >= w->tail || !at(w, number)->out)
        return NULL;
    return at(w, number);
}

void window_acked(struct window *w, struct window_entry *e)
{
    struct lane *l = e->lane;

    must(l->first == e);
    e->out = false;
    e->acked = true;
    l->first = e->next_of_guild;
    if (l->first) {
        make_ready(w, l);
    } else {
        *lane_slot(w, e->guild_id) = l->next_in_slot;
        free(l);
    }
    advance(w);
}

void window_failed(struct window *w, struct window_entry *e)
{
    struct lane *l = e->lane;

    must(l->first == e);
    e->out = false;
    l->next_ready = w->failed;
    w->failed = l;
}

void window_retry(struct window *w)
{
    for (struct lane *l = TAKE(w->failed), *next; l; l = next) {
        next = l->next_ready;
        make_ready(w, l);
    }
}

size_t window_waiting(const struct window *w)
{
    return (size_t)(w->tail - w->head);
}

uint64_t window_end(const struct window *w)
{
    return w->tail;
}

bool window_is_full(const struct window *w)
{
    return window_waiting(w) >= WINDOW_FULL || w->bytes >= WINDOW_FULL_BYTES;
}

bool window_is_half_empty(const struct window *w)
{
    return window_waiting(w) <= WINDOW_FULL / 2 && w->bytes <= WINDOW_FULL_BYTES / 2;
}

uint64_t window_watermark(const struct window *w)
{
    return w->watermark;
}
