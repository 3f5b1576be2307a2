/* SPDX-License-Identifier: Apache-2.0
 * The level-triggered loops of holdfastd: each compares what the store wants with what is, and does the next step. All
 * run in the worker pool; user_data is the Daemon. */
#pragma once

#include "node-agent/daemon.h"

/* "node": lease, boot id, this node's status, bridges, corosync.conf. */
void reconcile_node(const char *key, gpointer user_data);
/* "guest/<name>": replica, gates, initial data, clearing of the in-sync record, removal. */
void reconcile_guest(const char *key, gpointer user_data);
/* "cluster", on the DC only: projection into the CIB, end of deletions, end of operations, power-on of fenced nodes. */
void reconcile_cluster(const char *key, gpointer user_data);
/* "op/<id>": drive an operation that is this node's to drive. */
void operation_drive(const char *key, gpointer user_data);

/* Register this life of the machine (boot/<node>): start claims of others rely on it. Must succeed before READY. */
gboolean reconcile_register_boot(Daemon *daemon, GError **error);
/* This machine is being shut down in order: nobody shall power it on again. Does nothing when only the daemon stops. */
void reconcile_mark_left(Daemon *daemon);
/* Kernel module, bridges and replicas of every guest with a manifest here, before Pacemaker may ask. */
void reconcile_resume_replicas(Daemon *daemon);
