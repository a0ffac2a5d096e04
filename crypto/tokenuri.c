// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/tokenuri.c - which key of which token, by a PKCS#11 URI (RFC 7512): what it
 * must say and must not.
 */
#include "crypto/token.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void uri_freep(P11KitUri **uri)
{
	p11_kit_uri_free(*uri);
}

static bool names_token(P11KitUri *uri)
{
	const CK_TOKEN_INFO *info = p11_kit_uri_get_token_info(uri);

	/* What the URI does not say is zeros; p11-kit fills the rest of a field with blanks. */
	return info->label[0] || info->serialNumber[0] || info->model[0] || info->manufacturerID[0] ||
	       p11_kit_uri_get_slot_id(uri) != (CK_SLOT_ID)-1;
}

static const char *what_is_wrong(P11KitUri *uri)
{
	const CK_ATTRIBUTE *class = p11_kit_uri_get_attribute(uri, CKA_CLASS);
	const char *module = p11_kit_uri_get_module_path(uri), *pin = p11_kit_uri_get_pin_source(uri);
	const char *why = NULL;

	if (p11_kit_uri_get_pin_value(uri))
		return "it holds the PIN (pin-value): put that into a file of mode 0600 and name the file "
		       "(pin-source)";
	if (p11_kit_uri_any_unrecognized(uri))
		return "it says something that PKCS#11 URIs do not have";
	if (!module || module[0] != '/')
		return "it lacks module-path=/PATH, the PKCS#11 module";
	if (!pin)
		return "it lacks pin-source=file:/PATH (or credential:NAME), where the PIN is";
	if (strncmp(pin, TK_PIN_CREDENTIAL, strlen(TK_PIN_CREDENTIAL)) != 0 &&
	    !tk_pin_path(pin, (char[TK_PIN_PATH]){0}, &why))
		return why;
	if (!names_token(uri))
		return "it names no token (token=LABEL or serial=NUMBER)";
	if (!p11_kit_uri_get_attribute(uri, CKA_LABEL) && !p11_kit_uri_get_attribute(uri, CKA_ID))
		return "it names no key (object=LABEL or id=BYTES)";
	if (class && (class->ulValueLen != sizeof(CK_OBJECT_CLASS) ||
		      memcmp(class->pValue, &(CK_OBJECT_CLASS){CKO_SECRET_KEY}, sizeof(CK_OBJECT_CLASS))))
		return "its type is not secret-key";
	return NULL;
}

int tk_token_uri_parse(const char *text, P11KitUri **ret_uri, const char **ret_why)
{
	__attribute__((cleanup(uri_freep))) P11KitUri *uri = p11_kit_uri_new();
	const char *why;

	if (!uri)
		return tk_key_refuse(-ENOMEM, tk_strerror(-ENOMEM), ret_why);
	if (p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, uri) != P11_KIT_URI_OK)
		return tk_key_refuse(
			-EINVAL, "it is no PKCS#11 URI (pkcs11:token=…;object=…?module-path=…&pin-source=…)",
			ret_why);
	why = what_is_wrong(uri);
	if (why)
		return tk_key_refuse(-EINVAL, why, ret_why);
	*ret_uri = uri;
	uri = NULL;
	return 0;
}

int tk_key_uri_check(const char *text, const char **ret_why)
{
	__attribute__((cleanup(uri_freep))) P11KitUri *uri = NULL;

	return tk_token_uri_parse(text, &uri, ret_why);
}

bool tk_key_source_is_services(const struct tk_key_source *source)
{
	__attribute__((cleanup(uri_freep))) P11KitUri *uri = NULL;

	if (getenv("CREDENTIALS_DIRECTORY"))
		return false;
	if (source->provider != TK_PROVIDER_PKCS11)
		return source->provider == TK_PROVIDER_CREDENTIAL;
	return tk_token_uri_parse(source->where, &uri, NULL) == 0 &&
	       strncmp(p11_kit_uri_get_pin_source(uri), TK_PIN_CREDENTIAL, strlen(TK_PIN_CREDENTIAL)) == 0;
}
