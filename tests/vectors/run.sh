#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# tests/vectors/run.sh - every vector through the command: decrypt to a new
# file, decrypt in place, inspect.  Ends with "N passed, N failed".
#
# usage: tests/vectors/run.sh [COMMAND]    (default: build/takakrypt-bpf)
set -u

here=$(cd "$(dirname "$0")" && pwd)
tk=${1:-$here/../../build/takakrypt-bpf}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# What is found without a key.
header_errors=' truncated magic version algorithm key_id_len key_id flags reserved chunk_log2 wrap key_version padding length '

ok() {
	passed=$((passed + 1))
}

not_ok() {
	failed=$((failed + 1))
	echo "FAIL $1"
	sed 's/^/    /' "$work/err"
}

# The command must have failed with exit code 1 and with the word in parentheses on one line.
refused_with() {
	[ "$1" -eq 1 ] && [ "$(wc -l < "$work/err")" -eq 1 ] && grep -q "($2)" "$work/err"
}

sum() {
	sha256sum < "$1" | cut -d' ' -f1
}

# Nothing but the files this script put there: no output, no temporary file.
clean() {
	[ "$(ls -A "$work/dir")" = "$1" ]
}

decrypt_to() {
	local rc

	rm -rf "$work/dir" && mkdir "$work/dir"
	"$tk" decrypt --key-file "$work/key" -o "$work/dir/out" "$here/$file" > "$work/outtext" 2> "$work/err"
	rc=$?
	if [ "$expect" = ok ]; then
		[ $rc -eq 0 ] && [ ! -s "$work/err" ] && clean out && [ "$(sum "$work/dir/out")" = "$sha256" ]
	else
		refused_with $rc "$expect" && clean ''
	fi && [ ! -s "$work/outtext" ]
}

decrypt_in_place() {
	local rc

	rm -rf "$work/dir" && mkdir "$work/dir"
	cp "$here/$file" "$work/dir/file"
	"$tk" decrypt --key-file "$work/key" "$work/dir/file" > "$work/outtext" 2> "$work/err"
	rc=$?
	if [ "$expect" = ok ]; then
		[ $rc -eq 0 ] && [ ! -s "$work/err" ] && [ "$(sum "$work/dir/file")" = "$sha256" ]
	else
		refused_with $rc "$expect" && cmp -s "$here/$file" "$work/dir/file"
	fi && clean file && [ ! -s "$work/outtext" ]
}

inspect() {
	local rc

	"$tk" inspect --json "$here/$file" > "$work/json" 2> "$work/err"
	rc=$?
	if [[ $header_errors == *" $expect "* ]]; then
		refused_with $rc "$expect" && [ "$(jq -r '.[0].error' "$work/json")" = "$expect" ]
	elif [ "$expect" = ok ]; then
		[ $rc -eq 0 ] && [ "$(jq '.[0].original_size' "$work/json")" = "$size" ] &&
			[ "$(jq '.[0].size' "$work/json")" = "$(stat -c %s "$here/$file")" ]
	else
		[ $rc -eq 0 ] && [ "$(jq '.[0] | has("error")' "$work/json")" = false ]
	fi
}

umask 077
while IFS=$'\t' read -r file kek expect size sha256; do
	printf '%s\n' "$kek" > "$work/key"
	for verb in decrypt_to decrypt_in_place inspect; do
		if $verb; then ok; else not_ok "$verb $file (expected $expect)"; fi
	done
done < <(jq -r '.[] | [.file, .kek, .expect, .size // "-", .sha256 // "-"] | @tsv' "$here/manifest.json")

[ $((passed + failed)) -eq $((74 * 3)) ] || failed=$((failed + 1))
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
