#!/bin/bash
# A kernel that takes the processor away from a task within a program may leave that program out for the next task
# (bpf/takakrypt.bpf.c). So many do the same at once: nothing is forgotten, and nothing stays.
# boot: --append preempt=full
# timeout: 600
. tests/vm/cases.d/guarded.sh

TEXT="kept whoever comes between"
G=$DISKS/guarded
THEIRS=$CASE_DIR/theirs.so
AT_ONCE=16
own_command
prepare
library=$(ldconfig -p | sed -n 's/.*libdl\.so\.2.* => //p' | head -n1)
cp "$library" "$THEIRS" || give_up "no library"
chown $STAFF "$THEIRS"
policy "$POLICY" "$PLAIN_RULE, $RAW_RULE,"'{ "actions": ["list", "key_op"], "effects": ["permit"] }' "$G"
load
settled
permitted "a file" app create "$G/file" "$TEXT"
files_created() { for ((i = 0; i < AT_ONCE; i++)); do app create "$G/$i" "$TEXT" || return; done; }
check "and others" files_created

# As many as that fork, each child opens the file: 320 children, and all must fare alike.
notes() { bpftool -j map dump name foreign_code | jq length; }
drained() { [ "$(notes)" = "$before" ]; }
forks() { app forks-then-open "$1" $AT_ONCE 20 "$G/file"; }
before=$(notes)
permitted "children of who has mapped root's code are members" forks "$library"
refused "of who has mapped another's not one" EACCES forks "$THEIRS"
wait_until "no note stays" 20 drained

# As many as that have their file open, and resize it by its name 200 times.
permitted "many truncate" app truncates "$G/" $AT_ONCE 200
settled "each file is sealed"
permitted "and none is thought to be open" "$TK" unload
