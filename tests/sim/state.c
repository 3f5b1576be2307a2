/* SPDX-License-Identifier: Apache-2.0
 * A state's beginning, its packed form, and what makes two states the same. */
#include "tests/sim/sim.h"

#include <string.h>

void state_start(const Scenario *scenario, State *ret)
{
    *ret = (State){.third_up = 1,
                   .rec = {.state = RECORD_STOPPED, .in_sync = 3},
                   .crashes_left = (uint8_t) scenario->crashes,
                   .cuts_left = (uint8_t) scenario->cuts,
                   .lost_answers_left = (uint8_t) scenario->lost_answers,
                   .leaves_left = (uint8_t) scenario->leaves,
                   .disk_errors_left = (uint8_t) scenario->disk_errors,
                   .moves_left = (uint8_t) scenario->moves};
    for (int x = 0; x < 2; x++) {
        ret->node[x] = (Node){.level = NODE_MEMBER,
                              .registered = 1,
                              .sees_peer = 1,
                              .sees_third = 1,
                              .attached = 1,
                              .conn = CONN_CONNECTED,
                              .disk = DISK_UP_TO_DATE,
                              .peer_disk = DISK_UP_TO_DATE,
                              .uuid = {1}};
    }
}

static uint8_t bits_swap(uint8_t set)
{
    return (uint8_t) ((set & 1) << 1 | set >> 1);
}

/* 0 stays 0 (nobody), 1 and 2 change places. */
static uint8_t name_swap(uint8_t name)
{
    return name ? (uint8_t) (3 - name) : name;
}

static void rec_swap(Rec *rec)
{
    rec->in_sync = bits_swap(rec->in_sync);
    rec->owner = name_swap(rec->owner);
}

void state_swap(const State *s, State *ret)
{
    *ret = *s;
    ret->node[0] = s->node[1];
    ret->node[1] = s->node[0];
    ret->ring_cut = name_swap(s->ring_cut);
    ret->store_cut = name_swap(s->store_cut);
    rec_swap(&ret->rec);
    rec_swap(&ret->flying_rec);
}

#define NODE_FIELDS(X)                                                                                                 \
    X(level, 2)                                                                                                        \
    X(registered, 1)                                                                                                   \
    X(sees_peer, 1)                                                                                                    \
    X(sees_third, 1)                                                                                                   \
    X(cib_peer_down, 1)                                                                                                \
    X(shot, 1)                                                                                                         \
    X(clean_down, 1)                                                                                                   \
    X(active, 1)                                                                                                       \
    X(attached, 1)                                                                                                     \
    X(conn, 3)                                                                                                         \
    X(primary, 1)                                                                                                      \
    X(peer_primary, 1)                                                                                                 \
    X(disk, 3)                                                                                                         \
    X(peer_disk, 3)                                                                                                    \
    X(frozen, 1)                                                                                                       \
    X(new_uuid, 1)                                                                                                     \
    X(crashed, 1)                                                                                                      \
    X(uuid[0], 4)                                                                                                      \
    X(uuid[1], 4)                                                                                                      \
    X(uuid[2], 4)                                                                                                      \
    X(uuid[3], 4)                                                                                                      \
    X(data, SIM_WRITES_MAX)                                                                                            \
    X(lost, 1)                                                                                                         \
    X(vmm, 2)                                                                                                          \
    X(gate, 1)                                                                                                         \
    X(write, 2)                                                                                                        \
    X(write_local, 1)                                                                                                  \
    X(write_peer, 1)                                                                                                   \
    X(ocf, 5)                                                                                                          \
    X(ocf_code, 3)                                                                                                     \
    X(ocf_boot, 2)                                                                                                     \
    X(ocf_was_primary, 1)                                                                                              \
    X(fact_stop, 1)                                                                                                    \
    X(fact_up_to_date, 1)                                                                                              \
    X(fact_absent, 1)                                                                                                  \
    X(handler, 3)                                                                                                      \
    X(handler_stale, 1)                                                                                                \
    X(daemon, 3)                                                                                                       \
    X(daemon_fresh, 1)                                                                                                 \
    X(verb, 4)                                                                                                         \
    X(verb_id, 1)

#define REC_FIELDS(X, rec)                                                                                             \
    X(rec.state, 2)                                                                                                    \
    X(rec.in_sync, 2)                                                                                                  \
    X(rec.owner, 2)                                                                                                    \
    X(rec.owner_boot, 2)                                                                                               \
    X(rec.handover, 1)                                                                                                 \
    X(rec.handover_id, 1)

#define COMMON_FIELDS(X)                                                                                               \
    X(third_up, 1)                                                                                                     \
    X(ring_cut, 2)                                                                                                     \
    X(store_cut, 2)                                                                                                    \
    X(repl_cut, 1)                                                                                                     \
    REC_FIELDS(X, rec)                                                                                                 \
    X(flying, 1)                                                                                                       \
    REC_FIELDS(X, flying_rec)                                                                                          \
    X(crashes_left, 2)                                                                                                 \
    X(cuts_left, 2)                                                                                                    \
    X(lost_answers_left, 2)                                                                                            \
    X(leaves_left, 1)                                                                                                  \
    X(disk_errors_left, 1)                                                                                             \
    X(moves_left, 2)                                                                                                   \
    X(blind_mark, 1)                                                                                                   \
    X(move_id, 1)                                                                                                      \
    X(acked, SIM_WRITES_MAX)                                                                                           \
    X(n_written, 2)

#define FIELD_BITS(field, bits) +bits
_Static_assert(0 NODE_FIELDS(FIELD_BITS) <= 128, "a node must fit into two words");
_Static_assert(0 COMMON_FIELDS(FIELD_BITS) <= 64, "the rest must fit into one word");

/* Two nodes of up to 96 bits and a word: three quarters of each pair of words is used, so words 0 and 1 are node 0,
 * 2 and 3 node 1, and the common fields share their second halves. */
void state_pack(const State *s, uint8_t key[SIM_KEY_SIZE])
{
    unsigned __int128 word[2] = {0, 0};
    uint64_t common = 0;
#define PACK_NODE(field, bits) word[x] = word[x] << (bits) | n->field;
#define PACK_COMMON(field, bits) common = common << (bits) | s->field;
    for (int x = 0; x < 2; x++) {
        const Node *n = &s->node[x];
        NODE_FIELDS(PACK_NODE)
    }
    COMMON_FIELDS(PACK_COMMON)
    word[0] |= (unsigned __int128) (common >> 32) << 96;
    word[1] |= (unsigned __int128) (common & 0xffffffff) << 96;
    memcpy(key, word, SIM_KEY_SIZE);
}

void state_unpack(const uint8_t key[SIM_KEY_SIZE], State *ret)
{
    unsigned __int128 word[2];
    memcpy(word, key, SIM_KEY_SIZE);
    uint64_t common = (uint64_t) (word[0] >> 96) << 32 | (uint64_t) (word[1] >> 96);
    const unsigned __int128 low = ((unsigned __int128) 1 << 96) - 1;
    word[0] &= low;
    word[1] &= low;
    int node_bits = 0 NODE_FIELDS(FIELD_BITS);
    int common_bits = 0 COMMON_FIELDS(FIELD_BITS);
#define UNPACK_NODE(field, bits) n->field = (uint8_t) (word[x] >> (left -= (bits)) & ((1u << (bits)) - 1));
#define UNPACK_COMMON(field, bits) ret->field = (uint8_t) (common >> (common_bits -= (bits)) & ((1u << (bits)) - 1));
    for (int x = 0; x < 2; x++) {
        Node *n = &ret->node[x];
        int left = node_bits;
        NODE_FIELDS(UNPACK_NODE)
    }
    COMMON_FIELDS(UNPACK_COMMON)
}

_Static_assert(0 NODE_FIELDS(FIELD_BITS) <= 96, "state_pack() puts the common fields above bit 96");

/* Data generations are only compared: name them in the order in which they appear. */
static void uuids_rename(State *s)
{
    uint8_t names[16] = {0}, next = 1;
    for (int x = 0; x < 2; x++) {
        for (int i = 0; i < 4; i++) {
            uint8_t *uuid = &s->node[x].uuid[i];
            if (*uuid && !names[*uuid]) {
                names[*uuid] = next++;
            }
            *uuid = names[*uuid];
        }
    }
}

void state_canonical_key(const State *s, uint8_t key[SIM_KEY_SIZE])
{
    uint8_t other_key[SIM_KEY_SIZE];
    State same = *s, other;
    state_swap(s, &other);
    uuids_rename(&same);
    uuids_rename(&other);
    state_pack(&same, key);
    state_pack(&other, other_key);
    if (memcmp(other_key, key, SIM_KEY_SIZE) < 0) {
        memcpy(key, other_key, SIM_KEY_SIZE);
    }
}
