#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""share.py RING3 SAMPLES [SECONDS]: one core divided among guests that compute, do I/O, end,
or are refused. The shares are of CPU time, so a busy host makes the run slower, not wrong."""
import os
import re
import resource
import subprocess
import sys
import time

ring3, samples = sys.argv[1:3]
seconds = sys.argv[3] if len(sys.argv) > 3 else '2'
SILENT = os.path.join(samples, 'sample-count_silent.bin')
LOUD = os.path.join(samples, 'sample-count.bin')
TIMER = os.path.join(samples, 'sample-timer')
HELLO = os.path.join(samples, 'sample-hello')
good = True


def share(*args):
    return subprocess.run([ring3, 'share', *args], capture_output=True, text=True, timeout=120,
                          stdin=subprocess.DEVNULL)


def fail(*what):
    global good
    print('FAIL', *what)
    good = False


def rows(text):
    """name: asked, share, switches, exits, end"""
    found = re.findall(r'^(\S+) +([\d.]+) % +([\d.]+) % +[\d.]+ s +(\d+) +(\d+)  (.*)$', text, re.M)
    return {r[0]: (float(r[1]), float(r[2]), int(r[3]), int(r[4]), r[5]) for r in found}


def check_shares(engine, vms, tolerance):
    p = share(*[f'{n}:{f}={s}' for n, f, s in vms], '--engine', engine, '--seconds', seconds,
              '--quantum', '5ms')
    got = rows(p.stdout)
    for name, _, asked in vms:
        if name not in got or abs(got[name][1] - asked) > tolerance:
            fail(engine, name, asked, p.stdout, p.stderr)
    if 'a switch costs' not in p.stdout:
        fail('no cost of a switch', p.stdout)


def check_refused(args, why):
    p = share(*args)
    lines = p.stderr.splitlines()
    if p.returncode != 64 or len(lines) != 1 or why not in lines[0]:
        fail(args, p.returncode, p.stderr)


for engine in 'dbt', 'interp':
    check_shares(engine, [('a', SILENT, 70), ('b', SILENT, 30)], 1)
    check_shares(engine, [('a', LOUD, 20), ('b', SILENT, 50), ('c', LOUD, 30)], 1)
check_shares('dbt', [(f'v{i}', LOUD if i % 2 else SILENT, 6.25) for i in range(16)], 1)

p = share(f'a:{LOUD}=70', f'b:{LOUD}=30', '--switch-on', 'exit', '--seconds', '1', '--engine', 'dbt')
got = rows(p.stdout)
if abs(got['a'][3] - got['b'][3]) > 2 or got['a'][3] < 4:
    fail('not handed over at each exit', p.stdout)

# One sleeps most of the time: the other has what it leaves.
p = share(f'a:{TIMER}=70', f'b:{SILENT}=30', '--seconds', '1', '--engine', 'dbt')
if rows(p.stdout)['b'][1] < 90 or 'a: ten ticks' not in p.stdout:
    fail('idle time is not given away', p.stdout)
p = share(f'a:{TIMER}=70', f'b:{SILENT}=30', '--seconds', '1', '--engine', 'dbt', '--cap')
if rows(p.stdout)['b'][1] > 32:
    fail('idle time is given away in spite of --cap', p.stdout)

p = share(f'a:{HELLO}=50', f'b:{HELLO}=50', '--engine', 'dbt')
if p.returncode or p.stdout.count('Hello, world!') != 2 or p.stdout.count('  off') != 2:
    fail('guests that end', p.stdout, p.stderr)

# A group of the host's, where one may be made: the guest computes without end.
used = resource.getrusage(resource.RUSAGE_CHILDREN)
before = used.ru_utime + used.ru_stime
p = subprocess.Popen([ring3, 'run', '--machine', 'simple', '--engine', 'dbt', '--load',
                      SILENT + '@0x10000', '--cpu-max', '20'], stdin=subprocess.DEVNULL,
                     stderr=subprocess.PIPE, text=True)
time.sleep(3)
if p.poll() is None:
    p.terminate()
    p.wait(30)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    if used.ru_utime + used.ru_stime - before > 1.2:
        fail('--cpu-max 20: more than 20 % of a CPU', used.ru_utime + used.ru_stime - before)
elif p.returncode != 66 or 'cannot limit the CPU by control group' not in p.stderr.read():
    fail('--cpu-max', p.returncode)
check_refused([], 'no VM is given')
check_refused([f'{SILENT}=70'], 'the fractions sum to 70 %, not to 100 %')
check_refused([f'a:{SILENT}=70', f'b:{SILENT}=40'], 'sum to 110 %')
check_refused([f'a:{SILENT}=-10', f'b:{SILENT}=110'], 'more than nothing')
check_refused([f'a:{SILENT}=0', f'b:{SILENT}=100'], 'more than nothing')
check_refused([f'{SILENT}=50', f'{SILENT}=50'], 'two VMs called')
check_refused([f'a:{SILENT}=x', f'b:{SILENT}=50'], 'no percentage')
check_refused([f'a:{SILENT}=nan', f'b:{SILENT}=50'], 'no percentage')
check_refused([f'a:{SILENT}=', f'b:{SILENT}=50'], 'no percentage')
check_refused([f'a:{SILENT}=50', f'b:{SILENT}=50', '--quantum', '10'], "'10' is no time")
check_refused([f'a:{SILENT}=50', f'b:{SILENT}=50', '--quantum', '1us'], 'out of range')
check_refused([f'a:{SILENT}=50', f'b:{SILENT}=50', '--core', 'x'], 'no core')
check_refused([f'a:{SILENT}=50', f'b:{SILENT}=50', '--frobnicate'], 'no option')
if share('a:/nowhere=50', f'b:{SILENT}=50').returncode != 66:
    fail('a file that is missing')
sys.exit(0 if good else 1)
