// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_inspect.c - `inspect`: what the header of a file says, without a
 * key and therefore without a word on whether it is authentic.
 */
#include "loader/cmd.h"
#include "loader/trees/tree.h"
#include "loader/options.h"
#include "loader/util.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

static const char verb[] = "inspect";

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf inspect - show what encrypted files say about themselves\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf inspect [OPTION...] FILE|DIRECTORY...\n"
	"\n"
	"DESCRIPTION\n"
	"    Checks the header of each FILE and its length, and prints the format's\n"
	"    version, the algorithm, the key and its version, and the sizes.  It needs no\n"
	"    key; so it cannot tell whether the content is authentic: decrypt does.\n"
	"\n"
	"    A file that is not encrypted, or damaged, is reported with the exact reason,\n"
	"    which stands in parentheses in the form that programs can rely on:\n"
	"    truncated, magic (not encrypted), version, algorithm, key_id_len, key_id,\n"
	"    flags, reserved, chunk_log2, wrap, key_version, padding, length.\n"
	"\n"
	"    Of what is below a DIRECTORY only the encrypted files are shown; symbolic links,\n"
	"    special files and other filesystems are left out.\n"
	"\n"
	"OPTIONS\n"
	"    --cross-filesystems\n"
	"                go into filesystems that are mounted below, too\n"
	"    --json      an array with one object for each file: \"file\", then either\n"
	"                \"format\", \"algorithm\", \"key_id\", \"key_version\" (format 2),\n"
	"                \"original_size\", \"size\", \"header_size\", \"chunk_size\" and\n"
	"                \"records\" (format 2); or \"error\" and \"message\"\n"
	"    -h, --help  this text\n"
	"\n" TK_HELP_EXIT_CODES "\n"
	"EXAMPLE\n"
	"    takakrypt-bpf inspect --json *.csv | jq -r '.[] | select(.error) | .file'\n";

static int read_header(const char *path, bool named, struct tk_header *ret_header, uint64_t *ret_size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (!named && tk_tree_magic(fd) == 0)
		return -TK_E_MAGIC;
	r = tk_header_read(fd, 0, (uint64_t)st.st_size, ret_header);
	if (r == 0)
		*ret_size = (uint64_t)st.st_size;
	return r;
}

static uint64_t records(const struct tk_header *h)
{
	uint64_t mask = (UINT64_C(1) << h->chunk_log2) - 1;

	return (h->original_size >> h->chunk_log2) + ((h->original_size & mask) != 0);
}

static void print(const char *path, const struct tk_header *h, uint64_t size)
{
	char text[TK_SIZE_TEXT];

	tk_put_safe(stdout, path);
	puts(":");
	printf("    format         %" PRIu32 "\n", h->version);
	printf("    algorithm      %s\n", tk_algorithm_name(h->algorithm));
	printf("    key id         %s\n", h->key_id);
	if (h->version == 2)
		printf("    key version    %" PRIu32 "\n", h->key_version);
	printf("    original size  %" PRIu64 " (%s)\n", h->original_size,
	       tk_size_text(h->original_size, text));
	printf("    size on disk   %" PRIu64 " (%s)\n", size, tk_size_text(size, text));
	printf("    header size    %" PRIu32 "\n", h->size);
	if (h->version == 2) {
		printf("    chunk size     %" PRIu32 "\n", UINT32_C(1) << h->chunk_log2);
		printf("    records        %" PRIu64 "\n", records(h));
	}
}

static int add_header(cJSON *object, const struct tk_header *h, uint64_t size)
{
	int r = 0;

	r |= tk_json_u64(object, "format", h->version);
	if (!cJSON_AddStringToObject(object, "algorithm", tk_algorithm_name(h->algorithm)) ||
	    !cJSON_AddStringToObject(object, "key_id", h->key_id))
		r = -ENOMEM;
	if (h->version == 2)
		r |= tk_json_u64(object, "key_version", h->key_version);
	r |= tk_json_u64(object, "original_size", h->original_size);
	r |= tk_json_u64(object, "size", size);
	r |= tk_json_u64(object, "header_size", h->size);
	if (h->version == 2) {
		r |= tk_json_u64(object, "chunk_size", UINT64_C(1) << h->chunk_log2);
		r |= tk_json_u64(object, "records", records(h));
	}
	return r ? -ENOMEM : 0;
}

static int add_error(cJSON *object, int err)
{
	const char *name = tk_error_name(err);

	if (!cJSON_AddStringToObject(object, "error", name ? name : "system") ||
	    !cJSON_AddStringToObject(object, "message", tk_strerror(err)))
		return -ENOMEM;
	return 0;
}

struct job {
	cJSON *array; /* NULL: text */
	int err;      /* what went wrong with the report */
};

static enum tk_tree_result one_file(void *ctx, const struct tk_tree_file *f, tk_progress progress,
				    void *progress_ctx, uint64_t *ret_bytes)
{
	_cleanup_json_ cJSON *object = NULL;
	struct job *job = ctx;
	struct tk_header h;
	uint64_t size = 0;
	int err = read_header(f->path, f->named, &h, &size), r = 0;

	if (job->err)
		return TK_TREE_FAILED;
	if (!f->named && err == -TK_E_MAGIC)
		return TK_TREE_SKIPPED;
	if (job->array) {
		object = cJSON_CreateObject();
		if (!object || !cJSON_AddStringToObject(object, "file", f->path))
			r = -ENOMEM;
		if (r == 0)
			r = err ? add_error(object, err) : add_header(object, &h, size);
		if (r == 0 && !cJSON_AddItemToArray(job->array, object))
			r = -ENOMEM;
		if (r == 0)
			(void)TK_TAKE_PTR(object);
	} else if (err == 0) {
		print(f->path, &h, size);
	}
	job->err = r;
	if (err)
		tk_fail_err(verb, f->path, err);
	return err ? TK_TREE_FAILED : TK_TREE_DONE;
}

int cmd_inspect(int argc, char **argv)
{
	_cleanup_json_ cJSON *array = NULL;
	struct job job = {};
	/* one at a time: the report is in the order of the names */
	struct tk_tree tree = {
		.verb = verb, .directories = true, .one_thread = true, .fn = one_file, .ctx = &job};
	bool json = false;
	const struct tk_option options[] = {{"json", .flag = &json}, {"cross-filesystems", .flag = &tree.cross}, {}};
	int code = tk_options(verb, help, options, argc, argv);

	if (code != TK_GO_ON)
		return code;
	if (json && !(array = cJSON_CreateArray()))
		return tk_fail_err("write", "the report", -ENOMEM);
	if (optind == argc)
		return tk_usage(verb, "no file is named");
	job.array = array;
	code = tk_tree_run(&tree, argv + optind, (size_t)(argc - optind));
	if (job.err == 0 && array)
		job.err = tk_json_print(array);
	return job.err < 0 ? tk_fail_err("write", "the report", job.err) : code;
}
