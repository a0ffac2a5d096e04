// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_key.c - `key`: policy keys.  Here they are made, imported, rotated and
 * verified; keys/list.c lists and keys/retire.c retires them.
 */
#include "loader/cmd.h"
#include "loader/keys/verbs.h"
#include "loader/keys/files.h"
#include "loader/keys/source.h"
#include "loader/options.h"
#include "loader/util.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static const char verb[] = "key";

const char tk_key_help[] =
	"NAME\n"
	"    takakrypt-bpf key - make, list, rotate and retire keys\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf key generate [--hex] PATH\n"
	"    takakrypt-bpf key generate [--hex] --version N DIRECTORY\n"
	"    takakrypt-bpf key import [--hex] [--from FILE] PATH\n"
	"    takakrypt-bpf key import [--hex] [--from FILE] --version N DIRECTORY\n"
	"    takakrypt-bpf key rotate [--hex] DIRECTORY\n"
	"    takakrypt-bpf key verify PATH...\n"
	"    takakrypt-bpf key list [--json] PATH...\n"
	"    takakrypt-bpf key list [--json] --policy POLICY\n"
	"    takakrypt-bpf key retire --version N DIRECTORY TREE...\n"
	"\n"
	"DESCRIPTION\n"
	"    generate writes 32 bytes from the kernel's random number generator to the new\n"
	"    file PATH, readable by its owner only (mode 0600); it appears when it is whole\n"
	"    and is durable when the command returns.  What exists is never overwritten.\n"
	"    A kill may leave a file .unfinished-* beside it, which nobody reads: remove it.\n"
	"    import does the same with a key from standard input or FILE: 32 bytes, or 64\n"
	"    hexadecimal digits and perhaps a newline.\n"
	"\n"
	"    A key that is to be rotated is a directory with one file for each version.\n"
	"    With --version the file is DIRECTORY/N; DIRECTORY is created (mode 0700) if\n"
	"    there is none.  The highest version is the current one.\n"
	"\n"
	"    rotate generates the version after the highest one in DIRECTORY, once it\n"
	"    could read all that are there; `takakrypt-bpf rekey` then puts files under\n"
	"    it.  verify reads each key as the agent would (form, owner, mode, lockable\n"
	"    memory) and prints its current version; PATH may be the PKCS#11 URI of a key in\n"
	"    a token.\n"
	"\n"
	"    list shows the versions of keys, which one is current, which are retired, and\n"
	"    whether the key can be read.  Of a policy's keys it reads files and credentials\n"
	"    only: it runs no command and logs in to no token; `status` says what the agent\n"
	"    has found.  Neither list nor verify ever shows a byte of a key.\n"
	"\n"
	"    retire takes a version other than the current one out of use, once it has read\n"
	"    the header of every file below the TREEs (also on filesystems mounted there),\n"
	"    none is under that version, and all are durable; of format 1, whose header\n"
	"    names no version, it reads all of the file.  What cannot be read or understood\n"
	"    counts as in need, and so do files that an agent holds open, an agent's\n"
	"    journal that is not empty, and a key of the agent's of that version that comes\n"
	"    from elsewhere than a file.  Then it looks through the TREEs once more, and\n"
	"    takes the version back if anything that needs it has come meanwhile.\n"
	"\n"
	"    The key file is kept as DIRECTORY/.retired-N, where nothing looks for keys, and\n"
	"    that number is not given again.  To take it back, for a backup perhaps:\n"
	"    `mv DIRECTORY/.retired-N DIRECTORY/N`.  To destroy it is not for this command:\n"
	"    once nothing needs it, backups neither, remove that file (rm, shred); whatever\n"
	"    is still under it, anywhere, is lost.\n"
	"\n"
	"    Whoever loses the key loses what is encrypted under it: keep a copy in a\n"
	"    safe place, away from this machine and from the backups of its files.\n"
	"\n"
	"OPTIONS\n"
	"    --hex         write 64 hexadecimal digits and a newline instead of 32 bytes\n"
	"    --version N   a number from 1 to 4294967295\n"
	"    -o PATH       the same as PATH without -o (generate, import)\n"
	"    --from FILE   where import reads the key; standard input if not given\n"
	"    --policy POLICY\n"
	"                  list all keys of a policy\n"
	"    --json        an array of objects: \"id\" (of a policy), \"provider\", \"where\",\n"
	"                  \"versions\", \"current\", \"retired\", \"health\" (\"good\", or what is\n"
	"                  wrong; null: not looked at)\n"
	"    -h, --help    this text\n"
	"\n" TK_HELP_EXIT_CODES "\n"
	"EXAMPLE\n"
	"    takakrypt-bpf key generate --version 1 /etc/takakrypt/keys/payroll\n"
	"    takakrypt-bpf key rotate /etc/takakrypt/keys/payroll\n"
	"    takakrypt-bpf rekey --key-file /etc/takakrypt/keys/payroll /srv/payroll\n"
	"    takakrypt-bpf key retire --version 1 /etc/takakrypt/keys/payroll /srv/payroll\n";



/* A key for the length of one command; dumps are off, so a refusal to lock is no reason to stop. */
struct secret {
	uint8_t key[TK_KEK_SIZE];
	uint8_t text[2 * TK_KEK_SIZE + 2]; /* 64 digits, a newline, and one to notice excess */
};

static void secret_init(struct secret *s)
{
	memset(s, 0, sizeof(*s));
	(void)mlock(s, sizeof(*s));
}

static void secret_clear(struct secret *s)
{
	tk_wipe(s, sizeof(*s));
	(void)munlock(s, sizeof(*s));
}

static int generate_version(const char *path, uint32_t version, bool hex)
{
	_cleanup_(secret_clear) struct secret s;
	int r;

	secret_init(&s);
	r = tk_random(s.key, sizeof(s.key));
	return r < 0 ? r : tk_keyfile_create(path, version, s.key, hex);
}

static int fail(const char *what, const char *path, uint32_t version, int err)
{
	switch (err) {
	case -EISDIR:
		return tk_fail(what, path, "it is a directory", "give --version N too");
	case -ENOTDIR:
		return tk_fail(what, path, "it is not a directory",
			       version ? "name one, or a new name" : "check the path");
	case -EEXIST:
		return tk_fail(what, path,
			       version ? "it has that version already, or had it and retired it"
				       : "it exists, and keys are never overwritten",
			       version ? "choose a higher version" : "choose another name");
	case -ENOSPC:
	case -EDQUOT:
		return tk_fail(what, path, tk_strerror(err), "free some space; nothing was written");
	}
	return tk_fail_err(what, path, err);
}

static int refuse_token(const char *what, const char *path)
{
	if (tk_keysource_parse(path).provider != TK_PROVIDER_PKCS11)
		return TK_EXIT_DONE;
	return tk_fail(what, path, "keys in a token are made by its own tools",
		       "pkcs11-tool --keygen --key-type AES:32 --sensitive --label LABEL --id VERSION");
}

/* ------------------------------------------------------- generate, import */

struct making {
	const char *action, *path, *from; /* from: import only */
	uint32_t version;		  /* 0: none given */
	bool hex;
};

/* import: --from is an option as well. */
static int parse_making(struct making *m, bool import, int argc, char **argv)
{
	const struct tk_option options[] = {
		{"hex", .flag = &m->hex},
		{"version", .number = &m->version, .min = 1, .max = UINT32_MAX},
		{"output", 'o', .text = &m->path},
		{import ? "from" : NULL, .text = &m->from},
		{},
	};
	int code = tk_options(verb, tk_key_help, options, argc, argv);

	if (code != TK_GO_ON)
		return code;
	if (!m->path && optind < argc)
		m->path = argv[optind++];
	if (!m->path)
		return tk_usage(verb, "%s needs a path for the key", m->action);
	if (optind < argc)
		return tk_usage(verb, "%s makes one key at a time: %s is one too many", m->action,
				argv[optind]);
	return TK_GO_ON;
}

static int generate(int argc, char **argv)
{
	struct making m = {.action = "generate"};
	int r = parse_making(&m, false, argc, argv);

	if (r != TK_GO_ON)
		return r;
	if (refuse_token("generate the key", m.path))
		return TK_EXIT_FAILED;
	tk_hold_secrets();
	r = generate_version(m.path, m.version, m.hex);
	return r < 0 ? fail("generate the key", m.path, m.version, r) : TK_EXIT_DONE;
}

/* All of it, up to one byte more than a key has. */
static int read_text(int fd, struct secret *s, size_t *ret_len)
{
	size_t len = 0;

	while (len < sizeof(s->text)) {
		ssize_t n = read(fd, s->text + len, sizeof(s->text) - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret_len = len;
	return 0;
}

/* 32 bytes they are, and would pass for a raw key, of half the strength that it seems to have. */
static bool is_short_hex(const struct secret *s, size_t len)
{
	bool hex = len == TK_KEK_SIZE;

	for (size_t i = 0; hex && i < len; i++)
		hex = isxdigit(s->text[i]);
	return hex;
}

static int import(int argc, char **argv)
{
	static const char what[] = "import the key from";
	struct making m = {.action = "import"};
	_cleanup_(secret_clear) struct secret s;
	_cleanup_close_ int file = -1;
	const char *from;
	size_t len = 0;
	int r;

	secret_init(&s);
	r = parse_making(&m, true, argc, argv);
	if (r != TK_GO_ON)
		return r;
	if (refuse_token("import the key to", m.path))
		return TK_EXIT_FAILED;
	tk_hold_secrets();
	from = m.from ? m.from : "standard input";
	if (m.from) {
		file = open(m.from, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		if (file < 0)
			return tk_fail_err(what, from, -errno);
	} else if (isatty(STDIN_FILENO)) {
		return tk_fail(what, from, "it is a terminal, which would show the key",
			       "give --from FILE, or a pipe");
	}
	r = read_text(m.from ? file : STDIN_FILENO, &s, &len);
	if (r < 0)
		return tk_fail_err(what, from, r);
	if (is_short_hex(&s, len))
		return tk_fail(what, from,
			       "it is 32 hexadecimal digits: a key of 16 bytes, which is too short",
			       "give a key of 32 bytes, as they are or as 64 digits");
	if (tk_key_parse(s.text, len, s.key) < 0)
		return tk_fail(what, from, "it holds neither 32 bytes nor 64 hexadecimal digits",
			       "nothing was written; check what was given");
	r = tk_keyfile_create(m.path, m.version, s.key, m.hex);
	return r < 0 ? fail("import the key to", m.path, m.version, r) : TK_EXIT_DONE;
}

/* ---------------------------------------------------------- rotate, verify */

int tk_key_read(const char *what, const char *path, uint32_t *ret_current)
{
	_cleanup_keyring_ struct tk_keyring *ring = NULL;
	int r = tk_keyring_new(&ring);

	if (r < 0)
		return tk_fail_err(what, path, r);
	r = tk_keysource_read(what, path, "key", ring);
	if (r)
		return r;
	r = tk_keyring_current(ring, "key", ret_current);
	return r < 0 ? tk_fail_err(what, path, r) : TK_EXIT_DONE;
}

static int rotate(int argc, char **argv)
{
	static const char what[] = "rotate the key";
	bool hex = false;
	uint32_t version;
	struct stat st;
	const struct tk_option options[] = {{"hex", .flag = &hex}, {}};
	int r = tk_options(verb, tk_key_help, options, argc, argv);

	if (r != TK_GO_ON)
		return r;
	if (optind + 1 != argc)
		return tk_usage(verb, "rotate needs one directory");
	if (refuse_token(what, argv[optind]))
		return TK_EXIT_FAILED;
	tk_hold_secrets();
	if (stat(argv[optind], &st) == 0 && !S_ISDIR(st.st_mode))
		return tk_fail(
			what, argv[optind], "it is a single file, which has no versions",
			"make a directory, move the file into it as 1, and name the directory in the policy");
	r = tk_key_read(what, argv[optind], &version);
	if (r)
		return r;
	if (version == UINT32_MAX)
		return tk_fail(what, argv[optind], "there is no version after 4294967295", NULL);
	r = generate_version(argv[optind], version + 1, hex);
	if (r < 0)
		return fail(what, argv[optind], version + 1, r);
	tk_put_safe(stdout, argv[optind]);
	printf(": version %" PRIu32 " is the current one now\n", version + 1);
	return TK_EXIT_DONE;
}

static int verify(int argc, char **argv)
{
	static const struct tk_option options[] = {{}};
	int code = tk_options(verb, tk_key_help, options, argc, argv);

	if (code != TK_GO_ON)
		return code;
	code = TK_EXIT_DONE;
	if (optind == argc)
		return tk_usage(verb, "verify needs the path of a key");
	tk_hold_secrets();
	for (int i = optind; i < argc; i++) {
		uint32_t version;

		if (tk_key_read("verify the key", argv[i], &version)) {
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
	{"generate", generate}, {"import", import},    {"rotate", rotate},
	{"verify", verify},	{"list", tk_key_list}, {"retire", tk_key_retire},
};

int cmd_key(int argc, char **argv)
{
	if (argc < 2)
		return tk_usage(verb, "say what to do: generate, import, rotate, verify, list or retire");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		fputs(tk_key_help, stdout);
		return TK_EXIT_DONE;
	}
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (strcmp(argv[1], actions[i].name) == 0)
			return actions[i].fn(argc - 1, argv + 1);
	return tk_usage(verb, "%s is nothing it can do", argv[1]);
}
