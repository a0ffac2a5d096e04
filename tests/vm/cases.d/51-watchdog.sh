#!/bin/bash
# An agent that is stopped: opens wait for it, and end with ENOKEY when its watchdog has killed it. Who has a
# file open goes on, the next agent takes it over, nothing is lost.
# disks: ext4
# timeout: 600
. tests/vm/cases.d/guarded.sh

TEXT="outlives the agent"
prepare
G=$DISKS/guarded
for n in 1 2; do echo "$TEXT" >"$G/file$n"; done
chmod 666 "$G"/*
permitted "before: open" stranger open-read "$G/file1"
load --watchdog 5
settled
same "it watches" "5 true" "$(status '.watchdog | "\(.seconds) \(.watches)"')"
ends_with "too short a time" 2 "$TK" load --watchdog 4 "$POLICY"
ends_with "no time at all" 2 "$TK" agent --watchdog soon

agent=$(agent_pid)
guardian=$(pgrep -P "$agent" -x tk-guardian)
ended() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status"; }
state_of() { sed -n 's/^State:.\(.\).*/\1/p' "/proc/$1/status"; }
all_stopped() { ! sed -n 's/^State:.\(.\).*/\1/p' /proc/"$agent"/task/*/status | grep -qv T; }
waits() { local pid; pid=$(pgrep -n -x app) && [ "$(state_of "$pid")" = D ]; }

reads "it works" "$TEXT" app open-read "$G/file1"
background "$CASE_DIR/writer" "$APP" --uid $STAFF open-then-write "$G/file2" "$CASE_DIR/go" "OUTLIVES"
wait_until "somebody has a file open" 20 grep -q ^opened "$CASE_DIR/writer"
sealed "the other is sealed" "$G/file1"

kill -STOP "$agent"
wait_until "the agent is stopped" 10 all_stopped
background "$CASE_DIR/waiter" "$APP" --uid $STAFF open-read "$G/file1"
wait_until "an open waits for it" 20 waits
check "the agent is there" test "$(state_of "$agent")" = T
touch "$CASE_DIR/go"
wait_until "who has a file open goes on meanwhile" 20 grep -qx ok "$CASE_DIR/writer"
wait_until "the agent is killed" 60 ended "$agent"
wait_until "and the open ends" 20 grep -qE '^(ok|errno)' "$CASE_DIR/waiter"
same "refused" "errno ENOKEY" "$(grep ^errno "$CASE_DIR/waiter")"
same "nothing was read" "" "$(grep ^data "$CASE_DIR/waiter")"
refused "nobody waits any more" ENOKEY app open-read "$G/file1"
wait_until "the watchdog ends with the agent" 10 ended "$guardian"
check "it has said why" grep -q "watchdog: agent $agent: .* has not moved for 5 s" /run/takakrypt/agent.log

"$TK" agent --watchdog 5 </dev/null >"$CASE_DIR/agent" 2>&1 &
wait_until "the next agent is ready" 30 eval '[ "$(status .state)" = ready ]'
reads "nothing was lost" "$TEXT" app open-read "$G/file1"
reads "of what was written meanwhile, too" "OUTLIVES the agent" app open-read "$G/file2"
settled
sealed "all is sealed" "$G/file1"
sealed "what was open as well" "$G/file2"
same "no record is left" 0 "$(status .files.records)"

# Without it the agent goes on, and says so.
kill -KILL "$(pgrep -P "$(agent_pid)" -x tk-guardian)"
wait_until "a watchdog that was killed is missed" 20 eval '[ "$(status .watchdog.watches)" = false ]'
same "in words" 1 "$("$TK" status | grep -c '^watchdog .*GONE')"
reads "and the agent goes on" "$TEXT" app open-read "$G/file1"
