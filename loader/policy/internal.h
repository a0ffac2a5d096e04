/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/policy/internal.h - what the files of loader/policy share and nobody
 * else includes: places in the text, problems, the model between JSON and
 * struct tk_compiled, globs, and the search for executables.
 */
#ifndef TK_POLICY_INTERNAL_H
#define TK_POLICY_INTERNAL_H

#include <cjson/cJSON.h>
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/policy/policy.h"

/* ---------------------------------------------------------------- ownership */

static inline void tk_cleanup_free(void *p)
{
	free(*(void **)p);
}
static inline void tk_cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
static inline void tk_cleanup_closedir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}
static inline void tk_cleanup_json(cJSON **tree)
{
	cJSON_Delete(*tree);
}
#define TK_FREE __attribute__((cleanup(tk_cleanup_free)))
#define TK_CLOSE __attribute__((cleanup(tk_cleanup_close)))
#define TK_CLOSEDIR __attribute__((cleanup(tk_cleanup_closedir)))
#define TK_JSON __attribute__((cleanup(tk_cleanup_json)))

/*
 * Room for one more element of `size` bytes at the end of *items, zeroed; *count grows.  NULL: no memory,
 * nothing changed.
 */
void *tk_append(void *items, size_t *count, size_t size);

/* ---------------------------------------------------------------- places and problems */

/*
 * A place in the text, as a list from the leaf to the top; NULL is the whole text.  TK_AT_KEY and TK_AT
 * live as long as the block they are written in.
 */
struct tk_place {
	const struct tk_place *parent;
	const char *key; /* NULL: an array's element */
	size_t index;
};
#define TK_AT_KEY(up, name) (&(const struct tk_place){.parent = (up), .key = (name)})
#define TK_AT(up, number) (&(const struct tk_place){.parent = (up), .index = (number)})

/* The place as a JSON pointer (RFC 6901), control characters written as in a JSON string.  NULL: no memory.
 */
char *tk_pointer(const struct tk_place *at);

/* Problems on their way; no_memory is looked at once, at the end. */
struct tk_report {
	struct tk_problems problems;
	bool no_memory;
	bool more; /* errors past the first TK_ERRORS_SHOWN */
};
#define TK_ERRORS_SHOWN 50

__attribute__((format(printf, 3, 4))) void tk_error(struct tk_report *report, const struct tk_place *at,
						    const char *format, ...);
__attribute__((format(printf, 3, 4))) void tk_warning(struct tk_report *report, const struct tk_place *at,
						      const char *format, ...);
/* Hands the problems over.  0, -EINVAL when there are errors, -ENOMEM with nothing handed over. */
int tk_report_end(struct tk_report *report, struct tk_problems *ret_problems);
/* A problem whose pointer is text already.  -ENOMEM. */
__attribute__((format(printf, 4, 5))) int tk_problem_add(struct tk_problems *problems, bool warning,
							 const char *pointer, const char *format, ...);

/* A string of the policy as a message shows it: one line, not long. */
#define TK_SHOWN 128
const char *tk_show(char buf[TK_SHOWN], const char *text);
#define TK_SHOW(text) tk_show((char[TK_SHOWN]){0}, text)

/* " (did you mean "finance"?)" for the nearest of names, "" when none is near. */
struct tk_hint {
	char text[TK_SHOWN + 32];
};
typedef const char *(*tk_name_at)(const void *names, size_t index);
struct tk_hint tk_did_you_mean(const char *word, const void *names, size_t count, tk_name_at name_at);

/* ---------------------------------------------------------------- JSON */

#define TK_JSON_DEPTH 32

/* True when the text is one JSON value; otherwise the first fault is reported with its line and column. */
bool tk_json_scan(const char *text, size_t len, struct tk_report *report);
/* The tree of a text that is JSON to the letter and has no duplicate keys; NULL with errors reported. */
cJSON *tk_json_parse(const char *text, size_t len, struct tk_report *report);

/* "an object", "a string", … */
const char *tk_json_type(const cJSON *item);

enum tk_field_kind {
	TK_OPTIONAL,
	TK_REQUIRED,
};
struct tk_field {
	const char *name;
	int type; /* cJSON_Object …; cJSON_True stands for a boolean, 0 for anything */
	enum tk_field_kind kind;
};
/*
 * Takes an object apart: ret_items[i] is fields[i]'s value or NULL (absent, or of the wrong type).
 * Reports unknown, unsupported, missing and ill-typed keys.  False when `object` is no object.
 */
bool tk_json_fields(struct tk_report *report, const struct tk_place *at, const cJSON *object,
		    const struct tk_field *fields, size_t count, const cJSON **ret_items);
/* Reports whatever is not a list of at least one string, each once.  Go on with its strings in any case. */
bool tk_json_strings(struct tk_report *report, const struct tk_place *at, const cJSON *list);

/* ---------------------------------------------------------------- globs */

enum tk_token_kind {
	TK_ONE,	  /* one byte out of `bytes` */
	TK_STAR,  /* any bytes but '/' */
	TK_DSTAR, /* any bytes */
	TK_DIRS,  /* a double star and its '/': nothing, or whole components with their '/' */
};
struct tk_token {
	enum tk_token_kind kind;
	uint64_t bytes[4]; /* TK_ONE */
};
struct tk_glob {
	size_t count;
	struct tk_token tokens[];
};
enum tk_glob_use {
	TK_GLOB_RESOURCE, /* below a guard point */
	TK_GLOB_PATH,	  /* a whole path: begins with '/' */
	TK_GLOB_NAME,	  /* a base name */
};
static inline bool tk_token_takes(const struct tk_token *token, unsigned char byte)
{
	return token->bytes[byte / 64] >> (byte % 64) & 1;
}
/* -EINVAL with *ret_why (static text), -ENOMEM.  The caller frees. */
int tk_glob_parse(const char *pattern, enum tk_glob_use use, struct tk_glob **ret_glob, const char **ret_why);
bool tk_glob_run(const struct tk_glob *glob, const char *text);

/* ---------------------------------------------------------------- words */

struct tk_word {
	const char *name;
	uint32_t bits;
};
extern const struct tk_word tk_action_words[]; /* groups, then single actions */
extern const size_t tk_action_word_count;
#define TK_EFFECT_WORDS 4
extern const struct tk_word tk_effect_words[TK_EFFECT_WORDS];
const struct tk_word *tk_word_find(const struct tk_word *words, size_t count, const char *name);
const char *tk_word_at(const void *words, size_t index);

/* ---------------------------------------------------------------- time */

static inline int64_t tk_floor_div(int64_t value, int64_t by)
{
	return value / by - (value % by < 0);
}
/* 0 is Sunday; day 0 is 1970-01-01, a Thursday. */
static inline int tk_weekday(int64_t day)
{
	return (int)(day + 4 - tk_floor_div(day + 4, 7) * 7);
}
extern const char *const tk_day_names[7];
bool tk_day_parse(const char *name, unsigned int *ret_day);
/* "00:00" to "24:00", as minutes. */
bool tk_clock_parse(const char *text, uint16_t *ret_minute);

/* Seconds east of UTC at an instant, and the first instant after it at which they may be others. */
int32_t tk_zone_offset(const struct tk_zone *zone, int64_t when, int64_t *ret_until);
/* A zone of the system's, or a zone file's contents.  -EINVAL with *ret_why (static text), -ENOMEM.  free() it. */
int tk_zone_read(const char *name, struct tk_zone **ret_zone, const char **ret_why);
int tk_zone_parse(const uint8_t *data, size_t len, struct tk_zone **ret_zone, const char **ret_why);

/* ---------------------------------------------------------------- the model */

enum tk_kind { TK_USER_SETS, TK_PROCESS_SETS, TK_RESOURCE_SETS, TK_TIME_SETS, TK_KINDS };

struct tk_model_key {
	const char *id;
	enum tk_provider provider;
	const char *where;    /* as in struct tk_key_source */
	const cJSON *argv;    /* strings; command only */
	unsigned int timeout; /* seconds; command only */
	bool used;
};
struct tk_model_set {
	const char *name;
	bool used;
	bool login;	/* user sets: "login": "required" */
	bool integrity; /* process sets: no "integrity": false */
};
struct tk_model_user {
	uint32_t set;
	size_t index; /* in "users" or "groups" */
	const char *name;
	bool group;
};
struct tk_model_process {
	uint32_t set;
	size_t index; /* in "processes" */
	const char *path, *name, *unit;
	bool has_sha256;
	uint8_t sha256[32];
};
struct tk_model_pattern {
	uint32_t set;
	size_t index; /* in "paths" */
	struct tk_glob *glob;
};
struct tk_model_rule {
	uint64_t sets[TK_KINDS][TK_SET_WORDS];
	size_t source;
	uint16_t actions;
	uint8_t effects, named, negated;
	bool browse;
};
struct tk_model_policy {
	const char *name;
	const char *key_name; /* NULL: none */
	uint32_t key;	      /* UINT32_MAX: none, or unknown */
	enum tk_algorithm algorithm;
	uint32_t chunk_log2;
	size_t first_rule, rule_count;
	bool used;
};
struct tk_model_guard {
	const char *name, *path;
	uint32_t policy; /* UINT32_MAX: unknown */
	enum tk_mode mode;
	bool shield;
	uint32_t linger;
};

/* What holds where the text says nothing else. */
struct tk_level {
	const char *name;
	enum tk_mode mode;
	bool audit_all; /* every rule audits */
	bool integrity; /* of process sets */
};

/* What the text says, typed and numbered; strings belong to the tree. */
struct tk_model {
	cJSON *tree;
	const struct tk_level *level;
	struct tk_model_key *keys;
	struct tk_model_set *sets[TK_KINDS];
	struct tk_model_user *users;
	struct tk_model_process *processes;
	struct tk_model_pattern *patterns;
	struct tk_time_spec *times; /* one a time set; compile takes their zones */
	struct tk_model_rule *rules;
	struct tk_model_policy *policies;
	struct tk_model_guard *guards;
	size_t key_count, set_count[TK_KINDS], user_count, process_count, pattern_count, time_count,
		rule_count, policy_count, guard_count;
	size_t compiled_rule_count; /* rules with "browse" count twice */
};
extern const char *const tk_section_names[TK_KINDS];   /* "user_sets" … */
extern const char *const tk_kind_words[TK_KINDS];      /* "user set" … */
extern const char *const tk_dimension_names[TK_KINDS]; /* "users" … */

/* Appends to a list of the model, or notes that there is no memory. */
#define TK_APPEND(report, list, count)                                                          \
	({                                                                                   \
		__typeof__(*(list)) *fresh_ = tk_append(&(list), &(count), sizeof(*(list))); \
		if (!fresh_)                                                                 \
			(report)->no_memory = true;                                          \
		fresh_;                                                                      \
	})

/* Fills *model, which starts as zeros; problems are in the report alone. */
void tk_model_parse(struct tk_report *report, struct tk_model *model, const char *text, size_t len);
void tk_model_free(struct tk_model *model);
/* The level of that name; where there is none (NULL) or it is unknown, which is reported, the normal one. */
const struct tk_level *tk_level_parse(struct tk_report *report, const struct tk_place *at, const char *name);
/* One section of sets (sets.c); NULL: it is not there. */
void tk_model_parse_sets(struct tk_report *report, struct tk_model *model, enum tk_kind kind,
			 const cJSON *sets);
/* One policy's rules (rules.c), appended to model->rules. */
void tk_model_parse_keys(struct tk_report *report, struct tk_model *model, const cJSON *keys);
void tk_model_parse_rules(struct tk_report *report, struct tk_model *model, const struct tk_place *at,
			  const cJSON *rules, const struct tk_model_policy *policy);

/* Single values (check.c): true when fine, reported otherwise. */
bool tk_check_name(struct tk_report *report, const struct tk_place *at, const char *name);
bool tk_check_key_id(struct tk_report *report, const struct tk_place *at, const char *id);
bool tk_check_account(struct tk_report *report, const struct tk_place *at, const char *name, bool group);
bool tk_check_path(struct tk_report *report, const struct tk_place *at, const char *path);
bool tk_check_guard_path(struct tk_report *report, const struct tk_place *at, const char *path);
bool tk_check_glob(struct tk_report *report, const struct tk_place *at, const char *pattern,
		   enum tk_glob_use use, struct tk_glob **ret_glob);
bool tk_check_sha256(struct tk_report *report, const struct tk_place *at, const char *hex, uint8_t ret[32]);
bool tk_check_unit(struct tk_report *report, const struct tk_place *at, const char *unit);
/* What only shows in the whole: duplicates among guard points; things unused and rules out of reach
 * (warnings). */
void tk_check_whole(struct tk_report *report, const struct tk_model *model);
void tk_check_reach(struct tk_report *report, const struct tk_compiled *compiled);

/* True for "0", "1004", …: an id, not a name. */
bool tk_is_id(const char *name, uint32_t *ret_id);

/* The automaton of model->patterns, into compiled->states. */
void tk_automaton_build(struct tk_report *report, const struct tk_model *model, struct tk_compiled *compiled);

/* ---------------------------------------------------------------- this machine */

/* Where executables are looked for by base name. */
struct tk_search {
	const char *const *flat; /* directories, NULL at the end */
	const char *const *deep; /* the same, with everything below them */
	const char *top;	 /* its ancestors are not judged; "/" outside the tests */
	uid_t owner;		 /* who must own executables and directories: root outside the tests */
};
extern const struct tk_search tk_search_default;

/* tk_resolve() and the like with another place to look for base names. */
int tk_resolve_in(const struct tk_compiled *compiled, const struct tk_search *search,
		  struct tk_resolved **ret_resolved, struct tk_problems *problems);
int tk_resolve_programs_in(const struct tk_compiled *compiled, const struct tk_search *search,
			   struct tk_digests *digests, struct tk_resolved **ret_resolved,
			   struct tk_problems *problems);
uint64_t tk_programs_stamp_in(const struct tk_compiled *compiled, const struct tk_search *search);

/* digests.c: the digest of a file, st being what fstat(2) says of fd, which may be O_PATH.  0, -errno. */
int tk_digest_of(struct tk_digests *digests, int fd, const struct stat *st, uint8_t ret_digest[32]);
/* What was asked for since the last time stays, the rest is forgotten. */
void tk_digests_turn(struct tk_digests *digests);

/* One member, before merging: an executable found for one set. */
struct tk_hit {
	struct tk_inode exe;
	uint32_t set;
	uint32_t unit; /* UINT32_MAX: none is asked for */
	bool has_sha256; /* it is one because of its digest */
	uint8_t sha256[32];
	char *path;
};
struct tk_hits {
	struct tk_hit *items;
	size_t count;
};
void tk_hits_free(struct tk_hits *hits);
/* Every executable that an entry of the policy names.  -E2BIG, -ENOMEM. */
int tk_find_executables(const struct tk_compiled *compiled, const struct tk_search *search,
			struct tk_digests *digests, struct tk_problems *problems, struct tk_hits *hits);

/* The last mount asked for, so that a search does not read mountinfo for every file. */
struct tk_device_cache {
	bool valid;
	uint64_t mount;
	uint32_t dev;
};
int tk_inode_cached(int fd, struct tk_device_cache *cache, struct tk_inode *ret_inode);

#endif
