/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log.h - warnings for the user, trace lines for whoever debugs.
 *
 * One `struct log` per VM (or per command), passed to whoever needs it. All
 * functions are thread-safe; a line is written with a single write(2) so lines
 * of two threads never mix. A sink that fails (closed pipe, full disk) is
 * dropped silently: logging never stops a guest.
 *
 * Guests can provoke log_guest() lines at will, so those are rate-limited per
 * call site: `struct log_limit` is a static-storage-free token bucket that
 * lives in the device.
 */
#ifndef RING3_BASE_LOG_H
#define RING3_BASE_LOG_H

#include <stdarg.h>
#include <stdatomic.h>
#include "base/types.h"

/* name for --trace, and what it shows */
#define LOG_TRACE_CATEGORIES(X)                                     \
    X(EXIT,      "exits",     "every VM exit with its reason")      \
    X(DEVICE,    "device",    "device register accesses")           \
    X(IRQ,       "irq",       "interrupt lines, vectors, EOI")      \
    X(MSR,       "msr",       "MSR reads and writes, unknown ones") \
    X(CPUID,     "cpuid",     "CPUID leaves left out or changed")   \
    X(EXCEPTION, "exception", "exceptions delivered to the guest")  \
    X(MEMORY,    "memory",    "memory map changes")                 \
    X(TRANSLATE, "translate", "blocks decoded or translated")       \
    X(BOOT,      "boot",      "what the loaders put where")         \
    X(FIRMWARE,  "firmware",  "what the firmware says of itself")   \
    X(ENGINE,    "engine",    "engine choice and calibration")

enum log_category {
#define X(id, name, help) LOG_##id,
    LOG_TRACE_CATEGORIES(X)
#undef X
    LOG_CATEGORY_COUNT
};

struct log {
    _Atomic uint32_t trace_mask;   /* bit per enum log_category */
    int fd;                        /* not owned; -1 = silent */
    bool quiet;                    /* drop log_info */
};

struct log_limit {
    _Atomic uint32_t printed;      /* lines so far; after 10 only powers of two */
};

void log_init(struct log *log, int fd);

/* "device,irq" -> mask, "all" too. -EINVAL with a did-you-mean style message. */
struct error;
int log_parse_categories(const char *text, uint32_t *mask, struct error **err);

void log_warn(struct log *log, const char *fmt, ...) PRINTF_LIKE(2, 3);
void log_info(struct log *log, const char *fmt, ...) PRINTF_LIKE(2, 3);
void log_guest(struct log *log, struct log_limit *limit, const char *fmt, ...) PRINTF_LIKE(3, 4);
void log_trace_line(struct log *log, enum log_category cat, const char *fmt, ...) PRINTF_LIKE(3, 4);

static inline bool log_tracing(const struct log *log, enum log_category cat)
{
    return atomic_load_explicit(&log->trace_mask, memory_order_relaxed) & (1u << cat);
}

/* Arguments are not evaluated unless the category is on. */
#define log_trace(log, cat, ...)                              \
    do {                                                      \
        if (unlikely(log_tracing(log, LOG_##cat)))            \
            log_trace_line(log, LOG_##cat, __VA_ARGS__);      \
    } while (0)

#endif
