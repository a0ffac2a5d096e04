// SPDX-License-Identifier: GPL-2.0
/*
 * loader/keys/source.c - from --key-file to rings; source.h has the contract.
 */
#include "loader/keys/source.h"
#include "loader/util.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct tk_keysource_ring {
	struct tk_keysource_ring *next;
	char key_id[TK_KEY_ID_MAX + 1];
	uint32_t version;
	int code; /* what became of it: said once, remembered for every other file */
	struct tk_keyring *ring;
};

/* One version out of `all`; a single file stands for any version. */
static int pick(const struct tk_keysource *source, const struct tk_keyring *all, const char *key_id,
		uint32_t version, struct tk_keyring **ret_ring)
{
	_cleanup_keyring_ struct tk_keyring *one = NULL;
	struct {
		uint8_t kek[TK_KEK_SIZE];
	} secret;
	struct stat st;
	int err;

	if (stat(source->path, &st) < 0)
		return -errno;
	err = tk_keyring_new(&one);
	if (err < 0)
		return err;
	/* For an instant only; the ring's own memory is locked or refused. */
	(void)mlock(&secret, sizeof(secret));
	err = tk_keyring_get(all, key_id, S_ISDIR(st.st_mode) ? version : 0, secret.kek);
	if (err == 0)
		err = tk_keyring_add(one, key_id, version, secret.kek);
	tk_wipe(&secret, sizeof(secret));
	(void)munlock(&secret, sizeof(secret));
	if (err == 0)
		*ret_ring = TK_TAKE_PTR(one);
	return err;
}

struct tk_key_source tk_keysource_parse(const char *path)
{
	bool token = strncmp(path, "pkcs11:", strlen("pkcs11:")) == 0;

	return (struct tk_key_source){.provider = token ? TK_PROVIDER_PKCS11 : TK_PROVIDER_FILE,
				      .where = (char *)path};
}

int tk_keysource_read(const char *what, const char *path, const char *key_id, struct tk_keyring *ring)
{
	const struct tk_key_source source = tk_keysource_parse(path);
	const char *why = NULL;
	int err = tk_keyring_add_source(ring, key_id, &source, &why);

	if (err == 0)
		return 0;
	if (source.provider == TK_PROVIDER_PKCS11)
		return tk_fail(what, path, why, tk_advice(err));
	return tk_fail(what, path, why,
		       err == -EACCES	? "chown it to root and chmod it to 0600 (a directory: 0700)"
		       : err == -ENOENT ? "check the path; `takakrypt-bpf key generate` makes a key"
					: tk_advice(err));
}

static int read_ring(const struct tk_keysource *source, const char *key_id, uint32_t version,
		     struct tk_keyring **ret_ring)
{
	_cleanup_keyring_ struct tk_keyring *all = NULL;
	char text[64];
	int err = tk_keyring_new(&all);

	if (err < 0)
		return tk_fail_err("read the key", source->path, err);
	err = tk_keysource_read("read the key", source->path, key_id, all);
	if (err)
		return err;
	if (version == 0 || tk_keysource_parse(source->path).provider == TK_PROVIDER_PKCS11) {
		*ret_ring = TK_TAKE_PTR(all);
		return 0;
	}
	err = pick(source, all, key_id, version, ret_ring);
	if (err == -TK_E_NO_KEY) {
		snprintf(text, sizeof(text), "there is no version %" PRIu32 " in it (no_key)", version);
		return tk_fail("read the key", source->path, text, "put that version there");
	}
	return err < 0 ? tk_fail_err("read the key", source->path, err) : 0;
}

int tk_keysource_ring(struct tk_keysource *source, const char *key_id, uint32_t version,
		      const struct tk_keyring **ret_ring)
{
	struct tk_keysource_ring *r;
	int code;

	pthread_mutex_lock(&source->lock);
	for (r = source->rings; r; r = r->next)
		if (r->version == version && strcmp(r->key_id, key_id) == 0)
			break;
	if (!r) {
		r = calloc(1, sizeof(*r));
		if (!r) {
			pthread_mutex_unlock(&source->lock);
			return tk_fail_err("read the key", source->path, -ENOMEM);
		}
		snprintf(r->key_id, sizeof(r->key_id), "%s", key_id);
		r->version = version;
		r->code = read_ring(source, key_id, version, &r->ring);
		r->next = source->rings;
		source->rings = r;
	}
	code = r->code;
	if (code == 0)
		*ret_ring = r->ring;
	pthread_mutex_unlock(&source->lock);
	return code;
}

void tk_keysource_clear(struct tk_keysource *source)
{
	while (source->rings) {
		struct tk_keysource_ring *next = source->rings->next;

		tk_keyring_free(source->rings->ring);
		free(source->rings);
		source->rings = next;
	}
}
