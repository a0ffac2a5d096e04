#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# tests/unit/shield_key.py - the key of a shield, derived a second time by somebody else: from RFC 5869 and the words
# in crypto/takakrypt.h. Gives it to the kernel, or takes it away.
#
# usage: shield_key.py KEY-FILE MOUNT-POINT add|remove
import fcntl, hmac, os, struct, sys

def expand(digest, key, info, length):
    out, last, n = b"", b"", 1
    while len(out) < length:
        last = hmac.new(key, last + info + bytes([n]), digest).digest()
        out, n = out + last, n + 1
    return out[:length]

def ioctl(number, size):
    return 3 << 30 | size << 16 | ord("f") << 8 | number

kek = open(sys.argv[1], "rb").read()
kek = kek if len(kek) == 32 else bytes.fromhex(kek.decode())
key = b"".join(expand("sha256", kek, b"takakrypt shield fscrypt %d" % i, 32) for i in (1, 2))
identifier = expand("sha512", hmac.new(bytes(64), key, "sha512").digest(), b"fscrypt\0\1", 16)
specifier = struct.pack("II32s", 2, 0, identifier)
fd = os.open(sys.argv[2], os.O_RDONLY | os.O_DIRECTORY)
if sys.argv[3] == "add":
    fcntl.ioctl(fd, ioctl(23, 80), bytearray(struct.pack("40s2I32x", struct.pack("II32x", 2, 0), len(key), 0) + key))
else:
    try:
        fcntl.ioctl(fd, ioctl(24, 64), bytearray(specifier + bytes(24)))
    except OSError as e:
        if e.errno != 126:  # ENOKEY: it is not there
            raise
