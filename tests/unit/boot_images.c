/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * boot_images.c - loading kernels: good ones land where they should, bad ones
 * are refused with the reason, and no header value whatever does harm.
 *
 * Images are made here, field by field, in memfds; nothing is read from disk.
 */
#include "unit.h"

#include <elf.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "base/log.h"
#include "boot/boot.h"
#include "memory/memory.h"
#include "x86/state.h"

enum { MIB = 1 << 20, RAM_BYTES = 64 * MIB, IMAGE_BYTES = 64 * 1024 };

struct rig {
    struct memory *memory;
    struct e820_map map;
    struct log log;
    struct x86_state start;
    char *cmdline;
};

static void rig_open_sized(struct rig *r, uint64_t ram)
{
    *r = (struct rig){.log = {.fd = -1}};
    r->memory = memory_new(ram, NULL);
    assert_non_null(r->memory);
    assert_int_equal(memory_map_ram(r->memory, "ram", gpa(0), 0, ram, 0, NULL), 0);
    e820_set(&r->map, 0, 0x9fc00, E820_RAM);
    e820_set(&r->map, 0x9fc00, 0x400, E820_RESERVED);
    e820_set(&r->map, MIB, ram - MIB, E820_RAM);
}

static void rig_open(struct rig *r)
{
    rig_open_sized(r, RAM_BYTES);
}

static void rig_close(struct rig *r)
{
    memory_free(r->memory);
}

/* A file of these bytes; the path stays good while the descriptor is open. */
static int make_file(const void *data, size_t len, char path[32])
{
    int fd = memfd_create("image", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), (ssize_t)len);
    snprintf(path, 32, "/proc/self/fd/%d", fd);
    return fd;
}

struct extra {
    const void *initrd;
    size_t initrd_bytes;
    const char *cmdline;
};

static int rig_load(struct rig *r, const void *data, size_t len, const struct extra *x,
                    struct error **err)
{
    struct boot_target t = {.memory = r->memory, .map = &r->map, .rsdp = gpa(0xe0000),
                            .log = &r->log};
    struct boot_image img;
    char kernel[32], initrd[32];
    int fd = make_file(data, len, kernel), ifd = -1, rc;

    if (x && x->initrd)
        ifd = make_file(x->initrd, x->initrd_bytes, initrd);
    rc = boot_image_open(&img, kernel, ifd >= 0 ? initrd : NULL, NULL, x ? x->cmdline : NULL, err);
    if (!rc) {
        rc = boot_load(&img, &t, &r->start, err);
        boot_image_close(&img);
    }
    close(fd);
    if (ifd >= 0)
        close(ifd);
    return rc;
}

static uint64_t peek(struct rig *r, uint64_t at, unsigned size)
{
    uint64_t v = 0;

    assert_int_equal(memory_read(r->memory, gpa(at), &v, size), 0);
    return v;
}

/* ---- the images -------------------------------------------------------- */

/* A bzImage like Linux 6's: protocol 2.15, relocatable, 64-bit entry. The
 * kernel proper is filled with 0xcc. */
static void make_bzimage(uint8_t *f)
{
    enum { SETUP = 5 * 512 };

    memset(f, 0, SETUP);
    memset(f + SETUP, 0xcc, IMAGE_BYTES - SETUP);
    f[0x1f1] = 4;
    put_le32(f + 0x1f4, (IMAGE_BYTES - SETUP) / 16);
    put_le16(f + 0x1fe, 0xaa55);
    f[0x200] = 0xeb;
    f[0x201] = 0x6a;
    memcpy(f + 0x202, "HdrS", 4);
    put_le16(f + 0x206, 0x20f);
    f[0x211] = 1;
    put_le32(f + 0x22c, 0x7fffffff);
    put_le32(f + 0x230, 0x200000);
    f[0x234] = 1;
    put_le16(f + 0x236, 1);
    put_le32(f + 0x238, 2047);
    put_le32(f + 0x248, 0x100);
    put_le32(f + 0x24c, 0x1000);
    put_le64(f + 0x258, 0x1000000);
    put_le32(f + 0x260, 4 * MIB);
    put_le32(f + 0x268, 0x200);
}

enum { ELF_PADDR = 0x200000, ELF_TEXT_AT = 0x1000, ELF_TEXT_BYTES = 0x2000, ELF_BSS = 0x800 };
enum elf_kind { ELF_PLAIN, ELF_WITH_PVH, ELF_WITH_MULTIBOOT };

static void put_pvh_note(uint8_t *p)
{
    put_le32(p, 4);
    put_le32(p + 4, 8);
    put_le32(p + 8, 18);
    memcpy(p + 12, "Xen", 4);
    put_le64(p + 16, ELF_PADDR + 0x10);
}

static void put_multiboot(uint8_t *p, uint32_t flags)
{
    put_le32(p, 0x1badb002);
    put_le32(p + 4, flags);
    put_le32(p + 8, -(0x1badb002 + flags));
}

static void make_elf64(uint8_t *f, enum elf_kind kind)
{
    Elf64_Ehdr h = {.e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = 1,
                    .e_entry = ELF_PADDR + 0x20, .e_phoff = 64, .e_ehsize = sizeof h,
                    .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2};
    Elf64_Phdr p[2] = {
        {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_offset = ELF_TEXT_AT,
         .p_vaddr = 0xffffffff80000000 + ELF_PADDR, .p_paddr = ELF_PADDR,
         .p_filesz = ELF_TEXT_BYTES, .p_memsz = ELF_TEXT_BYTES + ELF_BSS},
        {.p_type = PT_NOTE, .p_offset = 0x800, .p_filesz = 24, .p_memsz = 24},
    };

    memset(f, 0, IMAGE_BYTES);
    memcpy(h.e_ident, "\x7f" "ELF\2\1\1", 7);
    memcpy(f, &h, sizeof h);
    memcpy(f + 64, p, sizeof p);
    memset(f + ELF_TEXT_AT, 0x90, ELF_TEXT_BYTES);
    if (kind == ELF_WITH_PVH)
        put_pvh_note(f + 0x800);
    if (kind == ELF_WITH_MULTIBOOT)
        put_multiboot(f + ELF_TEXT_AT, 3);
}

static void make_elf32(uint8_t *f, enum elf_kind kind)
{
    Elf32_Ehdr h = {.e_type = ET_EXEC, .e_machine = EM_386, .e_version = 1,
                    .e_entry = ELF_PADDR + 0x20, .e_phoff = 52, .e_ehsize = sizeof h,
                    .e_phentsize = sizeof(Elf32_Phdr), .e_phnum = 2};
    Elf32_Phdr p[2] = {
        {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_offset = ELF_TEXT_AT,
         .p_vaddr = ELF_PADDR, .p_paddr = ELF_PADDR, .p_filesz = ELF_TEXT_BYTES,
         .p_memsz = ELF_TEXT_BYTES + ELF_BSS},
        {.p_type = PT_NOTE, .p_offset = 0x800, .p_filesz = 24, .p_memsz = 24},
    };

    memset(f, 0, IMAGE_BYTES);
    memcpy(h.e_ident, "\x7f" "ELF\1\1\1", 7);
    memcpy(f, &h, sizeof h);
    memcpy(f + 52, p, sizeof p);
    memset(f + ELF_TEXT_AT, 0x90, ELF_TEXT_BYTES);
    if (kind == ELF_WITH_PVH)
        put_pvh_note(f + 0x800);
    if (kind == ELF_WITH_MULTIBOOT)
        put_multiboot(f + ELF_TEXT_AT, 3);
}

/* Multiboot with load addresses in the header: any file format. */
static void make_kludge(uint8_t *f)
{
    enum { AT = 0x40 };

    memset(f, 0x90, IMAGE_BYTES);
    put_multiboot(f + AT, 0x10003);
    put_le32(f + AT + 12, 0x100000 + AT);        /* header_addr */
    put_le32(f + AT + 16, 0x100000);             /* load_addr */
    put_le32(f + AT + 20, 0x100000 + 0x8000);    /* load_end_addr */
    put_le32(f + AT + 24, 0x100000 + 0x9000);    /* bss_end_addr */
    put_le32(f + AT + 28, 0x100100);             /* entry_addr */
}

/* ---- where things land -------------------------------------------------- */

static void bzimage_lands(void **state)
{
    static uint8_t f[IMAGE_BYTES];
    struct rig r;
    struct extra x = {.initrd = "0707", .initrd_bytes = 4, .cmdline = "console=ttyS0"};
    char text[16] = "";

    rig_open(&r);
    make_bzimage(f);
    assert_int_equal(rig_load(&r, f, sizeof f, &x, NULL), 0);
    assert_int_equal(r.start.rip, 0x1000200);
    assert_int_equal(peek(&r, 0x1000000, 1), 0xcc);
    assert_true(r.start.cr0 & X86_CR0_PG);
    assert_int_equal(r.start.msr.efer, X86_EFER_LME | X86_EFER_LMA);
    assert_int_equal(r.start.seg[X86_CS].selector, 0x10);
    assert_int_equal(r.start.seg[X86_DS].selector, 0x18);
    assert_int_equal(r.start.rflags & X86_FLAG_IF, 0);

    uint64_t zp = r.start.gpr[X86_RSI];
    assert_int_equal(peek(&r, zp + 0x202, 4), 0x53726448);
    assert_int_equal(peek(&r, zp + 0x210, 1), 0xff);
    assert_int_equal(peek(&r, zp + 0x070, 8), 0xe0000);
    assert_int_equal(peek(&r, zp + 0x1e8, 1), r.map.count);
    assert_int_equal(peek(&r, zp + 0x2d0 + 8, 8), 0x9fc00);
    assert_int_equal(memory_read(r.memory, gpa(peek(&r, zp + 0x228, 4)), text, 14), 0);
    assert_string_equal(text, "console=ttyS0");
    assert_int_equal(peek(&r, zp + 0x21c, 4), 4);
    assert_int_equal(peek(&r, zp + 0x218, 4), RAM_BYTES - PAGE_SIZE);
    assert_int_equal(peek(&r, RAM_BYTES - PAGE_SIZE, 4), 0x37303730);
    rig_close(&r);
}

/* The page tables map the first 4 GiB one to one, the GDT holds what the
 * segment registers say. */
static void long_start_is_consistent(void **state)
{
    static uint8_t f[IMAGE_BYTES];
    struct rig r;

    rig_open(&r);
    make_bzimage(f);
    assert_int_equal(rig_load(&r, f, sizeof f, NULL, NULL), 0);
    for (uint64_t a = 0x123456; a < 1ull << 32; a += 0x3fffff00) {
        uint64_t e = r.start.cr3;

        for (int level = 3; level >= 1; level--) {
            e = peek(&r, (e & 0xfffffffff000) + (a >> (12 + 9 * level) & 511) * 8, 8);
            assert_int_equal(e & 3, 3);
        }
        assert_true(e & 0x80);
        assert_int_equal(e & ~0x1fffffull, a & ~0x1fffffull);
    }
    uint64_t cs = peek(&r, r.start.gdtr.base + 0x10, 8);
    assert_int_equal(cs, 0x00af9b000000ffff);
    assert_int_equal(peek(&r, r.start.gdtr.base + 0x18, 8), 0x00cf93000000ffff);
    assert_true(r.start.gdtr.limit >= 0x1f);
    rig_close(&r);
}

static void bzimage_moves_in_small_memory(void **state)
{
    static uint8_t f[IMAGE_BYTES];
    struct error *err = NULL;
    struct rig r;

    rig_open_sized(&r, 8 * MIB);
    make_bzimage(f);
    assert_int_equal(rig_load(&r, f, sizeof f, NULL, NULL), 0);
    assert_int_equal(r.start.rip, 0x200200);
    f[0x234] = 0;
    expect_error(rig_load(&r, f, sizeof f, NULL, &err), ENOMEM, &err, "--memory");
    rig_close(&r);
}

static void bzimage_32bit_entry(void **state)
{
    static uint8_t f[IMAGE_BYTES];
    struct rig r;

    rig_open(&r);
    make_bzimage(f);
    put_le16(f + 0x236, 0);
    assert_int_equal(rig_load(&r, f, sizeof f, NULL, NULL), 0);
    assert_int_equal(r.start.rip, 0x1000000);
    assert_int_equal(r.start.cr0 & (X86_CR0_PE | X86_CR0_PG), X86_CR0_PE);
    assert_int_not_equal(r.start.gpr[X86_RSI], 0);
    rig_close(&r);
}

static void pvh_lands(void **state)
{
    static uint8_t f[IMAGE_BYTES];
    struct rig r;
    struct extra x = {.initrd = "abcd", .initrd_bytes = 4, .cmdline = "a b"};
    struct { void (*make)(uint8_t *, enum elf_kind); } makers[] = {{make_elf64}, {make_elf32}};

    for (unsigned i = 0; i < ARRAY_SIZE(makers); i++) {
        rig_open(&r);
        makers[i].make(f, ELF_WITH_PVH);
        assert_int_equal(rig_load(&r, f, sizeof f, &x, NULL), 0);
        assert_int_equal(r.start.rip, ELF_PADDR + 0x10);
        assert_int_equal(peek(&r, ELF_PADDR, 1), 0x90);
        assert_int_equal(r.start.cr0 & (X86_CR0_PE | X86_CR0_PG), X86_CR0_PE);

        uint64_t si = r.start.gpr[X86_RBX];
        assert_int_equal(peek(&r, si, 4), 0x336ec578);
        assert_int_equal(peek(&r, si + 4, 4), 1);
        assert_int_equal(peek(&r, si + 12, 4), 1);
        uint64_t mod = peek(&r, si + 16, 8);
        assert_int_equal(peek(&r, mod + 8, 8), 4);
        assert_int_equal(peek(&r, peek(&r, mod, 8), 4), 0x64636261);
        assert_int_equal(peek(&r, peek(&r, si + 24, 8), 4), 0x00622061);
        assert_int_equal(peek(&r, si + 32, 8), 0xe0000);
        assert_int_equal(peek(&r, si + 48, 4), r.map.count);
        assert_int_equal(peek(&r, peek(&r, si + 40, 8) + 8, 8), 0x9fc00);
        rig_close(&r);
    }
}

static void plain_elf64_lands(void **state)
{
    static uint8_t f[IMAGE_BYTES];
    struct rig r;

    rig_open(&r);
    make_elf64(f, ELF_PLAIN);
    assert_int_equal(rig_load(&r, f, sizeof f, NULL, NULL), 0);
    assert_int_equal(r.start.rip, ELF_PADDR + 0x20);
    assert_true(r.start.cr0 & X86_CR0_PG);
    assert_int_equal(peek(&r, r.start.gpr[X86_RSI] + 0x1fe, 2), 0xaa55);
    rig_close(&r);
}

static void check_multiboot_info(struct rig *r)
{
    uint64_t info = r->start.gpr[X86_RBX];
    char text[64];

    assert_int_equal(r->start.gpr[X86_RAX], 0x2badb002);
    assert_int_equal(peek(r, info, 4), 0x24d);
    assert_int_equal(peek(r, info + 4, 4), 639);
    assert_int_equal(peek(r, info + 8, 4), (RAM_BYTES - MIB) >> 10);
    assert_int_equal(memory_read(r->memory, gpa(peek(r, info + 16, 4)), text, sizeof text), 0);
    text[sizeof text - 1] = 0;
    assert_non_null(strstr(text, " run tests"));
    assert_int_equal(peek(r, info + 20, 4), 1);
    uint64_t mod = peek(r, info + 24, 4);
    assert_int_equal(peek(r, mod + 4, 4) - peek(r, mod, 4), 4);
    assert_int_equal(peek(r, peek(r, mod, 4), 4), 0x64636261);
    assert_int_equal(peek(r, info + 44, 4), r->map.count * 24);
    uint64_t mmap = peek(r, info + 48, 4);
    assert_int_equal(peek(r, mmap, 4), 20);
    assert_int_equal(peek(r, mmap + 12, 8), 0x9fc00);
}

static void multiboot_lands(void **state)
{
    static uint8_t f[IMAGE_BYTES];
    struct rig r;
    struct extra x = {.initrd = "abcd", .initrd_bytes = 4, .cmdline = "run tests"};

    for (unsigned i = 0; i < 3; i++) {
        rig_open(&r);
        if (i == 0)
            make_elf32(f, ELF_WITH_MULTIBOOT);
        else if (i == 1)
            make_elf64(f, ELF_WITH_MULTIBOOT);
        else
            make_kludge(f);
        assert_int_equal(rig_load(&r, f, sizeof f, &x, NULL), 0);
        assert_int_equal(r.start.rip, i == 2 ? 0x100100 : ELF_PADDR + 0x20);
        assert_int_equal(r.start.cr0 & (X86_CR0_PE | X86_CR0_PG), X86_CR0_PE);
        check_multiboot_info(&r);
        rig_close(&r);
    }
}

/* An image that wants the places where hand-over data usually goes. */
static void low_image_is_not_overwritten(void **state)
{
    static uint8_t f[IMAGE_BYTES], back[IMAGE_BYTES];
    struct rig r;

    rig_open(&r);
    make_kludge(f);
    put_le32(f + 0x40 + 12, 0x1000 + 0x40);
    put_le32(f + 0x40 + 16, 0x1000);
    put_le32(f + 0x40 + 20, 0x1000 + IMAGE_BYTES);
    put_le32(f + 0x40 + 24, 0x9f000);
    put_le32(f + 0x40 + 28, 0x1100);
    assert_int_equal(rig_load(&r, f, sizeof f, NULL, NULL), 0);
    assert_int_equal(memory_read(r.memory, gpa(0x1000), back, sizeof back), 0);
    assert_memory_equal(back, f, sizeof f);
    assert_true(r.start.gpr[X86_RBX] >= MIB);
    assert_true(r.start.gdtr.base >= MIB);
    rig_close(&r);
}

/* ---- refusals ----------------------------------------------------------- */

static void refuses_what_is_no_kernel(void **state)
{
    static const struct { const char *data; size_t len; const char *says; } bad[] = {
        {"\x89PNG\r\n\x1a\n....", 12, "PNG"}, {"\x1f\x8b\x08", 3, "gzip"},
        {"hello", 5, "no known kind"}, {"x", 1, "not a kernel"}, {"#!/bin/sh\n", 10, "script"},
        {"\x7f" "ELF", 4, "not a kernel"}, {"MZ", 2, "DOS"}, {"070701000", 9, "cpio"},
    };
    struct error *err = NULL;
    struct rig r;

    rig_open(&r);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
        expect_error(rig_load(&r, bad[i].data, bad[i].len, NULL, &err), ENOEXEC, &err,
                     bad[i].says);
    rig_close(&r);
}

static void refuses_bad_files(void **state)
{
    struct error *err = NULL;
    struct boot_file f;
    char dir[] = "/tmp/ring3-boot-XXXXXX", path[64];

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/empty", dir);
    expect_error(boot_file_open(&f, "kernel", path, &err), ENOENT, &err, "No such file");
    expect_error(boot_file_open(&f, "kernel", dir, &err), EISDIR, &err, "directory");
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fclose(out);
    expect_error(boot_file_open(&f, "initrd", path, &err), ENODATA, &err, "initrd");
    if (geteuid() != 0) {
        chmod(path, 0);
        expect_error(boot_file_open(&f, "kernel", path, &err), EACCES, &err, "denied");
    }
    expect_error(boot_file_open(&f, "kernel", "/dev/null", &err), ENOTSUP, &err, "neither");
    unlink(path);
    rmdir(dir);
}

static void reads_from_a_pipe(void **state)
{
    struct boot_file f;
    char path[32], back[5] = "";
    int p[2];

    assert_int_equal(pipe(p), 0);
    assert_int_equal(write(p[1], "abcd", 4), 4);
    close(p[1]);
    snprintf(path, sizeof path, "/proc/self/fd/%d", p[0]);
    assert_int_equal(boot_file_open(&f, "kernel", path, NULL), 0);
    assert_int_equal(f.size_bytes, 4);
    assert_int_equal(boot_file_read(&f, 0, back, 4, NULL), 0);
    assert_string_equal(back, "abcd");
    boot_file_close(&f);
    close(p[0]);
}

static void refuses_truncated(void **state)
{
    static uint8_t f[IMAGE_BYTES];
    struct error *err = NULL;
    struct rig r;

    rig_open(&r);
    make_bzimage(f);
    expect_error(rig_load(&r, f, sizeof f - 100, NULL, &err), ENODATA, &err, "truncated");
    expect_error(rig_load(&r, f, 0x300, NULL, &err), ENOEXEC, &err, "end of the file");
    make_elf64(f, ELF_WITH_PVH);
    expect_error(rig_load(&r, f, ELF_TEXT_AT + 1, NULL, &err), ENODATA, &err, "truncated");
    rig_close(&r);
}

static void refuses_what_does_not_fit(void **state)
{
    static uint8_t f[IMAGE_BYTES];
    static char long_line[5000];
    struct error *err = NULL;
    struct extra x = {.cmdline = long_line};
    struct rig r;

    rig_open(&r);
    make_bzimage(f);
    put_le32(f + 0x260, RAM_BYTES);
    expect_error(rig_load(&r, f, sizeof f, NULL, &err), ENOMEM, &err, "--memory");
    make_bzimage(f);
    memset(long_line, 'x', sizeof long_line - 1);
    expect_error(rig_load(&r, f, sizeof f, &x, &err), E2BIG, &err, "2047");
    x = (struct extra){.initrd = f, .initrd_bytes = sizeof f};
    put_le32(f + 0x22c, 0x1000000 + 4 * MIB);     /* the initrd must end right behind */
    put_le64(f + 0x258, MIB);
    put_le32(f + 0x260, 0x1000000 + 4 * MIB - MIB);
    f[0x234] = 0;
    expect_error(rig_load(&r, f, sizeof f, &x, &err), ENOMEM, &err, "initrd");
    make_elf64(f, ELF_WITH_PVH);
    put_le64(f + 64 + 24, RAM_BYTES);             /* p_paddr */
    expect_error(rig_load(&r, f, sizeof f, NULL, &err), ENOMEM, &err, "no RAM");
    rig_close(&r);
}

static void refuses_old_protocols(void **state)
{
    static uint8_t f[IMAGE_BYTES];
    struct error *err = NULL;
    struct rig r;

    rig_open(&r);
    make_bzimage(f);
    put_le16(f + 0x206, 0x203);
    expect_error(rig_load(&r, f, sizeof f, NULL, &err), ENOTSUP, &err, "2.03");
    make_bzimage(f);
    f[0x211] = 0;
    expect_error(rig_load(&r, f, sizeof f, NULL, &err), ENOEXEC, &err, "zImage");
    rig_close(&r);
}

static void refuses_user_programs(void **state)
{
    static uint8_t f[IMAGE_BYTES];
    struct error *err = NULL;
    struct rig r;

    rig_open(&r);
    make_elf64(f, ELF_PLAIN);
    put_le32(f + 64 + sizeof(Elf64_Phdr), PT_INTERP);
    expect_error(rig_load(&r, f, sizeof f, NULL, &err), ENOEXEC, &err, "user space");
    rig_close(&r);
}

/* ---- mutations ---------------------------------------------------------- */

struct field { uint16_t at; uint8_t size; };

static const uint64_t extremes[] = {
    0, 1, 2, 3, 0x7f, 0x80, 0xff, 0x1000, 0x7fff, 0x8000, 0xffff, 0x10000, 0x100000, 0x3ffffff,
    0x4000000, 0x7fffffff, 0x80000000, 0xfffff000, 0xffffffff, 0x100000000, 0x7fffffffffffffff,
    0x8000000000000000, 0xffffffffffff0000, 0xffffffffffffffff,
};

static void put_field(uint8_t *f, struct field where, uint64_t value)
{
    memcpy(f + where.at, &value, where.size);
}

/* Whatever the value: an error with a message, or a start inside RAM. */
static void try_image(struct rig *r, const uint8_t *f, size_t len)
{
    struct extra x = {.initrd = "abcd", .initrd_bytes = 4, .cmdline = "x"};
    struct error *err = NULL;
    int rc = rig_load(r, f, len, &x, &err);

    if (rc) {
        assert_non_null(err);
        error_free(&err);
        return;
    }
    assert_null(err);
    assert_true(r->start.rip < RAM_BYTES);
}

static void mutate(void (*make)(uint8_t *), const struct field *fields, unsigned count)
{
    static uint8_t f[IMAGE_BYTES];
    struct rig r;

    rig_open(&r);
    for (unsigned i = 0; i < count; i++) {
        for (unsigned v = 0; v < ARRAY_SIZE(extremes); v++) {
            make(f);
            put_field(f, fields[i], extremes[v]);
            try_image(&r, f, sizeof f);
        }
    }
    /* Pairs: one field at an extreme, another at another. */
    for (unsigned seed = 1; seed < 3000; seed++) {
        unsigned n = seed * 2654435761u;

        make(f);
        for (unsigned k = 0; k < 2; k++, n = n * 1664525 + 1013904223)
            put_field(f, fields[(n >> 8) % count], extremes[(n >> 20) % ARRAY_SIZE(extremes)]);
        try_image(&r, f, sizeof f);
    }
    /* Every length up to where the interesting part ends. */
    for (size_t len = 1; len < 0x1100; len += 13) {
        make(f);
        try_image(&r, f, len);
    }
    rig_close(&r);
}

static void mutated_bzimage(void **state)
{
    static const struct field fields[] = {
        {0x1f1, 1}, {0x1f2, 2}, {0x1f4, 4}, {0x1f8, 2}, {0x1fa, 2}, {0x1fc, 2}, {0x1fe, 2},
        {0x200, 1}, {0x201, 1}, {0x202, 4}, {0x206, 2}, {0x208, 4}, {0x20c, 2}, {0x20e, 2},
        {0x210, 1}, {0x211, 1}, {0x212, 2}, {0x214, 4}, {0x218, 4}, {0x21c, 4}, {0x220, 4},
        {0x224, 2}, {0x226, 1}, {0x227, 1}, {0x228, 4}, {0x22c, 4}, {0x230, 4}, {0x234, 1},
        {0x235, 1}, {0x236, 2}, {0x238, 4}, {0x23c, 4}, {0x240, 8}, {0x248, 4}, {0x24c, 4},
        {0x250, 8}, {0x258, 8}, {0x260, 4}, {0x264, 4}, {0x268, 4},
    };

    mutate(make_bzimage, fields, ARRAY_SIZE(fields));
}

static void make_elf64_pvh(uint8_t *f)
{
    make_elf64(f, ELF_WITH_PVH);
}
static void make_elf64_plain(uint8_t *f)
{
    make_elf64(f, ELF_PLAIN);
}
static void make_elf32_multiboot(uint8_t *f)
{
    make_elf32(f, ELF_WITH_MULTIBOOT);
}

#define EH64(m) {offsetof(Elf64_Ehdr, m), sizeof(((Elf64_Ehdr *)0)->m)}
#define PH64(n, m) {64 + (n) * sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, m), \
                    sizeof(((Elf64_Phdr *)0)->m)}
#define EH32(m) {offsetof(Elf32_Ehdr, m), sizeof(((Elf32_Ehdr *)0)->m)}
#define PH32(n, m) {52 + (n) * sizeof(Elf32_Phdr) + offsetof(Elf32_Phdr, m), \
                    sizeof(((Elf32_Phdr *)0)->m)}

static void mutated_elf64(void **state)
{
    static const struct field fields[] = {
        {4, 1}, {5, 1}, EH64(e_type), EH64(e_machine), EH64(e_version), EH64(e_entry),
        EH64(e_phoff), EH64(e_shoff), EH64(e_ehsize), EH64(e_phentsize), EH64(e_phnum),
        PH64(0, p_type), PH64(0, p_flags), PH64(0, p_offset), PH64(0, p_vaddr),
        PH64(0, p_paddr), PH64(0, p_filesz), PH64(0, p_memsz), PH64(1, p_type),
        PH64(1, p_offset), PH64(1, p_paddr), PH64(1, p_filesz), PH64(1, p_memsz),
        {0x800, 4}, {0x804, 4}, {0x808, 4}, {0x80c, 4}, {0x810, 8},
    };

    mutate(make_elf64_pvh, fields, ARRAY_SIZE(fields));
    mutate(make_elf64_plain, fields, ARRAY_SIZE(fields));
}

static void mutated_multiboot(void **state)
{
    static const struct field elf[] = {
        {4, 1}, EH32(e_type), EH32(e_machine), EH32(e_entry), EH32(e_phoff), EH32(e_phentsize),
        EH32(e_phnum), PH32(0, p_type), PH32(0, p_offset), PH32(0, p_vaddr), PH32(0, p_paddr),
        PH32(0, p_filesz), PH32(0, p_memsz), PH32(1, p_type), PH32(1, p_paddr),
        PH32(1, p_filesz), PH32(1, p_memsz), {ELF_TEXT_AT, 4}, {ELF_TEXT_AT + 4, 4},
        {ELF_TEXT_AT + 8, 4},
    };
    static const struct field kludge[] = {
        {0x40, 4}, {0x44, 4}, {0x48, 4}, {0x4c, 4}, {0x50, 4}, {0x54, 4}, {0x58, 4}, {0x5c, 4},
    };

    mutate(make_elf32_multiboot, elf, ARRAY_SIZE(elf));
    mutate(make_kludge, kludge, ARRAY_SIZE(kludge));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bzimage_lands),
        cmocka_unit_test(long_start_is_consistent),
        cmocka_unit_test(bzimage_moves_in_small_memory),
        cmocka_unit_test(bzimage_32bit_entry),
        cmocka_unit_test(pvh_lands),
        cmocka_unit_test(plain_elf64_lands),
        cmocka_unit_test(multiboot_lands),
        cmocka_unit_test(low_image_is_not_overwritten),
        cmocka_unit_test(refuses_what_is_no_kernel),
        cmocka_unit_test(refuses_bad_files),
        cmocka_unit_test(reads_from_a_pipe),
        cmocka_unit_test(refuses_truncated),
        cmocka_unit_test(refuses_what_does_not_fit),
        cmocka_unit_test(refuses_old_protocols),
        cmocka_unit_test(refuses_user_programs),
        cmocka_unit_test(mutated_bzimage),
        cmocka_unit_test(mutated_elf64),
        cmocka_unit_test(mutated_multiboot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
