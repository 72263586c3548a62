# SPDX-License-Identifier: GPL-2.0-or-later
"""report.py - what the records of a run say: medians, slowdowns, the required figures.

The figure of a program in one engine is the median over the rounds of its nanoseconds per unit
of work, each corrected for the share of a CPU it got; a slowdown is that figure over the native
one of the same run. An engine may have run at a smaller scale than the processor: work is counted
in units, and checksums are compared between runs of one scale.
"""
import collections
import math
import statistics

# programs, most for each, most for their geometric mean: what the translator has to reach.
GROUPS = [
    ("integer code", "callmix interp fib icall sort hash sha256 zlib sqlite", 3, 1.8),
    ("floating point, vectors", "nbody matmul x87 vec-sse2 vec-avx2 triad", 2, 1.5),
    ("copying", "memcpy-4k memcpy-16m repmovs", 1.3, None),
    ("latency, L1", "chase-l1", 2.9, None),
    ("latency, L2", "chase-l2", 1.4, None),
    ("latency, DRAM", "chase-dram", 1.3, None),
    ("atomics", "atomic", 1.0, None),
    ("system calls", "getppid clock", 2.5, None),
    ("kernel work", "pipe-self ctxsw signal fork forkexec tmpfs shell", 4, None),
    ("page tables", "pagefault mprotect", 3, None),
    ("generated code", "jitgen", 15, None),
]
ALL_MEAN = 1.9
BOOT_OF_TCG = 0.4
# Where an emulator with one vCPU may leave out what the processor has to do.
MAY_LOSE_TO_TCG = {"atomic"}
SUBJECT, RIVAL = "dbt", "qemu"
# A guest's clock may differ from the host's by this much over a program of 0.2 s and more.
CLOCK_TOLERANCE = 0.05


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


class Results:
    def __init__(self, records):
        self.times = collections.defaultdict(lambda: collections.defaultdict(list))
        self.checks = collections.defaultdict(set)
        self.clock = collections.defaultdict(list)
        self.clocksource = collections.defaultdict(set)
        self.boots = collections.defaultdict(list)
        self.troubles = []
        self.engines, self.programs, self.scales = [], [], {}
        for r in records:
            self.take(r)
        self.troubles += [f"checksums of {name} at scale {scale} differ: " +
                          ", ".join(f"{e} {c}" for e, c in sorted(found))
                          for (name, scale), found in sorted(self.checks.items())
                          if len({c for _, c in found}) > 1]
        self.troubles += [f"the clock of {e} runs at {x:.2f} of the host's"
                          for e, v in self.clock.items() for x in [statistics.median(v)]
                          if abs(x - 1) > CLOCK_TOLERANCE]

    def take(self, r):
        engine, name = r["engine"], r["name"]
        if engine not in self.engines:
            self.engines.append(engine)
        if name == "boot":
            self.boots[engine].append(r["wall"] * r["share"])
        elif name == "clocksource":
            self.clocksource[engine].add(r["value"])
        elif name == "died":
            self.troubles.append(f"{engine} did not finish round {r['round'] + 1}: "
                                 f"stopped after {r['seconds']:.0f} s in {r['where']}")
        elif r["status"] == "RESULT":
            self.take_result(engine, name, r)
        else:
            self.troubles.append(f"{name} in {engine}: {r['status']}")

    def take_result(self, engine, name, r):
        self.checks[name, r["scale"]].add((engine, r["check"]))
        if r.get("untimed"):
            return
        if name not in self.programs:
            self.programs.append(name)
        self.scales[engine] = r["scale"]
        self.times[name][engine].append(r["ns"] * r["share"] / r["units"])
        if engine != "native" and r["wall"] > 0.2:
            self.clock[engine].append(r["elapsed_ns"] / 1e9 / r["wall"])

    def figure(self, name, engine):
        v = self.times[name].get(engine)
        return statistics.median(v) if v else None

    def slowdown(self, name, engine):
        a, b = self.figure(name, engine), self.figure(name, "native")
        return a / b if a and b else None

    def slowdowns(self, names, engine):
        found = [self.slowdown(n, engine) for n in names]
        return [x for x in found if x]

    def boot(self, engine):
        return statistics.median(self.boots[engine]) if self.boots.get(engine) else None


def verdicts(res):
    """(label, programs, required, measured, rival's, met) of everything that is required."""
    out = []
    for label, names, each, mean in GROUPS:
        names = [n for n in names.split() if n in res.programs]
        mine, theirs = res.slowdowns(names, SUBJECT), res.slowdowns(names, RIVAL)
        if not mine:
            continue
        if mean:
            out.append((label + ", mean", names, mean, geometric_mean(mine),
                        geometric_mean(theirs)))
        out.append((label + (", worst" if len(names) > 1 else ""), names, each, max(mine),
                    max(theirs, default=None)))
    mine = res.slowdowns(res.programs, SUBJECT)
    if len(mine) > 1:
        out.append(("all programs, mean", res.programs, ALL_MEAN, geometric_mean(mine),
                    geometric_mean(res.slowdowns(res.programs, RIVAL))))
    if res.boot(SUBJECT) and res.boot(RIVAL):
        out.append(("boot, share of TCG's time", [], BOOT_OF_TCG,
                    res.boot(SUBJECT) / res.boot(RIVAL), 1.0))
    out = [(*row, row[3] <= row[2]) for row in out]
    slower = [n for n in res.programs if n not in MAY_LOSE_TO_TCG
              and (res.slowdown(n, SUBJECT) or 0) > (res.slowdown(n, RIVAL) or math.inf)]
    if any(res.figure(n, RIVAL) for n in res.programs):
        out.append(("slower than TCG", slower, 0, len(slower), None, not slower))
    return out


def number(x, width=0):
    if x is None:
        return "-".rjust(width)
    if isinstance(x, int):
        return str(x).rjust(width)
    digits = 3 if x < 0.1 else 2 if x < 9.995 else 1 if x < 99.95 else 0
    return f"{x:.{digits}f}".rjust(width)


def required_of(name):
    return next((each for _, names, each, _ in GROUPS if name in names.split()), None)


def program_rows(res):
    """Header and cells of the table of programs."""
    others = [e for e in res.engines if e != "native"]
    yield ["program", "native, ns", "spread", *others, "required"]
    for n in res.programs:
        native = res.times[n].get("native", [])
        spread = f"{number(min(native))}–{number(max(native))}" if native else "-"
        yield [n, number(res.figure(n, "native")), spread,
               *(number(res.slowdown(n, e)) for e in others), number(required_of(n))]
    if len(res.programs) > 1:
        yield ["geometric mean", "", "",
               *(number(geometric_mean(res.slowdowns(res.programs, e))) for e in others),
               number(ALL_MEAN)]
    yield ["boot, seconds", "", "", *(number(res.boot(e)) for e in others), ""]
    yield ["scale, per cent", str(res.scales.get("native", "")), "",
           *(str(res.scales.get(e, "-")) for e in others), ""]


def verdict_rows(res):
    yield ["what", "required", SUBJECT, RIVAL, "verdict", "programs"]
    for label, names, need, got, rival, met in verdicts(res):
        yield [label, f"≤ {need:g}", number(got), number(rival), "met" if met else "MISSED",
               "all" if names == res.programs and len(names) > 9 else " ".join(names)]


def remark_lines(res):
    compared = sum(1 for found in res.checks.values() if len({e for e, _ in found}) > 1)
    yield f"checksums: {compared} programs and scales compared between engines"
    for e, v in res.clock.items():
        yield (f"clock of {e} ({', '.join(sorted(res.clocksource[e])) or 'unknown'}): "
               f"{statistics.median(v):.3f} of the host's, {min(v):.3f} to {max(v):.3f}")
    for t in res.troubles:
        yield "TROUBLE: " + t


def text_table(rows):
    rows = [list(r) for r in rows]
    width = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    for r in rows:
        left = r[0].ljust(width[0])
        last = "  " + r[-1] if len(r[-1]) > 12 or not r[-1][:1].isdigit() else r[-1].rjust(
            min(width[-1], 10) + 2)
        yield (left + "".join(c.rjust(w + 2) for c, w in zip(r[1:-1], width[1:-1])) +
               last).rstrip()


def markdown_table(rows):
    for i, r in enumerate(rows):
        yield "| " + " | ".join(r) + " |"
        if i == 0:
            yield "|" + " --- |" * len(r)


def text(res):
    parts = [text_table(program_rows(res)), [""]]
    if res.slowdowns(res.programs, SUBJECT):
        parts += [text_table(verdict_rows(res)), [""]]
    parts.append(remark_lines(res))
    return "\n".join(line for part in parts for line in part)


def markdown(res):
    parts = [markdown_table(program_rows(res)), [""]]
    if res.slowdowns(res.programs, SUBJECT):
        parts += [markdown_table(verdict_rows(res)), [""]]
    parts.append("- " + line for line in remark_lines(res))
    return "\n".join(line for part in parts for line in part)
