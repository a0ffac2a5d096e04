# MariaDB with its data directory on a guard point that only the server may open, against one without:
# the same rows, through restarts, other ways of doing I/O, and the death of the agent under it.
# disks: ext4
# timeout: 900

. tests/vm/cases.d/mariadb-server.sh

umask 022
disk=/mnt/ext4
guard=$disk/guard
plain=$disk/plain
mkdir "$CASE_DIR/bin" "$guard" "$plain"
chown mysql:mysql "$guard" "$plain" || give_up "MariaDB is installed"
cp "$(command -v cp)" "$CASE_DIR/bin/backup-cp"
probe_as "$CASE_DIR/bin/backup-probe"
check "a key is generated" "$TK" key generate "$CASE_DIR/key"
cat >"$CASE_DIR/policy.json" <<JSON
{ "version": 1,
  "keys": { "mariadb": { "provider": "file", "path": "$CASE_DIR/key" } },
  "user_sets": { "mysql": { "users": ["mysql"] }, "root": { "users": ["root"] } },
  "process_sets": {
    "server": { "processes": [ { "path": "/usr/sbin/mariadbd" } ] },
    "backup": { "processes": [ { "path": "$CASE_DIR/bin/backup-*" } ] } },
  "policies": { "database": { "key": "mariadb", "chunk_size": 16384, "rules": [
    { "users": "mysql", "processes": "server", "actions": ["read", "write"], "effects": ["permit", "apply_key"] },
    { "users": "root", "processes": "backup", "actions": ["read"], "effects": ["permit"] },
    { "users": "root", "actions": ["list"], "effects": ["permit"] },
    { "actions": ["all_ops"], "effects": ["deny", "audit"] } ] } },
  "guard_points": [ { "name": "mariadb", "path": "$guard", "policy": "database" } ] }
JSON

install_database() { # LABEL DIRECTORY
	permitted "$1: mariadb-install-db" "${as_mysql[@]}" mariadb-install-db --no-defaults --datadir="$2" \
		--auth-root-authentication-method=normal --skip-test-db --skip-name-resolve \
		--innodb-log-file-size=8M --innodb-buffer-pool-size=8M
}
fill="create database bank; use bank;
create table account (id int primary key, owner varchar(40) not null, balance int, note text, key(owner)) engine=innodb;
create table journal (id int auto_increment primary key, line varchar(80)) engine=aria;
insert into account select seq, concat('owner-', md5(seq)), seq * 7 % 1000, concat('topsecret ', repeat(seq, 5)) from seq_1_to_10000;
insert into journal (line) select concat('line ', seq) from seq_1_to_1000;
update account set balance = balance + 1 where id % 10 = 0;
delete from account where id % 1000 = 7;"
sums="checksum table bank.account, bank.journal; select count(*), sum(balance), sum(crc32(concat(owner, note))) from bank.account;"

# ---------------------------------------------------------------- without

install_database plain "$plain"
start "plain: the server starts" "$plain"
permitted "plain: rows are inserted" sql -e "$fill"
permitted "plain: and read" sql -e "$sums"
expected=$OUTPUT
permitted "plain: root may read the tables" "$PROBE" open-read "$plain/bank/account.ibd"
check "plain: and finds what they say" grep -q topsecret "$plain/bank/account.ibd"
permitted "plain: so may a backup" "$CASE_DIR/bin/backup-probe" open-read "$plain/bank/account.ibd"
stop "plain: the server ends"
rm -rf "$plain"

# ---------------------------------------------------------------- the same in a guard point

# Everything with content is TAKA, and nothing of it can be read.
sealed() { # LABEL
	local bad
	check "$1: settled" "$TK" settle --timeout 120
	rm -rf "$CASE_DIR/backup"
	permitted "$1: a backup copies it" "$CASE_DIR/bin/backup-cp" -r "$guard" "$CASE_DIR/backup"
	same "$1: all of it" "$(find "$guard" -type f | wc -l)" "$(find "$CASE_DIR/backup" -type f | wc -l)"
	bad=$(find "$CASE_DIR/backup" -type f -size +0 -exec sh -c 'for f; do [ "$(head -c 4 "$f" | tr -d "\0")" = TAKA ] || echo "$f"; done' sh {} +)
	same "$1: it is TAKA, every file" "" "$bad"
	ends_with "$1: and tells nothing" 1 grep -rq topsecret "$CASE_DIR/backup"
}
correct() { # LABEL
	permitted "$1" sql -e "$sums"
	same "$1: they are the same" "$expected" "$OUTPUT"
}
agent_pid() { "$TK" status --json | sed -n 's/.*"pid":[^0-9]*\([0-9]*\).*/\1/p'; }

permitted "load" "$TK" load "$CASE_DIR/policy.json"
install_database guarded "$guard"
start "guarded: the server starts" "$guard"
permitted "guarded: rows are inserted" sql -e "$fill"
correct "guarded: and read"
check "guarded: root may see names" ls "$guard/bank/account.ibd"
refused "guarded: root cannot read a table" EACCES "$PROBE" open-read "$guard/bank/account.ibd"
cant "guarded: not with cat" cat "$guard/bank/account.ibd" "$guard/ibdata1"
cant "guarded: not with strings" bash -c 'strings "$@"' strings "$guard/bank/account.ibd"
cant "guarded: nor can mysql in another program" "${as_mysql[@]}" cat "$guard/bank/account.ibd"
refused "guarded: a backup waits for the server to close it" EBUSY "$CASE_DIR/bin/backup-probe" open-read \
	"$guard/bank/account.ibd"
stop "guarded: the server ends"
sealed "ended"

start "guarded: it starts again" "$guard"
correct "guarded: the rows are read back"
stop "guarded: it ends again"
start "guarded: with fsync and without native AIO" "$guard" --innodb-flush-method=fsync --innodb-use-native-aio=0
correct "guarded: the rows are there"
permitted "guarded: and are written" sql -e 'update bank.account set note = concat(note, "."); update bank.account set note = left(note, length(note) - 1)'
stop "guarded: it ends"
start "guarded: with O_DIRECT and native AIO" "$guard" --innodb-flush-method=O_DIRECT --innodb-use-native-aio=1
correct "guarded: the rows are there"
permitted "guarded: and are written" sql -e 'update bank.account set note = concat(note, "."); update bank.account set note = left(note, length(note) - 1)'

# ---------------------------------------------------------------- the agent dies under the server

check "agent: it is there" "$TK" status
kill -9 "$(agent_pid)"
gone() { ! "$TK" status; }
wait_until "agent: killed" 10 gone
permitted "agent: the server goes on writing without it" sql -e 'use bank; insert into account select id + 100000, owner, balance, note from account; delete from account where id > 100000'
correct "agent: and reading"
ends_with "agent: what is not open yet cannot be opened" 1 sql -e 'create table bank.fresh (a int) engine=innodb'
background "$CASE_DIR/agent" "$TK" agent
wait_until "agent: another one takes over" 60 "$TK" status
permitted "agent: now it can" sql -e 'create table bank.fresh (a int) engine=innodb; insert into bank.fresh values (42); select a from bank.fresh'
correct "agent: the rows are there"
stop "agent: the server ends"
sealed "after all that"

# A server that is killed recovers out of its own log.
start "crash: the server starts" "$guard"
correct "crash: the rows are there"
permitted "crash: a row is committed" sql -e 'insert into bank.fresh values (43)'
kill -9 "$server"
wait "$server" 2>/dev/null
start "crash: the server starts after it was killed" "$guard"
permitted "crash: it is asked" sql -e 'select sum(a) from bank.fresh'
same "crash: the row is there" 85 "$OUTPUT"
correct "crash: the rows are there"
stop "crash: the server ends"
sealed "after the crash"
permitted "unload" "$TK" unload
