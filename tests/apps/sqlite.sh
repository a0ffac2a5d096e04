# shellcheck shell=bash
# SQLite with a write-ahead log: several processes, no server.  With synchronous=off a power cut takes away what was
# acknowledged: so was this test seen to fail.
. tests/apps/database.sh
OWNER=1001 PROGRAMS=(/usr/bin/sqlite3) KILLED='all sqlite3' TRANSFERS=180
as 1001
client=("${AS[@]}" stdbuf -oL sqlite3 -bail -batch -cmd '.timeout 120000' -cmd 'pragma synchronous=full' "$GUARD/db")
SCHEMA='create table account (id integer primary key, balance int not null);
	create table journal (id integer primary key, source int, target int, amount int, note text);
	create index by_source on journal (source); create index by_target on journal (target);'
BEGIN='begin immediate'
OWN_CHECKS='PRAGMA integrity_check'
# The log is emptied into the database.
extra() { echo "pragma wal_checkpoint(truncate);"; }

make_database() {
	permitted "a database with a write-ahead log" sql 'pragma journal_mode=wal;'
	same "it has one" wal "$OUTPUT"
}
start_server() { :; }
server_lives() { :; }
gone() { ! pgrep -x sqlite3; }
kill_server() {
	local pids
	pids=$(pgrep -x sqlite3)
	check "clients are there to be killed" test -n "$pids"
	# shellcheck disable=SC2086
	kill -KILL $pids
}
stop_server() { wait_until "nobody has it open" 60 gone; }
own_checks() {
	permitted "$1: integrity_check" sql 'pragma integrity_check; pragma journal_mode;'
	same "$1: it finds nothing" "ok${NEWLINE}wal" "$OUTPUT"
}
