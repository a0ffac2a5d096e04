#!/bin/bash
# A policy for programs whose files nobody knows by heart: MariaDB, vim and a backup work in two guard points in
# mode learn, `learn` writes the policy, and under it the same work goes on without one denial. Others are out.
# timeout: 600
. tests/vm/cases.d/guarded.sh
. tests/vm/cases.d/mariadb-server.sh

DB=$DISKS/db DOCS=$DISKS/docs SAVED=$CASE_DIR/saved
NEW=$CASE_DIR/new.json EVENTS=$CASE_DIR/events.jsonl
"$TK" key generate "$KEY" >/dev/null || give_up "no key"
mkdir -m 777 "$DB" "$DOCS" "$SAVED" "$CASE_DIR/home"
chown mysql:mysql "$DB" || give_up "MariaDB is installed"
echo "one line" >"$DOCS/report.txt"
echo "the last, by its name" >"$DOCS/zzz"
echo "read by everybody" >"$DB/journal.txt"
chmod 666 "$DOCS"/* "$DB"/*
cat >"$CASE_DIR/vimrc" <<'VIM'
set nocompatible nomodeline
set swapfile directory=. updatecount=1 backup writebackup backupdir=. backupskip= backupcopy=no
set undofile undodir=. viminfo=
VIM
in_vim() { # FILE COMMAND...: of ex
	local file=$1 command commands=()
	shift
	for command; do commands+=(-c "$command"); done
	setpriv --reuid=$STAFF --regid=$STAFF --clear-groups env HOME="$CASE_DIR/home" \
		vim -u "$CASE_DIR/vimrc" -es "${commands[@]}" "$file" </dev/null
}
# The system's backup user, who may pass by file modes, and keeps bytes as they are stored.
in_tar() {
	setpriv --reuid=backup --regid=backup --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search \
		tar --sort=name -C "$1" -cf "$SAVED/$2" .
}
as() { setpriv --reuid="$1" --regid="$1" --clear-groups "${@:2}"; }

# What everybody does, the same each time.
work() {
	start "$1: the server starts" "$DB" --skip-grant-tables
	permitted "$1: a database is made, filled, and asked" sql -e 'create database bank; use bank;
		create table account (id int primary key, owner varchar(40), key(owner)) engine=innodb;
		create table journal (line varchar(80)) engine=aria;
		insert into account select seq, concat("owner-", seq) from seq_1_to_2000;
		insert into journal select concat("line ", seq) from seq_1_to_100;
		delete from account where id % 100 = 7; alter table account add note text;
		select count(*), sum(id) from account; select count(*) from journal'
	same "$1: the answer is right" "1980	1981860$NEWLINE""100" "$OUTPUT"
	permitted "$1: and removed" sql -e 'drop database bank'
	stop "$1: the server ends"
	permitted "$1: vim adds a line" in_vim "$DOCS/report.txt" "normal Goanother line" wq
	permitted "$1: and changes it, over its backup and undo files" in_vim "$DOCS/report.txt" 's/another/one more/' wq
	permitted "$1: vim reads" in_vim "$DOCS/report.txt" %p q!
	same "$1: what it wrote" "one more line" "${OUTPUT##*"$NEWLINE"}"
	settled "$1: settled"
	permitted "$1: the database is saved" in_tar "$DB" db.tar
	permitted "$1: and the documents" in_tar "$DOCS" docs.tar
	rm -rf "$SAVED/files"
	mkdir "$SAVED/files"
	check "$1: the archives are whole" bash -c "tar -C '$SAVED/files' -xf '$SAVED/db.tar' && tar -C '$SAVED/files' -xf '$SAVED/docs.tar'"
	same "$1: what was saved is TAKA, every file" "" "$(find "$SAVED/files" -type f -size +0 -exec sh -c \
		'for f; do [ "$(head -c 4 "$f" | tr -d "\0")" = TAKA ] || echo "$f"; done' sh {} +)"
	check "$1: all of it" test -s "$SAVED/files/ibdata1" -a -s "$SAVED/files/report.txt" -a -s "$SAVED/files/zzz"
}

# Before anything is guarded an intruder reads, too: his refusal afterwards counts.
start "before: the server makes its files" "$DB" --skip-grant-tables
stop "before: and ends"
permitted "before: the intruder reads a document" as 1003 cat "$DOCS/report.txt"
permitted "before: root reads it" cat "$DOCS/report.txt"
permitted "before: root reads the database" cat "$DB/journal.txt"
permitted "before: the server's user with another program, too" as mysql cat "$DB/journal.txt"
permitted "before: the intruder writes" as 1003 touch "$DOCS/report.txt"

cat >"$POLICY" <<END
{ "version": 1,
  "keys": { "case": { "provider": "file", "path": "$KEY" } },
  "user_sets": { "keepers": { "users": ["backup"] } },
  "process_sets": { "tar": { "processes": [ { "path": "$(readlink -f "$(command -v tar)")" } ] } },
  "policies": { "work": { "key": "case", "rules": [
    { "users": "keepers", "processes": "tar", "actions": ["read"], "effects": ["permit"] } ] } },
  "guard_points": [
    { "name": "database", "path": "$DB", "policy": "work", "mode": "learn" },
    { "name": "documents", "path": "$DOCS", "policy": "work", "mode": "learn" } ] }
END
load
settled
background "$EVENTS" "$TK" events --json --follow
follower=$!
work learning
last() { jq -e 'select(.path | endswith("/docs/zzz")) | select(.action == "data_read" and (.exe // "" | endswith("/tar")))' \
	"$EVENTS" | grep -q .; }
wait_until "the last deed is recorded" 30 last
everything() { [ "$(wc -l <"$EVENTS")" = "$(status .events.recorded)" ]; }
wait_until "and all before it" 30 everything
kill $follower
same "nothing was lost" 0 "$(status .counters.events_dropped)"
check "learn" "$TK" learn --from "$EVENTS" -o "$NEW"
same "no warning" "" "$OUTPUT"
check "what was learnt is a policy" "$TK" check "$NEW"
check "the recording against it: nothing would be denied" "$TK" replay "$NEW" "$EVENTS"
users() { jq -c --arg of "$1" '[(.guard_points[] | select(.name == $of).policy) as $p | .policies[$p].rules[].users |
	if type == "array" then .[] else . end | strings] | unique' "$NEW"; }
same "who uses the database" '["keepers","mysql"]' "$(users database)"
same "who uses the documents" "[\"$STAFF\",\"keepers\"]" "$(users documents)"

denials() { "$TK" events --json | jq -r "select(.verdict == \"deny\" ${1:-}) | [.action, .path, .uid, .exe // .comm, .reason] | join(\" \")"; }
check "reload with it" "$TK" reload "$NEW"
settled
same "it enforces" "enforce enforce" "$(status '[.guard_points[].mode] | join(" ")')"
work enforced
same "no denial" "" "$(denials)"
same "and none was lost" 0 "$(status .counters.events_dropped)"

cant "the intruder does not read" as 1003 cat "$DOCS/report.txt"
cant "nor write" as 1003 touch "$DOCS/report.txt"
cant "nor as who may, with another program" as $STAFF cat "$DOCS/report.txt"
cant "root does not read" cat "$DOCS/report.txt"
cant "nor the database" cat "$DB/journal.txt"
cant "nor does the server's user with another program" as mysql cat "$DB/journal.txt"
recorded() { [ -n "$(denials "$1")" ]; }
wait_until "that is recorded" 10 recorded 'and .uid == 1003 and .reason == "no_rule"'
wait_until "of root as well" 10 recorded "and .uid == 0 and .path == \"$DB/journal.txt\""
settled "at the end"
same "no record is left" 0 "$(status .files.records)"
