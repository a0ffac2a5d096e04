#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# tests/unit/tokens.sh - a key in a token (SoftHSM) as a person uses it, and that its
# PIN goes nowhere but into the token.  Ends with "N passed, N failed".
#
# usage: tests/unit/tokens.sh [COMMAND]    (default: build/takakrypt-bpf)
. "$(dirname "$0")/suite.sh"
shim=$(realpath "$here/../../build/tests/token_shim.so")
pin=73916428
. "$here/files.sh"

run() { # CODE ARGUMENT...
	local code=$1
	shift
	"$tk" "$@" > out 2> err
	local rc=$?
	cat out err >> said-all
	[ $rc -eq "$code" ]
}
said() { grep -qF -- "$1" err; }
logins() { stat -c %s logins 2> /dev/null || echo 0; }

mkdir tokens
printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' "$work" > conf
export SOFTHSM2_CONF=$work/conf TOKEN_SHIM=$work
install -m 700 "$shim" module.so
printf '%s\n' $pin > pin && printf '86420975\n' > wrong && chmod 600 pin wrong
(umask 077 && printf 'the key that the token has as well' | head -c 32 > kek && printf 'and its second version, no other!' | head -c 32 > kek2)
if ! softhsm2-util --init-token --free --label prod --pin $pin --so-pin 87654321 > tool.log 2>&1 ||
	! softhsm2-util --import kek --aes --token prod --label payroll --id 01 --pin $pin >> tool.log 2>&1; then
	cat tool.log >&2
	echo "tokens.sh: no token could be made; install softhsm2" >&2
	exit 1
fi
uri="pkcs11:token=prod;object=payroll;type=secret-key?module-path=$work/module.so&pin-source=file:$work/pin"

# ---------------------------------------------------------- as with a file
fresh() {
	rm -rf t && mkdir -p t/a
	seq 1 2000 > t/f && seq 1 90000 > t/a/g
	rm -rf plain && cp -a t plain
}
fresh
check 'verify' run 0 key verify "$uri"
check 'verify: says' grep -q ': good, current version 1$' out
check 'encrypt' run 0 encrypt --key-file "$uri" --key-id payroll -r t
check 'with the same key in a file' run 0 verify --key-file kek t
check 'by another key' run 1 verify --key-file kek2 t
check 'by another key: said' said '(wrong_key)'
check 'decrypt' run 0 decrypt --key-file "$uri" -r t
check 'as before' diff -r t plain
check 'encrypted by the file' run 0 encrypt --key-file kek --key-id payroll -r t
check 'verified by the token' run 0 verify --key-file "$uri" t
softhsm2-util --import kek2 --aes --token prod --label payroll --id 02 --pin $pin >> tool.log 2>&1
check 'a new version' run 0 key verify "$uri"
check 'a new version: says' grep -q ': good, current version 2$' out
check 'rekey' run 0 rekey --key-file "$uri" t
check 'rekey: by the second' run 0 verify --key-file kek2 t
check 'rekey: anew' run 0 rekey --reencrypt --key-file "$uri" t
check 'one version of the two' run 1 encrypt --key-file "$uri" --key-id payroll --key-version 7 plain/f
check 'one version of the two: said' said '(no_key)'
cp t/f hurt && spoil hurt 90
check 'damaged' run 1 verify --key-file "$uri" hurt
check 'damaged: said' said '(wrong_key)'
check 'decrypt at last' run 0 decrypt --key-file "$uri" -r t
check 'as before at last' diff -r t plain
check 'format 1' run 1 encrypt --format 1 --key-file "$uri" --key-id payroll t/f
check 'format 1: said' said 'a key in a token (format 1)'
check 'format 1: as before' cmp t/f plain/f
check 'list logs nobody in' run 0 key list --json "$uri"
check 'list: values' test "$(jq -c '.[0] | [.provider, .health]' out)" = '["pkcs11",null]'
check 'generate' run 1 key generate "$uri"
check 'generate: said' said 'made by its own tools'
check 'rotate' run 1 key rotate "$uri"
check 'import' run 1 key import --from kek "$uri"

# ------------------------------------------------------------------ trouble
: > removed
check 'removed' run 1 encrypt --key-file "$uri" --key-id payroll t/f
check 'removed: said' said 'the token is not there'
check 'removed: as before' cmp t/f plain/f
rm removed
check 'no such key' run 1 key verify "${uri/payroll/payrool}"
check 'no such key: said' said 'there is no such key in the token'
check 'no such token' run 1 key verify "${uri/prod/test}"
before=$(logins)
mkdir sealed # files of several keys, each of which would log in
"$tk" encrypt --key-file kek --key-id payroll -o sealed/one plain/f
"$tk" encrypt --key-file kek2 --key-id payroll --key-version 2 -o sealed/two plain/f
"$tk" encrypt --key-file kek2 --key-id other --key-version 2 -o sealed/three plain/f
check 'right PIN' run 0 decrypt --key-file "$uri" -o right sealed/two
before=$(logins)
check 'wrong PIN' run 1 verify --key-file "${uri%pin}wrong" sealed
check 'wrong PIN: said' said 'the token refused the PIN'
check 'wrong PIN: said what to do' said 'put the right PIN into the file that pin-source names'
check 'wrong PIN: asked once' test "$(logins)" = $((before + 1))
: > final
check 'one try left' run 1 key verify "$uri"
check 'one try left: not asked' test "$(logins)" = $((before + 1))
rm final
chmod 644 pin
check 'PIN for all to read' run 1 key verify "$uri"
check 'PIN for all to read: said' said "the PIN's file is open to its group or to others"
chmod 600 pin
check 'PIN in the URI' run 1 key verify "pkcs11:token=prod;object=payroll?module-path=$work/module.so&pin-value=1"
check 'PIN in the URI: said' said 'pin-value'
if [ "$(id -u)" -eq 0 ]; then
	chown 12345 module.so
	check "somebody's module" run 1 key verify "$uri"
	check "somebody's module: said" said 'can be changed by others'
	chown 0 module.so
fi
cat > policy.json <<END
{ "version": 1,
  "keys": { "one": { "provider": "pkcs11", "uri": "$uri" } },
  "policies": { "p": { "key": "one", "rules": [ { "actions": ["all_ops"], "effects": ["permit", "apply_key"] } ] } },
  "guard_points": [ { "name": "g", "path": "$work", "policy": "p" } ] }
END
check 'policy' run 0 check policy.json
check 'policy: list' run 0 key list --policy policy.json

# ---------------------------------------------------------------- the PIN
# Another thread's call may cut the line of a read in two.
reading='^[0-9]+ +(read\(|<\.\.\. read resumed>)'
# Where it is read it is seen, so the search would find it elsewhere.
strace -f -s 4096 -o trace -e trace=read,write,sendto,sendmsg,execve,open,openat,connect "$tk" encrypt --key-file "$uri" --key-id payroll t/f > out 2> err
cat out err >> said-all
check 'the search finds the PIN, where it is read' grep -qE "$reading.*$pin" trace
check 'and in no other call' test "$(grep "$pin" trace | grep -vcE "$reading")" = 0
check 'nor in what is said' eval '! grep -q $pin said-all'
check 'of which there is some' test "$(wc -l < said-all)" -gt 20
"$tk" decrypt --key-file "$uri" t/f
for key in kek kek2; do
	check "no byte of $key in what is said" eval '! grep -qF "$(cat $key)" said-all'
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
