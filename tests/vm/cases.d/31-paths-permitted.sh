#!/bin/bash
# Every way to a file again, for who has the right: each works, with the data that belongs
# there, and leaves ciphertext behind.
# disks: ext4 xfs btrfs
# timeout: 600
. tests/vm/cases.d/guarded.sh

TEXT="the text of the document"
# Root is staff here, too: some ways need its capabilities.
USER_SETS='"staff": { "users": ["1001", "root"] }'
PROCESS_SETS=$PROCESS_SETS', "dynamic": { "processes": [ { "path": "/usr/bin/cat" } ] }'
CAT_RULE='{ "users": "staff", "processes": "dynamic", "actions": ["read"], "effects": ["permit", "apply_key"] }'
prepare
# shellcheck disable=SC2086
policy "$POLICY" "$PLAIN_RULE, $RAW_RULE, $CAT_RULE" ${DISKS// //guarded }/guarded

for disk in $DISKS; do
	fs=${disk#/mnt/} G=$disk/guarded O=$disk/outside F=$G/file
	mkdir "$O/bind" "$O/bind2" "$O/whole"
	head -c 1000000 /dev/urandom >"$O/large"
	echo "$TEXT" >"$G/link1"
	ln "$G/link1" "$G/link2"
	chmod 666 "$G"/* "$O/large"
	mount --bind "$G" "$O/bind"
	# The whole disk, where the guard point is and stays no mount.
	mount --bind "$disk" "$O/whole"
	mount --make-private "$O/whole"
	ln -s "$F" "$O/soft"
	permitted "$fs before: move in" root rename "$O/whole/outside/large" "$O/whole/guarded/large"
	permitted "$fs before: move out" root rename "$O/whole/guarded/large" "$O/whole/outside/large"
	permitted "$fs before: truncate" app truncate "$G/link1" 25
	permitted "$fs before: by handle" root open-by-handle "$G/link1" "$disk"
	permitted "$fs before: by handle, cold" root open-by-handle-cold "$G/link1" "$disk"
done
reads "before: cat" "$TEXT" cat "$G/link1"
load
settled

for disk in $DISKS; do
	fs=${disk#/mnt/} G=$disk/guarded O=$disk/outside F=$G/file
	permitted "$fs create" app create "$F" "$TEXT"
	sealed "$fs created" "$F"
	permitted "$fs raw copy" backup copy-file-range "$F" "$O/raw1"
	for way in open-read opath-reopen proc-self-fd direct-read aio-read io-uring-read io-uring-open mmap-read \
		mmap-private sendfile splice; do
		reads "$fs $way" "$TEXT" app $way "$F"
	done
	reads "$fs in a namespace of its own" "$TEXT" app unshare-read "$F"
	# Its mounts get the ids of those that have just gone.
	reads "$fs in the next namespace" "$TEXT" unshare -m "$APP" --uid $STAFF open-read "$F"
	reads "$fs as another name" "$TEXT" app comm-read something "$F"
	reads "$fs by a symbolic link" "$TEXT" app open-read "$O/soft"
	reads "$fs by a mount from before the load" "$TEXT" app open-read "$O/bind/file"
	mount --bind "$G" "$O/bind2"
	reads "$fs by a mount from after the load" "$TEXT" app open-read "$O/bind2/file"
	reads "$fs by a chroot" "$TEXT" root chroot-read "$G" /file
	reads "$fs by handle" "$TEXT" root open-by-handle "$F" "$G"
	refused "$fs by handle on a mount that shows more" ENOKEY root open-by-handle "$F" "$disk"
	settled "$fs the agent holds no name of it"
	refused "$fs by handle without a name" EACCES root open-by-handle-cold "$F" "$G"
	reads "$fs copied out" "$TEXT" app copy-file-range "$F" "$O/copied"
	same "$fs as plaintext" "$TEXT" "$(cat "$O/copied")"
	reads "$fs copied within" "$TEXT" app copy-file-range "$F" "$G/copied"
	sealed "$fs copy" "$G/copied"
	if [ "$fs" != ext4 ]; then
		reads "$fs cloned within" "$TEXT" app clone "$F" "$G/cloned"
		sealed "$fs clone" "$G/cloned"
		reads "$fs the clone" "$TEXT" app open-read "$G/cloned"
	fi
	# So much reading has changed nothing.
	settled "$fs all is sealed again"
	permitted "$fs raw copy again" backup copy-file-range "$F" "$O/raw2"
	check "$fs the ciphertext is the same" cmp "$O/raw1" "$O/raw2"

	for way in open-write open-rdwr mmap-write mprotect-write; do
		permitted "$fs $way" app $way "$F" "$way!"
		reads "$fs $way: the data" "$way!" app open-read "$F"
		sealed "$fs $way" "$F"
	done
	permitted "$fs open-truncate" app open-truncate "$F" "all new"
	reads "$fs open-truncate: the data" "data all new" app open-read "$F"
	sealed "$fs open-truncate" "$F"
	permitted "$fs open-append" app open-append "$F" ", and more"
	reads "$fs open-append: the data" "data all new, and more" app open-read "$F"
	sealed "$fs open-append" "$F"
	permitted "$fs ftruncate" app ftruncate "$F" 12
	reads "$fs ftruncate: the data" "data all new, and" app open-read "$F"
	sealed "$fs ftruncate" "$F"
	refused "$fs truncate of a sealed file" EBUSY app truncate "$F" 7
	permitted "$fs truncate, tried again" app --repeat-until-ok 10000 truncate "$F" 7
	reads "$fs truncate: the data" "data all new" app open-read "$F"
	sealed "$fs truncate" "$F"
	permitted "$fs truncate to a greater size" app --repeat-until-ok 10000 truncate "$F" 9
	reads "$fs truncate: zeros behind" 'data all new\x00\x00' app open-read "$F"
	# An empty file is sealed as it is: no plaintext is needed to cut to nothing, and nobody has to come again,
	# unless a record in the journal says otherwise (41-kept).
	permitted "$fs another copy" app copy-file-range "$F" "$G/cut"
	sealed "$fs another copy" "$G/cut"
	settled "$fs another copy is not kept any more"
	refused "$fs a stranger truncates to nothing" EACCES stranger truncate "$G/cut" 0
	permitted "$fs truncate to nothing at once" app truncate "$G/cut" 0
	same "$fs nothing is left" 0 "$(stat -c %s "$G/cut")"
	permitted "$fs written after the cut" app open-append "$G/cut" "grown again"
	reads "$fs written after the cut: the data" "data grown again" app open-read "$G/cut"
	sealed "$fs written after the cut" "$G/cut"
	permitted "$fs punch" app punch "$F" 3
	reads "$fs punch: the data" 'data \x00\x00\x00 new' app open-read "$F"
	sealed "$fs punch" "$F"
	permitted "$fs tmpfile" app tmpfile "$G"

	# Sixteen records.
	permitted "$fs a large file in" app copy-file-range "$O/large" "$G/large"
	sealed "$fs large" "$G/large"
	permitted "$fs and out" app copy-file-range "$G/large" "$O/large2"
	check "$fs it is the same" cmp "$O/large" "$O/large2"

	# Names and attributes.
	reads "$fs one of two names" "$TEXT" app open-read "$G/link1"
	permitted "$fs written by one" app open-write "$G/link1" "THE"
	reads "$fs read by the other" "THE text of" app open-read "$G/link2"
	sealed "$fs by the other" "$G/link2"
	permitted "$fs a third name" app link "$G/link1" "$G/link3"
	reads "$fs the third name" "THE text of" app open-read "$G/link3"
	permitted "$fs rename" app rename "$F" "$G/renamed"
	permitted "$fs rename over" app rename "$G/renamed" "$G/copied"
	reads "$fs renamed" 'data \x00\x00\x00 new' app open-read "$G/copied"
	permitted "$fs rename-exchange" app rename-exchange "$G/copied" "$G/link1"
	reads "$fs exchanged" 'data \x00\x00\x00 new' app open-read "$G/link1"
	permitted "$fs mkdir" app mkdir "$G/dir"
	permitted "$fs create in it" app create "$G/dir/file" "$TEXT"
	permitted "$fs rename of the directory" app rename "$G/dir" "$G/dir2"
	reads "$fs in it" "$TEXT" app open-read "$G/dir2/file"
	sealed "$fs in it" "$G/dir2/file"
	permitted "$fs chmod" app chmod "$G/dir2/file" 0600
	permitted "$fs setxattr" app setxattr "$G/dir2/file" user.tk value
	reads "$fs getxattr" value app getxattr "$G/dir2/file" user.tk
	permitted "$fs unlink" app unlink "$G/dir2/file"
	permitted "$fs rmdir" app rmdir "$G/dir2"
	permitted "$fs symlink" app symlink link2 "$G/soft"
	reads "$fs by it" "THE text of" app open-read "$G/soft"
	refused "$fs nothing is moved in" EXDEV app rename "$O/whole/outside/copied" "$O/whole/guarded/came"
	permitted "$fs it is copied in" app copy-file-range "$O/copied" "$G/came"
	sealed "$fs what came in" "$G/came"
	reads "$fs what came in" "$TEXT" app open-read "$G/came"
done

# A program with libraries, and the same by hand through the loader of libraries.
reads "cat" "THE text of" cat "$G/link2"
ends_with "cat through ld.so" 1 /lib64/ld-linux-x86-64.so.2 /usr/bin/cat "$G/link2"
same "is refused" 1 "$(grep -c "Permission denied" <<<"$OUTPUT")"
settled
same "no record is left" 0 "$(status .files.records)"
same "nothing failed" 0 "$(status .failure_count)"
