#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# tests/policy/tools_test.sh - what makes changing a policy safe, as a person uses it: `test`.
#
# usage: tools_test.sh TAKAKRYPT-BPF
set -u
command=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
passed=0 failed=0

# expect LABEL STATUS PATTERN COMMAND...    the pattern must be in what is printed
expect() {
	local label=$1 status=$2 pattern=$3 out got
	shift 3
	out=$("$@" 2>&1)
	got=$?
	if [ $got = "$status" ] && grep -qF -- "$pattern" <<<"$out"; then
		passed=$((passed + 1))
		echo "ok $label"
	else
		failed=$((failed + 1))
		echo "not ok $label: status $got, not $status, or no \"$pattern\" in:"
		sed 's/^/  /' <<<"$out"
	fi
}

mkdir -p guarded/inner
cat >policy.json <<END
{
  "version": 1,
  "keys": { "k": { "provider": "file", "path": "/k" } },
  "user_sets": { "staff": { "users": ["4001"], "groups": ["4100"] } },
  "process_sets": { "editors": { "processes": [{ "path": "/no/such/editor" }, { "path": "/bin/cat" }] } },
  "resource_sets": { "drafts": { "paths": ["*.draft"] } },
  "policies": {
    "p": { "key": "k", "rules": [
      { "users": "staff", "processes": "editors", "resources": { "not": "drafts" }, "actions": ["read", "write"],
        "effects": ["permit", "apply_key"] },
      { "users": "staff", "resources": "drafts", "actions": ["data_read"], "effects": ["permit", "audit"] },
      { "actions": ["key_op"], "effects": ["deny"] } ] },
    "q": { "rules": [{ "actions": ["read"], "effects": ["permit"] }] }
  },
  "guard_points": [
    { "name": "outer", "path": "$dir/guarded", "policy": "p" },
    { "name": "inner", "path": "$dir/guarded/inner", "policy": "q", "mode": "monitor" }
  ]
}
END

# ------------------------------------------------------------------ test
# case_of NAME USER PROCESS ACTION PATH EXPECT [MORE]: one case
case_of() {
	printf '{ "name": "%s", "user": "%s", "process": "%s", "action": "%s", "path": "%s", "expect": "%s"%s }' \
		"$1" "$2" "$3" "$4" "$dir/$5" "$6" "${7:+, $7}"
}
# cases CASE...: into cases.json
cases() { (IFS=,; echo "[ $* ]") >cases.json; }
tested() { "$command" test policy.json cases.json; }

cases "$(case_of plaintext 4001 /bin/cat data_write guarded/a permit+apply_key '"rule": 0')" \
	"$(case_of stored 4001 /bin/ls data_read guarded/a.draft permit '"rule": 1')" \
	"$(case_of denied 4002 /bin/cat data_read guarded/a deny)" \
	"$(case_of 'by its group' 4002 /no/such/editor data_read guarded/a permit+apply_key '"groups": ["7", "4100"]')" \
	"$(case_of 'monitor denies, too' 4001 /bin/cat data_write guarded/inner/a deny)" \
	"$(case_of outside 4001 /bin/cat data_read elsewhere not_guarded)"
expect "test: all as expected" 0 "ok 6 - outside" tested
expect "test: the plan" 0 "1..6" tested
expect "test: the first one" 0 "ok 1 - plaintext" tested
expect "test: the same questions put to explain" 0 "PERMIT apply_key" "$command" explain policy.json --user 4001 \
	--process /bin/cat --action data_write guarded/a
cases "$(case_of 'other #1' 4002 /bin/cat data_read guarded/a permit)" \
	"$(case_of good 4001 /bin/cat data_read guarded/a permit+apply_key)"
expect "test: not as expected" 1 'not ok 1 - other \#1' tested
expect "test: the other is told as well" 1 'ok 2 - good' tested
expect "test: what was expected" 1 '#   expected: permit' tested
expect "test: what came" 1 '#   got: deny' tested
expect "test: who decided: nobody" 1 '#   rule: none (no_rule)' tested
cases "$(case_of key 4001 /bin/cat data_read guarded/a permit)"
expect "test: plaintext is not the bytes as stored" 1 '#   got: permit+apply_key' tested
cases "$(case_of rule 4001 /bin/cat key_op guarded/a deny '"rule": 0')"
expect "test: another rule" 1 '#   expected: deny by rule 0' tested
expect "test: which one" 1 '#   rule: 2 (key_op → deny)' tested
cases "$(case_of rule 4001 /bin/cat link elsewhere deny)"
expect "test: not guarded is no denial" 1 '#   got: not_guarded' tested
cases "$(case_of 'no groups' 4002 /bin/cat data_read guarded/a deny '"groups": []')" \
	"$(case_of 'no user' no-such-user /bin/cat data_read guarded/a deny)"
expect "test: a question that cannot be asked" 1 '#   cannot be asked: no-such-user: no such user' tested
expect "test: no groups at all" 1 'ok 1 - no groups' tested
cases "$(case_of wrong 4001 /bin/cat data_read guarded/a permit '"rules": 1')"
expect "test: an unknown key" 1 'cases.json: /0/rules: unknown key (did you mean "rule"?)' tested
cases "$(case_of good 4001 /bin/cat data_read guarded/a permit)" "$(case_of wrong 4001 /bin/cat data_reed guarded/a permit)"
expect "test: an unknown action" 1 'cases.json: /1/action: no single action "data_reed" (did you mean "data_read"?)' tested
cases "$(case_of wrong 4001 /bin/cat data_read guarded/a permitted)"
expect "test: an unknown verdict" 1 '/0/expect: no verdict "permitted"' tested
cases "$(case_of wrong 4001 /bin/cat data_read guarded/a permit '"rule": 0.5')"
expect "test: half a rule" 1 '/0/rule: expected the index of a rule' tested
cases "$(case_of wrong 4001 /bin/cat data_read guarded/a permit '"name": "again"')"
expect "test: a key twice" 1 '/0/name: this key occurs twice' tested
echo '[{}]' >cases.json
expect "test: a missing key" 1 '/0: "expect" is missing' tested
echo '[]' >cases.json
expect "test: nothing" 1 'at least one case' tested
echo '{}' >cases.json
expect "test: no list" 1 'expected a list of cases, found an object' tested
echo '[' >cases.json
expect "test: no JSON" 1 'cases.json: ' tested
expect "test: no file" 1 'none.json' "$command" test policy.json none.json
expect "test: no policy" 1 'none.json' "$command" test none.json cases.json
expect "test: usage" 2 'expected a POLICY' "$command" test policy.json
expect "test: help" 0 'EXIT CODES' "$command" help test

echo "$passed passed, $failed failed"
[ $failed = 0 ]
