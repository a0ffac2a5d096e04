# shellcheck shell=bash
# Owns what every case can say: this was permitted, this was refused with that errno, this
# holds. `cases` sources it before the case; a case is a plain list of such statements.
#
# Known here:  $PROBE     the probe (its operations: `build/tests/probe --list`)
#              $TK        the command under test
#              $CASE_DIR  an empty directory in memory, gone afterwards
#              $DISKS     where the case's scratch file systems are mounted
# Statements report and go on; a case fails if one of them did not hold, if it made none,
# or if it ends with another status than 0. A case's header may have
#              # disks: ext4 xfs btrfs     default ext4
#              # timeout: SECONDS          default 120
#              # boot: OPTIONS OF run      a boot with these, shared by cases with the same line

PROBE=/tmp/bin/probe
TK=$TK_TOP/build/takakrypt-bpf
DISKS=$(echo /mnt/*)

# Builtins only from here on: on an emulated CPU each program started costs 50 to 100 ms.
NEWLINE='
'
_log() { printf '%s\n' "$*" >>"$CASE_DIR/.statements"; }
_holds() {
	_log "ok $1"
	echo "ok: $1"
}
_fails() {
	_log "not ok $1"
	echo "NOT OK: $1: $2"
	[ -z "${3:-}" ] || echo "    | ${3//$NEWLINE/$NEWLINE    | }"
}

# Does TEXT have this line?
_has_line() { [[ $NEWLINE$1$NEWLINE == *"$NEWLINE$2$NEWLINE"* ]]; }

# Sets OPERATION to what the probe says it performed; to nothing if this was no probe.
_operation() {
	OPERATION=
	[[ $1 != "probe "* ]] || { OPERATION=${1#probe }; OPERATION=${OPERATION%%"$NEWLINE"*}; }
}

# A file and no variable: statements in subshells count too.
_was_permitted() {
	local line
	while read -r line; do
		[ "$line" != "$1" ] || return 0
	done <"$CASE_DIR/.permitted"
	return 1
} 2>/dev/null
_note_permitted() {
	_operation "$1"
	[ -z "$OPERATION" ] || echo "$OPERATION" >>"$CASE_DIR/.permitted"
}

# permitted LABEL COMMAND...: ends with 0. The output is in $OUTPUT.
permitted() {
	local label=$1 status=0
	shift
	OUTPUT=$("$@" 2>&1) || status=$?
	if [ $status = 0 ]; then
		_note_permitted "$OUTPUT"
		_holds "$label"
	else
		_fails "$label" "'$*' ended with $status" "$OUTPUT"
	fi
}

# refused LABEL ERRNO PROBE...: the kernel refuses with ERRNO. Counts only if the same operation
# was permitted somewhere earlier in the case: otherwise nobody knows that it works at all.
refused() {
	local label=$1 errno=$2 status=0
	shift 2
	OUTPUT=$("$@" 2>&1) || status=$?
	_operation "$OUTPUT"
	if [ -z "$OPERATION" ]; then
		_fails "$label" "'$*' is no probe, so a denial cannot be told from a failure" "$OUTPUT"
	elif [ $status != 10 ]; then
		_fails "$label" "not refused: ended with $status" "$OUTPUT"
	elif ! _has_line "$OUTPUT" "errno $errno"; then
		_fails "$label" "refused, but not with $errno" "$OUTPUT"
	elif ! _was_permitted "$OPERATION"; then
		_fails "$label" "$OPERATION was never permitted before, so its refusal proves nothing" "$OUTPUT"
	else
		_holds "$label"
	fi
}

# cant LABEL COMMAND...: a program that is no probe is refused, in the kernel's words (EACCES).
cant() {
	local label=$1 status=0
	shift
	OUTPUT=$("$@" 2>&1 >/dev/null) || status=$?
	if [ $status != 0 ] && [[ $OUTPUT == *"ermission denied"* ]]; then _holds "$label"
	else _fails "$label" "'$*' ended with $status" "$OUTPUT"; fi
}

# reads LABEL TEXT COMMAND...: permitted, and the data read contains TEXT.
reads() {
	local label=$1 text=$2 status=0
	shift 2
	OUTPUT=$("$@" 2>&1) || status=$?
	if [ $status != 0 ]; then
		_fails "$label" "'$*' ended with $status" "$OUTPUT"
	elif [[ $OUTPUT != *"$text"* ]]; then
		_fails "$label" "'$text' was not read" "$OUTPUT"
	else
		_note_permitted "$OUTPUT"
		_holds "$label"
	fi
}

# check LABEL COMMAND...: ends with 0. For everything that is no access.
check() {
	local label=$1 status=0
	shift
	OUTPUT=$("$@" 2>&1) || status=$?
	if [ $status = 0 ]; then
		_holds "$label"
	else
		_fails "$label" "'$*' ended with $status" "$OUTPUT"
	fi
}

# ends_with LABEL STATUS COMMAND...: exactly this exit status.
ends_with() {
	local label=$1 expected=$2 status=0
	shift 2
	OUTPUT=$("$@" 2>&1) || status=$?
	if [ $status = "$expected" ]; then
		_holds "$label"
	else
		_fails "$label" "'$*' ended with $status and not $expected" "$OUTPUT"
	fi
}

# same LABEL EXPECTED ACTUAL
same() {
	if [ "$2" = "$3" ]; then _holds "$1"; else _fails "$1" "expected '$2', got '$3'"; fi
}

# wait_until LABEL SECONDS COMMAND...: becomes true within the limit. Never a bare sleep.
wait_until() {
	local label=$1 end=$((SECONDS + $2)) status
	shift 2
	while :; do
		status=0
		OUTPUT=$("$@" 2>&1) || status=$?
		[ $status != 0 ] || break
		if [ $SECONDS -ge $end ]; then
			_fails "$label" "'$*' still ends with $status" "$OUTPUT"
			return 1
		fi
		sleep 0.02
	done
	_holds "$label"
}

# background FILE COMMAND...: starts it with output to FILE; $! is its process.
background() {
	local out=$1
	shift
	"$@" >"$out" 2>&1 &
}

# probe_as PATH: a copy of the probe, that is another executable, under this name.
probe_as() { mkdir -p "$(dirname "$1")" && cp "$PROBE" "$1" && chmod 755 "$1"; }

# skip REASON: nothing to test on this kernel or file system. Ends the case.
skip() {
	_log "skip $*"
	exit 0
}

# give_up REASON: the case cannot go on. Ends it as failed.
give_up() {
	_fails "${1:-the case goes on}" "gave up"
	exit 1
}

# Runs when the case ends, last registered first; also when it fails.
_exits=()
at_exit() { _exits=("$*" ${_exits[@]+"${_exits[@]}"}); }
_leave() {
	local status=$? command
	for command in ${_exits[@]+"${_exits[@]}"}; do eval "$command"; done
	exit $status
}
trap _leave EXIT
