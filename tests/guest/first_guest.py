#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""first_guest.py RING3 SOURCE_ROOT CC: docs/first-guest.md, done step by step."""
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time

ring3, root, compiler = sys.argv[1], sys.argv[2], sys.argv[3:]
text = open(os.path.join(root, 'docs/first-guest.md')).read()
programs = re.findall(r'```c\n(.*?)```', text, re.S)
commands = re.findall(r'^(gcc .*|ld .*)$', text, re.M)
good = True


def build(directory, source):
    with open(os.path.join(directory, 'guest.c'), 'w') as f:
        f.write(source)
    gcc, ld = (shlex.split(c) for c in commands)
    gcc[:1] = compiler
    for command in gcc + ['-I', os.path.join(root, 'include')], ld:
        subprocess.run(command, cwd=directory, check=True)
    return os.path.join(directory, 'guest.elf')


def run(guest):
    return subprocess.run([ring3, 'run', '--machine', 'simple', '--kernel', guest, '--engine', 'dbt'],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)


def check(what, is_so):
    global good
    if not is_so:
        print('FAIL', what)
        good = False


def picture_of(guest, directory):
    env = dict(os.environ, XDG_RUNTIME_DIR=directory)
    vm = subprocess.Popen([ring3, 'run', '--machine', 'simple', '--kernel', guest, '--engine', 'dbt',
                           '--name', 'me', '--serial', 'none'], env=env, stdin=subprocess.DEVNULL)
    file = os.path.join(directory, 'picture.ppm')
    pixels = b''
    for _ in range(100):
        time.sleep(0.1)
        p = subprocess.run([ring3, 'screenshot', 'me', file], env=env, capture_output=True)
        pixels = open(file, 'rb').read()[-640 * 480 * 3:] if p.returncode == 0 else b''
        if pixels and pixels[-1]:
            break
    subprocess.run([ring3, 'stop', 'me'], env=env, capture_output=True)
    vm.wait(30)
    return pixels


with tempfile.TemporaryDirectory() as directory:
    check('step 1', run(build(directory, programs[0])).returncode == 0)
    five = programs[0].replace('return 0', 'return 5')
    check('return 5', run(build(directory, five)).returncode == 11)
    p = run(build(directory, programs[1]))
    check('step 2', p.returncode == 0 and p.stdout == 'Hello!\n')
    drawing = programs[1][:programs[1].index('int guest_main')] + programs[2]
    pixels = picture_of(build(directory, drawing), directory)
    check('step 3', len(pixels) == 640 * 480 * 3 and all(
        pixels[3 * (y * 640 + x):][:3] == bytes([(x ^ y) & 255, 0, x * 255 // 640])
        for x, y in ((0, 0), (639, 479), (100, 200))))
sys.exit(0 if good else 1)
