/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ata.h - an ATA channel pair with a disk, a CD-ROM drive and their bus master in the kit. */
#ifndef RING3_TESTS_DEVICE_ATA_H
#define RING3_TESTS_DEVICE_ATA_H

#include "kit.h"

int ata_make(struct rig *rig, const struct device_env *env, struct error **err);
void ata_destroy(struct rig *rig);
/* A step of a driver: a command, data, requests that complete, DMA. */
uint64_t ata_poke(struct rig *rig, struct rig_random *r);

#endif
