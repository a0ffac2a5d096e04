# shellcheck shell=bash
# PostgreSQL with checksums and small WAL segments, so that they change often.
. tests/apps/database.sh
BIN=$(dirname "$(ls -d /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)")
OWNER=postgres PROGRAMS=("$BIN/postgres" "$BIN/initdb" "$BIN/pg_checksums") KILLED=postgres TRANSFERS=120
as postgres
DATA=$GUARD/data SOCKETS=$CASE_DIR/tmp
client=("${AS[@]}" "$BIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$SOCKETS" -U postgres -d postgres)
SCHEMA='create table account (id int primary key, balance int not null);
	create table journal (id int primary key, source int, target int, amount int, note text);
	create index on journal (source); create index on journal (target);'
BEGIN=begin
OWN_CHECKS='pg_amcheck --heapallindexed' AT_REST=pg_checksums
# Another table comes and goes.
extra() { echo "create table side_$1 (a int primary key); insert into side_$1 values ($1); drop table side_$1;"; }

make_database() {
	permitted "initdb" "${AS[@]}" "$BIN/initdb" -D "$DATA" -k -A trust -E UTF8 --locale=C --wal-segsize=1 --no-sync
}
answers() { sql 'select 1;'; }
start_server() {
	"${AS[@]}" "$BIN/postgres" -D "$DATA" -k "$SOCKETS" -c listen_addresses= -c shared_buffers=16MB \
		-c max_connections=20 -c checkpoint_timeout=30s -c min_wal_size=2MB -c max_wal_size=8MB \
		-c autovacuum_naptime=10s -c recovery_init_sync_method=syncfs >>"$CASE_DIR/server" 2>&1 7>&- 8>&- &
	SERVER=$!
	wait_until "the server starts" 240 answers || { tail -n 30 "$CASE_DIR/server"; give_up "the server starts"; }
}
server_lives() { kill -0 "$SERVER" 2>/dev/null; }
# Every process of it, as nobody else would take part in shared memory afterwards.
gone() { ! pgrep -x postgres; }
kill_server() {
	kill -KILL "$SERVER"
	wait "$SERVER" 2>/dev/null
	pkill -KILL -x postgres
	wait_until "the server is killed" 60 gone
}
stop_server() {
	local status=0
	kill -INT "$SERVER"
	wait "$SERVER" || status=$?
	same "the server ends" 0 $status
	permitted "pg_checksums" "${AS[@]}" "$BIN/pg_checksums" --check -D "$DATA"
	reads "pg_checksums finds nothing" "Bad checksums:  0" echo "$OUTPUT"
}
own_checks() {
	permitted "$1: pg_amcheck" "${AS[@]}" PGOPTIONS=-cclient_min_messages=warning "$BIN/pg_amcheck" -h "$SOCKETS" -U postgres \
		--all --heapallindexed --install-missing
	same "$1: it finds nothing" "" "$OUTPUT"
}
