/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/agent/client.h - the other end of the control socket, for verbs.
 *
 * Requests and answers are one line of JSON each.  Requests: {"verb": …} with
 *	status			the whole state
 *	settle "timeout": s	answers when all closed files are sealed, or after s seconds (0: never)
 *	withdraw "guards": [name…], "timeout": s	closes these guard points to new opens, and answers
 *			when nothing is open there; then a reload without them is to follow soon
 *	release			answers when no record is left that only says what a sealed file is; until the
 *			connection ends none stays, so that nobody's writing to such a file is undone by one
 *	reload			reads the policy file again
 *	stop "unload": bool	ends the agent; with unload it takes its bind mounts away, too
 *	events "last": n, "follow": bool	lines of events; the connection is closed at the end
 * Answers hold "ok": bool and, when it is false, "error": text.
 */
#ifndef TK_AGENT_CLIENT_H
#define TK_AGENT_CLIENT_H

#include <stdbool.h>
#include <stdio.h>

#include <cjson/cJSON.h>

/* NULL: the usual socket.  -ENOENT, -ECONNREFUSED: no agent runs. */
int tk_client_connect(const char *path, FILE **ret_stream);
/* Sends a request; the answers are lines of the stream. */
int tk_client_send(FILE *stream, const cJSON *request);
/* One request, one answer.  -EPROTO: the answer is none.  The caller deletes the answer. */
int tk_client_ask(const char *path, const cJSON *request, cJSON **ret_answer);
/* {"verb": verb} and what follows of the answer: 0, or -errno with a line in ret_error ("" if none). */
int tk_client_tell(const char *path, const char *verb, char *ret_error, size_t size);
/* The same; what the answer says holds until the caller closes *ret_stream. */
int tk_client_hold(const char *path, const char *verb, FILE **ret_stream, char *ret_error, size_t size);
/* Asks the agent to end, and waits until it has. */
int tk_client_stop(const char *path, bool unload, char *ret_error, size_t size);

#endif
