// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/status.c - the state of the agent as JSON.  Reads everything, owns nothing.
 */
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "loader/agent/agent.h"
#include "loader/agent/watchdog.h"

static void add_number(cJSON *json, const char *name, uint64_t value)
{
	cJSON_AddNumberToObject(json, name, (double)value);
}

static void add_guards(struct tk_agent *agent, cJSON *json)
{
	cJSON *guards = cJSON_AddArrayToObject(json, "guard_points");
	TK_HOLD_READ(&agent->policy_lock);

	for (size_t i = 0; i < agent->now.count; i++) {
		const struct tk_spot *spot = &agent->now.items[i];
		cJSON *guard = cJSON_CreateObject();

		cJSON_AddStringToObject(guard, "name", spot->recipe.guard);
		cJSON_AddStringToObject(guard, "path", spot->path);
		cJSON_AddStringToObject(guard, "mode", tk_mode_name(spot->mode));
		cJSON_AddStringToObject(guard, "key", spot->recipe.key_id);
		cJSON_AddBoolToObject(guard, "watched", spot->marked);
		if (*spot->trouble)
			cJSON_AddStringToObject(guard, "trouble", spot->trouble);
		cJSON_AddItemToArray(guards, guard);
	}
}

static void add_time(cJSON *json, const char *name, time_t when)
{
	char stamp[32];
	struct tm tm;

	if (!when || !gmtime_r(&when, &tm)) {
		cJSON_AddNullToObject(json, name);
		return;
	}
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);
	cJSON_AddStringToObject(json, name, stamp);
}

static void add_health(struct tk_agent *agent, const char *key_id, cJSON *key)
{
	struct tk_key_health health;

	if (tk_keyring_health(agent->keys, key_id, &health))
		return;
	add_number(key, "failures", health.failures);
	add_time(key, "last_success", health.last_success);
	add_time(key, "last_failure", health.last_failure);
	add_time(key, "open_until", health.open ? time(NULL) + health.retry_seconds : 0);
	if (health.why)
		cJSON_AddStringToObject(key, "why", health.why);
}

static void add_keys(struct tk_agent *agent, cJSON *json)
{
	cJSON *keys = cJSON_AddArrayToObject(json, "keys");
	TK_HOLD_READ(&agent->policy_lock);

	for (size_t i = 0; agent->compiled && i < agent->compiled->key_count; i++) {
		const struct tk_key_spec *spec = &agent->compiled->keys[i];
		cJSON *key = cJSON_CreateObject();
		uint32_t current;

		cJSON_AddStringToObject(key, "id", spec->id);
		cJSON_AddStringToObject(key, "provider", tk_provider_name(spec->source.provider));
		cJSON_AddStringToObject(key, "where", spec->source.where);
		if (tk_keyring_current(agent->keys, spec->id, &current))
			cJSON_AddNullToObject(key, "current");
		else
			add_number(key, "current", current);
		add_health(agent, spec->id, key);
		cJSON_AddItemToArray(keys, key);
	}
}

static void add_times(struct tk_agent *agent, cJSON *json)
{
	cJSON *times, *holding;
	TK_HOLD_READ(&agent->policy_lock);

	if (!agent->compiled->time_set_count)
		return;
	times = cJSON_AddObjectToObject(json, "times");
	holding = cJSON_AddArrayToObject(times, "holding");
	for (size_t i = 0; i < agent->compiled->time_set_count; i++)
		if (agent->times.holding.sets[i / 64] >> (i % 64) & 1)
			cJSON_AddItemToArray(holding, cJSON_CreateString(agent->compiled->time_sets[i]));
	add_time(times, "next", agent->times.next == INT64_MAX ? 0 : agent->times.next);
	cJSON_AddBoolToObject(times, "frozen", agent->times.frozen);
}

static void add_files(struct tk_agent *agent, cJSON *json)
{
	uint64_t open = 0, moving = 0, waiting = 0, raw = 0, records = 0, plain = 0, unsealed = 0;
	cJSON *files;
	TK_HOLD(&agent->lock);

	for (size_t i = 0; i < TK_TABLE_SIZE; i++)
		for (const struct tk_file *file = agent->table[i]; file; file = file->hash_next) {
			records += file->has_record;
			unsealed += file->has_record && file->state != TK_KEPT;
			if (file->running || file->queued) {
				moving++;
				continue;
			}
			open += file->state == TK_OPEN;
			moving += file->state == TK_SEALING || file->state == TK_UNSEALING;
			plain += file->state == TK_SEALED && file->plain;
			raw += file->state == TK_SEALED && !file->plain && !file->waiting;
			waiting += file->waiting != NULL;
		}
	files = cJSON_AddObjectToObject(json, "files");
	add_number(files, "open", open);
	add_number(files, "in_transition", moving);
	add_number(files, "waiting", waiting);
	add_number(files, "open_raw", raw);
	add_number(files, "plaintext_found", plain);
	add_number(files, "kept", agent->kept.count);
	add_number(files, "records", records);
	add_number(files, "unsealed", unsealed);
	cJSON_AddBoolToObject(files, "set_aside", atomic_load(&agent->set_aside));
	add_number(json, "queue", agent->small.length + agent->large.length);
	add_number(json, "workers", agent->workers);
}

#define WORK_MOST 64 /* as many as there can be workers */

/* What the ciphers are at: with large files that takes a while. */
static void add_work(struct tk_agent *agent, cJSON *json)
{
	cJSON *work = cJSON_AddArrayToObject(json, "work");
	TK_HOLD(&agent->lock);

	for (size_t i = 0; i < TK_TABLE_SIZE; i++)
		for (const struct tk_file *file = agent->table[i]; file; file = file->hash_next) {
			uint64_t total = atomic_load(&file->bytes_total), done = atomic_load(&file->bytes_done);
			char name[512];
			cJSON *item;

			if (!total || cJSON_GetArraySize(work) == WORK_MOST)
				continue;
			item = cJSON_CreateObject();
			tk_file_name(file, name, sizeof(name));
			cJSON_AddStringToObject(item, "path", name);
			add_number(item, "done", done < total ? done : total);
			add_number(item, "size", total);
			cJSON_AddItemToArray(work, item);
		}
}

static void add_watchdog(cJSON *json)
{
	cJSON *watchdog = cJSON_AddObjectToObject(json, "watchdog");

	add_number(watchdog, "seconds", tk_watchdog_seconds());
	cJSON_AddBoolToObject(watchdog, "watches", tk_watchdog_watches());
}

static void add_sweep(struct tk_agent *agent, cJSON *json)
{
	cJSON *sweep = cJSON_AddObjectToObject(json, "sweep");
	TK_HOLD(&agent->sweep.lock);

	cJSON_AddBoolToObject(sweep, "running", agent->sweep.running);
	add_number(sweep, "rounds", agent->sweep.done);
	add_number(sweep, "files", agent->sweep.files);
	add_number(sweep, "found", agent->sweep.found);
}

static void add_programs(struct tk_agent *agent, cJSON *json)
{
	cJSON *programs = cJSON_AddObjectToObject(json, "programs");
	TK_HOLD(&agent->programs.lock);

	add_number(programs, "recognised", agent->programs.recognised);
	if (agent->programs.recognised)
		cJSON_AddStringToObject(programs, "last", agent->programs.last);
}

static void add_failures(struct tk_agent *agent, cJSON *json)
{
	cJSON *failures = cJSON_AddArrayToObject(json, "failures");
	uint64_t first;
	TK_HOLD(&agent->log_lock);

	first = agent->failure_count > TK_FAILURES ? agent->failure_count - TK_FAILURES : 0;
	add_number(json, "failure_count", agent->failure_count);
	for (uint64_t i = first; i < agent->failure_count; i++) {
		const struct tk_failure *failure = &agent->failures[i % TK_FAILURES];
		cJSON *item = cJSON_CreateObject();

		add_time(item, "time", failure->when);
		cJSON_AddStringToObject(item, "text", failure->text);
		cJSON_AddItemToArray(failures, item);
	}
}

static void add_events(struct tk_agent *agent, cJSON *json)
{
	cJSON *events = cJSON_AddObjectToObject(json, "events");
	TK_HOLD(&agent->log_lock);

	add_number(events, "recorded", agent->line_count);
	add_number(events, "kept", agent->line_count < TK_LINES ? agent->line_count : TK_LINES);
}

static void add_counters(struct tk_agent *agent, cJSON *json)
{
	static const char *const names[TK_COUNTER_COUNT] = {
		[TK_COUNT_DECISIONS] = "decisions",	      [TK_COUNT_DENIED] = "denied",
		[TK_COUNT_EVENTS_DROPPED] = "events_dropped", [TK_COUNT_NOTICES_DROPPED] = "notices_dropped",
		[TK_COUNT_PLACE_CACHED] = "places_cached",    [TK_COUNT_PLACE_WALKED] = "places_walked",
		[TK_COUNT_FOREIGN_FULL] = "foreign_code_full",
		[TK_COUNT_NO_SCRATCH] = "unit_unknown",
	};
	uint64_t counters[TK_COUNTER_COUNT];
	cJSON *item;

	if (tk_kernel_counters(agent->kernel, counters))
		return;
	item = cJSON_AddObjectToObject(json, "counters");
	for (size_t i = 0; i < TK_COUNTER_COUNT; i++)
		if (names[i])
			add_number(item, names[i], counters[i]);
}

char *tk_status_json(struct tk_agent *agent)
{
	cJSON *json = cJSON_CreateObject();
	const char *state = atomic_load(&agent->stopping) ? "stopping"
			    : atomic_load(&agent->ready)  ? "ready"
							  : "starting";
	char *line;

	if (!json)
		return NULL;
	cJSON_AddBoolToObject(json, "ok", true);
	cJSON_AddStringToObject(json, "state", state);
	add_number(json, "pid", (uint64_t)getpid());
	add_number(json, "started", (uint64_t)agent->started);
	add_number(json, "ready_after_ms", agent->ready_after);
	add_number(json, "generation", agent->now.generation);
	add_watchdog(json);
	add_guards(agent, json);
	add_keys(agent, json);
	add_times(agent, json);
	add_files(agent, json);
	add_work(agent, json);
	add_number(json, "unsettled", tk_files_unsettled(agent, SIZE_MAX));
	add_sweep(agent, json);
	add_programs(agent, json);
	add_events(agent, json);
	add_counters(agent, json);
	add_failures(agent, json);
	line = cJSON_PrintUnformatted(json);
	cJSON_Delete(json);
	return line;
}
