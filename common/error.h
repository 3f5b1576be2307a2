/* SPDX-License-Identifier: Apache-2.0
 * The one error domain of Holdfast and what each code means to a person, HTTP and a shell. */
#pragma once

#include <glib.h>

#define HOLDFAST_ERROR (holdfast_error_quark())

typedef enum {
    HOLDFAST_ERROR_FAILED,      /* something outside Holdfast failed; the text says what and what to do */
    HOLDFAST_ERROR_INVALID,     /* the caller's input is wrong; the text begins with the field's name */
    HOLDFAST_ERROR_NOT_FOUND,   /* no such object */
    HOLDFAST_ERROR_EXISTS,      /* the name is taken */
    HOLDFAST_ERROR_CONFLICT,    /* the object changed under the caller: read again and retry */
    HOLDFAST_ERROR_BUSY,        /* somebody else holds it; the text names the holder */
    HOLDFAST_ERROR_UNAVAILABLE, /* no store majority, no quorum, or a daemon is not there: retry later */
    HOLDFAST_ERROR_TIMEOUT,     /* the deadline passed; the outcome may be unknown */
    HOLDFAST_ERROR_REFUSED,     /* a safety rule forbids it; retrying alone will not help */
    HOLDFAST_ERROR_NO_SPACE,    /* a pool, file system or limit is full; the text has the figures */
    HOLDFAST_ERROR_UNSUPPORTED, /* not on this node, engine or version */
    HOLDFAST_ERROR_CANCELLED,   /* somebody asked for it to stop */
    HOLDFAST_ERROR_DENIED,      /* the caller may not do this */
    HOLDFAST_ERROR_N_CODES
} HoldfastErrorCode;

GQuark holdfast_error_quark(void);

/* Stable lower-case name ("invalid"), HTTP status and process exit code of a code. Unknown codes count as FAILED. */
const char *holdfast_error_name(int code);
int holdfast_error_http_status(int code);
int holdfast_error_exit_code(int code);
/* The code of a name made by holdfast_error_name(); FAILED for a name nobody knows. */
int holdfast_error_from_name(const char *name);
/* Code of any GError: its own when in this domain, FAILED otherwise. NULL-safe (FAILED). */
int holdfast_error_code(const GError *error);
/* Whether a caller may repeat the very same request and hope. */
gboolean holdfast_error_retryable(int code);

/* Set *error of this domain to `code` and the formatted text. Always returns FALSE. */
gboolean holdfast_error_fail(GError **error, int code, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* Set *error from errno value `err`; `what` says what was being done, on what. Always returns FALSE. */
gboolean holdfast_error_set_errno(GError **error, int err, const char *what_format, ...) G_GNUC_PRINTF(3, 4);
