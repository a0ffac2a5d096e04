#!/bin/bash
# What cannot work is refused before anything changes, with a reason; what breaks on the way
# loses no data: keys, policies, file systems, damaged files, a full disk.
# disks: ext4 btrfs
# timeout: 600
. tests/vm/cases.d/guarded.sh

TEXT="must not be lost"
prepare
G=/mnt/ext4/guarded O=/mnt/ext4/outside
good=$CASE_DIR/good.json bad=$CASE_DIR/bad.json
policy "$good" "$PLAIN_RULE, $RAW_RULE" "$G"
for name in file other wrong; do permitted "before: create" app create "$G/$name" "$TEXT"; done
permitted "before: read" app open-read "$G/file"
permitted "before: write" app open-write "$G/file" "$TEXT"
permitted "before: append" app open-append "$G/wrong" ""
rm "$G/other"

nothing_left() {
	check "$1: nothing is pinned" test ! -e /sys/fs/bpf/takakrypt
	check "$1: no policy is left" test ! -e /run/takakrypt/policy.json
	check "$1: no agent runs" test -z "$(pgrep -x takakrypt-bpf)"
	same "$1: no mount" 0 "$(grep -c /guarded /proc/self/mountinfo)"
	reads "$1: files are what they were" "$TEXT" stranger open-read "$G/file"
}
# fails LABEL STATUS TEXT: loading $bad ends so, and says this.
fails() {
	ends_with "$1" "$2" "$TK" load "$bad"
	check "$1: says why" grep -qE "$3" <(printf '%s' "$OUTPUT")
	nothing_left "$1"
}

bad=$CASE_DIR/absent.json
fails "no policy" 1 "No such file"
bad=$CASE_DIR/bad.json
echo "{" >"$bad"
fails "no JSON" 1 "bad.json"
sed 's/"version": 1/"version": 2/' "$good" >"$bad"
fails "another version" 1 "/version"
sed 's/"processes": "app"/"processes": "apps"/' "$good" >"$bad"
fails "an unknown set" 1 '/policies/documents/rules/0/processes.*did you mean "app"'
sed "s|\"path\": \"$KEY\"|\"path\": \"$CASE_DIR/nokey\"|" "$good" >"$bad"
fails "no key" 1 "key case from $CASE_DIR/nokey"
cp "$KEY" "$CASE_DIR/openkey"
chmod 644 "$CASE_DIR/openkey"
sed "s|\"path\": \"$KEY\"|\"path\": \"$CASE_DIR/openkey\"|" "$good" >"$bad"
fails "a key that others may read" 1 "openkey"
head -c 31 "$KEY" >"$CASE_DIR/shortkey"
chmod 600 "$CASE_DIR/shortkey"
sed "s|\"path\": \"$KEY\"|\"path\": \"$CASE_DIR/shortkey\"|" "$good" >"$bad"
fails "a key that is too short" 1 "shortkey"
mkdir -p /opt/guarded-overlay
policy "$bad" "$PLAIN_RULE" /opt/guarded-overlay
fails "overlayfs" 1 "overlayfs.*ext4, xfs or btrfs"
policy "$bad" "$PLAIN_RULE" /proc/sys
fails "procfs" 1 "/proc/sys"
policy "$bad" "$PLAIN_RULE, $RAW_RULE" "$G" /mnt/btrfs/guarded
mount -o remount,ro /mnt/btrfs
fails "one of two file systems is read-only" 1 "/mnt/btrfs/guarded: its filesystem is read-only"
mount -o remount,rw /mnt/btrfs

# Now it works.
POLICY=$good
load
check "an agent runs" test -n "$(pgrep -x takakrypt-bpf)"
settled
permitted "saved" backup copy-file-range "$G/wrong" "$O/wrong.1"
permitted "unload" "$TK" unload

# A byte of the content changed; the header changed; cut short. Written while nothing is guarded.
for name in content header cut; do cp "$G/file" "$G/$name"; chmod 666 "$G/$name"; done
size=$(stat -c %s "$G/content")
# One byte becomes another one, whatever it was.
change() {
	local old
	old=$(od -An -tu1 -j "$2" -N 1 "$1")
	# shellcheck disable=SC2059
	printf "\\x$(printf %x $(((old + 1) % 256)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
change "$G/content" $((size - 20))
change "$G/header" 40
truncate -s $((size - 1)) "$G/cut"
# And one under another key.
cp "$KEY" "$CASE_DIR/key.1"
rm "$KEY"
check "another key" "$TK" key generate "$KEY"
echo "$TEXT" >"$O/donor"
check "a file under another key" "$TK" encrypt --key-file "$KEY" --key-id case -o "$G/otherkey" "$O/donor"
cp "$CASE_DIR/key.1" "$KEY"
for name in content header cut otherkey; do cp "$G/$name" "$O/$name.1"; done
chmod 666 "$G"/*
load
settled

for name in content header cut otherkey; do
	refused_any "$name: reading" "EIO EPERM" app open-read "$G/$name"
	refused_any "$name: writing" "EIO EPERM" app open-write "$G/$name" x
	permitted "$name: its bytes can be saved" backup copy-file-range "$G/$name" "$O/$name.2"
	check "$name: it is what it was" cmp "$O/$name.1" "$O/$name.2"
	check "$name: the agent has reported it" grep -q "guarded/$name" <(status '.failures[].text')
done
reads "others are not concerned" "$TEXT" app open-read "$G/file"
permitted "a damaged file can be deleted" app unlink "$G/content"
permitted "and made anew" app create "$G/content" "$TEXT"
reads "anew" "$TEXT" app open-read "$G/content"
sealed "replaced" "$G/content"
permitted "unload" "$TK" unload

# The key in the policy is another one than the files have.
rm "$KEY"
check "a new key under the old name" "$TK" key generate "$KEY"
load
refused_any "the wrong key" "EIO EPERM" app open-read "$G/wrong"
refused_any "the wrong key, appending" "EIO EPERM" app open-append "$G/wrong" ""
permitted "save" backup copy-file-range "$G/wrong" "$O/wrong.2"
check "not a byte has changed" cmp "$O/wrong.1" "$O/wrong.2"
permitted "unload" "$TK" unload
cp "$CASE_DIR/key.1" "$KEY"
load
reads "with the right key" "$TEXT" app open-read "$G/wrong"

# Programs of a version with other maps: nothing is written into those.
# A dead process may wait for its parent, but not for threads of its own, which hold its sockets.
ended() { ! kill -0 "$1" 2>/dev/null || { grep -q '^State:.Z' "/proc/$1/status" && [ "$(ls "/proc/$1/task")" = "$1" ]; }; }
ready() { [ "$("$TK" status --json | jq -r .state)" = ready ]; }
control() { bpftool -j map lookup pinned /sys/fs/bpf/takakrypt/control key 0 0 0 0 | jq -r '.value[]'; }
put_control() { bpftool map update pinned /sys/fs/bpf/takakrypt/control key 0 0 0 0 value "$@"; }
mapfile -t CONTROL < <(control)
put_control $((CONTROL[0] ^ 1)) "${CONTROL[@]:1}"
mapfile -t foreign < <(control)
ends_with "reload" 1 "$TK" reload "$good"
check "says why" grep -q "another version of takakrypt-bpf has loaded them" <<<"$OUTPUT"
"$TK" status >"$CASE_DIR/status"
check "status says it, too" grep -q "^programs .*another version" "$CASE_DIR/status"
same "nothing has changed" "${foreign[*]}" "$(control | xargs)"
refused "and guards on" EACCES stranger open-read "$G/file"
# It may have pinned other maps as well; and somebody may have removed some: neither is taken for "nothing is loaded".
PIN=/sys/fs/bpf/takakrypt/units
mv $PIN /sys/fs/bpf/units
"$TK" status >"$CASE_DIR/status"
check "and with other maps" grep -q "^programs .*another version" "$CASE_DIR/status"
background "$CASE_DIR/holder" "$APP" --uid $STAFF open-then-read "$G/wrong" "$CASE_DIR/go-unload"
wait_until "a file is open" 20 grep -q ^opened "$CASE_DIR/holder"
AGENT=$(agent_pid)
kill -KILL "$AGENT"
wait_until "the agent is dead" 10 ended "$AGENT"
ends_with "unload, of another version with other maps" 1 "$TK" unload
check "what is open stays guarded" grep -q "has left files unsealed" <<<"$OUTPUT"
put_control "${CONTROL[@]}"
"$TK" status >"$CASE_DIR/status"
check "status of the same version" grep -q "^programs .*some of their pins" "$CASE_DIR/status"
ends_with "unload, with a pin removed" 1 "$TK" unload
refused "and guards on" EACCES stranger open-read "$G/file"
mv /sys/fs/bpf/units $PIN
"$TK" agent </dev/null >>"$CASE_DIR/agent" 2>&1 &
wait_until "an agent is ready" 30 ready
touch "$CASE_DIR/go-unload"
wait_until "who had it open has read it" 20 grep -qx ok "$CASE_DIR/holder"
settled
permitted "reload, of the same version" "$TK" reload "$good"
reads "as before" "$TEXT" app open-read "$G/wrong"

# A full disk.
head -c 3000000 /dev/urandom >"$O/large.0"
chmod 644 "$O/large.0"
fill_disk() {
	local size
	for size in 64M 8M 1M 64K 4K; do
		while fallocate -l $size "$O/ballast.$((ballast++))" 2>/dev/null; do :; done
	done
}
ballast=0
permitted "a large file" app copy-file-range "$O/large.0" "$G/large"
settled
background "$CASE_DIR/writer" "$APP" --uid $STAFF open-then-write "$G/large" "$CASE_DIR/go" "$TEXT"
wait_until "it is open for writing" 20 grep -q ^opened "$CASE_DIR/writer"
fill_disk
ends_with "the disk is full, for root, too" 1 fallocate -l 4K "$O/one-more"
touch "$CASE_DIR/go"
wait_until "written in place" 20 grep -qx ok "$CASE_DIR/writer"
full() { grep -q "guarded/large.*No space" <(status '.failures[].text'); }
wait_until "sealing fails, and that is reported" 30 full
refused_any "the raw view sees no plaintext" "EBUSY" backup open-read "$G/large"
reads "who may still reads what was written" "$TEXT" app open-read "$G/large"
refused_any "a sealed file cannot be opened" "ENOSPC EPERM" app open-read "$G/file"
ends_with "settle says that it is not settled" 1 "$TK" settle --timeout 1
rm -f "$O"/ballast.* "$O/one-more"
settled
sealed "with room again" "$G/large"
reads "it is whole" "$TEXT" app open-read "$G/large"
reads "and what could not be opened" "$TEXT" app open-read "$G/file"
permitted "its end" app copy-file-range "$G/large" "$O/large"
check "too" cmp -i ${#TEXT} -n $((1048576 - ${#TEXT})) "$O/large" "$O/large.0"
settled
same "no record is left" 0 "$(status .files.records)"
