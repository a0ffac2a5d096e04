// SPDX-License-Identifier: GPL-2.0
/*
 * loader/util.c - what the verbs share; util.h has the contract.
 */
#include "loader/util.h"
#include "loader/cmd.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>

void tk_put_safe(FILE *f, const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p < 0x20 || *p == 0x7f)
			fprintf(f, "\\x%02x", *p);
		else
			putc(*p, f);
	}
}

/* A line of the bar is on the terminal: what else is said there takes its place. */
static bool bar_on_screen; /* under stderr's lock */

static void clear_bar(void)
{
	if (bar_on_screen)
		fputs("\r\033[K", stderr);
	bar_on_screen = false;
}

int tk_fail(const char *what, const char *on, const char *why, const char *remedy)
{
	flockfile(stderr);
	clear_bar();
	fprintf(stderr, "takakrypt-bpf: %s ", what);
	tk_put_safe(stderr, on);
	fputs(": ", stderr);
	tk_put_safe(stderr, why);
	if (remedy)
		fprintf(stderr, "; %s", remedy);
	putc('\n', stderr);
	funlockfile(stderr);
	return TK_EXIT_FAILED;
}

const char *tk_advice(int err)
{
	switch (err) {
	case -EACCES:
	case -EPERM:
		return "run it as root or as the owner of the file";
	case -ENOENT:
		return "check the path";
	case -ENOSPC:
	case -EDQUOT:
		return "free some space: a second copy must fit beside the first";
	case -EROFS:
		return "mount the filesystem writable";
	case -EEXIST:
		return "choose another name, or move what is there";
	case -EIO:
		return "check the disk (dmesg), and whether something else changes the file";
	case -ENOMEM:
	case -EAGAIN:
		return "free memory, or raise the limit of locked memory (ulimit -l)";
	case -EOVERFLOW:
		return "use format 2, which has no limit within reach";
	case -ECANCELED:
		return "nothing was changed; start it again";
	case -EOPNOTSUPP:
		return "check OpenSSL's configuration (openssl list -cipher-algorithms); in a token, take format 2";
	case -ENOMEDIUM:
		return "put the token back, or mend the URI";
	case -ENOKEY:
		return "look into the token (pkcs11-tool --list-objects)";
	case -EKEYREJECTED:
		return "put the right PIN into the file that pin-source names";
	case -EREMOTEIO:
		return "look after the token and its module";
	case -TK_E_TRUNCATED:
		return "if it was encrypted once, restore it from a backup";
	case -TK_E_MAGIC:
		return "nothing to decrypt here";
	case -TK_E_NO_KEY:
		return "give the key that `takakrypt-bpf inspect` names";
	case -TK_E_WRONG_KEY:
		return "give the right key; if it is, restore the file from a backup";
	case -TK_E_VERSION:
	case -TK_E_ALGORITHM:
	case -TK_E_WRAP:
		return "a newer takakrypt-bpf may know it; otherwise restore the file from a backup";
	}
	if (tk_error_name(err))
		return "restore the file from a backup";
	return NULL;
}

int tk_fail_err(const char *what, const char *on, int err)
{
	const char *name = tk_error_name(err);
	char why[256];

	if (name)
		snprintf(why, sizeof(why), "%s (%s)", tk_strerror(err), name);
	return tk_fail(what, on, name ? why : tk_strerror(err), tk_advice(err));
}

int tk_usage(const char *verb, const char *format, ...)
{
	char message[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	flockfile(stderr);
	fprintf(stderr, "takakrypt-bpf: %s: ", verb);
	tk_put_safe(stderr, message);
	fprintf(stderr, "; see `takakrypt-bpf help %s`\n", verb);
	funlockfile(stderr);
	return TK_EXIT_USAGE;
}

int tk_parse_u64(const char *text, uint64_t max, uint64_t *ret_value)
{
	uint64_t v = 0;

	if (!*text || (text[0] == '0' && text[1]))
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(v, UINT64_C(10), &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*text - '0'), &v))
			return -ERANGE;
	}
	if (v > max)
		return -ERANGE;
	*ret_value = v;
	return 0;
}

int tk_parse_size(const char *text, uint64_t *ret_value)
{
	static const char units[] = "KMG";
	size_t len = strlen(text);
	const char *unit = len ? strchr(units, text[len - 1]) : NULL;
	unsigned int shift = unit ? 10 * (unsigned int)(unit - units + 1) : 0;
	char digits[24];
	int r;

	if (unit)
		len--;
	if (len >= sizeof(digits))
		return -ERANGE;
	memcpy(digits, text, len);
	digits[len] = '\0';
	r = tk_parse_u64(digits, UINT64_MAX >> shift, ret_value);
	if (r == 0)
		*ret_value <<= shift;
	return r;
}

const char *tk_size_text(uint64_t bytes, char buf[TK_SIZE_TEXT])
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double v = (double)bytes / 1024;
	size_t i = 0;

	if (bytes < 1024) {
		snprintf(buf, TK_SIZE_TEXT, "%" PRIu64 " B", bytes);
		return buf;
	}
	while (v >= 1024 && i + 1 < sizeof(units) / sizeof(units[0])) {
		v /= 1024;
		i++;
	}
	snprintf(buf, TK_SIZE_TEXT, "%.1f %s", v, units[i]);
	return buf;
}

int tk_json_u64(cJSON *object, const char *name, uint64_t value)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%" PRIu64, value);
	return cJSON_AddRawToObject(object, name, digits) ? 0 : -ENOMEM;
}

int tk_json_print(const cJSON *json)
{
	_cleanup_free_ char *text = cJSON_Print(json);

	if (!text)
		return -ENOMEM;
	puts(text);
	return 0;
}

void tk_hold_secrets(void)
{
	/* Neither can fail in a way that a caller could mend: keys are kept out of dumps as well. */
	(void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	(void)prctl(PR_SET_DUMPABLE, 0);
}

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	interrupted = sig;
}

void tk_catch_signals(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction sa = {.sa_handler = on_signal}, former;

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		/* nohup and background jobs ignore some on purpose */
		if (sigaction(signals[i], NULL, &former) == 0 && former.sa_handler != SIG_IGN)
			sigaction(signals[i], &sa, NULL);
	}
}

bool tk_interrupted(void)
{
	return interrupted != 0;
}

static double seconds(const struct timespec *from, const struct timespec *to)
{
	return (double)(to->tv_sec - from->tv_sec) + (double)(to->tv_nsec - from->tv_nsec) / 1e9;
}

void tk_bar_start(struct tk_bar *bar, const char *label)
{
	*bar = (struct tk_bar){.label = label, .terminal = isatty(STDERR_FILENO) == 1};
	clock_gettime(CLOCK_MONOTONIC, &bar->start);
	bar->last = bar->start;
}

static void draw(struct tk_bar *bar, uint64_t done, uint64_t total, double elapsed)
{
	char a[TK_SIZE_TEXT], b[TK_SIZE_TEXT], c[TK_SIZE_TEXT], numbers[128];
	double rate = (double)done / elapsed;
	uint64_t left = rate > 0 ? (uint64_t)((double)(total - done) / rate + 0.5) : 0;
	struct winsize w = {.ws_col = 80};
	const char *label = bar->label;
	int room, len = (int)strlen(label);

	(void)ioctl(STDERR_FILENO, TIOCGWINSZ, &w);
	snprintf(numbers, sizeof(numbers), " %3u%%  %s of %s  %s/s  %" PRIu64 ":%02" PRIu64 " left",
		 (unsigned int)((double)done * 100 / (double)total), tk_size_text(done, a),
		 tk_size_text(total, b), tk_size_text((uint64_t)rate, c), left / 60, left % 60);
	room = (w.ws_col ? w.ws_col : 80) - 1 - (int)strlen(numbers);
	if (room < 0)
		room = 0;
	flockfile(stderr);
	fputs("\r\033[K", stderr);
	/* the end of a path says more than its beginning */
	tk_put_safe(stderr, len > room ? label + (len - room) : label);
	fputs(numbers, stderr);
	fflush(stderr);
	bar_on_screen = true;
	funlockfile(stderr);
	bar->drawn = true;
}

int tk_bar_update(void *ctx, uint64_t done, uint64_t total)
{
	struct tk_bar *bar = ctx;
	struct timespec now;
	double elapsed;

	if (tk_interrupted())
		return 1;
	if (!bar->terminal || !total)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	elapsed = seconds(&bar->start, &now);
	if (elapsed < 0.5 || (bar->drawn && seconds(&bar->last, &now) < 0.1))
		return 0;
	bar->last = now;
	draw(bar, done, total, elapsed);
	return 0;
}

void tk_bar_end(struct tk_bar *bar)
{
	flockfile(stderr);
	clear_bar();
	funlockfile(stderr);
	bar->drawn = false;
}
