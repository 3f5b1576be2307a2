/* SPDX-License-Identifier: Apache-2.0
 * Level-triggered background work. */
#include "common/worker.h"

typedef struct {
    char *key;
    WorkerTask task;
    gboolean again;
} WorkerJob;

struct Worker {
    GThreadPool *pool;
    GMutex lock;
    GHashTable *jobs; /* key -> WorkerJob queued or running */
    gpointer user_data;
    gboolean closing;
};

static void job_free(gpointer data)
{
    WorkerJob *job = data;
    g_free(job->key);
    g_free(job);
}

static void worker_run(gpointer data, gpointer user_data)
{
    WorkerJob *job = data;
    Worker *worker = user_data;
    gboolean again = TRUE;
    while (again) {
        g_mutex_lock(&worker->lock);
        job->again = FALSE;
        gboolean closing = worker->closing;
        g_mutex_unlock(&worker->lock);
        if (!closing) {
            job->task(job->key, worker->user_data);
        }
        g_mutex_lock(&worker->lock);
        again = job->again && !worker->closing;
        if (!again) {
            g_hash_table_remove(worker->jobs, job->key);
        }
        g_mutex_unlock(&worker->lock);
    }
}

Worker *worker_new(int max_threads, gpointer user_data)
{
    Worker *worker = g_new0(Worker, 1);
    g_mutex_init(&worker->lock);
    worker->jobs = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, job_free);
    worker->user_data = user_data;
    worker->pool = g_thread_pool_new(worker_run, worker, max_threads, FALSE, NULL);
    return worker;
}

void worker_free(Worker *worker)
{
    g_mutex_lock(&worker->lock);
    worker->closing = TRUE;
    g_mutex_unlock(&worker->lock);
    g_thread_pool_free(worker->pool, FALSE, TRUE);
    g_hash_table_destroy(worker->jobs);
    g_mutex_clear(&worker->lock);
    g_free(worker);
}

void worker_kick(Worker *worker, const char *key, WorkerTask task)
{
    g_mutex_lock(&worker->lock);
    WorkerJob *job = g_hash_table_lookup(worker->jobs, key);
    if (job) {
        job->again = TRUE;
    } else if (!worker->closing) {
        job = g_new0(WorkerJob, 1);
        job->key = g_strdup(key);
        job->task = task;
        g_hash_table_insert(worker->jobs, job->key, job);
        g_thread_pool_push(worker->pool, job, NULL);
    }
    g_mutex_unlock(&worker->lock);
}
