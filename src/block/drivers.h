/* SPDX-License-Identifier: GPL-2.0-or-later */
/* drivers.h - the rows of drivers.c, each defined in the file of its name. */
#ifndef RING3_BLOCK_DRIVERS_H
#define RING3_BLOCK_DRIVERS_H

struct block_driver;

extern const struct block_driver block_raw;
extern const struct block_driver block_qcow2;
extern const struct block_driver block_file;
extern const struct block_driver block_fault;

#endif
