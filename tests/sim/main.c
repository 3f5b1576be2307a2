/* SPDX-License-Identifier: Apache-2.0
 * The runs: scenarios that must hold, and mutants that must be caught. Output is TAP; stories are comment lines. */
#include "tests/sim/search.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEFAULT_MAX_STATES 60000000u

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static bool set_option(Scenario *s, const char *text)
{
    const struct {
        const char *name;
        int *value;
    } numbers[] = {{"crashes", &s->crashes}, {"cuts", &s->cuts},   {"lost", &s->lost_answers}, {"leaves", &s->leaves},
                   {"disk", &s->disk_errors}, {"moves", &s->moves}, {"writes", &s->writes}};
    const char *equal = strchr(text, '=');
    for (size_t i = 0; equal && i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strncmp(numbers[i].name, text, (size_t) (equal - text)) == 0) {
            *numbers[i].value = atoi(equal + 1);
            return true;
        }
    }
    if (equal && strncmp(text, "third", 5) == 0) {
        s->third_crashes = atoi(equal + 1) != 0;
        return true;
    }
    if (equal && strncmp(text, "wild", 4) == 0) {
        s->wild = atoi(equal + 1) != 0;
        return true;
    }
    if (equal && strncmp(text, "mutant", 6) == 0) {
        s->mutant = (Mutant) atoi(equal + 1);
        return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    Scenario scenario = {.name = "free", .crashes = 1, .writes = 1};
    bool liveness = true;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "nolive") == 0) {
            liveness = false;
        } else if (!set_option(&scenario, argv[i])) {
            fprintf(stderr, "unknown option %s\n", argv[i]);
            return 2;
        }
    }
    SearchResult result;
    double start = now_s();
    Search *search = search_run(&scenario, DEFAULT_MAX_STATES, liveness, &result);
    printf("# %llu states, %llu steps, depth %d, %s, %.1f s\n", (unsigned long long) result.n_states,
           (unsigned long long) result.n_steps, result.depth, result.complete ? "complete" : "stopped", now_s() - start);
    if (result.violation) {
        search_print_story(search, &result);
    }
    search_free(search);
    return result.violation != NULL || rules_check_codec();
}
