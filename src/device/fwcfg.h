/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fwcfg.h - QEMU's firmware configuration device (QEMU, docs/specs/fw_cfg): what a machine
 * tells its firmware, as numbered items and as named files.
 *
 * A 16-bit write to the first port selects an item and rewinds it; each read of the second
 * gives its next byte. The DMA registers, four ports on, take the big-endian address of a
 * request that copies whole items into guest memory. Bytes beyond an item's end, and items
 * that are not there, read as zeros. Nothing can be written by the guest.
 *
 * Items are little-endian numbers or copies of what they are given; they are added before
 * the guest runs. An item with `prepare` is asked for its contents whenever the guest
 * selects it or the directory, so that it can tell what firmware has done meanwhile (where
 * it put the ACPI registers): prepare() calls fwcfg_file_set(). Firmware reads the size of
 * a file from the directory long before its bytes: it is best not to change it.
 *
 * Threads: VM lock held; prepare() runs in the accessing vCPU's thread.
 */
#ifndef RING3_DEVICE_FWCFG_H
#define RING3_DEVICE_FWCFG_H

#include "bus/device.h"

/* Keys. Files get 0x20 and up. */
enum {
    FWCFG_SIGNATURE = 0x00, FWCFG_ID = 0x01, FWCFG_RAM_SIZE = 0x03, FWCFG_NOGRAPHIC = 0x04,
    FWCFG_NB_CPUS = 0x05, FWCFG_BOOT_MENU = 0x0e, FWCFG_MAX_CPUS = 0x0f, FWCFG_DIRECTORY = 0x19,
    FWCFG_FIRST_FILE = 0x20, FWCFG_IRQ0_OVERRIDE = 0x8002,
};
enum { FWCFG_FILES_MAX = 128, FWCFG_NUMBERS_MAX = 16, FWCFG_NAME_BYTES = 56 };

struct fwcfg_config {
    uint16_t port;               /* 0x510; 12 ports */
};

/* Has the signature and the ID. */
struct device *fwcfg_new(const struct device_env *env, const struct fwcfg_config *cfg,
                         struct error **err);
/* `bytes` is 1 .. 8. */
void fwcfg_number(struct device *dev, uint16_t key, unsigned bytes, uint64_t value);
/* A copy of data. -EINVAL: no such name can be (empty, 56 or more bytes); -EEXIST; -ENOSPC. */
int fwcfg_file(struct device *dev, const char *name, const void *data, size_t len,
               struct error **err);
int fwcfg_file_prepared(struct device *dev, const char *name,
                        void (*prepare)(void *opaque, struct device *dev), void *opaque,
                        struct error **err);
/* New contents of a file that is there. */
void fwcfg_file_set(struct device *dev, const char *name, const void *data, size_t len);
/* 0 when it is not there or was not set yet. */
size_t fwcfg_file_size(struct device *dev, const char *name);
/* What the guest would read, or NULL. Good until the file changes. */
const uint8_t *fwcfg_file_get(struct device *dev, const char *name, size_t *len);

#endif
