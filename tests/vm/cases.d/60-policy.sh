#!/bin/bash
# What the policy language promises, as the kernel keeps it: modes, nested guard points, resource
# patterns, exclusions, groups, browsing, directories that appear later, reloading; and that
# `explain` says the same as the kernel.
# timeout: 600
. tests/vm/cases.d/guarded.sh

TEXT="judged by the policy"
D=$DISKS O=$D/outer L=$D/later
prepare
mkdir -p "$D/monitored" "$O/inner/mysql/deep" "$O/inner/tmp" "$D/homes/jane/Private" "$D/unencrypted"
for dir in "$D/monitored" "$O" "$O/inner" "$O/inner/mysql" "$O/inner/mysql/deep" "$O/inner/tmp" \
	"$D/homes/jane/Private" "$D/unencrypted"; do
	echo "$TEXT" >"$dir/file"
	echo "$TEXT" >"$dir/data.ibd"
done
chmod -R 777 "$D/monitored" "$O" "$D/homes" "$D/unencrypted"

# write_policy FILE [RULE]: the policy; RULE comes first in "documents".
write_policy() {
	cat >"$1" <<-END
	{ "version": 1,
	  "keys": { "case": { "provider": "file", "path": "$KEY" } },
	  "user_sets": { "staff": { "users": ["1001"] }, "team": { "groups": ["2001"] }, "guests": { "users": ["1003"] } },
	  "process_sets": { $PROCESS_SETS },
	  "resource_sets": { "tables": { "paths": ["*.ibd", "mysql/**"] }, "scratch": { "paths": ["tmp/**"] } },
	  "policies": {
	    "documents": { "key": "case", "rules": [ ${2:-}${2:+,} $PLAIN_RULE, $RAW_RULE ] },
	    "database": { "key": "case", "rules": [
	      { "users": "guests", "resources": "scratch", "actions": ["data_read"], "effects": ["permit", "apply_key"], "browse": true },
	      { "users": "staff", "processes": "app", "resources": "tables", "actions": ["read", "write"],
	        "effects": ["permit", "apply_key"] },
	      { "users": "team", "resources": { "not": ["tables", "scratch"] }, "actions": ["read"],
	        "effects": ["permit", "apply_key", "audit"] },
	      { "users": { "not": ["staff", "team"] }, "actions": ["all_ops"], "effects": ["deny", "audit"] },
	      { "processes": { "not": "app" }, "actions": ["data_read"], "effects": ["permit"] } ] },
	    "unencrypted": { "rules": [
	      { "users": "staff", "actions": ["read", "data_write"], "effects": ["permit"] } ] } },
	  "guard_points": [
	    { "name": "monitored", "path": "$D/monitored", "policy": "documents", "mode": "monitor" },
	    { "name": "outer", "path": "$O", "policy": "documents" },
	    { "name": "inner", "path": "$O/inner", "policy": "database" },
	    { "name": "homes", "path": "$D/homes/*/Private", "policy": "documents" },
	    { "name": "later", "path": "$L", "policy": "documents" },
	    { "name": "unencrypted", "path": "$D/unencrypted", "policy": "unencrypted" } ] }
	END
}
write_policy "$POLICY"
permitted "before: read" other open-read "$O/file"
permitted "before: list" other list "$O"
permitted "before: write" other open-write "$O/file" judged
permitted "before: create" other create "$O/created"
permitted "before: unlink" other unlink "$O/created"
permitted "before: chmod" root chmod "$O/file" 0777
permitted "before: mkdir" other mkdir "$O/dir"
permitted "before: rename" other rename "$O/dir" "$O/dir2"
touch "$CASE_DIR/gone"
permitted "before: open, then read" other open-then-read "$O/file" "$CASE_DIR/gone"
permitted "before: open, then write" other open-then-write "$O/file" "$CASE_DIR/gone" "judged"
check "the policy is good" "$TK" check "$POLICY"
load
settled

# The innermost guard point decides.
refused "outer: the team" EACCES "$PROBE" --uid 1002 --groups 2001 open-read "$O/file"
reads "inner: the team" "$TEXT" "$PROBE" --uid 1002 --groups 2001 open-read "$O/inner/file"
refused "inner: as its group alone does not help others" EACCES "$PROBE" --uid 1002 --groups 2002 open-read "$O/inner/file"
reads "inner: as first group" "$TEXT" "$PROBE" --uid 1002 --gid 2001 open-read "$O/inner/file"
reads "outer: the app" "$TEXT" app open-read "$O/file"
refused "inner: no resource, no access" EACCES app open-read "$O/inner/file"
# Resources.
reads "a pattern without a slash, at any depth" "$TEXT" app open-read "$O/inner/data.ibd"
reads "deeper" "$TEXT" app open-read "$O/inner/tmp/data.ibd"
reads "a pattern with a slash" "$TEXT" app open-read "$O/inner/mysql/deep/file"
reads "what is not excluded" "$TEXT" "$APP" --uid 1002 --groups 2001 open-read "$O/inner/file"
refused "what is excluded" EACCES "$APP" --uid 1002 --groups 2001 open-read "$O/inner/mysql/file"
permitted "a new table" app create "$O/inner/new.ibd" "$TEXT"
refused "no new file of another name" EACCES app create "$O/inner/new.txt"
permitted "renamed to a table" app rename "$O/inner/new.ibd" "$O/inner/newer.ibd"
refused "not to another name" EACCES app rename "$O/inner/newer.ibd" "$O/inner/newer.txt"
# Guests: data_read with browse; the guard point may be listed, its files not read.
reads "browse lists" "data.ibd" "$PROBE" --uid 1003 list "$O/inner"
reads "a guest reads scratch" "$TEXT" "$PROBE" --uid 1003 open-read "$O/inner/tmp/file"
refused "and nothing else" EACCES "$PROBE" --uid 1003 open-read "$O/inner/file"
refused "a stranger does not even list" EACCES "$PROBE" --uid 1004 list "$O/inner"
# Another program of the staff: raw, by the last rule.
reads "permit without the key is raw" "data TAKA" other --repeat-until-ok 5000 open-read "$O/inner/file"
refused "and reading only" EACCES other open-write "$O/inner/file" "x"
# Without a key nothing is encrypted, and decided all the same.
reads "access control alone" "$TEXT" other open-read "$D/unencrypted/file"
refused "which refuses, too" EACCES stranger create "$D/unencrypted/created"
same "it stays plaintext" 1 "$(other open-read "$D/unencrypted/file" | grep -c "$TEXT")"

# Monitor: permits, in the plaintext view, and records.
reads "monitor permits" "$TEXT" stranger open-read "$D/monitored/file"
permitted "monitor permits writing" stranger open-write "$D/monitored/file" "JUDGED"
sealed "monitor encrypts" "$D/monitored/file"
reads "what was written" "JUDGED by" root open-read "$D/monitored/file"
recorded() { "$TK" events --json | jq -e "select($1)" | grep -q .; }
wait_until "monitor records what would have been denied" 10 recorded \
	".verdict == \"deny\" and .mode == \"monitor\" and .uid == 1002 and .result == 0 and .path == \"$D/monitored/file\""
wait_until "a denial is recorded" 10 recorded \
	".verdict == \"deny\" and .uid == 1004 and .error == \"EACCES\" and .guard == \"inner\""
wait_until "a permission with audit, too" 10 recorded \
	".verdict == \"permit\" and .rule == 2 and .uid == 1002 and .path == \"$O/inner/file\""

# Directories that match a pattern, or exist, only now.
reads "a pattern's directory" "$TEXT" app open-read "$D/homes/jane/Private/file"
refused "is guarded" EACCES stranger open-read "$D/homes/jane/Private/file"
mkdir "$D/homes/joe"
mkdir -m 777 "$D/homes/joe/Private" "$L"
watched() { [ "$(status "[.guard_points[] | select(.path == \"$1\")][0].watched")" = true ]; }
wait_until "another home is watched" 30 watched "$D/homes/joe/Private"
wait_until "what was to come, too" 30 watched "$L"
for dir in "$D/homes/joe/Private" "$L"; do
	permitted "$dir: the app" app create "$dir/file" "$TEXT"
	sealed "$dir" "$dir/file"
	reads "$dir: reads" "$TEXT" app open-read "$dir/file"
	refused "$dir: a stranger" EACCES stranger open-read "$dir/file"
done

# explain and the kernel: the same table, asked twice.
agree() {
	local who=$1 program=$2 action=$3 path=$4 says does view=raw out
	says=$("$TK" explain "$POLICY" --user "${who%%:*}" --groups "${who#*:}" --process "$program" --action "$action" --json "$path" |
		jq -r '.verdict + (if .verdict == "permit" and .apply_key then " plain" elif .verdict == "permit" then " raw" else "" end)')
	local run=("$program" --uid "${who%%:*}" --groups "${who#*:}" --repeat-until-ok 0)
	case $action in
	data_read) out=$("${run[@]}" open-read "$path") ;;
	data_write) out=$("${run[@]}" open-then-write "$path" "$CASE_DIR/gone" "") ;;
	list) out=$("${run[@]}" list "$path") ;;
	create) out=$("${run[@]}" mkdir "$path") ;;
	delete) out=$("${run[@]}" rmdir "$path") ;;
	set_attr) out=$("${run[@]}" utimes "$path") ;;
	esac
	case $out in
	*"errno EACCES"*) does=deny ;;
	*"errno EPERM"* | *"errno ENOENT"*) does="$out" ;;
	*ok)
		does=permit
		# Where nothing is encrypted the bytes as stored are plaintext.
		[[ $out != *"$TEXT"* || $path == */unencrypted/* ]] || view=plain
		if [ "$action" != data_read ]; then does="permit ${says#permit }"; else does="permit $view"; fi ;;
	*) does=$out ;;
	esac
	same "explain and kernel: $who ${program##*/} $action ${path#"$D"/}: $says" "$says" "$does"
}
settled
"$PROBE" --uid 0 list "$O" >/dev/null
for who in 1001:3000 1002:2001 1003:3000 1004:3000; do
	for program in "$APP" "$PROBE"; do
		for path in "$O/file" "$O/inner/file" "$O/inner/data.ibd" "$O/inner/mysql/deep/file" "$O/inner/tmp/file" \
			"$D/unencrypted/file"; do
			agree $who "$program" data_read "$path"
			agree $who "$program" data_write "$path"
		done
		agree $who "$program" list "$O/inner"
		agree $who "$program" list "$O"
		agree $who "$program" set_attr "$O/inner/data.ibd"
		agree $who "$program" create "$O/inner/made.ibd"
		[ ! -d "$O/inner/made.ibd" ] || agree $who "$program" delete "$O/inner/made.ibd"
	done
done
same "nothing failed" 0 "$(status .failure_count)"

# Reload: whole policies, at once, for what is open as well.
NO_STAFF='{ "users": "staff", "actions": ["all_ops"], "effects": ["deny"] }'
cp "$POLICY" "$CASE_DIR/first.json"
write_policy "$CASE_DIR/second.json" "$NO_STAFF"
background "$CASE_DIR/holder" "$APP" --uid $STAFF open-then-read "$O/file" "$CASE_DIR/read"
wait_until "the app has it open" 20 grep -q ^opened "$CASE_DIR/holder"
background "$CASE_DIR/writer" "$APP" --uid $STAFF open-then-write "$O/file" "$CASE_DIR/write" JUDGED
wait_until "twice" 20 grep -q ^opened "$CASE_DIR/writer"
permitted "reload" "$TK" reload "$CASE_DIR/second.json"
refused "refused now" EACCES app open-read "$O/file"
refused "listing, too" EACCES app list "$O"
reads "not in the guard point of the other policy" "$TEXT" app open-read "$O/inner/data.ibd"
touch "$CASE_DIR/read"
ended() { wait_until "$1 has ended" 20 grep -q "^at" "$CASE_DIR/$1" >/dev/null; cat "$CASE_DIR/$1"; return 10; }
refused "what it has open is judged anew" EACCES ended holder
permitted "reload back" "$TK" reload "$CASE_DIR/first.json"
touch "$CASE_DIR/write"
wait_until "who did not read meanwhile goes on" 20 grep -qx ok "$CASE_DIR/writer"
reads "permitted again" "JUDGED by" app open-read "$O/file"
sealed "and sealed" "$O/file"
echo '{ "version": 1 ' >"$CASE_DIR/bad.json"
ends_with "a bad policy is not reloaded" 1 "$TK" reload "$CASE_DIR/bad.json"
sed 's/"users": "guests"/"users": "quests"/' "$CASE_DIR/first.json" >"$CASE_DIR/bad.json"
ends_with "a wrong name neither" 1 "$TK" reload "$CASE_DIR/bad.json"
same "and it is named" 1 "$(grep -c '/policies/database/rules/0/users.*quests' <<<"$OUTPUT")"
reads "the former one stays" "JUDGED by" app open-read "$O/file"
refused "in force" EACCES stranger open-read "$O/file"
settled
# The loader killed when the kernel has the policy and nobody has been told: the agent finds it.
jq '.policies |= map_values(.rules |= map(del(.users)))' "$CASE_DIR/first.json" >"$CASE_DIR/everybody.json"
ends_with "a reload killed between its two steps" 137 strace -qq -o /dev/null -e trace=rename \
	-e inject=rename:signal=SIGKILL "$TK" reload "$CASE_DIR/everybody.json"
check "its policy is in force, though not told" cmp -s /run/takakrypt/policy.json "$CASE_DIR/first.json"
reads "the stranger reads" "JUDGED by" stranger open-read "$O/file"
check "the agent has found it" cmp /run/takakrypt/policy.json "$CASE_DIR/everybody.json"
permitted "reload back, after that" "$TK" reload "$CASE_DIR/first.json"
refused "as before" EACCES stranger open-read "$O/file"
exec 9<>/run/takakrypt/policy.lock
check "another one at work" flock -n 9
ends_with "a reload meanwhile" 1 "$TK" reload "$CASE_DIR/first.json"
exec 9>&-
# One guard point less.
jq '.guard_points |= map(select(.name != "homes"))' "$CASE_DIR/first.json" >"$CASE_DIR/fewer.json"
permitted "reload with a guard point less" "$TK" reload "$CASE_DIR/fewer.json"
reads "what was sealed there stays ciphertext" "data TAKA" stranger open-read "$D/homes/jane/Private/file"
permitted "and nothing is decided there any more" stranger create "$D/homes/jane/Private/stranger" "$TEXT"
reads "nor encrypted" "$TEXT" other open-read "$D/homes/jane/Private/stranger"
permitted "reload with it again" "$TK" reload "$CASE_DIR/first.json"
sealed "it is found" "$D/homes/jane/Private/stranger"
refused "and guarded" EACCES stranger open-read "$D/homes/jane/Private/file"
reads "the app reads" "$TEXT" app open-read "$D/homes/jane/Private/file"
settled
same "no record is left" 0 "$(status .files.records)"
