# SPDX-License-Identifier: GPL-2.0-or-later
"""chart.py - the slowdowns of a run as an SVG picture.

One line per program, a dot per engine on a logarithmic axis, a tick where the required figure is.
Written by hand, without a library. Colours follow the reader's light or dark preference; each
engine has a shape of its own too, so that nothing depends on telling colours apart.
"""
import math
from xml.sax.saxutils import escape

import report

ROW, LEFT, WIDTH, TOP, RIGHT = 18, 118, 640, 64, 24
# The colours are told apart by the common colour blindnesses, on white and on dark grey.
STYLE = """
  svg { background: #ffffff; font: 12px sans-serif }
  text { fill: #1f2328 } .dim { fill: #59636e } .grid { stroke: #d8dee4 }
  .one { stroke: #59636e } .need { stroke: #1f2328; stroke-width: 2 } .span { stroke: #d0d7de }
  .e0 { fill: #0969da } .e1 { fill: #bc4c00 } .e2 { fill: #6e7781 } .e3 { fill: #8250df }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117 }
    text { fill: #e6edf3 } .dim { fill: #9198a1 } .grid { stroke: #2a313c }
    .one { stroke: #9198a1 } .need { stroke: #e6edf3 } .span { stroke: #3d444d }
    .e0 { fill: #58a6ff } .e1 { fill: #f0883e } .e2 { fill: #8b949e } .e3 { fill: #bc8cff }
  }
"""


def marker(shape, x, y, title):
    """Dot, diamond, square or triangle around (x, y)."""
    inside = f"<title>{escape(title)}</title>"
    if shape == 0:
        return f'<circle class="e0" cx="{x:.1f}" cy="{y}" r="5">{inside}</circle>'
    points = {1: [(0, -6), (6, 0), (0, 6), (-6, 0)], 2: [(-4, -4), (4, -4), (4, 4), (-4, 4)],
              3: [(0, -5), (5, 4), (-5, 4)]}[shape]
    path = " ".join(f"{x + dx:.1f},{y + dy}" for dx, dy in points)
    return f'<polygon class="e{shape}" points="{path}">{inside}</polygon>'


class Axis:
    """Slowdowns to columns, with one decimal order of magnitude as its step."""

    def __init__(self, values):
        self.low = min([0.5, *values]) * 0.9
        self.high = max([10, *values]) * 1.15

    def x(self, value):
        return LEFT + WIDTH * (math.log(value / self.low) / math.log(self.high / self.low))

    def ticks(self):
        for power in range(-3, 6):
            for digit in (1, 2, 5):
                v = digit * 10.0 ** power
                if self.low <= v <= self.high:
                    yield v


def grid(axis, bottom):
    for v in axis.ticks():
        x = axis.x(v)
        yield (f'<line class="{"one" if v == 1 else "grid"}" x1="{x:.1f}" x2="{x:.1f}" '
               f'y1="{TOP - 6}" y2="{bottom}"/>')
        yield f'<text class="dim" x="{x:.1f}" y="{TOP - 12}" text-anchor="middle">{v:g}</text>'


def legend(engines):
    x = LEFT
    for i, e in enumerate(engines):
        yield marker(i, x, 30, e)
        yield f'<text x="{x + 10}" y="34">{escape(e)}</text>'
        x += 30 + 8 * len(e)
    yield f'<line class="need" x1="{x}" x2="{x}" y1="23" y2="37"/>'
    yield f'<text x="{x + 8}" y="34">required of {report.SUBJECT}</text>'


def row(res, axis, engines, label, values, need, y):
    yield f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(label)}</text>'
    found = [v for v in values if v]
    if len(found) > 1:
        yield (f'<line class="span" x1="{axis.x(min(found)):.1f}" '
               f'x2="{axis.x(max(found)):.1f}" y1="{y}" y2="{y}"/>')
    if need:
        x = axis.x(need)
        yield f'<line class="need" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 7}" y2="{y + 7}"/>'
    # The first engine last, on top of the others.
    for i, v in reversed(list(enumerate(values))):
        if v:
            yield marker(i, axis.x(v), y, f"{label}, {engines[i]}: {report.number(v)}")


def svg(res):
    order = [report.SUBJECT, report.RIVAL, "interp"]
    engines = [e for e in order if e in res.engines]
    engines += [e for e in res.engines if e not in [*order, "native"]]
    engines = engines[:4]
    lines = [(n, [res.slowdown(n, e) for e in engines], report.required_of(n))
             for n in res.programs]
    means = [report.geometric_mean(res.slowdowns(res.programs, e)) for e in engines]
    lines.append(("geometric mean", means, report.ALL_MEAN))
    axis = Axis([v for _, values, _ in lines for v in values if v])
    bottom = TOP + ROW * (len(lines) + 1)
    body = [f'<text x="{LEFT}" y="16">Slowdown against native code '
            '(logarithmic, smaller is better)</text>', *legend(engines), *grid(axis, bottom)]
    for i, (label, values, need) in enumerate(lines):
        y = TOP + ROW * i + 10 + (8 if i == len(lines) - 1 else 0)
        body += row(res, axis, engines, label, values, need, y)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}" '
            f'height="{bottom + 12}" viewBox="0 0 {LEFT + WIDTH + RIGHT} {bottom + 12}">\n'
            f"<style>{STYLE}</style>\n" + "\n".join(body) + "\n</svg>\n")
