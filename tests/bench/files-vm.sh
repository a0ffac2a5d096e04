#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# tests/bench/files-vm.sh - what the kernel programs add to each call on a file: instructions, counted by the clock of
# an emulated CPU (QEMU's icount), which has no cache and no noise. Started by files.sh.
#
# usage: files-vm.sh       TK_KERNEL=6.12 for another kernel
set -u
cd "$(dirname "$0")/../.." || exit 2
if [ -z "${TK_FILES_INSIDE:-}" ]; then
	exec tests/vm/run --icount --kernel "${TK_KERNEL:-6.1}" --timeout 1200 --disk ext4:256M --disk ext4:256M -- env TK_FILES_INSIDE=1 "$0"
fi
tk=$PWD/build/takakrypt-bpf
dir=$(mktemp -d)
chmod 755 "$dir"
app=$dir/app
cp build/tests/files_work "$app"
die() { echo "files-vm.sh: $*" >&2; cat "$dir/log" >&2; exit 1; }
measure() { # LABEL FILE read|write [PAUSE]
	local label=$1 file=$2
	shift 2
	"$app" calls "$file" 200 "$@" 2>> "$dir/log" | sed "s;^;$label|;" >> "$dir/results"
	[ "${PIPESTATUS[0]}" = 0 ] || die "$label"
}
held() { # LABEL FILE read|write
	local label=$1 file=$2
	"$app" hold "$file" "$app" calls "$file" 200 "$3" 2>> "$dir/log" | sed "s;^;$label|;" >> "$dir/results"
	[ "${PIPESTATUS[0]}" = 0 ] || die "$label"
}

near=/mnt/ext4/tree/one/two far=/mnt/ext42/tree/one/two guard=/mnt/ext4/guard
memory=$dir/memory
mkdir -p $near $far $guard/one/two "$memory"
mount -t tmpfs tmpfs "$memory"
mkdir "$memory/guard" "$memory/plain"
for file in $near/file $far/file $guard/one/two/file "$memory/guard/file" "$memory/plain/file"; do
	head -c 8192 /dev/zero > "$file"
done
"$tk" key generate "$dir/key" > "$dir/log" || die "no key"
cat > "$dir/policy.json" << END
{ "version": 1, "keys": { "k": { "provider": "file", "path": "$dir/key" } },
  "process_sets": { "app": { "processes": [ { "path": "$app" } ] } },
  "policies": { "p": { "key": "k", "rules": [
    { "processes": "app", "actions": ["read", "write"], "effects": ["permit", "apply_key"] } ] } },
  "guard_points": [ { "name": "g", "path": "$guard", "policy": "p" }, { "name": "m", "path": "$memory/guard", "policy": "p" } ] }
END

measure "no policy loaded" $near/file write
measure "no policy loaded, tmpfs" "$memory/plain/file" read 20000
held "no policy loaded, open already" $near/file write
"$tk" load "$dir/policy.json" >> "$dir/log" 2>&1 && "$tk" settle --timeout 60 >> "$dir/log" 2>&1 || die "load"
measure "loaded: other filesystem" $far/file write
measure "loaded: same filesystem, unguarded" $near/file write
held "loaded: guarded, open already" $guard/one/two/file write
measure "loaded: guarded, sealed, tmpfs" "$memory/guard/file" read 20000
"$tk" unload >> "$dir/log" 2>&1 || die "unload"
measure "unloaded again" $near/file write

echo
echo "Linux $(uname -r), instructions of a call: the least of 200 (the middle one where it differs by more than 1 %),"
echo "and of those without a policy. open of a guarded file: with all the agent does for it, to its answer."
awk -F'|' '
{ split($2, v, " "); if (!($1 in seen)) { order[++n] = $1; seen[$1] = 1 } least[$1, v[1]] = v[2]; middle[$1, v[1]] = v[3] }
END {
	split("open read write stat close", call, " ")
	printf "\n%-36s", ""
	for (c = 1; c <= 5; c++) printf " %18s", call[c]
	printf "\n"
	for (i = 1; i <= n; i++) {
		o = order[i]
		base = o ~ /tmpfs/ ? "no policy loaded, tmpfs" : o ~ /open already/ ? "no policy loaded, open already" : "no policy loaded"
		printf "%-36s", o
		for (c = 1; c <= 5; c++) {
			x = least[o, call[c]]; y = least[base, call[c]]; m = middle[o, call[c]]
			if (x == "") { printf " %18s", "-"; continue }
			printf " %18s", sprintf("%d%s %.2f", x, m > x * 1.01 ? sprintf(" (%d)", m) : "", x / y)
		}
		printf "\n"
	}
}' "$dir/results"
