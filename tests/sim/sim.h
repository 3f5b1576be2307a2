/* SPDX-License-Identifier: Apache-2.0
 * The model of one guest on two replica nodes (0 and 1, printed as A and B) and a third node that only votes. Every
 * field is one small number, so that a state packs into SIM_KEY_SIZE bytes; what is not in here is abstracted away
 * (README.md). */
#pragma once

#include "storage/record_codec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_KEY_SIZE 32
#define SIM_WRITES_MAX 3

/* How far a node has come up. */
enum { NODE_OFF, NODE_BOOTED, NODE_REGISTERED, NODE_MEMBER };
enum { DISK_DISKLESS, DISK_INCONSISTENT, DISK_OUTDATED, DISK_UNKNOWN, DISK_CONSISTENT, DISK_UP_TO_DATE };
enum { CONN_NONE, CONN_WAITING, CONN_CONNECTED, CONN_SYNC_SOURCE, CONN_SYNC_TARGET };
enum { VMM_STOPPED, VMM_INCOMING, VMM_PAUSED, VMM_RUNNING };
/* The fence-peer handler of a frozen Primary. */
enum { HANDLER_NONE, HANDLER_LOOP, HANDLER_PEER_LEFT, HANDLER_PEER_OUTDATED, HANDLER_EXIT_5, HANDLER_EXIT_4 };
/* The OCF agent: what has been done. START_*, FAILED_START_* (give back), STOP_*, MOVE_* (migrate_to), BACK_* (its
 * roll-back), FROM_* (migrate_from). */
enum {
    OCF_IDLE,
    START_ACTIVATED,
    START_DISK_SEEN,
    START_CLUSTER_SEEN,
    START_CLAIMED,
    START_ASKED,
    START_PROMOTED,
    START_GATE_OPEN,
    FAILED_START,
    FAILED_START_DEMOTED,
    STOP_KILLED,
    STOP_GATE_CLOSED,
    STOP_DEMOTED,
    STOP_FAILED,
    MOVE_ASKED,
    MOVE_BEGUN,
    MOVE_PAUSED,
    MOVE_GATE_CLOSED,
    MOVE_DEMOTED,
    MOVE_TAKE_SENT,
    MOVE_TAKEN,
    MOVE_READY,
    MOVE_COMMITTED,
    BACK_BEGUN,
    BACK_ABORT_DONE,
    BACK_ASKED,
    BACK_PROMOTED,
    BACK_GATE_OPEN,
    BACK_RESUMED,
    FROM_SEEN,
};
/* holdfastd's work on the guest, and what the other node's agent asked of it. */
enum { DAEMON_IDLE, CLEAR_LOOKED, MARK_LOOKED, SELF_LOOKED };
enum {
    VERB_NONE,
    TAKE_ASKED,
    TAKE_READ,
    TAKE_PROMOTE_ASKED,
    TAKE_PROMOTED,
    TAKE_DONE,
    TAKE_REFUSED,
    GO_ASKED,
    GO_READ
};
/* A boot id, as seen from now: this life's, an earlier one that the key boot/NODE still names, or an older one. */
enum { BOOT_NOW, BOOT_BEFORE, BOOT_OLDER };
enum { NOBODY = 0 }; /* as an owner or a cut-off node; else node + 1 */

typedef struct {
    /* machine, corosync, Pacemaker */
    uint8_t level;                 /* NODE_* */
    uint8_t registered;            /* boot/NODE in the store names this life */
    uint8_t sees_peer, sees_third; /* corosync membership here */
    uint8_t cib_peer_down;         /* this node's copy of the CIB: the peer is cleanly down */
    uint8_t shot;                  /* the fence device confirmed the power off, Pacemaker does not show it yet */
    uint8_t clean_down;            /* Pacemaker (its DC) holds this node for cleanly down */
    uint8_t active;                /* Pacemaker believes that the guest is or may be active here */
    /* DRBD; while the node is off `disk`, `peer_disk` and `crashed` are what its metadata says */
    uint8_t attached, conn, primary, peer_primary, disk, peer_disk;
    uint8_t frozen, new_uuid; /* susp_fen, and NEW_CUR_UUID: rotate when it thaws */
    uint8_t crashed;          /* crashed-primary flag */
    uint8_t uuid[4];          /* current, bitmap, two of history */
    uint8_t data;             /* set of writes on this disk */
    uint8_t lost;             /* durable note: this copy must not be trusted */
    /* guest */
    uint8_t vmm, gate;
    uint8_t write, write_local, write_peer; /* write in flight (number + 1), and where it has arrived */
    /* programs */
    uint8_t ocf, ocf_code, ocf_boot, ocf_was_primary;
    uint8_t fact_stop, fact_up_to_date, fact_absent;
    uint8_t handler, handler_stale;
    uint8_t daemon, daemon_fresh;
    uint8_t verb, verb_id;
} Node;

typedef struct {
    uint8_t state, in_sync, owner, owner_boot, handover, handover_id;
} Rec;

typedef struct {
    Node node[2];
    uint8_t third_up;
    uint8_t ring_cut, store_cut, repl_cut; /* which node is cut off (NOBODY: none) */
    Rec rec;
    uint8_t flying; /* a write of the record whose answer was lost: may still arrive, unless the record changes first */
    Rec flying_rec;
    uint8_t crashes_left, cuts_left, lost_answers_left, leaves_left, disk_errors_left, moves_left;
    uint8_t move_id;
    uint8_t blind_mark; /* a node outside the quorate part threw one inside it out of the record */
    uint8_t acked, n_written;
} State;

/* What is explored, and how the model is bent: at most one mutant. */
typedef enum {
    MUTANT_NONE,
    MUTANT_NO_CLAIM_READ,
    MUTANT_DONT_CARE,
    MUTANT_COMMIT,
    MUTANT_CLEAR_EARLY,
    MUTANT_MARK_WITHOUT_QUORUM,
    MUTANT_CLAIM_WITHOUT_FENCING,
    MUTANT_ACK_EARLY,
    MUTANT_NO_NOTE,
    MUTANT_CONNECT_UNMARKED,
    MUTANT_MIDDLE_IS_STOP,
    MUTANT_LATE_TAKE,
    MUTANT_DISKLESS_CONNECT,
} Mutant;

typedef struct {
    const char *name;
    int crashes, cuts, lost_answers, leaves, disk_errors, moves, writes;
    int cut_kinds;      /* bits of 1 << (1 ring + 2 store + 4 replication); 0: all of them */
    bool third_crashes; /* the third node may crash too */
    bool big;           /* too slow under the sanitizers */
    bool unprotected;   /* the end may be a guest that runs without its second copy */
    bool wild;          /* Pacemaker starts the guest although it runs elsewhere or nobody was fenced; only not twice at
                           the same time */
    Mutant mutant;
    const char *violates; /* what must be found, NULL: nothing */
} Scenario;

typedef enum { STEP_NORMAL, STEP_FAULT } StepKind;
typedef struct Explorer Explorer;
/* One possible next state; `actor` is 0, 1 or -1 (nobody), `what` a constant text. */
void explorer_put(Explorer *explorer, const State *next, int actor, const char *what, StepKind kind);
const Scenario *explorer_scenario(const Explorer *explorer);
static inline bool is_mutant(const Explorer *explorer, Mutant mutant)
{
    return explorer_scenario(explorer)->mutant == mutant;
}

/* ---- state.c ---- */
void state_start(const Scenario *scenario, State *ret);
void state_swap(const State *s, State *ret); /* the same with A and B exchanged */
void state_pack(const State *s, uint8_t key[SIM_KEY_SIZE]);
void state_unpack(const uint8_t key[SIM_KEY_SIZE], State *ret);
/* Equal for states that differ only in the names of the nodes and of data generations. */
void state_canonical_key(const State *s, uint8_t key[SIM_KEY_SIZE]);

/* ---- cluster.c: machines, links, corosync, Pacemaker ---- */
bool ring_connects(const State *s, int x, int y); /* both up and in reach of each other; 2 is the third node */
bool in_quorate_part(const State *s, int x);      /* as it is, not as corosync shows it yet */
bool view_quorate(const State *s, int x);         /* as corosync shows it */
bool store_reachable(const State *s, int x);
void node_crash(State *s, int x);
void cluster_steps(const State *s, Explorer *explorer);
void fault_steps(const State *s, Explorer *explorer);

/* ---- drbd.c: the kernel module ---- */
typedef enum { PROMOTE_DONE, PROMOTE_ASKS_HANDLER, PROMOTE_REFUSED } Promote;
bool drbd_session(const State *s); /* the replication connection really works in both directions */
void drbd_drop(State *s, int x, const Explorer *explorer); /* node x sees that the connection is gone */
void drbd_new_uuid(State *s, int x);
void drbd_attach(State *s, int x);
Promote drbd_promote(State *s, int x);
void drbd_demote(State *s, int x);
void drbd_thaw(State *s, int x);
void drbd_steps(const State *s, Explorer *explorer);
void guest_steps(const State *s, Explorer *explorer);

/* ---- rules.c: the bridge to storage/record_codec.c ---- */
typedef enum { WRITE_REFUSED, WRITE_DONE, WRITE_FAILED } Write;
Write rule_claim(State *s, int x, const Explorer *explorer);
Write rule_mark(State *s, int x);
Write rule_mark_self(State *s, int x);
Write rule_clear(State *s, int x);
Write rule_stop(State *s, int x);
Write rule_handover_begin(State *s, int x, int id);
Write rule_handover_commit(State *s, int x, int id, int target_boot);
Write rule_handover_rollback(State *s, int x, int id);
/* The last rule's write as one whose answer got lost: *s has it in flight. Call instead of using *s. */
bool rule_lose_answer(const State *before, const State *after, State *ret);
int rules_check_codec(void); /* number of records seen that do not survive encoding and decoding */

/* ---- programs ---- */
int handler_promotion_code(const State *s, int x, const Explorer *explorer);
void handler_steps(const State *s, Explorer *explorer);
void start_steps(const State *s, Explorer *explorer);
void stop_steps(const State *s, Explorer *explorer);
void move_steps(const State *s, Explorer *explorer);
void daemon_steps(const State *s, Explorer *explorer);

/* ---- check.c ---- */
const char *state_violation(const State *s); /* NULL: none */
bool guest_runs(const State *s, int x);
/* The guest runs; `protected`: and both copies are in sync, unless one was lost. */
bool state_is_goal(const State *s, bool protected);
/* A disk was lost, and with it what a start needs: every copy in the record, the owner's (it must reboot to prove that
 * it is gone), or the newest one, while DRBD knows the other to be old or half copied. */
bool state_is_excused(const State *s);

/* ---- story.c ---- */
void story_state(const State *s);
void story_step(int number, int actor, const char *what, const State *s);
