#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# tests/differential/mutation_test.sh - each deliberate fault must be noticed by
# the differential test.
#
# usage: mutation_test.sh DIFFERENTIAL
set -u
passed=0 failed=0
for kind in flip-permit wrong-rule drop-negation drop-dimension last-match drop-browse browse-with-key \
	drop-apply-key slash-is-a-byte last-state drop-login drop-integrity drop-audit drop-mode learn-is-monitor no-users no-processes any-unit no-times \
	day-of-the-end; do
	if "$1" --seed 7 --cases 40000 --mutate $kind; then
		echo "ok $kind is noticed"
		passed=$((passed + 1))
	else
		echo "not ok $kind is noticed"
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
