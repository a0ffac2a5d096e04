// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_diff.c - `diff`: tells people what two policies decide differently
 * (compare.c finds it), and what else differs about their guard points.
 */
#include "loader/cmd.h"
#include "loader/study/compare.h"
#include "loader/problems.h"
#include "loader/options.h"
#include "loader/util.h"

#include <errno.h>
#include <string.h>

static const char verb[] = "diff";

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf diff - what two policies decide differently\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf diff [--json] OLD NEW\n"
	"\n"
	"DESCRIPTION\n"
	"    Compares two policies by what they do, not by their text: for each guard point,\n"
	"    each class of users, programs, paths and times that their sets can tell apart, and\n"
	"    each action, the verdict of OLD and that of NEW. Classes that change in the same way\n"
	"    are put together:\n"
	"\n"
	"    confidential: finance in editors: data_write permit+apply_key → deny\n"
	"\n"
	"    Guard points are the same when their paths are. Those that only one policy has,\n"
	"    and other modes, shields, lingers, keys, algorithms and chunk sizes are told as\n"
	"    well. The same policy written differently (other names, other order, sets split or\n"
	"    joined) gives nothing.\n"
	"\n"
	"    A class is shown by its sets' names; where OLD and NEW name it differently, by an\n"
	"    example and both, \"uid 1001 [finance → none]\". \"anybody else\", \"other programs\",\n"
	"    \"other paths\" and \"other times\" are in none of the sets. A user has one uid and any\n"
	"    groups, and is logged in as such or not; a program has one path, in a unit or not,\n"
	"    and its name and digest may be any. Times are those of the year that begins\n"
	"    with this week. Nothing need be loaded and no root is needed.\n"
	"\n"
	"OPTIONS\n"
	"    --json      a list of objects with \"guard_point\", \"path\", \"kind\" (verdict, added,\n"
	"                removed, mode, shield, linger, key, algorithm, chunk_size), \"old\" and\n"
	"                \"new\"; a verdict has \"actions\" and \"users\", \"programs\", \"paths\",\n"
	"                \"times\", each null for all or a list of objects with \"example\" (null: in\n"
	"                no set), \"old\" and \"new\" (names of sets)\n"
	"    -h, --help  this text\n"
	"\n"
	"EXIT CODES\n"
	"    0  no difference\n"
	"    1  failed; also when there are more than 4096 classes of one kind or 65536\n"
	"       combinations to compare in a guard point\n"
	"    2  wrong usage; nothing was done\n"
	"    3  there are differences\n"
	"\n"
	"EXAMPLE\n"
	"    takakrypt-bpf diff /run/takakrypt/policy.json new.json\n";

struct diff {
	const struct tk_compiled *sides[TK_SIDES];
	cJSON *list; /* NULL: text */
	size_t count;
	bool no_memory;
	/* The last comparison: guard points that follow each other often have the same policies. */
	const struct tk_policy *policies[TK_SIDES];
	struct tk_comparison comparison;
};

static const struct dimension {
	const char *key, *before, *all, *others;
} dimensions[TK_DIMS] = {
	[TK_DIM_USERS] = {"users", "", "anybody", "anybody else"},
	[TK_DIM_PROGRAMS] = {"programs", " in ", "any program", "other programs"},
	[TK_DIM_PATHS] = {"paths", " on ", "any path", "other paths"},
	[TK_DIM_TIMES] = {"times", " at ", "any time", "other times"},
};

/* ---------------------------------------------------------------- words */

static char *const *names_of(const struct tk_compiled *compiled, int dim, size_t *ret_count)
{
	static const struct {
		size_t names, count;
	} places[TK_DIMS] = {
		{offsetof(struct tk_compiled, user_sets), offsetof(struct tk_compiled, user_set_count)},
		{offsetof(struct tk_compiled, process_sets), offsetof(struct tk_compiled, process_set_count)},
		{offsetof(struct tk_compiled, resource_sets),
		 offsetof(struct tk_compiled, resource_set_count)},
		{offsetof(struct tk_compiled, time_sets), offsetof(struct tk_compiled, time_set_count)},
	};
	const char *base = (const char *)compiled;

	*ret_count = *(const size_t *)(base + places[dim].count);
	return *(char **const *)(base + places[dim].names);
}

/* "finance and staff"; "none". */
static char *sets_text(const struct diff *diff, int dim, int side, const struct tk_class *class)
{
	char *text = NULL;
	size_t len, count;
	char *const *names = names_of(diff->sides[side], dim, &count);
	FILE *out = open_memstream(&text, &len);
	const char *between = "";

	if (!out)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		if (class->sets[side][i / 64] >> (i % 64) & 1) {
			fprintf(out, "%s%s", between, names[i]);
			between = " and ";
		}
	}
	if (!*between)
		fputs("none", out);
	return fclose(out) == EOF ? free(text), NULL : text;
}

static void put_class(const struct diff *diff, int dim, const struct tk_class *class)
{
	_cleanup_free_ char *was = sets_text(diff, dim, 0, class), *is = sets_text(diff, dim, 1, class);

	if (!class->example) {
		fputs(dimensions[dim].others, stdout);
	} else if (was && is && !strcmp(was, is)) {
		fputs(was, stdout);
	} else {
		tk_put_safe(stdout, class->example);
		printf(" [%s → %s]", was ?: "?", is ?: "?");
	}
}

/* Is every set of a one of b's, and not the other way round? */
static bool is_wider(const struct tk_class *a, const struct tk_class *b)
{
	const uint64_t *x = &a->sets[0][0], *y = &b->sets[0][0];

	for (int word = 0; word < TK_SIDES * TK_SET_WORDS; word++) {
		if (x[word] & ~y[word])
			return false;
	}
	return memcmp(a->sets, b->sets, sizeof(a->sets)) != 0;
}

/* Those that are in (or out); who is in more sets than another of them goes without saying. */
static void put_classes(const struct diff *diff, int dim, const uint8_t *in, bool wanted)
{
	const struct tk_classes *classes = &diff->comparison.classes[dim];
	const char *between = "";

	for (size_t i = 0; i < classes->count; i++) {
		bool said = false;

		if (!!in[i] != wanted)
			continue;
		for (size_t j = 0; !said && j < classes->count; j++)
			said = !!in[j] == wanted && classes->items[j].example &&
			       is_wider(&classes->items[j], &classes->items[i]);
		if (said)
			continue;
		fputs(between, stdout);
		put_class(diff, dim, &classes->items[i]);
		between = ", ";
	}
}

static void put_dimension(const struct diff *diff, int dim, const uint8_t *in)
{
	const struct tk_classes *classes = &diff->comparison.classes[dim];
	size_t count = 0, others = 0;

	for (size_t i = 0; i < classes->count; i++) {
		count += in[i];
		others += in[i] && !classes->items[i].example;
	}
	if (count == classes->count) {
		if (dim == TK_DIM_USERS)
			fputs(dimensions[dim].all, stdout);
		return;
	}
	fputs(dimensions[dim].before, stdout);
	if (others && count > 1) {
		printf("%s but ", dimensions[dim].all);
		put_classes(diff, dim, in, false);
	} else {
		put_classes(diff, dim, in, true);
	}
}

static const char *effects_text(uint8_t effects)
{
	static const char *const words[] = {"deny", "permit", "deny", "permit+apply_key"};
	static const char *const audited[] = {"deny (audited)", "permit (audited)", "deny (audited)",
					      "permit+apply_key (audited)"};

	return (effects & TK_AUDIT ? audited : words)[effects & (TK_PERMIT | TK_APPLY_KEY)];
}

/* ---------------------------------------------------------------- one difference */

/* NULL when there is no memory, which is told at the end. */
static cJSON *json_begin(struct diff *diff, const struct tk_guard_spec *guard, const char *kind,
			 const char *was, const char *is)
{
	cJSON *object = cJSON_CreateObject();

	if (cJSON_AddItemToArray(diff->list, object) &&
	    cJSON_AddStringToObject(object, "guard_point", guard->name) &&
	    cJSON_AddStringToObject(object, "path", guard->path) &&
	    cJSON_AddStringToObject(object, "kind", kind) &&
	    (was ? cJSON_AddStringToObject(object, "old", was) : cJSON_AddNullToObject(object, "old")) &&
	    (is ? cJSON_AddStringToObject(object, "new", is) : cJSON_AddNullToObject(object, "new")))
		return object;
	diff->no_memory = true;
	return NULL;
}

static void tell_guard(struct diff *diff, const struct tk_guard_spec *guard, const char *kind,
		       const char *was, const char *is)
{
	diff->count++;
	if (diff->list) {
		json_begin(diff, guard, kind, was, is);
		return;
	}
	printf("%s: ", guard->name);
	if (was && is)
		printf("%s %s → %s\n", kind, was, is);
	else
		printf("guard point %s: %s\n", kind, guard->path);
}

static void tell_if(struct diff *diff, const struct tk_guard_spec *guard, const char *kind, const char *was,
		    const char *is)
{
	if (strcmp(was, is))
		tell_guard(diff, guard, kind, was, is);
}

static void json_dimension(struct diff *diff, cJSON *object, int dim, const uint8_t *in)
{
	const struct tk_classes *classes = &diff->comparison.classes[dim];
	cJSON *list = memchr(in, 0, classes->count) ? cJSON_AddArrayToObject(object, dimensions[dim].key)
						    : cJSON_AddNullToObject(object, dimensions[dim].key);

	for (size_t i = 0; cJSON_IsArray(list) && i < classes->count; i++) {
		const struct tk_class *class = &classes->items[i];
		_cleanup_free_ char *was = sets_text(diff, dim, 0, class),
				    *is = sets_text(diff, dim, 1, class);
		cJSON *item;

		if (!in[i])
			continue;
		item = cJSON_CreateObject();
		if (!cJSON_AddItemToArray(list, item) || !was || !is ||
		    !(class->example ? cJSON_AddStringToObject(item, "example", class->example)
				     : cJSON_AddNullToObject(item, "example")) ||
		    !cJSON_AddStringToObject(item, "old", was) || !cJSON_AddStringToObject(item, "new", is))
			diff->no_memory = true;
	}
	if (!list)
		diff->no_memory = true;
}

/* The actions that go the way of action `first`. */
static uint32_t actions_like(const struct tk_box *change, int first)
{
	uint32_t actions = 0;

	for (int i = 0; i < TK_ACTION_COUNT; i++) {
		if (change->effects[0][i] == change->effects[0][first] &&
		    change->effects[1][i] == change->effects[1][first])
			actions |= 1u << i;
	}
	return actions;
}

static void tell_change(struct diff *diff, const struct tk_guard_spec *guard, const struct tk_box *change,
			int first, uint32_t actions)
{
	const char *was = effects_text(change->effects[0][first]),
		   *is = effects_text(change->effects[1][first]);
	cJSON *object = diff->list ? json_begin(diff, guard, "verdict", was, is) : NULL;
	cJSON *list = object ? cJSON_AddArrayToObject(object, "actions") : NULL;
	const char *between = " ";

	diff->count++;
	if (!diff->list)
		printf("%s: ", guard->name);
	for (int dim = 0; dim < TK_DIMS; dim++) {
		if (object)
			json_dimension(diff, object, dim, change->in[dim]);
		else if (!diff->list)
			put_dimension(diff, dim, change->in[dim]);
	}
	if (!diff->list)
		putchar(':');
	for (uint32_t action = 1; action <= actions; action <<= 1) {
		if (!(actions & action))
			continue;
		if (!diff->list)
			printf("%s%s", between, tk_action_name(action));
		else if (!cJSON_AddItemToArray(list, cJSON_CreateString(tk_action_name(action))))
			diff->no_memory = true;
		between = ", ";
	}
	if (!diff->list)
		printf(" %s → %s\n", was, is);
}

static void tell_changes(struct diff *diff, const struct tk_guard_spec *guard)
{
	for (size_t i = 0; i < diff->comparison.changes.count; i++) {
		const struct tk_box *change = &diff->comparison.changes.items[i];
		uint32_t done = 0;

		for (int first = 0; first < TK_ACTION_COUNT; first++) {
			if (done >> first & 1 || change->effects[0][first] == change->effects[1][first])
				continue;
			tell_change(diff, guard, change, first, actions_like(change, first));
			done |= actions_like(change, first);
		}
	}
}

/* ---------------------------------------------------------------- guard points */

static const struct tk_guard_spec *guard_at(const struct tk_compiled *compiled, const char *path)
{
	for (size_t i = 0; i < compiled->guard_count; i++) {
		if (!strcmp(compiled->guards[i].path, path))
			return &compiled->guards[i];
	}
	return NULL;
}

/* "finance-2026 (file /etc/takakrypt/keys/finance-2026)" */
static char *key_text(const struct tk_compiled *compiled, uint32_t policy)
{
	uint32_t key = compiled->encryption[policy].key;
	const struct tk_key_source *source;
	char *text = NULL;
	size_t len;
	FILE *out;

	if (key == UINT32_MAX)
		return strdup("none");
	source = &compiled->keys[key].source;
	out = open_memstream(&text, &len);
	if (!out)
		return NULL;
	fprintf(out, "%s (%s %s", compiled->keys[key].id, tk_provider_name(source->provider), source->where);
	for (char **argument = source->argv ? source->argv + 1 : NULL; argument && *argument; argument++)
		fprintf(out, " %s", *argument);
	fputc(')', out);
	if (fclose(out) == EOF) {
		free(text);
		return NULL;
	}
	return text;
}

static int compare_encryption(struct diff *diff, const struct tk_guard_spec *const guards[TK_SIDES])
{
	_cleanup_free_ char *was = key_text(diff->sides[0], guards[0]->policy);
	_cleanup_free_ char *is = key_text(diff->sides[1], guards[1]->policy);
	const struct tk_encryption *before = &diff->sides[0]->encryption[guards[0]->policy];
	const struct tk_encryption *after = &diff->sides[1]->encryption[guards[1]->policy];
	char sizes[TK_SIDES][16];

	if (!was || !is)
		return -ENOMEM;
	tell_if(diff, guards[1], "key", was, is);
	if (before->key == UINT32_MAX || after->key == UINT32_MAX)
		return 0; /* what nothing is encrypted with */
	tell_if(diff, guards[1], "algorithm", tk_algorithm_name(before->algorithm),
		tk_algorithm_name(after->algorithm));
	snprintf(sizes[0], sizeof(sizes[0]), "%u", 1u << before->chunk_log2);
	snprintf(sizes[1], sizeof(sizes[1]), "%u", 1u << after->chunk_log2);
	tell_if(diff, guards[1], "chunk_size", sizes[0], sizes[1]);
	return 0;
}

static int compare_guards(struct diff *diff, const struct tk_guard_spec *const guards[TK_SIDES])
{
	const struct tk_policy *policies[TK_SIDES];
	char lingers[TK_SIDES][16];
	int r = 0;

	tell_if(diff, guards[1], "mode", tk_mode_name(guards[0]->mode), tk_mode_name(guards[1]->mode));
	tell_if(diff, guards[1], "shield", guards[0]->shield ? "fscrypt" : "none",
		guards[1]->shield ? "fscrypt" : "none");
	for (int side = 0; side < TK_SIDES; side++)
		snprintf(lingers[side], sizeof(lingers[side]), "%u ms", guards[side]->linger);
	tell_if(diff, guards[1], "linger", lingers[0], lingers[1]);
	for (int side = 0; side < TK_SIDES; side++)
		policies[side] = &diff->sides[side]->policies[guards[side]->policy];
	if (memcmp(policies, diff->policies, sizeof(policies))) {
		tk_comparison_free(&diff->comparison);
		memset(diff->policies, 0, sizeof(diff->policies));
		r = tk_compare(diff->sides, policies, &diff->comparison);
		if (r == 0)
			memcpy(diff->policies, policies, sizeof(policies));
	}
	if (r == 0)
		r = compare_encryption(diff, guards);
	if (r == 0)
		tell_changes(diff, guards[1]);
	return r;
}

static int compare(struct diff *diff)
{
	for (size_t i = 0; i < diff->sides[0]->guard_count; i++) {
		const struct tk_guard_spec *guard = &diff->sides[0]->guards[i];

		if (!guard_at(diff->sides[1], guard->path))
			tell_guard(diff, guard, "removed", guard->path, NULL);
	}
	for (size_t i = 0; i < diff->sides[1]->guard_count; i++) {
		const struct tk_guard_spec *guard = &diff->sides[1]->guards[i];
		const struct tk_guard_spec *guards[] = {guard_at(diff->sides[0], guard->path), guard};
		int r = 0;

		if (!guards[0])
			tell_guard(diff, guard, "added", NULL, guard->path);
		else
			r = compare_guards(diff, guards);
		if (r == -E2BIG)
			return tk_fail("compare", guard->name,
				       "the sets of its rules make too many combinations",
				       "compare policies with fewer sets at a time");
		if (r < 0)
			return tk_fail_err("compare", guard->name, r);
	}
	if (diff->no_memory || (diff->list && tk_json_print(diff->list) < 0))
		return tk_fail_err("write", "the report", -ENOMEM);
	return diff->count ? TK_EXIT_DENIED : TK_EXIT_DONE;
}

/* ---------------------------------------------------------------- the verb */

static int diff_files(const char *old, const char *new, bool json)
{
	_cleanup_json_ cJSON *list = json ? cJSON_CreateArray() : NULL;
	struct tk_compiled *sides[TK_SIDES] = {NULL, NULL};
	struct diff diff = {.list = list};
	int code;

	if (json && !list)
		return tk_fail_err("write", "the report", -ENOMEM);
	code = tk_policy_open(old, &sides[0], NULL);
	if (code == TK_EXIT_DONE)
		code = tk_policy_open(new, &sides[1], NULL);
	diff.sides[0] = sides[0];
	diff.sides[1] = sides[1];
	if (code == TK_EXIT_DONE)
		code = compare(&diff);
	tk_comparison_free(&diff.comparison);
	tk_compiled_free(sides[0]);
	tk_compiled_free(sides[1]);
	return code;
}

int cmd_diff(int argc, char **argv)
{
	bool json = false;
	const struct tk_option options[] = {{"json", .flag = &json}, {}};
	int code = tk_options(verb, help, options, argc, argv);

	if (code != TK_GO_ON)
		return code;
	if (argc - optind != 2)
		return tk_usage(verb, "expected two policies, OLD and NEW");
	return diff_files(argv[optind], argv[optind + 1], json);
}
