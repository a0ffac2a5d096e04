#!/bin/bash
# Owns the building and running of the agent's tests: the real agent on loop-mounted filesystems, beside
# a kernel half in user space.
#
# usage: tests/agent/run.sh [PART] [FILESYSTEM...]
#        ext4 xfs btrfs; the parts are in main.c; needs root, loop devices, and for --crash /dev/fuse
set -eu
cd "$(dirname "$0")/../.."
out=build/tests/agent
mkdir -p "$out"
if [ "$(id -u)" != 0 ]; then
	echo "tests/agent/run.sh: root is needed" >&2
	exit 2
fi
# Calls that change something go through tests/agent/crash_points.c, which can let the agent die there.
wrap=
for name in fsync fdatasync syncfs sync_file_range ftruncate64 futimens renameat2 unlinkat linkat fsetxattr ioctl open64 openat64 pread64 pwrite64 \
	fallocate64 open_by_handle_at malloc calloc realloc fstat64 fstatvfs64 sysconf send connect fanotify_mark; do
	wrap="$wrap -Wl,--wrap=$name"
done
# shellcheck disable=SC2086
${CC:-gcc} -std=gnu17 -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 \
	${SANITIZE:+-fsanitize=$SANITIZE} -I. -Ibuild -o "$out/agent_test" \
	tests/agent/*.c loader/{cmd_key,cmd_rekey,options,problems,util}.c loader/keys/*.c loader/trees/{lease,replace,tree,unfinished}.c \
	loader/agent/*.c loader/policy/*.c loader/kernel/{places,shortage}.c crypto/*.c \
	$wrap $(pkg-config --cflags --libs fuse3 p11-kit-1) -lcrypto -lcjson -lz -lpthread
[ -z "${TK_BUILD_ONLY:-}" ] || exit 0
# Ten thousand crashes are too much to ask of a disk; what is durable is for the tests' own disk to say.
case ${1:-} in
--crash* | --races* | --limits*) [ ! -d /dev/shm ] || export TMPDIR=/dev/shm ;;
esac
exec "$out/agent_test" "$@"
