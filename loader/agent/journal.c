// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/journal.c - the records that make moving contents safe.  Owns the
 * vault, a directory on each filesystem that only the agent can reach, and the
 * bytes of the records in it.  Knows nothing of who has a file open or why it moves.
 *
 * A record is a file: one block that says which file it is about and what its
 * content is, then the payload.  It appears under its name only when it is whole
 * and durable.  The block holds two slots; a change of state is written to the
 * older one and synced, so that a torn write leaves the newer one standing.
 *
 * The exception are fresh records, made for files that are empty: they are not
 * synced (KERNEL.md 28), because if one is lost the file's own content says what
 * is to be done with it, as with any plaintext the sweep finds.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <zlib.h>

#include "loader/agent/agent.h"
#include "loader/agent/io.h"

#define VAULT ".takakrypt"
#define SLOT 2048
#define MAGIC "TKRECRD1"
#define ASIDE "aside-"
#define FOUND "found-"
#define UNGUARDED ".unguarded" /* counts for no record, as of anything with such a name */

struct slot {
	char magic[8];
	uint32_t crc; /* CRC-32 (IEEE 802.3) of the slot with this field zero */
	uint32_t state;
	uint64_t sequence;
	struct tk_inode inode;
	uint64_t payload_size;
	uint64_t plain_size;
	int64_t atime, mtime;
	uint32_t atime_ns, mtime_ns;
	uint32_t algorithm;
	uint32_t chunk_log2;
	uint32_t handle_bytes;
	int32_t handle_type;
	uint8_t handle[TK_HANDLE_MAX];
	char key_id[TK_KEY_ID_MAX + 1];
	char guard[TK_NAME_MAX];
	/* Zero in records of agents that did not keep it: none. */
	uint32_t capability_size;
	uint8_t capability[64];
	char boot[TK_BOOT_ID]; /* in which it was written last; zero, too, in those */
	uint32_t unguarded;
	uint8_t zero[SLOT - 616 - TK_BOOT_ID];
};
_Static_assert(sizeof(struct slot) == SLOT, "slot");
_Static_assert(offsetof(struct slot, capability_size) == 544, "records of earlier agents end here");
_Static_assert(2 * SLOT == TK_PAYLOAD, "two slots are the block");

/* The vault in dir, when there is one; -EPERM: what has its name is not root's alone. */
static int vault_in(int dir)
{
	TK_AUTO_FD fd = openat(dir, VAULT, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	return st.st_uid != 0 || st.st_mode & 077 ? -EPERM : tk_steal_fd(&fd);
}

int tk_vault_in_use(const char *point)
{
	TK_AUTO_FD at = open(point, O_PATH | O_CLOEXEC);
	TK_AUTO_FD fd = at < 0 ? -errno : vault_in(at);
	struct dirent *entry;
	int records = 0;
	DIR *dir;

	/* Anybody may have made something of that name: not a vault, and no reason to refuse work. */
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP || fd == -EPERM)
		return 0;
	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir)
		return -errno;
	tk_steal_fd(&fd);
	while (errno = 0, entry = readdir(dir))
		records += *entry->d_name != '.';
	if (errno)
		records = -errno;
	closedir(dir);
	return records;
}

static int boot_id(char *ret_id)
{
	TK_AUTO_FD fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? fd : read(fd, ret_id, TK_BOOT_ID - 1);

	return n < 0 ? -errno : n < 36 ? -EIO : 0;
}

/* Makes the vault, or finds it. */
int tk_vault_open(struct tk_volume *volume)
{
	TK_AUTO_FD fd = -1;
	int err;

	if (volume->vault >= 0)
		return 0;
	err = boot_id(volume->boot);
	if (err)
		return err;
	if (mkdirat(volume->mount, VAULT, 0700) && errno != EEXIST)
		return -errno;
	fd = vault_in(volume->mount);
	if (fd < 0)
		return fd;
	/* The agent's own lock lies in /run, which another mount namespace may have another of. */
	if (flock(fd, LOCK_EX | LOCK_NB))
		return -EBUSY;
	volume->vault = tk_steal_fd(&fd);
	return 0;
}

void tk_record_name(struct tk_record *record)
{
	snprintf(record->name, sizeof(record->name), "%08x-%016llx-%08x", record->inode.dev,
		 (unsigned long long)record->inode.ino, record->inode.igeneration);
}

/* ---------------------------------------------------------------- struct to slot and back */

static void slot_fill(const struct tk_volume *volume, const struct tk_record *record, struct slot *ret_slot)
{
	struct slot slot = {
		.magic = MAGIC,
		.state = record->state,
		.sequence = record->sequence,
		.inode = record->inode,
		.payload_size = record->payload_size,
		.plain_size = record->plain_size,
		.atime = record->atime.tv_sec,
		.mtime = record->mtime.tv_sec,
		.atime_ns = (uint32_t)record->atime.tv_nsec,
		.mtime_ns = (uint32_t)record->mtime.tv_nsec,
		.algorithm = record->recipe.algorithm,
		.chunk_log2 = record->recipe.chunk_log2,
		.handle_bytes = record->handle.bytes,
		.handle_type = record->handle.type,
		.capability_size = record->capability.size,
		.unguarded = record->unguarded,
	};

	memcpy(slot.handle, record->handle.data, sizeof(slot.handle));
	memcpy(slot.key_id, record->recipe.key_id, sizeof(slot.key_id));
	memcpy(slot.guard, record->recipe.guard, sizeof(slot.guard));
	memcpy(slot.capability, record->capability.value, sizeof(slot.capability));
	memcpy(slot.boot, volume->boot, sizeof(slot.boot));
	slot.crc = (uint32_t)crc32(0, (const Bytef *)&slot, sizeof(slot));
	*ret_slot = slot;
}

static bool slot_whole(const struct slot *slot)
{
	struct slot copy = *slot;

	copy.crc = 0;
	return !memcmp(slot->magic, MAGIC, sizeof(slot->magic)) && crc32(0, (const Bytef *)&copy, sizeof(copy)) == slot->crc &&
	       (slot->state == TK_RESTORE || slot->state == TK_WRITABLE) &&
	       slot->handle_bytes <= TK_HANDLE_MAX && slot->capability_size <= sizeof(slot->capability) &&
	       slot->key_id[TK_KEY_ID_MAX] == '\0' && slot->guard[TK_NAME_MAX - 1] == '\0' &&
	       slot->atime_ns < 1000000000 && slot->mtime_ns < 1000000000;
}

static void slot_read(const struct tk_volume *volume, const struct slot *slot, struct tk_record *record)
{
	record->this_boot = !memcmp(volume->boot, slot->boot, sizeof(slot->boot));
	record->unguarded = slot->unguarded;
	record->sequence = slot->sequence;
	record->state = slot->state;
	record->inode = slot->inode;
	record->payload_size = slot->payload_size;
	record->plain_size = slot->plain_size;
	record->atime = (struct timespec){.tv_sec = slot->atime, .tv_nsec = slot->atime_ns};
	record->mtime = (struct timespec){.tv_sec = slot->mtime, .tv_nsec = slot->mtime_ns};
	record->handle.bytes = slot->handle_bytes;
	record->handle.type = slot->handle_type;
	memcpy(record->handle.data, slot->handle, sizeof(slot->handle));
	record->capability.size = slot->capability_size;
	memcpy(record->capability.value, slot->capability, sizeof(slot->capability));
	record->recipe.algorithm = slot->algorithm;
	record->recipe.chunk_log2 = slot->chunk_log2;
	memcpy(record->recipe.key_id, slot->key_id, sizeof(slot->key_id));
	memcpy(record->recipe.guard, slot->guard, sizeof(slot->guard));
}

/* ---------------------------------------------------------------- making records */

int tk_draft_new(struct tk_volume *volume, struct tk_draft *ret_draft)
{
	static atomic_uint counter;
	struct tk_draft draft = {.fd = -1};
	int err = tk_vault_open(volume);

	if (err)
		return err;
	draft.volume = volume;
	/* Names left by an earlier agent of the same process id are swept away by recovery. */
	snprintf(draft.name, sizeof(draft.name), "tmp-%d-%u", getpid(), counter++);
	draft.fd = openat(volume->vault, draft.name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (draft.fd < 0)
		return -errno;
	*ret_draft = draft;
	return 0;
}

void tk_draft_drop(struct tk_draft *draft)
{
	if (draft->fd < 0)
		return;
	if (unlinkat(draft->volume->vault, draft->name, 0))
		atomic_store(&draft->volume->litter, true);
	tk_fd_close(&draft->fd);
}

int tk_draft_commit(struct tk_draft *draft, struct tk_record *record, bool durable, bool replace)
{
	struct {
		struct slot first, second;
	} block = {};
	int err, vault = draft->volume->vault;

	assert(durable || !record->payload_size);
	record->sequence = 1;
	tk_record_name(record);
	slot_fill(draft->volume, record, &block.second); /* sequence 1 lives in slot 1 & 1 */
	err = tk_write_at(draft->fd, &block, sizeof(block), 0);
	if (err)
		return err;
	if (durable && fsync(draft->fd))
		return -errno;
	/* A record nobody knows of is one that recovery could not use: it may be the only copy of a file. */
	if (renameat2(vault, draft->name, vault, record->name, replace ? 0 : RENAME_NOREPLACE))
		return -errno;
	tk_fd_close(&draft->fd);
	/* From here on the name may be durable, whatever the sync says; the caller treats it as being there.
	 */
	record->stored_mtime = record->mtime;
	if (durable && fsync(vault))
		return -errno;
	return 0;
}

int tk_record_rewrite(struct tk_volume *volume, struct tk_record *record)
{
	struct slot slot;
	TK_AUTO_FD fd = openat(volume->vault, record->name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	int err;

	if (fd < 0)
		return -errno;
	record->sequence++;
	slot_fill(volume, record, &slot);
	err = tk_write_at(fd, &slot, sizeof(slot), (record->sequence & 1) * SLOT);
	if (!err && fdatasync(fd))
		err = -errno;
	if (err)
		record->sequence--; /* the next try must not touch the slot that still stands */
	else
		record->stored_mtime = record->mtime;
	return err;
}

int tk_record_payload(const struct tk_volume *volume, const struct tk_record *record)
{
	int fd = openat(volume->vault, record->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

int tk_record_unlink(struct tk_volume *volume, const struct tk_record *record)
{
	return unlinkat(volume->vault, record->name, 0) && errno != ENOENT ? -errno : 0;
}

int tk_record_remove(struct tk_volume *volume, const struct tk_record *record)
{
	int err = tk_record_unlink(volume, record);

	if (err)
		return err;
	/* A raw view may write the file next, and that must not be undone by a record that comes back. */
	if (!record->fresh && fsync(volume->vault))
		return -errno;
	return 0;
}

/* ---------------------------------------------------------------- what is not to be used */

bool tk_record_is_aside(const char *name)
{
	return !strncmp(name, ASIDE, strlen(ASIDE));
}

bool tk_record_is_found(const char *name)
{
	return !strncmp(name, FOUND, strlen(FOUND));
}

/* The same file may have had this before. */
static int name_for_people(int vault, const char *from, const char *what, const struct tk_record *record,
			   char *ret_name)
{
	char name[TK_RECORD_NAME];

	for (unsigned int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "%s%.34s-%u", what, record->name, i);
		if (!renameat2(vault, from, vault, name, RENAME_NOREPLACE)) {
			memcpy(ret_name, name, sizeof(name));
			return 0;
		}
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

int tk_record_aside(struct tk_volume *volume, const struct tk_record *record, char *ret_name)
{
	return name_for_people(volume->vault, record->name, ASIDE, record, ret_name);
}

int tk_draft_found(struct tk_draft *draft, const struct tk_record *record, char *ret_name)
{
	int err = fsync(draft->fd) ? -errno
				   : name_for_people(draft->volume->vault, draft->name, FOUND, record, ret_name);

	if (err)
		return err;
	tk_fd_close(&draft->fd);
	return fsync(draft->volume->vault) ? -errno : 0;
}

bool tk_vault_was_unguarded(const struct tk_volume *volume)
{
	return !faccessat(volume->vault, UNGUARDED, F_OK, 0);
}

int tk_vault_guarded_again(const struct tk_volume *volume)
{
	if (unlinkat(volume->vault, UNGUARDED, 0))
		return errno == ENOENT ? 0 : -errno;
	return fsync(volume->vault) ? -errno : 0;
}

int tk_vault_unguard(const char *point)
{
	TK_AUTO_FD at = open(point, O_PATH | O_CLOEXEC);
	TK_AUTO_FD vault = at < 0 ? -errno : vault_in(at);
	TK_AUTO_FD fd = -1;

	if (vault < 0)
		return vault;
	fd = openat(vault, UNGUARDED, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 || fsync(fd) || fsync(vault) ? -errno : 0;
}

/* ---------------------------------------------------------------- reading them back */

static bool all_zero(const void *buf, size_t len)
{
	const uint8_t *bytes = buf;

	for (size_t i = 0; i < len; i++)
		if (bytes[i])
			return false;
	return true;
}

int tk_record_holds(const struct tk_volume *volume, const struct tk_record *record, int fd)
{
	TK_AUTO_FD payload = -1;
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if ((uint64_t)st.st_size != record->payload_size)
		return 0;
	payload = tk_record_payload(volume, record);
	if (payload < 0)
		return payload;
	return tk_contents_compare(fd, 0, payload, TK_PAYLOAD, record->payload_size);
}

int tk_record_read(const struct tk_volume *volume, const char *name, struct tk_record *ret_record)
{
	struct slot slots[2] = {};
	struct tk_record record = {};
	const struct slot *best = NULL;
	struct stat st;
	ssize_t n;
	TK_AUTO_FD fd = openat(volume->vault, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if (strlen(name) >= sizeof(record.name) || !S_ISREG(st.st_mode))
		return -EBADMSG;
	n = tk_read_at(fd, slots, sizeof(slots), 0);
	if (n < 0)
		return (int)n;
	for (int i = 0; i < 2; i++)
		if (slot_whole(&slots[i]) && (!best || slots[i].sequence > best->sequence))
			best = &slots[i];
	/* A fresh record that a crash overtook before it was written back: no payload, and no block either.
	 */
	if (!best && st.st_size <= TK_PAYLOAD && all_zero(slots, sizeof(slots)))
		return -ENODATA;
	if (!best || (uint64_t)st.st_size < TK_PAYLOAD + best->payload_size)
		return -EBADMSG;
	slot_read(volume, best, &record);
	record.stored_mtime = record.mtime;
	snprintf(record.name, sizeof(record.name), "%s", name);
	*ret_record = record;
	return 0;
}
