// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_verify.c - `verify`: is every byte of encrypted files as it was
 * written?  With the key, and without writing anything anywhere.
 */
#include "loader/cmd.h"
#include "loader/keys/source.h"
#include "loader/trees/tree.h"
#include "loader/options.h"
#include "loader/util.h"

#include <errno.h>
#include <inttypes.h>

static const char verb[] = "verify";

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf verify - authenticate every byte of encrypted files\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf verify --key-file PATH [OPTION...] FILE|DIRECTORY...\n"
	"\n"
	"DESCRIPTION\n"
	"    Reads each FILE, and everything below each DIRECTORY, and authenticates the\n"
	"    header and all of the content with the key.  Nothing is written, no plaintext\n"
	"    leaves the memory of the command.  A file that is not as it was written is\n"
	"    reported, and the rest goes on.\n"
	"\n"
	"    Files below a DIRECTORY that are not encrypted are skipped and counted; one\n"
	"    that is named is refused.  Symbolic links and special files below it are left\n"
	"    out, and so are other filesystems.\n"
	"\n"
	"OPTIONS\n"
	"    --key-file PATH      the policy key: a file of 32 bytes or 64 hexadecimal\n"
	"                         digits, taken for whatever version a header names; or a\n"
	"                         directory of such files named by version (1, 2, ...); or\n"
	"                         the PKCS#11 URI of a key in a token\n"
	"    --key-version N      the version for files of format 1, whose header names\n"
	"                         none; the highest if not given\n"
	"    --cross-filesystems  go into filesystems that are mounted below, too\n"
	"    --json               an object at the end: \"verb\", \"done\" (authentic files),\n"
	"                         \"skipped\", \"failed\", \"special\" (left out), \"bytes\"\n"
	"                         (read), \"seconds\", \"interrupted\"\n"
	"    -h, --help           this text\n"
	"\n" TK_HELP_EXIT_CODES "\n"
	"EXAMPLE\n"
	"    takakrypt-bpf verify --key-file /etc/takakrypt/keys/payroll /backup/payroll\n";


struct job {
	struct tk_keysource keys;
	uint32_t key_version;
	bool json, help;
};

static enum tk_tree_result failed(const char *path, int err)
{
	tk_fail_err(verb, path, err);
	return TK_TREE_FAILED;
}

static enum tk_tree_result one_file(void *ctx, const struct tk_tree_file *f, tk_progress progress,
				    void *progress_ctx, uint64_t *ret_bytes)
{
	_cleanup_close_ int fd = -1;
	const struct tk_keyring *ring;
	struct job *job = ctx;
	struct tk_header h;
	struct stat st;
	char magic[4];
	ssize_t n;
	int err;

	fd = tk_tree_open(f, verb, &st);
	if (fd < 0)
		return TK_TREE_FAILED;
	n = pread(fd, magic, sizeof(magic), 0);
	if (n < 0)
		return failed(f->path, -errno);
	if (!f->named && !tk_is_taka(magic, (size_t)n))
		return TK_TREE_SKIPPED;
	err = tk_header_read(fd, 0, (uint64_t)st.st_size, &h);
	if (err < 0)
		return failed(f->path, err);
	if (tk_keysource_ring(&job->keys, h.key_id, h.version == 2 ? h.key_version : job->key_version, &ring))
		return TK_TREE_FAILED;
	err = tk_verify_fd(ring, fd, 0, (uint64_t)st.st_size, progress, progress_ctx);
	if (err < 0)
		return failed(f->path, err);
	*ret_bytes = (uint64_t)st.st_size;
	return TK_TREE_DONE;
}

int cmd_verify(int argc, char **argv)
{
	struct job job = {.keys = TK_KEYSOURCE_INIT};
	struct tk_tree tree = {.verb = verb, .directories = true, .fn = one_file, .ctx = &job};
	const struct tk_option options[] = {
		{"key-file", .text = &job.keys.path},
		{"key-version", .number = &job.key_version, .min = 1, .max = UINT32_MAX},
		{"cross-filesystems", .flag = &tree.cross},
		{"json", .flag = &job.json},
		{},
	};
	int code = tk_options(verb, help, options, argc, argv);

	if (code != TK_GO_ON)
		return code;
	if (!job.keys.path)
		return tk_usage(verb, "--key-file is missing");
	if (optind == argc)
		return tk_usage(verb, "no file is named");
	tk_hold_secrets();
	tk_catch_signals();
	code = tk_tree_run(&tree, argv + optind, (size_t)(argc - optind));
	if (job.json || tree.had_directory)
		code |= tk_tree_print(&tree, job.json, "verified");
	tk_keysource_clear(&job.keys);
	return code;
}
