#!/bin/bash
# The table "What needs which action" in policies/README.md is true: each row's operation works
# when everything is permitted, and is refused when nothing but the row's action is denied.
# timeout: 600
. tests/vm/cases.d/guarded.sh

G=/mnt/ext4/guarded O=/mnt/ext4/outside
own_command
SHARER=$CASE_DIR/bin/sharer
probe_as "$SHARER"
PROCESS_SETS="$PROCESS_SETS, \"sharer\": { \"processes\": [ { \"path\": \"$SHARER\" } ] }"
# The command is in no set: what it may it may by key_op alone.
ALL='{ "processes": ["app", "sharer"], "actions": ["all_ops"], "effects": ["permit", "apply_key"] },
	{ "actions": ["key_op"], "effects": ["permit", "audit"] }'
denying() {
	local who='"processes": "app",'
	[ "$1" != key_op ] || who=
	echo "{ $who"' "actions": ["'"$1"'"], "effects": ["deny", "audit"] }, '"$ALL"
}

# Row N of the table: ACTION[N], HOOK[N], WAY[N].
ACTION=() HOOK=() WAY=()
while IFS='|' read -r _ action _ hook way _; do
	read -r action <<<"${action//\`/}"
	read -r way <<<"${way//\`/}"
	ACTION+=("$action") HOOK+=("${hook//[\`,]/}") WAY+=("$way")
done < <(sed -n '/^## What needs which action/,/^## Globs/s/^| `[a-z_]*` .*/&/p' policies/README.md)
check "the table was found" test ${#WAY[@]} -gt 30

# words N ROUND: sets WORDS to row N's operation with real names, below a directory of its own.
words() {
	local at=$G/$1.$2 word
	WORDS=(app_root)
	[ "${ACTION[$1]}" != key_op ] || WORDS=(command)
	[[ ${WAY[$1]} != recvfd* ]] || WORDS=("$SHARER") # who opens and hands over is not who is judged
	for word in ${WAY[$1]}; do
		case $word in
		FILE) word=$at/file ;;
		OTHER) word=$at/other ;;
		EMPTY) word=$at/empty ;;
		NEW) word=$at/new ;;
		DIRECTORY) word=$at ;;
		PROGRAM-INSIDE) word=$at/program ;;
		PROGRAM) word=$APP ;;
		OUTSIDE) word=$O/taken ;;
		FLAG) word=$CASE_DIR/go.$2 ;;
		esac
		WORDS+=("$word")
	done
}
# Root in the program: nothing but the policy is in its way.
app_root() { "$APP" "$@"; }
# A verb of the command, telling of itself as the probe does.
command() {
	local said errno=none
	echo "probe command-$1"
	said=$("$TK" "$1" --key-file "$KEY" "$2" 2>&1) && return
	[[ $said != *"ermission denied"* ]] || errno=EACCES
	printf '%s\nerrno %s\n' "$said" $errno
	return 10
}

prepare
for n in "${!WAY[@]}"; do
	for round in permitted denied; do
		at=$G/$n.$round
		mkdir -p "$at/empty"
		echo "row $n, and more than any test writes" >"$at/file"
		echo "row $n" >"$at/other"
		[[ ${WAY[n]} != removexattr* ]] || setfattr -n user.there -v 1 "$at/file"
		[[ ${WAY[n]} != exec* ]] || probe_as "$at/program"
	done
done
everything=$CASE_DIR/everything.json
policy "$everything" "$ALL" "$G"
POLICY=$everything
load
settled

# truncate(2) on a sealed file works when it is tried again (README.md).
as_often() { case $* in *" truncate "*) "$1" --repeat-until-ok 10000 "${@:2}" ;; *) "$@" ;; esac; }
touch "$CASE_DIR/go.permitted"
for n in "${!WAY[@]}"; do
	words "$n" permitted
	permitted "permitted: ${ACTION[n]}: ${WAY[n]}" as_often "${WORDS[@]}"
	for hook in ${HOOK[n]}; do
		check "program $hook is there" test -n "$(find /sys/fs/bpf/takakrypt -name "*$hook*" -print -quit)"
	done
done

for action in $(printf '%s\n' "${ACTION[@]}" | sort -u); do
	# Who has it open already is judged at the next read or write.
	held=()
	rm -f "$CASE_DIR/go.denied"
	for n in "${!WAY[@]}"; do
		[[ ${ACTION[n]} = "$action" && ${WAY[n]} = *FLAG* ]] || continue
		words "$n" denied
		background "$CASE_DIR/held.$n" "${WORDS[@]}"
		held[n]=1
		wait_until "row $n is open" 20 grep -q ^opened "$CASE_DIR/held.$n"
	done
	policy "$CASE_DIR/$action.json" "$(denying "$action")" "$G"
	permitted "reload, denying $action" "$TK" reload "$CASE_DIR/$action.json"
	touch "$CASE_DIR/go.denied"
	for n in "${!WAY[@]}"; do
		[ "${ACTION[n]}" = "$action" ] || continue
		words "$n" denied
		errno=EACCES
		[[ ${WAY[n]} != recvfd* ]] || errno=MSG_CTRUNC # no errno reaches the receiver
		if [ -n "${held[n]:-}" ]; then
			wait_until "row $n has gone on" 20 grep -qE '^(ok|at |wrong|setup)' "$CASE_DIR/held.$n"
			outcome() { cat "$CASE_DIR/held.$n"; ! grep -q "^errno" "$CASE_DIR/held.$n" || return 10; }
			refused "denied: $action: ${WAY[n]}" $errno outcome
		else
			refused "denied: $action: ${WAY[n]}" $errno "${WORDS[@]}"
		fi
	done
	check "the audit trail names $action" grep -q "\"$action\"" <("$TK" events --json --last 200)
	permitted "reload, permitting everything" "$TK" reload "$everything"
done
