# takakrypt-bpf: `make help` lists the targets.
PREFIX  ?= /usr/local
DESTDIR ?=
CC      ?= gcc
CLANG   ?= clang
BPFTOOL ?= bpftool
B       := build

Q := $(if $(V),,@)
PKGS     := libbpf libcrypto libcjson libelf zlib p11-kit-1
CFLAGS   ?= -O2 -g
TK_CFLAGS := -std=gnu17 -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
	-Wno-unused-parameter -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -fstack-protector-strong -fPIE \
	-I. -I$(B) $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
TK_LIBS  := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lpthread
# What the command and the pinned programs must agree on, comments apart: a number for this version of it.
TK_CFLAGS += -DTK_ABI=0x$(shell sed 's;/\*.*\*/;;; /\/\*/,/\*\//d; s/[[:space:]]\{1,\}/ /g' bpf/abi.h bpf/maps.bpf.h | \
	sha256sum | cut -c1-8)u
BPF_CFLAGS := -std=gnu17 -O2 -g -mcpu=v3 -target bpf -D__TARGET_ARCH_x86 -Wall -Wextra -Werror \
	-Wno-unused-parameter -Wno-missing-declarations -I. -Ibpf -I/usr/include/$(shell $(CC) -print-multiarch 2>/dev/null)

CRYPTO_SRC := $(wildcard crypto/*.c)
LIB_SRC    := $(CRYPTO_SRC) $(wildcard loader/policy/*.c loader/kernel/*.c loader/agent/*.c)
BIN_SRC    := $(LIB_SRC) $(wildcard loader/study/*.c loader/trees/*.c loader/keys/*.c loader/*.c)
BPF_SRC    := $(wildcard bpf/*.bpf.c)
SKELETONS  := $(BPF_SRC:bpf/%.bpf.c=$(B)/%.skel.h)
BIN        := $(B)/takakrypt-bpf

objs = $(patsubst %.c,$(B)/obj/%.o,$(1))

.PHONY: all
all: $(BIN)	## build the command, the kernel programs inside it
.DELETE_ON_ERROR:
.SECONDARY:

$(BIN): $(call objs,$(BIN_SRC))
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -pie -Wl,-z,relro,-z,now -o $@ $^ $(TK_LIBS)

$(B)/obj/%.o: %.c | $(SKELETONS)
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(TK_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# By its full path: the target of that name below looks at the file instead of making it.
$(B)/%.bpf.o: bpf/%.bpf.c $(CURDIR)/vmlinux.h $(wildcard bpf/*.h)
	@mkdir -p $(@D)
	@echo "  BPF   $<"
	$(Q)$(CLANG) $(BPF_CFLAGS) -c -o $@ $<

$(B)/%.skel.h: $(B)/%.bpf.o
	@echo "  SKEL  $@"
	$(Q)$(BPFTOOL) gen skeleton $< name $(subst -,_,$*)_bpf > $@

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

# ---------------------------------------------------------------- tests

TEST_LIBS := $(shell pkg-config --libs libcrypto libcjson p11-kit-1 zlib cmocka 2>/dev/null) -lpthread
UNIT      := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/*_test.c))
DIFF_SRC  := $(wildcard tests/differential/*.c)
LIB_OBJ   := $(call objs,$(LIB_SRC))
# What the unit tests link: everything that needs no kernel.
PURE_OBJ  := $(call objs,$(CRYPTO_SRC) $(wildcard loader/policy/*.c) loader/kernel/preempt.c loader/agent/due.c)

$(B)/tests/%_test: tests/unit/%_test.c $(PURE_OBJ)
	@mkdir -p $(@D)
	@echo "  TEST  $@"
	$(Q)$(CC) $(TK_CFLAGS) $(CFLAGS) -Wno-missing-prototypes -o $@ $< $(PURE_OBJ) $(TEST_LIBS)

# The token's tests talk to SoftHSM through it.
$(B)/tests/token_shim.so: tests/unit/token_shim.c
	@mkdir -p $(@D)
	@echo "  TEST  $@"
	$(Q)$(CC) $(TK_CFLAGS) $(CFLAGS) -Wno-missing-prototypes -shared -fPIC -o $@ $<

# The library and its tests once more, with every access and every operation watched.
SANITIZED := $(patsubst %,$(B)/sanitized/%,crypto_test crypto_vectors_test crypto_damage_test crypto_random_test \
	crypto_reader_test crypto_writer_test crypto_redo_test keyring_test reencrypt_test)
SANITIZE  := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined
$(B)/sanitized/%: tests/unit/%.c $(wildcard tests/unit/crypto_*.h) $(CRYPTO_SRC) $(wildcard crypto/*.h)
	@mkdir -p $(@D)
	@echo "  ASAN  $@"
	$(Q)$(CC) $(TK_CFLAGS) $(SANITIZE) -Wno-missing-prototypes -o $@ $(filter %.c,$^) $(TEST_LIBS)

DIFF_OBJ  := $(call objs,$(filter-out %.bpf.c,$(DIFF_SRC)))
$(DIFF_OBJ): $(B)/judge.skel.h
$(B)/judge.bpf.o: tests/differential/judge.bpf.c tests/differential/judge_abi.h $(CURDIR)/vmlinux.h $(wildcard bpf/*.h)
	@echo "  BPF   $<"
	$(Q)$(CLANG) $(BPF_CFLAGS) -c -o $@ $<

$(B)/tests/differential: $(DIFF_OBJ) $(LIB_OBJ)
	@mkdir -p $(@D)
	@echo "  TEST  $@"
	$(Q)$(CC) $(CFLAGS) -o $@ $^ $(TK_LIBS)

$(B)/tests/probe: $(wildcard tests/vm/probe*.c) tests/vm/probe.h
	@mkdir -p $(@D)
	@echo "  TEST  $@"
	$(Q)$(CC) -static -O2 -std=gnu17 -Wall -Wextra -Werror -o $@ $(filter %.c,$^)

$(B)/tests/power_disk: tests/apps/power_disk.c tests/agent/disk.c tests/agent/disk.h
	@mkdir -p $(@D)
	@echo "  TEST  $@"
	$(Q)$(CC) $(TK_CFLAGS) $(CFLAGS) -o $@ $(filter %.c,$^) $(shell pkg-config --cflags --libs fuse3)

.PHONY: tests deps check check-kernels check-crash check-applications check-races check-limits demo fuzz bench-crypto bench-files bench-scale install clean help vmlinux.h
tests: $(BIN) $(UNIT) $(SANITIZED) $(B)/tests/probe $(B)/tests/token_shim.so $(B)/tests/files_agent $(if $(DIFF_SRC),$(B)/tests/differential)

deps:
	tests/deps build test

check:	## install what is missing, build, run every test; ends with "N passed, N failed"
	tests/deps build test
	@$(MAKE) --no-print-directory tests
	tests/run $(SUITES)

check-kernels:	## the cases and random verdicts in a VM on 5.10, 6.1, 6.12 and 7.x, as a table
	tests/deps build test
	@$(MAKE) --no-print-directory tests
	tests/vm/kernels

check-crash:	## the agent killed, starved or cut off at every step, as a table; TK_SPARSE=10 for a tenth of it
	tests/deps build test
	tests/agent/run.sh --crash

check-applications:	## databases, git, a build, LibreOffice, nginx, killed and cut off, as a table; APPS="nginx:ext4 …"
	tests/deps build test apps
	@$(MAKE) --no-print-directory tests $(B)/tests/power_disk
	tests/apps/run $(APPS)

check-races:	## many processes at the same few files, killed beside their agents, for two minutes; TK_SECONDS, TK_SEED
	tests/deps build test
	tests/agent/run.sh --races

check-limits:	## ten thousand files open at once, opens by the second, no descriptors, no room; with figures
	tests/deps build test
	tests/agent/run.sh --limits

demo:	## the main job as a transcript, here or in a throw-away VM
	tests/deps build test
	@$(MAKE) --no-print-directory tests
	tests/demo/run

$(B)/tests/crypto_bench: tests/bench/crypto_bench.c $(call objs,$(CRYPTO_SRC))
	@mkdir -p $(@D)
	@echo "  TEST  $@"
	$(Q)$(CC) $(TK_CFLAGS) $(CFLAGS) -o $@ $^ $(TEST_LIBS)

bench-crypto: $(BIN) $(B)/tests/crypto_bench	## what encryption costs beside cp, openssl and age (installed where apt has it)
	@command -v age >/dev/null || apt-get -qq -y install age >/dev/null 2>&1 </dev/null || echo "age cannot be installed: left out"
	tests/bench/crypto.sh

bench-scale: tests	## what guard points, rules and patterns by the thousand cost, in a VM
	tests/bench/scale.sh

# The agent with its kernel half played by threads that say what they open.
$(B)/tests/files_agent: tests/bench/files_agent.c tests/bench/files.h \
		$(call objs,$(CRYPTO_SRC) $(wildcard loader/policy/*.c loader/agent/*.c) loader/kernel/places.c loader/kernel/shortage.c)
	@mkdir -p $(@D)
	@echo "  TEST  $@"
	$(Q)$(CC) $(TK_CFLAGS) $(CFLAGS) -o $@ $(filter-out %.h,$^) $(TEST_LIBS)

$(B)/tests/files_work: tests/bench/files_work.c tests/bench/files.h
	@mkdir -p $(@D)
	@echo "  TEST  $@"
	$(Q)$(CC) $(TK_CFLAGS) $(CFLAGS) -o $@ $< -lpthread

bench-files: tests $(B)/tests/files_agent $(B)/tests/files_work	## what files cost beside gocryptfs, securefs, encfs and fscrypt; and in instructions, in a VM
	tests/deps build test files
	tests/bench/files.sh native
	tests/bench/files.sh vm

FUZZ = $(B)/tests/$(1)_fuzz -max_total_time=$(or $(SECONDS_EACH),60) -max_len=16384 -print_final_stats=1 \
	-artifact_prefix=$(B)/corpus/$(1)- $(2) $(B)/corpus/$(1)
fuzz: $(B)/tests/taka_fuzz $(B)/tests/policy_fuzz	## fuzzers (libFuzzer), one minute each; SECONDS_EACH=600 for longer
	mkdir -p $(B)/corpus/taka $(B)/corpus/policy
	@# The words of the language: bytes alone hardly ever become one.
	jq -r '[.. | objects | keys[], (.enum // [])[]] | unique[] | strings | select(test("^[a-z_]+$$")) | "\"\(.)\""' \
		policies/schema.json > $(B)/corpus/policy.dict
	$(call FUZZ,taka) tests/vectors
	$(call FUZZ,policy,-dict=$(B)/corpus/policy.dict) policies

FUZZ_CFLAGS := -std=gnu17 -D_GNU_SOURCE -I. -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined
$(B)/tests/%_fuzz: tests/fuzz/%_fuzz.c $(CRYPTO_SRC) $(wildcard loader/policy/*.c)
	@mkdir -p $(@D)
	$(CLANG) $(FUZZ_CFLAGS) -o $@ $^ $(shell pkg-config --cflags --libs libcrypto libcjson p11-kit-1) -lpthread

# ---------------------------------------------------------------- the rest

install: $(BIN)	## to $(DESTDIR)$(PREFIX)
	install -D -m 0755 $(BIN) $(DESTDIR)$(PREFIX)/sbin/takakrypt-bpf
	install -D -m 0644 policies/schema.json $(DESTDIR)$(PREFIX)/share/takakrypt-bpf/schema.json
	install -D -m 0644 policies/README.md $(DESTDIR)$(PREFIX)/share/doc/takakrypt-bpf/POLICY.md
	install -D -m 0644 README.md $(DESTDIR)$(PREFIX)/share/doc/takakrypt-bpf/README.md

vmlinux.h:	## hold each field the programs use against the running kernel's BTF
	tests/vmlinux-check

clean:	## remove what was built (kernel images for the tests stay in build/vm)
	rm -rf $(B)/obj $(B)/tests $(B)/sanitized $(B)/check $(B)/corpus $(B)/*.o $(B)/*.h $(BIN)

help:	## this list
	@sed -n 's/^\([a-z.-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name what; do printf '  make %-18s %s\n' "$$name" "$$what"; done
