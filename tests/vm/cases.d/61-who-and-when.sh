#!/bin/bash
# Who, more exactly than by user and program, and when: log-in, times, units. Each
# denial stands beside the same access permitted.
# timeout: 600
. tests/vm/cases.d/guarded.sh

TEXT="for whom and when"
G=$DISKS/guarded
TIME_SETS='"office": { "days": ["fri"], "from": "08:00", "to": "18:00", "timezone": "Asia/Jakarta" },
	"night": { "days": ["fri"], "from": "22:00", "to": "06:00", "timezone": "Asia/Jakarta" }'
USER_SETS='"staff": { "users": ["1001"], "login": "required" }, "team": { "groups": ["2001"], "login": "required" }'
PROCESS_SETS="$PROCESS_SETS"', "server": { "processes": [ { "path": "'$APP'", "unit": "one.service" } ] },
	"anything": { "processes": [ { "unit": "_two.scope" } ] }'
PLAIN_RULE='{ "users": ["staff", "team"], "processes": "app", "actions": ["read", "write"], "effects": ["permit", "apply_key"] }'
TIMED_RULE='{ "users": "root", "processes": "app", "times": ["office", "night"], "actions": ["data_read"], "effects": ["permit", "apply_key"] }'
UNIT_RULE='{ "users": "server", "processes": "server", "actions": ["data_read"], "effects": ["permit", "apply_key"] }'
ANY_RULE='{ "users": "any", "processes": "anything", "actions": ["data_read"], "effects": ["permit", "apply_key"] }'
APART_RULE='{ "users": "apart", "processes": { "not": "anything" }, "actions": ["data_read"], "effects": ["permit", "apply_key"] }'
USER_SETS=$USER_SETS', "root": { "users": ["0"] }, "server": { "users": ["1005"] }, "any": { "users": ["1006"] }, "apart": { "users": ["1007"] }'
prepare
policy "$POLICY" "$PLAIN_RULE, $RAW_RULE, $TIMED_RULE, $UNIT_RULE, $ANY_RULE, $APART_RULE" "$G"
echo "$TEXT" >"$G/file"
chmod 666 "$G/file"
at() { date -u -s "$1" >/dev/null || give_up "the clock cannot be set"; }
at "2026-11-20 00:59:00"
load
settled

# Log-in: the user himself, not who became him.
[ -e /proc/self/loginuid ] || give_up "this kernel has no login uid"
reads "logged in as himself" "$TEXT" "$APP" --login 1001 --uid 1001 open-read "$G/file"
refused "root who becomes him" EACCES "$APP" --login 0 --uid 1001 open-read "$G/file"
refused "another user who becomes him" EACCES "$APP" --login 1002 --uid 1001 open-read "$G/file"
refused "a service, which nobody logged in for" EACCES "$APP" --uid 1001 open-read "$G/file"
reads "by his group" "$TEXT" "$APP" --login 1003 --uid 1003 --groups 2001 open-read "$G/file"
refused "the group alone" EACCES "$APP" --login 1001 --uid 1003 --groups 2001 open-read "$G/file"

# Times: in Jakarta, 7 hours ahead of UTC. 2026-11-20 is a Friday.
reads_now() { reads "$1" "$TEXT" root --repeat-until-ok 1500 open-read "$G/file"; }
denied_now() {
	wait_until "$1: the kernel knows" 2 denied
	refused "$1" EACCES root open-read "$G/file"
}
denied() { root open-read "$G/file" | grep -qx "errno EACCES"; }
times() { status ".times | $1"; }
denied_now "just before eight"
same "status says when" "2026-11-20T01:00:00Z" "$(times .next)"
at "2026-11-20 00:59:58.5"
reads_now "it turns eight by itself, while we wait: the office is open" # 1.5 s, and 1.5 s of patience
same "status names what holds" office "$(times '.holding | join(" ")')"
background "$CASE_DIR/holder" root open-then-read "$G/file" "$CASE_DIR/read"
wait_until "somebody has it open" 20 grep -q ^opened "$CASE_DIR/holder"
at "2026-11-20 10:59:59"
denied_now "at six, without any clock being set"
touch "$CASE_DIR/read"
ended() { # NAME: what the program in the background said, and ended with
	wait_until "$1 has ended" 20 grep -qE "^(at|data) " "$CASE_DIR/$1" >/dev/null
	cat "$CASE_DIR/$1"
	! grep -q "^at" "$CASE_DIR/$1" || return 10
}
permitted "reading what was opened works" "$BACKUP" open-then-read "$G/file" "$CASE_DIR/read"
refused "who has it open is judged by the hour as well" EACCES ended holder
at "2026-11-20 15:00:00"
reads_now "the night of Friday"
at "2026-11-20 22:59:30"
reads_now "goes on to Saturday's morning"
at "2026-11-20 23:00:00"
denied_now "until six"
at "2026-11-21 15:00:00"
denied_now "the night of Saturday is another"
# An agent that is stopped, or busy, tells of no change: then nobody knows who may, and so nobody may.
at "2026-11-20 22:59:40"
reads_now "the night, and the agent knows until when"
background "$CASE_DIR/after" root open-then-read "$G/file" "$CASE_DIR/read-after"
wait_until "somebody has it open at night" 18 grep -q ^opened "$CASE_DIR/after"
agent=$(agent_pid)
kill -STOP "$agent"
wait_until "the night is over" 60 eval '[ "$(date -u +%s)" -gt "$(date -u -d "2026-11-20 23:00:01" +%s)" ]'
touch "$CASE_DIR/read-after"
refused "with the agent stopped, after the change" EACCES ended after
kill -CONT "$agent"
at "2026-11-20 02:00:00"
reads_now "the clock is put back"
permitted "reload" "$TK" reload "$POLICY"
reads_now "a reload knows the time"
explain() { "$TK" explain "$POLICY" --user root --process "$APP" --action data_read "$@" --json "$G/file" | jq -r .verdict; }
same "explain: now" permit "$(explain)"
same "explain: another time" deny "$(explain --at "fri 19:00")"
same "explain: on the wall" permit "$(explain --at "sat 05:30")"
same "explain: an instant" deny "$(explain --at 2026-11-20T23:00:00Z)"
# Without an agent times stay as they are, and are said to.
kill -KILL "$(agent_pid)"
wait_until "the agent is gone" 20 eval '[ "$(status .state)" = none ]'
same "status: frozen" true "$(times .frozen)"
at "2026-11-20 12:00:00"
ends_with "status" 1 "$TK" status
same "in words, too" 1 "$(grep -c "^times .*frozen" <<<"$OUTPUT")"
background "$CASE_DIR/agent" "$TK" agent
wait_until "another agent" 30 eval '[ "$(status .state)" = ready ]'
denied_now "which knows the time"

# Units: by the control group, as systemd reads it. This machine has no systemd; groups have its names.
C=/sys/fs/cgroup
[ -e $C/cgroup.controllers ] || give_up "no cgroup v2"
at_exit 'rmdir $(find '$C'/system.slice '$C'/user.slice '$C'/one.service -depth -type d)'
in_group() { # GROUP COMMAND...
	mkdir -p "$C/$1" || return 12
	(echo $BASHPID >"$C/$1/cgroup.procs" && shift && exec "$@")
}
server() { in_group "$1" "$APP" --uid 1005 open-read "$G/file"; }
any() { in_group "$1" "${2:-$PROBE}" --uid 1006 open-read "$G/file"; }
reads "the program in its unit" "$TEXT" server system.slice/one.service
refused "the program in no unit" EACCES "$APP" --uid 1005 open-read "$G/file"
refused "in another" EACCES server system.slice/three.service
refused "another program in the unit" EACCES in_group system.slice/one.service "$PROBE" --uid 1005 open-read "$G/file"
reads "a group of the unit's own" "$TEXT" server system.slice/one.service/worker/more
reads "slices above it" "$TEXT" server system.slice/system-one.slice/one.service
reads "no slice above it" "$TEXT" server one.service
refused "a group of that name that a user's manager made" EACCES server user.slice/user-1005.slice/user@1005.service/app.slice/one.service
refused "one that a container made" EACCES server system.slice/docker-1.scope/system.slice/one.service
refused "a name that begins so" EACCES server system.slice/one.service.slice.service
deep=$(printf 'd.slice/%.0s' {1..30})
refused "deeper than is looked" EACCES server "system.slice/${deep}one.service"
reads "as deep as is looked" "$TEXT" server "system.slice/${deep:0:232}one.service"
reads "any program in a unit, whose name systemd wrote with _" "$TEXT" any system.slice/__two.scope
reads "another" "$TEXT" any system.slice/__two.scope "$APP"
refused "not elsewhere" EACCES any system.slice/two.scope
apart() { in_group "$1" "$PROBE" --uid 1007 open-read "$G/file"; }
reads "who must not be in a unit is in another" "$TEXT" apart system.slice/three.service
refused "he is in it" EACCES apart system.slice/__two.scope
refused "it cannot be told" EACCES apart "system.slice/${deep}three.service"
check "and the audit trail says that" grep -q '"uid":1007.*"identity_unknown"' <("$TK" events --json --last 100)
# Nobody outside may look into a member, by his unit or not.
background "$CASE_DIR/member" in_group system.slice/one.service "$APP" --uid 1005 open-then-read "$G/file" "$CASE_DIR/go"
wait_until "a member runs" 20 grep -q ^opened "$CASE_DIR/member"
member=$(cat $C/system.slice/one.service/cgroup.procs | tail -n1)
background "$CASE_DIR/free" in_group system.slice/three.service "$APP" --uid 1005 open-then-read /etc/passwd "$CASE_DIR/go"
wait_until "and one that is none" 20 grep -q ^opened "$CASE_DIR/free"
free=$(cat $C/system.slice/three.service/cgroup.procs | tail -n1)
permitted "the same program elsewhere may be traced" in_group system.slice/two.scope "$APP" ptrace-attach "$free"
refused "the member by no one from outside the unit" EPERM in_group system.slice/two.scope "$APP" ptrace-attach "$member"
permitted "from inside he may be" in_group system.slice/one.service "$APP" ptrace-attach "$member"
touch "$CASE_DIR/go"

# What is recorded of it is enough for `replay` to ask again.
recorded() { "$TK" events --json | jq -e "select($1)" | grep -q .; }
refused "root who becomes him, once more" EACCES "$APP" --login 0 --uid 1001 open-read "$G/file"
wait_until "who became him is recorded with the log-in" 20 recorded '.verdict == "deny" and .uid == 1001 and .login_uid == 0'
background "$CASE_DIR/refused" in_group system.slice/three.service "$APP" --login 1005 --uid 1005 --repeat-until-ok 60000 open-read "$G/file"
wait_until "who is in another unit, with that" 20 recorded '.verdict == "deny" and .unit == "three.service" and .login_uid == 1005'
echo 1 >$C/system.slice/three.service/cgroup.kill
"$TK" events --json | jq -c 'select(.unit == "three.service")' >"$CASE_DIR/events.jsonl"
check "replay: the same would be decided" "$TK" replay "$POLICY" "$CASE_DIR/events.jsonl"
check "all of it" grep -q "^\([0-9]*\) events\?, \1 unchanged$" <<<"$OUTPUT"
sed 's/"unit": "one.service"/"unit": "three.service"/' "$POLICY" >"$CASE_DIR/other.json"
check "replay: with the unit in the policy" "$TK" replay "$CASE_DIR/other.json" "$CASE_DIR/events.jsonl"
check "they would be permitted" grep -q "^deny to permit: " <<<"$OUTPUT"
