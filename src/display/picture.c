/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * picture.c - PNG (ISO 15948) and PPM.
 *
 * A PNG of 8-bit RGB rows is a dozen lines, so that no library is needed: signature,
 * IHDR, one IDAT holding a zlib stream (RFC 1950) of rows that begin with filter 0,
 * IEND. Without zlib the stream consists of stored blocks (RFC 1951, 3.2.4).
 */
#include "display/picture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef RING3_HAVE_ZLIB
#include <zlib.h>
#endif

#include "base/error.h"
#include "base/strbuf.h"

enum { STORED_MAX = 0xffff, COLOUR_RGB = 2 };

/* ---- rows ---- */

static void put_rgb(uint8_t *out, const uint32_t *pixels, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        out[3 * i] = (uint8_t)(pixels[i] >> 16);
        out[3 * i + 1] = (uint8_t)(pixels[i] >> 8);
        out[3 * i + 2] = (uint8_t)pixels[i];
    }
}

/* All rows, each behind `lead` bytes of zero. NULL: no memory. */
static uint8_t *rows_of(const struct display_surface *s, unsigned lead, size_t *len)
{
    size_t row = lead + 3 * (size_t)s->width;
    uint8_t *all = calloc(s->height, row);

    *len = row * s->height;
    for (unsigned y = 0; all && y < s->height; y++)
        put_rgb(all + y * row + lead, s->pixels + (size_t)y * s->stride, s->width);
    return all;
}

/* ---- PNG ---- */

static uint32_t crc_of(uint32_t crc, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return crc;
}

static void put_be32(uint8_t *to, uint32_t v)
{
    to[0] = (uint8_t)(v >> 24);
    to[1] = (uint8_t)(v >> 16);
    to[2] = (uint8_t)(v >> 8);
    to[3] = (uint8_t)v;
}

static void add_chunk(struct strbuf *out, const char *type, const uint8_t *data, size_t len)
{
    uint32_t crc = crc_of(UINT32_MAX, (const uint8_t *)type, 4);
    uint8_t word[4];

    put_be32(word, (uint32_t)len);
    strbuf_add(out, word, 4);
    strbuf_add(out, type, 4);
    strbuf_add(out, data, len);
    put_be32(word, ~crc_of(crc, data, len));
    strbuf_add(out, word, 4);
}

#ifdef RING3_HAVE_ZLIB
static bool deflated(const uint8_t *data, size_t len, struct strbuf *out)
{
    uLongf size = compressBound((uLong)len);
    uint8_t *to = malloc(size);
    bool ok = to && compress2(to, &size, data, (uLong)len, Z_DEFAULT_COMPRESSION) == Z_OK;

    if (ok)
        strbuf_add(out, to, size);
    free(to);
    return ok;
}
#else
static bool deflated(const uint8_t *data, size_t len, struct strbuf *out)
{
    uint32_t a = 1, b = 0;
    uint8_t word[5];

    strbuf_add(out, "\x78\x01", 2);
    for (size_t at = 0; at < len; at += STORED_MAX) {
        size_t n = min_u64(len - at, STORED_MAX);

        word[0] = at + n == len;
        word[1] = (uint8_t)n, word[2] = (uint8_t)(n >> 8);
        word[3] = (uint8_t)~word[1], word[4] = (uint8_t)~word[2];
        strbuf_add(out, word, 5);
        strbuf_add(out, data + at, n);
    }
    for (size_t i = 0; i < len; i++) {
        a = (a + data[i]) % 65521;
        b = (b + a) % 65521;
    }
    put_be32(word, b << 16 | a);
    strbuf_add(out, word, 4);
    return true;
}
#endif

static bool encode_png(const struct display_surface *s, struct strbuf *out)
{
    uint8_t header[13] = {[8] = 8, [9] = COLOUR_RGB};
    struct strbuf stream = {0};
    size_t len;
    uint8_t *rows = rows_of(s, 1, &len);
    bool ok = rows && deflated(rows, len, &stream);

    if (ok) {
        strbuf_add(out, "\x89PNG\r\n\x1a\n", 8);
        put_be32(header, s->width);
        put_be32(header + 4, s->height);
        add_chunk(out, "IHDR", header, sizeof header);
        add_chunk(out, "IDAT", (const uint8_t *)stream.text, stream.len);
        add_chunk(out, "IEND", header, 0);
    }
    strbuf_fini(&stream);
    free(rows);
    return ok;
}

/* ---- PPM ---- */

static bool encode_ppm(const struct display_surface *s, struct strbuf *out)
{
    size_t len;
    uint8_t *rows = rows_of(s, 0, &len);

    if (rows) {
        strbuf_addf(out, "P6\n%u %u\n255\n", s->width, s->height);
        strbuf_add(out, rows, len);
    }
    free(rows);
    return rows != NULL;
}

static bool ends_in(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

static int write_file(const char *path, const struct strbuf *data, struct error **err)
{
    FILE *f = fopen(path, "we");
    int code = 0;

    if (!f)
        return error_set(err, errno, "cannot open '%s' for writing: %s", path, strerror(errno));
    if (fwrite(data->text, 1, data->len, f) != data->len)
        code = errno;
    if (fclose(f) != 0 && !code)
        code = errno;
    if (!code)
        return 0;
    return error_set(err, code, "cannot write '%s': %s", path, strerror(code));
}

int picture_write(const struct display_surface *s, const char *path, struct error **err)
{
    struct strbuf data = {0};
    bool ok = ends_in(path, ".ppm") ? encode_ppm(s, &data) : encode_png(s, &data);
    int rc = ok ? write_file(path, &data, err)
                : error_set(err, ENOMEM, "no memory for the picture '%s'", path);

    strbuf_fini(&data);
    return rc;
}
