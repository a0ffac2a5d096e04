#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# tests/policy/explain_test.sh - what `check` and `explain` print and how they
# exit, on a policy about a directory of the test's own.
#
# usage: explain_test.sh TAKAKRYPT-BPF
. "$(dirname "$0")/lib.sh"

mkdir -p guarded/inner real
ln -s real link
cp /bin/true shared
chmod 775 shared
cat >policy.json <<END
{
  "version": 1,
  "keys": { "k": { "provider": "file", "path": "/k" } },
  "user_sets": { "staff": { "users": ["4001"], "groups": ["4100"] }, "himself": { "users": ["4003"], "login": "required" } },
  "process_sets": { "server": { "processes": [{ "path": "/bin/cat", "unit": "one.service" }, { "unit": "two.scope" }] },
    "editors": { "processes": [{ "path": "/no/such/editor" }, { "path": "/bin/cat" }] },
    "own": { "processes": [{ "path": "$dir/shared" }, { "path": "/bin/cat" }] },
    "loose": { "integrity": false, "processes": [{ "path": "$dir/shared" }, { "path": "/bin/ls" }] } },
  "resource_sets": { "drafts": { "paths": ["*.draft"] } },
  "time_sets": { "office": { "days": ["mon"], "from": "08:00", "to": "18:00", "timezone": "Asia/Jakarta" } },
  "policies": {
    "p": { "key": "k", "rules": [
      { "users": "staff", "processes": "editors", "resources": { "not": "drafts" }, "actions": ["read", "write"],
        "effects": ["permit", "apply_key"] },
      { "users": "staff", "resources": "drafts", "actions": ["data_read"], "effects": ["permit", "audit"], "browse": true },
      { "actions": ["all_ops"], "effects": ["deny", "audit"] } ] },
    "l": { "rules": [{ "users": "himself", "actions": ["read"], "effects": ["permit"] }] },
    "t": { "rules": [{ "times": "office", "actions": ["read"], "effects": ["permit"] }] },
    "s": { "rules": [{ "processes": "server", "actions": ["read"], "effects": ["permit"] }] },
    "i": { "rules": [{ "processes": "own", "actions": ["data_read"], "effects": ["permit"] },
      { "processes": ["own", "loose"], "actions": ["list"], "effects": ["permit"] }] },
    "k": { "key": "k", "rules": [{ "resources": "drafts", "actions": ["all_ops"], "effects": ["deny", "audit"] },
      { "actions": ["key_op"], "effects": ["permit", "apply_key", "audit"] },
      { "actions": ["create"], "effects": ["permit", "apply_key"] }] },
    "q": { "rules": [{ "actions": ["read"], "effects": ["permit"] }] }
  },
  "guard_points": [
    { "name": "outer", "path": "$dir/guarded", "policy": "p" },
    { "name": "inner", "path": "$dir/guarded/inner", "policy": "q" },
    { "name": "linked", "path": "$dir/link", "policy": "q", "mode": "monitor" },
    { "name": "login", "path": "$dir/login", "policy": "l" },
    { "name": "times", "path": "$dir/times", "policy": "t" },
    { "name": "integrity", "path": "$dir/integrity", "policy": "i" },
    { "name": "units", "path": "$dir/units", "policy": "s" },
    { "name": "keys", "path": "$dir/keys", "policy": "k" },
    { "name": "later", "path": "$dir/later/*", "policy": "q" }
  ]
}
END
sed 's/"users": "staff", "resources"/"users": "stuff", "resources"/' policy.json >wrong.json

expect "check: good" 0 "policy.json: good" "$command" check policy.json
expect "check: a warning" 0 'policy.json: warning: /process_sets/editors/processes/0: no executable "/no/such/editor"' \
	"$command" check policy.json
expect "check: an error" 1 'wrong.json: /policies/p/rules/1/users: no user set "stuff" (did you mean "staff"?)' \
	"$command" check wrong.json
expect "check: one bad of two" 1 "policy.json: good" "$command" check wrong.json policy.json
expect "check: no file" 1 "none.json" "$command" check none.json
expect "check: usage" 2 "no policy is named" "$command" check
"$command" check --json wrong.json policy.json >out.json
expect "check --json" 0 "False True" python3 -c \
	'import json; a, b = json.load(open("out.json")); print(a["good"], b["good"])'

# ask USER EXE ACTION PATH
ask() { "$command" explain policy.json --user "$1" --process "$2" --action "$3" "$4"; }
expect "plaintext" 0 "PERMIT apply_key" ask 4001 /bin/cat data_read guarded/a
expect "the rule" 0 "decided by:  rule 0: users staff; processes editors; resources not drafts; read, write" \
	ask 4001 /bin/cat data_write guarded/a
expect "as stored" 0 "PERMIT (audited)" ask 4001 /bin/cat data_read guarded/x/a.draft
expect "browse" 0 "rule 1 (browse)" ask 4001 /bin/ls list guarded
expect "denied" 3 "DENY (audited)" ask 4002 /bin/cat data_read guarded/a
expect "why: users" 3 "users: the user is in none of these sets" ask 4002 /bin/cat data_read guarded/a
expect "why: actions" 3 "actions: key_op is not among them" ask 4001 /bin/cat key_op guarded/a
expect "why: exclusion" 3 "resources: the path is in a set that is excluded" ask 4001 /bin/cat data_write guarded/a.draft
expect "why: processes" 3 "processes: the program is in none of these sets" ask 4001 /bin/ls data_read guarded/a
expect "a program that is not here" 0 "judged by its path alone" ask 4001 /no/such/editor data_read guarded/a
expect "innermost" 0 "guard point: inner" ask 4002 /bin/cat data_read guarded/inner/a
expect "no rule" 3 "no rule matches; that denies" ask 4002 /bin/cat data_write guarded/inner/a
expect "through .." 0 "guard point: outer" ask 4001 /bin/cat data_read guarded/inner/../a
expect "behind a link, by its real path" 0 "guard point: linked" ask 4002 /bin/cat data_read real/a
expect "behind a link, by the link" 0 "guard point: linked" ask 4002 /bin/cat data_read link/a
expect "monitor" 3 "would be denied (monitor)" ask 4002 /bin/cat data_write real/a
expect "does not exist yet" 0 "guard point: later" ask 4002 /bin/cat data_read later/x/y
expect "outside" 0 "not guarded" ask 4002 /bin/cat data_read "$dir/elsewhere"
expect "groups" 0 "PERMIT apply_key" "$command" explain policy.json --user 4002 --groups 7,4100 --process /bin/cat \
	--action data_read guarded/a
himself() { "$command" explain policy.json --user 4003 "$@" --process /bin/cat --action data_read login/a; }
expect "logged in as himself" 0 "PERMIT" himself
expect "by name or uid" 0 "PERMIT" himself --login-uid 4003
expect "logged in as another" 3 "a set requires to be logged in as the user himself" himself --login-uid root
expect "never logged in" 3 "not logged in as this user" himself --login-uid none
expect "an unknown login" 1 "no-such-user" himself --login-uid no-such-user
at() { "$command" explain policy.json --user 1 --process /bin/cat --action data_read --at "$@" times/a; }
expect "in time, on the wall" 0 "time sets that hold: office" at "mon 08:00"
expect "too late" 3 "times: none of these sets holds at this time" at "mon 18:00"
expect "in time, an instant" 0 "PERMIT" at 2026-11-23T01:00:00Z
expect "too early" 3 "DENY" at 2026-11-23T07:59:59+07:00
expect "no time" 2 "--at monday is no time" at monday
expect "twice" 2 "--at is given twice" at "mon 08:00" --at "mon 08:00"
expect "the rule names its times" 0 "rule 0: times office; read → permit" at "mon 08:00"
unit() { "$command" explain policy.json --user 1 --action data_read units/a --process "$@"; }
expect "permitted there" 0 "PERMIT" unit /bin/cat --unit one.service
expect "in no unit" 3 "an entry counts only in its unit" unit /bin/cat
expect "in another unit" 3 "DENY" unit /bin/cat --unit three.service
expect "another program in its unit" 3 "DENY" unit /bin/ls --unit one.service
expect "any program in a unit" 0 "PERMIT" unit /bin/ls --unit two.scope
code() { "$command" explain policy.json --user 1 --action "$@" integrity/a; }
expect "integrity: root's alone" 0 "in process sets: server, editors, own" code data_read --unit one.service --process /bin/cat
expect "it has mapped other code" 3 "a set asks for integrity, and code that is not root's alone is mapped" \
	code data_read --process /bin/cat --foreign-code
expect "the executable is not root's alone" 3 "in process sets: loose" code data_read --process "$dir/shared"
expect "which is not asked for" 0 "PERMIT" code list --process "$dir/shared"
expect "nor of what it maps" 0 "PERMIT" code list --process /bin/ls --foreign-code
# Whom a rule permits key_op may do anything through the command, which is in no set, on the bytes as stored.
install -m 755 "$command" command
own=$dir/command
is_foreign=$(find command ! -user 0)
own() { "$own" explain policy.json --user 1 --process "$own" --action "$@"; }
if [ -z "$is_foreign" ]; then
	expect "the command, by key_op" 0 "PERMIT (audited)" own data_read keys/a
	expect "on the bytes as stored" 0 "decided by:  rule 1: key_op" own data_write keys/a
	expect "and says so" 0 "this command: a rule permits key_op" own list keys/a
	expect "key_op itself" 0 "PERMIT (audited)" own key_op keys/a
fi
expect "not with foreign code" 3 "DENY" own data_read keys/a --foreign-code
expect "not without key_op" 3 "DENY" own data_read integrity/a
expect "nor where it is denied" 3 "DENY (audited)" own data_read keys/a.draft
expect "another program" 3 "DENY" "$own" explain policy.json --user 1 --process "$command" --action data_read keys/a
expect "by its own actions" 0 "PERMIT apply_key" own create keys/a --foreign-code
expect "twice" 2 "--foreign-code is given twice" code list --process /bin/ls --foreign-code --foreign-code
expect "also one that is not here" 0 "PERMIT" unit /no/such --unit two.scope
expect "an unknown user" 1 "no such user" ask no-such-user /bin/cat data_read guarded/a
expect "an unknown action" 2 'no action "read"' ask 4001 /bin/cat read guarded/a
expect "a missing option" 2 "are needed" "$command" explain policy.json guarded/a
expect "twice" 2 "--user is given twice" "$command" explain policy.json --user 1 --user 2 guarded/a
expect "a bad policy" 1 "did you mean" "$command" explain wrong.json --user 1 --process /bin/cat --action list guarded
"$command" explain --json policy.json --user 4002 --process /bin/cat --action data_read guarded/a >out.json
expect "--json" 0 "deny 2 users" python3 -c \
	'import json; a = json.load(open("out.json")); print(a["verdict"], a["decided_by"]["rule"], a["earlier"][0]["unmatched"][0])'

report
