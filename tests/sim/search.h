/* SPDX-License-Identifier: Apache-2.0
 * Breadth-first search through all reachable states: the first violation found has a shortest story. */
#pragma once

#include "tests/sim/sim.h"

typedef struct {
    uint64_t n_states, n_steps;
    int depth;
    const char *violation; /* NULL: none */
    bool complete;         /* all states were looked at; false: stopped at a violation or at max_states */
    uint64_t story_state;  /* where the violation is */
} SearchResult;

typedef struct Search Search;
Search *search_run(const Scenario *scenario, uint64_t max_states, SearchResult *ret);
void search_free(Search *search);
/* Print the shortest way from the beginning to `result->story_state`. */
void search_print_story(const Search *search, const SearchResult *result);
