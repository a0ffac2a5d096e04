#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# tests/unit/keys.sh - key import, list and retire as a person uses them.
# Ends with "N passed, N failed".
#
# usage: tests/unit/keys.sh [COMMAND]    (default: build/takakrypt-bpf)
. "$(dirname "$0")/suite.sh"
. "$here/meanwhile.sh"
. "$here/files.sh"
. "$here/agents.sh"

given() { # FILE CODE ARGUMENT...: the same with standard input
	run "${@:2}" < "$1"
}
said() { grep -qF -- "$1" err; }
says() { grep -qxF -- "$1" out; }
# Nothing of the key, raw or in digits of either case, in files: whose search is shown to find it.
holds_key() { # KEY FILE...
	local digits
	digits=$(od -An -vtx1 "$1" | tr -d ' \n')
	grep -qiF -- "$digits" "${@:2}" || cat "${@:2}" | od -An -vtx1 | tr -d ' \n' | grep -qF -- "$digits"
}
no_key() { ! holds_key "$@"; }

# ------------------------------------------------------------------- import
printf 'the only copy of a policy key, 1' > raw
od -An -vtx1 raw | tr -d ' \n' > hex
(tr a-f A-F < hex; echo) > upper
check 'raw' given raw 0 key import a
check 'raw: the same' cmp raw a
check 'raw: mode' test "$(stat -c '%a %s' a)" = '600 32'
check 'raw: silent' test ! -s out -a ! -s err
check 'digits' given hex 0 key import b
check 'digits: the same' cmp raw b
check 'digits and a newline' given upper 0 key import --hex -o c
check 'digits: as digits' test "$(cat c)" = "$(cat hex)"
check 'from a file' run 0 key import --from upper d
check 'from a file: the same' cmp raw d
umask 0
check 'whatever the umask' given raw 0 key import u
check 'whatever the umask: mode' test "$(stat -c %a u)" = 600
umask 022
check 'version' given raw 0 key import --version 4 keys
check 'version: modes' test "$(stat -c %a keys keys/4 | tr '\n' ' ')" = '700 600 '
check 'version: the same' cmp raw keys/4
check 'fit for use' run 0 key verify a b c d keys
seq 1 1000 > plain
cp plain f
check 'encrypt with one' run 0 encrypt --key-file c --key-id k f
check 'decrypt with the other' run 0 decrypt --key-file a f
check 'the same key' cmp plain f

printf 'another key that must not get in' > other
check 'never overwritten' given other 1 key import a
check 'never overwritten: said' said 'never overwritten'
check 'version again' given other 1 key import --version 4 keys
check 'version again: said' said 'has that version already'
check 'directory alone' given other 1 key import keys
check 'directory alone: said' said 'give --version N'
check 'a link to nowhere' sh -c 'ln -s nowhere link'
check 'a link to nowhere is something' given other 1 key import link
check 'all as before' cmp raw a
check 'version as before' cmp raw keys/4
check 'nothing else made' test ! -e nowhere -a "$(ls -A keys)" = 4
head -c 31 raw > bad1
(cat raw; echo) > bad2
tr 0-9a-f g-v < hex > bad3
(cat hex; echo; echo) > bad4
: > bad5
head -c 63 hex > bad6
for bad in bad?; do
	check "$bad" given $bad 1 key import new
	check "$bad: said" said 'neither 32 bytes nor 64 hexadecimal digits'
	check "$bad: told once" test "$(wc -l < err)" -eq 1
done
check 'without an end' given /dev/zero 1 key import new
check 'from nowhere' run 1 key import --from none new
check 'from a directory' run 1 key import --from keys new
check 'from a terminal' test "$(script -qec "$tk key import new" /dev/null < /dev/null | grep -c 'which would show the key')" = 1
check 'refusals made nothing' test ! -e new
check 'usage: no path' given raw 2 key import
check 'usage: two' given raw 2 key import a b
check 'usage: from twice' given raw 2 key import --from a --from b c
check 'usage: generate has no --from' run 2 key generate --from raw new
# A reader of the directory never meets half a key: killed at the first write, nothing has the name.
{ strace -o trace -e trace=write -e inject=write:signal=KILL:when=1 "$tk" key import --version 5 keys < raw; } 2> err
check 'killed while it writes' grep -q '^write.*the only copy' trace
check 'killed while it writes: nothing there' test "$(ls -A keys)" = 4

# Where there are no nameless files, neither; nor is anything overwritten there.
named() { # STRACE-OPTION... -- ARGUMENT...: whichever openat() is for a nameless file
	local inject=()
	while [ "$1" != -- ]; do
		inject+=("$1")
		shift
	done
	strace -o trace -e trace=openat,write,renameat2,linkat -e inject=openat:error=EOPNOTSUPP:when="$nameless" \
		${inject[@]+"${inject[@]}"} "$tk" "${@:2}" < raw > out 2> err
}
strace -o trace -e trace=openat "$tk" key import --version 5 keys < raw
nameless=$(grep -n O_TMPFILE trace | cut -d: -f1)
rm keys/5
check 'no nameless files' named -- key import --version 5 keys
check 'no nameless files: so it was' grep -q 'O_TMPFILE.*INJECTED' trace
check 'no nameless files: whole' cmp raw keys/5
check 'no nameless files: mode' test "$(stat -c %a keys/5)" = 600
check 'no nameless files: nothing else' test "$(ls -A keys | tr '\n' ' ')" = '4 5 '
check 'no nameless files: never overwritten' eval '! named -- key import --version 4 keys && cmp raw keys/4'
rm keys/5
check 'no such rename' named -e inject=renameat2:error=EINVAL -- key import --version 5 keys
check 'no such rename: whole' cmp raw keys/5
check 'no such rename: nothing else' test "$(ls -A keys | tr '\n' ' ')" = '4 5 '
cp raw five && cp other raw
check 'no such rename: never overwritten' eval '! named -e inject=renameat2:error=EINVAL -- key import --version 5 keys && cmp five keys/5'
cp five raw && rm keys/5
{ named -e inject=write:signal=KILL:when=1 -- key import --version 5 keys; } 2> /dev/null
check 'no nameless files, killed while it writes' grep -q 'killed by SIGKILL' trace
check 'no nameless files, killed: nothing there' test "$(ls keys)" = 4
check 'no nameless files, killed: what is left' test "$(ls -A keys | grep -cE '^\.unfinished-[0-9a-f]{16}$')" = 1
check 'no nameless files, killed: no reader of it' run 0 key verify keys
rm keys/.unfinished-*
strace -o trace -e trace=write -e inject=write:error=ENOSPC:when=1 "$tk" key import --version 5 keys < raw > out 2> err
check 'no space: said' said 'No space left on device; free some space; nothing was written'
check 'no space: nothing there' test "$(ls -A keys)" = 4
head -c 32 hex > half
check '16 bytes in digits' given half 1 key import new
check '16 bytes in digits: said' said 'a key of 16 bytes, which is too short'
check '16 bytes in digits: nothing' test ! -e new
for action in generate import rotate verify list retire; do
	for option in -h --help; do
		check "$action $option" run 0 key $action $option
		check "$action $option: said" grep -q '^SYNOPSIS' out
	done
done

# --------------------------------------------------------------------- list
"$tk" key rotate keys > /dev/null
check 'list' run 0 key list keys a
check 'list: version' says '    version 4'
check 'list: current' says '    version 5, current'
check 'list: good' test "$(grep -cx '    good' out)" = 2
check 'list: json' run 0 key list --json keys a
check 'list: json, values' test "$(jq -c '.[] | [.provider, .where, .versions, .current, .retired, .health]' out | tr '\n' ' ')" = \
	'["file","keys",[4,5],5,[],"good"] ["file","a",[1],1,[],"good"] '
chmod 640 keys/4
check 'list: bad' run 1 key list --json keys a
check 'list: bad, said' said 'keys: the key file is open to its group'
check 'list: bad, values' test "$(jq -c '.[] | [.versions, .current]' out | tr '\n' ' ')" = '[[4,5],null] [[1],1] '
check 'list: bad, health' test "$(jq -r '.[0].health' out | cut -c1-28)" = 'the key file is open to its '
chmod 600 keys/4
check 'list: nothing there' run 1 key list none
check 'list: nothing there, said' said 'none: the key file cannot be opened'
printf '#!/bin/sh\necho run >> %s/ran\ncat %s/hex\n' "$work" "$work" > command
chmod 700 command
cat > policy.json <<END
{ "version": 1,
  "keys": { "one": { "provider": "file", "path": "$work/keys" },
            "two": { "provider": "command", "argv": ["$work/command"] },
            "three": { "provider": "credential", "name": "a" } },
  "policies": { "p": { "key": "one", "rules": [ { "actions": ["all_ops"], "effects": ["permit", "apply_key"] } ] } },
  "guard_points": [ { "name": "g", "path": "$work/g", "policy": "p" } ] }
END
check 'list: policy' run 0 key list --json --policy policy.json
check 'list: policy, values' test "$(jq -c '.[] | [.id, .provider, .current, .health]' out | tr '\n' ' ')" = \
	'["one","file",5,"good"] ["two","command",null,null] ["three","credential",null,null] '
check 'list: runs no command' test ! -e ran
check 'list: credential' env CREDENTIALS_DIRECTORY="$work" "$tk" key list --json --policy policy.json > out
check 'list: credential, values' test "$(jq -c '.[2] | [.where, .current, .health]' out)" = '["a",1,"good"]'
check 'list: as text' run 0 key list --policy policy.json
check 'list: as text, unseen' says '    the command is not run for a list'
check 'list: no such policy' run 1 key list --policy none.json
check 'usage: list' run 2 key list
check 'usage: list both' run 2 key list --policy policy.json keys

# No byte of a key in what any of it prints; and the search does find one.
for how in 'list keys a c' 'list --json keys a c' 'list --policy policy.json' 'verify keys a c'; do
	# shellcheck disable=SC2086 # words
	"$tk" key $how >> said-all 2>&1
done
"$tk" key import --from bad1 new >> said-all 2>&1
"$tk" key import --from bad4 new >> said-all 2>&1
check 'no key in what is said' no_key raw said-all
check 'the search finds one, raw' holds_key raw a
check 'the search finds one, digits' holds_key raw upper

# ------------------------------------------------------------------- retire
rm -rf keys && "$tk" key generate --version 1 keys && "$tk" key rotate keys > /dev/null
tree() {
	rm -rf t && mkdir -p t/sub
	seq 100 > t/f && seq 200 > t/sub/g && seq 300 > t/sub/plain && seq 5 > t/sub/short
	"$tk" encrypt --key-file keys --key-id k --key-version 1 t/f t/sub/g
}
retire() { run "$1" key retire --version "${@:2}"; }
kept() { cmp -s keys/1 one && [ ! -e keys/.retired-1 ]; }
cp -p keys/1 one
tree
check 'retire: no tree' retire 2 1 keys
check 'retire: no tree, said' said 'whether one of them still needs the version'
check 'retire: no version' run 2 key retire keys t
check 'retire: the current one' retire 1 2 keys t
check 'retire: the current one, said' said 'it is the current version'
check 'retire: none such' retire 1 7 keys t
check 'retire: none such, said' said 'there is no such version'
check 'retire: a single file' retire 1 1 one t
check 'retire: needed' retire 1 1 keys t
check 'retire: needed, both named' test "$(grep -cE ' t/(f|sub/g): the file needs this version; .*rekey' err)" = 2
check 'retire: needed, kept' kept
"$tk" rekey --key-file keys t/f
check 'retire: needed by one' retire 1 1 keys t
check 'retire: needed by one, named' said 't/sub/g: the file needs'
check 'retire: needed by one, alone' test "$(wc -l < err)" = 2
check 'retire: does not destroy' retire 2 1 --destroy keys t
check 'retire: kept' kept
check 'retire: a tree that is not there' retire 1 1 keys none
check 'retire: not there, kept' kept
# Another key's file of the same number does not need it, whatever its key id; a damaged one might.
"$tk" rekey --key-file keys t/sub/g
cp plain t/foreign && "$tk" encrypt --key-file a --key-id k t/foreign
cp t/foreign foreign
cp plain t/old && "$tk" encrypt --key-file keys --key-id k --key-version 1 --format 1 t/old
check 'retire: format 1' retire 1 1 keys t
check 'retire: format 1, named' said 't/old: the file needs this version; decrypt it'
check 'retire: format 1, alone' test "$(wc -l < err)" = 2
"$tk" decrypt --key-file keys --key-version 1 t/old
cp plain t/old && "$tk" encrypt --key-file a --key-id k --format 1 t/old
cp t/f t/damaged && spoil t/damaged 12
check 'retire: damaged' retire 1 1 keys t
check 'retire: damaged, named' said 't/damaged: whether it needs the version cannot be told'
rm t/damaged
cp foreign t/hurt && spoil t/hurt 30
"$tk" encrypt --key-file keys --key-id k --key-version 1 -o t/hurt2 plain && spoil t/hurt2 30
check 'retire: damaged header' retire 1 1 keys t
check 'retire: damaged header, named' said 't/hurt2: whether it needs'
rm t/hurt t/hurt2
check 'retire: kept until now' kept
if [ "$(id -u)" -eq 0 ] && mkdir t/mnt && mount -t tmpfs none t/mnt 2> /dev/null; then
	cp plain t/mnt/f && "$tk" encrypt --key-file keys --key-id k --key-version 1 t/mnt/f
	check 'retire: mounted below' retire 1 1 keys t
	check 'retire: mounted below, named' said 't/mnt/f: the file needs'
	umount t/mnt
fi
for i in $(seq 25); do cp plain "t/sub/many$i"; done
"$tk" encrypt --key-file keys --key-id k --key-version 1 t/sub/many*
check 'retire: many' retire 1 1 keys t
check 'retire: many, ten named' test "$(grep -c 'needs this version' err)" = 10
check 'retire: many, the rest' said 'and 15 more files'
"$tk" rekey --key-file keys t/sub/many*
check 'retire: interrupted' meanwhile 1 pread64 1 'kill -TERM $(cut -d" " -f1 trace | head -n 1)' t/f "$tk" key retire --version 1 keys t
check 'retire: interrupted, kept' kept
check 'retire' retire 0 1 keys t
check 'retire: says' says 'keys: version 1 is retired, and kept as .retired-1'
check 'retire: nothing lost' cmp one keys/.retired-1
check 'retire: mode' test "$(stat -c %a keys/.retired-1)" = 600
check 'retire: out of use' run 1 decrypt --key-file keys --key-version 1 -o x t/foreign
check 'retire: the others in use' run 0 decrypt --key-file keys -o x t/f
check 'retire: listed' run 0 key list keys
check 'retire: listed so' says '    version 1, retired'
check 'retire: again' retire 1 1 keys t
check 'retire: again, said' said 'it is retired already'
check 'retire: the number is not given again' run 1 key generate --version 1 keys
check 'retire: nor by import' given other 1 key import --version 1 keys
check 'retire: nor by rotate' run 0 key rotate keys
check 'retire: rotate went on' test -e keys/3
mv keys/.retired-1 keys/1
check 'retire: taken back' run 0 key verify keys
cp plain t/late && "$tk" encrypt --key-file keys --key-id k --key-version 1 t/late
check 'retire: taken back, and needed' retire 1 1 keys t
rm t/late

# A version whose file was used by itself is in the header as version 1.
install -m 600 keys/2 alone && cp plain t/alone && "$tk" encrypt --key-file alone --key-id k t/alone
"$tk" rekey --key-file keys t/f t/sub > out 2> err
check 'retire: by another number' retire 1 2 keys t
check 'retire: by another number, named' said 't/alone: the file needs this version; decrypt it'
check 'retire: by another number, alone' test "$(wc -l < err)" = 2
rm t/alone
check 'retire: version 2' retire 0 2 keys t
mv keys/.retired-2 keys/2
check 'retire: durable before' strace -f -o trace -e trace=syncfs,renameat2 "$tk" key retire --version 2 keys t > out
check 'retire: durable before, said' test "$(sed -n 's/^[0-9]* *\([a-z0-9]*\)(.*/\1/p' trace | head -n 2 | tr '\n' ' ')" = 'syncfs renameat2 '
mv keys/.retired-2 keys/2
strace -f -o trace -e trace=syncfs -e inject=syncfs:error=EIO "$tk" key retire --version 2 keys t > out 2> err
check 'retire: cannot be made durable' test $? = 1
check 'retire: cannot be made durable, kept' test -e keys/2 -a ! -e keys/.retired-2
strace -f -o trace -e trace=fsync -e inject=fsync:error=EIO "$tk" key retire --version 2 keys t > out 2> err
check 'retire: the directory cannot' test $? = 1
check 'retire: the directory cannot, kept' test -e keys/2 -a ! -e keys/.retired-2

# Moved by its owner from where the walk had not been to where it had.
cp plain moved && "$tk" encrypt --key-file keys --key-id k --key-version 2 moved
check 'retire: a file comes meanwhile' meanwhile 1 renameat2 1 'mv moved t/sub/moved' .retired-2 "$tk" key retire --version 2 keys t
check 'retire: a file comes meanwhile, named' said 't/sub/moved: the file needs this version'
check 'retire: a file comes meanwhile, said' said 'it was taken back into use'
check 'retire: a file comes meanwhile, kept' test -e keys/2 -a ! -e keys/.retired-2
mv t/sub/moved moved

# Anybody can give a directory the name of the agent's.
mkdir -p t/sub/.takakrypt/deep && mv moved t/sub/.takakrypt/deep/f
check 'retire: hidden' retire 1 2 keys t
check 'retire: hidden, named' said 't/sub/.takakrypt/deep/f: the file needs'
if [ "$(id -u)" -eq 0 ]; then
	chmod 700 t/sub/.takakrypt
	check 'retire: hidden in what looks like a journal' retire 1 2 keys t
	check 'retire: hidden in what looks like a journal, named' said "t/sub/.takakrypt: it looks like the agent's journal"
	chown 12345 t/sub/.takakrypt
	check "retire: hidden in a user's" retire 1 2 keys t
	check "retire: hidden in a user's, named" said 't/sub/.takakrypt/deep/f: the file needs'
fi
rm -rf t/sub/.takakrypt
check 'retire: at last' retire 0 2 keys t

# -------------------------------------------------- beside an agent's files
if can_play_agent; then
	rm -rf keys && "$tk" key generate --version 1 keys && "$tk" key rotate keys > /dev/null
	rm -rf t && mkdir t && cp plain t/f && "$tk" encrypt --key-file keys --key-id k t/f
	cp -r keys beside && mkdir t2 && cp plain t2/f
	state() { # CURRENT RECORDS PATH GUARD [PROVIDER]
		echo "{\"ok\": true, \"files\": {\"records\": $2}, \"keys\": [{\"id\": \"k\", \"provider\": \"${5-file}\", \"where\": \"$3\", \"current\": $1}], \"guard_points\": [{\"path\": \"$4\"}]}"
	}
	retiring="$tk key retire --version 1 keys t"
	# shellcheck disable=SC2086 # words
	{
	check 'agent: writes under it' agents 1 "$(state 1 0 "$work/../${work##*/}/keys" /none)" $retiring
	check 'agent: writes under it, said' said 'the agent still writes files under it; `takakrypt-bpf reload`'
	check 'agent: has files open' agents 1 "$(state 2 3 "$work/keys" /none)" $retiring
	check 'agent: has files open, said' said 'files in guard points are open'
	set_aside=$(state 1 '0, "set_aside": true' "$work/beside" /none)
	check 'agent: has set something aside' agents 1 "$set_aside" $retiring
	check 'agent: has set something aside, said' said 'contents that were set aside'
	check 'agent: says nothing of keys' agents 1 '{"ok": true, "files": {"records": 0}}' $retiring
	check 'agent: shows plaintext' agents 1 "$(state 2 0 "$work/keys" "$work/t2")" $retiring t2
	check 'agent: shows plaintext, said' said 't2/f: the agent shows it to this command as plaintext'
	check 'agent: kept' test -e keys/1
	check 'agent: another key' agents 0 "$(state 1 0 "$work/beside" /none)" $retiring
	mv keys/.retired-1 keys/1
	check 'agent: the file by itself' agents 1 "$(state 1 0 "$work/keys/1" /none)" $retiring
	check 'agent: the file by itself, said' said 'as a key by itself'
	check 'agent: a key file that is not there' agents 1 "$(state 1 0 "$work/none" /none)" $retiring
	for provider in command credential pkcs11; do
		check "agent: $provider" agents 1 "$(state 1 0 "$work/command" /none $provider)" $retiring
		check "agent: $provider, said" said "the agent's key k, which is no file, has that version"
		check "agent: $provider, unknown" agents 1 "$(state null 0 "$work/command" /none $provider)" $retiring
		check "agent: $provider, another version" agents 0 "$(state 2 0 "$work/command" /none $provider)" $retiring
		mv keys/.retired-1 keys/1
	done
	mkdir t/mnt
	if mount -t tmpfs none t/mnt 2> /dev/null; then
		mkdir -m 700 t/mnt/.takakrypt && echo record > t/mnt/.takakrypt/record
		check 'agent: a journal that it does not know' agents 1 "$(state 2 0 "$work/keys" /none)" $retiring
		check 'agent: a journal that it does not know, said' said 't/mnt has 1 records'
		check 'agent: a journal that it does not know, kept' test -e keys/1
		rm t/mnt/.takakrypt/record
		check 'agent: an empty journal' agents 0 "$(state 2 0 "$work/keys" /none)" $retiring
		mv keys/.retired-1 keys/1
		umount t/mnt
	fi
	check 'agent: another version' agents 0 "$(state 2 0 "$work/keys" "$work/t")" $retiring t2
	}
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
