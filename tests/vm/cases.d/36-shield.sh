# A guard point with a shield: its key is the kernel's while the policy is loaded, and what is open does not lie on the
# disk in the clear. Beside it one without, where it does.
# disks: ext4
# timeout: 600
. tests/vm/cases.d/guarded.sh

# The disk gets the feature; the other cases find it as it was, with it.
device=$(findmnt -no SOURCE /mnt/ext4)
umount /mnt/ext4 && tune2fs -O encrypt "$device" >"$CASE_DIR/tune2fs" 2>&1 && mount "$device" /mnt/ext4 ||
	give_up "no encrypt feature: $(cat "$CASE_DIR/tune2fs")"
prepare
mkdir -m 777 /mnt/ext4/shielded
shielded=/mnt/ext4/shielded
policy "$POLICY" "$PLAIN_RULE, $RAW_RULE" /mnt/ext4/guarded $shielded
jq '.guard_points[1].shield = "fscrypt"' "$POLICY" >"$CASE_DIR/with.json" && cp "$CASE_DIR/with.json" "$POLICY"
# The device itself, past its cache.
on_disk() { sync -f /mnt/ext4 && echo 1 >/proc/sys/vm/drop_caches && grep -qaF "$1" "$device"; }
absent() { ! on_disk "$1"; }
check "doctor says that it can be" sh -c "'$TK' doctor $shielded | grep -q 'can have a shield'"

load
permitted "the application writes without a shield" app create /mnt/ext4/guarded/a "before-the-shield-7c1e"
permitted "and with one" app create $shielded/a "behind-the-shield-93af"
settled
hold() { # NAME FILE: somebody has it open, until `release NAME`
	background "$CASE_DIR/$1" "$APP" --uid $STAFF hold "$2"
	wait_until "$2 is open" 20 grep -q ^holding "$CASE_DIR/$1"
}
# Only who is in the set may end who is.
release() { permitted "the holder ends" root kill "$(sed -n 's/^holding \([0-9]*\).*/\1/p' "$CASE_DIR/$1")" 9; }
hold plain /mnt/ext4/guarded/a
hold shielded $shielded/a
check "without a shield an open file is on the disk in the clear" on_disk "before-the-shield-7c1e"
check "with one it is not" absent "behind-the-shield-93af"
release plain
release shielded
settled
reads "what is at rest is ciphertext there, too" "data TAKA" backup open-read $shielded/a
check "the policy ends" "$TK" unload
check "and the key is gone, with the names" sh -c "! test -e $shielded/a && test -e /mnt/ext4/guarded/a"

load
reads "the next load has it again" "behind-the-shield-93af" app open-read $shielded/a
settled
jq 'del(.guard_points[1].shield)' "$POLICY" >"$CASE_DIR/without.json"
ends_with "a reload does not take a shield away" 1 "$TK" reload "$CASE_DIR/without.json"
check "the policy ends again" "$TK" unload

# A tree that is there already.
mkdir -m 777 /mnt/ext4/tree
echo "a-tree-from-before" >/mnt/ext4/tree/file
chown $STAFF /mnt/ext4/tree/file
policy "$POLICY" "$PLAIN_RULE, $RAW_RULE" /mnt/ext4/tree
jq '.guard_points[0].shield = "fscrypt"' "$POLICY" >"$CASE_DIR/with.json" && cp "$CASE_DIR/with.json" "$POLICY"
ends_with "load refuses a tree that was not set up" 1 "$TK" load "$POLICY"
check "and names the command" grep -q "takakrypt-bpf shield" <<<"$OUTPUT"
check "nothing is loaded" test ! -e /sys/fs/bpf/takakrypt
check "the command sets it up" "$TK" shield "$POLICY" /mnt/ext4/tree
load
settled
reads "and then it is guarded" "a-tree-from-before" app open-read /mnt/ext4/tree/file
settled
refused "from others, too" EACCES stranger open-read /mnt/ext4/tree/file
