/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * boot.h - from a file to a guest that is about to execute its first
 * instruction.
 *
 * There is no firmware: what firmware and boot loader would leave behind is
 * made here. An image is recognised by its content, never by its name, through
 * a table of loaders {name, probe, load} (boot.c); adding a format is adding a
 * row. A loader fills guest memory and one `struct x86_state`, the start state
 * of the boot processor. It is called again with the same image for every
 * reset of the machine.
 *
 * Formats (boot_loaders): Linux bzImage (64- and 32-bit entry), multiboot 1,
 * ELF with a PVH entry note, plain 64-bit Linux ELF. What has no format is in raw.h.
 *
 * TRUST. The files are untrusted input. Every size and address a file gives is
 * checked before use: against the file, against RAM, and against what was
 * placed before (struct boot_space). A refused file is an error in one line
 * that says which field, the values, and what to do; nothing has started then.
 *
 * MEMORY. RAM reads as zero when boot_load is called (a new machine, or one
 * whose RAM the reset has cleared), so loaders do not clear .bss.
 *
 * Threads: none of its own; called while no vCPU runs.
 */
#ifndef RING3_BOOT_BOOT_H
#define RING3_BOOT_BOOT_H

#include "base/types.h"
#include "boot/e820.h"

struct error;
struct log;
struct memory;
struct x86_state;

/* ---- files ------------------------------------------------------------- */

/* Open for the life of the machine, so that a reset boots what the start
 * booted even if the file was deleted or replaced meanwhile. */
struct boot_file {
    const char *role;        /* "kernel": starts every message about it */
    char *path;              /* owned */
    int fd;                  /* -1 = not given */
    uint64_t size_bytes;
};

#define BOOT_FILE_NONE ((struct boot_file){.fd = -1})

/* Missing, a directory, unreadable, empty: each its own message. A pipe is
 * read to its end into memory first. */
int boot_file_open(struct boot_file *f, const char *role, const char *path, struct error **err);
void boot_file_close(struct boot_file *f);              /* zeroed or NONE is fine */
static inline bool boot_file_given(const struct boot_file *f) { return f->fd >= 0 && f->path; }

/* All `len` bytes at `offset`, or an error that says the file is too short. */
int boot_file_read(const struct boot_file *f, uint64_t offset, void *buf, uint64_t len,
                   struct error **err);
/* The same, straight into guest RAM, which must be there (boot_space_claim). */
int boot_file_load(const struct boot_file *f, uint64_t offset, struct memory *m, gpa_t to,
                   uint64_t len, struct error **err);

/* ---- what to boot, and into what --------------------------------------- */

enum { BOOT_MODULES_MAX = 16 };

struct boot_image {
    struct boot_file kernel, initrd;
    struct boot_file module[BOOT_MODULES_MAX];    /* multiboot and PVH only */
    unsigned modules;
    const char *cmdline;                          /* "" when there is none */
};

struct boot_target {
    struct memory *memory;
    const struct e820_map *map;
    gpa_t rsdp;                                   /* 0 = no ACPI */
    /* A machine without a PC's devices: multiboot images and ELF programs (bare.c).
     * What main returns is written to a port. 64-bit programs find the first 4 GiB
     * mapped one to one, and these whole GiB; their address is main's first argument,
     * followed by the command line and the bytes of RAM. */
    bool bare;
    uint16_t bare_exit_port;
    uint64_t bare_map, bare_map_bytes;
    struct log *log;
    bool vga_text;                                /* a VGA is there, showing 80x25 text */
};

/* Opens everything; `modules` ends with NULL or is NULL itself. On failure
 * nothing stays open. `cmdline` (may be NULL) is not copied. */
int boot_image_open(struct boot_image *img, const char *kernel, const char *initrd,
                    const char *const *modules, const char *cmdline, struct error **err);
void boot_image_close(struct boot_image *img);

/* Recognises the kernel, loads everything, sets *start (complete). */
int boot_load(const struct boot_image *img, const struct boot_target *target,
              struct x86_state *start, struct error **err);

#endif
