/* SPDX-License-Identifier: Apache-2.0
 * The steps that making the first node and joining have in common. Each is idempotent. */
#pragma once

#include "cluster/node_config.h"
#include "cluster/store.h"
#include "node-agent/setup/answers.h"

/* This machine can be the node or witness the answers describe. */
gboolean member_check_machine(const SetupContext *context, const Answers *answers, GError **error);

/* Note what is being set up, before anything is; REFUSED when something else was begun here and not finished. */
gboolean member_journal_begin(const SetupContext *context, const Answers *answers, GError **error);

/* node.json or witness.json of a finished set-up, or NULL without an error when there is none. */
NodeConfig *member_config_read(const SetupContext *context, GError **error);
/* REFUSED unless `present` is what the answers describe. */
gboolean member_config_same(const NodeConfig *present, const Answers *answers, GError **error);
/* The commit mark: from here on this machine is a node, or a witness. */
gboolean member_config_write(const SetupContext *context, const Answers *answers, const char *cluster, gint64 node_id,
                             GError **error);

/* Folder of etcd's data, and its configuration. */
gboolean member_etcd_write(const SetupContext *context, const Answers *answers, const char *initial_cluster,
                           gboolean existing, const char *cluster_token, const EtcdTuning *tuning, GError **error);

/* (Re)start a unit and wait for systemctl; `wait` FALSE: only ask for it. */
gboolean member_unit_restart(const SetupContext *context, const char *unit, gboolean wait, GError **error);
/* The daemons that build on etcd and corosync; asked for only: the first boot is itself a job of systemd. */
gboolean member_start_rest(const SetupContext *context, const Answers *answers, GError **error);

/* The store through this node's own etcd, or for a node without through the voters. Caller frees. */
Store *member_store(const SetupContext *context, gboolean local);
/* Called between two looks, may end the wait. */
typedef gboolean (*MemberBetween)(gpointer user_data, GError **error);
/* Until the store answers with a majority. `between` may be NULL. */
gboolean member_wait_store(const SetupContext *context, Store *store, MemberBetween between, gpointer user_data,
                           GError **error);
/* Until corosync is quorate with all of `ids`. */
gboolean member_wait_corosync(const SetupContext *context, const guint32 *ids, guint n_ids, MemberBetween between,
                              gpointer user_data, GError **error);
