# SPDX-License-Identifier: GPL-2.0
"""What the random tests of the command share: its arguments, dice, a directory of their own, and the count.

usage, in a test: python3 -B - COMMAND SEED ROUNDS with PYTHONPATH here; from rounds import *
"""
import os, random, subprocess, sys, tempfile

command, seed, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
dice = random.Random(seed)
directory = tempfile.TemporaryDirectory()
os.chdir(directory.name)
top = os.path.realpath(".")
count = {True: 0, False: 0}

def expect(label, good, more=""):
    count[bool(good)] += 1
    if not good:
        print(f"not ok {label}\n  {more}")

# File names may be any bytes.
def run(*arguments):
    return subprocess.run([command, *arguments], capture_output=True, text=True, errors="surrogateescape")

def report():
    print(f"{count[True]} passed, {count[False]} failed")
    sys.exit(count[False] > 0)
