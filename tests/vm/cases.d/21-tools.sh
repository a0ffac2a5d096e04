# Everyday tools in a guard point: for who is authorised they behave as in a plain directory, and for
# everybody else each is refused. Owns the list of commands; each runs in both places.
# disks: ext4 xfs btrfs
# timeout: 900

JANE=1001 BOB=1002
export LC_ALL=C.UTF-8 TZ=UTC
as() {
	local uid=$1
	shift
	setpriv --reuid="$uid" --regid="$uid" --clear-groups env HOME="$CASE_DIR/home" "$@"
}

mkdir -m 777 "$CASE_DIR/home" "$CASE_DIR/bin" "$CASE_DIR/logs"
chmod 755 "$CASE_DIR"
umask 0

# What jane may use, by the file behind the name; and copies of some, which nobody may use.
tools=()
for tool in bash cat chmod cmp cp dd diff find git grep gzip head install ln ls mkdir mktemp mv rm rmdir rsync \
	sed sha256sum sort split sqlite3 tail tar tee touch truncate wc; do
	path=$(command -v $tool) || give_up "$tool is installed"
	tools+=("{\"path\": \"$(readlink -f "$path")\"}")
done
for tool in cat cp dd ls mv rm sed sort tar sqlite3; do
	cp "$(command -v $tool)" "$CASE_DIR/bin/$tool"
done
cp "$(command -v cp)" "$CASE_DIR/bin/backup-cp"
check "a key is generated" "$TK" key generate "$CASE_DIR/key"

policy() { # GUARD
	cat <<-JSON
	{ "version": 1,
	  "keys": { "tools": { "provider": "file", "path": "$CASE_DIR/key" } },
	  "user_sets": { "jane": { "users": ["$JANE"] }, "root": { "users": ["0"] } },
	  "process_sets": {
	    "tools": { "processes": [ $(IFS=,; echo "${tools[*]}"), {"path": "/usr/lib/git-core/*"} ] },
	    "backup": { "processes": [ {"path": "$CASE_DIR/bin/backup-cp"} ] } },
	  "policies": { "p": { "key": "tools", "rules": [
	    { "users": "jane", "processes": "tools", "actions": ["read", "write"], "effects": ["permit", "apply_key"] },
	    { "users": "root", "processes": "backup", "actions": ["read", "write"], "effects": ["permit"], "browse": true } ] } },
	  "guard_points": [ { "name": "tools", "path": "$1", "policy": "p" } ] }
	JSON
}

# The commands. Run in the tree's directory, $OUT is one outside; what they print must be the same, too.
cat >"$CASE_DIR/steps" <<'STEPS'
step() {
	echo "\$ $*"
	"$@" 2>&1
	echo "= $?"
}
sum() { cat "$@" | sha256sum; }
old='2020-02-02 02:02:02'

begin() {
	for i in {1..3000}; do echo "line $i of a secret report"; done >notes
	step touch -d "$old" notes
	step sum notes
	step wc -l notes
	step cp notes copy
	step cp -a notes archived
	step cmp notes copy
	step cmp notes archived
	step grep -c '7 of a' notes
	step head -n 2 notes
	step tail -n 2 notes
}
moves() {
	step mkdir dir
	step mv copy dir/moved
	step mv dir dir2
	step mv dir2/moved back
	step sum back
	step mv archived "$OUT/archived"
	step ls -l --time-style=full-iso "$OUT/archived"
	step sum "$OUT/archived"
	step mv "$OUT/archived" came-in
	step sum came-in
	step mv -f back came-in
	step ln came-in linked
	step ln -s came-in pointer
	echo "added through the other name" >>linked
	step tail -n 1 came-in
	step tail -n 1 pointer
	step cp -al dir2 dir3
	step rmdir dir3
}
trees() {
	mkdir src src/sub
	head -c 200000 /dev/zero | sed 's/\x00/0123456789abcdef\n/g' | head -c 200000 >src/large
	echo small >src/sub/small
	: >src/empty
	echo shared >src/one
	ln src/one src/two
	ln -s sub/small src/link
	chmod 640 src/sub/small
	chmod 750 src/sub
	find src -exec touch -h -d "$old" {} +
	step tar cf in.tar src
	step tar tf in.tar
	mkdir extracted
	step tar xpf in.tar -C extracted
	step diff -r src extracted/src
	step tar czpf "$OUT/out.tgz" src
	mkdir again
	step tar xzpf "$OUT/out.tgz" -C again
	step diff -r src again/src
	step tar cf "$OUT/both.tar" src in.tar
	step cmp src/large extracted/src/large
	rm in.tar
}
syncs() {
	step rsync -aH src/ within/
	step rsync -aH src/ "$OUT/synced/"
	step diff -r src "$OUT/synced"
	step rsync -aH "$OUT/synced/" back/
	echo "changed outside" >"$OUT/synced/sub/small"
	sed -i '1000s/.*/changed/' "$OUT/synced/large"
	find "$OUT/synced" -type f -exec touch -d '2021-01-01' {} +
	step rsync -aH --inplace --no-whole-file "$OUT/synced/" back/
	step diff -r "$OUT/synced" back
	echo "appended inside" >>back/large
	echo "shared and changed" >back/one
	touch -d '2022-02-02' back/large back/one
	step rsync -aH --inplace --no-whole-file --delete back/ "$OUT/synced/"
	step diff -r back "$OUT/synced"
	step rsync -aHc back/ within/
	step diff -r back within
}
databases() {
	step sqlite3 db 'create table t(a integer primary key, b text);
		with recursive n(i) as (select 1 union all select i+1 from n where i < 2000)
		insert into t select i, printf("row %d", i*i) from n; select count(*), sum(a) from t;'
	step sqlite3 db 'update t set b = b || "!" where a % 3 = 0; delete from t where a % 7 = 0; pragma integrity_check;'
	step sqlite3 db vacuum 'select count(*), sum(length(b)) from t;'
	step sqlite3 db 'begin; delete from t; rollback; select count(*) from t;'
	step sqlite3 db 'pragma journal_mode=wal; insert into t(b) select b from t; select count(*) from t;'
	# The log and its index stay behind, and are taken up again.
	step sqlite3 db '.filectrl persist_wal 1' 'insert into t(b) values ("in the log"); select count(*) from t;'
	step ls db db-wal db-shm
	step sqlite3 db 'select b from t order by a desc limit 1;' 'pragma integrity_check;'
	# Two at once, one beginning while the other holds the log.
	sqlite3 -cmd '.timeout 60000' db 'begin immediate; update t set b = "late" where a = 1; commit;' &
	sqlite3 -cmd '.timeout 60000' db 'begin immediate; insert into t(b) values ("beside"); commit;' &
	wait
	step sqlite3 db 'select count(*), sum(b = "late"), sum(b = "beside") from t; pragma integrity_check;' \
		'pragma journal_mode=delete;' vacuum
	step ls db
}
edits() {
	step dd if=/dev/zero of=zeros bs=4096 count=40 status=none
	printf 'in the middle' | dd of=zeros bs=1 seek=5000 conv=notrunc status=none
	step dd if=/dev/zero of=direct bs=4096 count=16 oflag=direct status=none
	step dd if=zeros of=direct bs=4096 iflag=direct oflag=direct conv=notrunc status=none
	step dd if=direct bs=4096 skip=1 count=1 iflag=direct status=none of="$OUT/block"
	step sum "$OUT/block"
	step truncate -s 100000 zeros
	step truncate -s 300000 direct
	step sum zeros direct
	step sed -i 's/secret/open/' notes
	step sort -r -o notes notes
	step head -n 1 notes
	step tee -a notes </dev/null
	echo last | tee -a notes
	step split -n l/3 notes part-
	step sum part-aa part-ab part-ac
	step install -m 600 notes installed
	step gzip -k notes
	rm notes
	step gzip -d notes.gz
	step sum notes
	: >notes-empty
	step cat notes-empty
	step rm linked part-aa
	step chmod 604 part-ab
	step find . -maxdepth 1 -name 'part-*' -empty
}
# A bare repository inside, working copies outside. Not the other way round, and no packs: git takes a file's
# size from stat(2) before it opens it, and that of a sealed file is the ciphertext's (README.md).
repository() {
	export GIT_AUTHOR_DATE='1600000000 +0000' GIT_COMMITTER_DATE='1600000000 +0000' GIT_CONFIG_NOSYSTEM=1
	export GIT_AUTHOR_NAME=jane GIT_AUTHOR_EMAIL=j@e GIT_COMMITTER_NAME=jane GIT_COMMITTER_EMAIL=j@e
	local bare=$PWD/bare.git
	step git -c init.defaultBranch=main init -q --bare bare.git
	step git -C bare.git config gc.auto 0
	step git -c init.defaultBranch=main init -q "$OUT/desk"
	cp src/large src/one notes "$OUT/desk/"
	step git -C "$OUT/desk" add .
	step git -C "$OUT/desk" commit -qm first
	step git -C "$OUT/desk" push -q "$bare" main
	echo more >>"$OUT/desk/notes"
	step git -C "$OUT/desk" commit -qam second
	step git -C "$OUT/desk" push -q "$bare" main
	step git -C bare.git log --format='%H %s' main
	step git -C bare.git diff --stat main~1 main
	step git -C bare.git fsck --strict --no-progress
	step git clone -q "$bare" "$OUT/cloned"
	step git -C "$OUT/cloned" log --format='%H %s'
	step git -C "$OUT/cloned" fsck --strict --no-progress
	step cmp "$OUT/cloned/notes" "$OUT/desk/notes"
	step git -C bare.git cat-file blob main:notes | sha256sum
}
snapshot() {
	find . -name '*.git' -prune -o -printf '%p %y %m %U:%G %n %l ' \( -type f -not -newermt 2023-01-01 -printf '%T+\n' -o -printf 'new\n' \) | sort
	find . -name '*.git' -prune -o -type f -print0 | sort -z | xargs -0 cat | sha256sum
	find . -name '*.git' -prune -o -type f -print0 | sort -z | xargs -0 sha256sum
}
STEPS

# both LABEL FUNCTION: the same in the plain directory and in the guard point, by what is printed.
both() {
	local label=$1 function=$2 place status=0
	for place in plain guard; do
		(cd "$disk/$place" && as $JANE OUT="$disk/out-$place" bash -c '. "$1"; "$2"' steps "$CASE_DIR/steps" \
			"$function") >"$CASE_DIR/logs/$place" 2>&1 || { _fails "$label" "ended with $? in $place" \
			"$(tail -n 20 "$CASE_DIR/logs/$place")"; return; }
		sed -i "s,out-$place,out,g; s,$disk/$place/,$disk/tree/,g" "$CASE_DIR/logs/$place"
	done
	OUTPUT=$(diff -U 2 "$CASE_DIR/logs/plain" "$CASE_DIR/logs/guard") || status=$?
	if [ ! -s "$CASE_DIR/logs/plain" ]; then _fails "$label" "it printed nothing"
	elif [ $status = 0 ]; then _holds "$label"
	else _fails "$label" "other than in a plain directory" "$(head -n 60 <<<"$OUTPUT")"; fi
}

# denied LABEL UID COMMAND...: works in the plain directory, and in the guard point is refused. In its words
# @ stands for the tree and % for a directory outside.
denied() {
	local label=$1 who=$2 status=0 place words
	shift 2
	for place in plain guard; do
		words=("${@//@/$disk/$place}")
		OUTPUT=$(as "$who" "${words[@]//%/$disk/out-$place}" 2>&1 </dev/null) || status=$?
		if [ $place = plain ] && [ $status != 0 ]; then
			_fails "$label" "'$*' fails in a plain directory, so its refusal proves nothing" "$OUTPUT"
			return
		fi
	done
	if [ $status = 0 ]; then _fails "$label" "not refused" "$OUTPUT"
	elif [[ $OUTPUT == *"ermission denied"* || $OUTPUT == *"unable to open database file"* ]]; then _holds "$label"
	else _fails "$label" "'$*' failed, but not by a refusal" "$OUTPUT"; fi
}

# What strangers try. Jane makes the same small tree in both places first.
strangers() { # WHO UID DIRECTORY-OF-TOOLS
	local who=$1 uid=$2 bin=$3 place
	for place in plain guard; do
		check "$fs: $place is prepared for $who" as $JANE bash -c 'cd "$1" && rm -rf loot && mkdir loot loot/dir &&
			echo gold >loot/gold && echo z >>loot/gold && cp loot/gold loot/spare && sqlite3 loot/db "create table t(a)"' \
			prepare "$disk/$place"
	done
	denied "$fs: $who, cat" "$uid" "$bin/cat" @/loot/gold
	denied "$fs: $who, cp" "$uid" "$bin/cp" @/loot/gold "%/$who-gold"
	denied "$fs: $who, cp over it" "$uid" "$bin/cp" /etc/hostname @/loot/spare
	denied "$fs: $who, dd" "$uid" "$bin/dd" if=@/loot/gold of=/dev/null
	denied "$fs: $who, ls" "$uid" "$bin/ls" @/loot
	denied "$fs: $who, tar" "$uid" "$bin/tar" cf "%/$who.tar" -C @ loot/gold
	denied "$fs: $who, sqlite3" "$uid" "$bin/sqlite3" @/loot/db 'select count(*) from t'
	denied "$fs: $who, sed -i" "$uid" "$bin/sed" -i s/gold/lead/ @/loot/spare
	denied "$fs: $who, sort -o" "$uid" "$bin/sort" -o @/loot/spare /etc/hostname
	denied "$fs: $who, mv within" "$uid" "$bin/mv" @/loot/spare @/loot/other
	denied "$fs: $who, mv out" "$uid" "$bin/mv" @/loot/gold "%/$who-moved"
	denied "$fs: $who, mv in" "$uid" "$bin/mv" "%/for-$who" @/loot/moved-in
	denied "$fs: $who, rm" "$uid" "$bin/rm" @/loot/db
	check "$fs: $who changed nothing" as $JANE bash -c 'cd "$1" && test "$(cat gold)" = "gold
z" && cmp gold spare && test "$(echo *)" = "db dir gold spare"' verify "$disk/guard/loot"
}

# Every file with content in TREE, read without key, is TAKA; and there are some.
all_sealed() { # LABEL TREE
	local label=$1 plain count
	count=$(find "$2" -type f -size +0 | wc -l)
	plain=$(find "$2" -type f -size +0 -exec sh -c 'for f; do [ "$(head -c 4 "$f" | tr -d "\0")" = TAKA ] || echo "$f"; done' sh {} +)
	if [ -n "$plain" ]; then _fails "$label" "these are not TAKA" "$plain"
	elif [ "$count" -lt 10 ]; then _fails "$label" "only $count files"
	else _holds "$label"; fi
}

on_disk() { # DISK STEPS...
	disk=$1 fs=$(basename "$1")
	shift
	mkdir -m 777 "$disk"/{plain,guard,out-plain,out-guard}
	policy "$disk/guard" >"$CASE_DIR/policy.json"
	permitted "$fs: load" "$TK" load "$CASE_DIR/policy.json"
	for name; do
		both "$fs: $name" "$name"
		check "$fs: everything is sealed after $name" "$TK" settle --timeout 60
	done
	both "$fs: the trees are the same" snapshot
	if [ "$fs" = ext4 ]; then
		for who in bob root jane; do
			echo moved | tee "$disk/out-plain/for-$who" >"$disk/out-guard/for-$who"
		done
		strangers bob $BOB /usr/bin
		strangers root 0 "$CASE_DIR/bin"
		strangers jane $JANE "$CASE_DIR/bin"
		for place in plain guard; do as $JANE rm -r "$disk/$place/loot"; done
		check "$fs: everything is sealed after strangers" "$TK" settle --timeout 60
	fi
	# A backup takes TAKA bytes out and brings them back.
	permitted "$fs: a backup copies the tree" "$CASE_DIR/bin/backup-cp" -a "$disk/guard" "$disk/backup"
	all_sealed "$fs: it is encrypted" "$disk/backup"
	permitted "$fs: inspect knows the files" "$TK" inspect "$disk/backup/notes"
	permitted "$fs: a file is lost" as $JANE rm "$disk/guard/notes"
	permitted "$fs: it is restored" "$CASE_DIR/bin/backup-cp" -a "$disk/backup/notes" "$disk/guard/notes"
	both "$fs: the trees are the same again" snapshot
	permitted "$fs: unload" "$TK" unload
	all_sealed "$fs: unloaded, all is encrypted on the disk" "$disk/guard"
}

on_disk /mnt/ext4 begin moves trees syncs databases edits repository
on_disk /mnt/xfs begin trees edits
on_disk /mnt/btrfs begin trees edits
