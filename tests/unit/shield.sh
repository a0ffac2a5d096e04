#!/bin/bash
# Owns the tests of `shield`: a tree that moves into a directory under fscrypt is the same there, whatever killed the
# command in between. On a loop-mounted ext4, as root.
set -u
cd "$(dirname "$0")/../.." || exit 2
tk=$PWD/build/takakrypt-bpf
passed=0 failed=0
ok() { passed=$((passed + 1)); echo "ok $1"; }
no() { failed=$((failed + 1)); echo "not ok $1"; [ ! -s "$work/err" ] || sed 's/^/    | /' "$work/err"; }
is() { # LABEL COMMAND...
	local label=$1
	shift
	if "$@" > "$work/out" 2> "$work/err"; then ok "$label"; else no "$label"; fi
}
refuses() { # LABEL WORDS COMMAND...
	local label=$1 words=$2
	shift 2
	if "$@" > "$work/out" 2> "$work/err"; then no "$label"
	elif grep -q "$words" "$work/err"; then ok "$label"; else no "$label: $words"; fi
}
[ "$(id -u)" = 0 ] || { echo "not ok root is needed"; exit 1; }
# In memory where that is possible: the command flushes what it has copied.
work=$(mktemp -d -p "$([ -d /dev/shm ] && echo /dev/shm || echo /tmp)" tk-shield.XXXXXX)
chmod 755 "$work"
mnt=$work/mnt guard=$work/mnt/guard
leave() {
	umount "$mnt/guard/mounted" 2> "$work/null"
	umount "$mnt" && rm -rf "$work"
}
trap leave EXIT
mkdir "$mnt"
truncate -s 64M "$work/image"
mkfs.ext4 -q -O encrypt "$work/image" && mount -o loop "$work/image" "$mnt" || { echo "not ok a filesystem"; exit 1; }
chmod 755 "$mnt"
mkdir -m 700 "$work/key" && mkdir "$work/beside" && "$tk" key generate "$work/key/1" > "$work/out" || exit 1
cp -a "$work/key" "$work/key.first"
policy() { # FILE SHIELD
	cat > "$1" <<-END
	{ "version": 1, "keys": { "k": { "provider": "file", "path": "$work/key" } },
	  "policies": { "p": { "key": "k", "rules": [ { "actions": ["read"], "effects": ["permit", "apply_key"] } ] } },
	  "guard_points": [ { "name": "g", "path": "$guard"$2, "policy": "p" } ] }
	END
}
policy "$work/policy.json" ', "shield": "fscrypt"'
policy "$work/without.json" ''
shield() { "$tk" shield "$@" "$work/policy.json" g; }

make_tree() {
	rm -rf "$guard"
	mkdir -p "$guard/dir/deeper" "$guard/empty"
	head -c 300000 /dev/urandom > "$guard/dir/large"
	echo text > "$guard/dir/text"
	: > "$guard/nothing"
	truncate -s 3M "$guard/sparse"
	echo end >> "$guard/sparse"
	ln "$guard/dir/text" "$guard/dir/deeper/link"
	ln -s ../nowhere "$guard/dir/symlink"
	mkfifo "$guard/fifo"
	chown 1001:1002 "$guard/dir/large" "$guard/empty"
	chmod 4711 "$guard/nothing"
	chmod 1777 "$guard/dir"
	setfattr -n user.note -v kept "$guard/dir/text"
	setcap cap_net_raw+ep "$guard/dir/large" 2> "$work/null"
	setfacl -m u:1003:rw "$guard/dir/text" && setfacl -d -m g:1004:r "$guard/empty"
	touch -h -d '2001-02-03 04:05:06.789012345' "$guard/dir/symlink" "$guard/dir/large"
	touch -d '2002-02-03 04:05:06.123456789' "$guard/dir" "$guard"
}
manifest() { # TREE
	(cd "$1" && find . -printf '%P %y %m %U %G %T@ %l ' \( -type d -printf '\n' -o -printf '%s %n\n' \) | LC_ALL=C sort &&
		find . -type f -links +1 -printf '%i %P\n' | LC_ALL=C sort | awk '{ if ($1 != l) n++; l = $1; print n, $2 }' &&
		find . -type f -exec sha256sum {} + | LC_ALL=C sort && find . ! -type l -print0 | LC_ALL=C sort -z |
		xargs -0 getfattr -h -d -m - -e hex)
}
# With the key, which the command takes away again at its end: `raised TREE` lets the tests look.
encrypted() { lsattr -d "$1" | grep -q '^[^ ]*E'; }
raise() { python3 tests/unit/shield_key.py "$work/key/1" "$mnt" add > "$work/out"; }
lower() { python3 tests/unit/shield_key.py "$work/key/1" "$mnt" remove > "$work/out"; }
same_as() { # MANIFEST TREE
	local status
	raise && manifest "$2" > "$work/now"
	status=$?
	[ $status = 0 ] && diff "$1" "$work/now" >&2
	status=$?
	lower
	return $status
}

make_tree
manifest "$guard" > "$work/before"
refuses "without \"shield\" in the policy" "wants no shield" "$tk" shield "$work/without.json" g
refuses "no such guard point" "no guard point of that name" "$tk" shield "$work/policy.json" h
exec 7>> "$guard/dir/text"
refuses "a file open for writing" "open for writing" shield
exec 7>&-
chattr +i "$guard/nothing"
refuses "an immutable file" "lsattr" shield
chattr -i "$guard/nothing"
mkdir "$guard/mounted" && mount -t tmpfs tmpfs "$guard/mounted"
refuses "something mounted inside" "mounted there" shield
umount "$guard/mounted" && rmdir "$guard/mounted"
touch -d '2002-02-03 04:05:06.123456789' "$guard"
chmod 777 "$mnt"
refuses "others can rename the guard point" "others than root" shield
chmod 755 "$mnt"
is "what was refused is as it was" same_as "$work/before" "$guard"
is "and nothing lies beside it" test ! -e "$mnt/.takakrypt-shield-guard"

is "the tree is set up" shield
is "it is encrypted" encrypted "$guard"
is "and the same" same_as "$work/before" "$guard"
is "nothing is left beside it" test ! -e "$mnt/.takakrypt-shield-guard"
is "without the key its names are not there" test ! -e "$guard/dir"
is "set up again: nothing to do" shield

# The version that it was set up with is needed for ever, also when no file's header says so.
is "the key is rotated" "$tk" key rotate "$work/key"
raise
refuses "its first version is needed" "shield needs this version" "$tk" key retire --version 1 "$work/key" "$guard"
lower
is "a tree beside it does not need it" "$tk" key retire --version 1 "$work/key" "$work/beside"
rm -rf "$work/key" && cp -a "$work/key.first" "$work/key"

# Killed at the entry of each call that changes something: afterwards the tree is there whole, and the next run ends it.
killed() { # CALL NUMBER
	local at="killed at $1 number $2" status=0
	make_tree
	manifest "$guard" > "$work/before"
	{ strace -o "$work/trace" -e trace="$1" -e inject="$1":signal=KILL:when="$2" "$tk" shield "$work/policy.json" g || status=$?; } > "$work/out" 2> "$work/err"
	[ $status = 137 ] || return 1 # it makes no more of them
	points=$((points + 1))
	is "$at: the tree is whole" same_as "$work/before" "$guard"
	is "$at: the next run" shield
	is "$at: and the same" same_as "$work/before" "$guard"
	is "$at: encrypted, and nothing is left" eval 'encrypted "$guard" && [ ! -e "$mnt/.takakrypt-shield-guard" ]'
}
points=0
for call in mkdir:9 rename,renameat2:9 syncfs:9 fsync:9 rmdir:9 unlinkat:4; do
	for ((i = 1; i <= ${call#*:}; i++)); do killed "${call%:*}" "$i" || break; done
done
is "killed at $points points" test "$points" -ge 10

make_tree
manifest "$guard" > "$work/before"
{ strace -o "$work/trace" -e trace=syncfs -e inject=syncfs:signal=KILL "$tk" shield "$work/policy.json" g; } > "$work/out" 2> "$work/err"
is "killed: a copy lies beside it" test -d "$mnt/.takakrypt-shield-guard/tree"
is "--undo" shield --undo
is "leaves nothing" test ! -e "$mnt/.takakrypt-shield-guard"
is "and the tree as it was" same_as "$work/before" "$guard"

echo "$passed passed, $failed failed"
[ $failed = 0 ]
