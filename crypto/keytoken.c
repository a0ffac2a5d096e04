// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/keytoken.c - policy keys in a PKCS#11 token (PKCS #11 v2.40): the token wraps
 * and unwraps file keys with CKM_AES_KEY_WRAP, which is FORMAT.md's wrap; its key
 * never leaves it.
 *
 * The versions of a key are the token's objects that the URI describes, each by its
 * CKA_ID: a big-endian number of at most four bytes; one without is version 1.
 */
#include "crypto/token.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OBJECTS_MAX 256 /* versions of one key in a token */

struct object {
	uint32_t version;
	CK_OBJECT_HANDLE handle;
};

struct token {
	pthread_mutex_t lock; /* a session does one thing at a time */
	P11KitUri *uri;
	CK_FUNCTION_LIST *module;
	bool initialized, open;
	CK_SESSION_HANDLE session; /* while open */
	struct object objects[OBJECTS_MAX];
	size_t n;
};

/* ---------------------------------------------------------------- logging in */

static void pin_freep(struct tk_pin **pin)
{
	tk_locked_free(*pin, sizeof(**pin));
}

static int log_in(struct token *t, const CK_TOKEN_INFO *info, const char **ret_why)
{
	__attribute__((cleanup(pin_freep))) struct tk_pin *pin = tk_locked_alloc(sizeof(*pin));
	CK_RV rv;
	int r;

	if (!pin)
		return tk_key_refuse(-errno, "no memory can be locked for the PIN (limit RLIMIT_MEMLOCK)",
				     ret_why);
	r = tk_pin_read(p11_kit_uri_get_pin_source(t->uri), pin, ret_why);
	if (r < 0)
		return r;
	if (tk_pin_was_refused(info, pin))
		return tk_key_refuse(
			-EKEYREJECTED,
			"the token refused the PIN before, and is not asked again with the same one",
			ret_why);
	if (info->flags & CKF_USER_PIN_LOCKED)
		return tk_key_refuse(-EKEYREJECTED,
				     "the token has locked its PIN: its security officer must unlock it",
				     ret_why);
	/* The last one is for people, who can see what they type. */
	if (info->flags & CKF_USER_PIN_FINAL_TRY)
		return tk_key_refuse(-EKEYREJECTED,
				     "the token would lock after one more wrong PIN: log in once by hand",
				     ret_why);
	rv = t->module->C_Login(t->session, CKU_USER, pin->bytes, pin->len);
	switch (rv) {
	case CKR_OK:
	case CKR_USER_ALREADY_LOGGED_IN: /* with another key of that token */
		return 0;
	case CKR_PIN_INCORRECT:
	case CKR_PIN_INVALID:
	case CKR_PIN_LEN_RANGE:
		tk_pin_refused(info, pin);
		return tk_key_refuse(-EKEYREJECTED, "the token refused the PIN; it is not tried again",
				     ret_why);
	case CKR_PIN_LOCKED:
	case CKR_PIN_EXPIRED:
		return tk_key_refuse(-EKEYREJECTED, "the token's PIN is locked or has expired", ret_why);
	}
	return tk_key_refuse(-EREMOTEIO, "the token failed to log in", ret_why);
}

/* --------------------------------------------------------------- connecting */

static void disconnect(struct token *t)
{
	if (t->open)
		t->module->C_CloseSession(t->session);
	t->open = false;
	t->n = 0;
}

/* The one token that the URI describes. */
static int find_slot(struct token *t, CK_SLOT_ID *ret_slot, CK_TOKEN_INFO *ret_info, const char **ret_why)
{
	CK_SLOT_ID wanted = p11_kit_uri_get_slot_id(t->uri), slots[64];
	CK_ULONG n = sizeof(slots) / sizeof(slots[0]);
	size_t found = 0;

	if (t->module->C_GetSlotList(CK_TRUE, slots, &n) != CKR_OK)
		return tk_key_refuse(-EREMOTEIO, "the PKCS#11 module cannot list its tokens", ret_why);
	for (CK_ULONG i = 0; i < n; i++) {
		CK_TOKEN_INFO info;

		if ((wanted != (CK_SLOT_ID)-1 && wanted != slots[i]) ||
		    t->module->C_GetTokenInfo(slots[i], &info) != CKR_OK ||
		    !(info.flags & CKF_TOKEN_INITIALIZED) || !p11_kit_uri_match_token_info(t->uri, &info))
			continue;
		*ret_slot = slots[i];
		*ret_info = info;
		found++;
	}
	if (found == 0)
		return tk_key_refuse(-ENOMEDIUM,
				     "the token is not there: it was removed, or the URI names another",
				     ret_why);
	if (found > 1)
		return tk_key_refuse(-ENOTUNIQ, "more than one token is like that: name its serial", ret_why);
	return 0;
}

static bool is_true(struct token *t, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type)
{
	CK_BBOOL value = CK_FALSE;
	CK_ATTRIBUTE attribute = {type, &value, sizeof(value)};

	return t->module->C_GetAttributeValue(t->session, object, &attribute, 1) == CKR_OK &&
	       value == CK_TRUE;
}

static CK_ULONG number(struct token *t, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type)
{
	CK_ULONG value = CK_UNAVAILABLE_INFORMATION;
	CK_ATTRIBUTE attribute = {type, &value, sizeof(value)};

	return t->module->C_GetAttributeValue(t->session, object, &attribute, 1) == CKR_OK
		       ? value
		       : CK_UNAVAILABLE_INFORMATION;
}

/* 0: its CKA_ID is no version. */
static uint32_t version_of(struct token *t, CK_OBJECT_HANDLE object)
{
	uint8_t id[4];
	CK_ATTRIBUTE attribute = {CKA_ID, id, sizeof(id)};
	uint32_t version = 0;
	CK_RV rv = t->module->C_GetAttributeValue(t->session, object, &attribute, 1);

	if (rv != CKR_OK || attribute.ulValueLen > sizeof(id))
		return 0;
	if (attribute.ulValueLen == 0)
		return 1;
	for (CK_ULONG i = 0; i < attribute.ulValueLen; i++)
		version = version << 8 | id[i];
	return version;
}

static int add_object(struct token *t, CK_OBJECT_HANDLE handle, const char **ret_why)
{
	uint32_t version = version_of(t, handle);

	if (number(t, handle, CKA_KEY_TYPE) != CKK_AES || number(t, handle, CKA_VALUE_LEN) != TK_KEK_SIZE)
		return tk_key_refuse(-EINVAL, "the key in the token is no AES key of 32 bytes", ret_why);
	if (!is_true(t, handle, CKA_WRAP) || !is_true(t, handle, CKA_UNWRAP))
		return tk_key_refuse(-EACCES,
				     "the key in the token may not wrap and unwrap (CKA_WRAP, CKA_UNWRAP)",
				     ret_why);
	if (!is_true(t, handle, CKA_SENSITIVE) || is_true(t, handle, CKA_EXTRACTABLE))
		return tk_key_refuse(
			-EACCES,
			"the key could be taken out of the token (not CKA_SENSITIVE, or CKA_EXTRACTABLE)",
			ret_why);
	if (version == 0)
		return tk_key_refuse(
			-EINVAL,
			"the id of the key in the token is no version (1 to 4 bytes, not zero, or none)",
			ret_why);
	for (size_t i = 0; i < t->n; i++)
		if (t->objects[i].version == version)
			return tk_key_refuse(
				-ENOTUNIQ, "two keys in the token are of the same version (CKA_ID)", ret_why);
	if (t->n == OBJECTS_MAX)
		return tk_key_refuse(-E2BIG, "more keys in the token are like that than one key has versions",
				     ret_why);
	t->objects[t->n++] = (struct object){.version = version, .handle = handle};
	return 0;
}

static int find_objects(struct token *t, const char **ret_why)
{
	static const CK_ATTRIBUTE_TYPE types[] = {CKA_LABEL, CKA_ID};
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE wanted[4] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_TOKEN, &yes, sizeof(yes)}};
	CK_OBJECT_HANDLE handles[OBJECTS_MAX + 1];
	CK_ULONG n = 2, found = 0;
	CK_RV rv;
	int r = 0;

	for (size_t i = 0; i < 2; i++) {
		const CK_ATTRIBUTE *attribute = p11_kit_uri_get_attribute(t->uri, types[i]);

		if (attribute)
			wanted[n++] = *attribute;
	}
	rv = t->module->C_FindObjectsInit(t->session, wanted, n);
	if (rv == CKR_OK) {
		rv = t->module->C_FindObjects(t->session, handles, OBJECTS_MAX + 1, &found);
		t->module->C_FindObjectsFinal(t->session);
	}
	if (rv != CKR_OK)
		return tk_key_refuse(-EREMOTEIO, "the token cannot be searched for the key", ret_why);
	if (found == 0)
		return tk_key_refuse(-ENOKEY, "there is no such key in the token", ret_why);
	for (CK_ULONG i = 0; r == 0 && i < found; i++)
		r = add_object(t, handles[i], ret_why);
	return r;
}

static int connect_token(struct token *t, const char **ret_why)
{
	CK_TOKEN_INFO info = {};
	CK_SLOT_ID slot = 0;
	int r = find_slot(t, &slot, &info, ret_why);

	if (r < 0)
		return r;
	if (t->module->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &t->session) != CKR_OK)
		return tk_key_refuse(-EREMOTEIO, "the token opens no session", ret_why);
	t->open = true;
	r = log_in(t, &info, ret_why);
	if (r == 0)
		r = find_objects(t, ret_why);
	if (r < 0)
		disconnect(t);
	return r;
}

/* ------------------------------------------------------ wrapping, unwrapping */

/* A file key as an object of the session, for as long as the call. */
static CK_RV wrap_once(struct token *t, CK_OBJECT_HANDLE kek, const uint8_t key[32], uint8_t wrapped[40])
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	CK_ATTRIBUTE template[] = {
		{CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)},
		{CKA_TOKEN, &no, sizeof(no)},	    {CKA_PRIVATE, &yes, sizeof(yes)},
		{CKA_SENSITIVE, &yes, sizeof(yes)}, {CKA_EXTRACTABLE, &yes, sizeof(yes)},
		{CKA_VALUE, (void *)key, 32},
	};
	CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP, NULL, 0};
	CK_OBJECT_HANDLE object;
	CK_ULONG len = 40;
	CK_RV rv = t->module->C_CreateObject(t->session, template, sizeof(template) / sizeof(template[0]),
					     &object);

	if (rv != CKR_OK)
		return rv;
	rv = t->module->C_WrapKey(t->session, &mechanism, kek, object, wrapped, &len);
	t->module->C_DestroyObject(t->session, object);
	return rv == CKR_OK && len != 40 ? CKR_FUNCTION_FAILED : rv;
}

static CK_RV unwrap_once(struct token *t, CK_OBJECT_HANDLE kek, const uint8_t wrapped[40], uint8_t key[32])
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	CK_ATTRIBUTE template[] = {
		{CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)},
		{CKA_TOKEN, &no, sizeof(no)},	    {CKA_PRIVATE, &yes, sizeof(yes)},
		{CKA_SENSITIVE, &no, sizeof(no)},   {CKA_EXTRACTABLE, &yes, sizeof(yes)},
	};
	CK_ATTRIBUTE value = {CKA_VALUE, key, 32};
	CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP, NULL, 0};
	CK_OBJECT_HANDLE object;
	CK_RV rv = t->module->C_UnwrapKey(t->session, &mechanism, kek, (CK_BYTE_PTR)wrapped, 40, template,
					  sizeof(template) / sizeof(template[0]), &object);

	if (rv != CKR_OK)
		return rv;
	rv = t->module->C_GetAttributeValue(t->session, object, &value, 1);
	t->module->C_DestroyObject(t->session, object);
	return rv == CKR_OK && value.ulValueLen != 32 ? CKR_FUNCTION_FAILED : rv;
}

/* A file key of its own there and back: is it the token that fails, or what it was given? */
static bool works(struct token *t, CK_OBJECT_HANDLE kek)
{
	struct tk_file_keys *keys = tk_locked_alloc(sizeof(*keys));
	uint8_t wrapped[40];
	bool good = keys && tk_random(keys->dek, sizeof(keys->dek)) == 0 &&
		    wrap_once(t, kek, keys->dek, wrapped) == CKR_OK &&
		    unwrap_once(t, kek, wrapped, keys->body) == CKR_OK &&
		    memcmp(keys->dek, keys->body, sizeof(keys->dek)) == 0;

	tk_locked_free(keys, sizeof(*keys));
	return good;
}

static const CK_OBJECT_HANDLE *object_of(const struct token *t, uint32_t version)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->objects[i].version == version)
			return &t->objects[i].handle;
	return NULL;
}

/* Once more after a new session: the token may have been taken out and put back, or its reader reset. */
static int work(struct token *t, uint32_t version, bool wrap, const uint8_t *in, uint8_t *out,
		const char **ret_why)
{
	for (int tries = 0; tries < 2; tries++) {
		const CK_OBJECT_HANDLE *kek;
		CK_RV rv;
		int r = t->open ? 0 : connect_token(t, ret_why);

		if (r < 0)
			return r;
		kek = object_of(t, version);
		if (!kek)
			return tk_key_refuse(-ENOKEY, "that version of the key is not in the token any more",
					     ret_why);
		rv = wrap ? wrap_once(t, *kek, in, out) : unwrap_once(t, *kek, in, out);
		if (rv == CKR_OK)
			return 0;
		/* Tokens differ in what they call a wrapped key that is not authentic. */
		if (!wrap && works(t, *kek))
			return -TK_E_WRONG_KEY;
		disconnect(t);
	}
	return tk_key_refuse(-EREMOTEIO,
			     wrap ? "the token failed to wrap a file key"
				  : "the token failed to unwrap a file key",
			     ret_why);
}

static int token_wrap(void *owner, uint32_t version, const uint8_t key[32], uint8_t ret_wrapped[40],
		      const char **ret_why)
{
	struct token *t = owner;
	uint8_t wrapped[40];
	int r;

	pthread_mutex_lock(&t->lock);
	r = work(t, version, true, key, wrapped, ret_why);
	pthread_mutex_unlock(&t->lock);
	if (r == 0)
		memcpy(ret_wrapped, wrapped, sizeof(wrapped));
	return r;
}

/* ret_key is locked memory as the caller has it: nothing of it may be elsewhere. */
static int token_unwrap(void *owner, uint32_t version, const uint8_t wrapped[40], uint8_t ret_key[32],
			const char **ret_why)
{
	struct token *t = owner;
	int r;

	pthread_mutex_lock(&t->lock);
	r = work(t, version, false, wrapped, ret_key, ret_why);
	pthread_mutex_unlock(&t->lock);
	return r;
}

static void token_free(void *owner)
{
	struct token *t = owner;

	if (!t)
		return;
	disconnect(t);
	if (t->initialized)
		p11_kit_module_finalize(t->module);
	if (t->module)
		p11_kit_module_release(t->module);
	p11_kit_uri_free(t->uri);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static void token_freep(struct token **t)
{
	token_free(*t);
}

static const struct tk_key_ops token_ops = {.wrap = token_wrap, .unwrap = token_unwrap, .free = token_free};

/* ------------------------------------------------------------------ whole */

/* Its code runs in this process, with every key in reach. */
static int load_module(struct token *t, const char **ret_why)
{
	const char *path = p11_kit_uri_get_module_path(t->uri);
	int fd, r = tk_trusted_open(path, &fd);

	if (r == -EPERM)
		return tk_key_refuse(
			-EACCES,
			"the PKCS#11 module, or a directory or link on the way to it, can be changed by "
			"others than root and the caller",
			ret_why);
	if (r < 0)
		return tk_key_refuse(r, "the PKCS#11 module (module-path) cannot be found", ret_why);
	close(fd);
	t->module = p11_kit_module_load(path, 0);
	if (!t->module)
		return tk_key_refuse(
			-ELIBACC, "the PKCS#11 module (module-path) cannot be loaded: it is none", ret_why);
	if (p11_kit_module_initialize(t->module) != CKR_OK)
		return tk_key_refuse(-EREMOTEIO, "the PKCS#11 module does not start", ret_why);
	t->initialized = true;
	return 0;
}

static int open_token(const char *uri, struct token **ret_token, const char **ret_why)
{
	__attribute__((cleanup(token_freep))) struct token *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return tk_key_refuse(-ENOMEM, tk_strerror(-ENOMEM), ret_why);
	pthread_mutex_init(&t->lock, NULL);
	r = tk_token_uri_parse(uri, &t->uri, ret_why);
	if (r == 0)
		r = load_module(t, ret_why);
	if (r == 0)
		r = connect_token(t, ret_why);
	if (r < 0)
		return r;
	*ret_token = t;
	t = NULL;
	return 0;
}

int tk_keyring_add_token(struct tk_keyring *ring, const char *key_id, const char *uri, const char **ret_why)
{
	static const uint8_t no_bytes[TK_KEK_SIZE];
	__attribute__((cleanup(tk_key_freep))) struct tk_key *key = NULL;
	struct token *t = NULL;
	int r = tk_key_new(key_id, &key);

	if (r < 0)
		return tk_key_refuse(r, "the key id is not 1 to 255 printable characters without '/'",
				     ret_why);
	r = open_token(uri, &t, ret_why);
	if (r < 0)
		return r;
	tk_key_set_ops(key, &token_ops, t);
	for (size_t i = 0; r == 0 && i < t->n; i++) {
		r = tk_key_put(key, t->objects[i].version, no_bytes);
		/* A token that cannot do it, is found out now and not with the first file. */
		if (r == 0 && !works(t, t->objects[i].handle))
			return tk_key_refuse(
				-EOPNOTSUPP,
				"the token does not wrap and unwrap with the key (CKM_AES_KEY_WRAP)",
				ret_why);
	}
	if (r < 0)
		return tk_key_refuse(r, "the key does not fit into locked memory", ret_why);
	tk_keyring_replace(ring, key);
	key = NULL;
	return 0;
}
