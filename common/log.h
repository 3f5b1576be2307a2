/* SPDX-License-Identifier: Apache-2.0
 * Log lines for journald. Libraries do not log: they return errors; the program on top logs once. Secrets are never
 * logged. */
#pragma once

#include <glib.h>

/* error: service affected. warning: recoverable. notice: an important thing happened. info: the course of things. */
typedef enum { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_NOTICE = 5, LOG_LEVEL_INFO = 6 } LogLevel;

/* Write one line to standard error with systemd's <level> prefix (plain when standard error is a terminal).
 * Thread-safe. */
void log_line(LogLevel level, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* From now on lines go to syslog under `program` instead: for programs whose standard error belongs to somebody else
 * (an OCF agent's is Pacemaker's). */
void log_use_syslog(const char *program);

/* The one form of a state move: "guest 'web1': stopped -> running (started by operator)". Level notice. */
void log_move(const char *kind, const char *id, const char *from, const char *to, const char *why);
