#!/bin/bash
# Mount namespaces and mounts nobody has seen before: the first open works for who has the right, for nobody
# else, and outside guard points for everybody.
# disks: ext4
# timeout: 600
. tests/vm/cases.d/guarded.sh

TEXT="the text of the document"
USER_SETS='"staff": { "users": ["1001", "root"] }'
prepare
G=/mnt/ext4/guarded O=/mnt/ext4/outside F=/mnt/ext4/guarded/file
echo "nobody's secret" >$O/file
mkdir $G/dir $O/window $O/later $O/whole "$CASE_DIR/root"
chmod 777 $G/dir $O/later
load
permitted "a file" app create $F "$TEXT"
permitted "another" app create $G/dir/file "$TEXT"
settled

# Each in a namespace of its own, which nothing has been opened in.
for i in {1..30}; do
	reads "namespace $i: read" "$TEXT" unshare -m "$APP" --uid $STAFF open-read $F
	permitted "namespace $i: written" unshare -m "$APP" --uid $STAFF open-write $F "$TEXT"
	refused "namespace $i: not by a stranger" EACCES unshare -m "$APP" --uid 1002 open-read $F
	reads "namespace $i: outside" "nobody's secret" unshare -m "$PROBE" open-read $O/file
done
for how in private slave shared unchanged; do
	reads "$how propagation" "$TEXT" unshare -m --propagation $how "$APP" --uid $STAFF open-read $F
done
# shellcheck disable=SC2016
enter='mount --rbind / "$1" && cd "$1" || exit 12; shift'
reads "in a clone of everything" "$TEXT" unshare -m sh -c "$enter; exec chroot . \"\$@\"" sh "$CASE_DIR/root" \
	"$APP" open-read $F
reads "which is the root" "$TEXT" unshare -m sh -c "$enter; pivot_root . . && umount -l . && exec \"\$@\"" sh \
	"$CASE_DIR/root" "$APP" open-read $F
refused "there, too, not by a stranger" EACCES unshare -m sh -c "$enter; pivot_root . . && umount -l . && exec \"\$@\"" sh \
	"$CASE_DIR/root" "$APP" --uid 1002 open-read $F
reads "by a bind mount just made, as containers have it" "$TEXT" unshare -m \
	sh -c "mount --bind $G/dir $O/window && exec $APP --uid $STAFF open-read $O/window/file"
for i in 1 2 3 4 5 6; do
	background "$CASE_DIR/at-once$i" unshare -m "$APP" --uid $STAFF open-read $F
	pids[i]=$!
done
wait "${pids[@]}"
same "six at once" 6 "$(cat "$CASE_DIR"/at-once* | grep -c "$TEXT")"
sealed "and then" $F

# -------- a mount that shows more than guard points, of which the agent is not asked
mount --bind /mnt/ext4 $O/whole
mount --make-private $O/whole
W=$O/whole/guarded
for round in first second; do
	reads "through the whole, $round: outside" "nobody's secret" app open-read $O/whole/outside/file
	refused "through the whole, $round: no reading" ENOKEY app open-read $W/file
	refused "through the whole, $round: no writing" ENOKEY app open-write $W/file "$TEXT"
	permitted "at its place, $round: truncated" app open-truncate $F "$TEXT"
	refused "through the whole, $round: no truncation" ENOKEY app open-truncate $W/file "$TEXT"
	refused "through the whole, $round: nothing new" ENOKEY app create $W/$round "$TEXT"
	reads "at its place, $round" "$TEXT" app open-read $F
done
settled
sealed "after this" $F
same "nothing came to be" "0 0" "$(echo $(stat -c %s $G/first $G/second))"
umount $O/whole

# -------- a guard point comes to be where a mount is ignored, here and in another namespace
echo "later a secret" >$O/later/file
mount --bind $O/later $O/window
reads "not guarded yet" "later a secret" app open-read $O/window/file
background "$CASE_DIR/elsewhere" unshare -m bash -c "$PROBE open-read $O/window/file && : >$CASE_DIR/there &&
	until [ -e $CASE_DIR/go ]; do sleep 0.02; done && exec $APP --uid $STAFF open-read $O/window/file"
elsewhere=$!
wait_until "nor elsewhere" 20 test -e "$CASE_DIR/there"
policy "$CASE_DIR/more.json" "$PLAIN_RULE, $RAW_RULE" $G $O/later
check "guarded" "$TK" reload "$CASE_DIR/more.json"
reads "it opens at the first try" "later a secret" app open-read $O/window/file
settled
sealed "it is a secret" $O/later/file
: >"$CASE_DIR/go"
wait $elsewhere
same "elsewhere it opens as well" 2 "$(grep -c "later a secret" "$CASE_DIR/elsewhere")"
refused "but not to a stranger" EACCES stranger open-read $O/window/file
reads "who may read outside" "nobody's secret" stranger open-read $O/file
umount $O/window
settled
same "no record is left" 0 "$(status .files.records)"
same "nothing failed" 0 "$(status .failure_count)"
