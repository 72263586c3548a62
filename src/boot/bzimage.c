/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bzimage.c - Linux bzImage, by the 64-bit boot protocol.
 *
 * Documentation/x86/boot.rst. The real-mode part of the file is not executed:
 * its setup header is read, the protected-mode part is loaded and entered at
 * its 64-bit entry (load address + 0x200) when XLF_KERNEL_64 says there is
 * one, else at its 32-bit entry. memtest86+ and EFI-stub programs that carry a
 * proper setup header boot the same way.
 */
#include "boot/loader.h"

#include <errno.h>
#include <string.h>

#include "base/byteorder.h"

enum {   /* offsets in the file */
    HDR_SETUP_SECTS = 0x1f1, HDR_SYSSIZE = 0x1f4, HDR_BOOT_FLAG = 0x1fe, HDR_JUMP_LEN = 0x201,
    HDR_MAGIC = 0x202, HDR_VERSION = 0x206, HDR_KERNEL_VERSION = 0x20e, HDR_LOADFLAGS = 0x211,
    HDR_INITRD_ADDR_MAX = 0x22c, HDR_ALIGNMENT = 0x230, HDR_RELOCATABLE = 0x234,
    HDR_XLOADFLAGS = 0x236, HDR_CMDLINE_SIZE = 0x238, HDR_PAYLOAD_OFFSET = 0x248,
    HDR_PAYLOAD_LENGTH = 0x24c, HDR_PREF_ADDRESS = 0x258, HDR_INIT_SIZE = 0x260,
    HDR_KERNEL_INFO = 0x268, HDR_END = 0x26c,
};
enum { LOADED_HIGH = 1, XLF_KERNEL_64 = 1, ENTRY64_OFFSET = 0x200, SECTOR = 512 };

struct bzimage {
    unsigned version;
    bool entry64, relocatable;
    uint64_t setup_bytes;          /* real-mode part; the kernel proper follows */
    uint64_t kernel_bytes;
    uint64_t header_bytes;         /* of the setup header, from 0x1f1 */
    uint64_t pref_address, alignment, init_size;
    uint64_t initrd_max;
    uint64_t cmdline_max;
};

static bool probe(const struct boot_job *job)
{
    return job->head_bytes >= SECTOR && get_le16(job->head + HDR_BOOT_FLAG) == 0xaa55 &&
           memcmp(job->head + HDR_MAGIC, "HdrS", 4) == 0;
}

static int bad(struct error **err, const char *field, uint64_t value, const char *why)
{
    int rc = error_set(err, ENOEXEC, "setup header field %s (%#llx) %s", field,
                       (unsigned long long)value, why);

    error_hint(err, "is the file damaged?");
    return rc;
}

/* Where the parts of the file are. */
static int read_layout(const struct boot_job *job, struct bzimage *bz, struct error **err)
{
    const uint8_t *h = job->head;
    uint64_t file = job->image->kernel.size_bytes;
    uint64_t syssize = (uint64_t)get_le32(h + HDR_SYSSIZE) * 16;
    uint64_t sects = h[HDR_SETUP_SECTS] ? h[HDR_SETUP_SECTS] : 4;   /* boot.rst: 0 means 4 */
    uint64_t end = HDR_MAGIC + h[HDR_JUMP_LEN];

    bz->setup_bytes = (sects + 1) * SECTOR;
    if (bz->setup_bytes >= file)
        return bad(err, "setup_sects", sects, "points past the end of the file");
    bz->kernel_bytes = file - bz->setup_bytes;
    /* The last paragraph may be partial. */
    if (syssize > align_up(bz->kernel_bytes, 16)) {
        int rc = error_set(err, ENODATA,
                           "the file is truncated: it has %llu bytes, its setup header says %llu",
                           (unsigned long long)file,
                           (unsigned long long)(bz->setup_bytes + syssize));

        error_hint(err, "copy the file again");
        return rc;
    }
    if (bz->kernel_bytes <= ENTRY64_OFFSET)
        return bad(err, "setup_sects", sects, "leaves no kernel in the file");
    if (end > bz->setup_bytes || end <= HDR_VERSION + 1)
        return bad(err, "jump", end, "ends the header outside of the setup code");
    bz->header_bytes = min_u64(end, LINUX_SETUP_HEADER_END) - LINUX_SETUP_HEADER;
    return 0;
}

/* Fields that are offsets into the file, whether or not we use them: one that
 * points outside says that the file is not what it seems. */
static int check_offsets(const struct boot_job *job, const struct bzimage *bz,
                         struct error **err)
{
    const uint8_t *h = job->head;
    uint64_t version_at = get_le16(h + HDR_KERNEL_VERSION);
    uint64_t payload = get_le32(h + HDR_PAYLOAD_OFFSET);
    uint64_t info = get_le32(h + HDR_KERNEL_INFO);

    if (version_at && version_at + 0x200 >= bz->setup_bytes)
        return bad(err, "kernel_version", version_at, "points outside of the setup code");
    if (bz->version >= 0x208 &&
        !range_inside(payload, get_le32(h + HDR_PAYLOAD_LENGTH), bz->kernel_bytes))
        return bad(err, "payload_offset", payload, "points past the end of the file");
    if (bz->version >= 0x20f && info >= bz->kernel_bytes)
        return bad(err, "kernel_info_offset", info, "points past the end of the file");
    return 0;
}

static int read_placement(const struct boot_job *job, struct bzimage *bz, struct error **err)
{
    const uint8_t *h = job->head;

    bz->relocatable = h[HDR_RELOCATABLE] != 0;
    bz->alignment = get_le32(h + HDR_ALIGNMENT);
    bz->pref_address = BOOT_EXTENDED;
    bz->init_size = bz->kernel_bytes;
    if (bz->version >= 0x20a) {
        bz->pref_address = get_le64(h + HDR_PREF_ADDRESS);
        bz->init_size = max_u64(bz->init_size, get_le32(h + HDR_INIT_SIZE));
    }
    if (bz->relocatable && (bz->alignment == 0 || (bz->alignment & (bz->alignment - 1))))
        return bad(err, "kernel_alignment", bz->alignment, "is not a power of two");
    bz->alignment = max_u64(bz->alignment, PAGE_SIZE);
    if (bz->pref_address < BOOT_EXTENDED || bz->pref_address >= 1ull << 32)
        return bad(err, "pref_address", bz->pref_address, "is not between 1 MiB and 4 GiB");
    return 0;
}

static int read_header(const struct boot_job *job, struct bzimage *bz, struct error **err)
{
    const uint8_t *h = job->head;
    uint32_t initrd_max = get_le32(h + HDR_INITRD_ADDR_MAX);
    uint32_t cmdline_max = get_le32(h + HDR_CMDLINE_SIZE);
    int rc;

    bz->version = get_le16(h + HDR_VERSION);
    if (bz->version < 0x206) {
        rc = error_set(err, ENOTSUP, "boot protocol %u.%02u is too old (2.06 is the oldest known)",
                       bz->version >> 8, bz->version & 0xff);
        error_hint(err, "use Linux 2.6.22 or newer");
        return rc;
    }
    if (!(h[HDR_LOADFLAGS] & LOADED_HIGH))
        return bad(err, "loadflags", h[HDR_LOADFLAGS], "says zImage, which is not supported");
    bz->entry64 = bz->version >= 0x20c && (get_le16(h + HDR_XLOADFLAGS) & XLF_KERNEL_64);
    bz->initrd_max = initrd_max ? (uint64_t)initrd_max + 1 : 0x38000000;
    bz->cmdline_max = cmdline_max ? cmdline_max : 255;
    rc = read_layout(job, bz, err);
    if (!rc)
        rc = check_offsets(job, bz, err);
    if (!rc)
        rc = read_placement(job, bz, err);
    return rc;
}

/* Where the kernel prefers to be; a relocatable one goes elsewhere when RAM
 * ends before that. init_size is what it needs there before it can read the
 * memory map (boot.rst, "init_size"). */
static int place_kernel(struct boot_job *job, const struct bzimage *bz, gpa_t *out,
                        struct error **err)
{
    struct boot_wish w = {.what = "kernel with the room it unpacks into",
                          .size_bytes = bz->init_size, .align = bz->alignment,
                          .low = BOOT_EXTENDED, .high = 1ull << 32};

    *out = gpa(bz->pref_address);
    if (!bz->relocatable)
        return boot_space_claim(&job->space, bz->pref_address, w.size_bytes, w.what, err);
    if (boot_space_claim(&job->space, bz->pref_address, w.size_bytes, w.what, NULL) == 0)
        return 0;
    return boot_space_find(&job->space, &w, out, err);
}

static int load(struct boot_job *job, struct error **err)
{
    struct bzimage bz = {0};
    struct boot_linux l;
    gpa_t at, zero_page;
    int rc = read_header(job, &bz, err);

    if (!rc)
        rc = place_kernel(job, &bz, &at, err);
    if (!rc)
        rc = boot_file_load(&job->image->kernel, bz.setup_bytes, job->target->memory, at,
                            bz.kernel_bytes, err);
    if (rc)
        return rc;
    l = (struct boot_linux){
        .setup_header = job->head + LINUX_SETUP_HEADER, .setup_header_bytes = bz.header_bytes,
        .initrd_max = bz.initrd_max, .cmdline_max = bz.cmdline_max, .load_address = at.v,
    };
    rc = boot_linux_params(job, &l, &zero_page, err);
    if (rc)
        return rc;
    rc = bz.entry64 ? boot_start_long(job, at.v + ENTRY64_OFFSET, err)
                    : boot_start_protected(job, at.v, err);
    if (!rc)
        job->start->gpr[X86_RSI] = zero_page.v;
    return rc;
}

const struct boot_loader boot_bzimage = {
    .name = "bzimage", .summary = "Linux bzImage", .probe = probe, .load = load,
};
