#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# tests/bench/files.sh - what files cost: created and sealed, opened, read and closed, opened again, beside the plain
# directory, fscrypt, gocryptfs, securefs and encfs, all on one loop-mounted ext4; and fio on an open file of 1 GiB.
# Then, in the VM (files-vm.sh), what the kernel programs add to each call. Prints ratios and judges nothing.
#
# usage: tests/bench/files.sh [native|vm]      default both; native needs root and loop devices
#        COUNT=1000 SIZE=8192 OPENERS="1 8" ROUNDS=3 FIO_SECONDS=3 FIO_SIZE=1G (0: no fio) TK_BENCH_DIR=/tmp
#        ONLY="plain takakrypt" for some of them; TK_BENCH_DIR=/dev/shm has a disk that flushes at once
set -u

cd "$(dirname "$0")/../.." || exit 2
count=${COUNT:-1000} size=${SIZE:-8192} rounds=${ROUNDS:-3} fio_size=${FIO_SIZE:-1G} fio_seconds=${FIO_SECONDS:-3}
bench=$PWD/build/tests/files_work agent=$PWD/build/tests/files_agent
all="plain takakrypt fscrypt gocryptfs securefs encfs"
[ "${1:-}" != vm ] || exec tests/bench/files-vm.sh
[ "$(id -u)" = 0 ] || { echo "files.sh: root is needed for loop devices" >&2; exit 2; }

work=$(mktemp -d -p "${TK_BENCH_DIR:-/tmp}" tk-bench-files.XXXXXX) || exit 1
mnt=$work/mnt pid=''
die() { echo "files.sh: $*" >&2; [ ! -s "$work/log" ] || tail -n 5 "$work/log" >&2; exit 1; }
leave() {
	[ -z "$pid" ] || { kill "$pid" && wait "$pid"; } 2>/dev/null
	mountpoint -q "$work/view" && fusermount3 -u "$work/view"
	umount "$mnt/guard" "$work/below" "$mnt" 2>/dev/null
	mountpoint -q "$mnt" || rm -rf --one-file-system "$work"
}
trap leave EXIT
trap 'exit 130' INT TERM

mkdir "$mnt" "$work/view" "$work/below"
truncate -s 8G "$work/image"
mkfs.ext4 -q -O encrypt "$work/image" || die "mkfs.ext4 failed"
mount -o loop "$work/image" "$mnt" || die "cannot loop-mount $work/image"
mkdir "$mnt"/{plain,guard,fscrypt,gocryptfs,securefs,encfs}
# The guard point past the mount that the agent makes of it: to see ciphertext.
mount --bind "$mnt" "$work/below" || die "cannot bind-mount"
echo bench > "$work/pass"
export TK_BENCH_MOUNT=$mnt

# up_NAME makes it usable, as $dir, by the process $pid if there is one; down ends that.
until_true() { # COMMAND...
	local i
	for ((i = 0; i < 1500; i++)); do
		"$@" && return
		[ -z "$pid" ] || kill -0 "$pid" 2>/dev/null || die "$name ended"
		sleep 0.02
	done
	die "$name does not come up"
}
up_plain() { dir=$mnt/plain; }
up_fscrypt() {
	dir=$mnt/fscrypt
	[ -e "$work/fscrypt" ] || "$bench" fscrypt "$dir" > "$work/fscrypt" || die "no fscrypt here"
}
fuse() { # COMMAND...
	dir=$work/view
	"$@" >> "$work/log" 2>&1 &
	pid=$!
	until_true mountpoint -q "$dir"
}
up_gocryptfs() {
	[ -e "$mnt/gocryptfs/gocryptfs.conf" ] || gocryptfs -init -q -scryptn 10 -passfile "$work/pass" "$mnt/gocryptfs" || die "gocryptfs -init"
	fuse gocryptfs -fg -q -passfile "$work/pass" "$mnt/gocryptfs" "$work/view"
}
up_securefs() {
	[ -e "$mnt/securefs/.securefs.json" ] || securefs create --pass bench "$mnt/securefs" >> "$work/log" 2>&1 || die "securefs create"
	fuse securefs mount --pass bench "$mnt/securefs" "$work/view"
}
up_encfs() { fuse encfs -f --standard "--extpass=cat $work/pass" "$mnt/encfs" "$work/view"; }
up_takakrypt() {
	dir=$mnt/guard
	export TK_BENCH_STATE=$work/state TK_BENCH_CLOSED=$work/closed TK_BENCH_GUARD=$dir TK_BENCH_BELOW=$work/below/guard
	"$bench" state "$work/state" || die "no shared memory"
	[ -e "$work/closed" ] || mkfifo "$work/closed"
	: > "$work/ready"
	"$agent" "$work/policy.json" "$work/control" 3 3> "$work/ready" 2>> "$work/log" &
	pid=$!
	until_true test -s "$work/ready"
	grep -q '^ready' "$work/ready" || die "$(cat "$work/ready")"
}
down() {
	mountpoint -q "$work/view" && fusermount3 -u "$work/view"
	[ "$name" != takakrypt ] || kill "$pid"
	[ -z "$pid" ] || wait "$pid" || [ "$name" != takakrypt ] || die "the agent did not end in order"
	umount "$mnt/guard" 2>/dev/null
	unset TK_BENCH_STATE TK_BENCH_CLOSED
	pid=''
}

echo 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f > "$work/key"
chmod 600 "$work/key"
cat > "$work/policy.json" << END
{ "version": 1, "keys": { "k": { "provider": "file", "path": "$work/key" } },
  "policies": { "p": { "key": "k", "rules": [ { "actions": ["all_ops"], "effects": ["permit", "apply_key"] } ] } },
  "guard_points": [ { "name": "g", "path": "$mnt/guard", "policy": "p" } ] }
END

cat << END
$(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg), Linux $(uname -r), ext4 in a file on $(stat -f -c %T "$work").
takakrypt is the agent alone: fanotify, journal, cipher, flushes. The kernel programs' part comes from threads that say what
they open. Elapsed: the best of $rounds rounds each; CPU: of openers and daemons, the least; flushes: requests to the disk.
"at rest": takakrypt has sealed all files, durably; the others were flushed by syncfs. On a shared machine read CPU and
flushes; work of the kernel's own threads is in neither column.
END
for openers in ${OPENERS:-1 8}; do
	for name in ${ONLY:-$all}; do
		"up_$name"
		# shellcheck disable=SC2086
		"$bench" files "$dir" "$count" "$size" "$openers" "$rounds" $pid > "$work/out" || die "$name failed"
		down
		sed "s/^/$name $openers /" "$work/out" >> "$work/results"
	done
done

table() { # PHASE OPENERS TITLE
	awk -v phase="$1" -v openers="$2" -v title="$3" '
	$3 == phase && ($2 == openers || openers == "") {
		per = $6 / $5; cpu = $7 / $5
		if (!($1 in elapsed)) { order[++n] = $1; elapsed[$1] = per; used[$1] = cpu; flushes[$1] = $8 / $5 }
		if (per < elapsed[$1]) elapsed[$1] = per
		if (cpu < used[$1]) used[$1] = cpu
		if ($8 / $5 < flushes[$1]) flushes[$1] = $8 / $5
	}
	END {
		if (!n) exit
		for (i = 1; i <= n; i++) if (order[i] != "plain" && order[i] != "takakrypt" && (!best || elapsed[order[i]] < best)) best = elapsed[order[i]]
		printf "\n%-40s %10s %9s %9s %9s %8s\n", title, "files/s", "CPU us", "flushes", "of plain", "of best"
		for (i = 1; i <= n; i++) { o = order[i]
			printf "  %-38s %10.0f %9.1f %9.3f %9s %8s\n", o, 1e9 / elapsed[o], used[o] / 1e3, flushes[o],
				("plain" in elapsed) ? sprintf("%.3f", elapsed["plain"] / elapsed[o]) : "-",
				best ? sprintf("%.3f", best / elapsed[o]) : "-" }
	}' "$work/results"
}
for openers in ${OPENERS:-1 8}; do
	who="$openers openers"
	[ "$openers" != 1 ] || who="1 opener"
	table create "$openers" "$count created, $who"
	table create-rest "$openers" "the same, until at rest"
	table read "$openers" "sealed: open, read, close, $who"
	table read-rest "$openers" "the same, until at rest again"
done
table reopen '' "an open file: open, read, close"
[ "$fio_size" != 0 ] || exit 0

# ONLY both of them, or there is nothing to compare.
printf '\n%-40s %10s %10s %9s %10s\n' "fio on an open file of $fio_size, cached" "plain MB/s" "takakrypt" "of plain" "CPU per MB"
# The file is made, sealed and opened again: it lies on the disk as the agent has written it.
fio_all() {
	local mode
	for mode in "randread 4k" "randwrite 4k" "read 1M" "write 1M"; do
		fio --name=x --filename="$file" --size="$fio_size" --rw="${mode% *}" --bs="${mode#* }" --ioengine=psync --time_based \
			--runtime="$fio_seconds" --overwrite=1 --allow_file_create=0 --invalidate=0 --output-format=json |
			jq -r --arg mode "$mode" '.jobs[0] | ((.read.bw_bytes + .write.bw_bytes) / 1e6) as $rate |
				"\($mode) \($rate) \((.usr_cpu + .sys_cpu) / $rate)"'
	done
}
export -f fio_all
export fio_size fio_seconds file
blocks=$(($(numfmt --from=iec "$fio_size") >> 20))
for ((round = 0; round < 3; round++)); do
	for name in plain takakrypt; do
		"up_$name"
		file=$dir/big
		[ $round != 0 ] || "$bench" hold "$file" dd if=/dev/zero of="$file" bs=1M count=$blocks conv=notrunc status=none || die "$name: no big file"
		"$bench" hold "$file" bash -c 'cat "$file" > /dev/null; fio_all' | sed "s/^/$name /" >> "$work/fio" || die "fio failed"
		down
	done
done
awk '{ k = $2 " " $3; if (!(k in seen)) { order[++n] = k; seen[k] = 1 }
		if ($4 > rate[$1 k]) rate[$1 k] = $4
		if (!cpu[$1 k] || $5 < cpu[$1 k]) cpu[$1 k] = $5 }
	END { for (i = 1; i <= n; i++) { k = order[i]; printf "  %-38s %10.0f %10.0f %9.3f %10.3f\n", k, rate["plain" k], rate["takakrypt" k],
		rate["takakrypt" k] / rate["plain" k], cpu["takakrypt" k] / cpu["plain" k] } }' "$work/fio"
