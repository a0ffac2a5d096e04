// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/client.c - the other end of the control socket.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "loader/agent/agent.h"
#include "loader/agent/client.h"

int tk_client_connect(const char *path, FILE **ret_stream)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	TK_AUTO_FD fd = -1;
	FILE *stream;

	if (!path)
		path = TK_CONTROL_SOCKET;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return -errno;
	stream = fdopen(fd, "r");
	if (!stream)
		return -errno;
	tk_steal_fd(&fd);
	*ret_stream = stream;
	return 0;
}

int tk_client_send(FILE *stream, const cJSON *request)
{
	TK_AUTO_TEXT text = cJSON_PrintUnformatted(request);
	size_t len, sent = 0;

	if (!text)
		return -ENOMEM;
	/* Not through the stream: an agent that has just ended would be SIGPIPE. */
	len = strlen(text);
	text[len] = '\n'; /* in the place of the terminator */
	while (sent <= len) {
		ssize_t n = send(fileno(stream), text + sent, len + 1 - sent, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return -errno;
		sent += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* On a connection that stays. */
static int ask(FILE *stream, const cJSON *request, cJSON **ret_answer)
{
	TK_AUTO_TEXT line = NULL;
	size_t size = 0;
	cJSON *answer = NULL;
	int err = tk_client_send(stream, request);

	if (err)
		return err;
	if (getline(&line, &size, stream) > 0)
		answer = cJSON_Parse(line);
	if (!answer)
		return -EPROTO;
	*ret_answer = answer;
	return 0;
}

int tk_client_ask(const char *path, const cJSON *request, cJSON **ret_answer)
{
	FILE *stream;
	int err = tk_client_connect(path, &stream);

	if (err)
		return err;
	err = ask(stream, request, ret_answer);
	fclose(stream);
	return err;
}

static int check(cJSON *answer, char *ret_error, size_t size)
{
	const char *why = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(answer, "error"));
	bool ok = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(answer, "ok"));

	if (!ok)
		snprintf(ret_error, size, "%s", why ? why : "");
	return ok ? 0 : -EIO;
}

int tk_client_hold(const char *path, const char *verb, FILE **ret_stream, char *ret_error, size_t size)
{
	cJSON *request = cJSON_CreateObject(), *answer = NULL;
	FILE *stream = NULL;
	int err = -ENOMEM;

	*ret_error = '\0';
	if (request && cJSON_AddStringToObject(request, "verb", verb))
		err = tk_client_connect(path, &stream);
	if (!err)
		err = ask(stream, request, &answer);
	if (!err)
		err = check(answer, ret_error, size);
	cJSON_Delete(request);
	cJSON_Delete(answer);
	if (!err)
		*ret_stream = stream;
	else if (stream)
		fclose(stream);
	return err;
}

int tk_client_tell(const char *path, const char *verb, char *ret_error, size_t size)
{
	FILE *stream;
	int err = tk_client_hold(path, verb, &stream, ret_error, size);

	if (!err)
		fclose(stream);
	return err;
}

int tk_client_stop(const char *path, bool unload, char *ret_error, size_t size)
{
	cJSON *request = cJSON_CreateObject(), *answer = NULL;
	TK_AUTO_TEXT line = NULL;
	size_t room = 0;
	FILE *stream = NULL;
	int err;

	*ret_error = '\0';
	if (!request || !cJSON_AddStringToObject(request, "verb", "stop") ||
	    !cJSON_AddBoolToObject(request, "unload", unload)) {
		cJSON_Delete(request);
		return -ENOMEM;
	}
	err = tk_client_connect(path, &stream);
	if (!err)
		err = tk_client_send(stream, request);
	cJSON_Delete(request);
	if (!err && getline(&line, &room, stream) > 0)
		answer = cJSON_Parse(line);
	if (!err)
		err = answer ? check(answer, ret_error, size) : -EPROTO;
	cJSON_Delete(answer);
	/* It keeps the connection until its end. */
	while (!err && getline(&line, &room, stream) > 0)
		;
	if (stream)
		fclose(stream);
	return err;
}
