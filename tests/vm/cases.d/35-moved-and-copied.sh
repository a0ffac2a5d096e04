#!/bin/bash
# What else machines do to guard points: snapshots and subvolumes on btrfs, directories moved across the edge, names and
# open files from before the load, directories above renamed (README.md, "Where a guard point may be").
# disks: ext4 btrfs
# timeout: 600
. tests/vm/cases.d/guarded.sh

TEXT="wherever it goes"
D=/mnt/ext4 B=/mnt/btrfs
prepare
mkdir -p $D/above/inner/{real,other} $D/outside $D/out $B/plain $B/outside
chmod -R 777 $D/above $D/outside $D/out $B/plain $B/outside
btrfs -q subvolume create $B/sub && chmod 777 $B/sub
btrfs -q subvolume create $B/plain/nested && chmod 777 $B/plain/nested
for it in $D/above/inner/real $B/sub $B/plain $B/plain/nested; do
	echo "$TEXT" >$it/before
	chmod 666 $it/before
done
check "before: a snapshot" btrfs -q subvolume snapshot $B/sub $B/sub-before
btrfs -q subvolume snapshot $B/sub $B/sub/within

# Names and open files from before the load.
R=$D/above/inner/real
for it in linked handle left early held mapped; do echo "$TEXT" >$R/$it; done
echo "$TEXT" >$D/outside/plain
chmod 666 $R/* $D/outside/plain
for it in linked handle left early; do ln $R/$it $D/outside/$it; done
ln $D/outside/plain $D/outside/plain2
mkdir $R/dir $D/outside/dir
chmod 777 $R/dir $D/outside/dir
echo "$TEXT" >$R/dir/file
echo "$TEXT" >$D/outside/dir/file
permitted "before: rename" app rename $D/outside/dir $D/outside/dir2
permitted "before: rename back" app rename $D/outside/dir2 $D/outside/dir
permitted "before: rename-exchange" root rename-exchange $D/outside/dir $D/out
permitted "before: and back" root rename-exchange $D/outside/dir $D/out
permitted "before: create" stranger create $D/outside/x "$TEXT"
permitted "before: open-read" stranger open-read $R/held
permitted "before: open-write" stranger open-write $D/outside/x "$TEXT"
permitted "before: open-then-read" stranger open-then-read $R/held $R/held
permitted "before: link" root link $R/held $D/outside/held
permitted "before: opath-reopen" stranger opath-reopen $R/held
rm $D/outside/held
background "$CASE_DIR/early" stranger open-then-read $D/outside/early "$CASE_DIR/go-early"
background "$CASE_DIR/plain" stranger open-then-read $D/outside/plain "$CASE_DIR/go-early"
background "$CASE_DIR/theirs" stranger open-then-read $R/held "$CASE_DIR/go"
background "$CASE_DIR/ours" "$APP" --uid $STAFF open-then-write $R/held "$CASE_DIR/go" WHEREVER
for it in theirs ours early plain; do wait_until "$it: open before the load" 20 grep -q ^opened "$CASE_DIR/$it"; done

policy "$POLICY" "$PLAIN_RULE, $RAW_RULE, "'{ "actions": ["key_op", "list"], "effects": ["permit"] }' \
	$R $D/above/inner/other $B/sub $B/plain
load
# While the agent takes the file over, which is two flushes, who has it open from before gets ENOKEY.
taken_over() {
	[ "$(status '[.sweep.rounds > 0, .sweep.running, .files.open, .files.in_transition, .files.plaintext_found] | join(" ")')" = "true false 2 0 0" ]
}
wait_until "the agent has taken them over" 60 taken_over
touch "$CASE_DIR/go" "$CASE_DIR/go-early"
ended() { wait_until "$1 has ended" 20 grep -qE "^(ok|at|wrong)" "$CASE_DIR/$1" >/dev/null; cat "$CASE_DIR/$1"; return 10; }
refused "what a stranger has open from before is judged at its next read" EACCES ended theirs
refused "so is what he has open by a name outside" EBUSY ended early
wait_until "but not a file whose names are all outside" 20 grep -qx ok "$CASE_DIR/plain"
wait_until "who may goes on" 20 grep -qx ok "$CASE_DIR/ours"
settled
sealed "and it is sealed after the last close" $R/held
reads "with what was written" "WHEREVER it goes" app open-read $R/held
reads "as is what was open outside" "data TAKA" stranger --repeat-until-ok 20000 open-read $D/outside/early

# A name outside from before: bytes as stored, and never beside the plaintext.
reads "by a name outside: ciphertext" "data TAKA" stranger open-read $D/outside/linked
reads "by the name inside: the app" "$TEXT" app open-read $R/linked
refused "and a stranger" EACCES stranger open-read $R/linked
background "$CASE_DIR/holder" "$APP" --uid $STAFF open-then-read $R/linked "$CASE_DIR/go2"
wait_until "open inside" 20 grep -q ^opened "$CASE_DIR/holder"
refused "meanwhile by the name outside" EBUSY stranger open-read $D/outside/linked
told() { "$TK" events --json | jq -e "select($1)" | grep -q .; }
wait_until "the audit trail has it under its name on the filesystem, and no guard point's" 20 \
	told '.path == "/outside/linked" and .guard == "" and .error == "EBUSY"'
touch "$CASE_DIR/go2"
settled
reads "afterwards ciphertext" "data TAKA" stranger open-read $D/outside/linked
refused "another name is not made" EXDEV app link $R/held $D/outside/held

# The name inside goes while somebody has the file open by it: what is left is the last, and outside.
background "$CASE_DIR/last" "$APP" --uid $STAFF open-then-read $R/linked "$CASE_DIR/go-last"
wait_until "somebody has it open again" 20 grep -q ^opened "$CASE_DIR/last"
permitted "of a file that was never inside, one of two names goes" stranger unlink $D/outside/plain2
permitted "the other is opened" stranger open-read $D/outside/plain
permitted "and truncated" stranger truncate $D/outside/plain 3
refused "the file is not truncated by the name outside" EBUSY stranger truncate $D/outside/linked 3
permitted "the name inside goes" app unlink $R/linked
refused "by the last name nobody sees plaintext" EBUSY stranger open-read $D/outside/linked
refused "nor truncates the file" EBUSY stranger truncate $D/outside/linked 3
touch "$CASE_DIR/go-last"
wait_until "who has it open goes on" 20 grep -qx ok "$CASE_DIR/last"
check "and has read plaintext" grep -q "$TEXT" "$CASE_DIR/last"
reads "then it is ciphertext" "data TAKA" stranger --repeat-until-ok 20000 open-read $D/outside/linked
permitted "to be truncated by who may" stranger truncate $D/outside/linked 3

# The same when the name inside is no more than held: by it nobody gets plaintext while it is open outside.
reads "the name held and opened" "$TEXT" app opath-reopen $R/handle
settled
background "$CASE_DIR/handle" "$APP" --uid $STAFF opath-reopen $R/handle "$CASE_DIR/go-handle"
wait_until "it is held" 20 grep -q ^opened "$CASE_DIR/handle"
permitted "it goes" app unlink $R/handle
background "$CASE_DIR/outside" stranger open-then-read $D/outside/handle "$CASE_DIR/go-outside"
wait_until "a stranger has it open outside" 20 grep -q ^opened "$CASE_DIR/outside"
touch "$CASE_DIR/go-handle"
refused_any "then it is not opened by what is held" "EBUSY EPERM" ended handle
touch "$CASE_DIR/go-outside"
wait_until "the stranger goes on" 20 grep -qx ok "$CASE_DIR/outside"
check "with ciphertext" grep -q "data TAKA" "$CASE_DIR/outside"

# Directories across the edge.
refused "a directory is not moved out" EXDEV app rename $R/dir $D/outside/dir3
refused "nor in" EXDEV app rename $D/outside/dir $R/dir3
refused "nor from one guard point to another" EXDEV app rename $R/dir $D/above/inner/other/dir
refused "nor exchanged" EXDEV app rename-exchange $R/dir $D/outside/dir
permitted "within it is" app rename $R/dir $R/dir2
reads "with what is in it" "$TEXT" app open-read $R/dir2/file

# What is above. Meanwhile somebody has a file open whose name inside goes.
background "$CASE_DIR/left" "$APP" --uid $STAFF open-then-read $R/left "$CASE_DIR/go-left"
left=$!
wait_until "it is open" 20 grep -q ^opened "$CASE_DIR/left"
permitted "its name inside goes" app unlink $R/left
for it in $D/above/inner $D/above; do refused "not renamed: $it" EBUSY root rename $it $D/away; done
refused "not exchanged" EBUSY root rename-exchange $D/above $D/outside
agent=$(agent_pid)
kill -KILL "$agent"
gone() { ! kill -0 "$agent"; }
wait_until "the agent is dead" 20 gone
refused "nor without an agent" EBUSY root rename $D/above/inner $D/away
refused "and nothing is moved out" EXDEV app rename $R/dir2 $D/outside/dir3
touch "$CASE_DIR/go-left"
wait $left
check "who had it open without an agent has read plaintext" grep -q "$TEXT" "$CASE_DIR/left"
refused "which nobody seals: nobody sees it outside" EBUSY stranger open-read $D/outside/left
refused "nor truncates it" EBUSY stranger truncate $D/outside/left 3
"$TK" agent >"$CASE_DIR/agent" 2>&1 &
ready() { [ "$(status .state)" = ready ]; }
wait_until "another agent" 30 ready
reads "which has sealed it" "data TAKA" stranger --repeat-until-ok 20000 open-read $D/outside/left

# Subvolumes and snapshots.
permitted "in a subvolume inside: the app creates" app create $B/plain/nested/file "$TEXT"
sealed "in a subvolume inside" $B/plain/nested/file
sealed "what was there before" $B/plain/nested/before
refused "in a subvolume inside: another user" EACCES stranger open-read $B/plain/nested/file
reads "the app" "$TEXT" app open-read $B/plain/nested/file
settled
denied_snapshot() { ! OUT=$(btrfs -q subvolume snapshot "$@" 2>&1) && [[ $OUT == *"ermission denied"* ]]; }
check "no snapshot of the guard point is taken" denied_snapshot $B/sub $B/sub-after
check "nor of what it is in" denied_snapshot -r $B $B/all

# One from before the load has the guard point's inode numbers, and so its guard.
for it in stranger root; do refused "a snapshot from before: $it" EACCES $it open-read $B/sub-before/before; done
refused "nor is anything made there" EACCES stranger create $B/sub-before/new "x"
for it in app backup; do refused "and $it, by a mount that is not the guard point's" ENOKEY $it open-read $B/sub-before/before; done
# Inside the guard point it is part of it. Its files have their originals' numbers: one of two at a time.
W=$B/sub/within/before
sealed "a snapshot inside the guard point" $W
refused "a snapshot inside: another user" EACCES stranger open-read $W
reads "the app" "$TEXT" app open-read $W
settled
# Of one that is only kept the copy does not have to wait for long, nor the original of its copy.
kept() { [ "$(status .files.kept)" = 1 ]; }
for it in $B/sub/before $W $B/sub/before; do
	reads "the app, $it" "$TEXT" app open-read $it
	wait_until "it is kept" 20 kept
done
settled
background "$CASE_DIR/holder3" "$APP" --uid $STAFF open-then-read $B/sub/before "$CASE_DIR/go3"
wait_until "the original is open" 20 grep -q ^opened "$CASE_DIR/holder3"
refused_any "the app, meanwhile" "EBUSY EPERM" app open-read $W
refused "nor as stored" EBUSY backup open-read $W
touch "$CASE_DIR/go3"
wait_until "the original is closed" 20 grep -qx ok "$CASE_DIR/holder3"
settled
reads "then again" "$TEXT" app open-read $W
settled
reads "and the original" "$TEXT" app open-read $B/sub/before
# Mounted by itself, a snapshot is another way to the same numbers.
mkdir "$CASE_DIR/snap"
check "the snapshot from before is mounted" mount -o subvol=sub-before "$(findmnt -no SOURCE $B | head -n1 | sed 's/\[.*//')" "$CASE_DIR/snap"
at_exit "umount $CASE_DIR/snap"
for it in stranger root; do refused "mounted: $it" EACCES $it open-read "$CASE_DIR/snap/before"; done
