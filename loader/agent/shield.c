// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/shield.c - gives the kernel keys of fscrypt policies, and takes them away.  Must not derive keys, and
 * holds none for longer than a call.
 *
 * AES-256-XTS for contents and AES-256-CTS for names, padded to 32 bytes: what every kernel with version 2 policies
 * has (5.4).
 */
#include "loader/agent/shield.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fscrypt.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "loader/agent/small.h"

_Static_assert(TK_SHIELD_ID == FSCRYPT_KEY_IDENTIFIER_SIZE, "an identifier is the kernel's");
_Static_assert(TK_SHIELD_KEY == FSCRYPT_MAX_KEY_SIZE, "a key is as long as it may be");

/* What the kernel takes, in memory that is not swapped; wiped by its end. */
struct call {
	struct fscrypt_add_key_arg arg;
	uint8_t raw[TK_SHIELD_KEY];
};

static void call_freep(struct call **call)
{
	if (!*call)
		return;
	tk_wipe(*call, sizeof(**call));
	munmap(*call, sizeof(**call));
}

static struct call *call_new(void)
{
	struct call *call =
		mmap(NULL, sizeof(*call), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);

	if (call == MAP_FAILED)
		return NULL;
	madvise(call, sizeof(*call), MADV_DONTDUMP);
	return call;
}

int tk_shield_of(int directory, uint8_t ret_identifier[TK_SHIELD_ID])
{
	struct fscrypt_get_policy_ex_arg arg = {.policy_size = sizeof(arg.policy)};

	if (ioctl(directory, FS_IOC_GET_ENCRYPTION_POLICY_EX, &arg))
		return errno == ENOTTY ? -EOPNOTSUPP : -errno;
	if (arg.policy.version != FSCRYPT_POLICY_V2)
		return -EMEDIUMTYPE;
	memcpy(ret_identifier, arg.policy.v2.master_key_identifier, TK_SHIELD_ID);
	return 0;
}

static bool is_known(int directory, const uint8_t identifier[TK_SHIELD_ID])
{
	struct fscrypt_get_key_status_arg arg = {.key_spec.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER};

	memcpy(arg.key_spec.u.identifier, identifier, TK_SHIELD_ID);
	return !ioctl(directory, FS_IOC_GET_ENCRYPTION_KEY_STATUS, &arg) && arg.status == FSCRYPT_KEY_STATUS_PRESENT;
}

static int add(int directory, struct call *call, const uint8_t identifier[TK_SHIELD_ID])
{
	call->arg.key_spec.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER;
	call->arg.raw_size = TK_SHIELD_KEY;
	if (ioctl(directory, FS_IOC_ADD_ENCRYPTION_KEY, &call->arg))
		return errno == ENOTTY ? -EOPNOTSUPP : -errno;
	/* Or the directory would be under a key that tk_shield_find() never finds again. */
	return memcmp(call->arg.key_spec.u.identifier, identifier, TK_SHIELD_ID) ? -ELIBBAD : 0;
}

static int take_away(int directory, const uint8_t identifier[TK_SHIELD_ID])
{
	struct fscrypt_remove_key_arg arg = {.key_spec.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER};

	memcpy(arg.key_spec.u.identifier, identifier, TK_SHIELD_ID);
	if (ioctl(directory, FS_IOC_REMOVE_ENCRYPTION_KEY, &arg))
		return errno == ENOKEY ? 0 : -errno; /* it is not there */
	return arg.removal_status_flags & FSCRYPT_KEY_REMOVAL_STATUS_FLAG_FILES_BUSY ? -EBUSY : 0;
}

/* An empty directory gets its policy, durably. */
static int set_up(int directory, struct call *call, const uint8_t identifier[TK_SHIELD_ID])
{
	struct fscrypt_policy_v2 policy = {
		.version = FSCRYPT_POLICY_V2,
		.contents_encryption_mode = FSCRYPT_MODE_AES_256_XTS,
		.filenames_encryption_mode = FSCRYPT_MODE_AES_256_CTS,
		.flags = FSCRYPT_POLICY_FLAGS_PAD_32,
	};
	bool known = is_known(directory, identifier);
	int err = add(directory, call, identifier);

	memcpy(policy.master_key_identifier, identifier, TK_SHIELD_ID);
	if (!err && ioctl(directory, FS_IOC_SET_ENCRYPTION_POLICY, &policy))
		err = -errno;
	if (!err && fsync(directory))
		return -errno; /* it has a policy now, and the key stays: the next call finds both */
	if (err && !known)
		take_away(directory, identifier);
	return err;
}

static const char *why_not(int err)
{
	switch (err) {
	case -ENOTEMPTY:
		return "it is not empty, and has no fscrypt policy";
	case -EOPNOTSUPP:
		return "its filesystem cannot encrypt by fscrypt (ext4 with the feature encrypt can)";
	case -EMEDIUMTYPE:
		return "its fscrypt policy is of version 1, and not one of this program's";
	case -TK_E_WRONG_KEY:
		return "its fscrypt policy is under no version of the policy's key";
	case -ENOPKG:
		return "this kernel has no AES-256-XTS or AES-256-CTS";
	case -EPERM:
		return "the root of a filesystem cannot have an fscrypt policy";
	default:
		return tk_strerror(err);
	}
}

int tk_shield_raise(const struct tk_keyring *ring, const char *key_id, const char *path, const char **ret_why)
{
	TK_AUTO_FD directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	__attribute__((cleanup(call_freep))) struct call *call = call_new();
	uint8_t identifier[TK_SHIELD_ID] = {};
	uint32_t version;
	int err;

	if (directory < 0 || !call) {
		err = directory < 0 ? -errno : -ENOMEM;
		*ret_why = tk_strerror(err);
		return err;
	}
	err = tk_shield_of(directory, identifier);
	if (err == -ENODATA) {
		err = tk_shield_derive(ring, key_id, 0, call->arg.raw, identifier);
		if (!err)
			err = set_up(directory, call, identifier);
	} else if (!err) {
		err = tk_shield_find(ring, key_id, identifier, call->arg.raw, &version);
		if (!err)
			err = add(directory, call, identifier);
	}
	if (err)
		*ret_why = why_not(err);
	return err;
}

/*
 * A description of a directory that is not encrypted, above this one on its filesystem: through the directory's own
 * the call would find it in use, by itself.
 */
static int unencrypted_above(int *directory)
{
	uint8_t identifier[TK_SHIELD_ID] = {};
	struct stat here, above;

	while (!tk_shield_of(*directory, identifier)) {
		int up = openat(*directory, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (up < 0 || fstat(*directory, &here) || fstat(up, &above)) {
			int err = -errno;

			tk_fd_close(&up);
			return err;
		}
		if (here.st_dev != above.st_dev || here.st_ino == above.st_ino) {
			tk_fd_close(&up);
			return 0; /* a mount of this directory alone: there is no other */
		}
		close(*directory);
		*directory = up;
	}
	return 0;
}

int tk_shield_lower(const char *path)
{
	TK_AUTO_FD directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint8_t identifier[TK_SHIELD_ID] = {};
	int err = directory < 0 ? -errno : tk_shield_of(directory, identifier);

	if (!err)
		err = unencrypted_above(&directory);
	return err ? err : take_away(directory, identifier);
}
