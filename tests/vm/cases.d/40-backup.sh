#!/bin/bash
# The raw view: a backup program gets the same ciphertext before and after others have read a
# file, never plaintext, however it comes in between; and what it saved it can bring back.
# disks: ext4 xfs btrfs
# timeout: 600
. tests/vm/cases.d/guarded.sh

TEXT="plaintext that no backup may see"
prepare
for disk in $DISKS; do
	G=$disk/guarded O=$disk/outside
	# Plaintext from before the policy: more than is sealed at once.
	for n in 1 2 3 4 5 6 7 8; do
		head -c 300000 /dev/urandom >"$G/found$n"
		echo "$TEXT" >"$G/note$n"
	done
	head -c 1000000 /dev/urandom >"$O/large"
	chmod 666 "$G"/* "$O/large"
	permitted "before: open" backup open-read "$G/note1"
	permitted "before: map" backup mmap-read "$G/note1"
	permitted "before: write" backup open-write "$G/note1" plain
	permitted "before: kill" root kill $BASHPID 0
done
for who in "$BACKUP" "$PROBE"; do
	background "$CASE_DIR/early-${who##*/}" "$who" open-then-read "$G/note8" "$CASE_DIR/early"
	wait_until "${who##*/} has one open before the load" 20 grep -q ^opened "$CASE_DIR/early-${who##*/}"
done
load

# What was found lying about is sealed before the raw view sees it, at whatever instant it looks.
for disk in $DISKS; do
	for n in 4 3 2 1; do sealed "${disk#/mnt/} found $n" "$disk/guarded/note$n"; done
done
# Only what was open before stays plaintext, and is refused to who had it open without a right to that.
reads "the app reads it meanwhile" "$TEXT" app open-read "$G/note8"
background "$CASE_DIR/app" "$APP" --uid $STAFF hold "$G/note8"
wait_until "the app has it open, too" 20 grep -q ^holding "$CASE_DIR/app"
touch "$CASE_DIR/early" "$CASE_DIR/gone"
permitted "open, then read, works" backup open-then-read "$BACKUP" "$CASE_DIR/gone"
early() { wait_until "$1 ends" 20 grep -q ^at "$CASE_DIR/early-$1" >/dev/null; cat "$CASE_DIR/early-$1"; return 10; }
refused "a raw descriptor from before the load" EBUSY early backup
refused "a stranger's descriptor from before the load" EACCES early probe
kill_holder() { permitted "the holder ends" root kill "$(sed -n 's/^holding \([0-9]*\).*/\1/p' "$1")" 9; }
kill_holder "$CASE_DIR/app"
settled

for disk in $DISKS; do
	fs=${disk#/mnt/} G=$disk/guarded O=$disk/outside F=$G/file
	permitted "$fs write" app create "$F" "$TEXT"
	permitted "$fs write much" app copy-file-range "$O/large" "$G/large"
	settled "$fs sealed"
	for name in file large; do permitted "$fs save $name" backup copy-file-range "$G/$name" "$O/$name.1"; done
	check "$fs what was saved is a whole file" "$TK" inspect "$O/file.1" "$O/large.1"
	for way in open-read mmap-read sendfile splice direct-read io-uring-read; do
		reads "$fs raw by $way" "data TAKA" backup $way "$F"
	done
	attributes() { stat -c '%a %u %g %i %h %s %y' "$F"; }
	stats=$(attributes)
	reads "$fs read by the app" "$TEXT" app open-read "$F"
	reads "$fs mapped by the app" "$TEXT" app mmap-read "$F"
	permitted "$fs the large one, too" app copy-file-range "$G/large" "$O/large.plain"
	settled "$fs sealed again"
	same "$fs mode, owner, inode, links, size and mtime" "$stats" "$(attributes)"
	for name in file large; do
		permitted "$fs save $name again" backup copy-file-range "$G/$name" "$O/$name.2"
		check "$fs $name has not changed" cmp "$O/$name.1" "$O/$name.2"
	done

	# While it is open as plaintext.
	background "$CASE_DIR/app" "$APP" --uid $STAFF hold "$F"
	wait_until "$fs the app has it open" 20 grep -q ^holding "$CASE_DIR/app"
	refused "$fs open" EBUSY backup open-read "$F"
	refused "$fs map" EBUSY backup mmap-read "$F"
	refused "$fs write" EBUSY backup open-write "$F" "raw"
	reads "$fs other files are not concerned" "data TAKA" backup open-read "$G/large"
	kill_holder "$CASE_DIR/app"
	sealed "$fs after its end" "$F"
	background "$CASE_DIR/app" "$APP" --uid $STAFF map-hold "$F"
	wait_until "$fs the app has it mapped" 20 grep -q ^holding "$CASE_DIR/app"
	refused "$fs open while it is mapped" EBUSY backup open-read "$F"
	kill_holder "$CASE_DIR/app"
	sealed "$fs after its end" "$F"

	# Saved, lost, brought back; in place and by a new name.
	permitted "$fs the app spoils it" app open-truncate "$F" "spoiled"
	sealed "$fs spoiled" "$F"
	permitted "$fs brought back in place" backup copy-file-range "$O/file.1" "$F"
	reads "$fs in place" "$TEXT" app open-read "$F"
	permitted "$fs the app deletes it" app unlink "$F"
	permitted "$fs brought back beside" backup copy-file-range "$O/file.1" "$G/.file.tmp"
	permitted "$fs and renamed" backup rename "$G/.file.tmp" "$F"
	reads "$fs brought back" "$TEXT" app open-read "$F"
	permitted "$fs the large one" backup copy-file-range "$O/large.1" "$G/large"
	permitted "$fs read" app copy-file-range "$G/large" "$O/large.plain"
	check "$fs the large one" cmp "$O/large" "$O/large.plain"

	# A backup program brings plaintext: an old archive. It becomes ciphertext.
	permitted "$fs plaintext through the raw view" backup create "$G/archive" "$TEXT"
	sealed "$fs the archive" "$G/archive"
	reads "$fs the archive" "$TEXT" app open-read "$G/archive"
	for n in 1 2 3 4 5 6 7 8; do
		reads "$fs found, still whole: $n" "data " app open-read "$G/note$n"
	done
	same "$fs as it was" 1 "$(app open-read "$G/note8" | grep -c "$TEXT")"
done

# A raw reader that came first: who wants plaintext waits, then is told. It never sees any.
raw_first() {
	background "$CASE_DIR/raw" "$BACKUP" "$@"
	wait_until "a raw reader" 20 grep -qE "^(opened|holding)" "$CASE_DIR/raw"
}
raw_first open-then-read "$F" "$CASE_DIR/go"
refused_any "while a raw descriptor is open" "EBUSY EPERM" app open-read "$F"
background "$CASE_DIR/waiting" "$APP" --uid $STAFF open-read "$F"
waiting() { [ "$(status .files.waiting)" = 1 ]; }
wait_until "one who wants plaintext waits" 20 waiting
touch "$CASE_DIR/go"
wait_until "the raw reader ends" 20 grep -qE "^(ok|errno)" "$CASE_DIR/raw"
check "it has read ciphertext" grep -q "data TAKA" "$CASE_DIR/raw"
wait_until "who waited goes on" 20 grep -qx ok "$CASE_DIR/waiting"
check "and reads plaintext" grep -q "$TEXT" "$CASE_DIR/waiting"
raw_first map-hold "$F"
refused_any "while it is mapped raw" "EBUSY EPERM" app open-read "$F"
kill_holder "$CASE_DIR/raw"
reads "then it opens" "$TEXT" app --repeat-until-ok 10000 open-read "$F"

# A descriptor cannot change its view.
reads "the app's descriptor in its own hands" "$TEXT" app pass-on "$F" "$APP" fd-read 3
refused "the app's descriptor in the hands of the backup" EBUSY app pass-on "$F" "$BACKUP" fd-read 3
settled
same "no record is left" 0 "$(status .files.records)"
