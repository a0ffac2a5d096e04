// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/tokenpin.c - the PIN of a token: where it is, who may read it, and which ones
 * were refused.
 */
#include "crypto/token.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* The path of the PIN's file; NULL with ret_why. */
const char *tk_pin_path(const char *source, char room[TK_PIN_PATH], const char **ret_why)
{
	const char *dir, *name;

	if (strncmp(source, "file:", 5) == 0)
		source += 5;
	if (strncmp(source, "//", 2) == 0) /* file:///path */
		source += 2;
	if (source[0] == '/')
		return source;
	name = source + strlen(TK_PIN_CREDENTIAL);
	if (strncmp(source, TK_PIN_CREDENTIAL, strlen(TK_PIN_CREDENTIAL)) != 0 || !*name ||
	    strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		*ret_why = "pin-source is neither file:/PATH nor credential:NAME";
		return NULL;
	}
	dir = secure_getenv("CREDENTIALS_DIRECTORY");
	if (!dir) {
		*ret_why = "the PIN is a credential, and the service was given none (LoadCredential= in its "
			   "unit)";
		return NULL;
	}
	if ((size_t)snprintf(room, TK_PIN_PATH, "%s/%s", dir, name) >= TK_PIN_PATH) {
		*ret_why = "the path of the PIN's file is too long";
		return NULL;
	}
	return room;
}

int tk_pin_read(const char *source, struct tk_pin *pin, const char **ret_why)
{
	__attribute__((cleanup(closep))) int fd = -1;
	const char *why = NULL, *path;
	char room[TK_PIN_PATH];
	struct stat st;
	size_t len = 0;

	path = tk_pin_path(source, room, &why);
	if (!path)
		return tk_key_refuse(-ENOENT, why, ret_why);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return tk_key_refuse(-errno, "the PIN's file cannot be opened", ret_why);
	if (!S_ISREG(st.st_mode))
		return tk_key_refuse(-EINVAL, "the PIN's file is no regular file", ret_why);
	if (!tk_owner_trusted(&st))
		return tk_key_refuse(-EACCES, "the PIN's file belongs to neither root nor the caller",
				     ret_why);
	if (st.st_mode & 077)
		return tk_key_refuse(
			-EACCES,
			"the PIN's file is open to its group or to others (mode must be 0600 or 0400)",
			ret_why);
	while (len < sizeof(pin->bytes)) {
		ssize_t n = read(fd, pin->bytes + len, sizeof(pin->bytes) - len);

		if (n < 0 && errno != EINTR)
			return tk_key_refuse(-errno, "the PIN's file cannot be read", ret_why);
		if (n == 0)
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	if (len == sizeof(pin->bytes))
		return tk_key_refuse(-EINVAL, "the PIN's file holds more than a PIN", ret_why);
	if (len && pin->bytes[len - 1] == '\n')
		len--;
	if (len == 0 || memchr(pin->bytes, '\n', len))
		return tk_key_refuse(-EINVAL, "the PIN's file must hold the PIN, in one line", ret_why);
	pin->len = len;
	return 0;
}

/* ----------------------------------------------------------------- refused */

/* PINs that a token has refused: it counts, and after a few it locks.  Never forgotten by this process. */
struct refused {
	struct refused *next;
	CK_TOKEN_INFO token;
	struct tk_pin *pin;
};
static pthread_mutex_t refused_lock = PTHREAD_MUTEX_INITIALIZER;
static struct refused *refused_pins;

static bool same_token(const CK_TOKEN_INFO *a, const CK_TOKEN_INFO *b)
{
	return memcmp(a->label, b->label, sizeof(a->label)) == 0 &&
	       memcmp(a->serialNumber, b->serialNumber, sizeof(a->serialNumber)) == 0;
}

bool tk_pin_was_refused(const CK_TOKEN_INFO *token, const struct tk_pin *pin)
{
	const struct refused *r;

	pthread_mutex_lock(&refused_lock);
	for (r = refused_pins; r; r = r->next)
		if (same_token(&r->token, token) && r->pin->len == pin->len &&
		    memcmp(r->pin->bytes, pin->bytes, pin->len) == 0)
			break;
	pthread_mutex_unlock(&refused_lock);
	return r;
}

void tk_pin_refused(const CK_TOKEN_INFO *token, const struct tk_pin *pin)
{
	struct refused *r = calloc(1, sizeof(*r));

	if (r)
		r->pin = tk_locked_alloc(sizeof(*r->pin));
	if (!r || !r->pin) {
		free(r);
		return; /* then the token's own count must do */
	}
	r->token = *token;
	*r->pin = *pin;
	pthread_mutex_lock(&refused_lock);
	r->next = refused_pins;
	refused_pins = r;
	pthread_mutex_unlock(&refused_lock);
}
