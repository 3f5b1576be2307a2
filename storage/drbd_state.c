/* SPDX-License-Identifier: Apache-2.0
 * Pure parsing of what DRBD 8.4 says about itself. */
#include "storage/drbd_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static gboolean is_one_of(const char *word, const char *const *words)
{
    return g_strv_contains(words, word);
}

static gboolean connection_is_resync(const char *connection)
{
    static const char *const words[] = {"SyncSource",    "SyncTarget", "PausedSyncS", "PausedSyncT",
                                        "WFBitMapS",     "WFBitMapT",  "WFSyncUUID",  "StartingSyncS",
                                        "StartingSyncT", "Ahead",      "Behind",      NULL};
    return is_one_of(connection, words);
}

gboolean drbd_state_is_connected(const DrbdState *state)
{
    static const char *const words[] = {"Connected", "VerifyS", "VerifyT", NULL};
    return state->present && (is_one_of(state->connection, words) || connection_is_resync(state->connection));
}

gboolean drbd_state_is_up_to_date_pair(const DrbdState *state)
{
    return drbd_state_is_connected(state) && !connection_is_resync(state->connection) &&
           strcmp(state->disk, "UpToDate") == 0 && strcmp(state->peer_disk, "UpToDate") == 0;
}

/* "	[>....................] sync'ed:  0.4% (1024/1028)M", the percentage with one decimal. */
static int progress_permille(const char *line, const char *end)
{
    const char *mark = g_strstr_len(line, end - line, "sync'ed:");
    double percent;
    if (!mark || sscanf(mark, "sync'ed: %lf%%", &percent) != 1) {
        return -1;
    }
    return CLAMP((int) (percent * 10 + 0.5), 0, 1000);
}

static void state_from_line(const char *line, DrbdState *ret)
{
    /* An attached or connected minor; a bare one (new-minor only) says just "cs:Unconfigured" and counts as not there.
     * The last word is the flags, the first of them 's' while I/O is frozen, else 'r'. Before it stands the protocol: a
     * blank without a connection. */
    const char *flags = strrchr(line, ' ');
    if (sscanf(line, " %*d: cs:%23s ro:%15[^/]/%15s ds:%15[^/]/%15s", ret->connection, ret->role, ret->peer_role,
               ret->disk, ret->peer_disk) == 5) {
        ret->present = TRUE;
        ret->suspended = flags && flags[1] == 's';
        ret->resync_permille = connection_is_resync(ret->connection) ? 0 : 1000;
    } else {
        *ret = (DrbdState){.resync_permille = 1000};
    }
}

static gint64 counter(const char *line, const char *end, const char *name)
{
    const char *found = g_strstr_len(line, end - line, name);
    return found ? g_ascii_strtoll(found + strlen(name), NULL, 10) : 0;
}

/* "    ns:0 nr:8 dw:8 dr:0 al:0 bm:0 lo:1 pe:0 ua:1 ap:0 ep:1 wo:f oos:0": dw and dr count what the disk here has
 * ended, al and bm DRBD's own writes, lo what is on its way. */
static void counters_from_line(const char *line, const char *end, DrbdState *ret)
{
    if (g_strstr_len(line, end - line, " lo:")) {
        ret->local_pending = counter(line, end, " lo:");
        ret->local_done = (guint64) (counter(line, end, " dw:") + counter(line, end, " dr:") +
                                     counter(line, end, " al:") + counter(line, end, " bm:"));
    }
}

void drbd_state_parse(const char *proc_text, int minor, DrbdState *ret)
{
    *ret = (DrbdState){.resync_permille = 1000};
    gboolean ours = FALSE;
    for (const char *line = proc_text; line && *line;) {
        const char *end = strchr(line, '\n');
        end = end ? end : line + strlen(line);
        int number;
        char colon;
        if (sscanf(line, " %d%c cs", &number, &colon) == 2 && colon == ':' && g_strstr_len(line, end - line, ": cs:")) {
            ours = number == minor;
            if (ours) {
                g_autofree char *copy = g_strndup(line, (gsize) (end - line));
                state_from_line(copy, ret);
            }
        } else if (ours && ret->present) {
            counters_from_line(line, end, ret);
            const char *out = g_strstr_len(line, end - line, " oos:");
            if (out) {
                ret->out_of_sync_kib = g_ascii_strtoll(out + strlen(" oos:"), NULL, 10);
            }
            if (ret->resync_permille == 0) {
                ret->resync_permille = MAX(progress_permille(line, end), 0);
            }
        }
        line = *end ? end + 1 : end;
    }
}

/* `show` prints one "key<blanks>value;" a line inside braces; only the volume blocks under _this_host matter, and those
 * are the only ones called "volume". */
void drbd_show_parse(const char *text, DrbdShow *ret)
{
    *ret = (DrbdShow){.protocol_c = TRUE};
    for (int i = 0; i < GUEST_VOLUMES_MAX; i++) {
        ret->volumes[i].minor = -1;
    }
    int volume = -1;
    gboolean remote = FALSE;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (int i = 0; lines[i]; i++) {
        const char *line = g_strstrip(lines[i]);
        char value[64];
        int number;
        if (g_str_has_prefix(line, "resource ")) {
            ret->exists = TRUE;
        } else if (g_str_has_prefix(line, "_remote_host ")) {
            ret->net = remote = TRUE;
        } else if (g_str_has_prefix(line, "_this_host ")) {
            remote = FALSE;
        } else if (remote && sscanf(line, "address ipv4 %63[^;]", value) == 1) {
            g_snprintf(ret->remote, sizeof(ret->remote), "ipv4:%s", value);
        } else if (sscanf(line, "shared-secret \"%63[^\"]", value) == 1) {
            g_strlcpy(ret->secret, value, sizeof(ret->secret));
        } else if (sscanf(line, "protocol %63[^;]", value) == 1) {
            ret->protocol_c = strcmp(value, "C") == 0;
        } else if (sscanf(line, "volume %d {", &number) == 1) {
            volume = number >= 0 && number < GUEST_VOLUMES_MAX ? number : -1;
        } else if (volume >= 0 && sscanf(line, "device minor %d", &number) == 1) {
            ret->volumes[volume].minor = number;
        } else if (volume >= 0 && g_str_has_prefix(line, "disk") && strchr(line, '"')) {
            ret->volumes[volume].attached = TRUE;
        } else if (volume >= 0 && sscanf(line, "fencing %63[^;]", value) == 1) {
            ret->volumes[volume].fencing = strcmp(value, "resource-and-stonith") == 0;
        }
    }
}
