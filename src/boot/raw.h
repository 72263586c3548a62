/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * raw.h - raw images put into memory as they are, and a processor started among them.
 *
 * There is no format: each file is copied to the address the user names, and the boot
 * processor begins at the first one's address (or at one that is named) in the mode
 * that is named. What a mode needs in memory is written before the guest runs:
 *
 *   real       CS = DS = ES = SS = FS = GS with base `entry`, IP 0, SP 0; `entry` is a
 *              multiple of 16 below 1 MiB
 *   protected  flat 32-bit segments, paging off
 *   paging32   the same with CR4.PSE and a page directory at 0x2000, whose only entry
 *              maps the first 4 MiB one to one, writable and for users
 *   long       64-bit mode; PML4 at 0x2000, page directory pointers at 0x3000, page
 *              directory at 0x4000, whose only entry maps the first 2 MiB one to one,
 *              writable and for users
 *
 * Selectors are 8 (code) and 16 (data); there is no GDT and no IDT behind them: a guest
 * that wants to load segments or to take interrupts brings its own. Interrupts are off.
 * The stack begins at 2 MiB, or at the end of memory if there is less.
 *
 * Threads: none of its own; called while no vCPU runs.
 */
#ifndef RING3_BOOT_RAW_H
#define RING3_BOOT_RAW_H

#include "boot/boot.h"

enum { BOOT_RAW_MAX = 16 };
enum boot_mode { BOOT_REAL, BOOT_PROTECTED, BOOT_PAGING32, BOOT_LONG };

struct boot_raw {
    struct { struct boot_file file; uint64_t at; } part[BOOT_RAW_MAX];
    unsigned parts;
    enum boot_mode mode;
    uint64_t entry;
};

/* `loads` are texts FILE@ADDRESS, NULL-terminated, at least one; `start` is
 * MODE[@ADDRESS] or NULL for real mode. On failure nothing stays open. */
int boot_raw_open(struct boot_raw *raw, const char *const *loads, const char *start,
                  struct error **err);
void boot_raw_close(struct boot_raw *raw);         /* zeroed is fine */

/* As boot_load(). */
int boot_raw_load(const struct boot_raw *raw, const struct boot_target *target,
                  struct x86_state *start, struct error **err);

#endif
