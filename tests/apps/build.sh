# shellcheck shell=bash
# A C project - this repository's library and one of its tests - is built in a guard point, and once more while
# the agent dies under the compiler.
OWNER=1001
as 1001
SOURCE=$GUARD/source
PROGRAMS=(/usr/bin/make /bin/sh /bin/bash /usr/bin/gcc /usr/bin/ar /usr/bin/as /usr/bin/ld /usr/bin/mkdir /usr/bin/mv
	/usr/bin/rm /usr/bin/diff "$(gcc -print-prog-name=cc1)" "$(gcc -print-prog-name=collect2)")

build() { "${AS[@]}" make -C "$SOURCE" -j2; }
objects() { find "$SOURCE/out" -name '*.o' 2>/dev/null | wc -l; }
more_objects() { [ "$(objects)" -ge "$1" ]; }
tested() { # LABEL
	permitted "$1: the program that was built passes" "${AS[@]}" bash -c 'cd "$1" && ./out/crypto_test 2>&1' bash "$SOURCE"
	TESTS="its own tests: $(grep -c ' OK ' <<<"$OUTPUT") of $(grep -c ' RUN ' <<<"$OUTPUT") pass"
}
work() {
	local making tries=1
	mkdir -p -m 755 "$GUARD" "$SOURCE/tests/unit"
	cp -r crypto "$SOURCE/"
	cp tests/unit/crypto_test.[ch] "$SOURCE/tests/unit/"
	cp tests/apps/build.mk "$SOURCE/Makefile"
	chown -R 1001:1001 "$GUARD"
	guard
	permitted "make" build
	tested "make"
	row "make -j2: $(objects) objects, an archive, a program" "none" "$(went "$TESTS")" -
	begin_round
	permitted "what was built is put aside" "${AS[@]}" mv "$SOURCE/out" "$SOURCE/first"
	build >"$CASE_DIR/make" 2>&1 &
	making=$!
	wait_until "make has begun again" 120 more_objects 4
	kill_agent
	start_agent
	wait $making || { tries=2; permitted "make goes on where it was stopped" build; }
	tested "make again"
	permitted "what was built is the same" "${AS[@]}" diff -r "$SOURCE/first" "$SOURCE/out"
	intruder
	sealed
	row "all of it again, in $tries runs of make" "kill -9 of the agent" "$(went "$TESTS; same bytes")" -
}
