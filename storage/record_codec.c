/* SPDX-License-Identifier: Apache-2.0
 * The in-sync record: strict codec and the pure rules.
 *
 * This is the file that keeps stale data from starting, so it is written to be read: every rule copies the record,
 * refuses with a reason for people unless every precondition is proven, and otherwise writes generation+1. The
 * compare-and-set around it (record.c, the fence-peer handler) makes a rule that was decided on an old record fail. */
#include "storage/record_codec.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_VERSION 1
#define RECORD_TEXT_MAX 4096

static const char *const state_names[] = {
    [RECORD_NEW] = "new", [RECORD_STOPPED] = "stopped", [RECORD_RUNNING] = "running"};

__attribute__((format(printf, 3, 4))) static bool refuse(char *reason, size_t reason_size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (reason && reason_size > 0) {
        vsnprintf(reason, reason_size, format, arguments);
    }
    va_end(arguments);
    return false;
}

static bool is_named(const char *text)
{
    return text && text[0] != '\0';
}

/* A node or id that fits the record: anything longer would be cut and then compare as somebody else. */
static bool fits(const char *text)
{
    return is_named(text) && strlen(text) < RECORD_NAME_MAX;
}

static void put_name(char place[RECORD_NAME_MAX], const char *text)
{
    size_t length = strnlen(text, RECORD_NAME_MAX - 1);
    memset(place, 0, RECORD_NAME_MAX);
    memmove(place, text, length);
}

bool record_is_in_sync(const Record *record, const char *node)
{
    for (int i = 0; is_named(node) && i < RECORD_NODES_MAX; i++) {
        if (strcmp(record->in_sync[i], node) == 0) {
            return true;
        }
    }
    return false;
}

static void in_sync_set(Record *record, const char *first, const char *second)
{
    memset(record->in_sync, 0, sizeof(record->in_sync));
    put_name(record->in_sync[0], first);
    if (second) {
        put_name(record->in_sync[1], second);
    }
}

static bool handover_stands(const Record *record)
{
    return record->handover_to[0] != '\0';
}

static void handover_clear(Record *record)
{
    memset(record->handover_to, 0, sizeof(record->handover_to));
    memset(record->handover_id, 0, sizeof(record->handover_id));
}

/* ---- codec ---- */

static bool get_name(const json_t *document, const char *key, char place[RECORD_NAME_MAX], char *reason, size_t size)
{
    const json_t *value = json_object_get(document, key);
    const char *text = json_string_value(value);
    if (!text || json_string_length(value) >= RECORD_NAME_MAX || strlen(text) != json_string_length(value)) {
        return refuse(reason, size, "%s: must be a string of at most %d characters", key, RECORD_NAME_MAX - 1);
    }
    put_name(place, text);
    return true;
}

/* Only there while it says something, so a program that does not know the field refuses such a record altogether. */
static bool get_unconfirmed(const json_t *document, Record *out, char *reason, size_t size)
{
    if (!json_object_get(document, "unconfirmed")) {
        return true;
    }
    return get_name(document, "unconfirmed", out->unconfirmed, reason, size) &&
           (out->unconfirmed[0] || refuse(reason, size, "unconfirmed: must not be empty"));
}

static bool get_in_sync(const json_t *document, Record *out, char *reason, size_t size)
{
    const json_t *nodes = json_object_get(document, "in_sync");
    if (!json_is_array(nodes) || json_array_size(nodes) > RECORD_NODES_MAX) {
        return refuse(reason, size, "in_sync: must be an array of at most %d nodes", RECORD_NODES_MAX);
    }
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        const char *node = json_string_value(json_array_get(nodes, i));
        if (!fits(node) || record_is_in_sync(out, node)) {
            return refuse(reason, size, "in_sync: every node must be a name, and be there once");
        }
        put_name(out->in_sync[i], node);
    }
    return true;
}

static bool get_state(const json_t *document, Record *out, char *reason, size_t size)
{
    const char *text = json_string_value(json_object_get(document, "state"));
    for (size_t i = 0; text && i < sizeof(state_names) / sizeof(state_names[0]); i++) {
        if (strcmp(text, state_names[i]) == 0) {
            out->state = (RecordState) i;
            return true;
        }
    }
    return refuse(reason, size, "state: must be new, stopped or running");
}

static bool has_only_known_keys(const json_t *document, char *reason, size_t size)
{
    static const char *const known[] = {"version",       "generation",  "state",       "in_sync",    "owner",
                                        "owner_boot_id", "handover_to", "handover_id", "unconfirmed"};
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *) document, key, value) {
        bool found = false;
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
            found = found || strcmp(key, known[i]) == 0;
        }
        if (!found) {
            return refuse(reason, size, "%.40s: unknown field", key);
        }
    }
    return true;
}

/* What no rule below could have written is damage, and damage must not start guests. */
static bool makes_sense(const Record *r, char *reason, size_t size)
{
    bool standing = handover_stands(r);
    if (r->state == RECORD_RUNNING && (!r->owner[0] || !r->owner_boot_id[0])) {
        return refuse(reason, size, "owner: a running record needs an owner and its boot id");
    }
    /* An owner that lost its own disk runs on the other node's copy, which is then the only one (record_mark_self). */
    if (r->state == RECORD_RUNNING && !record_is_in_sync(r, r->owner) && r->in_sync[1][0]) {
        return refuse(reason, size, "in_sync: an owner that is not in sync itself leaves one node there, not two");
    }
    if (r->state != RECORD_NEW && !r->in_sync[0][0]) {
        return refuse(reason, size, "in_sync: must not be empty once the volumes are initialised");
    }
    if (standing != (r->handover_id[0] != '\0')) {
        return refuse(reason, size, "handover_id: handover_to and handover_id must stand together");
    }
    if (standing && (r->state != RECORD_RUNNING || strcmp(r->handover_to, r->owner) == 0 ||
                     !record_is_in_sync(r, r->handover_to))) {
        return refuse(reason, size, "handover_to: must be the other in-sync node of a running guest");
    }
    return true;
}

static bool decode_document(const json_t *document, Record *out, char *reason, size_t size)
{
    if (!json_is_object(document)) {
        return refuse(reason, size, "must be a JSON object");
    }
    const json_t *version = json_object_get(document, "version");
    if (!json_is_integer(version) || json_integer_value(version) != RECORD_VERSION) {
        return refuse(reason, size, "version: must be %d", RECORD_VERSION);
    }
    const json_t *generation = json_object_get(document, "generation");
    if (!json_is_integer(generation) || json_integer_value(generation) < 1) {
        return refuse(reason, size, "generation: must be a whole number from 1");
    }
    out->generation = json_integer_value(generation);
    return has_only_known_keys(document, reason, size) && get_state(document, out, reason, size) &&
           get_in_sync(document, out, reason, size) && get_name(document, "owner", out->owner, reason, size) &&
           get_name(document, "owner_boot_id", out->owner_boot_id, reason, size) &&
           get_name(document, "handover_to", out->handover_to, reason, size) &&
           get_name(document, "handover_id", out->handover_id, reason, size) &&
           get_unconfirmed(document, out, reason, size) && makes_sense(out, reason, size);
}

bool record_decode(const char *text, Record *out, char *reason, size_t reason_size)
{
    memset(out, 0, sizeof(*out));
    if (!text || strnlen(text, RECORD_TEXT_MAX + 1) > RECORD_TEXT_MAX) {
        return refuse(reason, reason_size, "must be at most %d bytes of JSON", RECORD_TEXT_MAX);
    }
    json_error_t problem;
    json_t *document = json_loads(text, JSON_REJECT_DUPLICATES, &problem);
    if (!document) {
        return refuse(reason, reason_size, "not valid JSON: %s", problem.text);
    }
    bool ok = decode_document(document, out, reason, reason_size);
    json_decref(document);
    return ok;
}

char *record_encode(const Record *record)
{
    json_t *nodes = json_array();
    for (int i = 0; nodes && i < RECORD_NODES_MAX; i++) {
        if (record->in_sync[i][0]) {
            json_array_append_new(nodes, json_string(record->in_sync[i]));
        }
    }
    json_t *document = json_pack("{s:i, s:I, s:s, s:o, s:s, s:s, s:s, s:s}", "version", RECORD_VERSION, "generation",
                                 (json_int_t) record->generation, "state", state_names[record->state], "in_sync", nodes,
                                 "owner", record->owner, "owner_boot_id", record->owner_boot_id, "handover_to",
                                 record->handover_to, "handover_id", record->handover_id);
    if (document && record->unconfirmed[0] &&
        json_object_set_new(document, "unconfirmed", json_string(record->unconfirmed)) != 0) {
        json_decref(document);
        return NULL;
    }
    char *text = document ? json_dumps(document, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(document);
    return text;
}

/* ---- rules ---- */

/* Start of every rule that changes the record: *out = the record at generation+1. */
static void next_generation(const Record *record, Record *out)
{
    *out = *record;
    out->generation = record->generation + 1;
}

static bool owner_is_this_life(const Record *record, const char *node, const char *boot_id)
{
    return record->state == RECORD_RUNNING && is_named(node) && is_named(boot_id) && strcmp(record->owner, node) == 0 &&
           strcmp(record->owner_boot_id, boot_id) == 0;
}

static bool is_doubted(const Record *record)
{
    return record->unconfirmed[0] != '\0';
}

static bool refuse_doubted(char *reason, size_t size)
{
    return refuse(reason, size,
                  "the store was rescued or restored and this record may be older than the truth: it is confirmed by "
                  "both copies connected and UpToDate, or by an operator (`holdfast guest confirm`)");
}

/* Two copies that DRBD holds for equal while nobody writes are all there is: no newer data can be elsewhere. Neither
 * record nor in-sync set is asked. Not while the volumes were never initialised: they are equal from the start. */
static bool evidence_is_complete(const Record *record, const RecordClaimFacts *facts)
{
    if (!facts->peer) {
        return !record->in_sync[1][0] && record_is_in_sync(record, facts->node);
    }
    return facts->peer_up_to_date && facts->peer_proves_stop;
}

/* Whether the claim in the record can no longer write. "Connected, peer Secondary, both UpToDate" proves a clean stop,
 * but not while a hand-over stands: then that very picture is its middle (source demoted, target not yet promoted). */
static bool previous_owner_is_gone(const Record *record, const RecordClaimFacts *facts)
{
    bool is_me = strcmp(record->owner, facts->node) == 0;
    bool other_life = is_me && strcmp(record->owner_boot_id, facts->boot_id) != 0;
    if (facts->owner_rebooted || facts->owner_fenced || other_life) {
        return true;
    }
    if (handover_stands(record)) {
        return false;
    }
    bool peer_is_owner = is_named(facts->peer) && strcmp(facts->peer, record->owner) == 0;
    return is_me || (facts->peer_proves_stop && peer_is_owner);
}

bool record_claim(const Record *record, const RecordClaimFacts *facts, Record *out, char *reason, size_t reason_size)
{
    if (!fits(facts->node) || !fits(facts->boot_id) || (facts->peer && !fits(facts->peer))) {
        return refuse(reason, reason_size, "the claiming node's name, boot id or peer is missing or too long");
    }
    if (record->state == RECORD_NEW) {
        return refuse(reason, reason_size,
                      "the guest's volumes are not initialised yet: wait for its creation to finish");
    }
    if (is_doubted(record) && !evidence_is_complete(record, facts)) {
        return refuse_doubted(reason, reason_size);
    }
    if (!is_doubted(record) && !record_is_in_sync(record, facts->node)) {
        const char *second = record->in_sync[1][0] ? record->in_sync[1] : "";
        return refuse(
            reason, reason_size,
            "the copy on %s is stale (generation %lld: current copy on %s%s%s): bring that node back, or wait for the "
            "resync",
            facts->node, (long long) record->generation, record->in_sync[0], *second ? ", " : "", second);
    }
    if (record->state == RECORD_RUNNING && !previous_owner_is_gone(record, facts)) {
        if (handover_stands(record)) {
            return refuse(reason, reason_size,
                          "a live hand-over from %s to %s is under way: it must be committed or rolled back",
                          record->owner, record->handover_to);
        }
        return refuse(reason, reason_size,
                      "%s may still be running it: it did not stop cleanly, did not reboot and is not confirmed fenced",
                      record->owner);
    }
    bool keep_peer =
        facts->peer_up_to_date && record_is_in_sync(record, facts->peer) && strcmp(facts->peer, facts->node) != 0;
    next_generation(record, out);
    out->state = RECORD_RUNNING;
    memset(out->unconfirmed, 0, sizeof(out->unconfirmed));
    put_name(out->owner, facts->node);
    put_name(out->owner_boot_id, facts->boot_id);
    handover_clear(out);
    in_sync_set(out, facts->node, keep_peer ? facts->peer : NULL);
    return true;
}

/* What mark and clear have in common: only the running owner, in this life, outside a hand-over, about another node. */
static bool owner_may_edit(const Record *record, const char *node, const char *boot_id, const char *peer, char *reason,
                           size_t size)
{
    if (!owner_is_this_life(record, node, boot_id)) {
        return refuse(
            reason, size, "only the running owner may change who is in sync: that is %s%s, generation %lld, not %s",
            record->owner[0] ? record->owner : "nobody", record->state == RECORD_RUNNING ? "" : " (not running)",
            (long long) record->generation, is_named(node) ? node : "nobody");
    }
    if (is_doubted(record)) {
        return refuse_doubted(reason, size);
    }
    if (handover_stands(record)) {
        return refuse(reason, size,
                      "a live hand-over to %s is under way: only its commit or rollback may change the record",
                      record->handover_to);
    }
    if (!fits(peer) || strcmp(peer, node) == 0) {
        return refuse(reason, size, "the peer must be another node than %s", node);
    }
    return true;
}

bool record_mark(const Record *record, const char *node, const char *boot_id, const char *peer, Record *out,
                 char *reason, size_t reason_size)
{
    if (!owner_may_edit(record, node, boot_id, peer, reason, reason_size)) {
        return false;
    }
    if (!record_is_in_sync(record, node)) {
        return refuse(reason, reason_size,
                      "%s lost its own disk and the only current copy is on %s: without it nobody would have one", node,
                      record->in_sync[0]);
    }
    /* Generation+1 also when the peer is out already: a clear decided before this mark must fail its compare. */
    next_generation(record, out);
    in_sync_set(out, node, NULL);
    return true;
}

bool record_mark_self(const Record *record, const RecordSelfFacts *facts, Record *out, char *reason, size_t reason_size)
{
    if (!owner_may_edit(record, facts->node, facts->boot_id, facts->peer, reason, reason_size)) {
        return false;
    }
    if (!facts->own_disk_lost) {
        return refuse(reason, reason_size, "the disk of %s is not lost", facts->node);
    }
    if (!facts->peer_up_to_date) {
        return refuse(reason, reason_size,
                      "the copy on %s is not connected and UpToDate on every volume: nobody would "
                      "be left",
                      facts->peer);
    }
    if (!record_is_in_sync(record, facts->node) && record_is_in_sync(record, facts->peer)) {
        *out = *record;
        return true;
    }
    next_generation(record, out);
    in_sync_set(out, facts->peer, NULL);
    return true;
}

bool record_clear(const Record *record, const char *node, const char *boot_id, const char *peer, Record *out,
                  char *reason, size_t reason_size)
{
    if (!owner_may_edit(record, node, boot_id, peer, reason, reason_size)) {
        return false;
    }
    if (record_is_in_sync(record, node) && record_is_in_sync(record, peer)) {
        *out = *record;
        return true;
    }
    next_generation(record, out);
    in_sync_set(out, node, peer);
    return true;
}

bool record_stop(const Record *record, const char *node, const char *boot_id, Record *out, char *reason,
                 size_t reason_size)
{
    if (!fits(node) || !fits(boot_id)) {
        return refuse(reason, reason_size, "the stopping node's name or boot id is missing or too long");
    }
    if (record->state != RECORD_RUNNING || strcmp(record->owner, node) != 0) {
        *out = *record;
        return true;
    }
    if (handover_stands(record)) {
        return refuse(reason, reason_size, "a live hand-over to %s is under way: roll it back (id %s) before the stop",
                      record->handover_to, record->handover_id);
    }
    /* Another boot id is an earlier life of this node: it ended with the reboot, so "stopped" is as true as after a
     * stop. */
    next_generation(record, out);
    out->state = RECORD_STOPPED;
    return true;
}

bool record_handover_begin(const Record *record, const char *node, const char *boot_id, const char *to, const char *id,
                           Record *out, char *reason, size_t reason_size)
{
    if (!fits(to) || !fits(id)) {
        return refuse(reason, reason_size, "the hand-over's target or id is missing or too long");
    }
    if (!owner_is_this_life(record, node, boot_id)) {
        return refuse(reason, reason_size, "only the running owner may hand over: that is %s%s",
                      record->owner[0] ? record->owner : "nobody",
                      record->state == RECORD_RUNNING ? "" : " (not running)");
    }
    if (is_doubted(record)) {
        return refuse_doubted(reason, reason_size);
    }
    if (handover_stands(record)) {
        if (strcmp(record->handover_to, to) == 0 && strcmp(record->handover_id, id) == 0) {
            *out = *record;
            return true;
        }
        return refuse(reason, reason_size, "another live hand-over (to %s) is under way", record->handover_to);
    }
    if (strcmp(to, node) == 0) {
        return refuse(reason, reason_size, "the guest is on %s already", node);
    }
    /* The owner's own copy is not asked about: one that lost its disk hands over to the node that has the data. */
    if (!record_is_in_sync(record, to)) {
        return refuse(reason, reason_size, "the copy on %s is not in sync: wait for its resync", to);
    }
    next_generation(record, out);
    put_name(out->handover_to, to);
    put_name(out->handover_id, id);
    return true;
}

static bool handover_is(const Record *record, const char *id, char *reason, size_t size)
{
    if (!handover_stands(record)) {
        return refuse(reason, size, "no live hand-over is under way (owner %s): it ended before", record->owner);
    }
    if (!is_named(id) || strcmp(record->handover_id, id) != 0) {
        return refuse(reason, size, "another live hand-over (to %s) is under way", record->handover_to);
    }
    return true;
}

bool record_handover_commit(const Record *record, const char *id, const char *to_boot_id, Record *out, char *reason,
                            size_t reason_size)
{
    if (!handover_is(record, id, reason, reason_size)) {
        return false;
    }
    if (is_doubted(record)) {
        return refuse_doubted(reason, reason_size);
    }
    if (!fits(to_boot_id)) {
        return refuse(reason, reason_size, "the target's boot id is missing or too long");
    }
    next_generation(record, out);
    put_name(out->owner, record->handover_to);
    put_name(out->owner_boot_id, to_boot_id);
    handover_clear(out);
    return true;
}

bool record_handover_rollback(const Record *record, const char *id, Record *out, char *reason, size_t reason_size)
{
    if (!handover_is(record, id, reason, reason_size)) {
        return false;
    }
    next_generation(record, out);
    handover_clear(out);
    return true;
}

/* ---- after a rescue or restore of the store ---- */

bool record_doubt(const Record *record, const char *id, Record *out, char *reason, size_t reason_size)
{
    if (!fits(id)) {
        return refuse(reason, reason_size, "the rescue's id is missing or too long");
    }
    if (strcmp(record->unconfirmed, id) == 0) {
        *out = *record;
        return true;
    }
    next_generation(record, out);
    put_name(out->unconfirmed, id);
    return true;
}

/* What renew, confirm and override have in common: *out = generation+1, believed again, `node` alone in sync. */
static void believe(const Record *record, RecordState state, const char *node, Record *out)
{
    next_generation(record, out);
    out->state = state;
    memset(out->unconfirmed, 0, sizeof(out->unconfirmed));
    handover_clear(out);
    in_sync_set(out, node, NULL);
}

bool record_renew(const Record *record, const char *node, const char *boot_id, bool writes_here, Record *out,
                  char *reason, size_t reason_size)
{
    if (!is_doubted(record)) {
        return refuse(reason, reason_size, "the record is not in doubt");
    }
    if (!fits(node) || !fits(boot_id)) {
        return refuse(reason, reason_size, "the running node's name or boot id is missing or too long");
    }
    if (!writes_here) {
        return refuse(reason, reason_size,
                      "the guest does not run on %s with every disk Primary, UpToDate and not frozen", node);
    }
    believe(record, RECORD_RUNNING, node, out);
    put_name(out->owner, node);
    put_name(out->owner_boot_id, boot_id);
    return true;
}

bool record_confirm(const Record *record, const char *node, Record *out, char *reason, size_t reason_size)
{
    if (!is_doubted(record)) {
        return refuse(reason, reason_size, "the record is not in doubt");
    }
    if (!fits(node)) {
        return refuse(reason, reason_size, "the node's name is missing or too long");
    }
    believe(record, RECORD_STOPPED, node, out);
    return true;
}

/* ---- a stale copy is all that is left ---- */

bool record_override(const Record *record, int64_t generation, const char *node, Record *out, char *reason,
                     size_t reason_size)
{
    if (is_doubted(record)) {
        return refuse(reason, reason_size, "the record is in doubt");
    }
    if (!fits(node)) {
        return refuse(reason, reason_size, "the node's name is missing or too long");
    }
    if (record->state == RECORD_NEW) {
        return refuse(reason, reason_size, "the guest's volumes are not initialised yet: there is no data to choose");
    }
    if (record->generation != generation) {
        return refuse(reason, reason_size, "the record moved on meanwhile: look again");
    }
    if (record_is_in_sync(record, node) && !record->in_sync[1][0]) {
        return refuse(reason, reason_size, "the copy on %s is the only current one", node);
    }
    believe(record, RECORD_STOPPED, node, out);
    return true;
}
