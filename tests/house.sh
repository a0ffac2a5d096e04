#!/bin/bash
# Owns the rules of the house that a program can hold: who may include whom, how long a file may be.
set -u
cd "$(dirname "$0")/.." || exit 2
passed=0 failed=0
rule() { # LABEL OFFENDERS
	if [ -z "$2" ]; then
		passed=$((passed + 1))
		echo "ok $1"
	else
		failed=$((failed + 1))
		echo "not ok $1"
		sed 's/^/  /' <<<"$2"
	fi
}
# Lines that include something out of a folder, but for what is allowed.
includes() { grep -rnE '^#include "' "$1" --include='*.[ch]' | grep -vE "$2"; }

rule "bpf/ includes only itself and vmlinux.h" "$(includes bpf '"(vmlinux\.h|abi\.h|decide\.h|[a-z]+\.bpf\.h)"')"
rule "crypto/ includes only itself" "$(includes crypto '"(crypto/)?(takakrypt|aead|internal|token)\.h"')"
rule "loader/policy/ includes bpf/abi.h, crypto's library and itself" "$(includes loader/policy '"(bpf/abi\.h|crypto/takakrypt\.h|loader/policy/|[a-z]+\.h")')"
rule "loader/study/ includes bpf/abi.h, the verdict, policy, what prints and itself" "$(includes loader/study '"(bpf/(abi|decide)\.h|loader/(cmd|options|util|problems)\.h|loader/(policy|study)/)')"
rule "loader/trees/ includes what prints, crypto's library, the agent's door and itself" "$(includes loader/trees '"(crypto/takakrypt\.h|loader/(cmd|options|util)\.h|loader/agent/(agent|client)\.h|loader/trees/)')"
rule "loader/keys/ includes what prints, crypto's library, policy, trees, the agent's door and itself" "$(includes loader/keys '"(crypto/takakrypt\.h|loader/(cmd|options|util|problems)\.h|loader/(policy|trees|keys)/|loader/agent/(agent|client|shield)\.h)')"
rule "loader/kernel/ includes skeletons, policy and itself" "$(includes loader/kernel '"(bpf/abi\.h|takakrypt\.skel\.h|loader/(kernel|policy)/)')"
rule "loader/agent/ includes crypto, kernel, policy and itself" "$(includes loader/agent '"(bpf/abi\.h|crypto/takakrypt\.h|loader/(agent|kernel|policy)/|[a-z]+\.h")')"
rule "only crypto/aead.c includes OpenSSL" "$(grep -rlE '#include <openssl/' --include='*.[ch]' . | grep -v '^./build/' | grep -vx './crypto/aead.c')"
rule "only crypto/token.h includes p11-kit" "$(grep -rlE '#include <p11-kit/' --include='*.[ch]' bpf crypto loader | grep -vx 'crypto/token.h')"
rule "only loader/kernel/ includes libbpf and skeletons" "$(grep -rlE '#include <bpf/|skel\.h"' --include='*.[ch]' loader crypto | grep -v '^loader/kernel/')"
rule "nothing includes tests" "$(grep -rnE '#include "tests/' --include='*.[ch]' bpf crypto loader)"
rule "files have at most 500 lines" "$(git ls-files -co --exclude-standard '*.c' '*.h' '*.sh' '*.py' 2>/dev/null | grep -v '^vmlinux.h$' | xargs -r wc -l | awk '$2 != "total" && $1 > 500')"
rule "every source file names its licence" "$(git ls-files -co --exclude-standard '*.[ch]' 2>/dev/null | xargs -r grep -L 'SPDX-License-Identifier')"
rule "no sleep and no shell in the product" "$(git ls-files -co --exclude-standard 'bpf/*.h' 'bpf/*.c' 'crypto/*.[ch]' 'loader/*.[ch]' 2>/dev/null | xargs -r grep -nE '\b(sleep|usleep|system|popen|gets)\(')"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
