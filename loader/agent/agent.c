// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/agent.c - the agent's birth, its main loop and its death.  Owns the
 * order of these; each step is another file's.
 *
 * Birth: be known to the kernel programs, so that they let the agent pass; read
 * events before the first mark is made, so that the agent's own opens are
 * answered; recover before anybody is let in; then be ready.
 * Death in order: not ready, so that nobody new comes; seal what is closed; end.
 * Files that are still open stay in the journal and are adopted by the next agent.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include "loader/agent/agent.h"
#include "loader/agent/watchdog.h"

#define APPEAR_FEW 500 /* guard points looked for each second; when there are more, less often */
#define STOP_PATIENCE_MS 60000

/* ---------------------------------------------------------------- telling how it went */

/* sd_notify(3) without the library. */
static void notify_manager(const char *text)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	TK_AUTO_FD fd = -1;
	socklen_t len;

	if (!path || (*path != '/' && *path != '@') || strlen(path) >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, strlen(path));
	if (*path == '@')
		address.sun_path[0] = '\0';
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address, len);
}

static void tell_starter(int *ready_fd, const char *text)
{
	if (*ready_fd >= 0 && write(*ready_fd, text, strlen(text)) < 0)
		return; /* nobody listens any more */
	tk_fd_close(ready_fd);
}

static int refuse(int *ready_fd, int err, const char *format, ...)
{
	char text[640], line[sizeof(text) + 16];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fprintf(stderr, "takakrypt-bpf: agent: %s\n", text);
	snprintf(line, sizeof(line), "error: %s\n", text);
	tell_starter(ready_fd, line);
	return err;
}

/* ---------------------------------------------------------------- birth */

static void raise_limits(void)
{
	struct rlimit limit;
	unsigned long most = 1 << 20;
	FILE *in = fopen("/proc/sys/fs/nr_open", "re");

	if (in) {
		if (fscanf(in, "%lu", &most) != 1)
			most = 1 << 20;
		fclose(in);
	}
	/* Every waiting open and every open file takes a descriptor. */
	limit.rlim_cur = limit.rlim_max = most;
	if (setrlimit(RLIMIT_NOFILE, &limit) && !getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	limit.rlim_cur = limit.rlim_max = 0;
	setrlimit(RLIMIT_CORE, &limit);
}

static int init(struct tk_agent *agent)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&agent->lock, NULL);
	pthread_mutex_init(&agent->log_lock, NULL);
	pthread_mutex_init(&agent->marks_lock, NULL);
	pthread_mutex_init(&agent->sweep.lock, NULL);
	pthread_rwlock_init(&agent->policy_lock, NULL);
	pthread_cond_init(&agent->work, &monotonic);
	pthread_cond_init(&agent->idle, &monotonic);
	pthread_cond_init(&agent->kept_work, &monotonic);
	pthread_cond_init(&agent->sweep.changed, &monotonic);
	pthread_mutex_init(&agent->programs.lock, NULL);
	pthread_cond_init(&agent->programs.changed, &monotonic);
	agent->fanotify = agent->nothing = -1;
	agent->started = time(NULL);
	agent->born = tk_now_ms();
	atomic_store(&agent->deny_errno, true);
	agent->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	agent->told = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (agent->wake < 0 || agent->told < 0 || tk_times_open(agent))
		return -errno;
	return tk_keyring_new(&agent->keys);
}

static int block_signals(int *ret_fd)
{
	sigset_t set;
	int fd;

	/* A lease that is broken between its two system calls sends SIGIO, which would kill. */
	signal(SIGIO, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int start_threads(struct tk_agent *agent, int listener)
{
	static struct tk_control_args control;
	int err;

	control = (struct tk_control_args){.agent = agent, .listener = listener};
	err = tk_thread_start(agent, tk_notices_thread, agent, "tk-notices");
	if (!err)
		err = tk_thread_start(agent, tk_events_thread, agent, "tk-events");
	if (!err)
		err = tk_thread_start(agent, tk_sweep_thread, agent, "tk-sweep");
	if (!err)
		err = tk_thread_start(agent, tk_programs_thread, agent, "tk-programs");
	if (!err)
		err = tk_thread_start(agent, tk_control_thread, &control, "tk-control");
	return err;
}

/* One agent at a time: held to the end of the process. */
static int lock_instance(const char *control)
{
	TK_AUTO_TEXT path = NULL;
	TK_AUTO_FD fd = -1;

	if (asprintf(&path, "%s.lock", control) < 0)
		return -ENOMEM;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB))
		return -errno;
	tk_steal_fd(&fd);
	return 0;
}

static int begin(struct tk_agent *agent, const struct tk_agent_options *options, int *ready_fd)
{
	const char *control = options->control ? options->control : TK_CONTROL_SOCKET;
	char error[512];
	int listener, err;

	if (!options->control && mkdir(TK_RUN_DIR, 0700) && errno != EEXIST)
		return refuse(ready_fd, -errno, "cannot make %s: %s", TK_RUN_DIR, strerror(errno));
	err = lock_instance(control);
	if (err)
		return refuse(ready_fd, err,
			      err == -EWOULDBLOCK ? "an agent is running already (%s)" : "cannot lock %s",
			      control);
	err = tk_kernel_open(&agent->kernel);
	if (err)
		return refuse(ready_fd, err, "cannot use the kernel programs: %s", tk_kernel_strerror(err));
	err = tk_fanotify_open(agent);
	if (err)
		return refuse(ready_fd, err, "this kernel gives no fanotify permission events: %s",
			      tk_strerror(err));
	/* What the former agent watched has lost its marks with it. */
	err = tk_kernel_watch_none(agent->kernel);
	if (!err)
		err = tk_kernel_set_agent(agent->kernel, (uint32_t)getpid());
	if (!err)
		err = tk_thread_start(agent, tk_fanotify_thread, agent, "tk-opens");
	if (!err)
		err = tk_workers_start(agent);
	if (err)
		return refuse(ready_fd, err, "cannot start: %s", tk_strerror(err));
	err = tk_policy_adopt(agent, error, sizeof(error));
	if (err)
		return refuse(ready_fd, err, "%s", error);
	tk_times_refresh(agent);
	err = tk_control_open(control, &listener);
	if (err)
		return refuse(ready_fd, err, "cannot listen on %s: %s", control, tk_strerror(err));
	err = start_threads(agent, listener);
	if (!err)
		err = tk_kernel_set_ready(agent->kernel, true);
	if (err)
		return refuse(ready_fd, err, "cannot become ready: %s", tk_strerror(err));
	agent->ready_after = tk_now_ms() - agent->born;
	atomic_store(&agent->ready, true);
	tk_policy_appear(agent);
	tk_sweep_ask(agent);
	return 0;
}

/* ---------------------------------------------------------------- life */

static void reload(struct tk_agent *agent)
{
	char error[sizeof(agent->reload_error)] = "";

	if (tk_policy_adopt(agent, error, sizeof(error))) {
		tk_report(agent, "the policy cannot be read again, the former one is kept: %s", error);
	} else {
		tk_withdraw_end(agent); /* what is still a guard point */
		tk_times_refresh(agent);
		tk_policy_appear(agent);
		tk_sweep_ask(agent);
		notify_manager("STATUS=policy reloaded");
	}
	tk_files_unpark(agent);
	{
		TK_HOLD(&agent->log_lock);
		memcpy(agent->reload_error, error, sizeof(error));
	}
	atomic_fetch_add(&agent->reloads, 1);
	tk_wake(agent->told);
}

static void look_around(struct tk_agent *agent)
{
	if (atomic_exchange(&agent->reload_wanted, false)) {
		tk_watchdog_rest(); /* keys and names may come from far away */
		reload(agent);
		tk_watchdog_alive(TK_DUTY_MAIN);
	}
	tk_files_retry(agent);
	tk_log_print(agent);
}

/*
 * The programs take the end of a thread for the end of the agent.  None of the agent's own ends, so somebody
 * else's did (a library's): what they closed is opened again.
 */
static void stay_known(struct tk_agent *agent)
{
	struct tk_control control;

	if (tk_kernel_control(agent->kernel, &control) || control.agent)
		return;
	tk_report(agent, "the kernel programs took the agent for dead: a thread of it has ended");
	if (!tk_kernel_set_agent(agent->kernel, (uint32_t)getpid()))
		tk_kernel_set_ready(agent->kernel, true);
}

static void tick(struct tk_agent *agent)
{
	static unsigned int ticks;

	bool parked;

	{
		TK_HOLD(&agent->lock);
		parked = agent->parked;
	}
	stay_known(agent);
	if (tk_watchdog_lost())
		tk_report(agent, "the watchdog was killed or stopped: opens will wait for ever should this agent hang; "
				 "start the agent anew");
	tk_withdraw_tick(agent);
	tk_shortage_tick(agent);
	tk_times_tick(agent);
	tk_files_look(agent, false);
	tk_watchdog_rest(); /* a new guard point may have much to recover */
	if (parked) {
		tk_policy_follow(agent);
		tk_files_unpark(agent);
	}
	tk_vaults_announce(agent);
	if (++ticks % (1 + agent->now.count / APPEAR_FEW) == 0)
		tk_policy_appear(agent);
	tk_watchdog_alive(TK_DUTY_MAIN);
}

static bool stop_signal(struct tk_agent *agent, int signals)
{
	struct signalfd_siginfo info;

	while (read(signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo != SIGHUP)
			return true;
		atomic_store(&agent->reload_wanted, true);
	}
	return false;
}

static void live(struct tk_agent *agent, int signals, int timer)
{
	struct pollfd set[] = {
		{.fd = signals, .events = POLLIN},
		{.fd = agent->wake, .events = POLLIN},
		{.fd = timer, .events = POLLIN},
		{.fd = agent->times.timer, .events = POLLIN},
	};
	uint64_t ticks;

	while (!atomic_load(&agent->stop_wanted)) {
		tk_watchdog_alive(TK_DUTY_MAIN); /* at each tick at least */
		if (poll(set, sizeof(set) / sizeof(*set), -1) < 0)
			continue;
		if (set[0].revents && stop_signal(agent, signals))
			return;
		if (set[1].revents && read(agent->wake, &ticks, sizeof(ticks)) < 0)
			continue;
		if (set[3].revents)
			tk_times_fired(agent);
		look_around(agent);
		if (set[2].revents && read(timer, &ticks, sizeof(ticks)) > 0)
			tick(agent);
	}
}

/* ---------------------------------------------------------------- death */

/* Seals what is closed.  What is busy for other reasons than being open is left to the next agent. */
static void seal_closed(struct tk_agent *agent)
{
	uint64_t end = tk_now_ms() + STOP_PATIENCE_MS;

	while (tk_files_unsettled(agent, 1) && tk_now_ms() < end) {
		struct timespec until;
		uint64_t next = tk_now_ms() + 100;

		tk_files_look(agent, true);
		tk_workers_drain(agent);
		tk_log_print(agent);
		if (!tk_files_unsettled(agent, 1))
			return;
		until.tv_sec = (time_t)(next / 1000);
		until.tv_nsec = (long)(next % 1000) * 1000000;
		TK_HOLD(&agent->lock);
		while (!pthread_cond_timedwait(&agent->idle, &agent->lock, &until))
			;
	}
}

static void end(struct tk_agent *agent)
{
	struct tk_mounts mounts = {};

	tk_watchdog_rest();
	atomic_store(&agent->stopping, true);
	notify_manager("STOPPING=1\nSTATUS=sealing");
	tk_kernel_set_ready(agent->kernel, false);
	tk_workers_drain(agent); /* who has been let in by the programs gets an answer */
	seal_closed(agent);
	if (atomic_load(&agent->unload_wanted))
		for (size_t i = agent->now.count; i-- > 0;) /* inner ones first */
			tk_mounts_remove(&agent->now.items[i], &mounts);
	tk_mountinfo_free(&mounts);
	tk_workers_halt(agent);
	if (atomic_load(&agent->unload_wanted))
		tk_files_let_go(agent);
	tk_log_print(agent);
	tk_keyring_free(agent->keys); /* the kernel's end stays open: other threads look at it until the process ends */
}

int tk_agent_run(const struct tk_agent_options *options)
{
	static struct tk_agent agent; /* its threads see it to the very end */
	const struct itimerspec second = {.it_interval.tv_sec = 1, .it_value.tv_sec = 1};
	int ready_fd = options->ready_fd, signals = -1, timer, err;

	if (geteuid())
		return refuse(&ready_fd, -EPERM, "only root can be the agent; try sudo");
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_NAME, "takakrypt-bpf", 0, 0, 0); /* started by `load` it would be "exe" to ps and pgrep */
	/* What a shell left open may be a guarded file, which would then never be closed. */
	if (ready_fd > 2) {
		if (ready_fd > 3)
			close_range(3, (unsigned int)ready_fd - 1, 0);
		close_range((unsigned int)ready_fd + 1, ~0u, 0);
	} else {
		closefrom(3);
	}
	umask(077);
	raise_limits();
	agent.policy_path = options->policy ? options->policy : TK_POLICY_FILE;
	err = tk_watchdog_start(options->watchdog);
	if (err)
		return refuse(&ready_fd, err, "cannot start the watchdog: %s", tk_strerror(err));
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	err = timer < 0 || timerfd_settime(timer, 0, &second, NULL) ? -errno : block_signals(&signals);
	if (!err)
		err = init(&agent);
	if (err)
		return refuse(&ready_fd, err, "cannot start: %s", tk_strerror(err));
	err = begin(&agent, options, &ready_fd);
	tk_log_print(&agent);
	if (err)
		return err;
	tell_starter(&ready_fd, "ready\n");
	notify_manager("READY=1\nSTATUS=watching");
	live(&agent, signals, timer);
	end(&agent);
	return 0;
}
