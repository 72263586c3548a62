/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * aml.c - encodings of ACPI 6.4, 20.2 and 6.4.2.
 */
#include "boot/aml.h"

#include <string.h>

#include "base/bug.h"
#include "base/byteorder.h"

enum {
    AML_NAME = 0x08, AML_BYTE = 0x0a, AML_WORD = 0x0b, AML_DWORD = 0x0c, AML_STRING = 0x0d,
    AML_QWORD = 0x0e, AML_SCOPE = 0x10, AML_BUFFER = 0x11, AML_PACKAGE = 0x12, AML_EXT = 0x5b,
    AML_EXT_DEVICE = 0x82, AML_METHOD = 0x14, AML_ARG0 = 0x68, AML_STORE = 0x70, AML_IF = 0xa0,
    AML_RETURN = 0xa4,
};
enum { RESOURCE_IRQ = 0x22, RESOURCE_IO = 0x47, RESOURCE_END = 0x79, RESOURCE_MEMORY32 = 0x86,
       RESOURCE_DWORD = 0x87, RESOURCE_WORD = 0x88, RESOURCE_GSI = 0x89, RESOURCE_QWORD = 0x8a };
/* Address space descriptors (6.4.3.5): both ends fixed; memory that can be written, ports
 * of every kind. */
enum { SPACE_MEMORY = 0, SPACE_IO = 1, SPACE_BUS = 2, SPACE_FIXED = 0x0c, MEMORY_WRITE = 1,
       IO_ENTIRE = 3 };

static void put(struct aml *a, const void *data, size_t len)
{
    BUG_ON(len > a->cap - a->len);
    memcpy(a->buf + a->len, data, len);
    a->len += len;
}

static void put_byte(struct aml *a, uint8_t byte)
{
    put(a, &byte, 1);
}

static void put_name(struct aml *a, const char *name)
{
    put(a, name, strlen(name));
}

static void put_int(struct aml *a, uint64_t value)
{
    uint8_t raw[8];
    unsigned bytes = value <= UINT8_MAX ? 1 : value <= UINT16_MAX ? 2 : value <= UINT32_MAX ? 4 : 8;

    put_le64(raw, value);
    if (value > 1)      /* ZeroOp and OneOp are their own values */
        put_byte(a, bytes == 1 ? AML_BYTE : bytes == 2 ? AML_WORD : bytes == 4 ? AML_DWORD
                                                                               : AML_QWORD);
    put(a, raw, bytes);
}

/* PkgLength counts itself, and its size depends on its value (20.2.4): it is
 * put in when the object is complete. */
void aml_close(struct aml *a, size_t mark)
{
    size_t body = a->len - mark;
    unsigned extra = body + 1 <= 0x3f ? 0 : body + 2 <= 0xfff ? 1 : 2;
    size_t total = body + 1 + extra;
    uint8_t enc[3] = {(uint8_t)total};

    BUG_ON(total > 0xfffff);
    if (extra) {
        enc[0] = (uint8_t)(extra << 6 | (total & 0xf));
        enc[1] = (uint8_t)(total >> 4);
        enc[2] = (uint8_t)(total >> 12);
    }
    BUG_ON(1 + extra > a->cap - a->len);
    memmove(a->buf + mark + 1 + extra, a->buf + mark, body);
    memcpy(a->buf + mark, enc, 1 + extra);
    a->len += 1 + extra;
}

size_t aml_scope_open(struct aml *a, const char *name)
{
    size_t mark;

    put_byte(a, AML_SCOPE);
    mark = a->len;
    put_name(a, name);
    return mark;
}

size_t aml_device_open(struct aml *a, const char *name)
{
    size_t mark;

    put_byte(a, AML_EXT);
    put_byte(a, AML_EXT_DEVICE);
    mark = a->len;
    put_name(a, name);
    return mark;
}

size_t aml_method_open(struct aml *a, const char *name, unsigned args)
{
    size_t mark;

    put_byte(a, AML_METHOD);
    mark = a->len;
    put_name(a, name);
    put_byte(a, (uint8_t)args);
    return mark;
}

size_t aml_if_open(struct aml *a, const char *name)
{
    size_t mark;

    put_byte(a, AML_IF);
    mark = a->len;
    put_name(a, name);
    return mark;
}

void aml_return(struct aml *a, const char *name)
{
    put_byte(a, AML_RETURN);
    put_name(a, name);
}

void aml_store_arg0(struct aml *a, const char *name)
{
    put_byte(a, AML_STORE);
    put_byte(a, AML_ARG0);
    put_name(a, name);
}

static void name_open(struct aml *a, const char *name)
{
    put_byte(a, AML_NAME);
    put_name(a, name);
}

void aml_name_int(struct aml *a, const char *name, uint64_t value)
{
    name_open(a, name);
    put_int(a, value);
}

void aml_name_string(struct aml *a, const char *name, const char *text)
{
    name_open(a, name);
    put_byte(a, AML_STRING);
    put(a, text, strlen(text) + 1);
}

static unsigned hex_digit(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'A' + 10);
}

/* Three letters in 5 bits each, four hex digits, stored big-endian (6.1.5). */
void aml_name_eisaid(struct aml *a, const char *name, const char id[7])
{
    uint32_t v = (uint32_t)(id[0] - '@') << 26 | (uint32_t)(id[1] - '@') << 21 |
                 (uint32_t)(id[2] - '@') << 16;

    for (unsigned i = 0; i < 4; i++)
        v |= hex_digit(id[3 + i]) << (12 - 4 * i);
    name_open(a, name);
    put_int(a, __builtin_bswap32(v));
}

static size_t package_open(struct aml *a, uint8_t count)
{
    size_t mark;

    put_byte(a, AML_PACKAGE);
    mark = a->len;
    put_byte(a, count);
    return mark;
}

size_t aml_name_package_open(struct aml *a, const char *name, uint8_t count)
{
    name_open(a, name);
    return package_open(a, count);
}

void aml_name_package(struct aml *a, const char *name, const uint8_t *bytes, uint8_t count)
{
    size_t mark = aml_name_package_open(a, name, count);

    for (unsigned i = 0; i < count; i++)
        put_int(a, bytes[i]);
    aml_close(a, mark);
}

void aml_package(struct aml *a, const uint32_t *values, uint8_t count)
{
    size_t mark = package_open(a, count);

    for (unsigned i = 0; i < count; i++)
        put_int(a, values[i]);
    aml_close(a, mark);
}

static void resource(struct aml_resources *r, const void *bytes, size_t len)
{
    BUG_ON(len > sizeof r->bytes - 2 - r->len);     /* 2: the end tag */
    memcpy(r->bytes + r->len, bytes, len);
    r->len += len;
}

void aml_resource_io(struct aml_resources *r, uint16_t port, uint8_t len)
{
    uint8_t d[8] = {RESOURCE_IO, 1 /* decodes 16 bits */, 0, 0, 0, 0, 1 /* alignment */, len};

    put_le16(d + 2, port);
    put_le16(d + 4, port);
    resource(r, d, sizeof d);
}

void aml_resource_irq(struct aml_resources *r, unsigned irq)
{
    uint8_t d[3] = {RESOURCE_IRQ};

    put_le16(d + 1, (uint16_t)(1u << irq));
    resource(r, d, sizeof d);
}

void aml_resource_gsi(struct aml_resources *r, uint32_t gsi)
{
    enum { CONSUMER = 1, SHARED = 8 };
    uint8_t d[9] = {RESOURCE_GSI, 6, 0, CONSUMER | SHARED, 1};

    put_le32(d + 5, gsi);
    resource(r, d, sizeof d);
}

void aml_resource_memory(struct aml_resources *r, uint32_t base, uint32_t bytes)
{
    uint8_t d[12] = {RESOURCE_MEMORY32, 9, 0, MEMORY_WRITE};

    put_le32(d + 4, base);
    put_le32(d + 8, bytes);
    resource(r, d, sizeof d);
}

static void word_window(struct aml_resources *r, uint8_t space, uint8_t flags, uint16_t first,
                        uint16_t last)
{
    uint8_t d[16] = {RESOURCE_WORD, 13, 0, space, SPACE_FIXED, flags};

    put_le16(d + 8, first);
    put_le16(d + 10, last);
    put_le16(d + 14, (uint16_t)(last - first + 1));
    resource(r, d, sizeof d);
}

void aml_resource_bus_window(struct aml_resources *r, uint16_t first, uint16_t last)
{
    word_window(r, SPACE_BUS, 0, first, last);
}

void aml_resource_io_window(struct aml_resources *r, uint16_t first, uint16_t last)
{
    word_window(r, SPACE_IO, IO_ENTIRE, first, last);
}

void aml_resource_memory_window(struct aml_resources *r, uint64_t first, uint64_t last)
{
    bool wide = last > UINT32_MAX;
    unsigned w = wide ? 8 : 4;
    uint8_t d[46] = {wide ? RESOURCE_QWORD : RESOURCE_DWORD, (uint8_t)(3 + 5 * w), 0, SPACE_MEMORY,
                     SPACE_FIXED, MEMORY_WRITE};
    const uint64_t fields[5] = {0, first, last, 0, last - first + 1};

    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
        memcpy(d + 6 + i * w, &fields[i], w);
    resource(r, d, 6 + 5 * w);
}

void aml_name_crs(struct aml *a, const struct aml_resources *r)
{
    static const uint8_t end[2] = {RESOURCE_END, 0 /* no checksum */};
    size_t mark;

    name_open(a, "_CRS");
    put_byte(a, AML_BUFFER);
    mark = a->len;
    put_int(a, r->len + sizeof end);
    put(a, r->bytes, r->len);
    put(a, end, sizeof end);
    aml_close(a, mark);
}
