/* SPDX-License-Identifier: Apache-2.0
 * Background tasks by key. */
#include "common/worker.h"

typedef struct {
    GMutex lock;
    GCond changed;
    int running, most_running, rounds;
    gboolean hold; /* the task waits while this is set */
} Probe;

static void task(const char *key G_GNUC_UNUSED, gpointer user_data)
{
    Probe *probe = user_data;
    g_mutex_lock(&probe->lock);
    probe->running++;
    probe->most_running = MAX(probe->most_running, probe->running);
    probe->rounds++;
    g_cond_broadcast(&probe->changed);
    while (probe->hold) {
        g_cond_wait(&probe->changed, &probe->lock);
    }
    probe->running--;
    g_cond_broadcast(&probe->changed);
    g_mutex_unlock(&probe->lock);
}

static void wait_rounds(Probe *probe, int rounds)
{
    while (probe->rounds < rounds) {
        g_cond_wait(&probe->changed, &probe->lock);
    }
}

static void test_kick_while_running_runs_once_more(void)
{
    Probe probe = {.hold = TRUE};
    Worker *worker = worker_new(4, &probe);
    worker_kick(worker, "a", task);
    g_mutex_lock(&probe.lock);
    wait_rounds(&probe, 1);
    g_mutex_unlock(&probe.lock);
    for (int i = 0; i < 5; i++) {
        worker_kick(worker, "a", task);
    }
    g_mutex_lock(&probe.lock);
    g_assert_cmpint(probe.rounds, ==, 1);
    probe.hold = FALSE;
    g_cond_broadcast(&probe.changed);
    wait_rounds(&probe, 2);
    g_mutex_unlock(&probe.lock);
    worker_free(worker);
    g_assert_cmpint(probe.rounds, ==, 2);
    g_assert_cmpint(probe.most_running, ==, 1);
}

static void test_other_keys_run_beside(void)
{
    Probe probe = {.hold = TRUE};
    Worker *worker = worker_new(4, &probe);
    worker_kick(worker, "a", task);
    worker_kick(worker, "b", task);
    g_mutex_lock(&probe.lock);
    wait_rounds(&probe, 2);
    g_assert_cmpint(probe.most_running, ==, 2);
    probe.hold = FALSE;
    g_cond_broadcast(&probe.changed);
    g_mutex_unlock(&probe.lock);
    worker_free(worker);
    g_assert_cmpint(probe.running, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/common/worker/kick-while-running", test_kick_while_running_runs_once_more);
    g_test_add_func("/common/worker/other-keys", test_other_keys_run_beside);
    return g_test_run();
}
