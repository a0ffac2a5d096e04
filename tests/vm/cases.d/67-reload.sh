#!/bin/bash
# Reload while many are at work: each access is judged by one policy, whole; what is open by the new one from its next
# read or write on; guard points that go have their open files sealed first, those that come are encrypted.
# timeout: 600
. tests/vm/cases.d/guarded.sh

SWAPS=20
TEXT="the same whatever happens"
D=$DISKS
G=$D/guarded CLOSED=$D/closed LEAVES=$D/leaves COMES=$D/comes
OTHER=$CASE_DIR/bin/other
own_command
prepare
"$TK" key generate "$CASE_DIR/key2" >/dev/null
probe_as "$OTHER"
mkdir -m 777 $CLOSED $LEAVES $COMES
NEVER=$(date -u -d '+3 days' +%a)
NEVER=${NEVER,,}

# Two policies that decide the same, with everything in another order: of two generations mixed, in whatever of
# the tables, one or the other of the decisions below would come out differently.
# variant FILE WHICH [GUARD-POINT...]: with rules of $FIRST before the others.
variant() {
	local file=$1 which=$2 users processes resources times keys policies guards it
	shift 2
	users=('"staff": { "users": ["1001"] }' '"none": { "users": ["1002"] }')
	processes=('"app": { "processes": [ { "path": "'$APP'" } ] }' '"other": { "processes": [ { "path": "'$OTHER'" } ] }')
	resources=('"open": { "paths": ["open*"] }' '"timed": { "paths": ["timed*"] }' '"secret": { "paths": ["secret*"] }')
	times=('"always": { "timezone": "UTC", "from": "00:00", "to": "24:00" }' '"never": { "timezone": "UTC", "days": ["'$NEVER'"] }')
	keys=('"one": { "provider": "file", "path": "'$KEY'" }' '"two": { "provider": "file", "path": "'$CASE_DIR'/key2" }')
	policies=('"documents": { "key": "one", "rules": [ '"$FIRST"'
		{ "users": "staff", "processes": "app", "resources": "open", "times": "always", "actions": ["data_read", "data_write"], "effects": ["permit", "apply_key"] },
		{ "users": "staff", "processes": "app", "resources": "timed", "times": "never", "actions": ["data_read"], "effects": ["permit", "apply_key"] },
		{ "processes": "other", "users": "none", "resources": "secret", "actions": ["data_read"], "effects": ["permit"] },
		{ "actions": ["list", "key_op"], "effects": ["permit"] } ] }'
		'"nothing": { "key": "two", "rules": [ { "actions": ["list", "key_op"], "effects": ["permit"] }, { "actions": ["all_ops"], "effects": ["deny"] } ] }')
	guards=('{ "name": "guarded", "path": "'$G'", "policy": "documents" }' '{ "name": "closed", "path": "'$CLOSED'", "policy": "nothing" }')
	for it in "$@"; do guards+=('{ "name": "'$it'", "path": "'$D/$it'", "policy": "documents" }'); done
	list() {
		local all=("$@") out='' i
		for ((i = 0; i < $#; i++)); do
			[ "$which" = forward ] && out="$out${out:+, }${all[i]}" || out="${all[i]}${out:+, }$out"
		done
		echo "$out"
	}
	cat >"$file" <<-END
	{ "version": 1, "keys": { $(list "${keys[@]}") }, "user_sets": { $(list "${users[@]}") },
	  "process_sets": { $(list "${processes[@]}") }, "resource_sets": { $(list "${resources[@]}") },
	  "time_sets": { $(list "${times[@]}") }, "policies": { $(list "${policies[@]}") },
	  "guard_points": [ $(list "${guards[@]}") ] }
	END
}
FIRST=
variant "$CASE_DIR/one.json" forward leaves
variant "$CASE_DIR/other.json" backward leaves
variant "$CASE_DIR/without.json" backward
variant "$CASE_DIR/with.json" forward leaves comes
FIRST='{ "users": "staff", "actions": ["data_write"], "effects": ["deny"] },'
variant "$CASE_DIR/readonly.json" backward leaves
FIRST=
sed 's/"users": "staff"/"users": "stuff"/' "$CASE_DIR/one.json" >"$CASE_DIR/broken.json"
for it in $G/open $G/open-too $G/open-answer $G/timed $G/secret $CLOSED/open $LEAVES/open; do echo "$TEXT" >$it; chmod 666 $it; done
POLICY=$CASE_DIR/one.json
load
settled

reads "before: the app" "$TEXT" app open-read $G/open
check "the two policies decide the same" "$TK" diff "$CASE_DIR/one.json" "$CASE_DIR/other.json"
ends_with "a third does not" 3 "$TK" diff "$CASE_DIR/one.json" "$CASE_DIR/readonly.json"

STOP=$CASE_DIR/stop
started=()
at_work() { # NAME COMMAND...
	local name=$1
	shift
	background "$CASE_DIR/$name" "$@"
	started+=("$name")
}
for n in 1 2 3; do at_work reader$n app hammer $G/open "$STOP"; done
at_work writer app hammer-open $G/open-too "$STOP"
at_work resource app hammer $G/secret "$STOP" EACCES
at_work time app hammer $G/timed "$STOP" EACCES
at_work user stranger hammer $G/open "$STOP" EACCES
at_work program "$OTHER" --uid $STAFF hammer $G/open "$STOP" EACCES
at_work guard app hammer $CLOSED/open "$STOP" EACCES
wait_until "everybody is at work" 20 grep -q ^opened "$CASE_DIR/writer"

# reload FILE; all of them in one statement, or the log would be nothing else.
swap_all() {
	local n
	for ((n = 0; n < SWAPS; n++)); do
		"$TK" reload "$CASE_DIR/other.json" >/dev/null || return 1
		if "$TK" reload "$CASE_DIR/broken.json" >/dev/null 2>&1; then echo "a broken policy was taken"; return 1; fi
		"$TK" reload "$CASE_DIR/one.json" >/dev/null || return 1
	done
}
before=$(status .generation)
begun=$SECONDS
check "$((2 * SWAPS)) reloads, and $SWAPS of a broken policy" swap_all
check "who writes goes on" eval '! grep -q wrong "$CASE_DIR/writer"'
echo "# $((3 * SWAPS)) reloads in $((SECONDS - begun)) s"
same "each a generation, the broken ones none" $((before + 2 * SWAPS)) "$(status .generation)"

# What is open, by the new policy at its next write and read, while all the others go on.
coproc ANSWERING { "$APP" --uid $STAFF answering $G/open-answer; }
answered() { # TEXT: what the next line says
	local line
	read -r -t 30 line <&"${ANSWERING[0]}" && [ "$line" = "$1" ]
}
asked() { echo "$1" >&"${ANSWERING[1]}" && answered "$2"; }
check "another has it open" eval 'until answered opened; do :; done'
for n in 1 2 3; do
	check "its write" asked w ok
	check "reload: reading only" "$TK" reload "$CASE_DIR/readonly.json"
	check "its next write is refused" asked w EACCES
	check "its next read is not" asked r ok
	check "a broken policy" eval '! "$TK" reload "$CASE_DIR/broken.json"'
	check "its write is refused as before" asked w EACCES
	check "reload: writing, too" "$TK" reload "$CASE_DIR/other.json"
	check "its next write" asked w ok

done
eval "exec ${ANSWERING[1]}>&-"
touch "$STOP"
# The one that writes all the time was refused meanwhile, as it should be: at once, and not before.
for it in "${started[@]}"; do
	wait_until "$it has ended" 30 grep -qE "^(ok|wrong|at )" "$CASE_DIR/$it"
	[ $it = writer ] || check "$it: each time the same ($(sed -n 's/^times //p' "$CASE_DIR/$it") times)" grep -qx ok "$CASE_DIR/$it"
done
check "the writer was refused by the policy that says so" grep -q "write: EACCES" "$CASE_DIR/writer"
settled
for it in $G/open $G/open-too $G/open-answer; do
	same "under the key of its policy: $it" one "$("$TK" inspect --json $it | jq -r '.[0].key_id')"
done

# A guard point that goes, with a file open there.
background "$CASE_DIR/holder" "$APP" --uid $STAFF open-then-read $LEAVES/open "$CASE_DIR/go"
wait_until "the app has it open" 20 grep -q ^opened "$CASE_DIR/holder"
background "$CASE_DIR/reload" "$TK" reload "$CASE_DIR/without.json"
reload=$!
closed() { app open-read $LEAVES/open | grep -qx "errno ENOKEY"; }
wait_until "nobody new is let in" 20 closed
check "while it waits" kill -0 $reload
touch "$CASE_DIR/go"
wait_until "then it goes" 30 grep -q ^reloaded "$CASE_DIR/reload"
check "who had it open went on" grep -q "$TEXT" "$CASE_DIR/holder"
reads "and ciphertext is what it leaves behind" "data TAKA" stranger open-read $LEAVES/open
check "back" "$TK" reload "$CASE_DIR/one.json"
reads "as before" "$TEXT" app open-read $LEAVES/open
background "$CASE_DIR/holder2" "$APP" --uid $STAFF open-then-read $LEAVES/open "$CASE_DIR/go2"
wait_until "open again" 20 grep -q ^opened "$CASE_DIR/holder2"
ends_with "it stays open: reload refuses" 1 "$TK" reload "$CASE_DIR/without.json"
check "and says why" grep -q "guard point leaves, and 1 file is open there" <<<"$OUTPUT"
reads "the former policy goes on" "$TEXT" app open-read $LEAVES/open
check "--force does not wait" "$TK" reload --force "$CASE_DIR/without.json"
reads "and leaves plaintext" "$TEXT" stranger open-read $LEAVES/open
touch "$CASE_DIR/go2"
wait_until "until it is closed" 20 grep -qx ok "$CASE_DIR/holder2"
sealed_there() { stranger open-read $LEAVES/open | grep -q "data TAKA"; }
wait_until "then it is sealed" 20 sealed_there

# One that comes, with files in it.
for ((n = 0; n < 150; n++)); do echo "$TEXT" >$COMES/open-$n; done
chmod 666 $COMES/*
check "reload with guard points more" "$TK" reload "$CASE_DIR/with.json"
refused "guarded at once" EACCES stranger open-read $COMES/open-77
reads "and to be read at once" "$TEXT" app open-read $COMES/open-149
progress() { [ "$(status '.sweep.rounds')" -ge 1 ] && [ "$(status '.sweep | .files >= 150 and (.running | not)')" = true ]; }
wait_until "status shows how far it has come" 60 progress
settled
same "all is ciphertext" 150 "$("$TK" inspect --json $COMES | jq 'map(select(.key_id == "one")) | length')"
