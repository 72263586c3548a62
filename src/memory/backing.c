/* SPDX-License-Identifier: GPL-2.0-or-later */
/* backing.c - guarded mappings, and how much memory the host can give. */
#include "memory/backing.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/error.h"

/* "Name:   123 kB" lines of /proc/meminfo and /proc/self/status. */
static uint64_t proc_kib(const char *path, const char *name)
{
    char line[128];
    uint64_t kib = 0;
    size_t len = strlen(name);
    FILE *f = fopen(path, "re");

    if (!f)
        return 0;
    while (fgets(line, sizeof line, f))
        if (strncmp(line, name, len) == 0 && sscanf(line + len, ": %" SCNu64, &kib) == 1)
            break;
    fclose(f);
    return kib;
}

/* For people: whole MiB, or KiB when that would be a poor figure. */
static const char *amount(char *buf, size_t size, uint64_t bytes)
{
    if (bytes < (64u << 20) && bytes % (1u << 20) != 0)
        snprintf(buf, size, "%" PRIu64 " KiB", bytes >> 10);
    else
        snprintf(buf, size, "%" PRIu64 " MiB", bytes >> 20);
    return buf;
}

int backing_check_host(uint64_t bytes, struct error **err)
{
    char want[32], a[32], b[32], c[32];
    struct rlimit lim;

    if (getrlimit(RLIMIT_AS, &lim) == 0 && lim.rlim_cur != RLIM_INFINITY) {
        uint64_t used = proc_kib("/proc/self/status", "VmSize") << 10;
        uint64_t left = lim.rlim_cur > used ? lim.rlim_cur - used : 0;
        if (bytes > left) {
            error_set(err, ENOMEM,
                      "cannot give the guest %s of memory: the address space limit of this "
                      "process is %s, of which %s are left", amount(want, sizeof want, bytes),
                      amount(a, sizeof a, lim.rlim_cur), amount(b, sizeof b, left));
            error_hint(err, "ask for less, or raise the limit (ulimit -v)");
            return -ENOMEM;
        }
    }
    uint64_t free_kib = proc_kib("/proc/meminfo", "MemAvailable");
    uint64_t swap_kib = proc_kib("/proc/meminfo", "SwapFree");
    if (free_kib && bytes >> 10 > free_kib + swap_kib) {
        error_set(err, ENOMEM,
                  "cannot give the guest %s of memory: the host has %s available "
                  "(%s of memory, %s of swap)", amount(want, sizeof want, bytes),
                  amount(a, sizeof a, (free_kib + swap_kib) << 10),
                  amount(b, sizeof b, free_kib << 10), amount(c, sizeof c, swap_kib << 10));
        error_hint(err, "ask for less, or free some on the host");
        return -ENOMEM;
    }
    return 0;
}

uint8_t *backing_map(uint64_t bytes, int fd)
{
    uint64_t whole;
    int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;

    if (__builtin_add_overflow(bytes, 2 * (uint64_t)PAGE_SIZE, &whole)) {
        errno = ENOMEM;
        return NULL;
    }
    uint8_t *base = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                         -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    uint8_t *p = mmap(base + PAGE_SIZE, bytes, PROT_READ | PROT_WRITE,
                      flags | MAP_FIXED | MAP_NORESERVE, fd, 0);
    if (p == MAP_FAILED) {
        int code = errno;
        munmap(base, whole);
        errno = code;
        return NULL;
    }
    /* The guest's secrets do not belong into our core dumps; huge pages save
     * page walks. Both are wishes. */
    madvise(p, bytes, MADV_DONTDUMP);
    madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

void backing_unmap(uint8_t *p, uint64_t bytes)
{
    if (p)
        munmap(p - PAGE_SIZE, bytes + 2 * (uint64_t)PAGE_SIZE);
}
