#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# tests/policy/diff_test.sh - `diff` on random policies: what it tells is so, as
# `explain` sees it; where questions get other answers it tells something; and of
# the same policy written differently it tells nothing.
#
# usage: diff_test.sh TAKAKRYPT-BPF [SEED [ROUNDS]]
set -eu
exec python3 - "$(realpath "$1")" "${2:-1}" "${3:-25}" <<'PYTHON'
import copy, json, os, random, subprocess, sys, tempfile

command, seed, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
dice = random.Random(seed)
directory = tempfile.TemporaryDirectory()
os.chdir(directory.name)
top = os.path.realpath(".")
passed = failed = 0

ACTIONS = ["data_read", "data_write", "list", "create", "key_op"]
USERS = ["4001", "4002"]
GROUPS = ["4100", "4101"]
PROGRAMS = ["/no/such/p1", "/no/such/p2", "/no/such/p*", "/no/such/q", "/no/such/q?"]
PATTERNS = ["*.txt", "a/**", "a/*.txt", "/x", "**", "a/b/*", "[a-c]*"]
KINDS = [("user_sets", "users"), ("process_sets", "processes"), ("resource_sets", "resources")]

def expect(label, good, more=""):
    global passed, failed
    passed += bool(good)
    failed += not good
    if not good:
        print(f"not ok {label}\n  {more}")

def run(*arguments):
    return subprocess.run([command, *arguments], capture_output=True, text=True)

def some(items, least=1):
    return dice.sample(items, dice.randint(least, min(3, len(items))))

def rule():
    result = {"actions": some(ACTIONS), "effects": dice.choice(
        [["permit"], ["permit", "apply_key"], ["deny"], ["deny", "audit"], ["permit", "audit"]])}
    for section, dimension in KINDS:
        if dice.random() < 0.6:
            value = some([section[0] + str(i) for i in range(3)])
            result[dimension] = {"not": value} if dice.random() < 0.3 else value
    return result

def policy():
    def users():
        names = some(USERS + GROUPS)
        sets = {"users": [n for n in names if n in USERS], "groups": [n for n in names if n in GROUPS]}
        return {k: v for k, v in sets.items() if v}
    return {"version": 1, "keys": {"k": {"provider": "file", "path": "/k"}},
            "user_sets": {f"u{i}": users() for i in range(3)},
            "process_sets": {f"p{i}": {"processes": [{"path": p} for p in some(PROGRAMS)]} for i in range(3)},
            "resource_sets": {f"r{i}": {"paths": some(PATTERNS)} for i in range(3)},
            "policies": {"p": {"key": "k", "rules": [rule() for _ in range(dice.randint(1, 5))]}},
            "guard_points": [{"name": "g", "path": f"{top}/g", "policy": "p"}]}

def changed(old):
    new = copy.deepcopy(old)
    rules = new["policies"]["p"]["rules"]
    way = dice.randrange(4)
    if way == 0:
        rules[dice.randrange(len(rules))] = rule()
    elif way == 1:
        dice.shuffle(rules)
    elif way == 2:
        rules.insert(dice.randint(0, len(rules)), rule())
    else:
        section = dice.choice(["user_sets", "process_sets", "resource_sets"])
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

def explain(file, uid, groups, program, path, action):
    answer = json.loads(run("explain", file, "--user", uid, "--groups", groups, "--process", program, "--action", action,
                            "--json", f"{top}/g/{path}".rstrip("/")).stdout)
    # Contents alone have a view.
    key = answer["apply_key"] and action in ("data_read", "data_write", "execute")
    return answer["verdict"] + ("+apply_key" if key else "") + (" (audited)" if answer["audit"] else "")

def ask(file):
    cases = [{"name": "x", "user": u, "groups": g, "process": p, "action": a, "path": f"{top}/g/{path}", "expect": "deny"}
             for u in USERS + ["4999"] for g in [[], ["4100"], ["4101"], GROUPS]
             for p in ["/no/such/p1", "/no/such/p3", "/no/such/q", "/no/such/qq", "/no/such/z"]
             for path in ["x", "a/x", "a/b/c", "a/1.txt", "1.txt", "z"] for a in ACTIONS]
    json.dump(cases, open("cases.json", "w"))
    out = [l for l in run("test", file, "cases.json").stdout.splitlines() if not l.startswith("#   rule")]
    contents = {i + 1 for i, case in enumerate(cases) if case["action"].startswith("data")}
    answers = {}
    for line in out:
        if line.startswith(("ok", "not ok")):
            number = int(line.split(" - ")[0].split()[-1])
        elif "got: " in line:
            answers[number] = line.split("got: ")[1] if number in contents else "permit"
    return answers

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
    other = ask("old.json") != ask("new.json")
    expect(f"{label}: nothing is overlooked", differences or not other, "answers differ, diff tells nothing")
    for one in differences[:6]:
        user = (one["users"] or [{"example": None}])[0]["example"]
        program = (one["programs"] or [{"example": None}])[0]["example"] or "/no/such/z"
        path = "z/z" if one["paths"] is None else one["paths"][0]["example"]
        if path is None: # in no set: any that no pattern matches
            path = "z/z"
        words = (user or "").replace("+ ", "").split()
        uid = next((words[i + 1] for i, w in enumerate(words) if w == "uid"), "4999")
        groups = ",".join([words[i + 1] for i, w in enumerate(words) if w == "gid"] or ["7"])
        if " + " in program:
            continue # of two globs no example is given
        program = program.replace("*", "zz").replace("?", "z")
        action = one["actions"][0]
        got = [explain(f, uid, groups, program, path, action) for f in ("old.json", "new.json")]
        expect(f"{label}: what is told is so", got == [one["old"], one["new"]],
               f"{got}, told {json.dumps(one)}: {uid} {groups} {program} {path}")
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
PYTHON
