#!/bin/bash
# Owns `make bench-scale`: what many guard points, rules and patterns cost, in a VM, as a table:
# until `load` returns, how much of that the agent took, a denied open inside the last guard point
# (1,000 rules are asked, all in the kernel), and until `unload` returns.
#
# usage: scale.sh [GUARD_POINTS...]      default 1 100 1000 10000
# The clock is that of an emulated CPU: compare the rows, not with other machines.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -z "${TK_SCALE_INSIDE:-}" ]; then
	[ $# -gt 0 ] || set -- 1 100 1000 10000
	exec tests/vm/run --timeout 1200 --mem 3072 --disk ext4:512M -- env TK_SCALE_INSIDE=1 "$0" "$@"
fi

tk=$PWD/build/takakrypt-bpf
top=/mnt/ext4/guarded
dir=$(mktemp -d)
app=$dir/app
cp build/tests/probe "$app"
chmod 755 "$dir" "$app"
"$tk" key generate "$dir/key" >/dev/null

# policy GUARD_POINTS: 1,000 rules of which the last one matters, 500 patterns, 250 sets of each kind
policy() {
	python3 - "$1" "$dir" "$app" $top <<-END
	import json, sys
	count, dir, app, top = int(sys.argv[1]), *sys.argv[2:]
	users = {f"u{i}": {"users": [str(2000 + i)]} for i in range(249)}
	users["staff"] = {"users": ["1001"]}
	resources = {f"r{i}": {"paths": [f"*.x{i}", f"*.y{i}"]} for i in range(250)}
	rules = [{"users": f"u{i % 249}", "resources": f"r{i % 250}", "actions": ["read"], "effects": ["permit"]}
	         for i in range(999)]
	rules.append({"users": "staff", "processes": "app", "actions": ["read", "write"],
	              "effects": ["permit", "apply_key"]})
	json.dump({"version": 1, "keys": {"case": {"provider": "file", "path": dir + "/key"}},
	           "user_sets": users, "process_sets": {"app": {"processes": [{"path": app}]}},
	           "resource_sets": resources, "policies": {"p": {"key": "case", "rules": rules}},
	           "guard_points": [{"name": f"g{i}", "path": f"{top}/d{i}", "policy": "p"} for i in range(count)]},
	          open(dir + "/policy.json", "w"))
	END
}
# Microseconds each, of many denied opens.
denied() {
	python3 - "$1" <<-END
	import os, sys, time
	n, refused = 2000, 0
	begin = time.monotonic()
	for i in range(n):
	    try: os.close(os.open(sys.argv[1], os.O_RDONLY))
	    except PermissionError: refused += 1
	end = time.monotonic()
	assert refused == n, "not denied"
	print(round((end - begin) / n * 1e6))
	END
}
seconds() { printf '%d.%01d' $(($1 / 1000)) $(($1 % 1000 / 100)); }
now() { local t=$EPOCHREALTIME; echo $((${t/./} / 1000)); }

printf '%14s %10s %14s %14s %12s\n' "guard points" "load, s" "agent ready, s" "denied, us" "unload, s"
for count; do
	rm -rf $top
	mkdir $top
	seq -f "$top/d%g" 0 $((count - 1)) | xargs mkdir
	chmod 777 "$top/d$((count - 1))"
	policy "$count"
	begin=$(now)
	"$tk" load "$dir/policy.json" >/dev/null
	loaded=$(now)
	ready=$("$tk" status --json | jq .ready_after_ms)
	file=$top/d$((count - 1))/file
	"$app" --uid 1001 create "$file" text >/dev/null
	denied=$(denied "$file")
	before=$(now)
	"$tk" unload >/dev/null
	printf '%14d %10s %14s %14s %12s\n' "$count" "$(seconds $((loaded - begin)))" "$(seconds "$ready")" "$denied" \
		"$(seconds $(($(now) - before)))"
done
