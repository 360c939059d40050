#include "coordinator/mirror.h"

#include <string.h>

#include "base/xmem.h"

struct mirror *mirror_new(void)
{
    struct mirror *m = xcalloc(1, sizeof(*m));

    m->guilds = idmap_new();
    m->moves = idmap_new();
    list_init(&m->open_moves);
    list_init(&m->fresh);
    list_init(&m->claiming);
    list_init(&m->unassigned);
    list_init(&m->publish);
    list_init(&m->review);
    list_init(&m->review_later);
    list_init(&m->tell);
    return m;
}

static void free_value(void *ctx UNUSED, uint64_t id UNUSED, void *value)
{
    free(value);
}

static void free_guild(void *ctx UNUSED, uint64_t id UNUSED, void *value)
{
    struct mirror_guild *g = value;

    free(g->followers);
    free(g);
}

void mirror_free(struct mirror *m)
{
    if (!m)
        return;
    idmap_each(m->guilds, free_guild, NULL);
    idmap_each(m->moves, free_value, NULL);
    idmap_free(m->guilds);
    idmap_free(m->moves);
    for (size_t i = 0; i < m->pod_count; i++)
        free(m->pods[i]);
    free(m->pods);
    free(m->shards);
    free(m->retired);
    free(m->next);
    free(m);
}

/* ---- followers ---- */

struct follower *mirror_follower(const struct mirror_guild *g, const struct mirror_pod *pod)
{
    for (unsigned i = 0; i < g->follower_count; i++) {
        if (g->followers[i].pod == pod)
            return &g->followers[i];
    }
    return NULL;
}

void follower_set_told(struct follower *f, uint32_t process)
{
    f->pod->told -= f->told && f->told == f->pod->process;
    f->told = process;
    f->pod->told += f->told && f->told == f->pod->process;
}

static void remove_follower(struct mirror_guild *g, struct follower *f)
{
    follower_set_told(f, 0);
    f->pod->follows--;
    *f = g->followers[--g->follower_count];
    if (g->follower_count)
        return;
    free(g->followers);
    g->followers = NULL;
}

static struct follower *add_follower(struct mirror_guild *g, struct mirror_pod *pod)
{
    g->followers = xrealloc(g->followers, (g->follower_count + 1) * sizeof(struct follower));
    struct follower *f = &g->followers[g->follower_count++];
    *f = (struct follower){ .pod = pod, .rank = STANDBY_DROP };
    pod->follows++;
    return f;
}

/* f: the pod's, NULL: it has none and row has a pod that needs none. */
static void put_follower(struct mirror_guild *g, struct follower *f, const struct standby_row *row)
{
    if (!f)
        return;
    bool stood = f->rank > STANDBY_DROP, stands = row->rank > STANDBY_DROP;
    f->pod->standing -= stood;
    f->pod->standing += stands;
    if (row->rank == STANDBY_NONE) {
        remove_follower(g, f);
        return;
    }
    f->rank = row->rank;
    if (stood == stands)
        return;
    follower_set_told(f, 0);
    f->dropped = false;
    f->tries = 0;
    f->next_ms = 0;
}

/* ---- pods ---- */

/* Where the pod is, or would be put. */
static size_t pod_place(const struct mirror *m, const char *pod, bool *ret_found)
{
    size_t low = 0, high = m->pod_count;

    *ret_found = false;
    while (low < high && !*ret_found) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(pod, m->pods[middle]->row.pod);
        *ret_found = order == 0;
        if (order == 0)
            low = middle;
        else if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

struct mirror_pod *mirror_pod(const struct mirror *m, const char *pod)
{
    bool found;
    size_t at = pod_place(m, pod, &found);

    return found ? m->pods[at] : NULL;
}

struct mirror_pod *mirror_put_pod(struct mirror *m, const struct pod_row *row)
{
    bool found;
    size_t at = pod_place(m, row->pod, &found);

    if (!found) {
        if (m->pod_count == m->pod_room) {
            m->pod_room = m->pod_room ? m->pod_room * 2 : 16;
            m->pods = xrealloc(m->pods, m->pod_room * sizeof(struct mirror_pod *));
        }
        memmove(m->pods + at + 1, m->pods + at, (m->pod_count - at) * sizeof(struct mirror_pod *));
        m->pods[at] = xcalloc(1, sizeof(*m->pods[at]));
        list_init(&m->pods[at]->guilds);
        m->pods[at]->process = 1;
        m->pod_count++;
    }
    struct mirror_pod *pod = m->pods[at];
    pod->row = *row;
    pod->may_hold_stale = true;
    return pod;
}

static void forget_follower(void *ctx, uint64_t id, void *value)
{
    const struct mirror_pod *pod = ctx;
    struct mirror_guild *g = value;
    struct standby_row row = { .guild_id = id, .rank = STANDBY_NONE };

    if (g->came_from == pod)
        g->came_from = NULL;
    if (!mirror_follower(g, pod))
        return;
    text_copy(row.pod, sizeof(row.pod), pod->row.pod);
    put_follower(g, mirror_follower(g, pod), &row);
}

void mirror_forget_pod(struct mirror *m, const char *name)
{
    bool found;
    size_t at = pod_place(m, name, &found);

    if (!found || m->pods[at]->assigned || m->pods[at]->standing)
        return;
    idmap_each(m->guilds, forget_follower, m->pods[at]);
    free(m->pods[at]);
    m->pod_count--;
    memmove(m->pods + at, m->pods + at + 1, (m->pod_count - at) * sizeof(struct mirror_pod *));
}

void mirror_mark_stale(struct mirror_pod *pod)
{
    for (struct link *l = pod->guilds.next; l != &pod->guilds; l = l->next)
        CONTAINER_OF(l, struct mirror_guild, of_pod)->row.incarnation = 0;
    pod->may_hold_stale = true;
}

/* ---- guilds ---- */

struct mirror_guild *mirror_guild(const struct mirror *m, uint64_t guild_id)
{
    return idmap_get(m->guilds, guild_id);
}

/* A pod that the table of pods does not know is dead: its guilds fail over. */
static struct mirror_pod *known_pod(struct mirror *m, const char *name)
{
    struct mirror_pod *pod = mirror_pod(m, name);
    struct pod_row unknown = { .status = POD_OFFLINE, .capacity = DEFAULT_CAPACITY };

    if (pod)
        return pod;
    text_copy(unknown.pod, sizeof(unknown.pod), name);
    return mirror_put_pod(m, &unknown);
}

double mirror_guild_load(const struct mirror_guild *g, int64_t now_ms)
{
    if (g->load.at_ms && now_ms - g->load.at_ms < LOAD_KNOWN_MS)
        return ewma_at(&g->load, now_ms);
    return g->pod && g->pod->assigned ? ewma_at(&g->pod->load, now_ms) / g->pod->assigned : 0;
}

/* So that a pod does not seem busy for minutes with guilds that it has given away. */
static void move_load(const struct mirror *m, struct mirror_guild *g, struct mirror_pod *to)
{
    double load = mirror_guild_load(g, m->now_ms);

    ewma_shift(&g->pod->load, -load);
    ewma_shift(&to->load, load);
}

static void assign_pod(struct mirror *m, struct mirror_guild *g)
{
    struct mirror_pod *pod = *g->row.pod ? known_pod(m, g->row.pod) : NULL;

    if (g->pod == pod)
        return;
    if (g->pod && pod && m->now_ms)
        move_load(m, g, pod);
    g->came_from = g->pod;
    if (g->pod)
        g->pod->assigned--;
    link_remove(&g->of_pod);
    g->pod = pod;
    if (!pod)
        return;
    pod->assigned++;
    list_append(&pod->guilds, &g->of_pod);
}

static void queue_guild(struct mirror *m, struct mirror_guild *g, bool authorised)
{
    if (g->row.state == GUILD_UNASSIGNED)
        list_append(&m->unassigned, &g->wait);
    else if (g->row.state != GUILD_CLAIMING)
        link_remove(&g->wait);
    else if (authorised)
        list_append(&m->fresh, &g->wait);
    if (authorised) {
        g->own_in_flight = false;
        g->own_tries = 0;
        g->next_own_ms = 0;
    }
}

void mirror_put_guild(struct mirror *m, const struct guild_row *row)
{
    struct mirror_guild *g = mirror_guild(m, row->guild_id);
    bool is_new = !g;

    if (is_new) {
        g = xcalloc(1, sizeof(*g));
        idmap_put(m->guilds, row->guild_id, g);
    }
    bool authorised = is_new || g->row.epoch != row->epoch || g->row.state == GUILD_UNASSIGNED;
    bool was_owned = !is_new && (g->row.state == GUILD_OWNED || g->row.state == GUILD_MOVING);
    g->row = *row;
    assign_pod(m, g);
    queue_guild(m, g, authorised);
    if (row->state == GUILD_OWNED && !is_new && (authorised || !was_owned)) {
        g->next_publish_ms = 0;
        list_append(&m->publish, &g->publish);
    }
    if (row->state == GUILD_OWNED) {
        g->prefer[0] = '\0';
        list_append(&m->review, &g->review);
    }
    if (g->pod && g->pod->row.incarnation != row->incarnation)
        g->pod->may_hold_stale = true;
}

void mirror_put_standby(struct mirror *m, const struct standby_row *row)
{
    struct mirror_guild *g = mirror_guild(m, row->guild_id);
    struct mirror_pod *pod = mirror_pod(m, row->pod);

    if (!g || (!pod && row->rank == STANDBY_NONE))
        return;
    if (!pod)
        pod = known_pod(m, row->pod);
    struct follower *f = mirror_follower(g, pod);
    put_follower(g, f || row->rank == STANDBY_NONE ? f : add_follower(g, pod), row);
    if (row->rank != STANDBY_NONE)
        list_append(&m->tell, &g->tell);
}

void mirror_review_all(struct mirror *m)
{
    for (size_t i = 0; i < m->pod_count; i++) {
        struct link *guilds = &m->pods[i]->guilds;
        for (struct link *l = guilds->next; l != guilds; l = l->next) {
            struct mirror_guild *g = CONTAINER_OF(l, struct mirror_guild, of_pod);
            if (!link_is_in_list(&g->review))
                list_append(&m->review, &g->review);
        }
    }
}

/* ---- moves ---- */

static bool is_running(const struct move_row *row)
{
    return move_state_is_open(row->state) && row->state != MOVE_STATE_WISHED;
}

struct mirror_move *mirror_move(const struct mirror *m, uint64_t move_id)
{
    return idmap_get(m->moves, move_id);
}

void mirror_put_move(struct mirror *m, const struct move_row *row, int64_t now_ms)
{
    struct mirror_move *move = mirror_move(m, row->id);
    struct mirror_guild *g = mirror_guild(m, row->guild_id);

    if (!move) {
        move = xcalloc(1, sizeof(*move));
        idmap_put(m->moves, row->id, move);
        list_append(&m->open_moves, &move->all);
        move->entered_ms = now_ms;
        if (g)
            g->move = move;
    } else if (move->row.state != row->state) {
        move->entered_ms = now_ms;
        move->next_order_ms = 0;
    }
    m->running -= is_running(&move->row);
    move->row = *row;
    m->running += is_running(&move->row);
}

void mirror_close_move(struct mirror *m, struct mirror_move *move)
{
    struct mirror_guild *g = mirror_guild(m, move->row.guild_id);

    if (g && g->move == move)
        g->move = NULL;
    m->running -= is_running(&move->row);
    link_remove(&move->all);
    idmap_remove(m->moves, move->row.id);
    free(move);
}

/* ---- shards ---- */

void mirror_count_shards(struct mirror *m)
{
    for (size_t i = 0; i < m->pod_count; i++)
        m->pods[i]->shards = m->pods[i]->next_shards = 0;
    for (uint32_t i = 0; i < m->shard_count; i++) {
        struct mirror_pod *pod = mirror_pod(m, m->shards[i]);
        if (pod)
            pod->shards++;
    }
    for (uint32_t i = 0; i < m->next_count; i++) {
        struct mirror_pod *pod = mirror_pod(m, m->next[i].pod);
        if (pod)
            pod->next_shards++;
    }
}

void mirror_set_next_count(struct mirror *m, uint32_t count)
{
    free(TAKE(m->next));
    free(TAKE(m->retired));
    m->next_count = count;
    if (count) {
        m->next = xcalloc(count, sizeof(m->next[0]));
        m->retired = xcalloc(m->shard_count + 1, sizeof(m->retired[0]));
    }
    mirror_count_shards(m);
}

void mirror_take_next(struct mirror *m)
{
    mirror_set_shard_count(m, m->next_count);
    for (uint32_t i = 0; i < m->next_count; i++)
        text_copy(m->shards[i], POD_ID_SIZE, m->next[i].pod);
    mirror_set_next_count(m, 0);
}

void mirror_set_shard_count(struct mirror *m, uint32_t count)
{
    if (count) {
        m->shards = xrealloc(m->shards, count * sizeof(m->shards[0]));
        for (uint32_t i = m->shard_count; i < count; i++)
            m->shards[i][0] = '\0';
    }
    m->shard_count = count;
    mirror_count_shards(m);
}

void mirror_put_shard(struct mirror *m, const struct shard_row *row)
{
    if (row->is_next && row->shard < m->next_count) {
        m->next[row->shard] = (struct mirror_next){ .ready = false };
        text_copy(m->next[row->shard].pod, POD_ID_SIZE, row->pod);
    }
    if (row->is_next || row->shard >= m->shard_count)
        return;
    text_copy(m->shards[row->shard], POD_ID_SIZE, row->pod);
}

/* As the store does it. */
static void put_planned(struct mirror *m, const struct guild_row *planned, int64_t db_ms)
{
    const struct mirror_guild *g = mirror_guild(m, planned->guild_id);
    struct guild_row row = *planned;

    if (!g || g->row.epoch != row.epoch || strcmp(g->row.pod, row.pod) != 0)
        row.assigned_ms = db_ms;
    mirror_put_guild(m, &row);
}

void mirror_apply(struct mirror *m, const struct plan *plan, struct moment at)
{
    m->now_ms = at.now_ms;
    for (size_t i = 0; i < plan->guild_count; i++)
        put_planned(m, &plan->guilds[i], at.db_ms);
    for (size_t i = 0; i < plan->move_count; i++)
        mirror_put_move(m, &plan->moves[i], at.now_ms);
    for (size_t i = 0; i < plan->standby_count; i++)
        mirror_put_standby(m, &plan->standbys[i]);
    for (size_t i = 0; i < plan->shard_count; i++)
        mirror_put_shard(m, &plan->shards[i]);
    if (plan->shard_count)
        mirror_count_shards(m);
}
