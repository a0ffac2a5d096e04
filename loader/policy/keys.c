// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/keys.c - the section "keys": where each key comes from.  Nothing
 * is read or run here.
 */
#include <string.h>

#include "loader/policy/internal.h"

#define ARGUMENTS_MAX 64
#define TIMEOUT_DEFAULT 10 /* seconds */

static const char *const provider_names[] = {
	[TK_PROVIDER_FILE] = "file",
	[TK_PROVIDER_CREDENTIAL] = "credential",
	[TK_PROVIDER_COMMAND] = "command",
	[TK_PROVIDER_PKCS11] = "pkcs11",
};

static void parse_file(struct tk_report *report, const struct tk_place *at, const cJSON *object,
		       struct tk_model_key *key)
{
	static const struct tk_field fields[] = {
		{"provider", cJSON_String, TK_REQUIRED},
		{"path", cJSON_String, TK_REQUIRED},
	};
	const cJSON *items[2];

	if (tk_json_fields(report, at, object, fields, 2, items) && items[1] &&
	    tk_check_path(report, TK_AT_KEY(at, "path"), items[1]->valuestring))
		key->where = items[1]->valuestring;
}

static void parse_credential(struct tk_report *report, const struct tk_place *at, const cJSON *object,
			     struct tk_model_key *key)
{
	static const struct tk_field fields[] = {
		{"provider", cJSON_String, TK_REQUIRED},
		{"name", cJSON_String, TK_REQUIRED},
	};
	const cJSON *items[2];
	const char *name;

	if (!tk_json_fields(report, at, object, fields, 2, items) || !items[1])
		return;
	name = items[1]->valuestring;
	if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, "..") || strlen(name) > 255)
		tk_error(report, TK_AT_KEY(at, "name"),
			 "expected the name of a credential: a file name without \"/\"");
	else
		key->where = name;
}

static void parse_command(struct tk_report *report, const struct tk_place *at, const cJSON *object,
			  struct tk_model_key *key)
{
	static const struct tk_field fields[] = {
		{"provider", cJSON_String, TK_REQUIRED},
		{"argv", cJSON_Array, TK_REQUIRED},
		{"timeout", cJSON_Number, TK_OPTIONAL},
	};
	const struct tk_place *argv = TK_AT_KEY(at, "argv");
	const cJSON *items[3], *item;
	size_t n = 0;

	if (!tk_json_fields(report, at, object, fields, 3, items))
		return;
	key->timeout = TIMEOUT_DEFAULT;
	if (items[2]) {
		double seconds = items[2]->valuedouble;

		if (seconds < 1 || seconds > TK_COMMAND_TIMEOUT_MAX || seconds != (int)seconds)
			tk_error(report, TK_AT_KEY(at, "timeout"),
				 "expected a whole number of seconds from 1 to %d", TK_COMMAND_TIMEOUT_MAX);
		else
			key->timeout = (unsigned int)seconds;
	}
	if (!items[1])
		return;
	cJSON_ArrayForEach (item, items[1]) {
		if (!cJSON_IsString(item))
			tk_error(report, TK_AT(argv, n), "expected a string");
		else if (n == 0 && tk_check_path(report, TK_AT(argv, 0), item->valuestring))
			key->where = item->valuestring;
		n++;
	}
	if (n == 0 || n > ARGUMENTS_MAX)
		tk_error(report, argv, "expected 1 to %d strings: the command's path and its arguments",
			 ARGUMENTS_MAX);
	key->argv = items[1];
}

static void parse_pkcs11(struct tk_report *report, const struct tk_place *at, const cJSON *object,
			 struct tk_model_key *key)
{
	static const struct tk_field fields[] = {
		{"provider", cJSON_String, TK_REQUIRED},
		{"uri", cJSON_String, TK_REQUIRED},
	};
	const cJSON *items[2];
	const char *why = NULL;

	if (!tk_json_fields(report, at, object, fields, 2, items) || !items[1])
		return;
	if (tk_key_uri_check(items[1]->valuestring, &why))
		tk_error(report, TK_AT_KEY(at, "uri"), "expected a PKCS#11 URI (RFC 7512) of a key: %s", why);
	else
		key->where = items[1]->valuestring;
}

static void parse_key(struct tk_report *report, const struct tk_place *at, const cJSON *object,
		      struct tk_model_key *key)
{
	static void (*const parse[])(struct tk_report *, const struct tk_place *, const cJSON *,
				     struct tk_model_key *) = {
		[TK_PROVIDER_FILE] = parse_file,
		[TK_PROVIDER_CREDENTIAL] = parse_credential,
		[TK_PROVIDER_COMMAND] = parse_command,
		[TK_PROVIDER_PKCS11] = parse_pkcs11,
	};
	/* Which keys are known depends on it; where it is missing or no string, file's table says so. */
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, "provider"));
	size_t provider = TK_PROVIDER_FILE, n = sizeof(parse) / sizeof(parse[0]);

	if (name) {
		for (provider = 0; provider < n && strcmp(provider_names[provider], name); provider++)
			;
		if (provider == n) {
			tk_error(report, TK_AT_KEY(at, "provider"),
				 "no key provider \"%s\" (expected \"file\", \"credential\", \"command\" or "
				 "\"pkcs11\")",
				 TK_SHOW(name));
			return;
		}
	}
	key->provider = (enum tk_provider)provider;
	parse[provider](report, at, object, key);
}

const char *tk_provider_name(enum tk_provider provider)
{
	return provider_names[provider];
}

void tk_model_parse_keys(struct tk_report *report, struct tk_model *model, const cJSON *keys)
{
	const struct tk_place *here = TK_AT_KEY(NULL, "keys");
	const cJSON *item;

	cJSON_ArrayForEach (item, keys) {
		const struct tk_place *at = TK_AT_KEY(here, item->string);
		struct tk_model_key *key = tk_append(&model->keys, &model->key_count, sizeof(*model->keys));

		tk_check_key_id(report, at, item->string);
		if (!key) {
			report->no_memory = true;
			return;
		}
		key->id = item->string;
		parse_key(report, at, item, key);
	}
}
