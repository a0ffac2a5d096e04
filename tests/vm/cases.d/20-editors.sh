# nano and vim on a terminal, by key strokes, in a plain directory and in a guard point: what they show, what
# they write, and the swap, backup and undo files they leave must be the same. Owns these sessions.
# disks: ext4
# timeout: 600

JANE=1001 BOB=1002
export LC_ALL=C.UTF-8 TERM=vt100
disk=/mnt/ext4
umask 0
chmod 755 "$CASE_DIR"
mkdir -m 777 "$CASE_DIR/home" "$CASE_DIR/bin" "$disk/plain" "$disk/guard"
as() {
	local uid=$1
	shift
	setpriv --reuid="$uid" --regid="$uid" --clear-groups env HOME="$CASE_DIR/home" "$@"
}
nano=$(readlink -f "$(command -v nano)") vim=$(readlink -f "$(command -v vim)")
[ -n "$nano" ] && [ -n "$vim" ] && command -v expect >/dev/null || give_up "nano, vim and expect are installed"
cp "$vim" "$CASE_DIR/bin/vim"
cp "$nano" "$CASE_DIR/bin/nano"
cp "$(command -v cp)" "$CASE_DIR/bin/backup-cp"
check "a key is generated" "$TK" key generate "$CASE_DIR/key"
cat >"$CASE_DIR/policy.json" <<JSON
{ "version": 1,
  "keys": { "editors": { "provider": "file", "path": "$CASE_DIR/key" } },
  "user_sets": { "jane": { "users": ["$JANE"] }, "root": { "users": ["0"] } },
  "process_sets": {
    "editors": { "processes": [ {"path": "$nano"}, {"path": "$vim"} ] },
    "readers": { "processes": [ {"path": "$(readlink -f "$(command -v cat)")"}, {"path": "$(readlink -f "$(command -v ls)")"},
      {"path": "$(readlink -f "$(command -v rm)")"} ] },
    "backup": { "processes": [ {"path": "$CASE_DIR/bin/backup-cp"} ] } },
  "policies": { "p": { "key": "editors", "rules": [
    { "users": "jane", "processes": ["editors", "readers"], "actions": ["read", "write"], "effects": ["permit", "apply_key"] },
    { "users": "root", "processes": "backup", "actions": ["read"], "effects": ["permit"], "browse": true } ] } },
  "guard_points": [ { "name": "editors", "path": "$disk/guard", "policy": "p" } ] }
JSON
cat >"$CASE_DIR/vimrc" <<'VIM'
set nocompatible noesckeys nomodeline shortmess=filnxtToO
set swapfile directory=. updatecount=1 updatetime=100
set backup writebackup backupdir=. backupskip= backupcopy=no
set undofile undodir=. viminfo=
VIM

# What every session can say; the rest of it is read from standard input.
cat >"$CASE_DIR/words" <<'EXPECT'
log_user 0
set timeout 30
match_max 100000
set stty_init "rows 24 columns 80"
set said ""
proc open {name uid args} {
	global $name env
	spawn -noecho setpriv --reuid=$uid --regid=$uid --clear-groups env HOME=$env(CASE_DIR)/home {*}$args
	set $name $spawn_id
}
proc broke {what} {
	upvar #0 expect_out out
	puts "$what"
	catch {puts [string map {\033 ^} $out(buffer)]}
	exit 1
}
proc see {session text} {
	global $session
	expect -i [set $session] -ex $text {} timeout {broke "'$text' was not seen"} eof {broke "ended before '$text'"}
}
# What must not be seen before text is.
proc see_without {session bad text} {
	global $session
	expect -i [set $session] -ex $bad {broke "'$bad' was seen"} -ex $text {} timeout {broke "'$text' was not seen"} \
		eof {broke "ended before '$text'"}
}
proc keys {session text} {
	global $session
	send -i [set $session] -- $text
}
proc over {session} {
	global $session
	expect -i [set $session] eof {} timeout {broke "it did not end"}
	if {[lindex [wait -i [set $session]] 3]} {broke "it failed"}
}
EXPECT
export CASE_DIR

# session LABEL [PLACE...]: the key strokes on standard input, in each place (plain, guard).
session() {
	local label=$1 place script
	script=$(cat)
	shift
	for place in "${@:-plain guard}"; do
		for place in $place; do
			printf 'source %s/words\ncd %s\n%s\n' "$CASE_DIR" "$disk/$place" "$script" >"$CASE_DIR/script"
			export TK_PLACE=$place
			check "$label ($place)" expect -f "$CASE_DIR/script"
		done
		[ "$place" != guard ] || check "$label: sealed" "$TK" settle --timeout 60
	done
}
# alike LABEL: the files, and their contents but for times and process numbers in them, are the same.
alike() {
	local place plain guard
	for place in plain guard; do
		printf -v $place '%s' "$(cd "$disk/$place" && as $JANE ls -A && as $JANE cat doc doc~ note note~ 2>/dev/null)"
	done
	same "$1" "$plain" "$guard"
}
content() { # LABEL FILE TEXT
	same "$1" "$3" "$(as $JANE cat "$disk/guard/$2" 2>&1)"
}

permitted "load" "$TK" load "$CASE_DIR/policy.json"

# ---------------------------------------------------------------- nano

session "nano writes a new file" <<END_
open n $JANE $nano --ignorercfiles note
see n "New File"
keys n "one\rtwo\rthree\x0f"
see n "to Write"
keys n "\r"
see n "Wrote 3 lines"
keys n "\x18"
over n
END_
content "nano: it is there" note $'one\ntwo\nthree'
session "nano changes an encrypted file, keeping a backup" <<END_
open n $JANE $nano --ignorercfiles --backup +2,1 note
see n "two"
keys n "before "
see n "before"
keys n "\x0f"
see n "to Write"
keys n "\r"
see n "Wrote 3 lines"
keys n "and again "
keys n "\x18"
see n "Save modified"
keys n "y"
see n "to Write"
keys n "\r"
over n
END_
content "nano: it is changed" note $'one\nbefore and again two\nthree'
session "nano in two sessions" <<END_
open a $JANE $nano --ignorercfiles note
see a "before and again"
open b $JANE $nano --ignorercfiles note
see b "before and again"
keys a "A\x0f"
see a "to Write"
keys a "\r"
see a "Wrote"
keys a "\x18"
over a
keys b "never saved\x18"
see b "Save modified"
keys b "n"
over b
END_
content "nano: the first has won" note $'Aone\nbefore and again two\nthree'
alike "nano leaves the same in both places"

# ---------------------------------------------------------------- vim

session "vim writes a new file" <<END_
open v $JANE $vim -u $CASE_DIR/vimrc doc
see v "New"
keys v "iline one\rline two\x1b:w\r"
see v "2L, 18B written"
keys v ":q\r"
over v
END_
content "vim: it is there" doc $'line one\nline two'
session "vim changes an encrypted file, keeping backup, swap and undo files" <<END_
open v $JANE $vim -u $CASE_DIR/vimrc doc
see v "2L, 18B"
keys v "Goline three\x1b"
see v "three"
keys v ":echo 'swap' filereadable('.doc.swp')\r"
see v "swap 1"
keys v ":w\r"
see v "3L, 29B written"
keys v ":echo 'backup' readfile('doc~')\r"
see v {['line one', 'line two']}
keys v ":echo 'undo' filereadable('.doc.un~')\r"
see v "undo 1"
keys v "ggdd:wq\r"
over v
END_
content "vim: it is changed" doc $'line two\nline three'
content "vim: the backup is the version before" doc~ $'line one\nline two\nline three'
session "vim undoes what an earlier session did" <<END_
open v $JANE $vim -u $CASE_DIR/vimrc doc
see v "2L, 20B"
keys v "u"
see v "1 more line"
keys v ":w\r"
see v "3L, 29B written"
keys v ":q\r"
over v
END_
content "vim: it is undone" doc $'line one\nline two\nline three'
session "vim overwrites in place" <<END_
open v $JANE $vim -u $CASE_DIR/vimrc -c "set backupcopy=yes" doc
see v "3L, 29B"
keys v ":%s/line/row/\r"
see v "3 substitutions"
keys v ":w\r"
see v "3L, 26B written"
keys v ":q\r"
over v
END_
content "vim: it is overwritten" doc $'row one\nrow two\nrow three'
session "vim in two sessions" <<END_
open a $JANE $vim -u $CASE_DIR/vimrc doc
see a "3L, 26B"
keys a "Gofrom the first\x1b"
see a "first"
keys a ":preserve\r"
see a "preserved"
open b $JANE $vim -u $CASE_DIR/vimrc doc
see b "Found a swap file"
keys b "o"
see b "row three"
keys b ":q\r"
over b
keys a ":w\r"
see a "4L, 41B written"
keys a ":q\r"
over a
END_
content "vim: the first has written" doc $'row one\nrow two\nrow three\nfrom the first'
session "vim is killed, and recovers from the swap file" <<END_
open a $JANE $vim -u $CASE_DIR/vimrc doc
see a "4L, 41B"
keys a "Gounsaved\x1b"
see a "unsaved"
keys a ":preserve\r"
see a "preserved"
exec kill -9 [exp_pid -i \$a]
expect -i \$a eof
wait -i \$a
open b $JANE $vim -u $CASE_DIR/vimrc -r doc
see b "ecovery completed"
keys b "\r"
see b "unsaved"
keys b ":w!\r"
see b "5L, 49B written"
keys b ":q\r"
over b
exec setpriv --reuid=$JANE --regid=$JANE --clear-groups rm .doc.swp
END_
content "vim: nothing is lost" doc $'row one\nrow two\nrow three\nfrom the first\nunsaved'
alike "vim leaves the same in both places"

# ---------------------------------------------------------------- who may not

for who in "bob $BOB $nano $vim" "root 0 $nano $vim" "jane $JANE $CASE_DIR/bin/nano $CASE_DIR/bin/vim"; do
	read -r name uid its_nano its_vim <<<"$who"
	session "$name opens it with nano" plain <<END_
open n $uid $its_nano --ignorercfiles note
see n "Aone"
keys n "\x18"
over n
END_
	session "$name is refused in nano" guard <<END_
open n $uid $its_nano --ignorercfiles note
see_without n "Aone" "Permission denied"
keys n "\x18"
over n
END_
	session "$name opens it with vim" plain <<END_
open v $uid $its_vim -u $CASE_DIR/vimrc -n doc
see v "row one"
keys v ":q\r"
over v
END_
	session "$name is refused in vim" guard <<END_
open v $uid $its_vim -u $CASE_DIR/vimrc -n doc
see_without v "row one" "Permission Denied"
keys v ":q\r"
over v
END_
done
content "they changed nothing" doc $'row one\nrow two\nrow three\nfrom the first\nunsaved'

permitted "a backup copies it all" "$CASE_DIR/bin/backup-cp" -r "$disk/guard" "$CASE_DIR/backup"
bad=$(find "$CASE_DIR/backup" -type f -size +0 -exec sh -c 'for f; do [ "$(head -c 4 "$f" | tr -d "\0")" = TAKA ] || echo "$f"; done' sh {} +)
same "it is encrypted, backup and undo files too" "" "$bad"
same "and complete" "$(cd "$disk/plain" && ls -A)" "$(ls -A "$CASE_DIR/backup")"
permitted "unload" "$TK" unload
