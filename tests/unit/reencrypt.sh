#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# tests/unit/reencrypt.sh - rekey --reencrypt on whole trees: new file keys, the same
# shape.  Ends with "N passed, N failed".
#
# usage: tests/unit/reencrypt.sh [COMMAND]    (default: build/takakrypt-bpf)
. "$(dirname "$0")/suite.sh"
. "$here/meanwhile.sh"
. "$here/files.sh"

anew() { run "$1" rekey --reencrypt --key-file keys "${@:2}"; }
said() { grep -qF -- "$1" err; }
counts() { [ "$(jq -r '"\(.done) \(.skipped) \(.failed) \(.special)"' out)" = "$1" ]; }
no_temp() { ! find . -name '.takakrypt-*' | grep -q .; }
versions() { "$tk" inspect --json t | jq -r '.[].key_version' | sort | uniq -c | tr -s ' \n' ' '; }
# Whether two sealed files share any record's nonce: they would, had the content been kept.
differs() { ! cmp -s <(tail -c +513 "$1" | head -c 12) <(tail -c +513 "$2" | head -c 12); }
all_differ() { local f; for f in t/a/f* t/a/b/large t/third; do differs "$f" "sealed/${f#t/}" || return 1; done; }
# Records of the file key from before, and what was written since.
old_key_opens() {
	{ head -c 512 "$1"; tail -c +513 "$2"; } > mixed
	"$tk" verify --key-file keys mixed 2> mixed.err
}

fresh() {
	rm -rf t plain sealed
	mkdir -p t/a/b
	for i in $(seq 20); do seq "$i" $((i * 100)) > "t/a/f$i"; done
	seq 1 300000 > t/a/b/large
	ln t/a/f1 t/third
	ln -s f1 t/a/link
	mkfifo t/fifo
	setfattr -n user.colour -v blue t/a/f1
	setfacl -m u:12345:r t/a/f2
	chmod 640 t/a/f3
	[ "$(id -u)" -ne 0 ] || chown 12345:54321 t/a/f5
	touch -d '2001-02-03 04:05:06.123456789' t/a/f4
	cp -a t plain
	"$tk" encrypt --key-file keys --key-id k --key-version 1 -r t > out
	seq 5 > t/a/beside
	: > t/a/nothing
	cp -a t sealed
}

"$tk" key generate --version 1 keys
"$tk" key generate --version 2 keys

fresh
check 'all of it' anew 0 --json t
check 'counts' counts '21 2 0 2'
check 'bytes' test "$(jq .bytes out)" = "$(cat plain/a/f* plain/a/b/large | wc -c)"
check 'versions' test "$(versions)" = ' 21 2 '
check 'shape' same_shape t sealed %s
check 'links are one file' test "$(stat -c %i t/a/f1 t/third | sort -u | wc -l)" = 1
check 'new contents' all_differ
check 'an old file key opens the old content' old_key_opens sealed/a/b/large sealed/a/b/large
check 'an old file key opens nothing new' eval '! old_key_opens sealed/a/b/large t/a/b/large'
check 'nothing new opens: for the right reason' grep -q '(auth)' mixed.err
check 'what was plain is plain' cmp sealed/a/beside t/a/beside
check 'nothing left' no_temp
check 'verify' run 0 verify --key-file keys t
check 'ten bytes of plaintext are no damage to inspect' run 0 inspect t
check 'nor to rekey' run 0 rekey --key-file keys t
rm -rf sealed && cp -a t sealed
check 'under that version already: anew' anew 0 --json t
check 'under that version already: counts' counts '21 2 0 2'
check 'under that version already: new contents' all_differ
check 'a sentence' anew 0 t
check 'a sentence: said' grep -q '^re-encrypted 21 files (.*) in .*; 2 skipped, 0 failed$' out
check 'to a version' anew 0 --key-version 1 t/a/f2
check 'to a version: there' test "$("$tk" inspect --json t/a/f2 | jq '.[0].key_version')" = 1
check 'back to plaintext' run 0 decrypt --key-file keys -r t
check 'the same plaintext' diff -r --no-dereference -x fifo -x beside -x nothing t plain

# ------------------------------------------------------------- refusals
fresh
spoil t/a/b/large 900000
cp t/a/b/large damaged
cp plain/a/f7 t/a/f7 && "$tk" encrypt --key-file keys --key-id k --format 1 t/a/f7
ln t/a/f9 outside
check 'damaged, format 1, linked elsewhere' anew 1 --json t
check 'damaged, format 1, linked elsewhere: counts' counts '18 2 3 2'
check 'damaged: said' said 't/a/b/large: the content is not authentic'
check 'damaged: as it was' cmp damaged t/a/b/large
check 'format 1: said' said 't/a/f7: format 1 has no file key'
check 'linked elsewhere: said' said 't/a/f9: it has other hard links'
check 'linked elsewhere: as it was' cmp outside sealed/a/f9
rm outside
cp t/a/f8 before
exec 9>> t/a/f8
check 'open for writing' anew 1 t/a/f8
check 'open for writing: said' said 't/a/f8: a program has it open for writing'
exec 9>&-
check 'changed meanwhile' meanwhile 1 pread64 1 'touch -h -d 2001-02-03 t/a/f8' t/a/f8 "$tk" rekey --reencrypt --key-file keys t/a/f8
check 'changed meanwhile: said' said 'it changed meanwhile'
check 'as it was' cmp before t/a/f8
check 'not encrypted, by name' anew 1 t/a/beside
check 'no such version' anew 1 --key-version 9 t/a/f8
mv keys/1 old
check 'without the old version' anew 1 sealed/a/f8
check 'without the old version: said' said '(no_key)'
mv old keys/1
check 'nothing left by any' no_temp

# ----------------------------------------------------------- broken off
# DIRECTORY: as the help says: the file that has no name of a killed run takes the names that share the old content.
mend() {
	local left name new
	for left in $(find "$1" -name '.takakrypt-*'); do
		for name in $(find "$1" -samefile "$left" ! -name '.takakrypt-*'); do
			for new in t/a/f1 t/third l/one l/two l/three; do
				[ ! -e "$new" ] || [ "$new" -ef "$left" ] || [ "${new%%/*}" != "$1" ] || ln -f "$new" "$name"
			done
		done
		rm "$left"
	done
}
one_file() { [ "$(stat -c %i l/one l/two l/three | sort -u | wc -l)" = 1 ]; }
rm -rf l && mkdir l && seq 5000 > l/one && ln l/one l/two && ln l/one l/three
"$tk" encrypt --key-file keys --key-id k -r l > out
splits=0
for call in linkat renameat2 unlinkat fsync; do
	for n in 1 2 3 4 5 6 7; do
		{ strace -f -o trace -e trace=$call -e inject=$call:signal=KILL:when=$n "$tk" rekey --reencrypt --key-file keys l; } > out 2> err
		grep -q 'killed by SIGKILL' trace || break
		if ! one_file; then
			splits=$((splits + 1))
			check "links, killed at $call $n: noticed" anew 1 l
			check "links, killed at $call $n: said" grep -qE 'rekey l/.*: a run that was killed has left l/\.takakrypt-[0-9a-f]{16}, .*ln -f' err
		fi
		mend l
		check "links, killed at $call $n: one again" one_file
		check "links, killed at $call $n: gone on" anew 0 l
		check "links, killed at $call $n: still one" one_file
		check "links, killed at $call $n: whole" run 0 verify --key-file keys l
	done
done
check 'links: some kills came in between' test $splits -ge 3
fresh
for call in pwrite64 fsync renameat2; do
	{ strace -f -o trace -e trace=$call -e inject=$call:signal=KILL:when=1 "$tk" rekey --reencrypt --key-file keys t; } > out 2> err
	check "killed at $call" grep -q 'killed by SIGKILL' trace
	check "killed at $call: no half file" run 0 verify --key-file keys t
	mend t
done
check 'gone on' anew 0 --json t
check 'gone on: versions' test "$(versions | awk '{print NF, $2}')" = '2 2'
check 'gone on: every file' test "$(jq '.done' out)" = "$(versions | awk '{print $1}')"
{ strace -f -o trace -e trace=pwrite64 -e inject=pwrite64:signal=TERM:when=2 "$tk" rekey --reencrypt --key-file keys --json t; } > out 2> err
check 'stopped: told' test "$(jq .interrupted out)" = true
check 'stopped: nothing left' no_temp
check 'stopped: no half file' run 0 verify --key-file keys t
check 'usage: twice' anew 2 --reencrypt t
check 'usage: nothing named' anew 2

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
