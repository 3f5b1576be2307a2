/* SPDX-License-Identifier: Apache-2.0
 * Everything set-up has to know, from a file or from the command line, checked before anything is touched. */
#pragma once

#include "cluster/cluster_config.h"
#include "cluster/objects.h"
#include "node-agent/join_admit.h"

#define ANSWERS_PATH "/etc/holdfast/answers.json"

typedef enum { ANSWERS_INIT, ANSWERS_JOIN } AnswersAction;
typedef enum { ANSWERS_NODE, ANSWERS_WITNESS } AnswersRole;

typedef struct {
    char *address; /* of any member */
    char *token;   /* ID.SECRET */
} AnswersJoin;

typedef struct {
    gint64 version; /* 1 */
    int action;     /* AnswersAction */
    int role;       /* AnswersRole; a witness only joins, and has name, ring0 and nothing else */
    char *cluster;  /* init; for join only compared with what the members say, when given */
    char *node, *ring0, *ring1;
    char *storage_device;
    AnswersJoin join;
    char **join_tokens; /* init: accepted later */
    CorosyncTuning corosync;
    EtcdTuning etcd;
    JoinFence fence;
    GPtrArray *networks; /* of Network, for init */
} Answers;

extern const JsonStruct answers_type;

void answers_free(Answers *answers);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Answers, answers_free)

/* Parse and check the text of an answer file. INVALID names the field. Caller frees. */
Answers *answers_parse(const char *text, GError **error);
Answers *answers_read(const SetupContext *context, const char *path, GError **error);
/* Every rule that needs no look at this machine. Fills ring1 from ring0 when it is absent. */
gboolean answers_check(const SetupContext *context, Answers *answers, GError **error);
/* "ip=10.0.0.1" into answers->fence.parameters. */
void answers_add_fence_parameter(Answers *answers, const char *assignment);
