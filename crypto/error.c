// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/error.c - the words for what can go wrong: the manifest's names and
 * one line for people.
 */
#include "crypto/internal.h"

#include <errno.h>
#include <string.h>

#define AT(error) ((error)-TK_E_FIRST)

static const struct {
	const char *name; /* as in tests/vectors/manifest.json */
	const char *text;
} errors[] = {
	[AT(TK_E_TRUNCATED)] = {"truncated", "the file is shorter than a TAKA header"},
	[AT(TK_E_MAGIC)] = {"magic", "the file does not begin with TAKA: it is not encrypted"},
	[AT(TK_E_VERSION)] = {"version", "the header names a format version other than 1 and 2"},
	[AT(TK_E_ALGORITHM)] = {"algorithm", "the header names an unknown algorithm"},
	[AT(TK_E_KEY_ID_LEN)] = {"key_id_len", "the length of the header's key id is not 1 to 255"},
	[AT(TK_E_KEY_ID)] = {"key_id", "the header's key id holds a forbidden byte"},
	[AT(TK_E_FLAGS)] = {"flags", "the header's flags are not zero"},
	[AT(TK_E_RESERVED)] = {"reserved", "reserved bytes of the header are not zero"},
	[AT(TK_E_CHUNK_LOG2)] = {"chunk_log2", "the header's chunk size is not 4 KiB to 16 MiB"},
	[AT(TK_E_WRAP)] = {"wrap", "the header's file key is wrapped in an unknown way"},
	[AT(TK_E_KEY_VERSION)] = {"key_version", "the header's key version is zero"},
	[AT(TK_E_PADDING)] = {"padding", "the header's padding is not zero"},
	[AT(TK_E_LENGTH)] = {"length", "the file's length is not the one its header implies"},
	[AT(TK_E_NO_KEY)] = {"no_key", "the key, or this version of it, is not available"},
	[AT(TK_E_WRONG_KEY)] = {"wrong_key",
				"the key does not open the file key: wrong key or damaged header"},
	[AT(TK_E_AUTH)] = {"auth", "the content is not authentic: damaged, altered or the wrong key"},
};

_Static_assert(sizeof(errors) / sizeof(errors[0]) == TK_E_LAST - TK_E_FIRST + 1, "a word for every error");

const char *tk_error_name(int err)
{
	if (err > -TK_E_FIRST || err < -TK_E_LAST)
		return NULL;
	return errors[AT(-err)].name;
}

const char *tk_strerror(int err)
{
	if (tk_error_name(err))
		return errors[AT(-err)].text;
	switch (err) {
	case -ECANCELED:
		return "stopped on request";
	case -ELIBBAD:
		return "the cryptographic library (OpenSSL) failed";
	case -EOPNOTSUPP:
		return "not supported: by this system's OpenSSL, with a key in a token (format 1), or for a part of a "
		       "file (format 1: write the file anew in format 2)";
	case -ESTALE:
		return "somebody else has changed the file meanwhile";
	case -ENOMEDIUM:
		return "the token with the key is not there";
	case -EKEYREJECTED:
		return "the token with the key refuses the PIN";
	case -ENOKEY:
		return "the key is not in its token";
	case -EREMOTEIO:
		return "the token with the key failed";
	case -EOVERFLOW:
		return "too large for this format version or for the file's offsets";
	}
	if (err > 0 || err < -4095)
		return "unknown error";
	/* glibc hands out constant strings for every known errno. */
	return strerror(-err);
}

int tk_key_refuse(int err, const char *why, const char **ret_why)
{
	if (ret_why)
		*ret_why = why;
	return err;
}
