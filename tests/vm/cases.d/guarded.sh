# shellcheck shell=bash
# Owns what the cases of the product share (no case itself: each sources it): who acts, a policy
# with one guard point on each disk, and how its files are looked at.
#
#	app		an authorised user in an authorised program: plaintext
#	backup		root in a program that may read and write bytes as stored
#	stranger	another user in the authorised program
#	other		the authorised user in another program
#	root		root in the authorised program
#	anyone		all three that have no right

# A boot has the disks of all its cases: this one's are those of its header.
DISKS=$(sed -n 's|^# disks: *||p' "${BASH_SOURCE[1]}")
DISKS=/mnt/${DISKS:-ext4}
DISKS=${DISKS// / /mnt/}

STAFF=1001
APP=$CASE_DIR/bin/app
BACKUP=$CASE_DIR/bin/backup
KEY=$CASE_DIR/key
POLICY=$CASE_DIR/policy.json
probe_as "$APP"
probe_as "$BACKUP"

# What still runs would keep files open, and so the policy in force.
at_exit 'for it in app backup probe; do pkill -KILL -x $it || true; done'

app() { "$APP" --uid $STAFF "$@"; }
backup() { "$BACKUP" "$@"; }
stranger() { "$APP" --uid 1002 "$@"; }
other() { "$PROBE" --uid $STAFF "$@"; }
root() { "$APP" "$@"; }

USER_SETS='"staff": { "users": ["1001"] }'
PROCESS_SETS='"app": { "processes": [ { "path": "'$APP'" } ] },
	"backup": { "processes": [ { "path": "'$BACKUP'" } ] }'
RESOURCE_SETS=
TIME_SETS=
PLAIN_RULE='{ "users": "staff", "processes": "app", "actions": ["read", "write"], "effects": ["permit", "apply_key"] }'
RAW_RULE='{ "processes": "backup", "actions": ["read", "write"], "effects": ["permit"] }'

# policy FILE RULES PATH...: a policy with these rules for guard points at these paths. $MODE may
# be "monitor".
policy() {
	local file=$1 rules=$2 guards='' path
	shift 2
	for path in "$@"; do
		guards="$guards${guards:+,} { \"name\": \"guard$((${#guards} > 0))-${path//[^a-z0-9]/}\", \"path\": \"$path\",
			\"policy\": \"documents\", \"mode\": \"${MODE:-enforce}\" }"
	done
	cat >"$file" <<-END
	{ "version": 1,
	  "keys": { "case": { "provider": "file", "path": "$KEY" } },
	  "user_sets": { $USER_SETS },
	  "process_sets": { $PROCESS_SETS },
	  "resource_sets": { $RESOURCE_SETS },
	  "time_sets": { $TIME_SETS },
	  "policies": { "documents": { "key": "case", "rules": [ $rules ] } },
	  "guard_points": [ $guards ] }
	END
}

# prepare: a key, a directory "guarded" and one "outside" on each disk, $POLICY for them.
# load [OPTION...]: puts it into force.
prepare() {
	local disk
	[ -e "$KEY" ] || "$TK" key generate "$KEY" >/dev/null || give_up "no key"
	for disk in $DISKS; do
		mkdir -p "$disk/guarded" "$disk/outside"
		chmod 777 "$disk/guarded" "$disk/outside"
	done
	# shellcheck disable=SC2086
	policy "$POLICY" "$PLAIN_RULE, $RAW_RULE" ${DISKS// //guarded }/guarded
}
load() {
	"$TK" load "$@" "$POLICY" >"$CASE_DIR/load" 2>&1 || give_up "load: $(cat "$CASE_DIR/load" /run/takakrypt/agent.log)"
	_holds "the policy is loaded"
}

# own_command: from now on the command is a copy that is root's alone, whoever has built it; key_op is for no other.
own_command() {
	install -D -m 755 "$TK" "$CASE_DIR/bin/takakrypt-bpf" || give_up "no copy of the command"
	TK=$CASE_DIR/bin/takakrypt-bpf
}

# sealed LABEL FILE: ciphertext lies on the disk, at once or soon.
sealed() { reads "$1: ciphertext on the disk" "data TAKA" "$BACKUP" --repeat-until-ok 20000 open-read "$2"; }
# Everything that is closed is sealed.
settled() { check "${1:-everything is sealed}" "$TK" settle --timeout 30; }
# status EXPRESSION: of jq, on the agent's state.
status() { "$TK" status --json | jq -r "$1"; }
agent_pid() { status .pid; }
# refused_any LABEL ERRNOS PROBE...: refused with one of these, and nothing read. Who waits for the
# agent gets the agent's errno, or EPERM on kernels where fanotify can give no other.
refused_any() {
	local label=$1 errnos=$2 out errno
	shift 2
	out=$("$@")
	errno=$(sed -n 's/^errno //p' <<<"$out")
	check "$label (${errno:-not refused})" test -n "$errno" -a "${errnos/"$errno"/}" != "$errnos"
	same "$label: nothing was read" "" "$(grep ^data <<<"$out")"
}
