#!/bin/bash
# Mode learn: an application works in a guard point whose policy knows nothing of it; `learn` writes the
# policy that permits just that; under it the same work goes on, and nobody else gets in.
# timeout: 600
. tests/vm/cases.d/guarded.sh

TEXT="learnt by heart"
G=$DISKS/guarded NEW=$CASE_DIR/new.json EVENTS=$CASE_DIR/events.jsonl
prepare
mkdir -m 777 "$G/books"
echo "$TEXT" >"$G/books/first.txt"
echo "$TEXT" >"$G/secret.key"
chmod 666 "$G/books/first.txt" "$G/secret.key"
MODE=learn policy "$POLICY" "$RAW_RULE" "$G"
load
settled
same "the mode is shown" learn "$(status .guard_points[0].mode)"

# What the application does, the same each time.
work() {
	reads "$1: reads" "$TEXT" app open-read "$G/books/first.txt"
	permitted "$1: creates" app create "$G/books/second.txt" "$TEXT"
	reads "$1: reads its own" "$TEXT" app open-read "$G/books/second.txt"
	permitted "$1: writes" app open-write "$G/books/first.txt" "learnt"
	permitted "$1: lists" app list "$G/books"
	permitted "$1: renames" app rename "$G/books/second.txt" "$G/books/third.txt"
	permitted "$1: removes" app unlink "$G/books/third.txt"
}
# Others could do it, too: their refusal afterwards counts.
permitted "before: the key is there to be read" "$PROBE" --uid 0 open-read "$DISKS/outside/../guarded/secret.key"
check "that was seen, and is not to be learnt: the policy anew" "$TK" unload
load
settled
work "learning"
sealed "learn mode encrypts" "$G/books/first.txt"
recorded() { "$TK" events --json | jq -e "select($1)" | grep -q .; }
wait_until "all is recorded, the end too" 10 recorded '.action == "delete" and .verdict == "permit" and .mode == "learn"'
wait_until "with program and groups" 10 recorded ".exe == \"$APP\" and .groups != null and .exe_inode != null and .uid == $STAFF"
"$TK" events --json >"$EVENTS"
same "nothing was lost" 0 "$(status .counters.events_dropped)"
check "learn" "$TK" learn -o "$NEW"
same "no warning" "" "$OUTPUT"
check "what was learnt is a policy" "$TK" check "$NEW"
same "that enforces" enforce "$(jq -r '.guard_points[0].mode' "$NEW")"
check "replaying the recording against it denies nothing" "$TK" replay "$NEW" "$EVENTS"
same "the user's set" "[\"$STAFF\"]" "$(jq -c '[.user_sets[] | .users[] | select(. != "root")] | unique' "$NEW")"
ends_with "never overwritten" 1 "$TK" learn -o "$NEW"
check "--from says the same" "$TK" learn --from "$EVENTS" -o "$CASE_DIR/again.json"
check "to the letter" cmp "$NEW" "$CASE_DIR/again.json"

check "reload with it" "$TK" reload "$NEW"
settled
work "enforced"
# The same accesses, by others.
refused "another user does not read" EACCES stranger open-read "$G/books/first.txt"
refused "nor write" EACCES stranger open-write "$G/books/first.txt" "learnt"
refused "nor list" EACCES stranger list "$G/books"
refused "another program does not read" EACCES other open-read "$G/books/first.txt"
refused "nor create" EACCES other create "$G/books/second.txt" "$TEXT"
refused "root does not read" EACCES root open-read "$G/books/first.txt"
refused "the app does not read what it never read" EACCES app open-read "$G/secret.key"
wait_until "the intruder is recorded" 10 recorded '.verdict == "deny" and .uid == 1002 and .reason == "no_rule"'
same "and the app never denied but there" "" \
	"$("$TK" events --json | jq -r "select(.verdict == \"deny\" and .uid == $STAFF and .exe == \"$APP\") | .path" | grep -v secret.key)"
ends_with "no guard point learns any more" 1 "$TK" learn
settled
