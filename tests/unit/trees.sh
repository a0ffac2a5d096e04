#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# tests/unit/trees.sh - encrypt, decrypt, verify and inspect on whole trees: what is
# done, skipped, kept and left alone.  Ends with "N passed, N failed".
#
# usage: tests/unit/trees.sh [COMMAND]    (default: build/takakrypt-bpf)
. "$(dirname "$0")/suite.sh"
. "$here/meanwhile.sh"
. "$here/files.sh"
. "$here/agents.sh"

enc() { run "$1" encrypt --key-file key --key-id k "${@:2}"; }
dec() { run "$1" decrypt --key-file key "${@:2}"; }
ver() { run "$1" verify --key-file key "${@:2}"; }
said() { grep -qF -- "$1" err; }
counts() { [ "$(jq -r '"\(.done) \(.skipped) \(.failed) \(.special)"' out)" = "$1" ]; }
is_taka() { [ "$(head -c 4 "$1")" = TAKA ]; }
no_temp() { ! find . -name '.takakrypt-*' | grep -q .; }

fresh() {
	rm -rf t plain
	mkdir -p t/a/b t/empty
	for i in $(seq 40); do seq "$i" $((i * 100)) > "t/a/f$i"; done
	seq 1 300000 > t/a/b/large
	: > t/a/nothing
	ln -s f1 t/a/link
	ln -s /etc/passwd t/outside
	mkfifo t/fifo
	setfattr -n user.colour -v blue t/a/f1
	setfacl -m u:12345:r t/a/f2
	chmod 640 t/a/f3
	touch -d '2001-02-03 04:05:06.123456789' t/a/f4
	cp -a t plain
}
all_taka() { local f; for f in t/a/f* t/a/b/large; do is_taka "$f" || return 1; done; }
as_before() { diff -r --no-dereference -x fifo t plain && same_shape t plain && no_temp; }

"$tk" key generate key

# ------------------------------------------------------------ there and back
fresh
check 'a directory needs -r' enc 1 t
check 'a directory needs -r: said' said 'give -r too'
check 'untouched' as_before
check 'encrypt' enc 0 --json -r t
check 'encrypt: counts' counts '41 1 0 3'
check 'encrypt: bytes' test "$(jq .bytes out)" = "$(cat plain/a/f* plain/a/b/large | wc -c)"
check 'encrypt: all of it' all_taka
check 'encrypt: shape' same_shape t plain
check 'symbolic link to elsewhere' test "$(readlink t/outside)" = /etc/passwd
check 'verify' ver 0 --json t
check 'verify: counts' counts '41 1 0 3'
check 'inspect' run 0 inspect --json t
check 'inspect: count' test "$(jq length out)" = 41
check 'again' enc 0 --json -r t
check 'again: all skipped' counts '0 42 0 3'
check 'a sentence' enc 0 -r t
check 'a sentence: said' grep -q '^encrypted 0 files (0 B) in .*; 42 skipped, 0 failed$' out
check 'decrypt' dec 0 --json -r t
check 'decrypt: counts' counts '41 1 0 3'
check 'decrypt: as before' as_before
check 'decrypt again' dec 0 --json -r t
check 'decrypt again: skipped' counts '0 42 0 3'

# ------------------------------------------------------------ half of it done
fresh
check 'some by name' enc 0 t/a/f1 t/a/f2 t/a/b/large
check 'the rest' enc 0 --json -r t
check 'the rest: counts' counts '38 4 0 3'
check 'a file and its directory' dec 0 --json -r t/a/f1 t
check 'a file and its directory: once' counts '41 1 0 3'
check 'back' as_before

# ----------------------------------------------------------------- failures
fresh
check 'encrypt' enc 0 -r t
spoil t/a/f7 600
truncate -s -1 t/a/f8
check 'verify finds damage' ver 1 --json t
check 'verify: counts' counts '39 1 2 3'
check 'verify: both named' test "$(grep -cE 't/a/f7: .*\(auth\)|t/a/f8: .*\(length\)' err)" = 2
cp -a t sealed
check 'verify wrote nothing' diff -r --no-dereference -x fifo t sealed
check 'decrypt goes on' dec 1 --json -r t
check 'decrypt: counts' counts '39 1 2 3'
check 'decrypt: damaged stays' cmp t/a/f7 sealed/a/f7
check 'damaged is not encrypted again' enc 1 --json -r t
check 'damaged: counts' counts '39 2 1 3'
rm -rf sealed
check 'verify of plaintext by name' ver 1 plain/a/f1
check 'verify of plaintext: said' said '(magic)'
"$tk" key generate other
check 'wrong key' run 1 verify --key-file other t/a/f1
check 'wrong key: said' said '(wrong_key)'
check 'missing key' run 1 decrypt --key-file none --json -r t
check 'missing key: said once' test "$(grep -c 'read the key' err)" = 1

# --------------------------------------------------------------- hard links
fresh
ln t/a/f1 t/a/b/second
ln t/a/f1 t/third
rm -rf plain && cp -a t plain
check 'links, outside' enc 1 t/a/f1
check 'links, outside: said' said 'hard links'
check 'links, some outside' enc 1 -r t/a
check 'links, some outside: said' said 'hard links'
check 'links, all inside' enc 0 --json -r t
check 'links: once' counts '1 41 0 3'
check 'links: one file' test "$(stat -c %i t/a/f1 t/a/b/second t/third | sort -u | wc -l) $(stat -c %h t/third)" = '1 3'
check 'links: encrypted' is_taka t/third
check 'links by name' dec 0 t/third t/a/f1 t/a/b/second
check 'links by name: decrypt the rest' dec 0 -r t
check 'links: as before' as_before
check 'links: still one' test "$(stat -c %h t/third)" = 3

# ---------------------------------------------------------------- the agent's
fresh
mkdir t/.takakrypt t/a/.takakrypt && echo mine > t/.takakrypt/record && echo mine > t/a/.takakrypt/f
check "a directory of the agent's name" enc 0 --json -r t
check "a directory of the agent's name: counts" counts '43 1 0 3'
check "a directory of the agent's name: encrypted" eval 'is_taka t/.takakrypt/record && is_taka t/a/.takakrypt/f'
if [ "$(id -u)" -eq 0 ]; then
	fresh
	mkdir -m 700 t/a/.takakrypt && echo journal > t/a/.takakrypt/record
	check 'a journal at no mount' enc 1 --json -r t
	check 'a journal at no mount: said' said "t/a/.takakrypt: it looks like the agent's journal"
	check 'a journal at no mount: counts' counts '41 1 1 3'
	check 'a journal at no mount: left alone' grep -q journal t/a/.takakrypt/record
	rm t/a/.takakrypt/record
	check 'an empty one' enc 0 -r t
fi

# ----------------------------------------------------- sparse, broken off
fresh
truncate -s 64M t/sparse
check 'sparse' enc 0 -r t
check 'sparse, back' dec 0 -r t
check 'sparse: content' test "$(stat -c %s t/sparse) $(tr -d '\0' < t/sparse | wc -c)" = '67108864 0'
for i in $(seq 6); do truncate -s 64M "t/big$i"; done
"$tk" encrypt --key-file key --key-id k --json -r t > out 2> err &
pid=$!
while ! is_taka t/a/f1 && kill -0 $pid 2> /dev/null; do :; done
kill -TERM $pid
wait $pid
check 'broken off: no half file' ver 0 t
check 'broken off: nothing left' no_temp
check 'gone on' enc 0 --json -r t
check 'gone on: all of it' test "$(jq '.done + .skipped' out)" = 49
check 'verify all' ver 0 --json t
check 'verify all: counts' counts '48 1 0 3'

# ------------------------------------------------- other filesystems, races
if [ "$(id -u)" -eq 0 ] && mkdir -p t2/mnt && mount -t tmpfs none t2/mnt 2> /dev/null; then
	echo inside > t2/mnt/f
	echo beside > t2/f
	check 'not crossed' enc 0 --json -r t2
	check 'not crossed: counts' counts '1 0 0 0'
	check 'not crossed: alone' grep -q inside t2/mnt/f
	check 'crossed' enc 0 --json --cross-filesystems -r t2
	check 'crossed: counts' counts '1 1 0 0'
	check 'crossed: done' is_taka t2/mnt/f
	umount t2/mnt
fi
# -------------------------------------------------------------------- rekey
fresh
"$tk" key generate --version 1 keys
versions() { "$tk" inspect --json t | jq -r '.[].key_version' | sort | uniq -c | tr -s ' \n' ' '; }
rekey() { run "$1" rekey --key-file keys "${@:2}"; }
check 'rekey: encrypt' run 0 encrypt --key-file keys --key-id k -r t
"$tk" key generate --version 2 keys
cp -a t sealed
check 'rekey: one first' rekey 0 t/a/f1
check 'rekey' rekey 0 --json t
check 'rekey: counts' counts '40 2 0 3'
check 'rekey: bytes' test "$(jq .bytes out)" = $((40 * 512))
check 'rekey: versions' test "$(versions)" = ' 41 2 '
check 'rekey: shape' same_shape t sealed
check 'rekey: body untouched' cmp -i 512 t/a/b/large sealed/a/b/large
check 'rekey: header new' test "$(head -c 512 t/a/f2 | sha256sum)" != "$(head -c 512 sealed/a/f2 | sha256sum)"
check 'rekey again: skipped' rekey 0 --json t
check 'rekey again: counts' counts '0 42 0 3'
mv keys/1 old
check 'rekey: old version not needed' run 0 decrypt --key-file keys -r t
check 'rekey: as before' as_before
check 'rekey: without the old version' rekey 1 sealed/a/f1
check 'rekey: without the old version, said' said '(no_key)'
mv old keys/1
spoil sealed/a/f7 100
cp sealed/a/f7 damaged
check 'rekey: damaged header' rekey 1 --json sealed
check 'rekey: damaged header, the rest' counts '40 1 1 3'
check 'rekey: damaged header stays' cmp damaged sealed/a/f7
"$tk" rekey --key-file keys sealed/a/f2 && cp sealed/a/f2 intact
spoil sealed/a/f2 20
check 'rekey: damaged, current version' rekey 1 sealed/a/f2
check 'rekey: damaged, current version, said' said 'sealed/a/f2: '
check 'rekey: damaged, current version, in a tree' rekey 1 --json sealed/a
mv intact sealed/a/f2
check 'rekey: current version is made durable' strace -o trace -e trace=fdatasync "$tk" rekey --key-file keys sealed/a/f2
check 'rekey: durable' grep -q '^fdatasync.* = 0' trace
strace -o trace -e trace=fdatasync -e inject=fdatasync:error=EIO "$tk" rekey --key-file keys sealed/a/f2 > out 2> err
check 'rekey: cannot be made durable' test $? -eq 1
check 'rekey: cannot be made durable, said' said 'sealed/a/f2: '
cp sealed/a/f2 before
exec 9>> sealed/a/f2
check 'rekey: open for writing' rekey 1 --key-version 1 sealed/a/f2
check 'rekey: open for writing, said' said 'a program has it open'
exec 9>&-
check 'rekey: open for writing, untouched' cmp before sealed/a/f2
for n in 1 2; do
	check "rekey: changed after $n looks" meanwhile 1 pread64 $n 'touch -h -d 2001-02-03 sealed/a/f2' sealed/a/f2 "$tk" rekey --key-file keys --key-version 1 sealed/a/f2
	check "rekey: changed after $n looks, said" said 'it changed meanwhile'
	check "rekey: changed after $n looks, untouched" cmp before sealed/a/f2
	touch sealed/a/f2
done
check 'rekey: back to version 1' rekey 0 --key-version 1 sealed/a/f1
check 'rekey: no such version' rekey 1 --key-version 9 sealed/a/f1
rm -rf sealed

# --------------------------------------- exchanged by its owner, meanwhile
place() { # a directory with a file, and another that is none of the walk's business
	rm -rf race outside
	mkdir -p race/sub outside
	seq 100 > race/sub/f
	seq 200 > outside/f
	[ $# -eq 0 ] || "$tk" encrypt --key-file keys --key-id k "$@" race/sub/f outside/f
	cp -a outside kept
}
exchange='mv race/sub race/old && ln -s ../outside race/sub'
for verb in encrypt decrypt; do
	[ $verb = encrypt ] && place || place --key-version 1
	[ $verb = encrypt ] && id='--key-id k' || id=
	# shellcheck disable=SC2086 # the options are words
	check "$verb, directory exchanged" meanwhile 1 newfstatat 1 "$exchange" race/sub "$tk" $verb --key-file keys $id --json -r race
	check "$verb, directory exchanged: said" said 'race/sub: another directory took its place'
	check "$verb, directory exchanged: counts" counts '0 0 1 0'
	check "$verb, directory exchanged: outside" diff -r outside kept
	rm -rf kept
done
place
check 'empty for a directory' meanwhile 1 newfstatat 1 "rm outside/f && $exchange" race/sub "$tk" encrypt --key-file keys --key-id k -r race
check 'empty for a directory: said' said 'race/sub: another directory took its place'
rm -rf kept
for verb in rekey verify; do
	place --key-version 1
	check "$verb, file exchanged" meanwhile 1 newfstatat 1 "$exchange" race/sub/f "$tk" $verb --key-file keys --json race
	check "$verb, file exchanged: said" said 'race/sub/f: another file took its place'
	check "$verb, file exchanged: outside" diff -r outside kept
	rm -rf kept
done
place
check 'from a relative place' enc 0 --json -r race/sub/.. race/../outside
check 'from a relative place: counts' counts '2 0 0 0'

place
: > race/sub/new
check 'empty when found' meanwhile 0 newfstatat 1 'seq 300 > race/sub/new' race/sub/new "$tk" encrypt --key-file keys --key-id k -r race
check 'empty when found: encrypted' is_taka race/sub/new
rm -rf kept

# ------------------------------------------------ a writer, meanwhile
writer='(echo more >> $name) & for i in $(seq 1000); do grep -q "BREAKING.*:$(stat -c %i $name) " /proc/locks && break; done'
more() { [ "$(tail -n 1 "$1")" = more ]; }
write_between() { # SYSCALL N PATH FILE OTHER...: somebody writes to the first file, after the Nth SYSCALL on PATH
	local name=$4 rc
	rm -rf race && mkdir -p race
	seq 1000 > race/f
	[ "$name" = race/f ] || ln race/f "$name"
	meanwhile 1 "$1" "$2" "$writer" "$3" "$tk" encrypt --key-file key --key-id k "${@:5}" "$name"
	rc=$?
	wait
	return $rc
}
for n in 2 3; do
	check "writer before the rename ($n)" write_between fcntl $n race/f race/f
	check "writer before the rename ($n): said" said 'race/f: it changed meanwhile'
	check "writer before the rename ($n): kept" more race/f
	check "writer before the rename ($n): nothing left" no_temp
done
check 'writer before a link' write_between newfstatat 1 second race/second race/f
check 'writer before a link: said' said 'hard link was left behind'
check 'writer before a link: kept' more race/second
check 'writer before a link: nothing left' no_temp
rm -rf race && mkdir race && seq 1000 > race/f
check 'without exchange' strace -o trace -e trace=renameat2 -e inject=renameat2:error=EINVAL "$tk" encrypt --key-file key --key-id k race/f
check 'without exchange: done' is_taka race/f
check 'without exchange: tried' grep -q RENAME_EXCHANGE.*INJECTED trace
# Zeros would be holes; and of several threads one writes twice.
seq 1000000 > race/large && enc 0 race/large
{ strace -f -o trace -e trace=pwrite64 -e inject=pwrite64:signal=KILL:when=2 "$tk" decrypt --key-file key race/large; } 2> err
check 'killed: written to' test "$(grep -c 'pwrite64(' trace)" -ge 2
check 'killed: nothing left' no_temp
check 'killed: as it was' ver 0 race/large

# ------------------------------------------- an agent ended in the middle
if [ "$(id -u)" -eq 0 ] && mkdir -p t3/mnt t3/bound && mount -t tmpfs none t3/mnt 2> /dev/null; then
	mkdir -p t3/mnt/sub/below t3/mnt/sub/none
	echo half | tee t3/f t3/mnt/f t3/mnt/sub/below/f > t3/mnt/sub/f
	mkdir -m 700 t3/mnt/.takakrypt
	check 'journal: empty' run 0 encrypt --key-file keys --key-id k --key-version 1 -r t3/mnt/sub/below
	echo record > t3/mnt/.takakrypt/record
	cp -a t3/mnt kept
	mount --bind t3/mnt/sub t3/bound
	for where in '-r t3/mnt' '-r t3/mnt/sub' '-r t3/mnt/sub/none' t3/mnt/f t3/mnt/sub/f t3/bound/f '-r t3/bound' '--cross-filesystems -r t3'; do
		# shellcheck disable=SC2086 # the options are words
		check "journal: encrypt $where" enc 1 $where
		check "journal: encrypt $where, said" grep -q '^takakrypt-bpf: encrypt t3.*: the agent.s journal at .*/t3/mnt has 1 records.*start the agent' err
	done
	check 'journal: decrypt' dec 1 -r t3/mnt
	check 'journal: decrypt, said' said 'has 1 records'
	check 'journal: rekey' rekey 1 t3/mnt
	check 'journal: rekey, said' said 'has 1 records'
	check 'journal: nothing changed' diff -r t3/mnt kept
	check 'journal: verify' run 0 verify --key-file keys t3/mnt
	check 'journal: another filesystem' enc 0 t3/f
	if can_play_agent; then
		check 'journal: an agent runs' agents 0 '{"ok": true}' "$tk" encrypt --key-file key --key-id k t3/mnt/f
	fi
	"$tk" verify --key-file keys --json t3/mnt > out 2> err
	check 'journal: verify leaves it out, and counts it' test "$(jq .special out) $(grep -c record err)" = '1 0'
	rm -f t3/mnt/.takakrypt/record
	check 'journal: empty again' enc 0 -r t3/mnt
	umount t3/bound t3/mnt
	rm -rf kept
fi

check 'usage: -o and -r' enc 2 -o x -r t
check 'help verify' run 0 help verify

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
