// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_encrypt.c - `encrypt` and `decrypt`: files and trees by hand, with a
 * key from a file.  Guard points and policies are none of its business.
 */
#include "loader/cmd.h"
#include "loader/keys/source.h"
#include "loader/trees/replace.h"
#include "loader/trees/tree.h"
#include "loader/trees/unfinished.h"
#include "loader/options.h"
#include "loader/util.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define HELP_TREES                                                                               \
	"    With -r everything below DIRECTORY is done, several files at a time.  What is in\n" \
	"    the wanted form already is skipped and counted, so a run that was broken off\n"     \
	"    is simply started again.  Symbolic links and special files are left out, and so\n"  \
	"    are other filesystems.  A file that fails is reported, and the rest goes on.\n"     \
	"\n"
#define HELP_TREE_OPTIONS                                                                              \
	"    -r, --recursive     take directories, with everything below them\n"                       \
	"    --cross-filesystems go into filesystems that are mounted below, too\n"                    \
	"    --json              an object at the end: \"verb\", \"done\", \"skipped\", \"failed\",\n" \
	"                        \"special\" (left out), \"bytes\" (of plaintext), \"seconds\",\n"     \
	"                        \"interrupted\"\n"

static const char help_encrypt[] =
	"NAME\n"
	"    takakrypt-bpf encrypt - encrypt files\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf encrypt --key-file PATH --key-id ID [OPTION...] FILE...\n"
	"    takakrypt-bpf encrypt --key-file PATH --key-id ID [OPTION...] -r DIRECTORY...\n"
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
	"    hard links that are not named as well, which would keep the plaintext; and\n"
	"    files that a program has open for writing.  An empty file has nothing to hide\n"
	"    and stays as it is (with -o it becomes a header alone).\n"
	"\n"
	"    Of a file with several hard links, all of them named or found, one encrypted\n"
	"    file takes all the names, one after the other.  After a kill in between, some\n"
	"    names have the old file and some the new; beside them the old one is left as\n"
	"    .takakrypt-* (16 digits), which the next run refuses: `ln -f` the new file to\n"
	"    the other names, remove what was left, and start again.\n"
	"\n"
	"    Holes of a sparse file become encrypted zeros, which take room; decrypt makes\n"
	"    them holes again.\n"
	"\n" HELP_TREES "\n"
	"    The blocks that held the plaintext are freed, not overwritten.\n"
	"\n"
	"OPTIONS\n"
	"    --key-file PATH     the policy key: a file of 32 bytes or 64 hexadecimal\n"
	"                        digits, or a directory of such files named by version\n"
	"                        (1, 2, ...).  They must belong to root or to the caller\n"
	"                        and be open to nobody else (mode 0600 or 0400).  Or the\n"
	"                        PKCS#11 URI of a key in a token, as in a policy.\n"
	"    --key-id ID         the name of the key, kept in the header: 1 to 255\n"
	"                        printable characters without blank and '/'\n"
	"    --key-version N     which version to use; the highest one of a directory,\n"
	"                        or 1 for a single file, if not given\n"
	"    --algorithm NAME    aes-256-gcm (the default) or chacha20-poly1305\n"
	"    --chunk-size BYTES  plaintext in one record: a power of two from 4K to 16M,\n"
	"                        64K if not given\n"
	"    --format 1|2        2 if not given; 1 only for readers that know no other:\n"
	"                        it uses the key itself for every file\n" HELP_TREE_OPTIONS
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
	"    takakrypt-bpf decrypt --key-file PATH [OPTION...] -r DIRECTORY...\n"
	"    takakrypt-bpf decrypt --key-file PATH [OPTION...] -o OUTPUT FILE\n"
	"\n"
	"DESCRIPTION\n"
	"    Replaces each FILE by its plaintext, in the same careful way as encrypt.\n"
	"    The format, the algorithm and the version of the key come from the header.\n"
	"    Every byte is authenticated; when one is not as it was written, the file is\n"
	"    reported and stays as it is, and no plaintext of it appears anywhere.\n"
	"    Files that are not encrypted are refused.  Zeros become holes, in pieces of 64K.\n"
	"\n" HELP_TREES "\n"
	"OPTIONS\n"
	"    --key-file PATH     the policy key: a file of 32 bytes or 64 hexadecimal\n"
	"                        digits, taken for whatever version the header names; or\n"
	"                        a directory of such files named by version (1, 2, ...);\n"
	"                        or the PKCS#11 URI of a key in a token\n"
	"    --key-id ID         refuse files that are under another key id\n"
	"    --key-version N     refuse files that are under another version; for format\n"
	"                        1, whose header names none, use this one (if not given:\n"
	"                        the highest)\n" HELP_TREE_OPTIONS
	"    -o, --output OUTPUT leave FILE alone and write to OUTPUT, which must not exist\n"
	"    -h, --help          this text\n"
	"\n" TK_HELP_EXIT_CODES "\n"
	"EXAMPLE\n"
	"    takakrypt-bpf decrypt --key-file /etc/takakrypt/keys/payroll -o /tmp/may.csv may.csv\n";

struct job {
	const char *verb; /* "encrypt" or "decrypt" */
	bool encrypt, recursive, cross, json;
	const char *key_file, *key_id, *output;
	struct tk_keysource keys;
	uint32_t key_version; /* 0: not given */
	uint32_t format, chunk_log2;
	enum tk_algorithm algorithm;
};

static const char *set_algorithm(const char *text, void *into)
{
	return tk_algorithm_parse(text, into) < 0 ? "is neither aes-256-gcm nor chacha20-poly1305" : NULL;
}

static const char *set_chunk_size(const char *text, void *into)
{
	uint64_t v;

	if (tk_parse_size(text, &v) < 0 || v < UINT64_C(1) << TK_CHUNK_LOG2_MIN ||
	    v > UINT64_C(1) << TK_CHUNK_LOG2_MAX || (v & (v - 1)))
		return "is not a power of two from 4K to 16M";
	*(uint32_t *)into = (uint32_t)__builtin_ctzll(v);
	return NULL;
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
	if (job->output && job->recursive)
		return tk_usage(job->verb, "-o takes one file, and -r directories");
	if (job->format == 1 && job->chunk_log2)
		return tk_usage(job->verb, "--chunk-size has no meaning in format 1");
	if (!job->format)
		job->format = 2;
	if (!job->algorithm)
		job->algorithm = TK_AES_256_GCM;
	if (!job->chunk_log2)
		job->chunk_log2 = TK_CHUNK_LOG2_DEFAULT;
	return TK_GO_ON;
}

/* TK_GO_ON with the files from argv[optind] on, else an exit code. */
static int parse(struct job *job, int argc, char **argv)
{
	const struct tk_option options[] = {
		/* The first three are the writer's choice: decrypt's begin behind them. */
		{"format", .number = &job->format, .min = 1, .max = 2},
		{"algorithm", .parse = set_algorithm, .into = &job->algorithm},
		{"chunk-size", .parse = set_chunk_size, .into = &job->chunk_log2},
		{"key-file", .text = &job->key_file},
		{"key-id", .text = &job->key_id},
		{"key-version", .number = &job->key_version, .min = 1, .max = UINT32_MAX},
		{"output", 'o', .text = &job->output},
		{"recursive", 'r', .flag = &job->recursive},
		{"cross-filesystems", .flag = &job->cross},
		{"json", .flag = &job->json},
		{},
	};
	int code = job->encrypt ? tk_options(job->verb, help_encrypt, options, argc, argv)
				: tk_options(job->verb, help_decrypt, options + 3, argc, argv);

	return code == TK_GO_ON ? check_job(job, argc - optind) : code;
}

/* ------------------------------------------------------------------ files */

/* What is encrypted already: refused when it was named, skipped when it was found. */
static enum tk_tree_result already(const struct job *job, const struct tk_tree_file *f,
				   const struct tk_replace *file)
{
	struct tk_header header;
	char why[256];
	int err = tk_header_read(file->in_fd, 0, (uint64_t)file->st.st_size, &header);

	if (err == 0 && !f->named)
		return TK_TREE_SKIPPED;
	if (err == 0) {
		tk_fail(job->verb, f->path, "it is encrypted already", "leave it as it is");
		return TK_TREE_FAILED;
	}
	snprintf(why, sizeof(why), "it is encrypted already, and damaged: %s (%s)", tk_strerror(err),
		 tk_error_name(err) ? tk_error_name(err) : "reading");
	tk_fail(job->verb, f->path, why, "restore it from a backup");
	return TK_TREE_FAILED;
}

static enum tk_tree_result encrypt_content(struct job *job, const struct tk_tree_file *f,
					   struct tk_replace *file, tk_progress progress, void *ctx)
{
	const struct tk_params params = {
		.algorithm = job->algorithm,
		.version = job->format,
		.chunk_log2 = job->chunk_log2,
		.key_id = job->key_id,
		.key_version = job->key_version,
	};
	const struct tk_keyring *ring;
	int err;

	if (tk_keysource_ring(&job->keys, job->key_id, job->key_version, &ring))
		return TK_TREE_FAILED;
	err = tk_encrypt_fd(ring, &params, file->in_fd, 0, (uint64_t)file->st.st_size, file->out_fd, 0,
			    progress, ctx, NULL);
	if (err < 0) {
		tk_fail_err(job->verb, f->path, err);
		return TK_TREE_FAILED;
	}
	return TK_TREE_DONE;
}

static enum tk_tree_result decrypt_content(struct job *job, const struct tk_tree_file *f,
					   struct tk_replace *file, tk_progress progress, void *ctx)
{
	uint64_t size = (uint64_t)file->st.st_size;
	const struct tk_keyring *ring;
	struct tk_header h;
	char why[512];
	int err;

	err = tk_header_read(file->in_fd, 0, size, &h);
	if (err < 0) {
		tk_fail_err(job->verb, f->path, err);
		return TK_TREE_FAILED;
	}
	if (job->key_id && strcmp(job->key_id, h.key_id) != 0) {
		snprintf(why, sizeof(why), "it is under key id %s", h.key_id);
		tk_fail(job->verb, f->path, why, "give that one, or none");
		return TK_TREE_FAILED;
	}
	if (job->key_version && h.version == 2 && job->key_version != h.key_version) {
		snprintf(why, sizeof(why), "it is under version %" PRIu32 " of key %s", h.key_version,
			 h.key_id);
		tk_fail(job->verb, f->path, why, "give that version, or none");
		return TK_TREE_FAILED;
	}
	if (tk_keysource_ring(&job->keys, h.key_id, h.version == 2 ? h.key_version : job->key_version, &ring))
		return TK_TREE_FAILED;
	err = tk_decrypt_fd_sparse(ring, file->in_fd, 0, size, file->out_fd, 0, progress, ctx, NULL);
	if (err < 0) {
		tk_fail_err(job->verb, f->path, err);
		return TK_TREE_FAILED;
	}
	return TK_TREE_DONE;
}

/* A file that was found and is what it should become needs neither lease nor second file. */
static bool is_done(const struct job *job, const struct tk_tree_file *f)
{
	_cleanup_close_ int fd = -1;
	struct tk_header h;
	struct stat st;

	if (f->named)
		return false;
	fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
	/* Whatever is wrong, the way that reports it will meet it again.  f->size is from when it was found.
	 */
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_dev != f->dev || st.st_ino != f->ino)
		return false;
	if (job->encrypt && st.st_size == 0)
		return true;
	return job->encrypt ? tk_header_read(fd, 0, (uint64_t)st.st_size, &h) == 0 : tk_tree_magic(fd) == 0;
}

static enum tk_tree_result one_file(void *ctx, const struct tk_tree_file *f, tk_progress progress,
				    void *progress_ctx, uint64_t *ret_bytes)
{
	_cleanup_(tk_replace_end) struct tk_replace file = TK_REPLACE_INIT;
	enum tk_tree_result result;
	struct job *job = ctx;
	const char *why = NULL;
	struct stat st;
	int err;

	if (is_done(job, f))
		return TK_TREE_SKIPPED;
	err = tk_replace_open(&file, f->path, f->links, job->output, &why);
	/* Somebody may have put a symbolic link to elsewhere in its way since. */
	if (err == 0 && !f->named && (file.st.st_dev != f->dev || file.st.st_ino != f->ino)) {
		err = -EBUSY;
		why = "another file took its place meanwhile";
	}
	if (err < 0) {
		tk_replace_fail(job->verb, f->path, why, err);
		return TK_TREE_FAILED;
	}
	if (job->encrypt && !job->output && file.st.st_size == 0)
		return TK_TREE_SKIPPED;
	if (job->encrypt && tk_tree_magic(file.in_fd) == 1)
		return already(job, f, &file);
	result = job->encrypt ? encrypt_content(job, f, &file, progress, progress_ctx)
			      : decrypt_content(job, f, &file, progress, progress_ctx);
	if (result != TK_TREE_DONE)
		return result;
	if (tk_interrupted()) {
		tk_fail_err(job->verb, f->path, -ECANCELED);
		return TK_TREE_FAILED;
	}
	/* of plaintext: what was read, or what was written */
	if (fstat(file.out_fd, &st) == 0)
		*ret_bytes = (uint64_t)(job->encrypt ? file.st.st_size : st.st_size);
	err = tk_replace_commit(&file, &why);
	if (err < 0) {
		tk_replace_fail(job->verb, f->path, why, err);
		return TK_TREE_FAILED;
	}
	return TK_TREE_DONE;
}

static int run(struct job *job, int argc, char **argv)
{
	struct tk_tree tree = {
		.verb = job->verb, .fn = one_file, .ctx = job, .no_directories = "give -r too"};
	const struct tk_keyring *ring;
	int code = parse(job, argc, argv);

	if (code != TK_GO_ON)
		return code;
	tk_hold_secrets();
	tk_catch_signals();
	job->keys.path = job->key_file;
	tree.directories = job->recursive;
	tree.cross = job->cross;
	code = tk_unfinished(job->verb, argv + optind, (size_t)(argc - optind), job->cross);
	/* A key that is not there is one failure, not one for every file. */
	if (code == 0 && job->encrypt)
		code = tk_keysource_ring(&job->keys, job->key_id, job->key_version, &ring);
	if (code == 0) {
		code = tk_tree_run(&tree, argv + optind, (size_t)(argc - optind));
		if (job->json || tree.had_directory)
			code |= tk_tree_print(&tree, job->json, job->encrypt ? "encrypted" : "decrypted");
	}
	tk_keysource_clear(&job->keys);
	return code;
}

int cmd_encrypt(int argc, char **argv)
{
	struct job job = {.verb = "encrypt", .encrypt = true, .keys = TK_KEYSOURCE_INIT};

	return run(&job, argc, argv);
}

int cmd_decrypt(int argc, char **argv)
{
	struct job job = {.verb = "decrypt", .keys = TK_KEYSOURCE_INIT};

	return run(&job, argc, argv);
}
