/* SPDX-License-Identifier: Apache-2.0
 * The runs: scenarios that must hold, and mutants that must be caught. Output is TAP; stories are comment lines. */
#include "tests/sim/search.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sys/wait.h>
#include <unistd.h>

#define MAX_STATES 40000000u
#define PARALLEL 2
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED true
#else
#define SANITIZED false
#endif

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* KEY=VALUE of a run of one's own. */
static bool set_option(Scenario *s, const char *text)
{
    const struct {
        const char *name;
        int *value;
    } numbers[] = {{"crashes", &s->crashes}, {"cuts", &s->cuts},   {"kinds", &s->cut_kinds}, {"lost", &s->lost_answers},
                   {"leaves", &s->leaves},   {"moves", &s->moves}, {"writes", &s->writes},   {"disk", &s->disk_errors}};
    const struct {
        const char *name;
        bool *value;
    } switches[] = {{"third", &s->third_crashes}, {"wild", &s->wild}, {"unprotected", &s->unprotected}};
    const char *equal = strchr(text, '=');
    size_t length = equal ? (size_t) (equal - text) : 0;
    for (size_t i = 0; length && i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strlen(numbers[i].name) == length && strncmp(numbers[i].name, text, length) == 0) {
            *numbers[i].value = atoi(equal + 1);
            return true;
        }
    }
    for (size_t i = 0; length && i < sizeof(switches) / sizeof(switches[0]); i++) {
        if (strlen(switches[i].name) == length && strncmp(switches[i].name, text, length) == 0) {
            *switches[i].value = atoi(equal + 1) != 0;
            return true;
        }
    }
    return false;
}

enum { CUT_RING = 1 << 1, CUT_REPLICATION = 1 << 4 };

/* What must hold. Small budgets of each kind together, large ones apart: see README.md for why these. */
static const Scenario holds[] = {
    {.name = "two crashes, third node included", .big = true, .crashes = 2, .writes = 1, .third_crashes = true},
    {.name = "one partition", .big = true, .cuts = 1, .writes = 1},
    {.name = "crash and lost answer", .crashes = 1, .lost_answers = 1, .writes = 1},
    {.name = "crash, and a replica leaves", .big = true, .crashes = 1, .leaves = 1, .writes = 1},
    {.name = "crash, two writes", .crashes = 1, .writes = 2},
    {.name = "starts where it must not, replication link",
     .cuts = 1,
     .cut_kinds = CUT_REPLICATION,
     .writes = 1,
     .wild = true,
     .unprotected = true},
    {.name = "crash and disk error", .big = true, .crashes = 1, .disk_errors = 1, .writes = 1},
    {.name = "hand-over and crash", .big = true, .crashes = 1, .moves = 1, .writes = 1, .unprotected = true},
    {.name = "two hand-overs, lost answer", .lost_answers = 1, .moves = 2, .writes = 1, .unprotected = true},
    {.name = "hand-over and replication link",
     .big = true,
     .cuts = 1,
     .cut_kinds = CUT_REPLICATION,
     .moves = 1,
     .writes = 1,
     .unprotected = true},
    {.name = "hand-over, disk error, replica leaves",
     .big = true,
     .leaves = 1,
     .disk_errors = 1,
     .moves = 1,
     .writes = 1,
     .unprotected = true},
};

/* What must be found: rules taken away, and gaps of today's programs that a rule of the model closes. */
static const Scenario caught[] = {
    {.name = "MUTANT_NO_CLAIM_READ: promotion without the claim",
     .mutant = MUTANT_NO_CLAIM_READ,
     .violates = "I2",
     .crashes = 2,
     .writes = 1},
    {.name = "MUTANT_CLAIM_WITHOUT_FENCING: the owner is taken for gone",
     .mutant = MUTANT_CLAIM_WITHOUT_FENCING,
     .violates = "I1",
     .cuts = 1,
     .wild = true},
    {.name = "MUTANT_DONT_CARE: no freeze on connection loss",
     .mutant = MUTANT_DONT_CARE,
     .violates = "I2",
     .crashes = 1,
     .cuts = 1,
     .cut_kinds = CUT_REPLICATION,
     .writes = 1},
    {.name = "MUTANT_ACK_EARLY: acknowledged before the peer has it",
     .mutant = MUTANT_ACK_EARLY,
     .violates = "I2",
     .crashes = 1,
     .writes = 1},
    {.name = "MUTANT_COMMIT: the source resumes after the commit",
     .mutant = MUTANT_COMMIT,
     .violates = "I",
     .cuts = 1,
     .cut_kinds = CUT_REPLICATION,
     .moves = 1},
    {.name = "MUTANT_MIDDLE_IS_STOP: the middle of a hand-over proves a stop",
     .mutant = MUTANT_MIDDLE_IS_STOP,
     .violates = "I1",
     .cuts = 1,
     .cut_kinds = CUT_REPLICATION,
     .moves = 1,
     .wild = true},
    {.name = "MUTANT_CLEAR_EARLY: clear before the resync is complete",
     .mutant = MUTANT_CLEAR_EARLY,
     .big = true,
     .violates = "I2",
     .crashes = 2,
     .writes = 1},
    {.name = "MUTANT_MARK_WITHOUT_QUORUM: mark without a quorate membership",
     .mutant = MUTANT_MARK_WITHOUT_QUORUM,
     .violates = "I6",
     .cuts = 1},
    {.name = "MUTANT_NO_NOTE: a failed disk is neither noted nor cut off",
     .mutant = MUTANT_NO_NOTE,
     .violates = "I2",
     .crashes = 1,
     .disk_errors = 1,
     .writes = 1},
    {.name = "MUTANT_CONNECT_UNMARKED: a rebooted replica connects before it is marked",
     .mutant = MUTANT_CONNECT_UNMARKED,
     .violates = "I2",
     .crashes = 2,
     .writes = 1},
    {.name = "MUTANT_LATE_TAKE: the target promotes after its stop",
     .mutant = MUTANT_LATE_TAKE,
     .big = true,
     .violates = "deadlock",
     .crashes = 1,
     .moves = 1},
    {.name = "MUTANT_DISKLESS_CONNECT: a Primary without a disk connects to an older copy",
     .mutant = MUTANT_DISKLESS_CONNECT,
     .violates = "I2",
     .crashes = 1,
     .disk_errors = 1,
     .writes = 1},
};

/* Minutes each, and some GiB: explore --deep. */
static const Scenario deep[] = {
    {.name = "deep: two crashes, two writes", .crashes = 2, .writes = 2, .third_crashes = true},
    {.name = "deep: crash and partition", .crashes = 1, .cuts = 1, .writes = 1},
    {.name = "deep: partition and disk error", .cuts = 1, .disk_errors = 1, .writes = 1},
    {.name = "deep: hand-over and partition", .cuts = 1, .moves = 1, .writes = 1, .unprotected = true},
    {.name = "deep: crash, lost answer, replica leaves", .crashes = 1, .lost_answers = 1, .leaves = 1, .writes = 1},
    {.name = "deep: crash, lost answer, replica leaves, two writes",
     .crashes = 1,
     .lost_answers = 1,
     .leaves = 1,
     .writes = 2},
    {.name = "deep: two crashes and a hand-over", .crashes = 2, .moves = 1, .writes = 1, .unprotected = true},
};

static bool run(const Scenario *scenario, bool story)
{
    SearchResult result;
    double start = now_s();
    Search *search = search_run(scenario, MAX_STATES, &result);
    bool as_wanted = scenario->violates ? result.violation && strncmp(result.violation, scenario->violates,
                                                                      strlen(scenario->violates)) == 0
                                        : !result.violation && result.complete;
    printf("# %s: %llu states, %llu steps, depth %d, %.1f s%s%s\n", scenario->name,
           (unsigned long long) result.n_states, (unsigned long long) result.n_steps, result.depth, now_s() - start,
           result.violation ? "; found " : "", result.violation ? result.violation : "");
    if (result.violation && (story || !as_wanted)) {
        search_print_story(search, &result);
    }
    search_free(search);
    return as_wanted && rules_check_codec() == 0;
}

/* ---- all cases, two at a time, reported in order ---- */

typedef struct {
    const Scenario *scenario;
    pid_t pid;
    FILE *output;
} Case;

static void case_begin(Case *each, bool story)
{
    each->output = tmpfile();
    fflush(stdout);
    each->pid = each->output ? fork() : -1;
    if (each->pid == 0) {
        dup2(fileno(each->output), STDOUT_FILENO);
        bool ok = run(each->scenario, story);
        fflush(stdout);
        _exit(ok ? 0 : 1);
    }
}

static bool case_end(const Case *each, int number)
{
    int status = -1, c;
    if (each->pid > 0) {
        waitpid(each->pid, &status, 0);
        rewind(each->output);
        while ((c = fgetc(each->output)) != EOF) {
            putchar(c);
        }
        fclose(each->output);
    }
    printf("%sok %d - %s\n", status == 0 ? "" : "not ", number, each->scenario->name);
    fflush(stdout);
    return status == 0;
}

static int cases_add(Case *cases, int n, const Scenario *table, size_t length, const char *wanted)
{
    for (size_t i = 0; i < length; i++) {
        bool skipped = SANITIZED && table[i].big;
        if (!skipped && (!wanted || strstr(table[i].name, wanted))) {
            cases[n++].scenario = &table[i];
        }
    }
    return n;
}

static int run_cases(const char *wanted, bool with_deep)
{
    static Case cases[64];
    int n = 0, failed = 0, begun = 0;
    n = cases_add(cases, n, holds, sizeof(holds) / sizeof(holds[0]), wanted);
    n = cases_add(cases, n, caught, sizeof(caught) / sizeof(caught[0]), wanted);
    if (with_deep) {
        n = cases_add(cases, n, deep, sizeof(deep) / sizeof(deep[0]), wanted);
    }
    printf("1..%d\n", n);
    for (int i = 0; i < n; i++) {
        while (begun < n && begun < i + PARALLEL) {
            case_begin(&cases[begun++], wanted != NULL);
        }
        failed += !case_end(&cases[i], i + 1);
    }
    return failed > 0 || n == 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: explore [--tap] [--deep] [--story PART-OF-A-NAME]\n"
                    "       explore crashes=N cuts=N kinds=BITS lost=N leaves=N disk=N moves=N writes=N third=1 wild=1 "
                    "unprotected=1\n");
    return 2;
}

int main(int argc, char **argv)
{
    Scenario free_run = {.name = "as asked for", .writes = 1};
    const char *wanted = NULL;
    bool with_deep = false, own = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--deep") == 0) {
            with_deep = true;
        } else if (strcmp(argv[i], "--story") == 0 && i + 1 < argc) {
            wanted = argv[++i];
        } else if (set_option(&free_run, argv[i])) {
            own = true;
        } else if (strcmp(argv[i], "--tap") != 0) {
            return usage();
        }
    }
    return own ? !run(&free_run, true) : run_cases(wanted, with_deep);
}
