// SPDX-License-Identifier: GPL-2.0
/*
 * loader/kernel/programs.c - brings the programs that fit this kernel into it, and
 * says in a person's words why one does not take them.  Attaches and pins nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "takakrypt.skel.h"
#include "loader/kernel/internal.h"
#include "loader/kernel/preempt.h"

void tk_why_set(struct tk_why *why, const char *format, ...)
{
	va_list args;

	if (!why)
		return;
	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
}

/* The first complaint of libbpf since it was asked for something, for struct tk_why: the later ones follow from it. */
static __thread char libbpf_said[384];

static int hear_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level != LIBBPF_WARN || *libbpf_said)
		return 0;
	vsnprintf(libbpf_said, sizeof(libbpf_said), format, args);
	libbpf_said[strcspn(libbpf_said, "\n")] = '\0';
	return 0;
}

const char *tk_libbpf_said(void)
{
	return libbpf_said;
}

void tk_listen_to_libbpf(void)
{
	*libbpf_said = '\0';
	libbpf_set_print(hear_libbpf);
}

/* Programs a kernel may lack, because the hook came later or another hook does the same there. */
bool tk_program_optional(const char *program)
{
	static const char *const optional[] = { "file_ioctl_compat", "inode_set_acl", "inode_remove_acl",
						"inode_file_setattr" };

	for (size_t i = 0; i < sizeof(optional) / sizeof(*optional); i++)
		if (!strcmp(program, optional[i]))
			return true;
	return false;
}

int tk_hook_id(const struct btf *btf, const char *program)
{
	char name[128];

	snprintf(name, sizeof(name), "bpf_lsm_%s", program);
	return btf__find_by_name_kind(btf, name, BTF_KIND_FUNC);
}

/* How many arguments the running kernel passes to a hook. */
static int hook_arguments(const struct btf *btf, const char *program)
{
	int id = tk_hook_id(btf, program);
	const struct btf_type *type;

	if (id < 0)
		return id;
	type = btf__type_by_id(btf, id);
	type = btf__type_by_id(btf, type->type);
	return btf_vlen(type);
}

/* Does the kernel's own list of helpers (enum bpf_func_id) have this one? */
static bool has_helper(const struct btf *btf, const char *name)
{
	int id = btf__find_by_name_kind(btf, "bpf_func_id", BTF_KIND_ENUM);
	const struct btf_type *type = id < 0 ? NULL : btf__type_by_id(btf, id);

	for (int i = 0; type && i < btf_vlen(type); i++)
		if (!strcmp(btf__name_by_offset(btf, btf_enum(type)[i].name_off), name))
			return true;
	return false;
}

/* Chooses among the programs by what this kernel has (BTF), never by its version. */
static int choose_programs(struct takakrypt_bpf *skeleton, struct tk_why *ret_why)
{
	struct btf *btf = btf__load_vmlinux_btf();
	struct bpf_program *program;
	int err = 0;

	if (!btf) {
		tk_why_set(ret_why, "cannot read the kernel's BTF from /sys/kernel/btf/vmlinux: %s; "
				    "a kernel built with CONFIG_DEBUG_INFO_BTF=y is needed", strerror(errno));
		return -EOPNOTSUPP;
	}
	bpf_object__for_each_program(program, skeleton->obj) {
		const char *name = bpf_program__name(program);

		if (bpf_program__type(program) != BPF_PROG_TYPE_LSM || tk_hook_id(btf, name) >= 0)
			continue;
		if (!tk_program_optional(name)) {
			tk_why_set(ret_why, "this kernel has no LSM hook %s: 5.15 or later, with CONFIG_BPF_LSM=y, "
					    "is needed", name);
			err = -EOPNOTSUPP;
			break;
		}
		bpf_program__set_autoload(program, false);
	}
	/* It came with 5.11; what the programs need besides came by 5.15 or is found out by loading. */
	if (!err && !has_helper(btf, "BPF_FUNC_get_current_task_btf")) {
		tk_why_set(ret_why, "this kernel has no helper bpf_get_current_task_btf: 5.15 or later is needed");
		err = -EOPNOTSUPP;
	}
	skeleton->rodata->tk_setattr_has_idmap = hook_arguments(btf, "inode_setattr") >= 3;
	btf__free(btf);
	return err;
}

/* The first line of a small file. */
int tk_read_line(const char *path, char *buf, size_t size)
{
	TK_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return -errno;
	got = read(fd, buf, size - 1);
	if (got < 0)
		return -errno;
	buf[got] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return 0;
}

int tk_lsm_active(char *ret_list, unsigned int size)
{
	char list[256], *save, *name;
	int err = tk_read_line("/sys/kernel/security/lsm", list, sizeof(list));

	if (err)
		return err;
	snprintf(ret_list, size, "%s", list);
	for (name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save))
		if (!strcmp(name, "bpf"))
			return 1;
	return 0;
}

/* What the kernel's refusal to load means for the person who asked. */
static int explain_refusal(int err, struct tk_why *ret_why)
{
	if (err == -EPERM) {
		tk_why_set(ret_why, "this kernel refuses BPF LSM programs (EPERM), although we are root: it may run "
				    "under lockdown or in a container");
		return -EOPNOTSUPP;
	}
	tk_why_set(ret_why, "the kernel did not take the programs: %s (%s); `takakrypt-bpf doctor` says what is "
			    "missing", strerror(-err), libbpf_said);
	return err;
}

#define FOREIGN_MOST (1u << 20)

/*
 * Places for notes of foreign code: whatever is executed has a thread at least, and the machine has no more threads than
 * that.  Twice, so that it is not full when an administrator raises the limit, or a note outlives its process.
 */
static unsigned int foreign_room(void)
{
	char line[32];
	unsigned long threads = 0;

	if (!tk_read_line("/proc/sys/kernel/threads-max", line, sizeof(line)))
		threads = strtoul(line, NULL, 10);
	if (!threads)
		return TK_MAX_FOREIGN;
	return 2 * threads < FOREIGN_MOST ? 2 * threads : FOREIGN_MOST;
}

/* Opens and loads the programs; attaches and pins nothing. */
int tk_programs_load(struct takakrypt_bpf **ret_skeleton, struct tk_why *ret_why)
{
	struct takakrypt_bpf *skeleton = takakrypt_bpf__open();
	int err;

	if (!skeleton) {
		err = -errno;
		tk_why_set(ret_why, "cannot open the programs built into this command: %s", strerror(-err));
		return err;
	}
	err = choose_programs(skeleton, ret_why);
	if (!err)
		bpf_map__set_max_entries(skeleton->maps.foreign_code, foreign_room());
	if (!err) {
		err = takakrypt_bpf__load(skeleton);
		if (err)
			err = explain_refusal(err, ret_why);
	}
	if (err) {
		takakrypt_bpf__destroy(skeleton);
		return err;
	}
	*ret_skeleton = skeleton;
	return 0;
}

int tk_kernel_try(struct tk_why *ret_why)
{
	struct takakrypt_bpf *skeleton;
	int err;

	tk_listen_to_libbpf();
	err = tk_programs_load(&skeleton, ret_why);
	if (!err)
		takakrypt_bpf__destroy(skeleton);
	return err;
}

/* Without `bpf` in the list programs attach and never run. */
int tk_need_lsm(struct tk_why *ret_why)
{
	char list[200] = "", found[300];
	int active = tk_lsm_active(list, sizeof(list));

	if (active > 0 && !tk_lsm_left_out(found, sizeof(found)))
		return 0;
	if (active > 0)
		tk_why_set(ret_why, "this kernel is not to be trusted with LSM programs: %s; boot with preempt=voluntary, or "
				    "a later one", found);
	else if (active < 0)
		tk_why_set(ret_why, "cannot read the kernel's LSM list, /sys/kernel/security/lsm: %s; "
				    "mount -t securityfs securityfs /sys/kernel/security", strerror(-active));
	else
		tk_why_set(ret_why, "the BPF LSM is not active; boot with lsm=%s,bpf", list);
	return -EOPNOTSUPP;
}
