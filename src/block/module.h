/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * module.h - a driver in a shared object of its own, loaded when it is needed.
 *
 * A module is linked with copies of what it uses of block and base, which have no state;
 * it exports one symbol, and shares nothing with the program but the structures of
 * node.h. Whether they mean the same ones is what `abi` compares.
 */
#ifndef RING3_BLOCK_MODULE_H
#define RING3_BLOCK_MODULE_H

#include "block/node.h"

struct block_module {
    uint64_t abi;
    const struct block_driver *driver;
};

#define BLOCK_MODULE_ABI                                                                    \
    ((uint64_t)sizeof(struct block_driver) << 40 | (uint64_t)sizeof(struct block) << 20 |   \
     (uint64_t)sizeof(struct block_request))
#define BLOCK_MODULE_SYMBOL "ring3_block_module"

#define BLOCK_MODULE(row)                                                                   \
    extern const struct block_module ring3_block_module;                                    \
    __attribute__((visibility("default"))) const struct block_module ring3_block_module = { \
        BLOCK_MODULE_ABI, &(row)}

#endif
