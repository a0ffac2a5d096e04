// SPDX-License-Identifier: GPL-2.0
/*
 * loader/kernel/load.c - brings programs and maps into the kernel, attaches and
 * pins them, opens them again by their pins, takes them out.
 *
 * Everything is pinned below TK_BPFFS_DIR: a map under its name, a program's link
 * under links/.  Pinned links keep enforcing when the loader has gone.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <linux/magic.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "takakrypt.skel.h"
#include "loader/kernel/internal.h"

#define LINKS_DIR TK_BPFFS_DIR "/links"
#define COMMAND "command"
#define IDENTIFY_PIN TK_BPFFS_DIR "/identify"

const char *const tk_map_names[TK_MAP_COUNT] = {
	"guard_points", "guard_ancestors", "process_sets",    "units",	"unit_members", "user_sets",	"group_sets", "login_sets", "integrity_sets", "digests",
	"times_now",	"policies",	"rules",	   "automaton",	      "control",	"guarded_devices", "watched_points",
	"open_files",	"pending_opens",   "foreign_code",   "events",	      "notices",	"counters",
};

int tk_kernel_alloc(struct tk_kernel **ret_kernel)
{
	struct tk_kernel *kernel = calloc(1, sizeof(*kernel));

	if (!kernel)
		return -ENOMEM;
	for (size_t i = 0; i < TK_MAP_COUNT; i++)
		kernel->maps[i] = -1;
	kernel->command = -1;
	*ret_kernel = kernel;
	return 0;
}

int tk_kernel_map_control(struct tk_kernel *kernel)
{
	void *p = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED,
		       kernel->maps[TK_MAP_CONTROL], 0);

	if (p == MAP_FAILED)
		return -errno;
	kernel->control = p;
	return 0;
}

void tk_kernel_close(struct tk_kernel *kernel)
{
	if (!kernel)
		return;
	ring_buffer__free(kernel->notices);
	ring_buffer__free(kernel->events);
	if (kernel->control)
		munmap(kernel->control, sysconf(_SC_PAGESIZE));
	for (size_t i = 0; i < TK_MAP_COUNT; i++)
		tk_close_fd(&kernel->maps[i]);
	tk_close_fd(&kernel->command);
	takakrypt_bpf__destroy(kernel->skeleton);
	free(kernel);
}

/* Mounts bpffs where systemd would have. */
static int need_bpffs(struct tk_why *ret_why)
{
	struct statfs fs;

	if (statfs("/sys/fs/bpf", &fs) || fs.f_type != BPF_FS_MAGIC) {
		tk_why_set(ret_why, "no bpf filesystem at /sys/fs/bpf; mount -t bpf bpf /sys/fs/bpf");
		return -EOPNOTSUPP;
	}
	if (mkdir(TK_BPFFS_DIR, 0700)) {
		int err = -errno;

		if (err == -EEXIST)
			tk_why_set(ret_why, "a policy is loaded already (%s exists); use `takakrypt-bpf reload` to "
					    "change it or `takakrypt-bpf unload` to end it", TK_BPFFS_DIR);
		else
			tk_why_set(ret_why, "cannot make %s: %s", TK_BPFFS_DIR, strerror(-err));
		return err;
	}
	if (mkdir(LINKS_DIR, 0700)) {
		tk_why_set(ret_why, "cannot make %s: %s", LINKS_DIR, strerror(errno));
		return -errno;
	}
	return 0;
}

static int pin_maps(struct tk_kernel *kernel)
{
	char path[256];
	int err;

	for (size_t i = 0; i < TK_MAP_COUNT; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(kernel->skeleton->obj, tk_map_names[i]);

		snprintf(path, sizeof(path), TK_BPFFS_DIR "/%s", tk_map_names[i]);
		err = bpf_map__pin(map, path);
		if (err)
			return err;
		kernel->maps[i] = fcntl(bpf_map__fd(map), F_DUPFD_CLOEXEC, 3);
		if (kernel->maps[i] < 0)
			return -errno;
	}
	err = bpf_program__pin(kernel->skeleton->progs.command, TK_BPFFS_DIR "/" COMMAND);
	if (err)
		return err;
	kernel->command = fcntl(bpf_program__fd(kernel->skeleton->progs.command), F_DUPFD_CLOEXEC, 3);
	return kernel->command < 0 ? -errno : 0;
}

/* The iterator by which tk_kernel_identify() asks; pinned, so that a reload can ask as well. */
static int pin_identify(struct takakrypt_bpf *skeleton)
{
	struct bpf_link *link = bpf_program__attach_iter(skeleton->progs.identify, NULL);
	int err;

	if (!link)
		return -errno;
	err = bpf_link__pin(link, IDENTIFY_PIN);
	bpf_link__destroy(link);
	return err;
}

int tk_kernel_load(struct tk_kernel **ret_kernel, struct tk_why *ret_why)
{
	struct tk_kernel *kernel;
	int err = tk_kernel_alloc(&kernel);

	if (err)
		return err;
	tk_listen_to_libbpf();
	err = tk_need_lsm(ret_why);
	if (!err)
		err = need_bpffs(ret_why);
	if (err)
		goto fail;
	err = tk_programs_load(&kernel->skeleton, ret_why);
	if (err)
		goto fail_pinned;
	err = pin_maps(kernel);
	if (!err)
		err = pin_identify(kernel->skeleton);
	if (!err)
		err = tk_kernel_map_control(kernel);
	if (err) {
		tk_why_set(ret_why, "cannot pin the maps below %s: %s", TK_BPFFS_DIR, strerror(-err));
		goto fail_pinned;
	}
	kernel->control->abi = TK_ABI;
	*ret_kernel = kernel;
	return 0;

fail_pinned:
	tk_kernel_unload();
fail:
	tk_kernel_close(kernel);
	return err;
}

int tk_kernel_attach(struct tk_kernel *kernel, struct tk_why *ret_why)
{
	struct takakrypt_bpf *skeleton = kernel->skeleton;
	struct bpf_program *program;
	char path[256];

	bpf_object__for_each_program(program, skeleton->obj) {
		const char *name = bpf_program__name(program);
		struct bpf_link *link;
		int err;

		if (program == skeleton->progs.command || program == skeleton->progs.identify ||
		    !bpf_program__autoload(program))
			continue;
		link = bpf_program__attach(program);
		if (!link) {
			err = -errno;
			tk_why_set(ret_why, "cannot attach program %s: %s (%s)", name, strerror(-err), tk_libbpf_said());
			return err;
		}
		snprintf(path, sizeof(path), LINKS_DIR "/%s", name);
		err = bpf_link__pin(link, path);
		bpf_link__destroy(link);
		if (err) {
			tk_why_set(ret_why, "cannot pin %s: %s", path, strerror(-err));
			return err;
		}
	}
	return 0;
}

static int open_pin(const char *name)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), TK_BPFFS_DIR "/%s", name);
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : fd;
}

/* Is there what this version knows?  Another one may have pinned more or less: so before anything else is looked for. */
static int open_control(struct tk_kernel *kernel)
{
	int err;

	kernel->maps[TK_MAP_CONTROL] = open_pin(tk_map_names[TK_MAP_CONTROL]);
	if (kernel->maps[TK_MAP_CONTROL] == -ENOSYS)
		return -ENOENT; /* a kernel without bpf(2) */
	if (kernel->maps[TK_MAP_CONTROL] < 0)
		return kernel->maps[TK_MAP_CONTROL];
	err = tk_kernel_map_control(kernel);
	if (err)
		return err;
	if (!kernel->control->abi)
		return -ENOENT; /* cut off in the midst of a load: nothing was attached */
	return kernel->control->abi == TK_ABI ? 0 : -EPROTONOSUPPORT;
}

static bool any_link(void)
{
	struct dirent *entry;
	DIR *d = opendir(LINKS_DIR);

	if (!d)
		return errno != ENOENT;
	while ((entry = readdir(d)) && entry->d_name[0] == '.')
		;
	closedir(d);
	return entry;
}

int tk_kernel_open(struct tk_kernel **ret_kernel)
{
	struct tk_kernel *kernel;
	int err = tk_kernel_alloc(&kernel);

	if (err)
		return err;
	tk_listen_to_libbpf();
	err = open_control(kernel);
	for (size_t i = 0; !err && i < TK_MAP_COUNT; i++) {
		if (kernel->maps[i] >= 0)
			continue;
		kernel->maps[i] = open_pin(tk_map_names[i]);
		err = kernel->maps[i] < 0 ? kernel->maps[i] : 0;
	}
	if (!err) {
		kernel->command = open_pin(COMMAND);
		err = kernel->command < 0 ? kernel->command : 0;
	}
	/* A load pins links last, an unload removes them first. */
	if (err == -ENOENT && any_link())
		err = -EUCLEAN;
	if (!err) {
		*ret_kernel = kernel;
		return 0;
	}
	tk_kernel_close(kernel);
	return err;
}

const char *tk_kernel_strerror(int err)
{
	switch (err) {
	case -ENOENT:
		return "no policy is loaded";
	case -EPROTONOSUPPORT:
		return "another version of takakrypt-bpf has loaded them: `unload` with that one, then `load`";
	case -EUCLEAN:
		return "some of their pins below " TK_BPFFS_DIR " are gone: `unload` (--force if that refuses), then `load`";
	default:
		return strerror(-err);
	}
}

/* Removes every file in a directory of bpffs, then the directory. */
static int unpin_all(const char *dir)
{
	char path[512];
	struct dirent *entry;
	DIR *d = opendir(dir);
	int err = 0;

	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		if (unlink(path) && errno != EISDIR && errno != EPERM && !err)
			err = -errno;
	}
	closedir(d);
	if (rmdir(dir) && !err)
		err = -errno;
	return err;
}

/*
 * Links first: as long as one is attached, the maps it reads must be there.  The kernel lets go of a link some time
 * after its pin is gone; that nothing is guarded any more is said before, so that it holds at once.
 */
int tk_kernel_unload(void)
{
	struct tk_kernel *kernel;
	int err, err2;

	if (!tk_kernel_open(&kernel)) {
		__atomic_store_n(&kernel->control->generation, 0, __ATOMIC_SEQ_CST);
		tk_kernel_close(kernel);
	}
	err = unpin_all(LINKS_DIR);
	err2 = unpin_all(TK_BPFFS_DIR);
	return err ? err : err2;
}

/* Reads the iterator once for a batch of open descriptors; fills those that are found. */
static int identify_batch(const int *fds, size_t count, struct tk_identified *found)
{
	TK_AUTO_CLOSE int link = bpf_obj_get(IDENTIFY_PIN), iterator = -1;
	struct tk_identified it[64];
	ssize_t got;

	if (link < 0)
		return -errno;
	iterator = bpf_iter_create(link);
	if (iterator < 0)
		return -errno;
	while ((got = read(iterator, it, sizeof(it))) > 0) {
		for (size_t i = 0; i < got / sizeof(*it); i++)
			for (size_t k = 0; k < count; k++)
				if (fds[k] == (int)it[i].fd)
					found[k] = it[i];
	}
	return got < 0 ? -errno : 0;
}

#define IDENTIFY_BATCH 256

/* Without it `key_op` permits nothing, and the verbs are judged like any other program. */
void tk_kernel_know_command(struct tk_kernel *kernel)
{
	const char *const self = "/proc/self/exe";
	struct tk_inode inode = {};

	tk_kernel_identify(&self, 1, &inode);
	kernel->control->command = inode;
}

int tk_kernel_identify(const char *const *paths, size_t count, struct tk_inode *inodes)
{
	int err = 0;

	for (size_t from = 0; from < count && !err; from += IDENTIFY_BATCH) {
		size_t n = count - from < IDENTIFY_BATCH ? count - from : IDENTIFY_BATCH;
		struct tk_identified found[IDENTIFY_BATCH] = {};
		int fds[IDENTIFY_BATCH];

		for (size_t i = 0; i < n; i++)
			fds[i] = open(paths[from + i], O_PATH | O_CLOEXEC);
		err = identify_batch(fds, n, found);
		for (size_t i = 0; i < n; i++) {
			if (!err && found[i].inode.ino)
				inodes[from + i] = found[i].inode;
			tk_close_fd(&fds[i]);
		}
	}
	return err;
}

int tk_kernel_identify_fd(int fd, struct tk_identified *ret)
{
	struct tk_identified found = {};
	int err = identify_batch(&fd, 1, &found);

	if (err)
		return err;
	if (!found.inode.ino)
		return -ENOENT;
	*ret = found;
	return 0;
}
