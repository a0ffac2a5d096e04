// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_rekey.c - `rekey`: puts encrypted files under another version of their
 * key by writing their headers anew; the content is touched only to give it a new
 * file key, on demand.
 */
#include "loader/cmd.h"
#include "loader/keys/source.h"
#include "loader/trees/lease.h"
#include "loader/trees/replace.h"
#include "loader/trees/tree.h"
#include "loader/trees/unfinished.h"
#include "loader/options.h"
#include "loader/util.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

static const char verb[] = "rekey";

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf rekey - put encrypted files under another version of their key\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf rekey --key-file DIRECTORY [OPTION...] FILE|DIRECTORY...\n"
	"    takakrypt-bpf rekey --reencrypt --key-file DIRECTORY [OPTION...] FILE|DIRECTORY...\n"
	"\n"
	"DESCRIPTION\n"
	"    Wraps the file key of each FILE, and of everything below each DIRECTORY, under\n"
	"    the current version of its policy key, and writes the header: 512 bytes in one\n"
	"    write, after the old header was authenticated.  The content keeps its bytes, so\n"
	"    the size of a file costs nothing.  A file that is under that version already is\n"
	"    skipped and counted, after its header was authenticated: a run that was broken\n"
	"    off is simply started again.  When it ends well, every header is durable.  A\n"
	"    file that a program has open, for reading or writing, is refused.\n"
	"\n"
	"    Size and times of a file stay: a backup that goes by them does not notice.  Let\n"
	"    it compare contents once before an old version of the key is retired.\n"
	"\n"
	"    A copy of the file key that was taken with an old version still opens the\n"
	"    content.  After a leak, --reencrypt makes a new file key for each file, whatever\n"
	"    version it is under, and encrypts the content anew, in the same careful way as\n"
	"    encrypt: record by record, no plaintext is written anywhere; owner, mode, times,\n"
	"    ACL, extended attributes and hard links stay; at every instant the name holds\n"
	"    the old file or the new one, each complete and durable.  Nothing in a file says\n"
	"    how old its file key is, so a run that was broken off, and is started again,\n"
	"    does every file again.\n"
	"\n"
	"    A run that is killed may leave a file .takakrypt-* (16 digits), which the next\n"
	"    --reencrypt names and refuses.  It is the old content of a file, or the new one,\n"
	"    as a whole.  If it has other names (`ls -li`), some hard links of that file have\n"
	"    the new content and some not yet: `ln -f` the new file to the other names.\n"
	"    Then remove it and start again.\n"
	"\n"
	"    Files of format 1 have no file key and are refused.  Below a DIRECTORY, files\n"
	"    that are not encrypted are skipped; symbolic links, special files and other\n"
	"    filesystems are left out.\n"
	"\n"
	"OPTIONS\n"
	"    --key-file DIRECTORY the key: a directory of files named by version (1, 2, ...),\n"
	"                         with the versions that files are under and the new one;\n"
	"                         or the PKCS#11 URI of such a key in a token\n"
	"    --key-version N      the version to go to; the highest if not given\n"
	"    --reencrypt          new file keys, too\n"
	"    --cross-filesystems  go into filesystems that are mounted below, too\n"
	"    --json               an object at the end: \"verb\", \"done\", \"skipped\",\n"
	"                         \"failed\", \"special\" (left out), \"bytes\" (written; with\n"
	"                         --reencrypt of plaintext),\n"
	"                         \"seconds\", \"interrupted\"\n"
	"    -h, --help           this text\n"
	"\n" TK_HELP_EXIT_CODES "\n"
	"EXAMPLE\n"
	"    takakrypt-bpf key generate --version 2 /etc/takakrypt/keys/payroll\n"
	"    takakrypt-bpf rekey --key-file /etc/takakrypt/keys/payroll /backup/payroll\n";


struct job {
	struct tk_keysource keys;
	uint32_t key_version;
	bool reencrypt, json, help;
};

static enum tk_tree_result failed(const char *path, int err)
{
	tk_fail_err(verb, path, err);
	return TK_TREE_FAILED;
}

static enum tk_tree_result changed(const char *path, const char *why)
{
	tk_fail(verb, path, why, "wait until nothing uses it, and try again");
	return TK_TREE_FAILED;
}

/*
 * What has the wanted version is not believed but authenticated; and made durable, because a run that was
 * broken off may have written it: after this one the old version of the key may be destroyed.
 */
static enum tk_tree_result check_done(const struct tk_keyring *ring, const char *path, int fd,
				      const struct stat *st)
{
	int err = tk_header_verify(ring, fd, 0, (uint64_t)st->st_size, NULL);

	if (err == 0 && fdatasync(fd) < 0)
		err = -errno;
	return err < 0 ? failed(path, err) : TK_TREE_SKIPPED;
}

/*
 * fd is for writing, and the only descriptor of this process.  The file stays as it is for everybody but for
 * its header: also for backups that look at its times.
 */
static enum tk_tree_result rewrap(const struct tk_keyring *ring, const char *path, int fd,
				  const struct stat *st, uint32_t version)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};
	struct stat now;
	int err;

	/* Against everybody: a read lease is not to be had on a descriptor for writing. */
	if (tk_lease_take(fd, F_WRLCK) == -EBUSY)
		return changed(path, "a program has it open");
	if (fstat(fd, &now) < 0)
		return failed(path, -errno);
	if (now.st_size != st->st_size || now.st_mtim.tv_sec != st->st_mtim.tv_sec ||
	    now.st_mtim.tv_nsec != st->st_mtim.tv_nsec)
		return changed(path, "it changed meanwhile");
	err = tk_header_rewrap(ring, fd, 0, (uint64_t)st->st_size, version, NULL);
	if (err == -EBUSY)
		return changed(path, "it changed meanwhile");
	if (err == 0 && (futimens(fd, times) < 0 || fsync(fd) < 0))
		err = -errno;
	return err < 0 ? failed(path, err) : TK_TREE_DONE;
}

/* The header of a file that there is something to do for; TK_TREE_DONE, or what the file's outcome is. */
static enum tk_tree_result read_header(const struct tk_tree_file *f, int fd, uint64_t size,
				       struct tk_header *ret_header)
{
	int err;

	if (!f->named && tk_tree_magic(fd) == 0)
		return TK_TREE_SKIPPED;
	err = tk_header_read(fd, 0, size, ret_header);
	if (err < 0)
		return failed(f->path, err);
	if (ret_header->version != 2) {
		tk_fail(verb, f->path, "format 1 has no file key", "decrypt it and encrypt it anew");
		return TK_TREE_FAILED;
	}
	return TK_TREE_DONE;
}

static enum tk_tree_result rekey_file(void *ctx, const struct tk_tree_file *f, tk_progress progress,
				      void *progress_ctx, uint64_t *ret_bytes)
{
	_cleanup_close_ int fd = -1, write_fd = -1;
	const struct tk_keyring *ring;
	enum tk_tree_result result;
	struct job *job = ctx;
	char self[40];
	struct stat st;
	uint32_t version;
	struct tk_header h;
	int err;

	fd = tk_tree_open(f, verb, &st);
	if (fd < 0)
		return TK_TREE_FAILED;
	result = read_header(f, fd, (uint64_t)st.st_size, &h);
	if (result != TK_TREE_DONE)
		return result;
	if (tk_keysource_ring(&job->keys, h.key_id, 0, &ring))
		return TK_TREE_FAILED;
	version = job->key_version;
	err = version ? 0 : tk_keyring_current(ring, h.key_id, &version);
	if (err < 0)
		return failed(f->path, err);
	if (h.key_version == version)
		return check_done(ring, f->path, fd, &st);
	/* Only now for writing: what needs nothing is not disturbed.  Not by its name, which may lead
	 * elsewhere. */
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	write_fd = open(self, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (write_fd < 0)
		return failed(f->path, -errno);
	close(TK_TAKE_FD(fd));
	result = rewrap(ring, f->path, write_fd, &st, version);
	if (result == TK_TREE_DONE)
		*ret_bytes = TK_HEADER_V2_SIZE;
	return result;
}

/* A lease and a second file only for what needs them. */
static bool found_plain(const struct tk_tree_file *f)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (f->named)
		return false;
	fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_dev != f->dev || st.st_ino != f->ino)
		return false; /* what follows says so */
	return tk_tree_magic(fd) == 0;
}

static enum tk_tree_result reencrypt_file(void *ctx, const struct tk_tree_file *f, tk_progress progress,
					  void *progress_ctx, uint64_t *ret_bytes)
{
	_cleanup_(tk_replace_end) struct tk_replace file = TK_REPLACE_INIT;
	const struct tk_keyring *ring;
	enum tk_tree_result result;
	struct job *job = ctx;
	const char *why = NULL;
	struct tk_header h;
	uint64_t size;
	int err;

	if (found_plain(f))
		return TK_TREE_SKIPPED;
	err = tk_replace_open(&file, f->path, f->links, NULL, &why);
	/* Somebody may have put a symbolic link to elsewhere in its way since. */
	if (err == 0 && !f->named && (file.st.st_dev != f->dev || file.st.st_ino != f->ino)) {
		err = -EBUSY;
		why = "another file took its place meanwhile";
	}
	if (err < 0) {
		tk_replace_fail(verb, f->path, why, err);
		return TK_TREE_FAILED;
	}
	size = (uint64_t)file.st.st_size;
	result = read_header(f, file.in_fd, size, &h);
	if (result != TK_TREE_DONE)
		return result;
	if (tk_keysource_ring(&job->keys, h.key_id, 0, &ring))
		return TK_TREE_FAILED;
	err = tk_reencrypt_fd(ring, job->key_version, file.in_fd, 0, size, file.out_fd, 0, progress,
			      progress_ctx, &h);
	if (err == 0 && tk_interrupted())
		err = -ECANCELED;
	if (err < 0)
		return failed(f->path, err);
	err = tk_replace_commit(&file, &why);
	if (err < 0) {
		tk_replace_fail(verb, f->path, why, err);
		return TK_TREE_FAILED;
	}
	*ret_bytes = h.original_size;
	return TK_TREE_DONE;
}

int cmd_rekey(int argc, char **argv)
{
	struct job job = {.keys = TK_KEYSOURCE_INIT};
	struct tk_tree tree = {.verb = verb, .directories = true, .fn = rekey_file, .ctx = &job};
	const struct tk_option options[] = {
		{"key-file", .text = &job.keys.path},
		{"key-version", .number = &job.key_version, .min = 1, .max = UINT32_MAX},
		{"reencrypt", .flag = &job.reencrypt},
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
	if (job.reencrypt)
		tree.fn = reencrypt_file;
	tk_hold_secrets();
	tk_catch_signals();
	code = tk_unfinished(verb, argv + optind, (size_t)(argc - optind), tree.cross);
	if (code)
		return code;
	code = tk_tree_run(&tree, argv + optind, (size_t)(argc - optind));
	if (job.json || tree.had_directory)
		code |= tk_tree_print(&tree, job.json, job.reencrypt ? "re-encrypted" : "rekeyed");
	tk_keysource_clear(&job.keys);
	return code;
}
