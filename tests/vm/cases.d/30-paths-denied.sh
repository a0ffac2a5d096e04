#!/bin/bash
# Every way to a file by which somebody without a right might get at it, each first as it works
# without a policy and then refused: contents, names, attributes, other paths, mounts, passed
# descriptors, other people's processes, false identities. Then the same for who has the right,
# where the refusal is for everybody: across the edge of the guard point, and its structure.
# disks: ext4 xfs btrfs
# timeout: 600
. tests/vm/cases.d/guarded.sh

TEXT="nobody shall read this line"
fill() { echo "$TEXT" >"$1"; }

# One line an operation: who has no right tries it on $F, in phase $N, before (1) or after (2).
ways() {
	cat <<-END
	open-read $F
	opath-reopen $F
	proc-self-fd $F
	direct-read $F
	aio-read $F
	io-uring-read $F
	io-uring-open $F
	mmap-read $F
	mmap-private $F
	mmap-exec $F
	sendfile $F
	splice $F
	unshare-read $F
	copy-file-range $F $O/taken
	comm-read app $F
	exec $G/program --list
	open-write $F
	open-append $F
	open-truncate $F
	open-rdwr $F
	mmap-write $F
	mprotect-write $F
	truncate $F 5
	ftruncate $F 5
	punch $F 5
	create $G/created$N
	tmpfile $G
	chmod $F 0666
	utimes $F
	setxattr $F user.tk value
	removexattr $F user.tk
	unlink $G/deleted$N
	rename $G/moved$N $G/moved-on$N
	rename-exchange $F $G/exchanged
	link $F $G/linked$N
	symlink file $G/soft$N
	mkdir $G/directory$N
	rmdir $G/removed$N
	mkfifo $G/fifo$N
	list $G
	END
	[ "$fs" = ext4 ] || echo "clone $F $O/cloned"
}
# And what only root can try.
ways_of_root() {
	cat <<-END
	chroot-read $TOP /guarded/file
	open-tree-read $G file
	open-by-handle $F $DISK
	chown $F 1001
	mknod $G/node$N
	END
	[ "$fs" != ext4 ] || echo "move-extents $F $O/donor"
}

# Tries them all; $1 is permitted, or refused with an errno.
try_all() {
	local who=$1 what=$2 words way
	shift 2
	while read -r way; do
		read -r -a words <<<"$way"
		if [ "$what" = permitted ]; then
			[[ $way != *" $F"* ]] || fill "$F"
			# An attribute is taken away only if it is there, blocks are exchanged only on disk.
			[ "${words[0]}" != removexattr ] || "$PROBE" setxattr "$F" user.tk value >/dev/null
			[ "${words[0]}" != move-extents ] || { fill "$O/donor"; sync "$F" "$O/donor"; }
			permitted "$fs before: $who: $way" "$who" "${words[@]}"
		else
			refused "$fs $who: $way" "$what" "$who" "${words[@]}"
		fi
	done < <("$@")
}

use_disk() {
	DISK=$1 fs=${1#/mnt/} TOP=$1/top
	G=$TOP/guarded O=$1/outside F=$G/file
}

prepare
for disk in $DISKS; do
	use_disk "$disk"
	mkdir -p "$G/inside" "$O/bind" "$O/bind2" "$O/tree" "$O/whole"
	chmod 777 "$TOP" "$G" "$G/inside" "$O"
	for n in 1 2; do
		mkdir -m 777 "$G/removed$n"
		for name in deleted moved; do fill "$G/$name$n"; done
	done
	fill "$G/exchanged"
	fill "$O/donor"
	fill "$F"
	chmod 666 "$G"/*[!12] "$O/donor"
	chown $STAFF "$F"
	probe_as "$G/program"
	N=1
	try_all other permitted ways
	try_all root permitted ways_of_root
	fill "$F"
	probe_as "$G/program"
	rm -f "$O/taken" "$O/cloned"
	# A link that leads in, a second name inside, a mount of the directory at another place.
	ln -s "$F" "$O/soft"
	ln "$F" "$G/second"
	mount --bind "$G" "$O/bind"
	# And one of the whole disk, where the guard point is and stays no mount.
	mount --bind "$DISK" "$O/whole"
	mount --make-private "$O/whole"
	permitted "$fs before: rename in" other rename "$O/donor" "$G/donor"
	permitted "$fs before: rename out" other rename "$G/donor" "$O/donor"
	permitted "$fs before: link out" other link "$G/exchanged" "$O/exchanged"
	rm "$O/exchanged"
	permitted "$fs before: mount" root mount-tmpfs "$G/inside"
	permitted "$fs before: bind" root bind "$O/tree" "$G/inside"
	permitted "$fs before: move" root move-mount "$O/tree" "$G/inside"
	umount "$G/inside" "$G/inside" "$G/inside"
	permitted "$fs before: passing" app recvfd "$F" - "$PROBE"
	permitted "$fs before: inheriting" app pass-on "$F" "$PROBE" fd-read 3
done
background "$CASE_DIR/first" "$APP" --uid $STAFF hold "$F"
wait_until "a victim" 10 grep -q ^holding "$CASE_DIR/first"
read -r _ pid fd address < <(grep ^holding "$CASE_DIR/first")
ptraces() {
	echo "process-vm-readv $pid $address"
	echo "proc-mem $pid $address"
	echo "pidfd-getfd $pid $fd"
	echo "ptrace-attach $pid"
}
other_root() { "$PROBE" "$@"; }
try_all other_root permitted ptraces
permitted "before: by /proc/PID/fd" other_root proc-fd "$pid" "$fd"
permitted "before: another's executable" "$PROBE" set-exe "$APP" "$F"
permitted "before: end" root kill "$pid" 9
# Opened while nothing was guarded, read afterwards.
touch "$CASE_DIR/gone"
permitted "before: open, then read" other open-then-read "$F" "$CASE_DIR/gone"
background "$CASE_DIR/earlier" "$PROBE" --uid $STAFF open-then-read "$F" "$CASE_DIR/go"
wait_until "opened before the load" 10 grep -q ^opened "$CASE_DIR/earlier"

# shellcheck disable=SC2086
policy "$POLICY" "$PLAIN_RULE, $RAW_RULE" ${DISKS// //top/guarded }/top/guarded
load
touch "$CASE_DIR/go"
earlier() { wait_until "it has ended" 10 grep -q ^at "$CASE_DIR/earlier" >/dev/null; cat "$CASE_DIR/earlier"; return 10; }
refused "a descriptor from before the load" EACCES earlier
settled

for disk in $DISKS; do
	use_disk "$disk"
	N=2
	try_all other EACCES ways
	try_all root EACCES ways
	try_all root EACCES ways_of_root
	same "$fs nothing was taken" "" "$(grep -l "$TEXT" "$O/taken" "$O/cloned" 2>/dev/null)"
	for path in "$O/soft" "$G/second" "$O/bind/file" "$G/../guarded/file" "/proc/self/root$F"; do
		refused "$fs other: by ${path#"$DISK"/}" EACCES other open-read "$path"
		refused "$fs stranger: by ${path#"$DISK"/}" EACCES stranger open-read "$path"
	done
	check "$fs mounted elsewhere after the load" mount --bind "$G" "$O/bind2"
	refused "$fs other: by that mount" EACCES other open-read "$O/bind2/file"
	refused "$fs root: by that mount" EACCES root create "$O/bind2/created"

	# Across the edge, also for who may do everything inside.
	refused "$fs the kernel does not move between mounts" EXDEV other rename "$O/donor" "$G/donor"
	W=$O/whole/top/guarded OUT=$O/whole/outside
	refused "$fs a stranger moves in" EACCES other rename "$OUT/donor" "$W/donor"
	refused "$fs a stranger moves out" EACCES other rename "$W/exchanged" "$OUT/exchanged"
	refused "$fs a stranger exchanges" EACCES other rename-exchange "$W/exchanged" "$OUT/donor"
	refused "$fs a stranger links out" EACCES other link "$W/exchanged" "$OUT/exchanged"
	refused "$fs a stranger reads there" EACCES other open-read "$W/file"
	refused "$fs the app moves out" EXDEV app rename "$W/exchanged" "$OUT/exchanged"
	refused "$fs the app exchanges across the edge" EXDEV app rename-exchange "$W/exchanged" "$OUT/donor"
	refused "$fs the app links out" EXDEV app link "$W/exchanged" "$OUT/exchanged"
	refused "$fs the app links in" EXDEV app link "$OUT/donor" "$W/donor"

	# The guard point keeps its place and its contents in view.
	refused "$fs renaming the guard point" EBUSY root rename "$G" "$TOP/elsewhere"
	refused "$fs by the app" EBUSY app rename "$G" "$TOP/elsewhere"
	refused "$fs renaming what is above" EBUSY root rename "$TOP" "$DISK/elsewhere"
	refused "$fs exchanging it" EBUSY root rename-exchange "$G" "$O/tree"
	refused "$fs removing it" EBUSY root rmdir "$G"
	refused "$fs mounting inside" EBUSY root mount-tmpfs "$G/inside"
	refused "$fs mounting over it" EBUSY root mount-tmpfs "$G"
	refused "$fs binding inside" EBUSY root bind "$O/tree" "$G/inside"
	refused "$fs moving a mount inside" EBUSY root move-mount "$O/tree" "$G/inside"

	# Descriptors of who may, in the hands of who may not.
	reads "$fs the app hands it to itself" "$TEXT" app recvfd "$F" - "$APP"
	refused "$fs passed to another program" MSG_CTRUNC app recvfd "$F" - "$PROBE"
	refused "$fs inherited by another program" EACCES app pass-on "$F" "$PROBE" fd-read 3
	reads "$fs through another program back to the app" "$TEXT" app pass-on "$F" /usr/bin/env "$APP" fd-read 3
done

# Other people's processes: as root, with a victim of the app.
background "$CASE_DIR/victim" "$APP" --uid $STAFF hold "$F"
wait_until "a victim" 10 grep -q ^holding "$CASE_DIR/victim"
read -r _ pid fd address < <(grep ^holding "$CASE_DIR/victim")
for way in process-vm-readv ptrace-attach proc-mem; do
	errno=EPERM
	[ $way != proc-mem ] || errno=EACCES # open(2) says it that way
	words=("$way" "$pid" "$address")
	[ $way != ptrace-attach ] || unset "words[2]"
	permitted "the app by $way" root "${words[@]}"
	refused "another program by $way" $errno other_root "${words[@]}"
done
refused "another program by pidfd-getfd" EPERM other_root pidfd-getfd "$pid" "$fd"
refused "the app as somebody who may not, by pidfd-getfd" EACCES root pidfd-getfd "$pid" "$fd"
refused "another program by /proc/PID/fd" EACCES other_root proc-fd "$pid" "$fd"

# False identities.
renamed() ( exec -a "$APP" "$PROBE" --uid $STAFF "$@" )
refused "under a false argv[0]" EACCES renamed open-read "$F"
refused "under a false name" EACCES other comm-read app "$F"
probe_as "$CASE_DIR/elsewhere/app"
refused "a copy of the program" EACCES "$CASE_DIR/elsewhere/app" --uid $STAFF open-read "$F"
refused "another's executable" EPERM "$PROBE" set-exe "$APP" "$F"
