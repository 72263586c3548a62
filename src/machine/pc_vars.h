/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc_vars.h - the UEFI variable store of a PC: a flash chip below the firmware, a file on
 * the host.
 *
 * With --firmware-vars FILE what the guest stores is in the file at once; the file is made
 * from the distribution's template when it does not exist, and belongs to one VM at a time.
 * Without, variables live as long as the machine.
 */
#ifndef RING3_MACHINE_PC_VARS_H
#define RING3_MACHINE_PC_VARS_H

#include "machine/pc_rom.h"

struct device;
struct device_env;
struct error;
struct log;

struct pc_vars {
    uint8_t *data;               /* NULL: there is none */
    uint64_t bytes;
    int fd;                      /* -1: no file */
    const char *path;
    struct log *log;
    bool failed;                 /* that the file cannot be written was said */
};

/* `path` may be NULL. -errno with one line. */
int pc_vars_open(struct pc_vars *v, const struct pc_rom *rom, const char *path, struct log *log,
                 struct error **err);
void pc_vars_close(struct pc_vars *v);       /* a zeroed one is fine; the chip is gone */
/* NULL with a message. */
struct device *pc_vars_chip(struct pc_vars *v, const struct pc_rom *rom,
                            const struct device_env *env, struct error **err);

#endif
