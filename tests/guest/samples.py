#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""samples.py RING3 ENGINE DIRECTORY: the sample guests, by what they print, by their exit
status, and by what is on the screen."""
import os
import pty
import select
import subprocess
import sys
import tempfile
import time

ring3, engine, samples = sys.argv[1:4]
SIMPLE, TEACH = ['--machine', 'simple'], ['--machine', 'teach']
RAW = SIMPLE + ['--memory', '2M', '--start']

CALLS = '''one character at a time
a whole string with one exit
2
IO in: 2
IO out: 27
mapped
Invalid GVA
0
'''


def sample(name):
    return os.path.join(samples, 'sample-' + name)


def kernel(name):
    return ['--kernel', sample(name)]


# Arguments, the exit status, what is printed.
RUNS = [
    (SIMPLE + kernel('hello') + ['--append', 'a b'], 0, 'Hello, world!\narguments: a b\n'
     'memory: 512 MiB\n100 serial\n101 keyboard\n102 video\n103 timer\n104 clock\n105 power\n'),
    (RAW + ['long', '--load', sample('hypercalls64.bin@0')], 43, CALLS),
    (RAW + ['paging32', '--load', sample('hypercalls32.bin@0')], 43, CALLS),
    (RAW + ['protected', '--load', sample('hypercalls32.bin@0')], 43, CALLS),
    (SIMPLE + kernel('timer'), 0, 'ten ticks\na delay\na date\n'),
    (SIMPLE + kernel('paging'), 0, 'one page, two addresses\nmapped when it was needed\n'),
    (SIMPLE + kernel('disk_simple') + ['--disk', 'DISK'], 0, '128 sectors\nthe same came back\n'),
    (SIMPLE + kernel('disk_paravirtual') + ['--disk', 'DISK'], 0, 'the same came back\n'),
    (TEACH + kernel('disk_emulated') + ['--disk', 'DISK'], 0, '128 sectors\n'
     'the same came back\nan error, as it should be\n'),
    (TEACH + kernel('disk_paravirtual') + ['--disk', 'DISK'], 0, 'the same came back\n'),
    (kernel('pc_hypercalls') + ['--disk', 'DISK,bus=ata'], 129, ''),
    (kernel('pc_hypercalls') + ['--vga', 'none'], 3, ''),
    (TEACH + kernel('vga_emulated'), 0, '2218 exits\n'),
    (TEACH + kernel('vga_paravirtual'), 0, '5 exits\n'),
    (SIMPLE + kernel('smp') + ['--cpus', '4', '--append', '4'], 0, '4 processors\n'),
    (SIMPLE + kernel('ping') + ['--net', 'user'], 0, 'arp\n3 answers\n'),
]


def has_user_network():
    out = subprocess.run([ring3, 'run', '--net', 'list'], capture_output=True, text=True).stdout
    return any(line.startswith('user') for line in out.splitlines())


def check_run(args, status, text, disk):
    if 'user' in args and not has_user_network():
        return True
    args = [a.replace('DISK', disk + ',format=raw') for a in args]
    p = subprocess.run([ring3, 'run', '--engine', engine] + args, capture_output=True, text=True,
                       stdin=subprocess.DEVNULL, timeout=60)
    if p.returncode == status and p.stdout == text:
        return True
    print(f'FAIL {args}: status {p.returncode}, printed {p.stdout!r}, {p.stderr!r}')
    return False


class Terminal:
    """ring3 with a terminal, so that its monitor can be asked for the screen."""

    def __init__(self, args):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ['TERM'] = 'dumb'
            os.execv(ring3, [ring3, 'run', '--engine', engine] + args)
        self.text = ''

    def wait_for(self, what, seconds=30):
        end = time.time() + seconds
        while what not in self.text:
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.time()))
            try:
                more = os.read(self.fd, 65536).decode(errors='replace') if ready else ''
            except OSError:
                more = ''
            if not more:
                return False
            self.text += more.replace('\r', '')
        return True

    def type(self, text):
        os.write(self.fd, text.encode())

    def close(self):
        self.type('quit\n')
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def check_screen(name, args, printed, command, wanted):
    t = Terminal(args)
    good = t.wait_for(printed)
    t.type('\x01c')
    good = good and t.wait_for('(ring3)')
    for line in command[:-1]:
        t.type(line + '\n')
    for _ in range(100):
        t.type(command[-1] + '\n')
        if not good or t.wait_for(wanted, 0.2):
            break
    good = good and wanted in t.text
    if not good:
        print(f'FAIL {name}: {t.text!r}')
    t.close()
    return good


def main():
    good = True
    with tempfile.TemporaryDirectory() as directory:
        disk = os.path.join(directory, 'disk')
        with open(disk, 'wb') as f:
            f.truncate(65536)
        for args, status, text in RUNS:
            good &= check_run(args, status, text, disk)
        picture = os.path.join(directory, 'picture.ppm')
        good &= check_screen('framebuffer', SIMPLE + kernel('framebuffer'), 'drawn',
                             ['screenshot ' + picture, 'screen-text'], 'a picture of 640x480')
        good &= check_screen('keyboard', SIMPLE + kernel('keyboard'), 'type',
                             ['keys Hi_There!<ret>ok', 'screen-text'], 'Hi_There!\nok\n')
        for machine, name in (TEACH, 'vga_emulated'), (SIMPLE, 'vga_paravirtual'):
            word = 'EMULATED' if machine is TEACH else 'PARAVIRTUAL'
            good &= check_screen(name, machine + kernel(name) + ['--append', 'wait'], 'exits',
                                 ['info pci', 'info virtio', 'info block', 'info network',
                                  'screen-text'], word)
        with open(picture, 'rb') as f:
            pixels = f.read()[-640 * 480 * 3:]
        middle = (240 * 640 + 320) * 3
        if pixels[middle:middle + 3] != b'\xff\xcc\x00':
            print('FAIL: the picture is another')
            good = False
    return 0 if good else 1


sys.exit(main())
