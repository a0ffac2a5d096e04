# shellcheck shell=bash
# Owns what the tests of the command's words share: a directory of their own, what is expected, the count.
# usage, in a test: . "$(dirname "$0")/lib.sh"      its first argument is the command, which is then $command
set -u
command=$(realpath "$1")
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
passed=0 failed=0

# expect LABEL STATUS PATTERN COMMAND...    the pattern must be in what is printed
expect() {
	local label=$1 status=$2 pattern=$3 out got
	shift 3
	out=$("$@" 2>&1)
	got=$?
	if [ $got = "$status" ] && grep -qF -- "$pattern" <<<"$out"; then
		passed=$((passed + 1))
		echo "ok $label"
	else
		failed=$((failed + 1))
		echo "not ok $label: status $got, not $status, or no \"$pattern\" in:"
		sed 's/^/  /' <<<"$out"
	fi
}

same() { # LABEL EXPECTED ACTUAL
	if [ "$2" = "$3" ]; then
		passed=$((passed + 1))
		echo "ok $1"
	else
		failed=$((failed + 1))
		echo "not ok $1: expected '$2', got '$3'"
	fi
}

# The last statement of a test: its status is the test's.
report() {
	echo "$passed passed, $failed failed"
	[ $failed = 0 ]
}
