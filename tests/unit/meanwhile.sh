# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# tests/unit/meanwhile.sh - for other tests to source: a change made by somebody
# else exactly between two system calls of the command.

# CODE SYSCALL N CHANGE PATH COMMAND...: stops the command after its Nth SYSCALL on PATH, runs CHANGE, lets it go on.
meanwhile() {
	local code=$1 call=$2 n=$3 change=$4 path=$5 rc tracer pid
	shift 5
	: > trace
	strace -f -o trace -P "$path" -P "$(basename "$path")" -e trace="$call" \
		-e inject="$call:signal=STOP:when=$n" "$@" > out 2> err &
	tracer=$!
	while ! grep -q 'stopped by SIGSTOP' trace && kill -0 $tracer 2> /dev/null; do :; done
	eval "$change"
	pid=$(sed -n 's/^\([0-9]*\) .*stopped by SIGSTOP.*/\1/p;T;q' trace) # of several threads each says so
	# Until it ended: strace counts the calls of each thread, and another one may stop the command again.
	while kill -0 $tracer 2> /dev/null; do
		kill -CONT "$pid" 2> /dev/null
		sleep 0.02
	done
	wait $tracer
	rc=$?
	sed -i '/^strace: /d' err
	[ $rc -eq "$code" ]
}
