/* SPDX-License-Identifier: Apache-2.0
 * Log lines for journald. */
#include "common/log.h"

#include <stdio.h>
#include <syslog.h>
#include <unistd.h>

static gboolean to_syslog; /* set once by main() before any thread exists */

void log_use_syslog(const char *program)
{
    openlog(program, LOG_PID, LOG_DAEMON);
    to_syslog = TRUE;
}

void log_line(LogLevel level, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_strdelimit(text, "\n\r", ' ');
    if (to_syslog) {
        syslog((int) level, "%s", text);
        return;
    }
    g_autofree char *line =
        isatty(STDERR_FILENO) ? g_strdup_printf("%s\n", text) : g_strdup_printf("<%d>%s\n", level, text);
    fputs(line, stderr);
}

void log_move(const char *kind, const char *id, const char *from, const char *to, const char *why)
{
    log_line(LOG_LEVEL_NOTICE, "%s '%s': %s -> %s (%s)", kind, id, from, to, why);
}
