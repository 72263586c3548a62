/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * loader.h - what a loader is given and the tools it has. Inside boot/ only.
 *
 * A loader claims guest memory through `struct boot_space`, which knows RAM
 * and what is already taken: two things never land on the same bytes, whatever
 * addresses the file asks for. Only claimed memory is written.
 */
#ifndef RING3_BOOT_LOADER_H
#define RING3_BOOT_LOADER_H

#include "base/error.h"
#include "boot/boot.h"
#include "x86/state.h"

/* ---- space ------------------------------------------------------------- */

enum { BOOT_SPACE_MAX = 64 };

struct boot_space {
    const struct e820_map *map;
    struct { uint64_t start, size_bytes; const char *what; } used[BOOT_SPACE_MAX];
    unsigned count;
};

/* Takes exactly [start, start + size). -ENOMEM when it is not all RAM,
 * -EEXIST when something is there. An empty range is always fine. */
int boot_space_claim(struct boot_space *s, uint64_t start, uint64_t size_bytes,
                     const char *what, struct error **err);

struct boot_wish {
    const char *what;
    uint64_t size_bytes;
    uint64_t align;          /* power of two, not 0 */
    uint64_t low, high;      /* inside [low, high) */
    bool top_down;           /* the highest place that fits, not the lowest */
};

/* Finds and takes a free place in RAM; -ENOMEM says how much is missing. */
int boot_space_find(struct boot_space *s, const struct boot_wish *w, gpa_t *out,
                    struct error **err);
/* Is the byte at `at` part of something that was placed? */
bool boot_space_holds(const struct boot_space *s, uint64_t at);

/* ---- loaders ----------------------------------------------------------- */

enum { BOOT_HEAD_BYTES = 8192 };

struct boot_job {
    const struct boot_image *image;
    const struct boot_target *target;
    struct boot_space space;
    struct x86_state *start;
    uint64_t head_bytes;                   /* of the file that are in head */
    uint8_t head[BOOT_HEAD_BYTES];         /* the rest is zero */
};

struct boot_loader {
    const char *name, *summary;
    /* Only looks at the job's head and size, reads the file if it must. */
    bool (*probe)(const struct boot_job *job);
    int (*load)(struct boot_job *job, struct error **err);
};

extern const struct boot_loader boot_bzimage, boot_multiboot, boot_pvh, boot_elf64, boot_bare;

/* ---- shared steps ------------------------------------------------------ */

/* Conventional places below 1 MiB; a claim moves elsewhere if they are taken. */
enum {
    BOOT_LOW_START = 0x1000,       /* page 0 stays: IVT and BIOS data area */
    BOOT_LOW_END = 0x9f000,
    BOOT_EXTENDED = 0x100000,
};

/* memory_write that may not fail, since the place was claimed. */
void boot_put(struct boot_job *job, gpa_t to, const void *data, uint64_t len);
/* Finds room for `size` bytes of hand-over data, low memory preferred. */
int boot_place_table(struct boot_job *job, const char *what, uint64_t size_bytes, gpa_t *out,
                     struct error **err);
/* The text with its NUL. */
int boot_place_text(struct boot_job *job, const char *what, const char *text, gpa_t *out,
                    struct error **err);
/* A file's whole content. */
int boot_place_file(struct boot_job *job, const struct boot_file *f, const struct boot_wish *where,
                    gpa_t *out, struct error **err);

/* linux.c: the zero page, for both Linux loaders. `setup_header` (may be NULL)
 * is copied to 0x1f1; the fields a boot loader owns are filled in. */
struct boot_linux {
    const uint8_t *setup_header;
    uint64_t setup_header_bytes;
    uint64_t initrd_max;           /* the initrd lies below; 0 = any below 4 GiB */
    uint64_t cmdline_max;          /* characters without the NUL */
    uint64_t load_address;
};
enum { LINUX_SETUP_HEADER = 0x1f1, LINUX_SETUP_HEADER_END = 0x290 };
int boot_linux_params(struct boot_job *job, const struct boot_linux *l, gpa_t *out,
                      struct error **err);

/* elf.c: either class, loaded at its physical addresses. */
struct boot_elf {
    bool is64;
    uint64_t entry;
    unsigned segments;             /* program headers */
    uint64_t table_offset, entry_bytes;
};
bool boot_elf_magic(const struct boot_job *job);
int boot_elf_open(const struct boot_job *job, struct boot_elf *elf, struct error **err);
/* Is there a segment of this p_type? */
bool boot_elf_has_segment(const struct boot_job *job, const struct boot_elf *elf, uint32_t type);
/* Claims and loads every PT_LOAD. *entry = the physical address of the entry
 * point, which lies in what was loaded. */
int boot_elf_load(struct boot_job *job, const struct boot_elf *elf, uint64_t *entry,
                  struct error **err);
/* The address in note `type` of owner `owner`; -ENOENT when there is none. */
int boot_elf_note(const struct boot_job *job, const struct boot_elf *elf, const char *owner,
                  uint32_t type, uint64_t *value);

/* start.c: the processor as the boot protocols want it. */
/* 32-bit protected mode, flat segments (CS 0x10, data 0x18), paging off,
 * interrupts off, at `entry`. Places a GDT with those descriptors. */
int boot_start_protected(struct boot_job *job, uint64_t entry, struct error **err);
/* 64-bit mode, same selectors, the first 4 GiB mapped one to one. */
int boot_start_long(struct boot_job *job, uint64_t entry, struct error **err);

#endif
