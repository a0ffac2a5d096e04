// SPDX-License-Identifier: GPL-2.0
/*
 * loader/study/recording.c - reads recorded audit events; recording.h has what comes of it.
 */
#include "loader/study/recording.h"
#include "loader/util.h"

#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <string.h>

/* ---------------------------------------------------------------- one line */

static const char *text(const cJSON *event, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(event, name));
}

static bool id_of(const cJSON *item, uint32_t *ret_id)
{
	if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > UINT32_MAX ||
	    item->valuedouble != (uint32_t)item->valuedouble)
		return false;
	*ret_id = (uint32_t)item->valuedouble;
	return true;
}

static int id_compare(const void *a, const void *b)
{
	gid_t x = *(const gid_t *)a, y = *(const gid_t *)b;

	return (x > y) - (x < y);
}

static int read_groups(const cJSON *list, struct tk_deed *deed, const char **ret_why)
{
	const cJSON *item;

	*ret_why = "\"groups\" is no list of numbers";
	if (!cJSON_IsArray(list))
		return -EINVAL;
	deed->gids = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof(*deed->gids));
	if (!deed->gids)
		return -ENOMEM;
	deed->gids[deed->gid_count++] = deed->gid;
	cJSON_ArrayForEach (item, list) {
		uint32_t gid;

		if (!id_of(item, &gid))
			return -EINVAL;
		deed->gids[deed->gid_count++] = gid;
	}
	qsort(deed->gids, deed->gid_count, sizeof(*deed->gids), id_compare);
	return 0;
}

static int read_subject(const cJSON *event, struct tk_deed *deed, const char **ret_why)
{
	const cJSON *groups = cJSON_GetObjectItemCaseSensitive(event, "groups");
	const char *exe = text(event, "exe"), *inode = text(event, "exe_inode");
	unsigned long long ino;
	int end = -1;

	*ret_why = "\"uid\" or \"gid\" is missing or no number";
	if (!id_of(cJSON_GetObjectItemCaseSensitive(event, "uid"), &deed->uid) ||
	    !id_of(cJSON_GetObjectItemCaseSensitive(event, "gid"), &deed->gid))
		return -EINVAL;
	if (exe && *exe == '/' && !(deed->exe = strdup(exe)))
		return -ENOMEM;
	*ret_why = "\"exe_inode\" is not DEVICE:INODE:GENERATION";
	if (inode && (sscanf(inode, "%" SCNu32 ":%llu:%" SCNu32 "%n", &deed->exe_inode.dev, &ino,
			     &deed->exe_inode.igeneration, &end) != 3 ||
		      inode[end]))
		return -EINVAL;
	if (inode)
		deed->exe_inode.ino = ino;
	return groups ? read_groups(groups, deed, ret_why) : 0;
}

/* By the policy's own words: what it does not ask for makes no difference. */
static int read_circumstances(const struct tk_compiled *policy, const cJSON *event, struct tk_deed *deed,
			      const char **ret_why)
{
	const cJSON *login = cJSON_GetObjectItemCaseSensitive(event, "login_uid");
	const cJSON *unit = cJSON_GetObjectItemCaseSensitive(event, "unit");
	const char *time = text(event, "time");
	struct tk_moment moment;
	uint32_t uid = deed->uid;

	*ret_why = "\"time\" is no time";
	if (time && (!tk_moment_parse(time, &moment) || moment.on_wall))
		return -EINVAL;
	deed->timed = time;
	deed->when = time ? moment.when : 0;
	if (time)
		tk_times_of(policy, &moment, &deed->holding);
	*ret_why = "\"login_uid\" is neither a number nor null";
	if (login && !cJSON_IsNull(login) && !id_of(login, &uid))
		return -EINVAL;
	if (login)
		deed->login = cJSON_IsNull(login) || uid != deed->uid ? TK_LOGIN_OTHER : TK_LOGIN_SAME;
	*ret_why = "\"unit\" is neither a name nor null";
	if (unit && !cJSON_IsNull(unit) && !cJSON_IsString(unit))
		return -EINVAL;
	deed->unit = unit ? TK_UNIT_NONE : TK_UNIT_UNKNOWN;
	for (uint32_t i = 0; cJSON_IsString(unit) && i < policy->unit_count; i++) {
		if (!strcmp(policy->units[i], unit->valuestring))
			deed->unit = i;
	}
	return 0;
}

static int read_event(const cJSON *event, struct tk_deed *deed, const char **ret_why)
{
	const char *verdict = text(event, "verdict"), *action = text(event, "action");
	const char *path = text(event, "path"), *guard = text(event, "guard"),
		   *reason = text(event, "reason");
	const cJSON *rule = cJSON_GetObjectItemCaseSensitive(event, "rule");

	*ret_why = "no JSON object";
	if (!cJSON_IsObject(event))
		return -EINVAL;
	*ret_why = "\"verdict\", \"action\", \"path\", \"guard\" or \"reason\" is missing";
	if (!verdict || !action || !path || !guard || !reason)
		return -EINVAL;
	*ret_why = "\"verdict\" is neither \"permit\" nor \"deny\"";
	deed->permitted = !strcmp(verdict, "permit");
	if (!deed->permitted && strcmp(verdict, "deny"))
		return -EINVAL;
	deed->action = tk_action_parse(action);
	deed->apply_key = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(event, "apply_key"));
	deed->foreign_code = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(event, "foreign_code"));
	deed->cut = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(event, "path_cut"));
	deed->rule = cJSON_IsNumber(rule) ? rule->valueint : -1;
	while (deed->reason < TK_REASON_COUNT && strcmp(tk_reason_name(deed->reason), reason))
		deed->reason++;
	deed->path = strdup(path);
	deed->guard = strdup(guard);
	if (!deed->path || !deed->guard)
		return -ENOMEM;
	return read_subject(event, deed, ret_why);
}

/* ---------------------------------------------------------------- distinct deeds */

static int compare_numbers(const struct tk_deed *x, const struct tk_deed *y)
{
#define BY(field)                 \
	if (x->field != y->field) \
	return x->field < y->field ? -1 : 1
	BY(action);
	BY(uid);
	BY(gid);
	BY(permitted);
	BY(apply_key);
	BY(cut);
	BY(foreign_code);
	BY(rule);
	BY(reason);
	BY(gid_count);
	BY(exe_inode.ino);
	BY(exe_inode.dev);
	BY(exe_inode.igeneration);
	BY(login);
	BY(unit);
	BY(timed);
#undef BY
	return memcmp(&x->holding, &y->holding, sizeof(x->holding));
}

static int deed_compare(const void *a, const void *b)
{
	const struct tk_deed *x = a, *y = b;
	int order = compare_numbers(x, y);

	if (!order)
		order = strcmp(x->path, y->path);
	if (!order)
		order = strcmp(x->guard, y->guard);
	if (!order)
		order = strcmp(x->exe ?: "", y->exe ?: "");
	if (!order)
		order = !!x->gids - !!y->gids;
	if (!order && x->gids)
		order = memcmp(x->gids, y->gids, x->gid_count * sizeof(*x->gids));
	return order;
}

static void deed_free(struct tk_deed *deed)
{
	free(deed->guard);
	free(deed->path);
	free(deed->exe);
	free(deed->gids);
	free(deed);
}

static void deed_free_node(void *deed)
{
	deed_free(deed);
}

/* Room for one more first, so that nothing can fail behind the tree's back. */
static int list_grow(struct tk_recording *recording)
{
	size_t room = recording->deed_room ? 2 * recording->deed_room : 64;
	struct tk_deed **larger;

	if (recording->deed_count < recording->deed_room)
		return 0;
	larger = reallocarray(recording->deeds, room, sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	recording->deeds = larger;
	recording->deed_room = room;
	return 0;
}

int tk_recording_add(struct tk_recording *recording, const char *line, const char **ret_why)
{
	_cleanup_json_ cJSON *event = cJSON_ParseWithOpts(line, NULL, true);
	struct tk_deed *deed = calloc(1, sizeof(*deed)), **node = NULL;
	int r = deed ? list_grow(recording) : -ENOMEM;

	if (!r) {
		deed->unit = TK_UNIT_UNKNOWN;
		r = read_event(event, deed, ret_why);
	}
	if (!r && recording->policy)
		r = read_circumstances(recording->policy, event, deed, ret_why);
	if (!r) {
		node = tsearch(deed, &recording->index, deed_compare);
		r = node ? 0 : -ENOMEM;
	}
	if (!r) {
		recording->event_count++;
		(*node)->count++;
	}
	if (r || *node != deed) {
		if (deed)
			deed_free(deed);
		return r;
	}
	deed->line = recording->event_count + recording->malformed;
	recording->deeds[recording->deed_count++] = deed;
	return 0;
}

/* A program that ended before it was looked up may have been seen another time. */
static int complete(struct tk_recording *recording)
{
	for (size_t i = 0; i < recording->deed_count; i++) {
		struct tk_deed *deed = recording->deeds[i];
		const struct tk_inode *inode = &deed->exe_inode;

		for (size_t j = 0; !deed->exe && inode->ino && j < recording->deed_count; j++) {
			const struct tk_deed *other = recording->deeds[j];

			if (!other->exe || memcmp(&other->exe_inode, inode, sizeof(*inode)))
				continue;
			deed->exe = strdup(other->exe);
			if (!deed->exe)
				return -ENOMEM;
		}
	}
	return 0;
}

int tk_recording_read(struct tk_recording *recording, FILE *stream, const char *name)
{
	_cleanup_free_ char *line = NULL;
	size_t room = 0;
	ssize_t n;

	errno = 0;
	while ((n = getline(&line, &room, stream)) > 0) {
		const char *why = NULL;
		size_t number = (size_t)recording->event_count + recording->malformed + 1;
		int r;

		line[n - (line[n - 1] == '\n')] = '\0';
		r = tk_recording_add(recording, line, &why);
		if (r == -ENOMEM)
			return r;
		if (r < 0) {
			recording->malformed++;
			fprintf(stderr, "takakrypt-bpf: read ");
			tk_put_safe(stderr, name);
			fprintf(stderr, ": line %zu is no event: %s\n", number, why);
		}
		errno = 0;
	}
	return errno ? -errno : complete(recording);
}

void tk_recording_free(struct tk_recording *recording)
{
	tdestroy(recording->index, deed_free_node);
	free(recording->deeds);
	*recording = (struct tk_recording){0};
}

/* ---------------------------------------------------------------- what can be asked of it */

bool tk_deed_by_rules(const struct tk_deed *deed)
{
	return deed->reason == TK_BY_RULE || deed->reason == TK_NO_RULE ||
	       (deed->reason == TK_FOREIGN_CODE && deed->action);
}

const char *tk_deed_unfit(const struct tk_deed *deed)
{
	if (!tk_deed_by_rules(deed))
		return deed->reason < TK_REASON_COUNT ? tk_reason_name(deed->reason)
						      : "another version's reason";
	if (!deed->action)
		return "no single action";
	if (deed->cut)
		return "the path was cut";
	if (*deed->path != '/')
		return "the guard point was not known";
	if (!deed->exe && !deed->exe_inode.ino)
		return "the program was not recorded";
	return NULL;
}

struct tk_recorded tk_deed_recorded(const struct tk_deed *deed)
{
	return (struct tk_recorded){
		.uid = deed->uid,
		.gid = deed->gid,
		.gids = deed->gids,
		.gid_count = deed->gid_count,
		.exe = deed->exe,
		.exe_inode = deed->exe_inode,
		.path = deed->path,
		.action = deed->action,
		.login = deed->login,
		.unit = deed->unit,
		.timed = deed->timed,
		.when = deed->when,
		.foreign_code = deed->foreign_code,
	};
}

void tk_deed_print(FILE *out, const struct tk_deed *deed)
{
	fprintf(out, "%s ", deed->action ? tk_action_name(deed->action) : "several actions on");
	tk_put_safe(out, deed->path);
	fprintf(out, " by uid %u in ", deed->uid);
	tk_put_safe(out, deed->exe ?: "a program whose path was not recorded");
	fprintf(out, " (line %zu)", deed->line);
}
