#!/bin/bash
# Programs that an upgrade replaces by rename count again within a second, without a reload: by path at once, by
# digest when the policy names the new one. A file that was not measured yet is no member.
# disks: ext4 btrfs
# timeout: 600
. tests/vm/cases.d/guarded.sh

TEXT="kept through every upgrade"
G=/mnt/ext4/guarded E=/mnt/ext4/programs V=/mnt/btrfs/programs
OVER=/mnt/ext4/overlay
prepare
mkdir -p $E/versions $V $OVER/{lower,upper,work,usr}
chmod 755 $E $V
sum_of() { sha256sum <"$1" | cut -d' ' -f1; }
# version PATH N: a probe that differs from the others in its last byte, which nothing reads.
version() { probe_as "$1" && printf "\\x$2" >>"$1"; }
for n in 1 2 3; do version $E/versions/$n $n; done
ONE=$(sum_of $E/versions/1) TWO=$(sum_of $E/versions/2)
plain() { echo '{ "processes": ["'"$1"'"], "actions": ["read", "write"], "effects": ["permit", "apply_key"] }'; }
either() { echo '{ "path": "'"$1"'", "sha256": "'$ONE'" }, { "path": "'"$1"'", "sha256": "'$TWO'" }'; }
PROCESS_SETS="$PROCESS_SETS,"'
	"by-path": { "processes": [ { "path": "'$E'/tool" }, { "path": "'$V'/tool" }, { "path": "'$OVER'/usr/tool" } ] },
	"by-digest": { "processes": [ '$(either $E/measured)', '$(either $V/measured)' ] },
	"by-pattern": { "processes": [ '$(either "$E/glob*")' ] },
	"by-link": { "processes": [ '$(either $E/link)' ] },
	"later": { "processes": [ '$(either $E/later)' ] }'
policy "$POLICY" "$PLAIN_RULE, $RAW_RULE, $(plain by-path), $(plain by-digest), $(plain by-pattern), $(plain by-link), $(plain later)" $G
# The upgrade of a package: beside it, then in its place.
upgrade() { cp $E/versions/$2 "$1.new" && mv "$1.new" "$1"; }
echo "$TEXT" >$G/file
chmod 666 $G/file
chmod 755 $G
cp $E/versions/1 $OVER/lower/tool
mount -t overlay overlay -o lowerdir=$OVER/lower,upperdir=$OVER/upper,workdir=$OVER/work $OVER/usr || give_up "no overlayfs"
for it in $E/tool $E/measured $E/glob-one $E/actual $V/tool $V/measured; do upgrade $it 1; done
ln -s actual $E/link
load
settled

reading() { "$1" open-read $G/file; }
# soon LABEL PROGRAM: it is a member within a second of now, and of what an emulated processor takes to notice.
# The deadline is generous because the machine may be slow, and it is told how long it took.
soon() {
	local begun=${EPOCHREALTIME/./}
	reads "$1" "$TEXT" "$2" --repeat-until-ok 20000 open-read $G/file
	echo "# $1: after $(((${EPOCHREALTIME/./} - begun) / 1000)) ms"
}
recognised() { [ "$(status .programs.recognised)" -ge "$1" ]; }
told() { status '.failures[].text' | grep -q "$1"; }

for it in $E/tool $E/measured $E/glob-one $E/link $V/tool $V/measured $OVER/usr/tool; do
	reads "before: $it" "$TEXT" reading $it
done

for it in $E/tool $V/tool $OVER/usr/tool; do
	upgrade $it 2
	soon "by path, upgraded: $it" $it
done
for it in $E/measured $V/measured $E/glob-one; do
	upgrade $it 2
	soon "by digest, upgraded to one that is listed: $it" $it
done
upgrade $E/actual 2
soon "by digest, through a link: what it leads to is upgraded" $E/link
upgrade $E/another 1
ln -sfn another $E/link
soon "the link leads to another file" $E/link
upgrade $E/later 1
soon "installed at last" $E/later
upgrade $E/glob-two 1
soon "another match of the pattern" $E/glob-two

# What is not listed is no member, is told, and what the agent has looked at since does not make it one.
before=$(status .programs.recognised)
upgrade $E/measured 3
wait_until "an upgrade to what is not listed is told" 20 told "no executable .*measured.* with this digest"
refused "and it is no member" EACCES reading $E/measured
upgrade $E/tool 1
wait_until "another upgrade is recognised after it" 20 recognised $((before + 1))
refused "it still is none" EACCES reading $E/measured
upgrade $E/measured 1
soon "the former version is put back" $E/measured

# Who may still write to the new file keeps it out (nor can it be executed then), until he has closed it.
upgrade $E/measured.next 2
background "$CASE_DIR/writer" "$PROBE" open-then-write $E/measured.next "$CASE_DIR/go" ""
wait_until "somebody has the new file open for writing" 20 grep -q ^opened "$CASE_DIR/writer"
before=$(status .programs.recognised)
mv $E/measured.next $E/measured
upgrade $E/tool 2
wait_until "another upgrade is recognised" 20 recognised $((before + 1))
key_of() { stat -c %i "$1"; }
is_member() { bpftool -j map dump name process_sets | jq -e --argjson ino "$(key_of "$1")" 'any(.[]; .formatted.key.ino == $ino)'; }
check "which is a member" is_member $E/tool
ends_with "one that somebody has open for writing is none" 1 is_member $E/measured
touch "$CASE_DIR/go"
wait_until "he has closed it" 20 grep -qE "^(ok|at |wrong|setup)" "$CASE_DIR/writer"
soon "then it is" $E/measured
# And a write takes it away at once, as before.
permitted "it is opened for writing" "$PROBE" open-append $E/measured ""
refused "which costs it the place" EACCES reading $E/measured

# A file that is away for a while.
mv $E/tool $E/away
wait_until "that it is gone is told" 20 told "no executable .*programs/tool"
mv $E/away $E/tool
soon "it is back" $E/tool
upgrade $E/glob-one 1

# A large one is read when it has changed and not again; meanwhile nobody waits for the agent.
cp $E/versions/1 $E/large
truncate -s 64M $E/large
LARGE=$(sum_of $E/large)
PROCESS_SETS="$PROCESS_SETS,"' "large": { "processes": [ { "path": "'$E'/large*", "sha256": "'$LARGE'" } ] }'
policy "$POLICY" "$PLAIN_RULE, $RAW_RULE, $(plain by-path), $(plain by-digest), $(plain by-pattern), $(plain by-link),
	$(plain later), $(plain large)" $G
permitted "reload" "$TK" reload "$POLICY"
reads "a large program" "$TEXT" reading $E/large
mv $E/large $E/large-one
soon "under its new name" $E/large-one
settled
