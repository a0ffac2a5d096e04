#!/bin/bash
# Who has mapped code that is not root's alone is known even when there are more such processes than the programs have room
# for: then no more such code is mapped. That is told.
# timeout: 600
. tests/vm/cases.d/guarded.sh

TEXT="known to be root's code alone"
G=$DISKS/guarded
THEIRS=$CASE_DIR/theirs.so
LATER=$CASE_DIR/bin/later
prepare
own_command
probe_as "$LATER"
probe_as "$CASE_DIR/bin/crowd"
CROWD=$CASE_DIR/bin/crowd
library=$(ldconfig -p | sed -n 's/.*libdl\.so\.2.* => //p' | head -n1)
cp "$library" "$THEIRS" || give_up "no library"
chown $STAFF "$THEIRS"
echo "$TEXT" >"$G/file"
chmod 666 "$G/file"
chmod 755 "$G"
LISTED='{ "actions": ["list", "key_op"], "effects": ["permit"] }'
policy "$POLICY" "$PLAIN_RULE, $RAW_RULE, $LISTED" "$G"
PROCESS_SETS="$PROCESS_SETS,"' "later": { "processes": [ { "path": "'$LATER'" } ] }'
policy "$CASE_DIR/later.json" "$PLAIN_RULE, $RAW_RULE, $LISTED,"'{ "processes": "later", "actions": ["data_read"], "effects": ["permit", "apply_key"] }' "$G"

# As many processes as the machine can have, twice: a machine for few makes that a number that can be reached.
limit=$(cat /proc/sys/kernel/threads-max)
at_exit "echo $limit >/proc/sys/kernel/threads-max"
few=300
with_few() {
	echo $few >/proc/sys/kernel/threads-max
	load
	echo "$limit" >/proc/sys/kernel/threads-max
}
with_few
settled
room=$(bpftool -j map show name foreign_code | jq '[.. | .max_entries? // empty][0]')
same "room is made for what the machine can have" $((2 * few)) "$room"
notes() { bpftool -j map dump name foreign_code | jq length; }
drained() { [ "$(notes)" -le "$before" ]; }
counted() { [ "$(status ".counters.$1")" -ge 1 ]; }
told() { status '.failures[].text' | grep -q "$1"; }
mapping() { "$APP" --uid $STAFF code-then-read mmap "$1" "$G/file"; }
before=$(notes)

# Before he is a member, and with nobody short of anything.
background "$CASE_DIR/waiting" "$LATER" code-then-wait "$THEIRS" "$CASE_DIR/go" "$G/file"
background "$CASE_DIR/clean" "$LATER" code-then-wait "$library" "$CASE_DIR/go" "$G/file"
for it in waiting clean; do wait_until "$it: has mapped it" 20 grep -q ^mapped "$CASE_DIR/$it"; done
refused_before() { "$LATER" open-read "$G/file" | grep -q "errno EACCES"; }
check "no member yet" refused_before
permitted "a reload makes his program one" "$TK" reload "$CASE_DIR/later.json"
reads "a new process is a member" "$TEXT" "$LATER" open-read "$G/file"
permitted "code-then-wait works" "$LATER" code-then-wait "$library" "$CASE_DIR" "$G/file"
touch "$CASE_DIR/go"
ended() { wait_until "$1 has ended" 20 grep -qE "^(ok|at|wrong)" "$CASE_DIR/$1" >/dev/null; cat "$CASE_DIR/$1"; grep -q ^ok "$CASE_DIR/$1" || return 10; }
reads "who had mapped root's code before the reload is a member" "$TEXT" ended clean
refused "who had mapped another's is none" EACCES ended waiting

# Full.
reads "a member" "$TEXT" mapping "$library"
refused "with foreign code" EACCES mapping "$THEIRS"
wait_until "notes go with their processes" 20 drained
background "$CASE_DIR/crowd" "$CROWD" code-crowd "$THEIRS" $((room - before)) "$CASE_DIR/enough"
wait_until "a crowd fills it" 200 grep -q "^all there" "$CASE_DIR/crowd"
same "to the last place" "$room" "$(notes)"
refused "a member's foreign code is not even mapped" ENOMEM mapping "$THEIRS"
permitted "code-then-wait works still" "$PROBE" code-then-wait "$library" "$CASE_DIR" "$library"
refused "nor that of who is none" ENOMEM "$PROBE" code-then-wait "$THEIRS" "$CASE_DIR" "$library"
reads "members without are that still" "$TEXT" mapping "$library"
check "it is counted" counted foreign_code_full
wait_until "and told, with what to do" 20 told "for want of room in foreign_code: .*kernel.threads-max"
check "by doctor as well" grep -q "^note .*for want of room in foreign_code.*unload" <("$TK" doctor)
touch "$CASE_DIR/enough"
wait_until "the crowd goes" 30 grep -q ^ok "$CASE_DIR/crowd"
wait_until "and its notes" 20 drained
refused "there is room again" EACCES mapping "$THEIRS"
settled
permitted "unload" "$TK" unload
with_few
reads "loaded anew: a member" "$TEXT" mapping "$library"
refused "with foreign code" EACCES mapping "$THEIRS"
settled
