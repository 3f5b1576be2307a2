/* SPDX-License-Identifier: Apache-2.0
 * The `holdfast` command: what every command gets, and the table it is listed in. */
#pragma once

#include "common/json.h"
#include "webui-api/cli/http.h"

#include <glib.h>

typedef enum { CLI_OUTPUT_TABLE, CLI_OUTPUT_WIDE, CLI_OUTPUT_JSON } CliOutput;
typedef enum { CLI_OPTION_FLAG, CLI_OPTION_VALUE, CLI_OPTION_REPEATED } CliOptionKind;

typedef struct {
    const char *name; /* without "--"; NULL ends a list */
    char letter;      /* '\0': none */
    CliOptionKind kind;
    const char *metavar;
    const char *help;
} CliOption;

typedef struct Cli Cli;

typedef struct {
    const char *noun;  /* NULL ends a list */
    const char *verb;  /* NULL: the noun is the whole command */
    const char *words; /* "NAME [NODE]", for help */
    guint min_words, max_words;
    const CliOption *options; /* NULL: only the common ones */
    const char *summary;
    gboolean (*run)(Cli *cli, GError **error);
} CliCommand;

struct Cli {
    const CliCommand *command;
    char **words;        /* what follows the command */
    GHashTable *options; /* name -> GPtrArray of values */
    CliOutput output;
    gboolean wait;     /* for operations to end */
    gboolean colour;   /* standard output is a terminal and NO_COLOR is not set */
    gboolean progress; /* standard error is a terminal */
    gboolean help;
    CliHttp *http;
};

/* The tables of cli_<noun>.c, and of all of them (both NULL-terminated). */
extern const CliCommand cli_status_commands[], cli_node_commands[], cli_guest_commands[], cli_volume_commands[],
    cli_image_commands[], cli_network_commands[], cli_fence_commands[], cli_op_commands[], cli_events_commands[],
    cli_incident_commands[], cli_store_commands[], cli_other_commands[];
const CliCommand *const *cli_command_tables(void);

/* Values of the options given (NULL / FALSE when not). Borrowed. */
const char *cli_option(const Cli *cli, const char *name);
const GPtrArray *cli_option_all(const Cli *cli, const char *name);
gboolean cli_flag(const Cli *cli, const char *name);

/* "/api/v1/" + each part escaped and joined by "/". NULL-terminated. Caller frees. */
char *cli_path(const char *first, ...) G_GNUC_NULL_TERMINATED;

/* The value at a dotted path, NULL when absent. The _text form gives strings only. Borrowed. */
const json_t *cli_get(const json_t *object, const char *dotted);
const char *cli_text(const json_t *object, const char *dotted);
gint64 cli_number(const json_t *object, const char *dotted);
gboolean cli_true(const json_t *object, const char *dotted);
/* The strings of an array, joined by ", "; NULL when there are none. Caller frees. */
char *cli_join(const json_t *array);

/* Print text with control characters made harmless: names and texts come from other people. */
void cli_print(const char *format, ...) G_GNUC_PRINTF(1, 2);
/* TRUE when JSON is wanted: it has been printed then. */
gboolean cli_print_json(const Cli *cli, const json_t *value);
/* "Label:      text" of the detail pages; a NULL text is shown as "-". */
void cli_print_field(const char *label, const char *text);

/* The common courses: GET and hand over (caller owns); and a mutation that begins an operation, waited for as asked. */
json_t *cli_fetch(Cli *cli, const char *path, GError **error);
gboolean cli_operate(Cli *cli, const char *method, const char *path, const json_t *body, GError **error);
