#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks that rooms know only the rooms they may know (layers.txt), and the
few rules of style that a machine can check.

    layers.py SOURCE_ROOT [--self-test]

Prints one line per offence, file:line first, and exits 1 if there is any.
"""
import os
import re
import sys
import tempfile

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
# The few process-wide things, each explained where it is defined.
MUTABLE_ALLOWED = {"base/bug.c", "base/fault.c"}


def read_layers(path):
    layers = {}
    with open(path) as f:
        for line in f:
            line = line.split("#")[0].strip()
            if line:
                room, allowed = line.split(":")
                layers[room.strip()] = allowed.split()
    return layers


def sources(src):
    for folder, _, files in sorted(os.walk(src)):
        for name in sorted(files):
            if name.endswith((".c", ".h", ".inc", ".S")):
                yield os.path.relpath(os.path.join(folder, name), src)


def check_include(layers, path, target):
    room = path.split("/")[0]
    if "/" not in target:
        return f'include "{target}" names no room'
    other = target.split("/")[0]
    if other == "ring3" or other == room:
        return None
    if room not in layers:
        return f"room {room} is not in layers.txt"
    if other in layers[room] or target in layers[room]:
        return None
    return f'{room} may not know {other} ("{target}")'


def check_file(layers, src, path):
    out = []
    with open(os.path.join(src, path), encoding="utf-8") as f:
        lines = f.read().splitlines()
    if not lines or "SPDX-License-Identifier: " not in lines[0]:
        out.append((1, "first line carries no SPDX licence"))
    for n, line in enumerate(lines, 1):
        m = INCLUDE.match(line)
        if m:
            why = check_include(layers, path, m.group(1))
            if why:
                out.append((n, why))
        if len(line) > 100:
            out.append((n, f"{len(line)} columns"))
        if "\t" in line and not path.endswith(".S"):
            out.append((n, "tab"))
        if line != line.rstrip():
            out.append((n, "trailing space"))
        if re.match(r"static\s+(?!const\b|inline\b|_Thread_local\b|_Noreturn\b)[^()]*[;=]", line) \
                and "const" not in line and path not in MUTABLE_ALLOWED:
            out.append((n, "static mutable state"))
    return [f"src/{path}:{n}: {why}" for n, why in out]


def check_tree(root):
    layers = read_layers(os.path.join(root, "tests/lint/layers.txt"))
    src = os.path.join(root, "src")
    problems = []
    for path in sources(src):
        problems += check_file(layers, src, path)
    return problems


def self_test(root):
    """A check that cannot fail is worth nothing: plant offences, expect them."""
    planted = {
        "base/a.c": '/* SPDX-License-Identifier: GPL-2.0-or-later */\n#include "bus/bus.h"\n',
        "device/b.c": '/* SPDX-License-Identifier: GPL-2.0-or-later */\n#include "engine/engine.h"\n',
        "bus/c.c": "int x;\n",
        "bus/d.c": "/* SPDX-License-Identifier: GPL-2.0-or-later */\nstatic int count;\n",
    }
    with tempfile.TemporaryDirectory() as tmp:
        os.makedirs(os.path.join(tmp, "tests/lint"))
        with open(os.path.join(root, "tests/lint/layers.txt")) as f, \
                open(os.path.join(tmp, "tests/lint/layers.txt"), "w") as g:
            g.write(f.read())
        for path, text in planted.items():
            full = os.path.join(tmp, "src", path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w") as f:
                f.write(text)
        found = check_tree(tmp)
    for path in planted:
        if not any(f"src/{path}:" in p for p in found):
            print(f"self-test: planted offence in {path} was not found")
            return 1
    return 0


def main():
    root = sys.argv[1]
    if "--self-test" in sys.argv:
        return self_test(root)
    problems = check_tree(root)
    for p in problems:
        print(p)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
