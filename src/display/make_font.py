#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes font.c: 256 glyphs of 8x16 in the order of code page 437, from GNU Unifont.

    make_font.py unifont.pcf[.gz] OUTPUT

Unifont is GPL-2.0-or-later with the font embedding exception. The file is in X11's
portable compiled format: a table of tables, of which three matter here (metrics,
bitmaps, encodings). Its glyphs stand on a base line 14 rows down.
"""
import gzip
import struct
import sys

METRICS, BITMAPS, ENCODINGS = 4, 8, 32
BASELINE, ROWS = 14, 16

CONTROLS = "\0☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼"
HIGH = bytes(range(128, 256)).decode("cp437")
PAGE = CONTROLS + "".join(map(chr, range(32, 127))) + "⌂" + HIGH


class Pcf:
    def __init__(self, data):
        assert data[:4] == b"\1fcp", "not a PCF font"
        self.data = data
        self.tables = {}
        for i in range(struct.unpack_from("<I", data, 4)[0]):
            kind, _, size, offset = struct.unpack_from("<4I", data, 8 + 16 * i)
            self.tables[kind] = data[offset:offset + size]
        self.metrics = self.read_metrics()
        self.read_bitmaps()
        self.read_encodings()

    def table(self, kind):
        body = self.tables[kind]
        fmt = struct.unpack_from("<I", body)[0]
        return body, fmt, ">" if fmt & 4 else "<"

    def read_metrics(self):
        body, fmt, order = self.table(METRICS)
        if fmt & 0x100:
            count = struct.unpack_from(order + "H", body, 4)[0]
            return [[b - 128 for b in body[6 + 5 * i:11 + 5 * i]] for i in range(count)]
        count = struct.unpack_from(order + "I", body, 4)[0]
        return [struct.unpack_from(order + "5h", body, 8 + 12 * i) for i in range(count)]

    def read_bitmaps(self):
        body, self.bit_format, order = self.table(BITMAPS)
        count = struct.unpack_from(order + "I", body, 4)[0]
        self.offsets = struct.unpack_from(f"{order}{count}I", body, 8)
        self.bits = body[8 + 4 * count + 16:]

    def read_encodings(self):
        body, _, order = self.table(ENCODINGS)
        low, high, row_low, row_high, _ = struct.unpack_from(order + "5H", body, 4)
        self.first = (low, row_low)
        self.width = high - low + 1
        count = self.width * (row_high - row_low + 1)
        self.glyphs = struct.unpack_from(f"{order}{count}H", body, 14)

    def glyph(self, char):
        """Sixteen bytes, or None."""
        code = ord(char)
        at = ((code >> 8) - self.first[1]) * self.width + (code & 0xff) - self.first[0]
        index = self.glyphs[at] if 0 <= at < len(self.glyphs) else 0xffff
        if index == 0xffff:
            return None
        left, right, _, ascent, descent = self.metrics[index]
        pad = 1 << (self.bit_format & 3)
        stride = -(-(right - left) // (8 * pad)) * pad
        rows = [0] * ROWS
        for i in range(ascent + descent):
            row = BASELINE - ascent + i
            start = self.offsets[index] + i * stride
            word = int.from_bytes(self.bits[start:start + stride], "big")
            # What is wider than a cell loses every other column.
            wide = word << (32 - 8 * stride) >> left if stride <= 4 else 0
            if right > 8:
                byte = sum((wide >> (30 - 2 * b) & 3 != 0) << (7 - b) for b in range(8))
            else:
                byte = wide >> 24
            if 0 <= row < ROWS:
                rows[row] = byte & 0xff
        return rows


def main():
    source, output = sys.argv[1:]
    opener = gzip.open if source.endswith(".gz") else open
    with opener(source, "rb") as f:
        font = Pcf(f.read())
    assert font.bit_format & 8, "bits of a byte in the other order"
    with open(output, "w", encoding="utf-8") as out:
        out.write("/* Made by make_font.py from GNU Unifont (GPL-2.0-or-later with the font\n"
                  " * embedding exception). */\n#include \"display/font.h\"\n\n"
                  "const uint8_t font_8x16[FONT_GLYPHS][FONT_HEIGHT] = {\n")
        for char in PAGE:
            rows = font.glyph(char) if char != "\0" else [0] * ROWS
            assert rows is not None, f"no glyph for {char!r}"
            out.write("    {" + ", ".join(f"0x{r:02x}" for r in rows) + "},\n")
        out.write("};\n\nconst uint16_t font_unicode[FONT_GLYPHS] = {\n")
        for i in range(0, 256, 8):
            out.write("    " + " ".join(f"0x{ord(c) or 32:04x}," for c in PAGE[i:i + 8]) + "\n")
        out.write("};\n")


main()
