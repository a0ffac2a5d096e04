#!/bin/bash
# Guard points as machines have them: behind mounts and links, with directories that come, go and move.
# In each place somebody authorised and two who are not try the same (README.md, "Where a guard point may be").
# disks: ext4 btrfs
# timeout: 600
. tests/vm/cases.d/guarded.sh

TEXT="in a guard point of its own kind"
D=/mnt/ext4 B=/mnt/btrfs
prepare

# row LABEL DIRECTORY: all that is promised, for a new file.
row() {
	permitted "$1: the app creates" app create "$2/file" "$TEXT"
	sealed "$1" "$2/file"
	reads "$1: the app reads" "$TEXT" app open-read "$2/file"
	refused "$1: another user" EACCES stranger open-read "$2/file"
	refused "$1: root" EACCES root open-read "$2/file"
}

mkdir -p $D/{real/{dir,other},mounted,src,whole,tmp,globs/one/in,parent,deep/{gone/inside,moves},links,inner/mnt,outside/d}
chmod -R 777 $D/{real,mounted,src,globs,deep,inner,outside}
echo "$TEXT" >$D/outside/d/file
chmod 666 $D/outside/d/file
ln -s $D/real/dir $D/links/link
mount -t tmpfs -o mode=777 none $D/tmp
mkdir -m 777 $D/tmp/in
mount -t tmpfs -o mode=777 none $D/whole
mount --bind $D/src $D/mounted
btrfs -q subvolume create $B/sub && chmod 777 $B/sub
echo "$TEXT" >$D/real/dir/before
chmod 666 $D/real/dir/before
permitted "before: open-read" stranger open-read $D/real/dir/before
permitted "before: create" stranger create $D/real/dir/x "$TEXT"
permitted "before: rename" root rename $D/deep/gone/inside $D/deep/gone/renamed
permitted "before: rmdir" root rmdir $D/deep/gone/renamed
permitted "before: mount" root mount-tmpfs $D/parent
umount $D/parent

# What is mounted inside would be a hole: load names it, and changes nothing.
policy "$POLICY" "$PLAIN_RULE, $RAW_RULE" $D/guarded $B/sub $D/tmp/in $D/whole $D/mounted "$D/globs/*/in" \
	$D/deep/gone $D/deep/moves $D/links/link $D/inner $D/later
mount -t tmpfs -o mode=777 none $D/inner/mnt
ends_with "something is mounted inside a guard point" 1 "$TK" load "$POLICY"
check "says what, and what to do" grep -q "$D/inner/mnt: it is mounted inside the guard point $D/inner .*unmount it" <<<"$OUTPUT"
check "nothing was loaded" test ! -e /sys/fs/bpf/takakrypt
with_it=$CASE_DIR/with.json
policy "$with_it" "$PLAIN_RULE, $RAW_RULE" $D/inner $D/inner/mnt
check "as a guard point of its own it is none" "$TK" load --no-agent "$with_it"
refused "and guarded" EACCES stranger create $D/inner/mnt/y "$TEXT"
permitted "unload" "$TK" unload
umount $D/inner/mnt

load
settled
row "on ext4" $D/guarded
row "a btrfs subvolume" $B/sub
row "on tmpfs" $D/tmp/in
row "a whole tmpfs" $D/whole
row "named by a symbolic link" $D/real/dir
row "a bind mount" $D/mounted
refused "by the source's own path: another user" EACCES stranger open-read $D/src/file
row "matched by a pattern" $D/globs/one/in

watched() { [ "$(status "[.guard_points[] | select(.path == \"$1\")][0].watched")" = true ]; }
mkdir -p $D/globs/two
mkdir -m 777 $D/globs/two/in $D/later
wait_until "a match that comes later is watched" 30 watched $D/globs/two/in
wait_until "a directory that comes later is watched" 30 watched $D/later
row "matched later" $D/globs/two/in
mkdir -p $D/ready/in/mnt
mount -t tmpfs none $D/ready/in/mnt
mv $D/ready $D/globs/ready
unguarded() { grep -q "globs/ready/in/mnt: mounted inside $D/globs/ready/in .*NOT GUARDED" <(status '.failures[].text'); }
wait_until "one with something mounted inside comes later: it is told" 30 unguarded
row "made later" $D/later
ln -sfn $D/real/other $D/links/link
wait_until "the link's new target is watched" 30 watched $D/real/other
row "the link's new target" $D/real/other

refused "it is not renamed away" EBUSY root rename $D/deep/gone $D/deep/away
refused "nor what is above it" EBUSY root rename $D/deep $D/away
refused "nor removed" EBUSY root rmdir $D/deep/gone
refused "nothing is mounted inside" EBUSY root mount-tmpfs $D/deep/gone
mount --bind $D $D/parent
refused "through a bind mount of what is above: another user" EACCES stranger open-read $D/parent/guarded/file
refused "root" EACCES root open-read $D/parent/guarded/file
refused "renamed there" EBUSY root rename $D/parent/deep/gone $D/parent/deep/away
refused "removed there" EBUSY root rmdir $D/parent/deep/gone
refused "a directory is moved in from another mount" EXDEV app rename $D/parent/outside/d $D/parent/deep/moves/d
