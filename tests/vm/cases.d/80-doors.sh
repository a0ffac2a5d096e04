#!/bin/bash
# Doors that were found open once, each with what goes through it rightly: descriptors and names from before
# the load, members started by a tracer, truncation by name, counts of opens under load.
# disks: ext4
# timeout: 600
. tests/vm/cases.d/guarded.sh
prepare
G=/mnt/ext4/guarded O=/mnt/ext4/outside

# -------- a sealed file and a plaintext one, open for writing since before the load
load
permitted "a file is written" app create $G/sealed "the sealed line"
settled
check "and the policy ended" "$TK" unload
echo "plaintext from before" >$G/busy
: >$G/empty
chmod 666 $G/busy $G/empty
echo "the linked line" >$G/linked
ln $G/linked $O/linked
exec 7<>$G/sealed 8<>$G/busy 9<>$G/empty
permitted "before the load a descriptor can be written to" app fd-write 8 "plaintext again!"
load
settled
refused "after it, not the one of a sealed file" ENOKEY app fd-write 7 "never into ciphertext"
permitted "but the one of a plaintext file" app fd-write 8 "plaintext at last"
permitted "and the one of an empty file" app fd-write 9 "no longer empty"
refused "which a stranger must not use" EACCES stranger fd-write 8 "of a stranger"
exec 7>&- 8>&- 9>&-
settled "closed, they are sealed"
sealed "the plaintext file" $G/busy
sealed "the empty file" $G/empty
reads "with what was written" "plaintext at last" app open-read $G/busy
reads "in both" "no longer empty" app open-read $G/empty
reads "and the sealed file is whole" "the sealed line" app open-read $G/sealed
settled

# -------- a name outside for a file inside
reads "by the name outside it is ciphertext" "data TAKA" "$PROBE" open-read $O/linked
reads "by the name inside it is plaintext" "the linked line" app open-read $G/linked
settled
exec 7<$O/linked
refused_any "nobody gets plaintext while it is open outside" "EBUSY EPERM" app open-read $G/linked
exec 7<&-
reads "afterwards he does" "the linked line" app open-read $G/linked
settled
"$APP" --uid $STAFF hold $G/linked >"$CASE_DIR/hold" &
holder=$!
wait_until "it is held open as plaintext" 20 grep -q . "$CASE_DIR/hold"
refused "and nobody opens it outside meanwhile" EBUSY "$PROBE" open-read $O/linked
pkill -KILL -x app
wait $holder 2>/dev/null
settled
reads "after that it is ciphertext there" "data TAKA" "$PROBE" open-read $O/linked

# -------- a member executed under a tracer
permitted "a program that is no member can be traced" "$PROBE" traced-exec "$PROBE" --list
refused "a member cannot" EPERM "$PROBE" traced-exec "$APP" --list
permitted "and can be executed" "$PROBE" exec "$APP" --list

# -------- truncation by name
permitted "truncate(2) works when it is tried again" app --repeat-until-ok 10000 truncate $G/busy 9
settled
sealed "and the file is sealed again" $G/busy
same "at the right length" "plaintext" "$(app open-read $G/busy | sed -n 's/^data //p')"

# -------- many opens of few files at once: every count comes back to nothing
echo "shared" >"$CASE_DIR/text"
for i in 1 2 3; do permitted "file $i" app create $G/many$i "shared"; done
hammer() { for n in {1..40}; do app open-read $G/many$((n % 3 + 1)) >/dev/null; done; }
for i in 1 2 3 4; do hammer & pids[i]=$!; done
wait "${pids[@]}"
settled "everything is sealed after 160 opens"
same "no file is left open" 0 "$(status .files.open)"
for i in 1 2 3; do sealed "file $i" $G/many$i; done

# -------- a guard point that a reload takes away by force while a file of it is open: what is written then counts
mkdir -p /mnt/ext4/elsewhere
permitted "a file is written" app create $G/dropped "the first line"
settled
"$APP" --uid $STAFF hold $G/dropped >"$CASE_DIR/hold2" &
holder=$!
wait_until "it is held open as plaintext" 20 grep -q . "$CASE_DIR/hold2"
policy "$CASE_DIR/other.json" "$PLAIN_RULE" /mnt/ext4/elsewhere
ends_with "the guard point is not taken away" 1 "$TK" reload "$CASE_DIR/other.json"
check "by force it is" "$TK" reload --force "$CASE_DIR/other.json"
printf 'THE OTHER LINE' | dd conv=notrunc,fsync status=none of=$G/dropped
pkill -KILL -x app
wait $holder 2>/dev/null
settled
check "the policy ends" "$TK" unload
case $(head -c 4 $G/dropped) in
TAKA) check "sealed" "$TK" decrypt --key-file "$KEY" -o "$CASE_DIR/dropped" $G/dropped ;;
*) cp $G/dropped "$CASE_DIR/dropped" ;;
esac
same "it holds what was written last" "THE OTHER LINE" "$(head -c 14 "$CASE_DIR/dropped")"
