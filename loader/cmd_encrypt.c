// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_encrypt.c - `encrypt` and `decrypt`: single files by hand, with a
 * key from a file.  Guard points and policies are none of its business.
 */
#include "loader/cmd.h"
#include "loader/replace.h"
#include "loader/util.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

static const char help_encrypt[] =
	"NAME\n"
	"    takakrypt-bpf encrypt - encrypt files\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf encrypt --key-file PATH --key-id ID [OPTION...] FILE...\n"
	"    takakrypt-bpf encrypt --key-file PATH --key-id ID [OPTION...] -o OUTPUT FILE\n"
	"\n"
	"DESCRIPTION\n"
	"    Replaces each FILE by its encrypted form, authenticated, in the TAKA format.\n"
	"    The replacement is complete: owner, mode, times, ACL and extended attributes\n"
	"    stay (but not an IMA or EVM signature, which belongs to the content), and at\n"
	"    every instant the name holds the old file or the new one, durable on disk.\n"
	"    On failure FILE is as it was.  Symbolic links are followed to the real file.\n"
	"\n"
	"    Refused are files that are encrypted already, even if damaged; files with\n"
	"    other hard links, which would keep the plaintext; and files that a program\n"
	"    has open for writing.  An empty file has nothing to hide and stays as it is\n"
	"    (with -o it becomes a header alone).\n"
	"\n"
	"    The blocks that held the plaintext are freed, not overwritten.\n"
	"\n"
	"OPTIONS\n"
	"    --key-file PATH     the policy key: a file of 32 bytes or 64 hexadecimal\n"
	"                        digits, or a directory of such files named by version\n"
	"                        (1, 2, ...).  They must belong to root or to the caller\n"
	"                        and be open to nobody else (mode 0600 or 0400).\n"
	"    --key-id ID         the name of the key, kept in the header: 1 to 255\n"
	"                        printable characters without blank and '/'\n"
	"    --key-version N     which version to use; the highest one of a directory,\n"
	"                        or 1 for a single file, if not given\n"
	"    --algorithm NAME    aes-256-gcm (the default) or chacha20-poly1305\n"
	"    --chunk-size BYTES  plaintext in one record: a power of two from 4K to 16M,\n"
	"                        64K if not given\n"
	"    --format 1|2        2 if not given; 1 only for readers that know no other:\n"
	"                        it uses the key itself for every file\n"
	"    -o, --output OUTPUT leave FILE alone and write to OUTPUT, which must not exist\n"
	"    -h, --help          this text\n"
	"\n" TK_HELP_EXIT_CODES "\n"
	"EXAMPLE\n"
	"    takakrypt-bpf key generate /etc/takakrypt/keys/payroll\n"
	"    takakrypt-bpf encrypt --key-file /etc/takakrypt/keys/payroll --key-id payroll *.csv\n";

static const char help_decrypt[] =
	"NAME\n"
	"    takakrypt-bpf decrypt - decrypt files\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf decrypt --key-file PATH [OPTION...] FILE...\n"
	"    takakrypt-bpf decrypt --key-file PATH [OPTION...] -o OUTPUT FILE\n"
	"\n"
	"DESCRIPTION\n"
	"    Replaces each FILE by its plaintext, in the same careful way as encrypt.\n"
	"    The format, the algorithm and the version of the key come from the header.\n"
	"    Every byte is authenticated; when one is not as it was written, the file is\n"
	"    reported and stays as it is, and no plaintext of it appears anywhere.\n"
	"    Files that are not encrypted are refused.\n"
	"\n"
	"OPTIONS\n"
	"    --key-file PATH     the policy key: a file of 32 bytes or 64 hexadecimal\n"
	"                        digits, taken for whatever version the header names; or\n"
	"                        a directory of such files named by version (1, 2, ...)\n"
	"    --key-id ID         refuse files that are under another key id\n"
	"    --key-version N     refuse files that are under another version; for format\n"
	"                        1, whose header names none, use this one (if not given:\n"
	"                        the highest)\n"
	"    -o, --output OUTPUT leave FILE alone and write to OUTPUT, which must not exist\n"
	"    -h, --help          this text\n"
	"\n" TK_HELP_EXIT_CODES "\n"
	"EXAMPLE\n"
	"    takakrypt-bpf decrypt --key-file /etc/takakrypt/keys/payroll -o /tmp/may.csv may.csv\n";

struct job {
	const char *verb; /* "encrypt" or "decrypt" */
	bool encrypt, help;
	const char *key_file, *key_id, *output;
	uint32_t key_version; /* 0: not given */
	uint32_t format, chunk_log2;
	enum tk_algorithm algorithm;
};

enum {
	OPT_KEY_FILE = 256,
	OPT_KEY_ID,
	OPT_KEY_VERSION,
	OPT_FORMAT,
	OPT_ALGORITHM,
	OPT_CHUNK_SIZE,
};

/* The last two are the writer's choice: decrypt's list ends before them. */
static const struct option options_encrypt[] = {
	{"key-file", required_argument, NULL, OPT_KEY_FILE},
	{"key-id", required_argument, NULL, OPT_KEY_ID},
	{"key-version", required_argument, NULL, OPT_KEY_VERSION},
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{"format", required_argument, NULL, OPT_FORMAT},
	{"algorithm", required_argument, NULL, OPT_ALGORITHM},
	{"chunk-size", required_argument, NULL, OPT_CHUNK_SIZE},
	{},
};

static const struct option options_decrypt[] = {
	{"key-file", required_argument, NULL, OPT_KEY_FILE},
	{"key-id", required_argument, NULL, OPT_KEY_ID},
	{"key-version", required_argument, NULL, OPT_KEY_VERSION},
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{},
};

static int once(const struct job *job, const char *option, const char **value)
{
	if (*value)
		return tk_usage(job->verb, "%s is given twice", option);
	*value = optarg;
	return 0;
}

static int parse_number(const struct job *job, const char *option, uint64_t max, uint32_t *value)
{
	uint64_t v;

	if (*value)
		return tk_usage(job->verb, "%s is given twice", option);
	if (tk_parse_u64(optarg, max, &v) < 0 || v == 0)
		return tk_usage(job->verb, "%s %s is not a number from 1 to %" PRIu64, option, optarg, max);
	*value = (uint32_t)v;
	return 0;
}

static int parse_chunk_size(struct job *job)
{
	uint64_t v;

	if (job->chunk_log2)
		return tk_usage(job->verb, "--chunk-size is given twice");
	if (tk_parse_size(optarg, &v) < 0 || v < UINT64_C(1) << TK_CHUNK_LOG2_MIN ||
	    v > UINT64_C(1) << TK_CHUNK_LOG2_MAX || (v & (v - 1)))
		return tk_usage(job->verb, "--chunk-size %s is not a power of two from 4K to 16M", optarg);
	job->chunk_log2 = (uint32_t)__builtin_ctzll(v);
	return 0;
}

static int parse_option(struct job *job, int c, char **argv)
{
	switch (c) {
	case OPT_KEY_FILE:
		return once(job, "--key-file", &job->key_file);
	case OPT_KEY_ID:
		return once(job, "--key-id", &job->key_id);
	case OPT_KEY_VERSION:
		return parse_number(job, "--key-version", UINT32_MAX, &job->key_version);
	case OPT_FORMAT:
		return parse_number(job, "--format", 2, &job->format);
	case OPT_ALGORITHM:
		if (job->algorithm)
			return tk_usage(job->verb, "--algorithm is given twice");
		if (tk_algorithm_parse(optarg, &job->algorithm) < 0)
			return tk_usage(job->verb,
					"--algorithm %s is neither aes-256-gcm nor chacha20-poly1305",
					optarg);
		return 0;
	case OPT_CHUNK_SIZE:
		return parse_chunk_size(job);
	case 'o':
		return once(job, "-o", &job->output);
	case 'h':
		job->help = true;
		return 0;
	}
	return tk_usage_getopt(job->verb, argv, c);
}

/* What the options must be together; fills in what was not given. */
static int check_job(struct job *job, int files)
{
	if (!job->key_file)
		return tk_usage(job->verb, "--key-file is missing");
	if (job->encrypt && !job->key_id)
		return tk_usage(job->verb, "--key-id is missing");
	if (files == 0)
		return tk_usage(job->verb, "no file is named");
	if (job->output && files > 1)
		return tk_usage(job->verb, "-o takes one file, not %d", files);
	if (job->format == 1 && job->chunk_log2)
		return tk_usage(job->verb, "--chunk-size has no meaning in format 1");
	if (!job->format)
		job->format = 2;
	if (!job->algorithm)
		job->algorithm = TK_AES_256_GCM;
	if (!job->chunk_log2)
		job->chunk_log2 = TK_CHUNK_LOG2_DEFAULT;
	return 0;
}

/* 0 to go on with the files from argv[optind] on, else an exit code (help: job->help). */
static int parse(struct job *job, int argc, char **argv)
{
	const struct option *options = job->encrypt ? options_encrypt : options_decrypt;
	int c, code;

	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":ho:", options, NULL)) != -1) {
		code = parse_option(job, c, argv);
		if (code || job->help)
			return code;
	}
	return check_job(job, argc - optind);
}

/* ------------------------------------------------------------------- keys */

/*
 * A ring in which key_id has just the one version of the job's key that is
 * wanted (0: the current one).  A single file stands for any version.
 */
static int ring_for(const struct job *job, const char *key_id, uint32_t version, struct tk_keyring **ret_ring)
{
	_cleanup_keyring_ struct tk_keyring *all = NULL, *one = NULL;
	struct {
		uint8_t kek[TK_KEK_SIZE];
	} secret;
	const char *why = NULL;
	struct stat st;
	int err;

	err = tk_keyring_new(&all);
	if (err == 0)
		err = tk_keyring_new(&one);
	if (err < 0)
		return tk_fail_err("read the key", job->key_file, err);
	err = tk_keyring_add_file(all, key_id, job->key_file, &why);
	if (err < 0)
		return tk_fail("read the key", job->key_file, why,
			       err == -EACCES	? "chown it to root and chmod it to 0600 (a directory: 0700)"
			       : err == -ENOENT ? "check the path; `takakrypt-bpf key generate` makes a key"
						: tk_advice(err));
	if (version == 0) {
		*ret_ring = TK_TAKE_PTR(all);
		return 0;
	}
	if (stat(job->key_file, &st) < 0)
		return tk_fail_err("read the key", job->key_file, -errno);
	(void)mlock(&secret,
		    sizeof(secret)); /* for an instant only; the ring's own memory is locked or refused */
	err = tk_keyring_get(all, key_id, S_ISDIR(st.st_mode) ? version : 0, secret.kek);
	if (err == 0)
		err = tk_keyring_add(one, key_id, version, secret.kek);
	tk_wipe(&secret, sizeof(secret));
	if (err == -TK_E_NO_KEY) {
		char text[64];

		snprintf(text, sizeof(text), "there is no version %" PRIu32 " in it (no_key)", version);
		return tk_fail("read the key", job->key_file, text, "put that version there");
	}
	if (err < 0)
		return tk_fail_err("read the key", job->key_file, err);
	*ret_ring = TK_TAKE_PTR(one);
	return 0;
}

/* ------------------------------------------------------------------ files */

static const char *remedy_for(int err)
{
	switch (err) {
	case -EMLINK:
		return "remove the other links, or use -o";
	case -EBUSY:
		return "wait until nothing writes to it, and try again";
	case -EISDIR:
	case -EINVAL:
		return NULL;
	}
	return tk_advice(err);
}

static int fail_file(const struct job *job, const char *path, const char *why, int err)
{
	char text[256];

	switch (err) {
	case -EMLINK:
	case -EBUSY:
	case -EISDIR:
	case -EINVAL:
	case -EEXIST:
		return tk_fail(job->verb, path, why, remedy_for(err));
	}
	snprintf(text, sizeof(text), "%s (%s)", why, tk_strerror(err));
	return tk_fail(job->verb, path, text, remedy_for(err));
}

static int encrypt_content(const struct job *job, const char *path, const struct tk_keyring *ring,
			   struct tk_replace *file)
{
	const struct tk_params params = {
		.algorithm = job->algorithm,
		.version = job->format,
		.chunk_log2 = job->chunk_log2,
		.key_id = job->key_id,
		.key_version = job->key_version,
	};
	struct tk_bar bar;
	char magic[4];
	ssize_t n;
	int err;

	n = pread(file->in_fd, magic, sizeof(magic), 0);
	if (n < 0)
		return tk_fail_err(job->verb, path, -errno);
	if (tk_is_taka(magic, (size_t)n)) {
		struct tk_header header;
		char why[256];

		err = tk_header_read(file->in_fd, 0, (uint64_t)file->st.st_size, &header);
		if (err == 0)
			return tk_fail(job->verb, path, "it is encrypted already", "leave it as it is");
		snprintf(why, sizeof(why), "it is encrypted already, and damaged: %s (%s)", tk_strerror(err),
			 tk_error_name(err) ? tk_error_name(err) : "reading");
		return tk_fail(job->verb, path, why, "restore it from a backup");
	}
	tk_bar_start(&bar, path);
	err = tk_encrypt_fd(ring, &params, file->in_fd, 0, (uint64_t)file->st.st_size, file->out_fd, 0,
			    tk_bar_update, &bar, NULL);
	tk_bar_end(&bar);
	return err < 0 ? tk_fail_err(job->verb, path, err) : 0;
}

static int decrypt_content(const struct job *job, const char *path, struct tk_replace *file)
{
	_cleanup_keyring_ struct tk_keyring *ring = NULL;
	uint64_t size = (uint64_t)file->st.st_size;
	struct tk_header h;
	struct tk_bar bar;
	char why[512];
	int err;

	err = tk_header_read(file->in_fd, 0, size, &h);
	if (err < 0)
		return tk_fail_err(job->verb, path, err);
	if (job->key_id && strcmp(job->key_id, h.key_id) != 0) {
		snprintf(why, sizeof(why), "it is under key id %s", h.key_id);
		return tk_fail(job->verb, path, why, "give that key, and its id or none");
	}
	if (job->key_version && h.version == 2 && job->key_version != h.key_version) {
		snprintf(why, sizeof(why), "it is under version %" PRIu32 " of key %s", h.key_version,
			 h.key_id);
		return tk_fail(job->verb, path, why, "give that version, or none");
	}
	err = ring_for(job, h.key_id, h.version == 2 ? h.key_version : job->key_version, &ring);
	if (err)
		return err;
	tk_bar_start(&bar, path);
	err = tk_decrypt_fd(ring, file->in_fd, 0, size, file->out_fd, 0, tk_bar_update, &bar, NULL);
	tk_bar_end(&bar);
	return err < 0 ? tk_fail_err(job->verb, path, err) : 0;
}

static int one_file(const struct job *job, const char *path, const struct tk_keyring *ring)
{
	_cleanup_(tk_replace_end) struct tk_replace file = TK_REPLACE_INIT;
	const char *why = NULL;
	int err, code;

	err = tk_replace_open(&file, path, job->output, &why);
	if (err < 0)
		return fail_file(job, path, why, err);
	if (job->encrypt && !job->output && file.st.st_size == 0)
		return TK_EXIT_DONE;
	code = job->encrypt ? encrypt_content(job, path, ring, &file) : decrypt_content(job, path, &file);
	if (code)
		return code;
	if (tk_interrupted())
		return tk_fail_err(job->verb, path, -ECANCELED);
	err = tk_replace_commit(&file, &why);
	return err < 0 ? fail_file(job, path, why, err) : TK_EXIT_DONE;
}

static int run(struct job *job, int argc, char **argv)
{
	_cleanup_keyring_ struct tk_keyring *ring = NULL;
	int code = parse(job, argc, argv);

	if (job->help) {
		fputs(job->encrypt ? help_encrypt : help_decrypt, stdout);
		return code;
	}
	if (code)
		return code;
	tk_hold_secrets();
	tk_catch_signals();
	if (job->encrypt) {
		code = ring_for(job, job->key_id, job->key_version, &ring);
		if (code)
			return code;
	}
	/* One failure does not keep the other files from being done. */
	for (int i = optind; i < argc && !tk_interrupted(); i++)
		if (one_file(job, argv[i], ring))
			code = TK_EXIT_FAILED;
	return tk_interrupted() ? TK_EXIT_FAILED : code;
}

int cmd_encrypt(int argc, char **argv)
{
	struct job job = {.verb = "encrypt", .encrypt = true};

	return run(&job, argc, argv);
}

int cmd_decrypt(int argc, char **argv)
{
	struct job job = {.verb = "decrypt"};

	return run(&job, argc, argv);
}
