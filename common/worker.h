/* SPDX-License-Identifier: Apache-2.0
 * Level-triggered background work: tasks named by a key, run in one pool of threads, never twice at once for the same
 * key, and run once more when kicked while running. */
#pragma once

#include <glib.h>

typedef struct Worker Worker;
typedef void (*WorkerTask)(const char *key, gpointer user_data);

Worker *worker_new(int max_threads, gpointer user_data);
/* Waits for the tasks that run; those only queued are dropped. */
void worker_free(Worker *worker);
/* Ask for task(key) to run soon. Any thread. The task of a key must always be the same function. */
void worker_kick(Worker *worker, const char *key, WorkerTask task);
