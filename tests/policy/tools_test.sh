#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# tests/policy/tools_test.sh - what makes changing a policy safe, as a person uses it: `test`, `replay`, `diff`, `learn`.
#
# usage: tools_test.sh TAKAKRYPT-BPF
. "$(dirname "$0")/lib.sh"

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

# What is more than users, programs and files.
sed -e 's/"users": \["4001"\], /&"login": "required", /' \
	-e 's/"resource_sets"/"time_sets": { "office": { "days": ["mon"], "timezone": "UTC" } }, &/' \
	-e 's/"users": "staff", "processes"/"times": "office", &/' \
	-e 's|{ "path": "/bin/cat" }|{ "path": "/bin/cat", "unit": "web.service" }|' policy.json >circumstances.json
circumstances() { "$command" test circumstances.json cases.json; }
monday='"at": "2026-11-23T12:00:00Z"' tuesday='"at": "2026-11-24T12:00:00Z"' unit='"unit": "web.service"'
cases "$(case_of 'all hold' 4001 /bin/cat data_read guarded/a permit+apply_key "$monday, $unit")" \
	"$(case_of 'another day' 4001 /bin/cat data_read guarded/a deny "$tuesday, $unit")" \
	"$(case_of 'by the wall' 4001 /bin/cat data_read guarded/a permit+apply_key "\"at\": \"mon 09:30\", $unit")" \
	"$(case_of 'by su' 4001 /bin/cat data_read guarded/a deny "$monday, $unit, \"login\": \"root\"")" \
	"$(case_of 'another unit' 4001 /bin/cat data_read guarded/a deny "$monday, \"unit\": \"mail.service\"")" \
	"$(case_of 'no unit' 4001 /bin/cat data_read guarded/a deny "$monday")"
expect "test: time, log-in and unit" 0 "ok 6 - no unit" circumstances
cases "$(case_of 'when?' 4001 /bin/cat data_read guarded/a deny '"at": "noon"')"
expect "test: no time" 1 '/0/at: expected "mon 09:30"' circumstances

# ------------------------------------------------------------------ replay
# event VERDICT ACTION PATH UID EXE [MORE]: a line as `events --json` prints it
event() {
	printf '{"time":"2026-01-02T03:04:05.678Z","verdict":"%s","action":"%s","path":"%s","guard":"outer","uid":%s,' \
		"$1" "$2" "$dir/$3" "$4"
	printf '"gid":7,"groups":[7],"pid":1,"comm":"x","exe":"%s","apply_key":%s,"reason":"by_rule","rule":0,"result":0%s}\n' \
		"$5" "$([ "$1" = permit ] && echo true || echo false)" "${6:+,$6}"
}
replayed() { "$command" replay "$@" policy.json events.jsonl; }
event permit data_write guarded/a 4001 /bin/cat >events.jsonl
event deny data_read guarded/a 4002 /bin/cat >>events.jsonl
expect "replay: nothing would change" 0 '2 events, 2 unchanged' replayed
event permit data_read guarded/b 4002 /bin/cat >>events.jsonl
event permit data_read guarded/c 4002 /bin/cat >>events.jsonl
expect "replay: would be denied" 3 'permit to deny: 2' replayed
expect "replay: by guard point and rule, counted" 3 '    outer, no_rule: 2' replayed
expect "replay: an example" 3 "data_read $dir/guarded/b by uid 4002 in /bin/cat (line 3)" replayed
event permit key_op guarded/a 4001 /bin/cat >events.jsonl
expect "replay: the rule" 3 'outer, rule 2 (key_op → deny): 1' replayed
event permit data_read guarded/a.draft 4001 /bin/cat >events.jsonl
expect "replay: the key would be lost" 3 'plaintext to stored: 1' replayed
event permit list guarded/inner 4001 /bin/cat >events.jsonl
expect "replay: a directory has no view" 0 '1 event, 1 unchanged' replayed
event deny data_read guarded/inner/a 4002 /bin/cat >events.jsonl
event deny data_read guarded/a 4001 /bin/cat >>events.jsonl
expect "replay: would be permitted" 0 'deny to permit: 2' replayed
expect "replay: by the innermost guard point" 0 'inner, rule 0 (read → permit): 1' replayed
event permit data_read elsewhere/a 4002 /bin/cat >events.jsonl
expect "replay: not guarded any more" 0 '    outer, outside every guard point: 1' replayed
event permit data_read guarded/a 4001 /no/such/editor >events.jsonl
expect "replay: a program that is not here" 0 '1 unchanged' replayed
event permit data_read guarded/a 4003 /bin/cat '"groups":[4100]' | sed 's/"groups":.7.,//' >events.jsonl
expect "replay: by a group" 0 '1 unchanged' replayed
event permit data_read guarded/a 4003 /bin/cat | sed 's/"groups":.7.,//' >events.jsonl
expect "replay: groups that were not recorded" 3 'of 1 the groups were not recorded' replayed
inode=$(stat -Lc %i /bin/cat)
event permit data_read guarded/a 4001 /bin/cat "\"exe_inode\":\"1:$inode:0\"" | sed 's|"exe":"/bin/cat",||' >events.jsonl
expect "replay: another inode of that number is another program" 3 'permit to deny: 1' replayed
event permit data_read guarded/a 4001 '' >events.jsonl
expect "replay: no program" 0 'outer, the program was not recorded: 1' replayed
event permit data_read guarded/a 4001 /bin/cat '"path_cut":true' >events.jsonl
expect "replay: a cut path" 0 'outer, the path was cut: 1' replayed
event deny data_read,data_write guarded/a 4001 /bin/cat | sed 's/by_rule/other_view/' >events.jsonl
expect "replay: not decided by a rule" 0 'outer, other_view: 1' replayed
event permit data_read guarded/a 4001 /bin/cat >events.jsonl
event permit data_read guarded/a 4001 /bin/cat | cut -c1-99 >>events.jsonl
event deny data_read guarded/a 4002 /bin/cat >>events.jsonl
expect "replay: a line that is cut" 1 'events.jsonl: line 2 is no event: no JSON object' replayed
expect "replay: the others count" 1 '2 events, 2 unchanged' replayed
for key in verdict action path guard uid gid reason; do
	event permit data_read guarded/a 4001 /bin/cat | sed "s/\"$key\"/\"x\"/" >events.jsonl
	expect "replay: without $key" 1 'line 1 is no event' replayed
done
event permit data_read guarded/a 4001 /bin/cat '"uid":"x"' | sed 's/"uid":4001,//' >events.jsonl
expect "replay: a uid that is no number" 1 'line 1 is no event: "uid" or "gid"' replayed
: >events.jsonl
expect "replay: nothing recorded" 0 '0 events' replayed
{ event permit data_read guarded/a 4002 /bin/cat; event permit data_read guarded/a 4002 /bin/cat; } >events.jsonl
expect "replay: standard input" 3 'permit to deny: 2' sh -c "'$command' replay policy.json - <events.jsonl"
replayed --json >out.json
expect "replay --json" 0 "2 permit_to_deny outer None 2 1" python3 -c \
	'import json; a = json.load(open("out.json")); c = a["changes"][0]
print(a["events"], c["change"], c["guard_point"], c["rule"], c["count"], c["example"]["line"])'
# By time, log-in and unit; circumstances.json has them (see test).
monday=2026-11-23T12:00:00.000Z
# told TIME LOGIN UNIT: an event of somebody's in /bin/cat, with these (JSON; nothing: not recorded)
told() {
	event "$verdict" data_read guarded/a 4001 /bin/cat "${2:+\"login_uid\":$2,}${3:+\"unit\":$3,}\"comm\":\"y\"" |
		sed "s/\"time\":\"[^\"]*\",/${1:+\"time\":\"$1\",}/"
}
asked() { "$command" replay "$@" circumstances.json events.jsonl; }
verdict=permit
told $monday 4001 '"web.service"' >events.jsonl
expect "replay: in time, as himself, in the unit" 0 '1 event, 1 unchanged' asked
told 2026-11-24T00:00:00.000Z 4001 '"web.service"' >events.jsonl
expect "replay: too late" 3 'permit to deny: 1' asked
told $monday 0 '"web.service"' >events.jsonl
expect "replay: by su" 3 'permit to deny: 1' asked
told $monday null '"web.service"' >events.jsonl
expect "replay: never logged in" 3 'permit to deny: 1' asked
told $monday 4001 '"mail.service"' >events.jsonl
expect "replay: in another unit" 3 'permit to deny: 1' asked
told $monday 4001 null >events.jsonl
expect "replay: in none" 3 'permit to deny: 1' asked
told '' 4001 '"web.service"' >events.jsonl
expect "replay: no time recorded" 1 '    outer, the time was not recorded: 1' asked
told $monday '' '"web.service"' >events.jsonl
expect "replay: no log-in recorded" 1 '    outer, the log-in was not recorded: 1' asked
told $monday 4001 '' >events.jsonl
expect "replay: no unit recorded" 1 '    outer, the unit was not recorded: 1' asked
told $monday '' '' >events.jsonl
expect "replay: neither" 1 '    outer, log-in and unit were not recorded: 1' asked
asked --json >out.json
expect "replay --json: cannot be decided" 0 "1 0 cannot_be_decided None" python3 -c \
	'import json; a = json.load(open("out.json")); c = a["changes"][0]; print(a["events"], a["unchanged"], c["change"], c["rule"])'
told $monday 0 '' >events.jsonl
expect "replay: what decides without it is decided" 3 'permit to deny: 1' asked
verdict=deny
told 2026-11-24T12:00:00.000Z '' '' >>events.jsonl
told '' 4001 '"web.service"' >>events.jsonl
expect "replay: the rest is told as well" 1 'cannot be decided: 1' asked
expect "replay: with the time, by the time" 1 'permit to deny: 1' asked
expect "replay: who is denied in any case" 1 '3 events, 1 unchanged' asked
told $monday 4001 '"web.service"' >events.jsonl
told 2026-11-23T23:59:59.999Z 4001 '"web.service"' >>events.jsonl
expect "replay: would be permitted in time" 0 'deny to permit: 2' asked
expect "replay: who does not ask needs nothing" 0 '2 unchanged' sh -c "grep -v null events.jsonl | sed 's/deny/permit/; s/\"apply_key\":false/\"apply_key\":true/' >some.jsonl
	sed -i 's/\"unit\":[^,]*,//; s/\"login_uid\":[^,]*,//; s/\"time\":[^,]*,//' some.jsonl; '$command' replay policy.json some.jsonl"
verdict=permit
{ told $monday 4001 '"web.service"'; told $monday 4001 '"mail.service"'; told $monday 0 '"web.service"'; told '' 4001 null; } >events.jsonl
expect "replay: who differs in log-in or unit alone is asked apart" 1 '4 events, 1 unchanged' asked
expect "replay: each" 1 'permit to deny: 2' asked
told noon 4001 null >events.jsonl
expect "replay: no time at all" 1 'line 1 is no event: "time" is no time' asked
told $monday '"x"' null >events.jsonl
expect "replay: no login uid" 1 '"login_uid" is neither a number nor null' asked
told $monday 4001 7 >events.jsonl
expect "replay: no name of a unit" 1 '"unit" is neither a name nor null' asked
expect "replay: no file" 1 'none.jsonl' "$command" replay policy.json none.jsonl
expect "replay: usage" 2 'expected a POLICY' "$command" replay policy.json
expect "replay: help" 0 'EXIT CODES' "$command" help replay

# ------------------------------------------------------------------ diff
# changed EXPRESSION: policy.json through jq into new.json
changed() { jq "$1" policy.json >new.json; }
diffs() { "$command" diff "$@" policy.json new.json; }
nothing() { expect "diff: nothing: $1" 0 '' diffs; same "diff: nothing is said: $1" '' "$(diffs)"; }
# The rules of p: 0 staff in editors not on drafts, 1 staff on drafts, 2 nobody key_op.
R=.policies.p.rules
changed .
nothing "itself"
changed "$R[0].actions = [\"all_ops\"] | $R |= [.[2]] + .[0:2]"
nothing "key_op denied first"
changed '.user_sets = {"old hands": .user_sets.staff} | .policies.p.rules[0:2] |= map(.users = ["old hands"])'
nothing "another name"
changed '.user_sets = {"a": {"users": ["4001"]}, "b": {"groups": ["4100"]}} | .policies.p.rules[0:2] |= map(.users = ["b", "a"])'
nothing "a set in two"
changed "$R |= .[0:1] + [.[0] | .users = \"staff\"] + .[1:]"
nothing "a rule twice"
changed '.resource_sets.drafts.paths = ["**/*.draft", "a/*.draft"]'
nothing "another pattern for the same"
changed '.process_sets.more = {"processes": [{"path": "/bin/cat"}]} | .policies.p.rules[0].processes = ["more", "editors"]'
nothing "a program twice"
changed '.guard_points[0].name = "OUTER" | .guard_points |= reverse'
nothing "the name and the order of guard points"

changed "$R[0].actions -= [\"write\"]"
expect "diff: lost" 3 'outer: staff in editors on other paths: create, delete, rename, link, set_attr permit → deny (audited)' diffs
changed "$R[0].actions = [\"read\", \"create\", \"delete\", \"rename\", \"link\", \"set_attr\"]"
same "diff: from what to what" \
	'outer: staff in editors on other paths: data_write permit+apply_key → deny (audited)' "$(diffs)"
changed "$R[0].effects -= [\"apply_key\"]"
expect "diff: the key" 3 'data_read, data_write, execute permit+apply_key → permit' diffs
expect "diff: only where there are contents" 3 'outer' diffs
same "diff: one line" 1 "$(diffs | wc -l)"
changed "$R[1].effects = [\"permit\"]"
same "diff: what is audited" 'outer: staff on drafts: data_read permit (audited) → permit' "$(diffs)"
changed "$R[1] |= del(.users)"
same "diff: for all others" 'outer: anybody else on drafts: data_read deny (audited) → permit (audited)' "$(diffs)"
changed "$R += [{\"actions\": [\"list\"], \"effects\": [\"permit\"]}]"
same "diff: everybody but" 'outer: anybody else: list deny (audited) → permit
outer: staff in other programs: list deny (audited) → permit
outer: staff in editors on drafts: list deny (audited) → permit' "$(diffs)"
changed '.user_sets.staff.users = ["4001", "4002"]'
expect "diff: somebody joins" 3 'outer: uid 4002 [none → staff] in editors on other paths: ' diffs
changed '.user_sets.staff = {"groups": ["4100"]}'
expect "diff: somebody leaves" 3 'outer: uid 4001 [staff → none] on drafts: data_read permit (audited) → deny (audited)' diffs
changed '.process_sets.editors.processes += [{"path": "/usr/bin/vim*"}]'
expect "diff: another program" 3 'outer: staff in /usr/bin/vim* [none → editors] on other paths' diffs
changed '.resource_sets.drafts.paths = ["*.draft", "*.tmp"]'
expect "diff: another pattern, an example" 3 '.tmp [none → drafts]: ' diffs
changed '.guard_points[1].mode = "enforce"'
same "diff: the mode" 'inner: mode monitor → enforce' "$(diffs)"
changed '.guard_points[0] += {"linger": 500, "shield": "fscrypt"}'
same "diff: what files go through" 'outer: shield none → fscrypt
outer: linger 0 ms → 500 ms' "$(diffs)"
changed '.keys.k.path = "/l"'
same "diff: the key's place" 'outer: key k (file /k) → k (file /l)' "$(diffs)"
changed '.policies.p.algorithm = "chacha20-poly1305"'
same "diff: the algorithm" 'outer: algorithm aes-256-gcm → chacha20-poly1305' "$(diffs)"
changed '.guard_points[1].path = "/elsewhere"'
same "diff: guard points" "inner: guard point removed: $dir/guarded/inner
inner: guard point added: /elsewhere" "$(diffs)"
# Only who is in both sets sees the order of two rules.
jq '.user_sets.boss = {"groups": ["4200"]} | .policies.p.rules |= [{"users": "boss", "actions": ["all_ops"], "effects": ["deny"]}] + .' \
	policy.json >both.json && cp policy.json kept.json && cp both.json policy.json
changed '.policies.p.rules |= [.[1], .[0]] + .[2:]'
expect "diff: two rules in the other order" 3 'outer: staff and boss in editors on other paths: ' diffs
changed '.policies.p.rules |= [.[0]] + [.[1], .[3], .[2]]'
nothing "two rules that never meet"
cp kept.json policy.json
changed "$R[1] |= del(.users)"
diffs --json >out.json
expect "diff --json" 0 "verdict outer deny (audited) permit (audited) ['data_read'] None None drafts" python3 -c \
	'import json; a = json.load(open("out.json"))[0]
print(a["kind"], a["guard_point"], a["old"], a["new"], a["actions"], a["users"][0]["example"], a["programs"], a["paths"][0]["new"])'

# Time, log-in and unit: each alone, and what is the same by another name.
kept() { cp policy.json kept.json && jq "$1" policy.json >old.json && mv old.json policy.json; }
sets='.time_sets = {"office": {"days": ["mon"], "from": "08:00", "to": "18:00", "timezone": "UTC"},
	"noon": {"days": ["mon"], "from": "12:00", "to": "13:00", "timezone": "UTC"}}'
kept "$sets | $R[0].times = \"office\""
changed .
nothing "times, the same"
changed '.time_sets.office = {"days": ["mon"], "from": "15:00", "to": "01:00", "timezone": "Asia/Jakarta"}'
nothing "the same times in another zone"
changed '.time_sets |= {"am": {"days": ["mon"], "from": "08:00", "to": "12:00", "timezone": "UTC"},
	"pm": {"days": ["mon"], "from": "12:00", "to": "18:00", "timezone": "Etc/UTC"}} | .policies.p.rules[0].times = ["pm", "am"]'
nothing "times in two sets"
changed "$R |= [.[0] | .times = \"noon\"] + ."
nothing "permitted by another rule already"
changed "$R |= [{\"times\": \"noon\", \"actions\": [\"data_read\"], \"effects\": [\"deny\"]}] + ."
same "diff: denied at a time" 'outer: staff in editors on other paths at T12:00:00Z [office → office and noon]: data_read permit+apply_key → deny' \
	"$(diffs | sed -n 's/at [0-9-]*T/at T/; /permit+apply_key → deny$/p')"
changed "$R[0].times = {\"not\": \"noon\"}"
expect "diff: but at a time" 3 'outer: staff in editors on other paths at other times: data_read, data_write, execute deny (audited) → permit+apply_key' diffs
changed '.time_sets.office.to = "19:00"'
expect "diff: an hour more" 3 'T18:00:00Z [none → office]: data_read, data_write, execute deny (audited) → permit+apply_key' diffs
same "diff: which alone" 2 "$(diffs | wc -l)"
changed '.time_sets.office.timezone = "Europe/London"'
expect "diff: the same clock in another zone, in summer" 3 'Z [none → office]: ' diffs
mv kept.json policy.json
kept '.user_sets.himself = {"users": ["4003"], "login": "required"} | .policies.p.rules[0].users = ["staff", "himself"]'
changed '.user_sets.me = .user_sets.himself | del(.user_sets.himself) | .policies.p.rules[0].users = ["me", "staff"]'
nothing "log-in, the same"
changed 'del(.user_sets.himself.login)'
expect "diff: log-in is no longer required" 3 'outer: uid 4003 + another log-in [none → himself] in editors on other paths: ' diffs
same "diff: of nobody else" 2 "$(diffs | grep -c himself)"
mv kept.json policy.json
kept '.process_sets.editors.processes |= [{"path": "/bin/cat", "unit": "web.service"}, .[0]]'
changed '.process_sets.editors.processes |= [.[1], .[0], .[0]]'
nothing "units, the same"
changed '.process_sets.editors.processes[0].unit = "mail.service"'
expect "diff: another unit" 3 'cat in mail.service [none → editors] on other paths: ' diffs
expect "diff: instead of the one" 3 'cat in web.service [editors → none] on other paths: ' diffs
changed '.process_sets.editors.processes += [{"unit": "mail.service"}]'
expect "diff: all of a unit" 3 'any program in mail.service [none → editors] on other paths: ' diffs
changed 'del(.process_sets.editors.processes[0].unit)'
expect "diff: in any unit, or none" 3 'cat [none → editors] on other paths: ' diffs
mv kept.json policy.json
changed .
same "diff --json: nothing" '[]' "$(diffs --json | tr -d '\n\t ')"
jq '.user_sets = ([range(14) | {"key": "s\(.)", "value": {"groups": ["\(5000 + .)"]}}] | from_entries)
	| .policies.p.rules |= [range(14) as $i | .[1] | .users = "s\($i)"] + [.[2]]' policy.json >new.json
expect "diff: too much to compare" 1 'make too many combinations; compare policies with fewer sets' diffs
expect "diff: no file" 1 'none.json' "$command" diff policy.json none.json
expect "diff: usage" 2 'expected two policies' "$command" diff policy.json
expect "diff: help" 0 'EXIT CODES' "$command" help diff

# ------------------------------------------------------------------ learn
# Random recordings are learn_test.sh's.
jq '.guard_points[0].mode = "learn"' policy.json >base.json
learnt() { rm -f new.json && "$command" learn --policy base.json --from events.jsonl -o new.json "$@"; }
event permit data_write guarded/2026/a.txt 4003 /usr/bin/vim >events.jsonl
event permit data_write guarded/2026/a.txt 4003 /usr/bin/vim >>events.jsonl
event permit data_read guarded/2026/b.txt 4003 /usr/bin/vim >>events.jsonl
event permit data_write guarded/2026/b.txt 4003 /usr/bin/vim >>events.jsonl
event permit data_read guarded/2026/a.txt 4003 /usr/bin/vim >>events.jsonl
event permit list guarded 4003 /usr/bin/vim >>events.jsonl
event deny data_read guarded/other 4003 /usr/bin/vim >>events.jsonl
expect "learn" 0 '' learnt
rule() { jq -c ".policies[.guard_points[0].policy].rules[$1] | [.users, .processes, .resources, .actions, .effects, .comment]" new.json; }
expect "learn: files of a directory" 0 \
	'["4003","vim","outer files",["data_read","data_write"],["permit","apply_key"],"5 observations"]' rule 0
expect "learn: its pattern" 0 '["2026/*.txt"]' jq -c '.resource_sets["outer files"].paths' new.json
expect "learn: the guard point itself" 0 \
	'["4003","vim",{"not":"below the guard point"},["list"],["permit"],"1 observation"]' rule 1
expect "learn: no more" 0 2 jq '.policies[.guard_points[0].policy].rules | length' new.json
expect "learn: the key is kept" 0 '"k"' jq '.policies[.guard_points[0].policy].key' new.json
expect "learn: what nobody uses is gone" 0 '["vim"]' jq -c '.process_sets | keys' new.json
expect "learn: the other guard point is as it was" 0 '"q"' jq '.guard_points[1].policy' new.json
expect "learn: it is good" 0 'new.json: good' "$command" check new.json
expect "learn: what was recorded is permitted" 0 '7 events, 7 unchanged' "$command" replay new.json events.jsonl
expect "learn: files as they are" 0 '' learnt --generalise none
expect "learn: their names" 0 '["2026/a.txt","2026/b.txt"]' jq -c '.resource_sets["outer files"].paths' new.json
expect "learn: wide" 0 '' learnt --generalise wide
expect "learn: no resources" 0 '["4003","vim",null,' rule 0
expect "learn: another guard point" 0 'warning: 0 events were seen of inner' learnt --guard inner
expect "learn: nothing is permitted" 0 '"0 observations"' jq -c '.policies[.guard_points[1].policy].rules[0].comment' new.json
expect "learn: no such guard point" 1 'no guard point of that name' learnt --guard none
expect "learn: none learns" 1 'no guard point is in mode learn' "$command" learn --policy policy.json --from events.jsonl
event permit data_read guarded/x 4003 '' >>events.jsonl
expect "learn: what lacks its program" 0 'warning: 1 events are not learnt: the program was not recorded' learnt
echo nonsense >>events.jsonl
expect "learn: a line that is no event" 1 'line 9 is no event' learnt
expect "learn: never overwritten" 1 'it exists already' sh -c "touch there && '$command' learn --policy base.json --from events.jsonl -o there"
for i in $(seq 300); do event permit data_read "guarded/$i/a.txt" "$((5000 + i))" "/usr/bin/p$i"; done >events.jsonl
expect "learn: more than fits" 1 'what was seen does not fit into one' learnt
expect "learn: how" 2 '--generalise much is not none, sets or wide' learnt --generalise much
expect "learn: usage" 2 'unexpected argument' learnt more
expect "learn: help" 0 'EXIT CODES' "$command" help learn
expect "explain: mode learn" 3 'would be denied (learn)' "$command" explain base.json --user 4002 --process /bin/cat \
	--action data_read guarded/a

report
