# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# tests/unit/suite.sh - for other tests to source first: the command in $tk (the script's argument, or
# build/takakrypt-bpf), an empty directory to work in, and the counting.
set -u

here=$(cd "$(dirname "$0")" && pwd)
tk=$(realpath "${1:-$here/../../build/takakrypt-bpf}")
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
umask 022
passed=0 failed=0

check() { # NAME COMMAND...
	local name=$1
	shift
	if "$@"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL $name"
		sed 's/^/    /' err out 2> /dev/null
	fi
}
run() { # CODE ARGUMENT...
	local code=$1
	shift
	"$tk" "$@" > out 2> err
	[ $? -eq "$code" ]
}
