#!/bin/bash
# The four expectations. Outside nothing changes. Inside, an authorised user of an authorised
# program works on plaintext; everybody else is refused; on the disk lies ciphertext, and stays
# there after the end. Also what `load` and `unload` say, and what the kernel shows of the policy.
# disks: ext4 xfs btrfs
# timeout: 600
. tests/vm/cases.d/guarded.sh
prepare

for disk in $DISKS; do
	fs=${disk#/mnt/}
	echo "before the load" | tee "$disk/guarded/old" >"$disk/outside/old"
	chmod 666 "$disk/guarded/old" "$disk/outside/old"
	for who in app stranger other root backup; do
		reads "$fs before the load: $who reads" "before the load" $who open-read "$disk/guarded/old"
		permitted "$fs before the load: $who creates" $who create "$disk/guarded/by-$who" "text of $who"
	done
	permitted "$fs before the load: a stranger lists" stranger list "$disk/guarded"
	permitted "$fs before the load: a stranger deletes" stranger unlink "$disk/guarded/by-root"
	permitted "$fs before the load: root renames" root rename "$disk/guarded/by-other" "$disk/guarded/by-another"
	permitted "$fs before the load: root makes a directory" root mkdir "$disk/guarded/dir"
	permitted "$fs before the load: root changes modes" root chmod "$disk/guarded/old" 0666
done

ends_with "only root loads" 1 setpriv --reuid 1001 --clear-groups "$TK" load "$POLICY"
ends_with "unload without a policy" 1 "$TK" unload
same "and it says so" 1 "$(grep -c "none is loaded" <<<"$OUTPUT")"
ends_with "load without a policy" 2 "$TK" load
ends_with "status without an agent" 1 "$TK" status --json
load
ends_with "a second load" 1 "$TK" load "$POLICY"
same "and it says why" 1 "$(grep -c "loaded already" <<<"$OUTPUT")"
same "the agent is ready" ready "$(status .state)"
same "it watches every guard point" true "$(status '[.guard_points[].watched] | all')"

# What the kernel holds, as an administrator looks at it.
bpftool map dump name guard_points >"$CASE_DIR/guard_points"
bpftool map dump name process_sets >"$CASE_DIR/process_sets"
bpftool map dump name user_sets >"$CASE_DIR/user_sets"
shows() { check "bpftool shows $1 in $2" grep -qE "$3" "$CASE_DIR/$2"; }
for disk in $DISKS; do
	shows "the guard point on $disk" guard_points "\"name\": \"guard[01]-${disk//\//}guarded\""
	shows "its inode" guard_points "\"ino\": $(stat -c %i "$disk/guarded")"
done
shows "the policy" guard_points '"policy_name": "documents"'
shows "the mode" guard_points '"mode": .?(TK_ENFORCE|0)'
shows "the program" process_sets "\"path\": \"$APP\""
shows "its set" process_sets '"set_names": "app"'
shows "the user" user_sets '"id": 1001'
shows "the user's set" user_sets '"set_names": "staff"'

for disk in $DISKS; do
	fs=${disk#/mnt/} G=$disk/guarded
	# Authorised: plaintext, in and out, through every change.
	permitted "$fs the app creates" app create "$G/new" "quarterly figures"
	sealed "$fs new file" "$G/new"
	reads "$fs the app reads it back" "quarterly figures" app open-read "$G/new"
	sealed "$fs after reading" "$G/new"
	permitted "$fs the app writes" app open-write "$G/new" "QUARTERLY"
	reads "$fs and sees it" "QUARTERLY figures" app open-read "$G/new"
	permitted "$fs the app appends" app open-append "$G/new" " and more"
	reads "$fs and sees it" "QUARTERLY figures and more" app open-read "$G/new"
	permitted "$fs the app lists" app list "$G"
	# What lay there before the load is encrypted by itself.
	sealed "$fs old file" "$G/old"
	reads "$fs the app reads the old file" "before the load" app open-read "$G/old"

	for who in stranger other root; do
		refused "$fs $who reads" EACCES $who open-read "$G/new"
		refused "$fs $who writes" EACCES $who open-write "$G/new"
		refused "$fs $who creates" EACCES $who create "$G/from-$who"
		refused "$fs $who lists" EACCES $who list "$G"
		refused "$fs $who deletes" EACCES $who unlink "$G/new"
		refused "$fs $who renames" EACCES $who rename "$G/new" "$G/newer"
		refused "$fs $who makes a directory" EACCES $who mkdir "$G/dir-$who"
		refused "$fs $who changes modes" EACCES $who chmod "$G/new" 0666
	done
	check "$fs cat is refused, too" grep -q "Permission denied" <(cat "$G/new" 2>&1)

	# Outside: as if there were no policy.
	reads "$fs outside: what was there" "before the load" stranger open-read "$disk/outside/old"
	for who in app stranger other root; do
		permitted "$fs outside: $who creates" $who create "$disk/outside/$who" "text of $who"
		reads "$fs outside: $who reads" "text of $who" stranger open-read "$disk/outside/$who"
		same "$fs outside: nothing is encrypted" "text of $who" "$(cat "$disk/outside/$who")"
	done
done

settled
same "no file is left open" 0 "$(status .files.records)"
same "nothing failed" 0 "$(status .failure_count)"
ends_with "only root unloads" 1 setpriv --reuid 1001 --clear-groups "$TK" unload
permitted "unload" "$TK" unload
check "nothing is pinned any more" test ! -e /sys/fs/bpf/takakrypt
ends_with "status after the end" 1 "$TK" status --json
no_program() { [ -z "$(bpftool prog show name file_open)" ]; }
# The kernel lets go of them some time after their pins are gone.
wait_until "no program is left" 20 no_program

for disk in $DISKS; do
	fs=${disk#/mnt/} G=$disk/guarded
	check "$fs no bind mount is left" test "$(grep -c "$G " /proc/self/mountinfo)" = 0
	reads "$fs after the end ciphertext" "data TAKA" stranger open-read "$G/new"
	for file in "$G"/*; do
		[ -d "$file" ] || same "$fs $file is ciphertext" TAKA "$(head -c 4 "$file")"
	done
	check "$fs inspect" "$TK" inspect --json "$G/new"
	same "$fs inspect names the key" case "$(jq -r '.[0].key_id' <<<"$OUTPUT")"
	same "$fs inspect names the size" 26 "$(jq -r '.[0].original_size' <<<"$OUTPUT")"
	check "$fs decrypt" "$TK" decrypt --key-file "$KEY" "$G/new"
	same "$fs decrypt gives the text" "QUARTERLY figures and more" "$(cat "$G/new")"
done
