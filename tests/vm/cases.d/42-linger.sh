#!/bin/bash
# A file that stays plaintext on the disk for a while after its last close: for whom the policy lets in, and for nobody
# else. Settling, a reload that takes its guard point away, and unload do not wait for the time to pass.
# timeout: 600
. tests/vm/cases.d/guarded.sh

TEXT="kept at hand"
G=$DISKS/guarded
prepare
policy "$CASE_DIR/without.json" "$PLAIN_RULE, $RAW_RULE" "$DISKS/outside"
jq '.guard_points[0].linger = 600000' "$POLICY" >"$CASE_DIR/lingers.json" && mv "$CASE_DIR/lingers.json" "$POLICY"
permitted "a file" app create "$G/file" "$TEXT"
chmod 666 "$G/file"
load
settled
reads "sealed" "data TAKA" backup open-read "$G/file"
opens() { status .files.open; }

reads "the app" "$TEXT" app open-read "$G/file"
for who in stranger other root; do refused "closed: $who" EACCES $who open-read "$G/file"; done
refused "closed: raw" EBUSY backup open-read "$G/file"
reads "the app again" "$TEXT" app open-read "$G/file"
reads "mapped" "$TEXT" app mmap-read "$G/file"
permitted "written" app open-write "$G/file" "KEPT"
same "it is open all the time" 1 "$(opens)"
settled
reads "then sealed" "data TAKA" backup open-read "$G/file"
reads "with what was written" "KEPT at hand" app open-read "$G/file"

check "a reload that takes its guard point away" "$TK" reload "$CASE_DIR/without.json"
same "ciphertext is left" TAKA "$(head -c 4 "$G/file")"
check "a reload that brings it back" "$TK" reload "$POLICY"
reads "the same" "KEPT at hand" app --repeat-until-ok 10000 open-read "$G/file"
check "unload" "$TK" unload
same "ciphertext is left" TAKA "$(head -c 4 "$G/file")"
