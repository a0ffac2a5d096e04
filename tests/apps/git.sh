# shellcheck shell=bash
# git: a bare repository in a guard point that is pushed to and cloned from, and one that is cloned into it, committed to,
# packed and checked there. What git cannot do with sealed files (README.md) must at least lose nothing.
OWNER=1001 PROGRAMS=(/usr/bin/git '/usr/lib/git-core/*' /bin/sh)
as 1001
export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=jane GIT_AUTHOR_EMAIL=j@e GIT_COMMITTER_NAME=jane GIT_COMMITTER_EMAIL=j@e
DESK=$DISK/desk OUT=$DISK/out BARE=$GUARD/bare.git TREE=$GUARD/tree
# In DIRECTORY.
g() { "${AS[@]}" git -C "$@"; }
push() { g "$DESK" push -q "$BARE" main; }
objects() { find "$1/objects" -type f | wc -l; }
more_objects() { [ "$(objects "$BARE")" -gt "$1" ]; }
whole() { # LABEL REPOSITORY
	permitted "$1: fsck" g "$2" fsck --full --strict --no-progress
	same "$1: it finds nothing" "" "$OUTPUT"
}
# The same commits and files come out of REPOSITORY as went in.
comes_out() { # LABEL REPOSITORY
	rm -rf "$OUT/clone"
	permitted "$1: clone" g "$OUT" clone -q --no-local "$2" clone
	same "$1: the last commit" "$(g "$DESK" rev-parse main)" "$(g "$OUT/clone" rev-parse main)"
	check "$1: the same files" diff -r --exclude=.git "$DESK" "$OUT/clone"
	whole "$1: cloned" "$OUT/clone"
}
work() {
	local before pushing tries=1 packed
	mkdir -m 777 "$DESK" "$OUT"
	guard
	check "a working copy outside" g "$DESK" init -q -b main
	cp -r crypto "$DESK/"
	chown -R 1001:1001 "$DESK"
	check "it has files" g "$DESK" add .
	check "and a commit" g "$DESK" commit -qm first
	permitted "a bare repository" g / init -q --bare -b main "$BARE"
	permitted "it packs nothing by itself" g "$BARE" config gc.auto 0
	permitted "push" push
	whole "pushed" "$BARE"
	cp -r loader/policy "$DESK/"
	chown -R 1001:1001 "$DESK"
	check "more files" g "$DESK" add .
	check "and another commit" g "$DESK" commit -qm second
	before=$(objects "$BARE")
	push >"$CASE_DIR/push" 2>&1 &
	pushing=$!
	wait_until "a push is on its way" 60 more_objects "$before"
	kill_agent
	start_agent
	wait $pushing || { tries=2; permitted "push again" push; }
	whole "pushed again" "$BARE"
	comes_out "pushed again" "$BARE"
	intruder
	row "bare: 2 pushes (the last in $tries tries), clone; $(objects "$BARE") files" "kill -9 of the agent in a push" \
		"$(went "git fsck --full; the same files")" -
	begin_round

	permitted "clone into the guard point" g "$GUARD" clone -q "$DESK" tree
	permitted "commit there" g "$TREE" commit -q --allow-empty -m third
	whole "cloned into it" "$TREE"
	permitted "its history" g "$TREE" log --format=%s
	same "its history has all of it" "third${NEWLINE}second${NEWLINE}first" "$OUTPUT"
	OUTPUT=$(g "$BARE" gc --quiet 2>&1)
	packed="gc packs"
	[[ $OUTPUT != *"size changed"* ]] || packed="gc's pack is of no use, nothing lost"
	comes_out "after gc" "$BARE"
	sealed
	row "clone into it, commit, log; gc of the bare one" "none" "$(went "git fsck --full; $packed")" -
}
