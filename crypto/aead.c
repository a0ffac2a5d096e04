// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/aead.c - the primitives, by OpenSSL 3; its only includer.  It must not
 * know the format: no header, no record, no key id appears here.
 */
#include "crypto/aead.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/random.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

struct tk_aead {
	EVP_CIPHER_CTX *ctx;
	bool seal;
};

/*
 * Fetched once: a fetch walks the providers under a lock.  They are never
 * freed, because OpenSSL's own exit handler may run before any of ours.
 */
static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static EVP_CIPHER *cipher_gcm, *cipher_chacha, *cipher_wrap;
static EVP_KDF *kdf_hkdf;

static void fetch(void)
{
	cipher_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	cipher_chacha = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
	cipher_wrap = EVP_CIPHER_fetch(NULL, "AES-256-WRAP", NULL);
	kdf_hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	ERR_clear_error();
}

/* Nobody reads OpenSSL's error queue: it must not keep what it says about us. */
static int failed(int err)
{
	ERR_clear_error();
	return err;
}

static void ctx_freep(EVP_CIPHER_CTX **ctx)
{
	EVP_CIPHER_CTX_free(*ctx);
}

static void kdf_freep(EVP_KDF_CTX **ctx)
{
	EVP_KDF_CTX_free(*ctx);
}

int tk_aead_new(enum tk_algorithm algorithm, const uint8_t key[32], bool seal, struct tk_aead **ret_aead)
{
	__attribute__((cleanup(tk_aead_freep))) struct tk_aead *aead = NULL;
	EVP_CIPHER *cipher;

	pthread_once(&fetch_once, fetch);
	assert(algorithm == TK_AES_256_GCM || algorithm == TK_CHACHA20_POLY1305);
	cipher = algorithm == TK_AES_256_GCM ? cipher_gcm : cipher_chacha;
	if (!cipher)
		return -EOPNOTSUPP;
	aead = calloc(1, sizeof(*aead));
	if (!aead)
		return -ENOMEM;
	aead->seal = seal;
	aead->ctx = EVP_CIPHER_CTX_new();
	if (!aead->ctx)
		return failed(-ENOMEM);
	if (EVP_CipherInit_ex2(aead->ctx, cipher, key, NULL, seal, NULL) != 1)
		return failed(-ELIBBAD);
	*ret_aead = aead;
	aead = NULL;
	return 0;
}

void tk_aead_free(struct tk_aead *aead)
{
	if (!aead)
		return;
	EVP_CIPHER_CTX_free(aead->ctx); /* cleanses the key schedule */
	free(aead);
}

uint64_t tk_aead_message_max(enum tk_algorithm algorithm)
{
	if (algorithm == TK_AES_256_GCM)
		return (UINT64_C(1) << 36) - 32; /* 2^39 - 256 bits */
	return ((UINT64_C(1) << 32) - 1) * 64;	 /* the block counter starts at 1 */
}

int tk_aead_begin(struct tk_aead *aead, const uint8_t nonce[TK_NONCE_SIZE], const void *aad, size_t aad_len)
{
	int len;

	assert(aad_len <= INT_MAX);
	/* With neither cipher nor key the context keeps its key schedule. */
	if (EVP_CipherInit_ex2(aead->ctx, NULL, NULL, nonce, aead->seal, NULL) != 1)
		return failed(-ELIBBAD);
	if (EVP_CipherUpdate(aead->ctx, NULL, &len, aad, (int)aad_len) != 1)
		return failed(-ELIBBAD);
	return 0;
}

int tk_aead_update(struct tk_aead *aead, const uint8_t *in, size_t len, uint8_t *out)
{
	int n;

	assert(len <= INT_MAX);
	if (len == 0)
		return 0;
	if (EVP_CipherUpdate(aead->ctx, out, &n, in, (int)len) != 1 || n != (int)len)
		return failed(-ELIBBAD);
	return 0;
}

int tk_aead_finish_seal(struct tk_aead *aead, uint8_t ret_tag[TK_TAG_SIZE])
{
	uint8_t none[EVP_MAX_BLOCK_LENGTH], tag[TK_TAG_SIZE];
	int len;

	assert(aead->seal);
	if (EVP_CipherFinal_ex(aead->ctx, none, &len) != 1 ||
	    EVP_CIPHER_CTX_ctrl(aead->ctx, EVP_CTRL_AEAD_GET_TAG, sizeof(tag), tag) != 1)
		return failed(-ELIBBAD);
	memcpy(ret_tag, tag, sizeof(tag));
	return 0;
}

int tk_aead_finish_open(struct tk_aead *aead, const uint8_t tag[TK_TAG_SIZE])
{
	uint8_t none[EVP_MAX_BLOCK_LENGTH], copy[TK_TAG_SIZE];
	int len;

	assert(!aead->seal);
	memcpy(copy, tag, sizeof(copy));
	if (EVP_CIPHER_CTX_ctrl(aead->ctx, EVP_CTRL_AEAD_SET_TAG, sizeof(copy), copy) != 1)
		return failed(-ELIBBAD);
	/* OpenSSL compares in constant time. */
	if (EVP_CipherFinal_ex(aead->ctx, none, &len) != 1)
		return failed(-TK_E_AUTH);
	return 0;
}

/* info with its length, because it may hold zeros; without salt. */
static int hkdf(int mode, const char *digest, const uint8_t *key, size_t key_len, const char *info,
		size_t info_len, uint8_t *ret, size_t len)
{
	__attribute__((cleanup(kdf_freep))) EVP_KDF_CTX *ctx = NULL;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)digest, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)key, key_len),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)info, info_len),
		OSSL_PARAM_construct_end(),
	};

	pthread_once(&fetch_once, fetch);
	if (!kdf_hkdf)
		return -EOPNOTSUPP;
	ctx = EVP_KDF_CTX_new(kdf_hkdf);
	if (!ctx)
		return failed(-ENOMEM);
	return EVP_KDF_derive(ctx, ret, len, params) == 1 ? 0 : failed(-ELIBBAD);
}

int tk_hkdf_expand(const uint8_t key[32], const char *label, uint8_t ret_key[32])
{
	return hkdf(EVP_KDF_HKDF_MODE_EXPAND_ONLY, "SHA256", key, 32, label, strlen(label), ret_key, 32);
}

int tk_fscrypt_identifier(const uint8_t key[TK_SHIELD_KEY], uint8_t ret_identifier[TK_SHIELD_ID])
{
	static const char info[] = "fscrypt\0\1"; /* 8 bytes and the context, without another terminator */
	uint8_t identifier[TK_SHIELD_ID];
	int r = hkdf(EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, "SHA512", key, TK_SHIELD_KEY, info,
		     sizeof(info) - 1, identifier, sizeof(identifier));

	if (r == 0)
		memcpy(ret_identifier, identifier, sizeof(identifier));
	return r;
}

static int wrap_new(const uint8_t kek[TK_KEK_SIZE], bool wrap, EVP_CIPHER_CTX **ret_ctx)
{
	EVP_CIPHER_CTX *ctx;

	pthread_once(&fetch_once, fetch);
	if (!cipher_wrap)
		return -EOPNOTSUPP;
	ctx = EVP_CIPHER_CTX_new();
	if (!ctx)
		return failed(-ENOMEM);
	EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
	if (EVP_CipherInit_ex2(ctx, cipher_wrap, kek, NULL, wrap, NULL) != 1) {
		EVP_CIPHER_CTX_free(ctx);
		return failed(-ELIBBAD);
	}
	*ret_ctx = ctx;
	return 0;
}

int tk_key_wrap(const uint8_t kek[TK_KEK_SIZE], const uint8_t key[32], uint8_t ret_wrapped[TK_WRAPPED_SIZE])
{
	__attribute__((cleanup(ctx_freep))) EVP_CIPHER_CTX *ctx = NULL;
	uint8_t wrapped[TK_WRAPPED_SIZE + 8];
	int len, r;

	r = wrap_new(kek, true, &ctx);
	if (r < 0)
		return r;
	if (EVP_CipherUpdate(ctx, wrapped, &len, key, 32) != 1 || len != TK_WRAPPED_SIZE)
		return failed(-ELIBBAD);
	memcpy(ret_wrapped, wrapped, TK_WRAPPED_SIZE);
	return 0;
}

int tk_key_unwrap(const uint8_t kek[TK_KEK_SIZE], const uint8_t wrapped[TK_WRAPPED_SIZE], uint8_t ret_key[32])
{
	__attribute__((cleanup(ctx_freep))) EVP_CIPHER_CTX *ctx = NULL;
	uint8_t key[TK_WRAPPED_SIZE + 8]; /* OpenSSL wants room for the ciphertext */
	int len, r;

	r = wrap_new(kek, false, &ctx);
	if (r < 0)
		return r;
	if (EVP_CipherUpdate(ctx, key, &len, wrapped, TK_WRAPPED_SIZE) != 1 || len != 32)
		r = failed(-TK_E_WRONG_KEY);
	else
		memcpy(ret_key, key, 32);
	tk_wipe(key, sizeof(key));
	return r;
}

void tk_wipe(void *p, size_t len)
{
	if (p)
		explicit_bzero(p, len);
}

/*
 * Straight from the kernel, which reseeds when a virtual machine is cloned or
 * resumed; a generator in user space would hand both copies the same nonces.
 */
int tk_random(void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* ---------------------------------------------------------------- digest */

int tk_sha256_fd(int fd, uint8_t ret[32])
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t piece[65536], digest[32];
	off_t offset = 0;
	ssize_t n = 1;
	int r = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) ? 0 : -ENOMEM;

	while (!r && n) {
		n = pread(fd, piece, sizeof(piece), offset);
		if (n < 0 && errno != EINTR)
			r = -errno;
		else if (n > 0 && !EVP_DigestUpdate(context, piece, (size_t)n))
			r = -ELIBBAD;
		if (n > 0)
			offset += n;
	}
	if (!r && !EVP_DigestFinal_ex(context, digest, NULL))
		r = -ELIBBAD;
	EVP_MD_CTX_free(context);
	if (!r)
		memcpy(ret, digest, sizeof(digest));
	return r;
}
