# shellcheck shell=bash
# Owns what every application's test can say, on top of tests/vm/lib.sh: a policy for its programs alone, an agent
# that is killed and comes back, an intruder, what lies on the disk at the end, and its row of the table.
#
# An application sets  OWNER     the user it runs as
#                      PROGRAMS  the executables that see plaintext (patterns as in a policy)
#                      READERS   other users that read, through the same programs; may be empty
# and works in $GUARD.  The policy permits nothing else but that root lists names.

export LC_ALL=C.UTF-8 TZ=UTC
DISK=/mnt/$FS
GUARD=$DISK/guarded
OWNER='' PROGRAMS=() READERS='' INTRUDER='' SEALED=''
chmod 777 "$CASE_DIR"
mkdir -p -m 1777 "$CASE_DIR/tmp"

# as USER: sets AS to what runs a command as USER.  No function: what it starts is the program itself.
as() {
	AS=(setpriv --reuid="$1" --regid="$1" --clear-groups env HOME="$CASE_DIR/tmp" TMPDIR="$CASE_DIR/tmp")
}

# guard: the guard point under its policy; the files that are there already are taken over.
guard() {
	local program programs='' users
	for program in "${PROGRAMS[@]}"; do
		[[ $program == *\** ]] || program=$(readlink -f "$program") || give_up "$program is installed"
		programs="$programs${programs:+, }{ \"path\": \"$program\" }"
	done
	for program in $OWNER $READERS; do users="${users:-}${users:+, }\"$program\""; done
	install -m 600 "$KEY_FILE" "$CASE_DIR/key"
	cat >"$CASE_DIR/policy.json" <<-JSON
	{ "version": 1,
	  "keys": { "apps": { "provider": "file", "path": "$CASE_DIR/key" } },
	  "user_sets": { "app": { "users": [ $users ] }, "root": { "users": ["root"] } },
	  "process_sets": { "app": { "processes": [ $programs ] } },
	  "policies": { "p": { "key": "apps", "rules": [
	    { "users": "app", "processes": "app", "actions": ["read", "write"], "effects": ["permit", "apply_key"] },
	    { "users": "root", "actions": ["list"], "effects": ["permit"] },
	    { "actions": ["all_ops"], "effects": ["deny", "audit"] } ] } },
	  "guard_points": [ { "name": "apps", "path": "$GUARD", "policy": "p" } ] }
	JSON
	if [ ! -d "$GUARD" ]; then
		mkdir -m 700 "$GUARD" && chown "$OWNER:$OWNER" "$GUARD" || give_up "$OWNER is a user"
	fi
	"$TK" load "$CASE_DIR/policy.json" >"$CASE_DIR/load" 2>&1 ||
		give_up "load: $(cat "$CASE_DIR/load" /run/takakrypt/agent.log)"
	_holds "the policy is loaded"
}

# ---------------------------------------------------------------- the agent

agent_pid() { "$TK" status --json 2>/dev/null | jq -r .pid; }
ready() { [ "$("$TK" status --json 2>/dev/null | jq -r .state)" = ready ]; }
dead() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status"; }
kill_agent() {
	local pid
	pid=$(agent_pid)
	[ -n "$pid" ] || { _fails "the agent is there" "no status"; return; }
	kill -KILL "$pid"
	wait_until "the agent is killed" 20 dead "$pid"
}
start_agent() {
	"$TK" agent </dev/null >>"$CASE_DIR/agent.log" 2>&1 &
	wait_until "another agent takes over" 120 ready || cat "$CASE_DIR/agent.log"
}

# ---------------------------------------------------------------- others, and the end

# intruder: root's cat is refused on files of the application, and reads one outside.  Sets INTRUDER.
intruder() {
	local file tried=0 refused=0
	echo outside >"$DISK/outside"
	reads "root's cat reads outside" outside cat "$DISK/outside"
	while read -r file; do
		tried=$((tried + 1))
		if OUTPUT=$(cat "$file" 2>&1 >/dev/null); then _fails "root's cat" "reads $file"
		elif [[ $OUTPUT == *"Permission denied"* ]]; then refused=$((refused + 1))
		else _fails "root's cat" "$file: failed, but was not refused" "$OUTPUT"; fi
	done < <(find "$GUARD" -type f -size +0 | sort | awk '{ line[NR] = $0 }
		END { step = NR > 20 ? NR / 20 : 1; for (i = 1; i <= NR; i += step) print line[int(i)] }')
	check "root's cat was tried ($tried files)" test "$tried" -gt 0
	INTRUDER="$refused/$tried refused"
}

# sealed: everything settles, the policy goes, and each file with content is TAKA.  Sets SEALED.
sealed() {
	local file magic all=0 taka=0
	check "everything is at rest" "$TK" settle --timeout 300
	same "no record is left" 0 "$("$TK" status --json | jq -r .files.records)"
	permitted "unload" "$TK" unload
	while read -r file; do
		all=$((all + 1)) magic=
		LC_ALL=C IFS= read -r -d '' -n 4 magic <"$file" || :
		if [ "$magic" = TAKA ]; then taka=$((taka + 1))
		else _fails "sealed" "$file is not TAKA"; fi
	done < <(find "$GUARD" -type f -size +0)
	check "there are files ($all)" test "$all" -gt 0
	SEALED="$taka/$all"
}

# row WORK DISTURBANCE CHECK ACKNOWLEDGED: a row of the table, with what intruder and sealed have found.
row() { echo "row|$APP|$FS|$1|$2|$3|$4|${INTRUDER:--}|${SEALED:--}"; }
# went WORDS: them, if all that was stated since begin_round holds; fit for a row.
went() { if [ "$FAILED_BEFORE" = "$(grep -c '^not ok' "$CASE_DIR/.statements")" ]; then echo "$1"; else echo "FAILED"; fi; }
begin_round() { FAILED_BEFORE=$(grep -c '^not ok' "$CASE_DIR/.statements"); }
