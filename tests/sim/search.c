/* SPDX-License-Identifier: Apache-2.0
 * Breadth-first search. States are kept packed in one array in the order of their discovery; a table of their indices
 * finds them by hash. For the liveness check the steps that are no faults are kept too. */
#include "tests/sim/search.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint32_t *items;
    uint64_t n, room;
} List;

struct Search {
    const Scenario *scenario;
    uint8_t (*keys)[SIM_KEY_SIZE];
    uint32_t *parents;
    uint64_t n, room;
    uint32_t *table; /* index + 1; 0 is free */
    uint64_t table_size;
    List edges;       /* targets of the normal steps, state after state */
    List edge_starts; /* where each state's begin */
};

struct Explorer {
    const Scenario *scenario;
    Search *search;
    uint32_t from;
    uint64_t n_steps;
    const char *violation;
    uint64_t violating;
    /* when a story is told: the step that leads to `wanted` */
    const uint8_t *wanted;
    State found_state;
    const char *found_what;
    int found_actor;
};

const Scenario *explorer_scenario(const Explorer *explorer)
{
    return explorer->scenario;
}

static void *grow(void *old, uint64_t n, size_t size)
{
    void *room = realloc(old, n * size);
    if (!room) {
        fprintf(stderr, "sim: out of memory at %llu states\n", (unsigned long long) n);
        exit(2);
    }
    return room;
}

static void list_add(List *list, uint32_t item)
{
    if (list->n == list->room) {
        list->room = list->room ? list->room * 2 : 1 << 20;
        list->items = grow(list->items, list->room, sizeof(uint32_t));
    }
    list->items[list->n++] = item;
}

static uint64_t key_hash(const uint8_t key[SIM_KEY_SIZE])
{
    uint64_t word[SIM_KEY_SIZE / 8], hash = 0x9e3779b97f4a7c15u;
    memcpy(word, key, SIM_KEY_SIZE);
    for (size_t i = 0; i < SIM_KEY_SIZE / 8; i++) {
        hash = (hash ^ word[i]) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
    }
    return hash;
}

static uint64_t table_place(const Search *search, const uint8_t key[SIM_KEY_SIZE])
{
    uint64_t place = key_hash(key) & (search->table_size - 1);
    while (search->table[place] && memcmp(search->keys[search->table[place] - 1], key, SIM_KEY_SIZE) != 0) {
        place = (place + 1) & (search->table_size - 1);
    }
    return place;
}

static void table_grow(Search *search)
{
    search->table_size = search->table_size ? search->table_size * 2 : 1 << 20;
    free(search->table);
    search->table = calloc(search->table_size, sizeof(uint32_t));
    if (!search->table) {
        fprintf(stderr, "sim: out of memory\n");
        exit(2);
    }
    for (uint64_t i = 0; i < search->n; i++) {
        search->table[table_place(search, search->keys[i])] = (uint32_t) i + 1;
    }
}

/* Index of the state, added when new. */
static uint32_t state_add(Search *search, const uint8_t key[SIM_KEY_SIZE], uint32_t parent, bool *ret_new)
{
    if (search->n * 2 >= search->table_size) {
        table_grow(search);
    }
    uint64_t place = table_place(search, key);
    *ret_new = !search->table[place];
    if (!*ret_new) {
        return search->table[place] - 1;
    }
    if (search->n == search->room) {
        search->room = search->room ? search->room * 2 : 1 << 18;
        search->keys = grow(search->keys, search->room, SIM_KEY_SIZE);
        search->parents = grow(search->parents, search->room, sizeof(uint32_t));
    }
    memcpy(search->keys[search->n], key, SIM_KEY_SIZE);
    search->parents[search->n] = parent;
    search->table[place] = (uint32_t) ++search->n;
    return (uint32_t) search->n - 1;
}

void explorer_put(Explorer *explorer, const State *next, int actor, const char *what, StepKind kind)
{
    uint8_t key[SIM_KEY_SIZE];
    state_canonical_key(next, key);
    if (explorer->wanted) {
        if (!explorer->found_what && memcmp(key, explorer->wanted, SIM_KEY_SIZE) == 0) {
            explorer->found_state = *next;
            explorer->found_what = what;
            explorer->found_actor = actor;
        }
        return;
    }
    bool is_new;
    uint32_t index = state_add(explorer->search, key, explorer->from, &is_new);
    explorer->n_steps++;
    if (kind == STEP_NORMAL) {
        list_add(&explorer->search->edges, index);
    }
    if (is_new && !explorer->violation) {
        explorer->violation = state_violation(next);
        explorer->violating = index;
    }
}

static void expand(const State *s, Explorer *explorer)
{
    cluster_steps(s, explorer);
    drbd_steps(s, explorer);
    guest_steps(s, explorer);
    handler_steps(s, explorer);
    daemon_steps(s, explorer);
    start_steps(s, explorer);
    stop_steps(s, explorer);
    move_steps(s, explorer);
    fault_steps(s, explorer);
}

/* ---- liveness: from every state, without further faults, the guest can come to run well again ---- */

static void mark_good(const Search *search, uint8_t *good)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (uint64_t i = search->n; i-- > 0;) {
            uint64_t end = i + 1 < search->n ? search->edge_starts.items[i + 1] : search->edges.n;
            for (uint64_t e = search->edge_starts.items[i]; !good[i] && e < end; e++) {
                if (good[search->edges.items[e]]) {
                    good[i] = 1;
                    changed = true;
                }
            }
        }
    }
}

static void check_liveness(const Search *search, SearchResult *ret)
{
    uint8_t *good = calloc(search->n, 1);
    if (!good || search->edges.n > UINT32_MAX) {
        fprintf(stderr, "sim: too many states for the liveness check\n");
        exit(2);
    }
    for (uint64_t i = 0; i < search->n; i++) {
        State s;
        state_unpack(search->keys[i], &s);
        good[i] = state_is_goal(&s, !search->scenario->unprotected) || state_is_excused(&s);
    }
    mark_good(search, good);
    for (uint64_t i = 0; i < search->n && !ret->violation; i++) {
        if (!good[i]) {
            ret->violation =
                search->scenario->unprotected
                    ? "deadlock: without an operator the guest can never run again"
                    : "deadlock: without an operator the guest can never again run with both copies in sync";
            ret->story_state = i;
        }
    }
    free(good);
}

/* ---- */

Search *search_run(const Scenario *scenario, uint64_t max_states, SearchResult *ret)
{
    Search *search = calloc(1, sizeof(*search));
    Explorer explorer = {.scenario = scenario, .search = search};
    State s;
    uint8_t key[SIM_KEY_SIZE];
    bool is_new;
    *ret = (SearchResult){0};
    search->scenario = scenario;
    state_start(scenario, &s);
    state_canonical_key(&s, key);
    state_add(search, key, 0, &is_new);
    uint64_t level_end = 1;
    for (uint64_t i = 0; i < search->n && !explorer.violation && search->n <= max_states; i++) {
        if (i == level_end) {
            ret->depth++;
            level_end = search->n;
        }
        state_unpack(search->keys[i], &s);
        explorer.from = (uint32_t) i;
        list_add(&search->edge_starts, (uint32_t) search->edges.n);
        expand(&s, &explorer);
    }
    ret->n_states = search->n;
    ret->n_steps = explorer.n_steps;
    ret->violation = explorer.violation;
    ret->story_state = explorer.violating;
    ret->complete = !explorer.violation && search->n <= max_states;
    if (ret->complete) {
        check_liveness(search, ret);
    }
    return search;
}

void search_free(Search *search)
{
    free(search->keys);
    free(search->parents);
    free(search->table);
    free(search->edges.items);
    free(search->edge_starts.items);
    free(search);
}

void search_print_story(const Search *search, const SearchResult *result)
{
    static uint32_t path[4096];
    int length = 0;
    for (uint32_t at = (uint32_t) result->story_state; at != 0 && length < 4096; at = search->parents[at]) {
        path[length++] = at;
    }
    State s;
    state_start(search->scenario, &s);
    printf("#   the beginning\n");
    story_state(&s);
    for (int step = 1; length-- > 0; step++) {
        Explorer explorer = {.scenario = search->scenario, .wanted = search->keys[path[length]]};
        expand(&s, &explorer);
        s = explorer.found_state;
        story_step(step, explorer.found_actor, explorer.found_what, &s);
    }
    printf("#   => %s\n", result->violation);
}
