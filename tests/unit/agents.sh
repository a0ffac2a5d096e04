# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# tests/unit/agents.sh - for other tests to source: a command beside an agent that
# answers every request with the same words.  Needs root and a mount namespace.

# Not in a chroot that is no mount.
can_play_agent() { [ "$(id -u)" -eq 0 ] && unshare -m true 2> /dev/null; }

# CODE STATUS COMMAND...: with an agent that says so.
agents() {
	local code=$1 status=$2
	shift 2
	# shellcheck disable=SC2016 # for the inner shell
	unshare -m sh -c 'mount -t tmpfs none /run && mkdir /run/takakrypt || exit 99
		status=$1; shift
		python3 - "$status" <<"END" &
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind("/run/takakrypt/new")
s.listen()
os.rename("/run/takakrypt/new", "/run/takakrypt/control")
while True:
    c = s.accept()[0]
    try: # some only look whether anybody is there
        c.recv(4096) and c.sendall(sys.argv[1].encode() + b"\n")
    except OSError:
        pass
    c.close()
END
		agent=$! tries=0
		until [ -S /run/takakrypt/control ]; do
			tries=$((tries + 1))
			if ! kill -0 $agent 2> /dev/null || [ $tries -gt 3000 ]; then
				echo "the agent that is played does not come up" > err
				exit 98
			fi
			sleep 0.02
		done
		"$@" > out 2> err; rc=$?; kill $agent; exit $rc' sh "$status" "$@"
	[ $? -eq "$code" ]
}
