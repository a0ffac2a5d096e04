/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/agent/subject.h - what an event's line says of the process, beyond what
 * the kernel programs tell.  By one thread at a time, the one that reads events.
 */
#ifndef TK_AGENT_SUBJECT_H
#define TK_AGENT_SUBJECT_H

#include <cjson/cJSON.h>

#include "bpf/abi.h"

/*
 * Adds "exe" (path), "groups" (gids) and "exe_inode" ("DEVICE:INODE:GENERATION", as in struct tk_inode), each
 * only when it is certain.
 */
void tk_subject_add(cJSON *json, const struct tk_event *event);

#endif
