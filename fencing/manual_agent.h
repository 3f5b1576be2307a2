/* SPDX-License-Identifier: Apache-2.0
 * fence_holdfast_manual without its main(): options in the fence-agents way, and what each action does. */
#pragma once

#include <glib.h>
#include <stdio.h>

typedef struct {
    char *action; /* "off", "on", "status", "monitor", "list", "validate-all", "metadata" */
    char *node;   /* whom to fence, NULL: not given */
    int wait_s;   /* how long `off` waits for a confirmation */
} ManualOptions;

void manual_options_clear(ManualOptions *options);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ManualOptions, manual_options_clear)

/* Command line when there is one, else "name=value" lines of input_text. Names Pacemaker passes for every agent but
 * that mean nothing here are ignored. INVALID: unknown option on the command line, or a value that is no number. */
gboolean manual_options_parse(char *const *arguments /* without the program */, const char *input_text,
                              ManualOptions *out, GError **error);

/* The outside world, so that tests need no store and no clock. */
typedef struct {
    /* confirm_check() and confirm_consume() for a node. */
    gboolean (*check)(gpointer user_data, const char *node, GError **error);
    gboolean (*consume)(gpointer user_data, const char *node, GError **error);
    gint64 (*now_ms)(gpointer user_data);
    void (*pause)(gpointer user_data, int ms);
    gpointer user_data;
} ManualWorld;

/* Exit statuses of fence agents. */
enum { MANUAL_OK = 0, MANUAL_ERROR = 1, MANUAL_STATUS_OFF = 2 };

/* Do it; text for people goes to err, metadata to out. Returns the exit status. */
int manual_agent_run(const ManualOptions *options, const ManualWorld *world, FILE *out, FILE *err);
