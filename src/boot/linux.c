/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * linux.c - the zero page: what a boot loader tells the Linux kernel.
 *
 * Documentation/x86/boot.rst and zero-page.rst. Offsets are written out: they
 * are the ABI. The protocol number here is what we write for kernels without
 * a setup header of their own (a vmlinux).
 */
#include "boot/loader.h"

#include <errno.h>
#include <string.h>

#include "base/byteorder.h"

enum {   /* offsets in struct boot_params */
    BP_VIDEO_MODE = 0x006, BP_VIDEO_COLUMNS = 0x007, BP_VIDEO_EGA_BX = 0x00a,
    BP_VIDEO_LINES = 0x00e, BP_VIDEO_IS_VGA = 0x00f, BP_VIDEO_POINTS = 0x010,
    BP_ACPI_RSDP = 0x070, BP_E820_ENTRIES = 0x1e8, BP_VID_MODE = 0x1fa,
    BP_BOOT_FLAG = 0x1fe, BP_HEADER_MAGIC = 0x202, BP_VERSION = 0x206,
    BP_TYPE_OF_LOADER = 0x210, BP_LOADFLAGS = 0x211, BP_CODE32_START = 0x214,
    BP_RAMDISK_IMAGE = 0x218, BP_RAMDISK_SIZE = 0x21c, BP_CMD_LINE = 0x228,
    BP_SETUP_DATA = 0x250, BP_E820_TABLE = 0x2d0, BP_BYTES = 4096,
};
enum { E820_ENTRY_BYTES = 20, E820_TABLE_MAX = 128 };
enum { LOADER_UNDEFINED = 0xff, VIDEO_NORMAL = 0xffff };
enum { LOADFLAG_HIGH = 1, LOADFLAG_QUIET = 1 << 5, LOADFLAG_KEEP_SEGMENTS = 1 << 6,
       LOADFLAG_HEAP = 1 << 7 };

static void put_e820(const struct e820_map *map, uint8_t *zp)
{
    _Static_assert((int)E820_MAX <= (int)E820_TABLE_MAX, "map fits the zero page");

    zp[BP_E820_ENTRIES] = (uint8_t)map->count;
    for (unsigned i = 0; i < map->count; i++) {
        uint8_t *e = zp + BP_E820_TABLE + i * E820_ENTRY_BYTES;

        put_le64(e, map->entry[i].base);
        put_le64(e + 8, map->entry[i].size_bytes);
        put_le32(e + 16, map->entry[i].type);
    }
}

/* What the kernel's setup code would have asked the video BIOS: mode 3. BX is the answer
 * to INT 10h, AH=12h, BL=10h: colour, 256 KiB. */
static void put_screen_info(uint8_t *zp)
{
    zp[BP_VIDEO_MODE] = 3;
    zp[BP_VIDEO_COLUMNS] = 80;
    zp[BP_VIDEO_EGA_BX] = 3;
    zp[BP_VIDEO_LINES] = 25;
    zp[BP_VIDEO_IS_VGA] = 1;
    put_le16(zp + BP_VIDEO_POINTS, 16);
}

static int place_cmdline(struct boot_job *job, const struct boot_linux *l, uint8_t *zp,
                         struct error **err)
{
    const char *text = job->image->cmdline;
    gpa_t at;
    int rc;

    if (strlen(text) > l->cmdline_max) {
        rc = error_set(err, E2BIG,
                       "the command line has %zu characters, this kernel takes at most %llu",
                       strlen(text), (unsigned long long)l->cmdline_max);
        error_hint(err, "shorten --append");
        return rc;
    }
    rc = boot_place_text(job, "command line", text, &at, err);
    if (rc)
        return rc;
    put_le32(zp + BP_CMD_LINE, (uint32_t)at.v);
    return 0;
}

/* As high as the kernel allows, which leaves the room above the kernel free
 * for it to unpack and move itself (boot.rst, "initrd_addr_max"). */
static int place_initrd(struct boot_job *job, const struct boot_linux *l, uint8_t *zp,
                        struct error **err)
{
    struct boot_wish w = {.align = PAGE_SIZE, .low = BOOT_EXTENDED, .top_down = true,
                          .high = l->initrd_max ? l->initrd_max : 1ull << 32};
    gpa_t at;
    int rc;

    if (!boot_file_given(&job->image->initrd))
        return 0;
    rc = boot_place_file(job, &job->image->initrd, &w, &at, err);
    if (rc)
        return rc;
    put_le32(zp + BP_RAMDISK_IMAGE, (uint32_t)at.v);
    put_le32(zp + BP_RAMDISK_SIZE, (uint32_t)job->image->initrd.size_bytes);
    return 0;
}

static void put_setup_header(const struct boot_linux *l, uint8_t *zp)
{
    if (l->setup_header) {
        memcpy(zp + LINUX_SETUP_HEADER, l->setup_header, l->setup_header_bytes);
    } else {
        put_le16(zp + BP_BOOT_FLAG, 0xaa55);
        memcpy(zp + BP_HEADER_MAGIC, "HdrS", 4);
        put_le16(zp + BP_VERSION, 0x20c);
    }
    put_le16(zp + BP_VID_MODE, VIDEO_NORMAL);
    zp[BP_TYPE_OF_LOADER] = LOADER_UNDEFINED;
    zp[BP_LOADFLAGS] |= LOADFLAG_HIGH;
    zp[BP_LOADFLAGS] &= (uint8_t)~(LOADFLAG_QUIET | LOADFLAG_KEEP_SEGMENTS | LOADFLAG_HEAP);
    put_le32(zp + BP_CODE32_START, (uint32_t)l->load_address);
    put_le64(zp + BP_SETUP_DATA, 0);
}

int boot_linux_params(struct boot_job *job, const struct boot_linux *l, gpa_t *out,
                      struct error **err)
{
    uint8_t zp[BP_BYTES] = {0};
    int rc;

    put_setup_header(l, zp);
    put_e820(job->target->map, zp);
    if (job->target->vga_text)
        put_screen_info(zp);
    put_le64(zp + BP_ACPI_RSDP, job->target->rsdp.v);
    rc = boot_place_table(job, "zero page", sizeof zp, out, err);
    if (!rc)
        rc = place_cmdline(job, l, zp, err);
    if (!rc)
        rc = place_initrd(job, l, zp, err);
    if (!rc)
        boot_put(job, *out, zp, sizeof zp);
    return rc;
}
