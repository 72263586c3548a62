/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * picture.h - a surface as a file: PNG, or PPM by its name.
 *
 * No lock is held and none is needed: give it a copy (display_copy). PNG is compressed
 * with zlib where the build found it and stored uncompressed elsewhere.
 */
#ifndef RING3_DISPLAY_PICTURE_H
#define RING3_DISPLAY_PICTURE_H

#include "display/display.h"

/* A name that ends in ".ppm" gets that, every other one PNG. */
int picture_write(const struct display_surface *s, const char *path, struct error **err);

#endif
