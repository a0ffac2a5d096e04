// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_key.c - `key`: policy keys as files.  It makes and rotates them;
 * reading them is the keyring's business.
 */
#include "loader/cmd.h"
#include "loader/util.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <libgen.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static const char verb[] = "key";

static const char help[] = "NAME\n"
			   "    takakrypt-bpf key - generate and rotate keys\n"
			   "\n"
			   "SYNOPSIS\n"
			   "    takakrypt-bpf key generate [--hex] PATH\n"
			   "    takakrypt-bpf key generate [--hex] --version N DIRECTORY\n"
			   "    takakrypt-bpf key rotate [--hex] DIRECTORY\n"
			   "    takakrypt-bpf key verify PATH...\n"
			   "\n"
			   "DESCRIPTION\n"
			   "    Writes 32 bytes from the kernel's random number generator to the new file\n"
			   "    PATH, readable by its owner only (mode 0600) and durable when the command\n"
			   "    returns.  What exists is never overwritten.\n"
			   "\n"
			   "    A key that is to be rotated is a directory with one file for each version.\n"
			   "    With --version the file is DIRECTORY/N; DIRECTORY is created (mode 0700) if\n"
			   "    there is none.  The highest version is the current one.\n"
			   "\n"
			   "    rotate generates the version after the highest one in DIRECTORY, once it\n"
			   "    could read all that are there; `takakrypt-bpf rekey` then puts files under\n"
			   "    it.  verify reads each key as the agent would (form, owner, mode, lockable\n"
			   "    memory) and prints its current version; nothing of the key is shown.\n"
			   "\n"
			   "    Whoever loses the key loses what is encrypted under it: keep a copy in a\n"
			   "    safe place, away from this machine and from the backups of its files.\n"
			   "\n"
			   "OPTIONS\n"
			   "    --hex         64 hexadecimal digits and a newline instead of 32 bytes\n"
			   "    --version N   a number from 1 to 4294967295\n"
			   "    -o PATH       the same as PATH without -o\n"
			   "    -h, --help    this text\n"
			   "\n" TK_HELP_EXIT_CODES "\n"
			   "EXAMPLE\n"
			   "    takakrypt-bpf key generate --version 1 /etc/takakrypt/keys/payroll\n"
			   "    takakrypt-bpf key rotate /etc/takakrypt/keys/payroll\n";

static const struct option options[] = {
	{"hex", no_argument, NULL, 'x'},
	{"version", required_argument, NULL, 'v'},
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{},
};

struct secret {
	uint8_t key[TK_KEK_SIZE];
	char hex[2 * TK_KEK_SIZE + 2];
};

static int write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static int write_key(int fd, bool hex)
{
	struct secret s;
	int r;

	/* It lives for the length of one write; dumps are off, so a refusal to lock is no reason to stop. */
	(void)mlock(&s, sizeof(s));
	r = tk_random(s.key, sizeof(s.key));
	if (r == 0 && hex) {
		for (size_t i = 0; i < sizeof(s.key); i++)
			snprintf(s.hex + 2 * i, 3, "%02x", s.key[i]);
		s.hex[2 * TK_KEK_SIZE] = '\n';
		r = write_all(fd, s.hex, 2 * TK_KEK_SIZE + 1);
	} else if (r == 0) {
		r = write_all(fd, s.key, sizeof(s.key));
	}
	tk_wipe(&s, sizeof(s));
	(void)munlock(&s, sizeof(s));
	return r;
}

/* The new file is whole and durable, or it is not there. */
static int generate_at(int dir_fd, const char *name, bool hex)
{
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = fchmod(fd, 0600) < 0 ? -errno : write_key(fd, hex); /* whatever the umask and a default ACL say */
	if (r == 0 && fsync(dir_fd) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(dir_fd, name, 0);
	return r;
}

static int generate_file(const char *path, bool hex)
{
	_cleanup_free_ char *for_dir = strdup(path), *for_base = strdup(path);
	_cleanup_close_ int dir_fd = -1;
	struct stat st;

	if (!for_dir || !for_base)
		return -ENOMEM;
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return -EISDIR;
	dir_fd = open(dirname(for_dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return -errno;
	return generate_at(dir_fd, basename(for_base), hex);
}

static int generate_version(const char *path, uint32_t version, bool hex)
{
	_cleanup_close_ int dir_fd = -1, parent_fd = -1;
	char name[16];

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return -errno;
	snprintf(name, sizeof(name), "%" PRIu32, version);
	/* The directory may be new: its own name has to be durable as well. */
	parent_fd = openat(dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent_fd < 0 || fsync(parent_fd) < 0)
		return -errno;
	return generate_at(dir_fd, name, hex);
}

static int fail(const char *path, uint32_t version, int err)
{
	switch (err) {
	case -EISDIR:
		return tk_fail("generate the key", path, "it is a directory", "give --version N too");
	case -ENOTDIR:
		return tk_fail("generate the key", path, "it is not a directory",
			       version ? "name one, or a new name" : "check the path");
	case -EEXIST:
		return tk_fail("generate the key", path,
			       version ? "it has that version already"
				       : "it exists, and keys are never overwritten",
			       version ? "choose a higher version" : "choose another name");
	}
	return tk_fail_err("generate the key", path, err);
}

static int generate(int argc, char **argv)
{
	const char *path = NULL, *version_text = NULL;
	bool hex = false;
	uint64_t version = 0;
	int c, r;

	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":ho:", options, NULL)) != -1) {
		switch (c) {
		case 'x':
			if (hex)
				return tk_usage(verb, "--hex is given twice");
			hex = true;
			break;
		case 'v':
			if (version_text)
				return tk_usage(verb, "--version is given twice");
			version_text = optarg;
			if (tk_parse_u64(optarg, UINT32_MAX, &version) < 0 || version == 0)
				return tk_usage(verb, "--version %s is not a number from 1 to 4294967295",
						optarg);
			break;
		case 'o':
			if (path)
				return tk_usage(verb, "-o is given twice");
			path = optarg;
			break;
		case 'h':
			fputs(help, stdout);
			return TK_EXIT_DONE;
		default:
			return tk_usage_getopt(verb, argv, c);
		}
	}
	if (!path && optind < argc)
		path = argv[optind++];
	if (!path)
		return tk_usage(verb, "generate needs a path for the key");
	if (optind < argc)
		return tk_usage(verb, "generate makes one key at a time: %s is one too many", argv[optind]);
	tk_hold_secrets();
	r = version ? generate_version(path, (uint32_t)version, hex) : generate_file(path, hex);
	return r < 0 ? fail(path, (uint32_t)version, r) : TK_EXIT_DONE;
}

/* ---------------------------------------------------------- rotate, verify */

/* Reads all of a key, as the agent would; prints on failure and returns an exit code. */
static int read_current(const char *what, const char *path, uint32_t *ret_version)
{
	_cleanup_keyring_ struct tk_keyring *ring = NULL;
	const char *why = NULL;
	int r = tk_keyring_new(&ring);

	if (r < 0)
		return tk_fail_err(what, path, r);
	r = tk_keyring_add_file(ring, "key", path, &why);
	if (r < 0)
		return tk_fail(what, path, why,
			       r == -EACCES ? "chown it to root and chmod it to 0600 (a directory: 0700)"
					    : tk_advice(r));
	r = tk_keyring_current(ring, "key", ret_version);
	return r < 0 ? tk_fail_err(what, path, r) : TK_EXIT_DONE;
}

static int rotate(int argc, char **argv)
{
	static const char what[] = "rotate the key";
	bool hex = false;
	uint32_t version;
	struct stat st;
	int c, r;

	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			return TK_EXIT_DONE;
		}
		if (c == 'v' || c == 'o')
			return tk_usage(verb, "rotate takes neither --version nor -o");
		if (c != 'x')
			return tk_usage_getopt(verb, argv, c);
		if (hex)
			return tk_usage(verb, "--hex is given twice");
		hex = true;
	}
	if (optind + 1 != argc)
		return tk_usage(verb, "rotate needs one directory");
	tk_hold_secrets();
	if (stat(argv[optind], &st) == 0 && !S_ISDIR(st.st_mode))
		return tk_fail(
			what, argv[optind], "it is a single file, which has no versions",
			"make a directory, move the file into it as 1, and name the directory in the policy");
	r = read_current(what, argv[optind], &version);
	if (r)
		return r;
	if (version == UINT32_MAX)
		return tk_fail(what, argv[optind], "there is no version after 4294967295", NULL);
	r = generate_version(argv[optind], version + 1, hex);
	if (r < 0)
		return fail(argv[optind], version + 1, r);
	tk_put_safe(stdout, argv[optind]);
	printf(": version %" PRIu32 " is the current one now\n", version + 1);
	return TK_EXIT_DONE;
}

static int verify(int argc, char **argv)
{
	int code = TK_EXIT_DONE;

	if (argc < 2)
		return tk_usage(verb, "verify needs the path of a key");
	if (argv[1][0] == '-')
		return tk_usage(verb, "verify has no option %s", argv[1]);
	tk_hold_secrets();
	for (int i = 1; i < argc; i++) {
		uint32_t version;

		if (read_current("verify the key", argv[i], &version)) {
			code = TK_EXIT_FAILED;
			continue;
		}
		tk_put_safe(stdout, argv[i]);
		printf(": good, current version %" PRIu32 "\n", version);
	}
	return code;
}

static const struct {
	const char *name;
	int (*fn)(int argc, char **argv);
} actions[] = {
	{"generate", generate},
	{"rotate", rotate},
	{"verify", verify},
};

int cmd_key(int argc, char **argv)
{
	if (argc < 2)
		return tk_usage(verb, "say what to do: generate, rotate or verify");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		fputs(help, stdout);
		return TK_EXIT_DONE;
	}
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (strcmp(argv[1], actions[i].name) == 0)
			return actions[i].fn(argc - 1, argv + 1);
	return tk_usage(verb, "%s is nothing it can do", argv[1]);
}
