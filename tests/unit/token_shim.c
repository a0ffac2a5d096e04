// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/token_shim.c - a PKCS#11 module around SoftHSM that can be told to be
 * taken out, to reset, to count PINs, by files in the directory $TOKEN_SHIM:
 *	removed		while it is there, there is no token
 *	reset		sessions are gone until a new one is opened
 *	final, locked	what the token says of its PIN
 *	logins		gets a byte for each C_Login
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <p11-kit/pkcs11.h>

#define SOFTHSM "/usr/lib/softhsm/libsofthsm2.so"

static CK_FUNCTION_LIST shim, *hsm;

static const char *at(const char *name)
{
	static __thread char path[300];

	snprintf(path, sizeof(path), "%s/%s", getenv("TOKEN_SHIM"), name);
	return path;
}

static int is(const char *name)
{
	return access(at(name), F_OK) == 0;
}

static CK_RV gone(void)
{
	return is("removed") ? CKR_DEVICE_REMOVED : is("reset") ? CKR_SESSION_HANDLE_INVALID : CKR_OK;
}

static CK_RV slot_list(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *n)
{
	if (!is("removed"))
		return hsm->C_GetSlotList(present, slots, n);
	*n = 0;
	return CKR_OK;
}

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	CK_RV rv = is("removed") ? CKR_TOKEN_NOT_PRESENT : hsm->C_GetTokenInfo(slot, info);

	if (rv == CKR_OK && is("final"))
		info->flags |= CKF_USER_PIN_FINAL_TRY;
	if (rv == CKR_OK && is("locked"))
		info->flags |= CKF_USER_PIN_LOCKED;
	return rv;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
			  CK_SESSION_HANDLE *ret)
{
	if (is("removed"))
		return CKR_TOKEN_NOT_PRESENT;
	unlink(at("reset"));
	return hsm->C_OpenSession(slot, flags, application, notify, ret);
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG len)
{
	int fd = open(at("logins"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, "x", 1) != 1)
		abort();
	close(fd);
	return hsm->C_Login(session, user, pin, len);
}

static CK_RV create(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG n, CK_OBJECT_HANDLE *ret)
{
	return gone() ? gone() : hsm->C_CreateObject(session, template, n, ret);
}

static CK_RV unwrap(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
		    CK_BYTE *wrapped, CK_ULONG len, CK_ATTRIBUTE *template, CK_ULONG n, CK_OBJECT_HANDLE *ret)
{
	return gone() ? gone() : hsm->C_UnwrapKey(session, mechanism, key, wrapped, len, template, n, ret);
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **ret)
{
	void *library = dlopen(SOFTHSM, RTLD_NOW | RTLD_LOCAL);
	CK_RV (*get)(CK_FUNCTION_LIST **) = library ? dlsym(library, "C_GetFunctionList") : NULL;

	if (!get || get(&hsm) != CKR_OK)
		return CKR_GENERAL_ERROR;
	shim = *hsm;
	shim.C_GetFunctionList = C_GetFunctionList;
	shim.C_GetSlotList = slot_list;
	shim.C_GetTokenInfo = token_info;
	shim.C_OpenSession = open_session;
	shim.C_Login = login;
	shim.C_CreateObject = create;
	shim.C_UnwrapKey = unwrap;
	*ret = &shim;
	return CKR_OK;
}
