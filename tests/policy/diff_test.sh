#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# tests/policy/diff_test.sh - `diff` and `replay` on random policies.  What diff tells
# is so, as `explain` sees it; where questions get other answers it tells something;
# of the same policy written differently it tells nothing.  What replay counts is what
# one question after the other gives, and what it cannot decide are the events whose
# verdict hangs on what they lack.
#
# usage: diff_test.sh TAKAKRYPT-BPF [SEED [ROUNDS]]
set -eu
PYTHONPATH=$(realpath "$(dirname "$0")") exec python3 -B - "$(realpath "$1")" "${2:-1}" "${3:-25}" <<'PYTHON'
import collections, copy, datetime, json
from rounds import *

ACTIONS = ["data_read", "data_write", "list", "create", "key_op"]
USERS = ["4001", "4002"]
GROUPS = ["4100", "4101"]
PROGRAMS = ["/no/such/p1", "/no/such/p2", "/no/such/p*", "/no/such/q", "/no/such/q?"]
PATTERNS = ["*.txt", "a/**", "a/*.txt", "/x", "**", "a/b/*", "[a-c]*"]
UNITS = ["one.service", "two.scope"]
FOREIGN = " with foreign code"
ZONES = ["UTC", "Asia/Jakarta", "Europe/Berlin", "America/New_York"]
DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
KINDS = [("user_sets", "users"), ("process_sets", "processes"), ("resource_sets", "resources"), ("time_sets", "times")]
NOW = datetime.datetime.now(datetime.timezone.utc)

def some(items, least=1):
    return dice.sample(items, dice.randint(least, min(3, len(items))))

def rule():
    result = {"actions": some(ACTIONS), "effects": dice.choice(
        [["permit"], ["permit", "apply_key"], ["deny"], ["deny", "audit"], ["permit", "audit"]])}
    for section, dimension in KINDS:
        if dice.random() < (0.3 if dimension == "times" else 0.6):
            value = some([section[0] + str(i) for i in range(3)])
            result[dimension] = {"not": value} if dice.random() < 0.3 else value
    return result

def policy():
    def users():
        names = some(USERS + GROUPS)
        sets = {"users": [n for n in names if n in USERS], "groups": [n for n in names if n in GROUPS]}
        login = {"login": "required"} if dice.random() < 0.3 else {}
        return {**{k: v for k, v in sets.items() if v}, **login}
    def process(path):
        way = dice.random()
        unit = {"unit": dice.choice(UNITS)}
        return unit if way < 0.1 else {"path": path, **(unit if way < 0.4 else {})}
    def times():
        hours = dice.sample(range(0, 24, 3), 2)
        return {"days": some(DAYS), "timezone": dice.choice(ZONES),
                **({"from": f"{hours[0]:02}:00", "to": f"{hours[1]:02}:30"} if dice.random() < 0.8 else {})}
    return {"version": 1, "keys": {"k": {"provider": "file", "path": "/k"}},
            "user_sets": {f"u{i}": users() for i in range(3)},
            "process_sets": {f"p{i}": {"processes": [process(p) for p in some(PROGRAMS)], "integrity": dice.random() < 0.5}
                             for i in range(3)},
            "resource_sets": {f"r{i}": {"paths": some(PATTERNS)} for i in range(3)},
            "time_sets": {f"t{i}": times() for i in range(3)},
            "policies": {"p": {"key": "k", "rules": [rule() for _ in range(dice.randint(1, 5))]}},
            "guard_points": [{"name": "g", "path": f"{top}/g", "policy": "p"}]}

def changed(old):
    new = copy.deepcopy(old)
    rules = new["policies"]["p"]["rules"]
    way = dice.randrange(5)
    if way == 0:
        rules[dice.randrange(len(rules))] = rule()
    elif way == 1:
        dice.shuffle(rules)
    elif way == 2:
        rules.insert(dice.randint(0, len(rules)), rule())
    elif way == 3:
        new["process_sets"]["p0"]["integrity"] = not new["process_sets"]["p0"]["integrity"]
    else:
        section = dice.choice(KINDS)[0]
        new[section][section[0] + "0"] = policy()[section][section[0] + "1"]
    return new

def rewritten(old):
    new = copy.deepcopy(old)
    rules = new["policies"]["p"]["rules"]
    for section, dimension in KINDS: # every set under another name
        new[section] = {name + "x": value for name, value in reversed(new[section].items())}
        for one in rules:
            if isinstance(one.get(dimension), dict):
                one[dimension]["not"] = [n + "x" for n in one[dimension]["not"]]
            elif dimension in one:
                one[dimension] = [n + "x" for n in reversed(one[dimension])]
    first = rules[0]
    if len(first["actions"]) > 1: # one rule in two
        rules.insert(0, {**first, "actions": first["actions"][:1]})
        first["actions"] = first["actions"][1:]
    rules.append(dict(dice.choice(rules))) # never reached
    return new

def explain(file, action, path, foreign, **options):
    words = [word for name, value in options.items() if value for word in ("--" + name.replace("_", "-"), value)]
    answer = json.loads(run("explain", file, *words, *["--foreign-code"] * foreign, "--action", action, "--json", f"{top}/g/{path}".rstrip("/")).stdout)
    # Contents alone have a view.
    key = answer["apply_key"] and action in ("data_read", "data_write", "execute")
    return answer["verdict"] + ("+apply_key" if key else "") + (" (audited)" if answer["audit"] else "")

def when():
    return (NOW + datetime.timedelta(minutes=dice.randrange(350 * 24 * 60))).strftime("%Y-%m-%dT%H:%M:%SZ")

def question():
    user = dice.choice(USERS + ["4999"])
    more = {"unit": dice.choice(UNITS)} if dice.random() < 0.6 else {}
    return {"user": user, "groups": dice.choice([[], ["4100"], ["4101"], GROUPS]), **more,
            "process": dice.choice(["/no/such/p1", "/no/such/p3", "/no/such/q", "/no/such/qq", "/no/such/z"]),
            "path": f"{top}/g/" + dice.choice(["x", "a/x", "a/b/c", "a/1.txt", "1.txt", "z"]),
            "action": dice.choice(ACTIONS), "login": dice.choice([user, user, "0", "none"]), "at": when(),
            "foreign_code": dice.random() < 0.3}

# What the policy says to each: "deny", "permit", "permit+apply_key".
def ask(file, questions):
    json.dump([{"name": "x", "expect": "deny", **one} for one in questions], open("cases.json", "w"))
    answers = ["deny"] * len(questions)
    for line in run("test", file, "cases.json").stdout.splitlines():
        if line.startswith(("ok", "not ok")):
            at = int(line.split(" - ")[0].split()[-1]) - 1
        elif "got: " in line:
            contents = questions[at]["action"].startswith("data")
            answers[at] = line.split("got: ")[1] if contents else "permit"
        elif "cannot be asked" in line:
            raise SystemExit(f"{line}: {questions[at]}")
    return answers

CHANGES = {("permit", "deny"): "permit_to_deny", ("deny", "permit"): "deny_to_permit",
           ("permit", "permit+apply_key"): "stored_to_plaintext", ("permit+apply_key", "permit"): "plaintext_to_stored",
           ("permit+apply_key", "deny"): "permit_to_deny", ("deny", "permit+apply_key"): "deny_to_permit"}

def event(one, verdict, left_out):
    login = {"login_uid": None if one["login"] == "none" else int(one["login"])}
    line = {"time": one["at"], "verdict": verdict.split("+")[0], "action": one["action"], "path": one["path"], "guard": "g",
            "uid": int(one["user"]), "gid": 7, "groups": [int(g) for g in one["groups"]], "exe": one["process"],
            "apply_key": "+" in verdict, "reason": "by_rule", "unit": one.get("unit"), **login}
    if one["foreign_code"]: # said of nobody else
        line["foreign_code"] = True
        line["reason"] = "foreign_code" if verdict == "deny" else "by_rule"
    return {key: value for key, value in line.items() if key not in left_out}

# The same question, with what was left out in every way it can have been.
def ways(one, left_out):
    for login in ([one["user"], "none"] if "login_uid" in left_out else [one["login"]]):
        for unit in (UNITS + [None] if "unit" in left_out else [one.get("unit")]):
            way = {key: value for key, value in one.items() if key != "unit"}
            yield {**way, "login": login, **({"unit": unit} if unit else {})}

def replay(label, new, questions, verdicts):
    left_out = [[k for k in ("login_uid", "unit", "time") if dice.random() < chance] for chance in dice.choices(
        [0, 0.3], [3, 1], k=len(questions))]
    all_ways = [list(ways(*pair)) for pair in zip(questions, left_out)]
    answers = iter(ask("new.json", [way for each in all_ways for way in each]))
    expected = collections.Counter()
    for verdict, out, each in zip(verdicts, left_out, all_ways):
        got = {next(answers) for _ in each}
        timed = any("times" in one for one in new["policies"]["p"]["rules"])
        if len(got) > 1 or ("time" in out and timed):
            expected["cannot_be_decided"] += 1
        elif got != {verdict}:
            expected[CHANGES[verdict, got.pop()]] += 1
    with open("events.jsonl", "w") as file:
        for one, verdict, out in zip(questions, verdicts, left_out):
            print(json.dumps(event(one, verdict, out)), file=file)
    result = run("replay", "--json", "new.json", "events.jsonl")
    told = collections.Counter()
    for change in json.loads(result.stdout)["changes"]:
        told[change["change"]] += change["count"]
    expect(f"{label}: replay counts", told == expected, f"{told}, not {expected}: {result.stderr}")
    lost = expected["permit_to_deny"] + expected["plaintext_to_stored"]
    code = 1 if expected["cannot_be_decided"] else 3 if lost else 0
    expect(f"{label}: replay's exit code", result.returncode == code, f"{result.returncode}, not {code}")

# Some instant at which no time set that a rule names holds; None if none is found.
def none_holds(*policies):
    for _ in range(50):
        at = when()
        if not any(held(file, at) & {name for one in policy["policies"]["p"]["rules"] for name in names(one)}
                   for file, policy in zip(("old.json", "new.json"), policies)):
            return at

def names(one):
    value = one.get("times", [])
    return value["not"] if isinstance(value, dict) else value

def held(file, at):
    answer = json.loads(run("explain", file, "--user", "1", "--process", "/no/such/z", "--action", "list", "--at", at,
                            "--json", f"{top}/g").stdout)
    return set(answer["time_sets"])

for number in range(rounds):
    old = policy()
    new = changed(old)
    for name, value in ("old", old), ("new", new), ("same", rewritten(old)):
        json.dump(value, open(name + ".json", "w"))
    label = f"seed {seed} round {number}"
    same = run("diff", "old.json", "same.json")
    expect(f"{label}: the same, written differently", same.returncode == 0 and not same.stdout, same.stdout + same.stderr)
    result = run("diff", "--json", "old.json", "new.json")
    differences = json.loads(result.stdout)
    expect(f"{label}: exit code", result.returncode == (3 if differences else 0), result.stderr)
    questions = [question() for _ in range(1500)]
    before = ask("old.json", questions)
    other = before != ask("new.json", questions)
    expect(f"{label}: nothing is overlooked", differences or not other, "answers differ, diff tells nothing")
    replay(label, new, questions[:200], before)
    for one in differences[:6]:
        user = (one["users"] or [{"example": None}])[0]["example"]
        program = (one["programs"] or [{"example": None}])[0]["example"] or "/no/such/z"
        path = "z/z" if one["paths"] is None else one["paths"][0]["example"]
        if path is None: # in no set: any that no pattern matches
            path = "z/z"
        login = "none" if user and "another log-in" in user else None
        words = (user or "").replace("+ ", "").split()
        uid = next((words[i + 1] for i, w in enumerate(words) if w == "uid"), "4999")
        groups = ",".join([words[i + 1] for i, w in enumerate(words) if w == "gid"] or ["7"])
        if " + " in program:
            continue # of two globs no example is given
        foreign = program.endswith(FOREIGN)
        program, _, unit = program.removesuffix(FOREIGN).partition(" in ")
        program = program.replace("any program", "/no/such/z").replace("*", "zz").replace("?", "z")
        at = when() if one["times"] is None else one["times"][0]["example"] or none_holds(old, new)
        if at is None:
            continue
        action = one["actions"][0]
        got = [explain(f, action, path, foreign, user=uid, groups=groups, process=program, login_uid=login, unit=unit,
                       at=at) for f in ("old.json", "new.json")]
        expect(f"{label}: what is told is so", got == [one["old"], one["new"]],
               f"{got}, told {json.dumps(one)}: {uid} {groups} {program} {unit} {foreign} {path} {login} {at}")

# Nothing but integrity: only who has mapped foreign code is treated otherwise, in whatever unit.
for where in ({}, {"unit": "one.service"}):
    old = policy()
    old["process_sets"] = {"p": {"processes": [{"path": "/no/such/p1", **where}]}}
    old["policies"]["p"]["rules"] = [{"processes": "p", "actions": ["data_read"], "effects": ["permit"]}]
    new = copy.deepcopy(old)
    new["process_sets"]["p"]["integrity"] = False
    json.dump(old, open("old.json", "w"))
    json.dump(new, open("new.json", "w"))
    result = run("diff", "--json", "old.json", "new.json")
    told = [(p["example"], one["old"], one["new"]) for one in json.loads(result.stdout) for p in one["programs"]]
    program = "/no/such/p1" + (" in one.service" if where else "")
    expect(f"integrity alone {where}", told == [(program + FOREIGN, "deny (audited)", "permit")], result.stdout + result.stderr)
report()
PYTHON
