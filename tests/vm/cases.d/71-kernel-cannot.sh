#!/bin/bash
# A kernel without BPF among its security modules: `load` says so, ends with 4 and leaves nothing.
# boot: --append lsm=capability
# timeout: 60
. tests/vm/cases.d/guarded.sh
prepare
check "bpf is not in the list" test -z "$(grep -w bpf /sys/kernel/security/lsm)"
ends_with "load" 4 "$TK" load "$POLICY"
check "it names the boot parameter" grep -q "lsm=" <(printf '%s' "$OUTPUT")
check "nothing is pinned" test ! -e /sys/fs/bpf/takakrypt
check "no policy is left" test ! -e /run/takakrypt/policy.json
permitted "nothing is guarded" stranger create "$DISKS/guarded/file"
ends_with "doctor" 4 "$TK" doctor
