#!/bin/bash
# The agent dies, hangs, ends: nothing that is sealed can be opened, nothing that is open is
# disturbed, no decision becomes weaker; the next agent takes over and seals.
# disks: ext4 btrfs
# timeout: 600
. tests/vm/cases.d/guarded.sh

TEXT="survives the agent"
prepare
for disk in $DISKS; do
	for n in 1 2 3 4; do echo "$TEXT" >"$disk/guarded/file$n"; done
	chmod 666 "$disk"/guarded/*
	permitted "before: open" stranger open-read "$disk/guarded/file1"
	permitted "before: create" stranger create "$disk/guarded/new"
	permitted "before: list" stranger list "$disk/guarded"
	permitted "before: rename" stranger rename "$disk/guarded/new" "$disk/guarded/newer"
	permitted "before: unlink" stranger unlink "$disk/guarded/newer"
	permitted "before: truncate" stranger truncate "$disk/guarded/file1" 19
	permitted "before: mmap" stranger mmap-read "$disk/guarded/file1"
done
load
settled

agents=0
start_agent() {
	agents=$((agents + 1))
	"$TK" agent </dev/null >"$CASE_DIR/agent.$agents" 2>&1 &
	AGENT=$!
	wait_until "an agent is ready" 30 ready
}
ready() { [ "$("$TK" status --json | jq -r .state)" = ready ]; }
killed() { kill -KILL "$1" && wait_until "it is dead" 10 dead "$1"; }
dead() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status"; }

AGENT=$(agent_pid)
for disk in $DISKS; do
	fs=${disk#/mnt/} G=$disk/guarded
	reads "$fs while it lives" "$TEXT" app open-read "$G/file1"
	sealed "$fs while it lives" "$G/file1"
	permitted "$fs create while it lives" app create "$G/created" "$TEXT"
	background "$CASE_DIR/reader-$fs" "$APP" --uid $STAFF open-then-read "$G/file2" "$CASE_DIR/go"
	background "$CASE_DIR/writer-$fs" "$APP" --uid $STAFF open-then-write "$G/file3" "$CASE_DIR/go" "SURVIVES"
	background "$CASE_DIR/sleeper-$fs" "$APP" --uid $STAFF open-then-read "$G/file4" "$CASE_DIR/go2"
	for who in reader writer sleeper; do
		wait_until "$fs a $who" 20 grep -q ^opened "$CASE_DIR/$who-$fs"
	done
done

killed "$AGENT"
for disk in $DISKS; do
	fs=${disk#/mnt/} G=$disk/guarded
	refused "$fs plaintext" ENOKEY app open-read "$G/file1"
	refused "$fs mapped" ENOKEY app mmap-read "$G/file1"
	refused "$fs raw" ENOKEY backup open-read "$G/file1"
	refused "$fs new" ENOKEY app create "$G/without"
	refused "$fs truncate" ENOKEY app truncate "$G/file1" 5
	refused "$fs truncate to nothing" ENOKEY app truncate "$G/file1" 0
	refused "$fs open already" ENOKEY app open-read "$G/file2"
	refused "$fs stranger" EACCES stranger open-read "$G/file1"
	refused "$fs stranger, of a file that is open" EACCES stranger open-read "$G/file2"
	refused "$fs stranger lists" EACCES stranger list "$G"
	refused "$fs stranger creates" EACCES stranger create "$G/strange"
	refused "$fs root renames" EACCES root rename "$G/file1" "$G/file0"
	refused "$fs other deletes" EACCES other unlink "$G/file1"
	permitted "$fs names are the policy's business alone" app list "$G"
done
# Who has files open goes on.
touch "$CASE_DIR/go"
for disk in $DISKS; do
	fs=${disk#/mnt/}
	for who in reader writer; do
		wait_until "$fs the $who goes on" 20 grep -qx ok "$CASE_DIR/$who-$fs"
	done
	check "$fs it has read plaintext" grep -q "$TEXT" "$CASE_DIR/reader-$fs"
done

ends_with "unload refuses to leave plaintext behind" 1 "$TK" unload
start_agent
for disk in $DISKS; do
	fs=${disk#/mnt/} G=$disk/guarded
	sealed "$fs read while there was none" "$G/file2"
	sealed "$fs written while there was none" "$G/file3"
	reads "$fs written" "SURVIVES the agent" app open-read "$G/file3"
	reads "$fs read" "$TEXT" app open-read "$G/file2"
	refused "$fs still open: adopted" EBUSY backup open-read "$G/file4"
	reads "$fs and shared" "$TEXT" app open-read "$G/file4"
done
touch "$CASE_DIR/go2"
for disk in $DISKS; do
	fs=${disk#/mnt/} G=$disk/guarded
	wait_until "$fs it is read" 20 grep -qx ok "$CASE_DIR/sleeper-$fs"
	check "$fs as plaintext" grep -q "$TEXT" "$CASE_DIR/sleeper-$fs"
	sealed "$fs the adopted one" "$G/file4"
done

# Killed again and again while many files are opened and closed.
for disk in $DISKS; do
	for n in 1 2 3 4 5 6; do
		permitted "a file for the storm" app create "$disk/guarded/storm$n" "number $n 0000"
	done
done
storm() {
	local n=0 disk file
	while [ ! -e "$CASE_DIR/calm" ]; do
		n=$((n % 6 + 1))
		for disk in $DISKS; do
			file=$disk/guarded/storm$n
			"$APP" --uid $STAFF open-read "$file"
			"$APP" --uid $STAFF open-write "$file" "number $n $((1000 + RANDOM % 9000))"
		done
	done
}
count() { grep -c '^ok' "$CASE_DIR/storm.$1"; }
more() { [ "$(count "$1")" -ge "$2" ]; }
background "$CASE_DIR/storm.1" storm
first=$!
background "$CASE_DIR/storm.2" storm
second=$!
for _ in 1 2 3; do
	wait_until "the storm goes on" 30 more 1 $(($(count 1) + 5))
	wait_until "and the other" 30 more 2 $(($(count 2) + 5))
	killed "$AGENT"
	start_agent
done
touch "$CASE_DIR/calm"
wait $first $second
check "nothing but plaintext was read, or nothing" test -z "$(grep -h ^data "$CASE_DIR"/storm.* | grep -vE '^data number [1-6] [0-9]{4}')"
same "no other refusal than ENOKEY" "errno ENOKEY" "$(grep -h '^errno' "$CASE_DIR"/storm.* | sort -u)"
settled
for disk in $DISKS; do
	fs=${disk#/mnt/}
	for n in 1 2 3 4 5 6; do
		sealed "$fs storm $n" "$disk/guarded/storm$n"
		reads "$fs storm $n: whole" "data number $n " app open-read "$disk/guarded/storm$n"
	done
done

# Hung: opens wait, and go on.
G=$disk/guarded
kill -STOP "$AGENT"
background "$CASE_DIR/patient" "$APP" --uid $STAFF open-read "$G/file1"
# In an uninterruptible or killable wait inside openat(2), as /proc shows it to whom the policy lets trace.
waits() { [ -n "$(pgrep -n -x app)" ] && [ "$(status_of "$(pgrep -n -x app)")" = D ]; }
status_of() { sed -n 's/^State:.\(.\).*/\1/p' "/proc/$1/status"; }
wait_until "the open waits for the agent" 20 waits
same "and has read nothing" "" "$(grep ^data "$CASE_DIR/patient")"
refused "a stranger need not wait" EACCES stranger open-read "$G/file1"
kill -CONT "$AGENT"
wait_until "it goes on" 20 grep -qx ok "$CASE_DIR/patient"
check "with the plaintext" grep -q "$TEXT" "$CASE_DIR/patient"
# Hung, then killed: who waits is not let in to ciphertext.
sealed "again" "$G/file1"
kill -STOP "$AGENT"
background "$CASE_DIR/unlucky" "$APP" --uid $STAFF open-read "$G/file1"
wait_until "an open waits again" 20 waits
killed "$AGENT"
wait_until "it ends" 20 grep -qE '^(ok|errno)' "$CASE_DIR/unlucky"
same "without ciphertext" "" "$(grep ^data "$CASE_DIR/unlucky")"
same "refused" "errno ENOKEY" "$(grep ^errno "$CASE_DIR/unlucky")"
start_agent
reads "and then it can be read" "$TEXT" app open-read "$G/file1"

# An orderly end.
ends_with "a second agent" 1 timeout 20 "$TK" agent
permitted "a file is written" app open-write "$G/file1" "SURVIVES"
kill -TERM "$AGENT"
status=0
wait "$AGENT" || status=$?
same "SIGTERM is an orderly end" 0 $status
refused "then nothing opens" ENOKEY app open-read "$G/file1"
start_agent
reads "and then it does" "SURVIVES the agent" app open-read "$G/file1"
settled
same "no record is left" 0 "$(status .files.records)"
