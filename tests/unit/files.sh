# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# tests/unit/files.sh - for other tests to source: damage to files, and what trees look like.

# FILE OFFSET: another byte than was there, whatever was there.
spoil() {
	printf "\\x$(printf %x $((($(od -An -tu1 -j "$2" -N 1 "$1") + 1) % 256)))" |
		dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
# DIRECTORY [FORMAT]: names, types, owners, modes, times, links and attributes; what else find -printf is to say.
shape() (
	set -o pipefail
	cd "$1" && find . ! -type d -printf "%P %y %m %U:%G %n %T@ %l ${2-}\n" | sort &&
		find . -print0 | sort -z | xargs -0 getfattr -hd -m '^user|posix_acl' -e hex
)
# DIRECTORY DIRECTORY [FORMAT]: what cannot be looked at is not the same.
same_shape() {
	local a b
	a=$(shape "$1" "${3-}") && b=$(shape "$2" "${3-}") && [ "$a" = "$b" ]
}
