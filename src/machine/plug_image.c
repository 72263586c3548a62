/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * plug_image.c - `ring3 run IMAGE`: recognises what the one file is.
 *
 * A raw image is taken for what it is here, since the user says that it is a disk; only
 * one that starts like an image of another format is refused as raw (block/open.c guesses
 * those itself). An ISO 9660 image (ECMA-119, 8.1: a volume descriptor in sector 16) is a
 * CD-ROM, even if it has a partition table for use on other media, too.
 */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "machine/plug.h"

enum image { IMAGE_RAW, IMAGE_ISO, IMAGE_FORMATTED };

static enum image recognise(const char *path)
{
    enum { DESCRIPTOR_AT = 16 * 2048 + 1 };
    char magic[5] = "";
    FILE *f = fopen(path, "re");
    bool formatted, iso;

    if (!f)
        return IMAGE_FORMATTED;            /* a URL, or not there: opening it tells */
    formatted = fread(magic, 1, 4, f) == 4 && memcmp(magic, "QFI\xfb", 4) == 0;
    iso = fseek(f, DESCRIPTOR_AT, SEEK_SET) == 0 && fread(magic, 1, 5, f) == 5 &&
          memcmp(magic, "CD001", 5) == 0;
    fclose(f);
    return formatted ? IMAGE_FORMATTED : iso ? IMAGE_ISO : IMAGE_RAW;
}

int plug_image(const struct plug *p, const char *path, struct error **err)
{
    enum image what = recognise(path);
    struct strbuf text = {0};
    int rc;

    for (const char *c = path; *c; c++)
        strbuf_addf(&text, *c == ',' ? ",," : "%c", *c);
    if (what == IMAGE_RAW)
        strbuf_addf(&text, ",format=raw");
    rc = what == IMAGE_ISO ? plug_cdrom(p, strbuf_text(&text), err)
                           : plug_disk(p, strbuf_text(&text), err);
    strbuf_fini(&text);
    return rc;
}
