// SPDX-License-Identifier: GPL-2.0
/*
 * loader/keys/list.c - `key list`: keys, their versions and whether they can be read.
 * Shows nothing of what is in them; runs no command and asks no PIN of anybody.
 */
#include "loader/cmd.h"
#include "loader/keys/verbs.h"
#include "loader/keys/files.h"
#include "loader/keys/source.h"
#include "loader/problems.h"
#include "loader/options.h"
#include "loader/util.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char verb[] = "key";


/* One key as it is shown. */
struct listed {
	const char *id;	      /* NULL: none, a path was named */
	const char *provider; /* as a policy says it */
	const char *where;
	uint32_t current; /* 0: unknown */
	struct tk_keydir versions;
	const char *health; /* NULL: not looked at; "good" */
	int err;	    /* when it is not */
	const char *unseen; /* and why not */
};

/* The one way there is to know: to read it as the agent would. */
static int examine(const struct tk_key_source *source, struct listed *key)
{
	_cleanup_keyring_ struct tk_keyring *ring = NULL;
	const char *why = NULL;
	int r = tk_keyring_new(&ring);

	if (r < 0)
		return r;
	r = tk_keyring_add_source(ring, "key", source, &why);
	if (r < 0) {
		key->health = why ? why : tk_strerror(r);
		key->err = r;
		return 0;
	}
	key->health = "good";
	return tk_keyring_current(ring, "key", &key->current);
}

static int list_source(const char *id, const struct tk_key_source *source, struct listed *key)
{
	*key = (struct listed){
		.id = id, .provider = tk_provider_name(source->provider), .where = source->where};
	switch (source->provider) {
	case TK_PROVIDER_COMMAND:
		key->unseen = "the command is not run for a list";
		return 0;
	case TK_PROVIDER_PKCS11:
		key->unseen = "nobody logs in to a token for a list";
		return 0;
	case TK_PROVIDER_CREDENTIAL:
		if (tk_key_source_is_services(source)) {
			key->unseen = "only the agent's service has it";
			return 0;
		}
		break;
	case TK_PROVIDER_FILE:
		/* What cannot be listed cannot be read either, and then is said better. */
		(void)tk_keydir_read(source->where, &key->versions);
		break;
	}
	return examine(source, key);
}

static void print(const struct listed *key)
{
	bool any = false;

	if (key->id)
		printf("%s: ", key->id);
	tk_put_safe(stdout, key->where);
	printf(" (%s)\n", key->provider);
	for (size_t i = 0; i < key->versions.count; i++) {
		const struct tk_keydir_version *v = &key->versions.items[i];

		printf("    version %" PRIu32 "%s%s\n", v->version, v->retired ? ", retired" : "",
		       !v->retired && v->version == key->current ? ", current" : "");
		any = true;
	}
	if (!any && key->current)
		printf("    version %" PRIu32 ", current\n", key->current);
	printf("    %s\n", key->health ? key->health : key->unseen);
}

static int add_versions(cJSON *object, const char *name, const struct listed *key, bool retired)
{
	cJSON *list = cJSON_AddArrayToObject(object, name), *item;

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < key->versions.count; i++) {
		if (key->versions.items[i].retired != retired)
			continue;
		item = cJSON_CreateNumber(key->versions.items[i].version);
		if (!item || !cJSON_AddItemToArray(list, item))
			return -ENOMEM;
	}
	if (!retired && key->versions.count == 0 && key->current) {
		item = cJSON_CreateNumber(key->current);
		if (!item || !cJSON_AddItemToArray(list, item))
			return -ENOMEM;
	}
	return 0;
}

static int add_json(cJSON *array, const struct listed *key)
{
	cJSON *object = cJSON_CreateObject();

	if (!object || !cJSON_AddItemToArray(array, object))
		return -ENOMEM;
	if ((key->id && !cJSON_AddStringToObject(object, "id", key->id)) ||
	    !cJSON_AddStringToObject(object, "provider", key->provider) ||
	    !cJSON_AddStringToObject(object, "where", key->where) ||
	    add_versions(object, "versions", key, false) < 0 ||
	    !(key->current ? cJSON_AddNumberToObject(object, "current", key->current)
			   : cJSON_AddNullToObject(object, "current")) ||
	    add_versions(object, "retired", key, true) < 0 ||
	    !(key->health ? cJSON_AddStringToObject(object, "health", key->health)
			  : cJSON_AddNullToObject(object, "health")))
		return -ENOMEM;
	return 0;
}

static int list_one(const char *id, const struct tk_key_source *source, cJSON *array)
{
	struct listed key;
	int r = list_source(id, source, &key);

	if (r == 0 && array)
		r = add_json(array, &key);
	else if (r == 0)
		print(&key);
	if (r == 0 && key.err)
		r = tk_fail("read the key", source->where, key.health, tk_advice(key.err));
	tk_keydir_clear(&key.versions);
	return r < 0 ? tk_fail_err("list", source->where, r) : r;
}

static int list_policy(const char *path, cJSON *array)
{
	struct tk_compiled *compiled = NULL;
	int code = tk_policy_open(path, &compiled, NULL);

	for (size_t i = 0; compiled && i < compiled->key_count; i++)
		code |= list_one(compiled->keys[i].id, &compiled->keys[i].source, array);
	tk_compiled_free(compiled);
	return code;
}

int tk_key_list(int argc, char **argv)
{
	_cleanup_json_ cJSON *array = NULL;
	const char *policy = NULL;
	bool json = false;
	const struct tk_option options[] = {{"json", .flag = &json}, {"policy", .text = &policy}, {}};
	int code = tk_options(verb, tk_key_help, options, argc, argv);

	if (code != TK_GO_ON)
		return code;
	code = TK_EXIT_DONE;
	if (json && !(array = cJSON_CreateArray()))
		return tk_fail_err("list", "the keys", -ENOMEM);
	if (policy ? optind < argc : optind == argc)
		return tk_usage(verb, "list takes the paths of keys, or --policy POLICY");
	tk_hold_secrets();
	if (policy)
		code = list_policy(policy, array);
	for (; optind < argc; optind++) {
		const struct tk_key_source source = tk_keysource_parse(argv[optind]);

		code |= list_one(NULL, &source, array);
	}
	if (array && tk_json_print(array) < 0)
		return tk_fail_err("list", "the keys", -ENOMEM);
	return code;
}
