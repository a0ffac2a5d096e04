#!/bin/bash
# Sealed files whose record stays (TK_KEPT): the kernel programs let everybody read them as they are stored,
# and nobody write them so before the agent has let the record go; with no agent, nobody at all.
# disks: ext4 xfs
# timeout: 600
. tests/vm/cases.d/guarded.sh

TEXT="kept as it was"
prepare
permitted "before: truncate" backup create "/mnt/ext4/outside/t" "$TEXT"
permitted "before: truncate" backup truncate "/mnt/ext4/outside/t" 5
permitted "before: write" backup open-write "/mnt/ext4/outside/t" "XXXX"
permitted "before: open" backup open-read "/mnt/ext4/outside/t"
# Names inside and outside, from before.
for disk in $DISKS; do
	echo "$TEXT" >"$disk/guarded/linked"
	chmod 666 "$disk/guarded/linked"
	ln "$disk/guarded/linked" "$disk/outside/linked"
	permitted "before: open-write" stranger open-write "$disk/outside/linked" "$TEXT"
done
load
settled

kept() { [ "$(status .files.kept)" = "$1" ]; }
keep() {
	reads "$1: read" "$TEXT" app open-read "$2"
	wait_until "$1: kept" 20 kept "$3"
}
kill_agent() {
	AGENT=$(agent_pid)
	kill -KILL "$AGENT"
	wait_until "the agent is dead" 10 dead "$AGENT"
}
dead() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status"; }
start_agent() {
	"$TK" agent </dev/null >>"$CASE_DIR/agent" 2>&1 &
	wait_until "an agent is ready" 30 ready
}
ready() { [ "$("$TK" status --json | jq -r .state)" = ready ]; }

for disk in $DISKS; do
	fs=${disk#/mnt/} G=$disk/guarded O=$disk/outside F=$G/file
	permitted "$fs create" app create "$F" "$TEXT"
	settled "$fs sealed"
	same "$fs settled is without records" 0 "$(status .files.records)"
	permitted "$fs saved" backup copy-file-range "$F" "$O/saved"
	keep "$fs" "$F" 1
	same "$fs with its record" 1 "$(status .files.records)"
	for _ in 1 2 3; do keep "$fs again" "$F" 1; done

	# Reading in the raw view changes nothing.
	for way in open-read mmap-read sendfile; do reads "$fs raw by $way" "data TAKA" backup $way "$F"; done
	same "$fs raw readers leave it kept" 1 "$(status .files.kept)"
	permitted "$fs saved again" backup copy-file-range "$F" "$O/again"
	check "$fs it has not changed" cmp "$O/saved" "$O/again"
	refused "$fs a stranger" EACCES stranger open-read "$F"

	# A raw writer is let in when the record has gone, and what he writes stays when the agent dies.
	permitted "$fs the app changes it" app open-truncate "$F" "changed"
	wait_until "$fs kept" 20 kept 1
	permitted "$fs brought back in place" backup copy-file-range "$O/saved" "$F"
	same "$fs without a record" 0 "$(status .files.records)"
	kill_agent
	start_agent
	keep "$fs what was brought back" "$F" 1

	# truncate(2) comes without the agent: refused once, and then not.
	permitted "$fs truncated as it is stored" backup --repeat-until-ok 20000 truncate "$F" 0
	permitted "$fs brought back" backup copy-file-range "$O/saved" "$F"
	settled "$fs sealed again"
	keep "$fs to be truncated" "$F" 1
	permitted "$fs the app truncates it" app --repeat-until-ok 20000 truncate "$F" 4
	reads "$fs truncated" "data kept" app --repeat-until-ok 20000 open-read "$F"
	permitted "$fs deleted" app unlink "$F"
	gone() { [ "$(status .files.records)" = 0 ]; }
	wait_until "$fs its record goes with it" 20 gone

	# It loses its name inside while it is open there: by the other one anybody may write it, so no record is kept that a
	# crash would undo that with.
	background "$CASE_DIR/linked-$fs" "$APP" --uid $STAFF open-then-read "$G/linked" "$CASE_DIR/go-linked-$fs"
	wait_until "$fs it is open inside" 20 grep -q ^opened "$CASE_DIR/linked-$fs"
	permitted "$fs its name inside goes" app unlink "$G/linked"
	touch "$CASE_DIR/go-linked-$fs"
	wait_until "$fs it was read" 20 grep -qx ok "$CASE_DIR/linked-$fs"
	sealed_outside() { [ "$(head -c 4 "$O/linked")" = TAKA ] && [ "$(status .files.open)" = 0 ]; }
	wait_until "$fs by its last name it is ciphertext" 20 sealed_outside
	wait_until "$fs and has no record" 20 gone
	same "$fs nor is it kept" 0 "$(status .files.kept)"
	permitted "$fs it is written there" stranger open-truncate "$O/linked" "changed outside"
	kill_agent
	start_agent
	settled "$fs after what was done outside"
	same "$fs it stays" "changed outside" "$(cat "$O/linked")"

	# Nobody is there who could let the record go.
	permitted "$fs another" app create "$F" "$TEXT"
	settled "$fs another is sealed"
	background "$CASE_DIR/reader-$fs" "$BACKUP" open-then-write "$F" "$CASE_DIR/go-$fs" "XXXX"
	wait_until "$fs a raw writer" 20 grep -q ^opened "$CASE_DIR/reader-$fs"
	touch "$CASE_DIR/go-$fs"
	wait_until "$fs he may write while it is an ordinary sealed file" 20 grep -qx ok "$CASE_DIR/reader-$fs"
	permitted "$fs put right" backup copy-file-range "$O/saved" "$F"
	keep "$fs before the agent dies" "$F" 1
	# Who waits for the agent when it dies is let in by fanotify, and must not write.
	AGENT=$(agent_pid)
	kill -STOP "$AGENT"
	background "$CASE_DIR/writer-$fs" "$BACKUP" open-write "$F" "XXXX"
	background "$CASE_DIR/cutter-$fs" "$BACKUP" open-truncate "$F" "XXXX"
	waits() {
		local n=0 it
		for it in $(pgrep -x backup); do ! grep -q '^State:.D' "/proc/$it/status" || n=$((n + 1)); done
		[ $n = 2 ]
	}
	wait_until "$fs two writers wait" 20 waits || { ps axo pid,stat,wchan:30,args | grep -i backup; cat "$CASE_DIR"/*er-$fs; }
	kill -KILL "$AGENT"
	wait_until "$fs the agent is dead" 10 dead "$AGENT"
	for who in writer cutter; do
		wait_until "$fs the $who ends" 20 grep -qE '^(ok|errno)' "$CASE_DIR/$who-$fs"
		same "$fs the $who is refused" "errno EBUSY" "$(grep -E '^(ok|errno)' "$CASE_DIR/$who-$fs")"
	done
	refused "$fs opening it then" ENOKEY backup open-write "$F" "XXXX"
	refused "$fs truncating it then" ENOKEY backup truncate "$F" 0
	ends_with "$fs unload leaves no record behind" 1 "$TK" unload
	start_agent
	gone_or_kept() { gone; }
	wait_until "$fs the next agent lets the record go" 20 gone_or_kept
	permitted "$fs saved" backup copy-file-range "$F" "$O/after"
	check "$fs nobody has written" cmp "$O/saved" "$O/after"
	keep "$fs at the end" "$F" 1
	permitted "$fs deleted at the end" app unlink "$F"
	wait_until "$fs nothing is left" 20 gone
done

# A filesystem that has become read-only keeps the record.
fs=ext4 F=/mnt/ext4/guarded/read-only
permitted "a file" app create "$F" "$TEXT"
settled "it is sealed"
keep "before it is read-only" "$F" 1
check "read-only" mount -o remount,ro /mnt/ext4
refuses_read_only() { ! OUT=$("$TK" unload 2>&1) && [[ $OUT == *"journal of /mnt/ext4, which is read-only"* ]]; }
check "unload refuses, and says why" refuses_read_only
check "writable" mount -o remount,rw /mnt/ext4
permitted "then it unloads" "$TK" unload
same "and leaves no record" 0 "$(find /mnt/ext4/.takakrypt -type f | wc -l)"
load
permitted "the file goes" app unlink "$F"

# Unloaded by force with a kept file, which somebody then works on: the next agent undoes nothing, and loses nothing.
fs=ext4 G=/mnt/ext4/guarded O=/mnt/ext4/outside F=$G/file
permitted "one more" app create "$F" "$TEXT"
settled "it is sealed"
permitted "saved" backup copy-file-range "$F" "$O/last"
keep "before the force" "$F" 1
kill_agent
permitted "unload by force" "$TK" unload --force
printf 'edited while nothing was guarded' >"$F"
load
settled "after the edit"
reads "the edit stays" "data edited while nothing was guarded" app open-read "$F"
check "it is told" grep -q "set aside as /.takakrypt/aside-" <("$TK" status --json)
permitted "unload lets each record go first" "$TK" unload
same "but what was set aside" 1 "$(find /mnt/ext4/.takakrypt -type f | wc -l)"
tail -c +4097 /mnt/ext4/.takakrypt/aside-* >"$O/aside"
check "that is the former content" cmp "$O/aside" "$O/last"
rm /mnt/ext4/.takakrypt/aside-*

same "nor that nothing was guarded" 0 "$(find /mnt/ext4/.takakrypt -name .unguarded | wc -l)"

# The same in a rescue system, of which nobody tells the agent: the copy is put back, and the edit can be had.
load
reads "before the rescue" "data edited while nothing was guarded" app open-read "$F"
wait_until "kept before the rescue" 20 kept 1
kill_agent
permitted "nothing is guarded" "$TK" unload --force
check "nor was it by intent" rm /mnt/ext4/.takakrypt/.unguarded
printf 'edited in a rescue system' >"$F"
load
settled "after the rescue"
reads "the copy is put back" "data edited while nothing was guarded" app open-read "$F"
check "the edit is told of" grep -q "kept as /.takakrypt/found-" <("$TK" status --json)
permitted "unload after the rescue" "$TK" unload
mv /mnt/ext4/.takakrypt/found-* "$O/found"
check "the edit is decrypted" "$TK" decrypt --key-file "$KEY" "$O/found"
same "and can be had" "edited in a rescue system" "$(cat "$O/found")"

# Nothing is left for a policy that comes later: unload waits for what is kept.
load
keep_edit() { reads "$1" "data edited while nothing was guarded" app open-read "$F"; }
keep_edit "read again"
wait_until "kept" 20 kept 1
permitted "unload with a kept file" "$TK" unload
same "leaves no record" 0 "$(find /mnt/ext4/.takakrypt -type f | wc -l)"
check "the file is ciphertext" test "$(head -c 4 "$F")" = TAKA
