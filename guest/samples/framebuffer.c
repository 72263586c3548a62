/* SPDX-License-Identifier: MIT-0 */
/* framebuffer.c - a picture: 32 bits per pixel, a colour for every place. */
#include "sample.h"

enum { WIDTH = 640, HEIGHT = 480 };

int guest_main(const struct ring3_simple_device *table, const char *arguments, u64 ram_bytes)
{
    const struct ring3_simple_device *video = device(table, RING3_SIMPLE_VIDEO);
    volatile u32 *pixel = AT(u32, video->memory);

    outl(video->port, RING3_SIMPLE_GRAPHICS(WIDTH, HEIGHT));
    for (u32 y = 0; y < HEIGHT; y++) {
        for (u32 x = 0; x < WIDTH; x++) {
            int dx = (int)x - WIDTH / 2, dy = (int)y - HEIGHT / 2;

            pixel[y * WIDTH + x] = dx * dx + dy * dy < 150 * 150 ? 0xffcc00 : x * 255 / WIDTH;
        }
    }
    print("drawn\n");
    for (;;)                                     /* look at it; Ctrl-A x ends the machine */
        __asm__ volatile("hlt");
}
