#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# tests/unit/verbs.sh - encrypt, decrypt, inspect and key as a person uses them:
# what is kept, what is refused, what is left behind.  Ends with "N passed, N failed".
#
# usage: tests/unit/verbs.sh [COMMAND]    (default: build/takakrypt-bpf)
. "$(dirname "$0")/suite.sh"

# CODE TEXT ARGUMENT...: exit code, and for a failure one line with the text.
run() {
	local code=$1 text=$2 rc
	shift 2
	"$tk" "$@" > out 2> err
	rc=$?
	[ $rc -eq "$code" ] || return 1
	if [ -n "$text" ]; then
		[ "$(wc -l < err)" -eq 1 ] && grep -qF -- "$text" err
	else
		[ ! -s err ]
	fi
}

enc() {
	local code=$1 text=$2
	shift 2
	run "$code" "$text" encrypt --key-file key --key-id k "$@"
}

dec() {
	local code=$1 text=$2
	shift 2
	run "$code" "$text" decrypt --key-file key "$@"
}

no_temp() {
	! find . -name '.takakrypt-*' | grep -q .
}

fresh() {
	rm -rf d && mkdir d
	seq 1 20000 > d/f
	cp d/f plain
}

# Nothing happened to d/f.
as_before() {
	cmp -s d/f plain && no_temp
}

meta() {
	stat -c '%u %g %a %y' "$1"
	getfattr -d -m '^user|posix_acl' -e hex "$1" 2> /dev/null | tail -n +2
}

for tool in jq setfattr setfacl; do
	if ! command -v $tool > /dev/null; then
		echo "verbs.sh: run the tests: $tool is missing; install jq, attr and acl" >&2
		exit 1
	fi
done

# ------------------------------------------------------------------- key
check 'generate' run 0 '' key generate key
check 'mode' test "$(stat -c '%a %s' key)" = '600 32'
check 'never overwrite' run 1 'never overwritten' key generate key
check 'generate --hex' run 0 '' key generate --hex -o hexkey
check 'hex' grep -qxE '[0-9a-f]{64}' hexkey
check 'version 1' run 0 '' key generate --version 1 keys
check 'version 2' run 0 '' key generate --version 2 --hex keys
check 'version again' run 1 'has that version already' key generate --version 2 keys
check 'directory mode' test "$(stat -c %a keys keys/1 keys/2 | tr '\n' ' ')" = '700 600 600 '
check 'directory alone' run 1 'give --version N' key generate keys
check 'no directory' run 1 'No such file' key generate none/key
check 'version 0' run 2 '--version 0' key generate --version 0 keys
check 'key, no action' run 2 'generate' key
check 'two paths' run 2 'one too many' key generate a b

check 'rotate' run 0 '' key rotate keys
check 'rotate: says' grep -q 'version 3 is the current one' out
check 'rotate: there' test "$(stat -c '%a %s' keys/3)" = '600 32'
check 'key verify' run 0 '' key verify keys key hexkey
check 'key verify: says' grep -q '^keys: good, current version 3$' out
rm keys/3
check 'rotate a file' run 1 'a single file' key rotate key
check 'rotate nothing' run 1 'cannot be opened' key rotate none
check 'rotate, no path' run 2 'one directory' key rotate
check 'rotate to a version' run 2 'there is no option --version' key rotate --version 7 keys
chmod 640 keys/2
check 'key verify: open to the group' run 1 'open to its group' key verify keys
check 'rotate: not among such' run 1 'open to its group' key rotate keys
check 'rotate: nothing made' test ! -e keys/3
chmod 600 keys/2

# ----------------------------------------------------------------- usage
for v in encrypt decrypt verify rekey inspect key; do
	check "help $v" run 0 '' help $v
	check "help $v has an example" grep -q '^EXAMPLE' out
	check "$v --help" run 0 '' $v --help
	check "$v, nothing" run 2 "takakrypt-bpf help $v" $v
	check "$v, unknown option" run 2 '--frobnicate' $v --frobnicate
done
check 'version' run 0 '' --version
check 'unknown verb' run 2 'no such verb' frobnicate
check 'no key file' run 2 '--key-file is missing' encrypt --key-id k f
check 'no key id' run 2 '--key-id is missing' encrypt --key-file key f
check 'twice' enc 2 'given twice' --key-id k f
check 'chunk size' enc 2 'power of two' --chunk-size 5000 f
check 'format' enc 2 '--format 3' --format 3 f
check 'algorithm' enc 2 'rot13' --algorithm rot13 f
check 'format 1 has no chunks' enc 2 'no meaning' --format 1 --chunk-size 64K f
check '-o with two files' enc 2 'takes one file' -o x a b
check 'value missing' enc 2 'needs a value' --format
check 'decrypt knows no --format' dec 2 '--format' --format 2 f

# ----------------------------------------------------------- round trips
for options in '' '--format 1' '--algorithm chacha20-poly1305' '--chunk-size 4K' '--chunk-size 16777216'; do
	fresh
	setfattr -n user.colour -v blue d/f
	setfacl -m u:12345:r d/f
	chmod u+s d/f
	[ "$(id -u)" -ne 0 ] || chown 12345:54321 d/f
	touch -d '2001-02-03 04:05:06.123456789' d/f
	before=$(meta d/f)
	# shellcheck disable=SC2086 # the options are words
	check "encrypt $options" enc 0 '' $options d/f
	check "is TAKA $options" test "$(head -c 4 d/f)" = TAKA
	check "encrypted, metadata $options" test "$(meta d/f)" = "$before"
	check "again $options" enc 1 'encrypted already' d/f
	check "inspect $options" run 0 '' inspect d/f
	check "decrypt $options" dec 0 '' --key-id k d/f
	check "as before $options" as_before
	check "metadata $options" test "$(meta d/f)" = "$before"
done
fresh
setfacl -d -m u:12345:rwx d
before=$(meta d/f)
check 'default ACL, encrypt' enc 0 '' d/f
check 'default ACL, not inherited' test "$(meta d/f)" = "$before"

fresh
: > d/empty
check 'empty, in place' enc 0 '' d/empty
check 'empty stays' test ! -s d/empty
check 'empty, -o' enc 0 '' -o d/sealed d/empty
check 'empty, header alone' test "$(stat -c %s d/sealed)" = 512
check 'empty, back' dec 0 '' -o d/back d/sealed
check 'empty, decrypt' dec 1 '(truncated)' d/empty

fresh
chmod 640 d/f
check '-o' enc 0 '' -o d/out d/f
check '-o leaves the file' as_before
check '-o, mode' test "$(stat -c %a d/out)" = 640
check '-o exists' enc 1 'already exists' -o d/out d/f
check '-o, decrypt' dec 0 '' -o d/back d/out
check '-o, same' cmp d/f d/back

fresh
ln -s f d/link
check 'symbolic link' enc 0 '' d/link
check 'link stays' test -L d/link
check 'real file is TAKA' test "$(head -c 4 d/f)" = TAKA

# ------------------------------------------------------------------ keys
fresh
check 'directory, current version' run 0 '' encrypt --key-file keys --key-id k d/f
check 'version 2' test "$("$tk" inspect --json d/f | jq '.[0].key_version')" = 2
check 'wrong version asked' run 1 'version 2 of key k' decrypt --key-file keys --key-version 1 d/f
check 'wrong id asked' run 1 'key id k' decrypt --key-file keys --key-id j d/f
check 'wrong key' dec 1 '(wrong_key)' d/f
mkdir -m 700 one && cp -p keys/1 one/1
check 'version not there' run 1 'no version 2' decrypt --key-file one d/f
check 'single file for any version' run 0 '' decrypt --key-file keys/2 d/f
check 'plaintext' as_before
check 'chosen version' run 0 '' encrypt --key-file keys --key-id k --key-version 1 d/f
check 'version 1' test "$("$tk" inspect --json d/f | jq '.[0].key_version')" = 1
check 'directory' run 0 '' decrypt --key-file keys d/f
check 'single file, version 9' run 0 '' encrypt --key-file key --key-id k --key-version 9 d/f
check 'version 9' test "$("$tk" inspect --json d/f | jq '.[0].key_version')" = 9
check 'back' dec 0 '' d/f
check 'format 1, version 1' run 0 '' encrypt --key-file keys --key-id k --key-version 1 --format 1 d/f
check 'format 1, current version' run 1 '(auth)' decrypt --key-file keys d/f
check 'format 1, named version' run 0 '' decrypt --key-file keys --key-version 1 d/f
check 'plaintext at last' as_before

chmod 640 key
check 'key open to the group' enc 1 'open to its group' d/f
chmod 600 key
check 'key is missing' run 1 'No such file' key generate none/x
check 'no key' run 1 'cannot be opened' encrypt --key-file none --key-id k d/f
head -c 31 key > short && chmod 600 short
check 'short key' run 1 'neither 32 bytes' encrypt --key-file short --key-id k d/f
check 'key id' run 1 'printable' encrypt --key-file key --key-id 'a/b' d/f
check 'no refusal touched it' as_before

# ------------------------------------------------------------- refusals
ln d/f d/other
check 'hard link' enc 1 'hard links' d/f
check 'hard link, -o' enc 0 '' -o d/out d/f
fresh
check 'directory' enc 1 'is a directory' d
check 'missing' enc 1 'cannot be found' d/none
check 'device' enc 1 'not a regular file' /dev/null
check 'not TAKA' dec 1 '(magic)' d/f
check 'untouched' as_before
exec 9>> d/f
check 'open for writing' enc 1 'open for writing' d/f
exec 9>&-
check 'untouched by that' as_before
(
	ulimit -f 10
	trap '' XFSZ
	run 1 'File too large' encrypt --key-file key --key-id k d/f
)
check 'no room' test $? -eq 0
check 'untouched without room' as_before
check 'first of two fails' enc 1 'cannot be found' d/none d/f
check 'the second is done' test "$(head -c 4 d/f)" = TAKA
printf 'TAKA and then nothing that makes sense' > d/odd
check 'damaged and encrypted' enc 1 'and damaged' d/odd
check 'inspect both' run 1 '(version)' inspect --json d/f d/odd
check 'json' test "$(jq -r '.[] | .error // .key_id' out | tr '\n' ' ')" = 'k version '
check 'name with a newline' run 1 '\x0a' inspect $'d/a\nb'

# --------------------------------------------------------------- holes
truncate -s 64M d/sparse
head -c 1M /dev/urandom | dd of=d/sparse bs=1M seek=40 conv=notrunc status=none
cp d/sparse plain
blocks() { echo $(($(stat -c '%b * %B' "$1") >> 20)); } # MiB
check 'sparse: encrypt' enc 0 '' d/sparse
check 'sparse: ciphertext has no holes' test "$(blocks d/sparse)" -ge 64
check 'sparse: decrypt to another' dec 0 '' -o d/again d/sparse
check 'sparse: decrypt in place' dec 0 '' d/sparse
for f in d/again d/sparse; do
	check "sparse: $f has holes" test "$(blocks $f)" -lt 16
	check "sparse: $f is the same" cmp -s $f plain
done
rm d/again d/sparse

# ------------------------------------------------------------- signals
truncate -s 300M d/big
"$tk" encrypt --key-file key --key-id k --format 1 d/big 2> err &
pid=$!
sleep 0.1
kill -TERM $pid
wait $pid
check 'TERM: exit code' test $? -eq 1
check 'TERM: said so' grep -q 'stopped on request' err
check 'TERM: nothing left' no_temp
check 'TERM: untouched' test "$(stat -c %s d/big)" = 314572800
rm d/big

# -------------------------------------------------- an ordinary user too
if [ "$(id -u)" -eq 0 ]; then
	fresh
	chown -R 12345:12345 d
	install -o 12345 -g 12345 -m 600 key d/key
	install -m 755 "$tk" command
	chmod 711 .
	user() {
		local code=$1 text=$2
		shift 2
		tk='setpriv'
		run "$code" "$text" --reuid 12345 --regid 12345 --clear-groups "$work/command" "$@"
		local rc=$?
		tk=$work/command
		return $rc
	}
	check 'user: encrypt' user 0 '' encrypt --key-file d/key --key-id k d/f
	check 'user: is TAKA' test "$(head -c 4 d/f)" = TAKA
	check "user: root's key" user 1 'cannot be opened' decrypt --key-file key d/f
	check 'user: decrypt' user 0 '' decrypt --key-file d/key d/f
	check 'user: as before' as_before
	check 'user: tree, from a closed directory' user 1 'working directory cannot be opened' encrypt --key-file d/key --key-id k -r d
	check 'user: tree, untouched' as_before
	chown 0:0 d/f
	check "user: root's file" user 1 'owner and group cannot be kept' encrypt --key-file d/key --key-id k d/f
	check "user: root's file untouched" as_before
	install -o 54321 -m 600 key d/key
	check "root: somebody's key" run 1 'neither root nor the caller' encrypt --key-file d/key --key-id k d/f
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
