/* SPDX-License-Identifier: MIT-0 */
/* env64.h - the 64-bit guests' tables. */
#ifndef GUEST_ENV64_H
#define GUEST_ENV64_H

#include "sys.h"

struct tss64 {
    uint32_t reserved;
    uint64_t rsp[3], reserved2, ist[7], reserved3;
    uint16_t reserved4, iomap;
} __attribute__((packed));
extern struct tss64 tss;

/* Pages that tests may change, identity-mapped in 4 KiB entries at first. */
enum { PAGES = 0x400000, PAGES_END = 0x600000 };
uint64_t *pte(uint64_t a);
enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_A = 32, PTE_D = 64, PTE_PS = 128, PTE_G = 256 };
#define PTE_NX (1ull << 63)

static inline void invlpg(uint64_t a)
{
    __asm__ volatile("invlpg (%0)" ::"r"(a) : "memory");
}

enum { CR0_TS = 8, CR0_WP = 1 << 16, CR0_AM = 1 << 18 };
enum { CR4_DE = 8, CR4_PGE = 1 << 7, CR4_OSFXSR = 1 << 9, CR4_UMIP = 1 << 11,
       CR4_FSGSBASE = 1 << 16, CR4_PCIDE = 1 << 17, CR4_SMEP = 1 << 20, CR4_SMAP = 1 << 21 };
enum { MSR_EFER = 0xc0000080u, MSR_STAR = 0xc0000081u, MSR_LSTAR = 0xc0000082u,
       MSR_CSTAR = 0xc0000083u, MSR_FMASK = 0xc0000084u, MSR_FS_BASE = 0xc0000100u,
       MSR_GS_BASE = 0xc0000101u, MSR_KERNEL_GS = 0xc0000102u, MSR_SYSENTER_CS = 0x174,
       MSR_SYSENTER_ESP = 0x175, MSR_SYSENTER_EIP = 0x176 };

#endif
