#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# tests/policy/learn_test.sh - what `learn` writes, on random recordings: it passes
# `check`, replaying the recording against it denies nothing, and who was not seen
# is denied.
#
# usage: learn_test.sh TAKAKRYPT-BPF [SEED [ROUNDS]]
set -eu
PYTHONPATH=$(realpath "$(dirname "$0")") exec python3 -B - "$(realpath "$1")" "${2:-1}" "${3:-12}" <<'PYTHON'
import json, os
from rounds import *

ACTIONS = ["data_read", "data_write", "execute", "list", "create", "delete", "rename", "link", "set_attr", "key_op"]
NAMES = ["a", "b.txt", "c.txt", "d.tar.gz", ".hidden", "e f", "*", "x[1].txt", "q?", "back\\slash", "\u00e9.odt", "...",
         "star*.ibd", "no.", "z" * 60, "\udcff.bin", "\t"]
UIDS = [0, 4001, 4002, 4003]
EXES = ["/bin/cat", "/usr/bin/env", "/no/such/app", "/no/such/app[1]", "/no/such/app*", "/opt/x y/\u00e9"]

def policy():
    key = {"key": "k"} if dice.random() < 0.8 else {}
    rules = [{"users": "staff", "actions": ["read"], "effects": ["permit"]},
             {"processes": "tools", "actions": ["all_ops"], "effects": ["deny"]}]
    return {"version": 1, "keys": {"k": {"provider": "file", "path": "/k"}},
            "user_sets": {"staff": {"users": ["4001"]}}, "process_sets": {"tools": {"processes": [{"path": "/bin/cat"}]}},
            "policies": {"p": {**key, "rules": rules}, "one": {**key, "rules": rules[:1]}},
            "guard_points": [
                {"name": "one", "path": f"{top}/one", "policy": dice.choice(["p", "one"]), "mode": "learn"},
                {"name": "two", "path": f"{top}/one/two", "policy": "p", "mode": "learn"},
                {"name": "other", "path": f"{top}/other", "policy": "p", "mode": "monitor"}]}

def event():
    guard = dice.choice(["one", "one/two", "other"])
    path = "/".join([top, guard] + [dice.choice(NAMES) for _ in range(dice.randrange(4))])
    plain = dice.random() < 0.6
    denied = dice.random() < 0.1
    line = {"time": "2026-01-02T03:04:05.678Z", "verdict": "deny" if denied else "permit", "mode": "learn",
            "action": dice.choice(ACTIONS), "path": path, "guard": guard, "uid": dice.choice(UIDS), "gid": 7, "pid": 1,
            "groups": dice.choice([[], [7], [7, 4100]]), "comm": "x", "exe": dice.choice(EXES), "apply_key": plain,
            "reason": dice.choice(["by_rule", "no_rule"]), "result": -13 if denied else 0}
    if dice.random() < 0.05:
        line["foreign_code"] = True
        line["reason"] = dice.choice([line["reason"], "foreign_code"]) # it may be why no rule permits it
    if denied and dice.random() < 0.5:
        line["reason"] = "not_ready"
    return line

for number in range(rounds):
    json.dump(policy(), open("base.json", "w"))
    events = [event() for _ in range(dice.choice([0, 1, 5, 30, 120]))]
    with open("events.jsonl", "w", encoding="utf-8", errors="surrogateescape") as out:
        for line in events:
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
        # That somebody has mapped such code is no access.
        out.write(json.dumps({**event(), "action": "none", "guard": "", "verdict": "permit", "reason": "foreign_code"},
                             ensure_ascii=False) + "\n")
    for how in ["none", "sets", "wide"]:
        label = f"seed {seed} round {number} {how}"
        if os.path.exists("new.json"):
            os.unlink("new.json")
        learnt = run("learn", "--policy", "base.json", "--from", "events.jsonl", "--generalise", how, "-o", "new.json")
        expect(f"{label}: learn", learnt.returncode == 0 and "not learnt" not in learnt.stderr, learnt.stderr)
        if learnt.returncode:
            continue
        checked = run("check", "new.json")
        expect(f"{label}: check", checked.returncode == 0 and not any(unused in checked.stderr for unused in ("no rule uses", "no guard point uses")), checked.stderr)
        replayed = run("replay", "--json", "new.json", "events.jsonl")
        # What was monitored keeps its rules: it may be denied there.
        changes = [c for c in json.loads(replayed.stdout)["changes"]
                   if c["change"] in ("permit_to_deny", "plaintext_to_stored") and c["guard_point"] != "other"]
        expect(f"{label}: replay", not changes, changes)
        new = json.load(open("new.json"))
        modes = [g["mode"] for g in new["guard_points"]]
        expect(f"{label}: modes", modes == ["enforce", "enforce", "monitor"], modes)
        loose = [name for name, one in new["process_sets"].items() if not one.get("integrity", True)]
        mapped = {e["exe"] for e in events if e.get("foreign_code") and e["verdict"] == "permit" and e["guard"] != "other"}
        expect(f"{label}: integrity is asked of all that kept it", mapped or not loose, loose)
        learnt_rules = [r for g in new["guard_points"][:2] for r in new["policies"][g["policy"]]["rules"]]
        seen = sum(e["verdict"] == "permit" and e["guard"] != "other" for e in events)
        counted = sum(int(r["comment"].split()[0]) for r in learnt_rules)
        expect(f"{label}: each observation counts once", counted == seen, f"{counted} != {seen}")
        # Strangers: another user, another program, and the same subject with an action nobody took.
        cases = [{"name": "user", "user": "4999", "groups": [], "process": "/bin/cat", "action": a,
                  "path": f"{top}/one/a", "expect": "deny"} for a in ACTIONS]
        cases += [{"name": "program", "user": "4001", "groups": [], "process": "/no/such/other", "action": a,
                   "path": f"{top}/one/a", "expect": "deny"} for a in ACTIONS]
        did = {(e["uid"], e["exe"], e["action"]) for e in events if e["verdict"] == "permit" and e["guard"] == "one"}
        cases += [{"name": "action", "user": str(u), "groups": [], "process": x, "action": a,
                   "path": f"{top}/one/a", "expect": "deny"}
                  for u in UIDS for x in EXES for a in ACTIONS if (u, x, a) not in did]
        if how == "none": # nor a file that was not seen
            cases += [{"name": "file", "user": str(u), "groups": [], "process": x, "action": "data_read",
                       "path": f"{top}/one/never seen.txt", "expect": "deny"} for u in UIDS for x in EXES]
        json.dump(cases, open("cases.json", "w"))
        tested = run("test", "new.json", "cases.json")
        wrong = [line for line in tested.stdout.splitlines() if line.startswith("not ok")]
        expect(f"{label}: strangers are denied", tested.returncode == 0, str(wrong[:3]) + tested.stderr)
report()
PYTHON
