/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * types.h - address types and small helpers every room uses.
 *
 * Guest-physical, guest-virtual (linear) and host-virtual addresses are three
 * distinct single-member structs, so that passing one where another is meant
 * does not compile. Everything else is a plain <stdint.h> type; units are in
 * the names (_ns, _bytes, _pages).
 */
#ifndef RING3_BASE_TYPES_H
#define RING3_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct { uint64_t v; } gpa_t;   /* guest-physical */
typedef struct { uint64_t v; } gva_t;   /* guest-linear: segment base already added */
typedef struct { uint8_t *p; } hva_t;   /* host-virtual */

static inline gpa_t gpa(uint64_t v) { return (gpa_t){v}; }
static inline gva_t gva(uint64_t v) { return (gva_t){v}; }
static inline hva_t hva(void *p) { return (hva_t){p}; }
static inline gpa_t gpa_add(gpa_t a, uint64_t n) { return (gpa_t){a.v + n}; }
static inline gva_t gva_add(gva_t a, uint64_t n) { return (gva_t){a.v + n}; }

enum { PAGE_SHIFT = 12, PAGE_SIZE = 1 << PAGE_SHIFT };
#define PAGE_OFFSET_MASK ((uint64_t)PAGE_SIZE - 1)
#define PAGE_MASK (~PAGE_OFFSET_MASK)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

static inline uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }
static inline uint64_t align_down(uint64_t v, uint64_t a) { return v & ~(a - 1); }
static inline uint64_t align_up(uint64_t v, uint64_t a) { return (v + a - 1) & ~(a - 1); }

/* True when [start, start + len) lies inside [0, limit) without wrapping. */
static inline bool range_inside(uint64_t start, uint64_t len, uint64_t limit)
{
    return len <= limit && start <= limit - len;
}

#endif
