#!/bin/bash
# A process is a member for what it runs: by the digest of its executable until somebody may have
# changed that, and with integrity until it maps code that is not root's alone.
# timeout: 600
. tests/vm/cases.d/guarded.sh

TEXT="kept by the named program alone"
G=$DISKS/guarded E=$DISKS/programs
CAT=$E/cat CHANGED=$E/cat-changed LOOSE=$E/loose MEASURED=$E/measured UPGRADED=$E/upgraded SHELL_COPY=$E/sh
LIBRARY=$E/library.so THEIRS=$E/theirs.so
own_command
prepare
mkdir -p "$E"
chmod 755 "$E"

# The same program twice, and once more with another last byte, which nothing reads.
cp /usr/bin/cat "$CAT"
cp /usr/bin/cat "$LOOSE"
cp /usr/bin/cat "$CHANGED"
printf '\1' >>"$CHANGED"
cp /usr/bin/dash "$SHELL_COPY"
probe_as "$MEASURED"
probe_as "$UPGRADED"
probe_as "$E/own"
chown $STAFF "$E/own"
# A library, root's alone; and the same, of which that cannot be said.
preload=$(ldconfig -p | sed -n 's/.*libdl\.so\.2.* => //p' | head -n1)
cp "$preload" "$LIBRARY" || give_up "no library to preload"
chmod 644 "$LIBRARY"
for name in theirs group world; do cp "$LIBRARY" "$E/$name.so"; done
chown $STAFF "$THEIRS"
chmod 664 "$E/group.so"
chmod 646 "$E/world.so"
printf '#!%s\nread -r line <"$1" && echo "$line"\n' "$SHELL_COPY" >"$E/script"
printf '#!/bin/sh\nread -r line <"$1" && echo "$line"\n' >"$E/script-alone"
chmod 755 "$E"/script*

sum_of() { sha256sum <"$1" | cut -d' ' -f1; }
plain() { echo '{ "processes": ["'"$1"'"], "actions": ["read", "write"], "effects": ["permit", "apply_key"] }'; }
write_policy() { # DIGEST-OF-MEASURED
	PROCESS_SETS='"app": { "processes": [ { "path": "'$APP'" } ] },
		"backup": { "processes": [ { "path": "'$BACKUP'" } ] },
		"cats": { "processes": [ { "path": "'$E'/cat*", "sha256": "'$(sum_of "$CAT")'" } ] },
		"loose": { "integrity": false, "processes": [ { "path": "'$LOOSE'" } ] },
		"measured": { "processes": [ { "path": "'$MEASURED'", "sha256": "'$1'" } ] },
		"upgraded": { "processes": [ { "path": "'$UPGRADED'" } ] },
		"own": { "integrity": true, "processes": [ { "path": "'$E'/own" } ] },
		"scripts": { "processes": [ { "path": "'$SHELL_COPY'" }, { "path": "'$E'/script-alone" } ] }'
	policy "$POLICY" "$PLAIN_RULE, $RAW_RULE, $(plain cats), $(plain loose), $(plain measured), $(plain upgraded),
		$(plain own), $(plain scripts), "'{ "actions": ["key_op"], "effects": ["permit"] }' "$G"
}
echo "$TEXT" >"$G/file"
chmod 666 "$G/file"
chmod 755 "$G"
write_policy "$(sum_of "$MEASURED")"
load
check "load says who can be no member" grep -q 'own" is no member: it is not root' "$CASE_DIR/load"
settled

# as_probe NAME COMMAND...: what another program says, in the probe's words.
as_probe() {
	local out
	echo "probe $1"
	if out=$("${@:2}" 2>&1); then
		echo "data $out"
		return 0
	fi
	[[ $out == *"ermission denied"* ]] || { echo "wrong $out"; return 11; }
	echo "errno EACCES"
	return 10
}
preloaded() { LD_PRELOAD=$1 as_probe "$2" "$3" "$G/file"; }

# By digest.
reads "the program whose digest is named" "$TEXT" as_probe cat "$CAT" "$G/file"
reads "another that works" "$TEXT" as_probe cat "$CHANGED" <(echo "$TEXT")
refused "the same with another byte" EACCES as_probe cat "$CHANGED" "$G/file"

# Libraries.
reads "with a library that is root's" "$TEXT" preloaded "$LIBRARY" cat "$CAT"
refused "with one that is not" EACCES preloaded "$THEIRS" cat "$CAT"
reads "then without it" "$TEXT" as_probe cat "$CAT" "$G/file"
# A stick that somebody put in says of its files that they are root's.
stick=$CASE_DIR/stick
mkdir "$stick"
mount -t tmpfs none "$stick" && cp "$LIBRARY" "$stick/lib.so" || give_up "no tmpfs"
at_exit "umount $stick"
reads "with root's library on another filesystem" "$TEXT" preloaded "$stick/lib.so" cat "$CAT"
mount -o remount,nosuid "$stick"
refused "whose set-user-id bits do not count" EACCES preloaded "$stick/lib.so" cat "$CAT"
reads "integrity is not asked for" "$TEXT" preloaded "$THEIRS" loose "$LOOSE"
told() { "$TK" events --json --last 200 | jq -e "select($1)" | grep -q .; }
wait_until "the loss is told, with the library" 10 told '.reason == "foreign_code" and .action == "none" and (.path | endswith("programs/theirs.so"))'
wait_until "and that it may be why" 10 told '.reason == "foreign_code" and .verdict == "deny" and .exe == "'"$CAT"'" and (.path | endswith("guarded/file"))'

# The command, which is in no set, by key_op.
verified() { as_probe verify "$TK" verify --key-file "$KEY" "$G/file"; }
permitted "the command" verified
LD_PRELOAD=$LIBRARY permitted "the command with a library that is root's" verified
LD_PRELOAD=$THEIRS refused "the command with one that is not" EACCES verified
# Whoever traces it could write into it, and let go.
let_go() { # by a tracer, which executed it; the verb's own status
	local out
	out=$("$PROBE" traced-exec "$@" 2>&1)
	[[ $out == *"ended 0"* ]] || { echo "$out"; return 1; }
}
traced() { as_probe verify let_go "$TK" verify --key-file "$KEY" "$1"; }
"$TK" encrypt --key-file "$KEY" --key-id case -o "$E/encrypted" "$E/script" || give_up "no encrypted file"
permitted "a tracer that has executed it lets it go" traced "$E/encrypted"
refused "but could have written into it" EACCES traced "$G/file"
permitted "the command again" verified

# Code, however it is mapped.
read_after() { app code-then-read "$1" "$2" "$G/file"; }
for how in mmap mprotect thread fork exec; do
	reads "$how: root's" "$TEXT" read_after $how "$LIBRARY"
done
for how in mmap mprotect thread fork; do
	refused "$how: another's" EACCES read_after $how "$THEIRS"
done
refused "its group can write it" EACCES read_after mmap "$E/group.so"
refused "everybody can" EACCES read_after mmap "$E/world.so"
refused "memory that was a file to nobody" EACCES read_after memfd "$LIBRARY"
reads "executing anew makes it a member again" "$TEXT" read_after exec "$THEIRS"
permitted "a program that is not root's" "$E/own" open-read "$E/script"
refused "an executable that is not root's" EACCES "$E/own" open-read "$G/file"
chown 0 "$E/own"
permitted "reload" "$TK" reload "$POLICY"
reads "it is root's now" "$TEXT" "$E/own" open-read "$G/file"
chmod g+w "$E/own"
refused "its group may write it since" EACCES "$E/own" open-read "$G/file"

# Who has lost his membership may not use another's.
background "$CASE_DIR/holder" app hold "$G/file"
wait_until "a member runs" 20 grep -q ^holding "$CASE_DIR/holder"
read -r _ member _ address < <(grep ^holding "$CASE_DIR/holder")
permitted "a member may trace it" root code-then-attach "$LIBRARY" "$member"
refused "one that has mapped foreign code may not" EPERM root code-then-attach "$THEIRS" "$member"
permitted "a member may write to its memory" root process-vm-writev "$member" "$address"
refused "another program may not" EPERM "$PROBE" process-vm-writev "$member" "$address"

# Interpreters: what runs is the interpreter.
reads "a script of a named interpreter" "$TEXT" as_probe script "$E/script" "$G/file"
refused "a script that is named itself" EACCES as_probe script "$E/script-alone" "$G/file"

# A measured executable that somebody may have written to.
measured() { "$MEASURED" open-read "$G/file"; }
reads "measured" "$TEXT" measured
permitted "it is opened for writing" "$PROBE" open-append "$MEASURED" ""
refused "and is no member from then on" EACCES measured
permitted "reload measures it" "$TK" reload "$POLICY"
reads "a member again" "$TEXT" measured
size=$(stat -c %s "$MEASURED")
permitted "it is resized by its name" "$PROBE" truncate "$MEASURED" "$size"
refused "no member" EACCES measured
background "$CASE_DIR/writer" "$PROBE" open-then-write "$MEASURED" "$CASE_DIR/go" ""
wait_until "somebody has it open for writing" 20 grep -q ^opened "$CASE_DIR/writer"
permitted "reload meanwhile" "$TK" reload "$POLICY"
check "says that it is no member" grep -q "measured is not what its digest names" <<<"$OUTPUT"
touch "$CASE_DIR/go"
wait_until "he has closed it" 20 grep -qE "^(ok|at |wrong|setup)" "$CASE_DIR/writer"
refused "what he could do to it is not known" EACCES measured
permitted "reload" "$TK" reload "$POLICY"
reads "measured again" "$TEXT" measured

# An upgrade, as packages do it.
for name in measured upgraded; do
	cp "$E/$name" "$E/$name.new"
	printf '\1' >>"$E/$name.new"
	mv "$E/$name.new" "$E/$name"
done
refused "a new executable by the old digest" EACCES measured
permitted "reload with the old digest" "$TK" reload "$POLICY"
refused "it is another" EACCES measured
reads "recognised by its path" "$TEXT" "$UPGRADED" open-read "$G/file"
write_policy "$(sum_of "$MEASURED")"
permitted "reload with the new digest" "$TK" reload "$POLICY"
reads "recognised by its digest" "$TEXT" measured

kill "$member"
noted() { bpftool -j map dump name foreign_code | jq -e 'length == 0'; }
wait_until "no note outlives its process" 20 noted
settled
