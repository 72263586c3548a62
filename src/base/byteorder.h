/* SPDX-License-Identifier: GPL-2.0-or-later */
/* byteorder.h - unaligned little- and big-endian loads and stores. */
#ifndef RING3_BASE_BYTEORDER_H
#define RING3_BASE_BYTEORDER_H

#include <string.h>
#include "base/types.h"

/* The host is x86-64, so little-endian access is a plain unaligned move. */
#define BYTEORDER_LE_(bits)                                                     \
    static inline uint##bits##_t get_le##bits(const void *p)                    \
    { uint##bits##_t v; memcpy(&v, p, sizeof v); return v; }                    \
    static inline void put_le##bits(void *p, uint##bits##_t v)                  \
    { memcpy(p, &v, sizeof v); }                                                \
    static inline uint##bits##_t get_be##bits(const void *p)                    \
    { return __builtin_bswap##bits(get_le##bits(p)); }                          \
    static inline void put_be##bits(void *p, uint##bits##_t v)                  \
    { put_le##bits(p, __builtin_bswap##bits(v)); }
BYTEORDER_LE_(16)
BYTEORDER_LE_(32)
BYTEORDER_LE_(64)
#undef BYTEORDER_LE_

#endif
