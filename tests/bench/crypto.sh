#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# tests/bench/crypto.sh - what encryption costs beside cp, age and openssl in the
# same run on tmpfs: 256 MiB, 10,000 files of 8 KiB, the loop over records, and parts of files.
# Prints ratios and judges nothing: on a shared machine read the column CPU.
#
# usage: tests/bench/crypto.sh [COMMAND]    (default: build/takakrypt-bpf)
#        ROUNDS=5 for the best of five (default 3); age is left out where it is not installed
set -u

cd "$(dirname "$0")/../.." || exit 2
tk=$(realpath "${1:-build/takakrypt-bpf}")
driver=$(realpath build/tests/crypto_bench)
rounds=${ROUNDS:-3}
work=$(mktemp -d -p /dev/shm) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
umask 077

# Elapsed and CPU seconds of COMMAND, the best of all rounds. BEFORE runs untimed.
best() { # BEFORE COMMAND...
	local before=$1 i
	shift
	for ((i = 0; i < rounds; i++)); do
		$before
		{ TIMEFORMAT='%R %U %S'; time "$@" > /dev/null 2> err; } 2>> times || { cat err >&2; exit 1; }
	done
	awk 'NR == 1 || $1 < e { e = $1 } NR == 1 || $2 + $3 < c { c = $2 + $3 } END { print e, c }' times
	rm times
}

# One line of the table; the first after `table` is what the others are compared to.
table() { printf '\n%s\n%-28s %9s %9s %8s %8s\n' "$1" '' 'elapsed s' 'CPU s' '×elapsed' '×CPU'; base=; }
row() { # NAME BEFORE COMMAND...
	local name=$1 result
	shift
	result=$(best "$@") || exit 1
	[ "$2" != each ] || result=$(echo "$result" | awk '{ print $1 * 20, $2 * 20 }')
	base=${base:-$result}
	echo "$result $base" | awk -v n="$name" '{ printf "%-28s %9.3f %9.3f %8.2f %8.2f\n", n, $1, $2, $1 / $3, $4 ? $2 / $4 : 0 }'
}

no_out() { rm -rf out; }
no_back() { rm -rf back; }
fresh_tree() { rm -rf out && cp -r tree out; }
fresh_sealed() { rm -rf out && cp -r sealed out; }
# A process for each file is what these come to; 500 of them say as much as 10,000.
each() { # COMMAND, with IN to be replaced
	local f
	mkdir out
	for f in tree/aa[a-t]?; do "${@//IN/$f}" > "out/${f#tree/}"; done
}

"$tk" key generate key || exit 1
head -c 32 key | od -An -tx1 | tr -d ' \n' > pass
head -c 268435456 /dev/urandom > in
mkdir tree
head -c 81920000 /dev/urandom | split -a 4 -b 8192 - tree/
echo "$(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg), best of $rounds"

table '256 MiB'
row 'cp' no_out cp in out
row 'takakrypt encrypt' no_out "$tk" encrypt --key-file key --key-id k -o out in
row 'takakrypt decrypt' no_back "$tk" decrypt --key-file key -o back out
cmp in back || exit 1
row 'openssl enc -aes-256-ctr' no_out openssl enc -aes-256-ctr -pbkdf2 -iter 1 -pass file:pass -in in -out out
if command -v age > /dev/null; then
	age-keygen -o id 2> /dev/null
	recipient=$(age-keygen -y id)
	row 'age' no_out age -r "$recipient" -o out in
	row 'age -d' no_back age -d -i id -o back out
fi
rm -f in out back

table '10,000 files of 8 KiB'
row 'cp -r' no_out cp -r tree out
row 'takakrypt encrypt' fresh_tree "$tk" encrypt --key-file key --key-id k -r out
mv out sealed
row 'takakrypt decrypt' fresh_sealed "$tk" decrypt --key-file key -r out
diff -r tree out || exit 1
rounds=1
row 'openssl enc, 500 times 20' no_out each openssl enc -aes-256-ctr -pbkdf2 -iter 1 -pass file:pass -in IN
command -v age > /dev/null && row 'age, 500 times 20' no_out each age -r "$recipient" IN

printf '\nThe loop over records, AES-256-GCM, GB/s of CPU time\n%-10s %10s %10s %15s %8s\n' chunk seal open 'openssl speed' ratio
for chunk in 4096 65536 1048576; do
	speed=$(openssl speed -evp aes-256-gcm -bytes $chunk -seconds 1 2> /dev/null | awk 'END { sub("k", "", $2); print $2 * 1000 }')
	"$driver" records $chunk 1 | awk -v c=$chunk -v s="$speed" '{ v[$1] = $2 } END {
		printf "%-10d %10.2f %10.2f %15.2f %8.2f\n", c, v["seal"] / 1e9, v["open"] / 1e9, s / 1e9, v["seal"] / s }'
done
printf '\nOne file of 8 KiB in the library: %s\n' "$("$driver" small 8192 20000 | awk '{ printf "%s %s µs  ", $1, $2 }')"

printf '\nParts of 64 MiB, AES-256-GCM: all of it and its commit, GB/s of CPU time; pieces of 4 KiB, µs\n'
printf '%-10s %10s %10s %15s %15s %15s\n' chunk all commit 'write, random' 'write, in a row' 'read, random'
for chunk in 4096 65536 1048576; do
	"$driver" parts $chunk 2000 | awk -v c=$chunk '{ v[$1] = $2 } END {
		printf "%-10d %10.2f %10.2f %15.1f %15.1f %15.1f\n", c, v["all"] / 1e9, v["commit"] / 1e9, v["write"], v["append"], v["read"] }'
done
