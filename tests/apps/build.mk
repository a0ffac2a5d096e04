# What tests/apps/build.sh builds in a guard point: this repository's library, and one of its tests against it.
LIBS   := $(shell pkg-config --libs libcrypto p11-kit-1 cmocka)
CFLAGS := -O0 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. $(shell pkg-config --cflags p11-kit-1)
OBJ    := $(patsubst crypto/%.c,out/%.o,$(wildcard crypto/*.c))

.DELETE_ON_ERROR:
out/crypto_test: tests/unit/crypto_test.c out/libtakakrypt.a
	gcc $(CFLAGS) -o $@ $^ $(LIBS)
out/libtakakrypt.a: $(OBJ)
	rm -f $@
	ar rcs $@ $^
out/%.o: crypto/%.c
	mkdir -p out
	gcc $(CFLAGS) -c -o $@ $<
