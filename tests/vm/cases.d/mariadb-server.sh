# shellcheck shell=bash
# Owns a MariaDB server as the cases run it (no case itself: each sources it): small, as user mysql, with its
# socket and temporary files in $CASE_DIR.
export LC_ALL=C.UTF-8
sock=$CASE_DIR/sock
mkdir -p "$CASE_DIR/tmp"
chmod 777 "$CASE_DIR" "$CASE_DIR/tmp"

# No function: what it starts in the background is the program itself.
as_mysql=(setpriv --reuid=mysql --regid=mysql --clear-groups env HOME="$CASE_DIR" TMPDIR="$CASE_DIR/tmp")
sql() { mariadb --no-defaults -S "$sock" -u root -N -B "$@"; }

# Like Debian's unit: as mysql from the first instruction.
start() { # LABEL DIRECTORY OPTION...
	local label=$1 directory=$2
	shift 2
	background "$CASE_DIR/server" "${as_mysql[@]}" /usr/sbin/mariadbd --no-defaults --datadir="$directory" --socket="$sock" \
		--pid-file="$CASE_DIR/pid" --tmpdir="$CASE_DIR/tmp" --skip-networking --skip-name-resolve \
		--innodb-buffer-pool-size=8M --innodb-log-file-size=8M --innodb-log-buffer-size=2M \
		--aria-pagecache-buffer-size=8M --key-buffer-size=1M --performance-schema=off "$@"
	server=$!
	wait_until "$label" 180 sql -e 'select 1' || { tail -n 20 "$CASE_DIR/server"; give_up "the server starts"; }
}
stop() { # LABEL
	local status=0
	kill "$server"
	wait "$server" || status=$?
	same "$1" 0 "$status"
}
