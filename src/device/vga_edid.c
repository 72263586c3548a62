/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vga_edid.c - what the monitor says of itself: VESA E-EDID 1.4, one block.
 *
 * The preferred mode is the first detailed timing; its blanking follows the reduced
 * blanking of VESA's Coordinated Video Timings, which is all a guest checks.
 */
#include "device/vga_priv.h"

#include "base/byteorder.h"

enum { DPI = 96, H_BLANK = 160, H_FRONT = 48, H_SYNC = 32, V_FRONT = 3, V_SYNC = 6,
       REFRESH_HZ = 60 };

static void put_standard_timings(uint8_t *e)
{
    static const struct { unsigned width, aspect; } modes[] = {
        {1920, 3}, {1680, 0}, {1600, 3}, {1440, 0}, {1280, 2}, {1280, 0}, {1152, 1}, {1024, 1},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
        e[38 + 2 * i] = (uint8_t)(modes[i].width / 8 - 31);
        e[39 + 2 * i] = (uint8_t)(modes[i].aspect << 6 | (REFRESH_HZ - 60));
    }
}

static void put_detailed(uint8_t *d, unsigned width, unsigned height)
{
    unsigned v_blank = height / 30 + V_FRONT + V_SYNC;
    unsigned mm_x = width * 254 / (DPI * 10), mm_y = height * 254 / (DPI * 10);
    unsigned clock_10khz = (width + H_BLANK) * (height + v_blank) * REFRESH_HZ / 10000;

    put_le16(d, (uint16_t)clock_10khz);
    d[2] = (uint8_t)width;
    d[3] = H_BLANK;
    d[4] = (uint8_t)(width >> 8 << 4);
    d[5] = (uint8_t)height;
    d[6] = (uint8_t)v_blank;
    d[7] = (uint8_t)(height >> 8 << 4);
    d[8] = H_FRONT;
    d[9] = H_SYNC;
    d[10] = V_FRONT << 4 | V_SYNC;
    d[12] = (uint8_t)mm_x;
    d[13] = (uint8_t)mm_y;
    d[14] = (uint8_t)(mm_x >> 8 << 4 | mm_y >> 8);
    d[17] = 0x1e;                /* digital separate sync, both positive */
}

static void put_text(uint8_t *d, uint8_t tag, const char *text)
{
    size_t n = strlen(text);

    d[3] = tag;
    memset(d + 5, ' ', 13);
    memcpy(d + 5, text, n);
    if (n < 13)
        d[5 + n] = '\n';
}

void vga_edid_make(uint8_t edid[VGA_EDID_BYTES], unsigned width, unsigned height)
{
    static const uint8_t head[] = {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0};
    /* sRGB's primaries and white point. */
    static const uint8_t colours[] = {0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54};
    static const uint8_t range[] = {0, 0, 0, 0xfd, 0, 50, 75, 30, 160, 30, 0, '\n', ' ', ' ', ' ',
                                    ' ', ' ', ' '};
    uint8_t sum = 0;

    memset(edid, 0, VGA_EDID_BYTES);
    memcpy(edid, head, sizeof head);
    edid[8] = ('R' - '@') << 2 | ('N' - '@') >> 3;       /* "RNG" */
    edid[9] = (uint8_t)(('N' - '@') << 5 | ('G' - '@'));
    edid[10] = 3;
    edid[16] = 1;                /* week, year 2026 */
    edid[17] = 2026 - 1990;
    edid[18] = 1;
    edid[19] = 4;
    edid[20] = 0xa5;             /* digital, 8 bits a colour, DisplayPort */
    edid[21] = (uint8_t)(width * 254 / (DPI * 100));     /* cm */
    edid[22] = (uint8_t)(height * 254 / (DPI * 100));
    edid[23] = 120;              /* gamma 2.2 */
    edid[24] = 0x06;             /* sRGB, the first timing is the native one */
    memcpy(edid + 25, colours, sizeof colours);
    edid[35] = 0x21;             /* 640x480, 800x600 at 60 Hz */
    edid[36] = 0x08;             /* 1024x768 at 60 Hz */
    put_standard_timings(edid);
    put_detailed(edid + 54, width, height);
    memcpy(edid + 72, range, sizeof range);
    put_text(edid + 90, 0xfc, "ring3");
    edid[111] = 0x10;            /* no fourth descriptor */
    for (unsigned i = 0; i < VGA_EDID_BYTES - 1; i++)
        sum += edid[i];
    edid[VGA_EDID_BYTES - 1] = (uint8_t)-sum;
}
