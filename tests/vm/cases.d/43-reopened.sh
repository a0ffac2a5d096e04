#!/bin/bash
# A file that is open is opened again without the agent: by whom the policy lets in, and by nobody else. Sealing,
# another policy and the agent's death end that.
# disks: ext4 btrfs
# timeout: 600
. tests/vm/cases.d/guarded.sh

TEXT="open to those it knows"
prepare
for disk in $DISKS; do
	for name in file closed; do echo "$TEXT" >"$disk/guarded/$name"; done
	chmod 666 "$disk"/guarded/*
done
load
settled
agent=$(agent_pid)
all_stopped() { ! sed -n 's/^State:.\(.\).*/\1/p' /proc/"$agent"/task/*/status | grep -qv T; }
waits() { local pid; pid=$(pgrep -n -x app) && grep -q '^State:.D' "/proc/$pid/status"; }
unasked() { grep -qE "^fanotify ino:$(stat -c %i "$1" | xargs printf %x) .* ignored_mask:10000" /proc/"$agent"/fdinfo/*; }
asks() { ! unasked "$1"; }
# open_again FILE: once more; true when that was the last one to ask.
open_again() { app open-read "$1" >/dev/null && unasked "$1"; }

for disk in $DISKS; do
	fs=${disk#/mnt/} G=$disk/guarded
	sealed "$fs a file" "$G/file"
	background "$CASE_DIR/writer-$fs" "$APP" --uid $STAFF open-then-write "$G/file" "$CASE_DIR/go" "OPEN"
	wait_until "$fs somebody has it open" 20 grep -q ^opened "$CASE_DIR/writer-$fs"
	check "$fs the first open asks" asks "$G/file"
	wait_until "$fs further ones do not" 30 open_again "$G/file"
done

kill -STOP "$agent"
wait_until "the agent is stopped" 10 all_stopped
for disk in $DISKS; do
	fs=${disk#/mnt/} G=$disk/guarded
	reads "$fs without the agent" "$TEXT" app open-read "$G/file"
	reads "$fs mapped" "$TEXT" app mmap-read "$G/file"
	for who in stranger other root; do refused "$fs $who" EACCES $who open-read "$G/file"; done
	refused "$fs raw" EBUSY backup open-read "$G/file"
	background "$CASE_DIR/waiter-$fs" "$APP" --uid $STAFF open-read "$G/closed"
	wait_until "$fs who opens a sealed one waits" 20 waits
	kill -CONT "$agent"
	wait_until "$fs for the agent" 20 grep -q "^data $TEXT" "$CASE_DIR/waiter-$fs"
	kill -STOP "$agent"
	wait_until "the agent is stopped again" 10 all_stopped
done
kill -CONT "$agent"

check "the same policy once more" "$TK" reload "$POLICY"
for disk in $DISKS; do
	fs=${disk#/mnt/} G=$disk/guarded
	check "$fs after a reload it asks" asks "$G/file"
	wait_until "$fs for a while" 30 open_again "$G/file"
done

touch "$CASE_DIR/go"
for disk in $DISKS; do
	fs=${disk#/mnt/} G=$disk/guarded
	wait_until "$fs the last close" 20 grep -qx ok "$CASE_DIR/writer-$fs"
	sealed "$fs after it" "$G/file"
	check "$fs the next open asks" asks "$G/file"
	reads "$fs what was written" "OPEN to those it knows" app open-read "$G/file"
done

G=${DISKS%% *}/guarded
background "$CASE_DIR/last" "$APP" --uid $STAFF open-then-write "$G/file" "$CASE_DIR/go-last" "LAST"
wait_until "somebody has one open" 20 grep -q ^opened "$CASE_DIR/last"
wait_until "and others ask no more" 30 open_again "$G/file"
kill -KILL "$agent"
refused "without an agent nobody opens it" ENOKEY app open-read "$G/file"
"$TK" agent </dev/null >"$CASE_DIR/agent" 2>&1 &
wait_until "the next agent is ready" 30 eval '[ "$(status .state)" = ready ]'
reads "with it others do" "OPEN to those it knows" app open-read "$G/file"
touch "$CASE_DIR/go-last"
wait_until "its last close" 20 grep -qx ok "$CASE_DIR/last"
sealed "in the end" "$G/file"
reads "with what was written" "LAST to those it knows" app open-read "$G/file"
