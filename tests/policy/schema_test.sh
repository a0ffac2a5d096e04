#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# tests/policy/schema_test.sh - policies/schema.json takes every example and
# refuses every broken variant of one.
#
# usage: schema_test.sh [TAKAKRYPT-BPF]    with the command, `check` must agree on each
set -eu
cd "$(dirname "$0")/../.."
python3 -c 'import jsonschema' 2>/dev/null || {
	echo "not ok python3-jsonschema is installed"
	exit 1
}
exec python3 - "$@" <<'PYTHON'
import copy, glob, json, subprocess, sys, tempfile
from jsonschema import Draft202012Validator

schema = json.load(open("policies/schema.json"))
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
command = sys.argv[1] if len(sys.argv) > 1 else None
passed = failed = 0

def command_takes(policy):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump(policy, f)
        f.flush()
        return subprocess.run([command, "check", f.name], capture_output=True).returncode == 0

def expect(policy, good, name):
    global passed, failed
    errors = [e.message for e in validator.iter_errors(policy)]
    faults = []
    if bool(errors) == good:
        faults.append(f"the schema refuses it: {errors[0]}" if errors else "the schema takes it")
    if command and command_takes(policy) != good:
        faults.append("`check` disagrees with the schema")
    for fault in faults:
        print(f"not ok {name}: {fault}")
    failed += bool(faults)
    passed += not faults

examples = {p: json.load(open(p)) for p in sorted(glob.glob("policies/*.json")) if p != "policies/schema.json"}
for path, policy in examples.items():
    expect(policy, True, path)

# Each changes one thing: the place, and what is put there; DROP removes it.
DROP = object()
RULE = "policies/documents/rules/0/"
broken = [
    ("version", 2), ("version", "1"), ("version", DROP), ("guard_points", DROP), ("extra", 1),
    ("guard_points", {}), ("time_sets", []), ("level", "high"), ("level", 1),
    ("keys/finance-2026/provider", "command"), ("keys/finance-2026/path", "relative"),
    ("keys/finance-2026/path", DROP), ("keys/finance-2026/extra", 1),
    ("keys/c", {"provider": "command"}), ("keys/c", {"provider": "command", "argv": []}),
    ("keys/c", {"provider": "command", "argv": ["vault"]}), ("keys/c", {"provider": "command", "argv": ["/v", 1]}),
    ("keys/c", {"provider": "command", "argv": ["/v"], "timeout": 301}),
    ("keys/c", {"provider": "command", "argv": ["/v"], "timeout": 1.5}),
    ("keys/c", {"provider": "pkcs11"}), ("keys/c", {"provider": "pkcs11", "uri": "pkcs12:"}),
    ("keys/c", {"provider": "pkcs11", "uri": "pkcs11:token=t;object=k?module-path=/m&pin-value=1&pin-source=/p"}),
    ("keys/c", {"provider": "pkcs11", "uri": "pkcs11:token=t;object=k?module-path=m&pin-source=/p"}),
    ("keys/c", {"provider": "pkcs11", "uri": "pkcs11:token=t;object=k?module-path=/m"}),
    ("keys/c", {"provider": "credential"}), ("keys/c", {"provider": "credential", "name": "a/b"}),
    ("keys/c", {"provider": "credential", "name": ".."}), ("keys/c", {"provider": "kmip", "path": "/k"}),
    ("keys/with space", {"provider": "file", "path": "/k"}), ("keys/a|b", {"provider": "file", "path": "/k"}),
    ("user_sets/finance", {}), ("user_sets/finance/users", []), ("user_sets/finance/users", "jane"),
    ("user_sets/finance/users/0", 1004), ("user_sets/finance/users/0", "a b"), ("user_sets/finance/users/0", ""),
    ("user_sets/finance/users", ["a", "a"]), ("user_sets/finance/users/0", "007"),
    ("user_sets/finance/login", "optional"), ("user_sets/finance/login", True), ("user_sets/" + "n" * 64, {"users": ["a"]}),
    ("process_sets/editors/processes", []), ("process_sets/editors/processes/0", {}),
    ("process_sets/editors/processes/0", {"sha256": "0" * 64}),
    ("process_sets/editors/processes/0/path", "nano"), ("process_sets/editors/processes/0/path", "/usr//nano"),
    ("process_sets/editors/processes/0/sha256", "0" * 63), ("process_sets/editors/processes/0/unit", "x.slice"),
    ("process_sets/editors/processes/0/unit", "a/x.service"), ("process_sets/editors/processes/0/unit", "*.service"),
    ("process_sets/editors/processes/0/unit", "x" * 55 + ".service"),
    ("process_sets/editors/processes/0", {"unit": "x.service", "sha256": "0" * 64}),
    ("process_sets/backup/processes/0/name", "a/b"), ("process_sets/backup/processes/0/name", "a**"),
    ("process_sets/editors/integrity", "no"), ("process_sets/editors/processes", DROP),
    ("time_sets", {"t": {"timezone": "UTC"}}), ("time_sets", {"t": {"timezone": "/UTC", "days": ["mon"]}}),
    ("time_sets", {"t": {"days": ["mon"]}}), ("time_sets", {"t": {"timezone": "UTC", "days": ["monday"]}}),
    ("time_sets", {"t": {"timezone": "UTC", "from": "08:00"}}), ("time_sets", {"t": {"timezone": "UTC", "to": "08:00"}}),
    ("time_sets", {"t": {"timezone": "UTC", "from": "8:00", "to": "18:00"}}),
    ("time_sets", {"t": {"timezone": "UTC", "from": "24:00", "to": "18:00"}}),
    ("time_sets", {"t": {"timezone": "UTC", "from": "08:00", "to": "24:01"}}),
    ("resource_sets", {"r": {"paths": []}}), ("resource_sets", {"r": {"paths": [""]}}),
    ("resource_sets", {"r": {"paths": ["a/"]}}), ("resource_sets", {"r": {"paths": ["a//b"]}}),
    ("resource_sets", {"r": {"paths": ["a***"]}}), ("resource_sets", {"r": {"paths": ["../a"]}}),
    ("resource_sets", {"r": {}}), ("resource_sets", {"r": {"paths": ["a", "a"]}}),
    ("policies/documents/algorithm", "aes-128-gcm"), ("policies/documents/chunk_size", 65537),
    ("policies/documents/chunk_size", 2048), ("policies/documents/chunk_size", 33554432),
    ("policies/documents/rules", []), ("policies/documents/rules", DROP), ("policies/documents/extra", 1),
    ("policies/keyless", {"algorithm": "aes-256-gcm", "rules": [{"actions": ["read"], "effects": ["permit"]}]}),
    (RULE + "actions", []), (RULE + "actions", "read"), (RULE + "actions/0", "reed"), (RULE + "actions", DROP),
    (RULE + "actions", ["read", "read"]), (RULE + "effects", []), (RULE + "effects", DROP),
    (RULE + "effects", ["permit", "deny"]), (RULE + "effects", ["audit"]), (RULE + "effects", ["deny", "apply_key"]),
    (RULE + "effects", ["apply_key"]), (RULE + "effects", ["allow"]), (RULE + "users", []), (RULE + "users", 1),
    (RULE + "users", {}), (RULE + "users", {"not": {"not": "finance"}}), (RULE + "users", {"not": "finance", "x": 1}),
    (RULE + "users", ["finance", "finance"]), (RULE + "times", {"not": []}), (RULE + "comment", 1), (RULE + "browse", "yes"),
    ("policies/documents/rules/3/browse", True), (RULE + "action", ["read"]),
    ("guard_points/0/path", "relative"), ("guard_points/0/path", "/"), ("guard_points/0/path", "/a/"),
    ("guard_points/0/path", "/a//b"), ("guard_points/0/path", "/a/../b"), ("guard_points/0/path", "/a/**"),
    ("guard_points/0/path", "/" + "x" * 4095), ("guard_points/0/mode", "off"),
    ("guard_points/0/shield", "dm-crypt"), ("guard_points/0/shield", True),
    ("guard_points/0/linger", -1), ("guard_points/0/linger", 600001), ("guard_points/0/linger", 1.5), ("guard_points/0/linger", "1"),
    ("guard_points/0/name", ""), ("guard_points/0/name", "n" * 64), ("guard_points/0/name", "caf\u00e9"),
    ("guard_points/0/name", DROP), ("guard_points/0/policy", DROP), ("guard_points/0/extra", 1),
]
good = [
    ("level", "minimal"), ("level", "normal"), ("level", "paranoid"), ("level", "learning"),
    ("keys/finance-2026", {"provider": "command", "argv": ["/usr/bin/vault", "", "-x", "-x"], "timeout": 300}),
    ("keys/finance-2026", {"provider": "command", "argv": ["/usr/bin/vault"]}),
    ("keys/finance-2026", {"provider": "credential", "name": "finance.key"}),
    ("keys/finance-2026", {"provider": "pkcs11", "uri": "pkcs11:token=t;object=k?module-path=/m&pin-source=file:/p"}),
    ("keys/finance-2026", {"provider": "pkcs11", "uri": "pkcs11:serial=7;id=%01?pin-source=credential:p&module-path=%2Fm"}),
    (RULE + "users", {"not": ["finance"]}), (RULE + "browse", True), (RULE + "browse", False),
    ("policies/documents/rules/3/browse", False), ("guard_points/0/mode", "monitor"), ("guard_points/0/mode", "learn"),
    ("guard_points/0/shield", "fscrypt"), ("guard_points/0/linger", 0), ("guard_points/0/linger", 600000),
    (RULE + "comment", "who asked for it"), ("guard_points", []),
    ("guard_points/0/path", "/srv/[a-z]*/x?"), ("user_sets/finance/users", ["0"]),
    ("process_sets/editors/integrity", False), ("process_sets/editors/integrity", True),
    ("process_sets/backup/processes/0/sha256", "Ab" * 32), ("policies/documents/chunk_size", 16777216),
    ("policies/documents/chunk_size", 65536.0), ("resource_sets", {"r": {"paths": ["/a", "**/.x", "a/**", "...", "*"]}}),
]

def changed(place, value):
    policy = copy.deepcopy(examples["policies/confidential-documents.json"])
    *way, last = place.split("/")
    if place == "keys/a|b":
        last = "a/b"
    at = policy
    for step in way:
        at = at[int(step)] if isinstance(at, list) else at[step]
    if isinstance(at, list):
        last = int(last)
    if value is DROP:
        del at[last]
    else:
        at[last] = value
    return policy

for place, value in broken:
    shown = "dropped" if value is DROP else json.dumps(value)[:60]
    expect(changed(place, value), False, f"{place} = {shown}")
for place, value in good:
    expect(changed(place, value), True, f"{place} = {json.dumps(value)[:60]}")
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
PYTHON
