# The harness itself: does the VM have what cases rely on, and does a denial count as one?
# disks: ext4 xfs btrfs
# timeout: 600

check "BPF security programs are active" grep -qw bpf /sys/kernel/security/lsm
check "BPF file system" test -d /sys/fs/bpf
check "kernel types" test -r /sys/kernel/btf/vmlinux
check "loopback" test "$(cat /sys/class/net/lo/operstate)" != down
check "this is the repository" test -x tests/vm/run
same "the disks" "/mnt/btrfs /mnt/ext4 /mnt/xfs" "$DISKS"

# Every operation works where nothing forbids it, so that "permitted" and "refused" mean something.
for disk in $DISKS; do
	fs=$(basename "$disk")
	d=$disk/work
	mkdir "$d"
	text="plain text of a test"
	chmod 755 "$d"
	content() { OUTPUT=; read -r OUTPUT <"$1"; [[ $OUTPUT == *"$2"* ]]; }
	for operation in open-read opath-reopen proc-self-fd direct-read aio-read io-uring-read \
		io-uring-open mmap-read sendfile splice unshare-read; do
		echo "$text" >"$d/file"
		reads "$fs $operation" "$text" "$PROBE" $operation "$d/file"
	done
	for operation in open-write open-append open-truncate open-rdwr mmap-write mprotect-write; do
		echo "$text" >"$d/file"
		permitted "$fs $operation" "$PROBE" $operation "$d/file" "$operation!"
		[ $operation = open-append ] || check "$fs $operation wrote" content "$d/file" "$operation!"
	done
	echo "$text" >"$d/file"
	permitted "$fs mmap-exec" "$PROBE" mmap-exec "$d/file"
	reads "$fs copy-file-range" "$text" "$PROBE" copy-file-range "$d/file" "$d/copy"
	if [ "$fs" != ext4 ]; then reads "$fs clone" "$text" "$PROBE" clone "$d/file" "$d/clone"; fi
	if [ "$fs" = ext4 ]; then
		echo donor >"$d/donor"
		sync "$d/donor" "$d/file"
		permitted "$fs move-extents" "$PROBE" move-extents "$d/file" "$d/donor"
	fi
	echo "$text" >"$d/file"
	reads "$fs open-by-handle" "$text" "$PROBE" open-by-handle "$d/file" "$disk"
	reads "$fs open-by-handle-cold" "$text" "$PROBE" open-by-handle-cold "$d/file" "$disk"
	reads "$fs open-tree-read" "$text" "$PROBE" open-tree-read "$d" file
	reads "$fs recvfd" "$text" "$PROBE" recvfd "$d/file" 65534 "$PROBE"
	reads "$fs pass-on" "$text" "$PROBE" pass-on "$d/file" "$PROBE" fd-read 3
	permitted "$fs truncate" "$PROBE" truncate "$d/file" 5
	permitted "$fs ftruncate" "$PROBE" ftruncate "$d/file" 3
	permitted "$fs punch" "$PROBE" punch "$d/file" 2
	permitted "$fs create" "$PROBE" create "$d/created"
	permitted "$fs tmpfile" "$PROBE" tmpfile "$d"
	permitted "$fs link" "$PROBE" link "$d/created" "$d/linked"
	permitted "$fs symlink" "$PROBE" symlink created "$d/soft"
	reads "$fs readlink" created "$PROBE" readlink "$d/soft"
	permitted "$fs rename" "$PROBE" rename "$d/linked" "$d/renamed"
	permitted "$fs rename-exchange" "$PROBE" rename-exchange "$d/renamed" "$d/file"
	permitted "$fs unlink" "$PROBE" unlink "$d/renamed"
	permitted "$fs mkdir" "$PROBE" mkdir "$d/dir"
	permitted "$fs rmdir" "$PROBE" rmdir "$d/dir"
	permitted "$fs mknod" "$PROBE" mknod "$d/node"
	permitted "$fs mkfifo" "$PROBE" mkfifo "$d/fifo"
	permitted "$fs chmod" "$PROBE" chmod "$d/created" 0600
	permitted "$fs chown" "$PROBE" chown "$d/created" 1000
	permitted "$fs utimes" "$PROBE" utimes "$d/created"
	permitted "$fs setxattr" "$PROBE" setxattr "$d/created" user.tk value
	reads "$fs getxattr" value "$PROBE" getxattr "$d/created" user.tk
	permitted "$fs removexattr" "$PROBE" removexattr "$d/created" user.tk
	permitted "$fs setflags" "$PROBE" setflags "$d/created" 0x80
	reads "$fs list" created "$PROBE" list "$d"
	reads "$fs stat" uid=1000 "$PROBE" stat "$d/created"
	probe_as "$d/other"
	permitted "$fs exec" "$PROBE" exec "$d/other" --list
done

# Other processes.
echo "$text" >"$CASE_DIR/file"
background "$CASE_DIR/held" "$PROBE" hold "$CASE_DIR/file"
wait_until "the victim holds the file" 10 grep -q ^holding "$CASE_DIR/held"
read -r _ pid fd address < <(grep ^holding "$CASE_DIR/held")
reads "process-vm-readv" "$text" "$PROBE" process-vm-readv "$pid" "$address"
reads "proc-mem" "$text" "$PROBE" proc-mem "$pid" "$address"
reads "proc-fd" "$text" "$PROBE" proc-fd "$pid" "$fd"
reads "pidfd-getfd" "$text" "$PROBE" pidfd-getfd "$pid" "$fd"
permitted "ptrace-attach" "$PROBE" ptrace-attach "$pid"
refused "ptrace-attach as nobody" EPERM "$PROBE" --uid 65534 ptrace-attach "$pid"
mkdir "$CASE_DIR/from" "$CASE_DIR/to"
permitted "bind" "$PROBE" bind "$CASE_DIR/from" "$CASE_DIR/to"
permitted "umount" "$PROBE" umount "$CASE_DIR/to"
permitted "mount-tmpfs" "$PROBE" mount-tmpfs "$CASE_DIR/to"
permitted "umount" "$PROBE" umount "$CASE_DIR/to"
permitted "move-mount" "$PROBE" move-mount "$CASE_DIR/from" "$CASE_DIR/to"
permitted "umount" "$PROBE" umount "$CASE_DIR/to"
permitted "kill" "$PROBE" kill "$pid" 9

# Denials by file mode, which no product is needed for, and what must not count as one.
chmod 600 "$CASE_DIR/file"
chmod 755 "$CASE_DIR"
refused "open-read as nobody" EACCES "$PROBE" --uid 65534 open-read "$CASE_DIR/file"
ends_with "a wrong operation is no denial" 12 "$PROBE" open-sideways "$CASE_DIR/file"
ends_with "a missing argument is no denial" 12 "$PROBE" open-read
ends_with "a refusal is told by its status" 10 "$PROBE" open-read "$CASE_DIR/absent"
must_fail() (
	CASE_DIR=$(mktemp -d)
	"$@" >/dev/null
	! grep -q '^ok' "$CASE_DIR/.statements"
)
check "a refusal without a permission before does not count" \
	must_fail refused x EACCES "$PROBE" --uid 65534 open-read "$CASE_DIR/file"
check "another errno does not count" must_fail refused x EPERM "$PROBE" open-read "$CASE_DIR/absent"
check "a command that is no probe does not count" must_fail refused x EACCES false

# Things that come later.
background "$CASE_DIR/later" "$PROBE" --repeat-until-ok 10000 open-read "$CASE_DIR/soon"
echo "$text" >"$CASE_DIR/.soon" && mv "$CASE_DIR/.soon" "$CASE_DIR/soon"
wait_until "it appeared" 10 grep -qx ok "$CASE_DIR/later"
