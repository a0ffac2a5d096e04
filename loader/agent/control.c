// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/control.c - the control socket: root asks, the agent answers, a line
 * of JSON each (client.h).  Owns the connections, on one thread for all of them.
 *
 * What takes time is not waited for: a connection remembers what it waits for and is
 * looked at again when something has happened.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cjson/cJSON.h>

#include "loader/agent/agent.h"

#define CLIENTS 32
#define REQUEST_MAX 4096
#define BACKLOG_MAX (4 << 20) /* bytes a reader may lag behind before it is cut off */
#define LOOK_MS 50	      /* how often a waiting settle is looked at */
#define RELEASE_MS 10000      /* how long `release` waits for records that do not go */

enum waiting_for {
	NOTHING,
	SETTLED,
	WITHDRAWN,
	RELOADED,
	RELEASED, /* no file has a record that only says what it is */
	EVENTS, /* sends as they come */
	THE_END,
};

struct client {
	int fd;
	char in[REQUEST_MAX];
	size_t in_length;
	char *out;
	size_t out_length, out_sent;
	enum waiting_for waiting;
	bool closing; /* after what is still to be sent */
	bool holds;   /* as long as it is connected no file is kept */
	uint64_t sweep, deadline, reload, next_line;
	size_t kept; /* files, when that was looked at last */
	cJSON *guards; /* to be withdrawn */
};

/* ---------------------------------------------------------------- sending */

static void drop(struct client *client)
{
	tk_fd_close(&client->fd);
	free(client->out);
	cJSON_Delete(client->guards);
	*client = (struct client){.fd = -1};
}

static void say(struct client *client, const char *text)
{
	size_t len = strlen(text);
	char *out;

	if (client->fd < 0)
		return;
	if (client->out_sent) {
		memmove(client->out, client->out + client->out_sent, client->out_length - client->out_sent);
		client->out_length -= client->out_sent;
		client->out_sent = 0;
	}
	out = client->out_length + len + 1 > BACKLOG_MAX ? NULL
							 : realloc(client->out, client->out_length + len + 1);
	if (!out) {
		drop(client);
		return;
	}
	client->out = out;
	memcpy(out + client->out_length, text, len);
	out[client->out_length + len] = '\n';
	client->out_length += len + 1;
}

static void answer(struct client *client, const char *error)
{
	cJSON *json = cJSON_CreateObject();
	TK_AUTO_TEXT line = NULL;

	cJSON_AddBoolToObject(json, "ok", !error);
	if (error)
		cJSON_AddStringToObject(json, "error", error);
	line = cJSON_PrintUnformatted(json);
	cJSON_Delete(json);
	say(client, line ? line : "{\"ok\":false}");
}

static void flush(struct client *client)
{
	while (client->fd >= 0 && client->out_sent < client->out_length) {
		ssize_t n = send(client->fd, client->out + client->out_sent,
				 client->out_length - client->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			drop(client);
			return;
		}
		client->out_sent += (size_t)n;
	}
	if (client->closing)
		drop(client);
}

/* ---------------------------------------------------------------- requests */

static uint64_t number(const cJSON *request, const char *name, uint64_t otherwise)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(request, name);

	return cJSON_IsNumber(item) && item->valuedouble >= 0 ? (uint64_t)item->valuedouble : otherwise;
}

static void begin_events(struct tk_agent *agent, struct client *client, const cJSON *request)
{
	uint64_t last = number(request, "last", TK_LINES);
	TK_HOLD(&agent->log_lock);

	if (last > TK_LINES)
		last = TK_LINES;
	client->next_line = agent->line_count > last ? agent->line_count - last : 0;
	client->deadline = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(request, "follow"))
				   ? UINT64_MAX
				   : agent->line_count;
	client->waiting = EVENTS;
}

static void begin_withdraw(struct tk_agent *agent, struct client *client, const cJSON *request)
{
	const cJSON *guards = cJSON_GetObjectItemCaseSensitive(request, "guards");
	int err;

	cJSON_Delete(client->guards);
	client->guards = guards ? cJSON_Duplicate(guards, true) : NULL;
	err = client->guards ? tk_withdraw(agent, client->guards) : -EINVAL;
	if (err) {
		tk_withdraw_end(agent);
		answer(client, tk_strerror(err));
		return;
	}
	client->deadline = tk_now_ms() + number(request, "timeout", 0) * 1000;
	client->sweep = tk_sweep_ask(agent); /* by its end who was let in before has come to the table */
	tk_files_look(agent, true);
	client->waiting = WITHDRAWN;
}

static void handle(struct tk_agent *agent, struct client *client, const char *line)
{
	cJSON *request = cJSON_Parse(line);
	const char *verb = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(request, "verb"));
	uint64_t timeout;

	if (!verb) {
		answer(client, "a request is an object with \"verb\"");
	} else if (!strcmp(verb, "status")) {
		TK_AUTO_TEXT status = tk_status_json(agent);

		say(client, status ? status : "{\"ok\":false,\"error\":\"no memory\"}");
	} else if (!strcmp(verb, "settle")) {
		timeout = number(request, "timeout", 0);
		client->deadline = timeout ? tk_now_ms() + timeout * 1000 : UINT64_MAX;
		atomic_store(&agent->settling, true);
		client->sweep = tk_sweep_ask(agent);
		tk_files_look(agent, true); /* no back-off now */
		tk_kept_hurry(agent);
		client->waiting = SETTLED;
	} else if (!strcmp(verb, "withdraw")) {
		begin_withdraw(agent, client, request);
	} else if (!strcmp(verb, "release")) {
		client->deadline = tk_now_ms() + RELEASE_MS;
		client->waiting = RELEASED;
		client->holds = true;
		atomic_store(&agent->releasing, true);
		tk_kept_hurry(agent);
	} else if (!strcmp(verb, "reload")) {
		client->reload = atomic_load(&agent->reloads) + 1;
		client->waiting = RELOADED;
		atomic_store(&agent->reload_wanted, true);
		tk_wake(agent->wake);
	} else if (!strcmp(verb, "stop")) {
		answer(client, NULL);
		client->waiting = THE_END; /* the connection ends with the process */
		flush(client); /* now: the end may come before this thread runs again */
		atomic_store(&agent->unload_wanted,
			     cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(request, "unload")));
		atomic_store(&agent->stop_wanted, true);
		tk_wake(agent->wake);
	} else if (!strcmp(verb, "events")) {
		begin_events(agent, client, request);
	} else {
		answer(client, "no such verb");
	}
	cJSON_Delete(request);
}

static void receive(struct tk_agent *agent, struct client *client)
{
	ssize_t n = recv(client->fd, client->in + client->in_length, sizeof(client->in) - client->in_length,
			 MSG_DONTWAIT);
	char *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(client);
		return;
	}
	client->in_length += (size_t)n;
	while (client->fd >= 0 && (end = memchr(client->in, '\n', client->in_length))) {
		size_t used = (size_t)(end - client->in) + 1;

		*end = '\0';
		if (client->waiting == NOTHING)
			handle(agent, client, client->in);
		if (client->fd < 0)
			return;
		memmove(client->in, client->in + used, client->in_length - used);
		client->in_length -= used;
	}
	if (client->in_length == sizeof(client->in))
		drop(client);
}

/* ---------------------------------------------------------------- waiting */

static void look_settled(struct tk_agent *agent, struct client *client)
{
	char text[512];
	size_t left;

	if (tk_sweep_done(agent) >= client->sweep && !tk_files_unsettled(agent, 1)) {
		answer(client, tk_kept_left(agent, text, sizeof(text)) == -EROFS ? text : NULL);
		client->waiting = NOTHING;
		return;
	}
	tk_files_hurry(agent);
	if (tk_now_ms() < client->deadline)
		return;
	left = tk_files_unsettled(agent, SIZE_MAX);
	snprintf(text, sizeof(text), "timed out: %zu closed files are not sealed yet%s", left,
		 tk_sweep_done(agent) < client->sweep ? ", and the sweep is not through" : "");
	answer(client, text);
	client->waiting = NOTHING;
}

static void look_withdrawn(struct tk_agent *agent, struct client *client)
{
	size_t left = tk_withdraw_left(agent, client->guards);
	char text[64];

	if (tk_sweep_done(agent) >= client->sweep && !left) {
		answer(client, NULL);
	} else if (tk_now_ms() < client->deadline) {
		tk_files_hurry(agent);
		return;
	} else {
		tk_withdraw_end(agent);
		snprintf(text, sizeof(text), "%zu file%s open there", left, left == 1 ? " is" : "s are");
		answer(client, left ? text : "whether files are open there could not be found out in time");
	}
	client->waiting = NOTHING;
}

static void look_released(struct tk_agent *agent, struct client *client)
{
	char why[512] = "records of sealed files cannot leave the journal; see `takakrypt-bpf status`";
	int err = tk_kept_left(agent, why, sizeof(why));

	/* A flush of all that a busy machine has written takes its time. */
	if (tk_kept_fewer(agent, &client->kept))
		client->deadline = tk_now_ms() + RELEASE_MS;
	if (err == -EAGAIN && tk_now_ms() < client->deadline)
		return;
	answer(client, err ? why : NULL);
	client->waiting = NOTHING;
}

static void look_reloaded(struct tk_agent *agent, struct client *client)
{
	char error[sizeof(agent->reload_error)];

	if (atomic_load(&agent->reloads) < client->reload)
		return;
	{
		TK_HOLD(&agent->log_lock);
		memcpy(error, agent->reload_error, sizeof(error));
	}
	answer(client, *error ? error : NULL);
	client->waiting = NOTHING;
}

static void look_events(struct tk_agent *agent, struct client *client)
{
	while (client->fd >= 0 && client->next_line < client->deadline) {
		TK_AUTO_TEXT line = NULL;
		uint64_t next = client->next_line;

		{
			TK_HOLD(&agent->log_lock);
			if (next + TK_LINES < agent->line_count)
				next = agent->line_count - TK_LINES; /* some were lost */
			if (next >= agent->line_count)
				return;
			line = strdup(agent->lines[next % TK_LINES]);
		}
		client->next_line = next + 1;
		if (line)
			say(client, line);
	}
	client->closing = true;
}

static void look(struct tk_agent *agent, struct client *client)
{
	switch (client->waiting) {
	case SETTLED:
		look_settled(agent, client);
		break;
	case WITHDRAWN:
		look_withdrawn(agent, client);
		break;
	case RELOADED:
		look_reloaded(agent, client);
		break;
	case RELEASED:
		look_released(agent, client);
		break;
	case EVENTS:
		look_events(agent, client);
		break;
	case NOTHING:
	case THE_END:
		break;
	}
	if (client->fd >= 0)
		flush(client);
}

/* ---------------------------------------------------------------- the thread */

static void accept_client(int listener, struct client *clients)
{
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t len = sizeof(peer);
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) && peer.uid == 0)
		for (int i = 0; i < CLIENTS; i++)
			if (clients[i].fd < 0) {
				clients[i].fd = fd;
				return;
			}
	close(fd);
}

/* Fills the poll set; returns how long to wait. */
static int prepare(struct tk_agent *agent, int listener, struct client *clients, struct pollfd *set)
{
	bool settling = false, looking = false, releasing = false;

	set[0] = (struct pollfd){.fd = listener, .events = POLLIN};
	set[1] = (struct pollfd){.fd = agent->told, .events = POLLIN};
	for (int i = 0; i < CLIENTS; i++) {
		set[i + 2] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
		if (clients[i].fd >= 0 && clients[i].out_sent < clients[i].out_length)
			set[i + 2].events |= POLLOUT;
		if (clients[i].fd >= 0 && clients[i].waiting == SETTLED)
			settling = true;
		if (clients[i].fd >= 0 && (clients[i].waiting == RELEASED || clients[i].waiting == WITHDRAWN))
			looking = true;
		releasing = releasing || (clients[i].fd >= 0 && clients[i].holds);
	}
	atomic_store(&agent->settling, settling);
	atomic_store(&agent->releasing, releasing);
	return settling || looking ? LOOK_MS : -1;
}

void *tk_control_thread(void *arg)
{
	static struct client clients[CLIENTS];
	struct pollfd set[CLIENTS + 2];
	struct tk_control_args *args = arg;
	uint64_t told;

	for (int i = 0; i < CLIENTS; i++)
		clients[i].fd = -1;
	for (;;) {
		int timeout = prepare(args->agent, args->listener, clients, set);

		if (poll(set, CLIENTS + 2, timeout) < 0)
			continue;
		if (set[1].revents && read(args->agent->told, &told, sizeof(told)) < 0)
			continue;
		for (int i = 0; i < CLIENTS; i++) {
			if (clients[i].fd >= 0 && set[i + 2].revents & (POLLIN | POLLHUP | POLLERR))
				receive(args->agent, &clients[i]);
			if (clients[i].fd >= 0)
				look(args->agent, &clients[i]);
		}
		if (set[0].revents)
			accept_client(args->listener, clients);
	}
	return NULL;
}

/* The directory is root's alone, and the socket that an earlier agent left is removed. */
int tk_control_open(const char *path, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	TK_AUTO_FD fd = -1;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (unlink(path) && errno != ENOENT)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || chmod(path, 0600) || listen(fd, 16))
		return -errno;
	*ret_fd = tk_steal_fd(&fd);
	return 0;
}
