/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mmu.h - linear addresses to bytes: paging walk, soft TLB, access checks.
 *
 * Paging: none, 2-level (PSE), PAE, 4-level; A/D bits set with atomic updates
 * on the host page; NX, WP, SMEP, SMAP, PCID, global pages, protection keys,
 * 2 MiB, 4 MiB and 1 GiB pages; reserved bits checked (Intel SDM vol. 3 ch. 4). The TLB is not
 * tagged by PCID: a CR3 load that may keep entries flushes all the same, which
 * the architecture permits.
 *
 * The TLB has an array per kind of access: user, kernel with user pages
 * forbidden (SMAP, AC clear), kernel with them allowed. An entry hits for
 * reading, writing and execution separately. A write entry exists only once
 * the D bit is set and never for pages whose stores the engine wants to see.
 *
 * All of these raise #PF (or #GP/#SS for segments) by unwinding; see cpu.h.
 */
#ifndef RING3_X86_MMU_H
#define RING3_X86_MMU_H

#include <string.h>
#include "x86/cpu.h"

enum x86_access { X86_READ, X86_WRITE, X86_EXEC };

/* #PF error code bits (SDM vol. 3, figure 4-12). */
enum { X86_PF_P = 1, X86_PF_W = 2, X86_PF_U = 4, X86_PF_RSVD = 8, X86_PF_I = 16, X86_PF_PK = 32 };

/* ---- explicit data accesses at the current privilege ------------------ */

/* Slow paths behind the inline functions: TLB miss, page crossing, MMIO. */
uint64_t x86_read_slow(struct x86_cpu *cpu, gva_t a, unsigned size);
void x86_write_slow(struct x86_cpu *cpu, gva_t a, unsigned size, uint64_t value);

static inline struct x86_tlb_entry *x86_tlb_at(struct x86_cpu *cpu, gva_t a)
{
    return &(*cpu->tlb_now)[(a.v >> PAGE_SHIFT) & (X86_TLB_SIZE - 1)];
}

/* Host pointer for an access of `size` bytes that hits the TLB, lies in one
 * page and in RAM; NULL otherwise. Never raises. */
static inline uint8_t *x86_tlb_hit(struct x86_cpu *cpu, gva_t a, unsigned size,
                                   enum x86_access access)
{
    struct x86_tlb_entry *e = x86_tlb_at(cpu, a);
    uint64_t tag = access == X86_WRITE ? e->write : access == X86_READ ? e->read : e->exec;
    /* The last byte must be in the page too: one comparison does both. */
    if (likely(tag == (a.v & PAGE_MASK)) && (a.v & PAGE_OFFSET_MASK) + size <= PAGE_SIZE &&
        likely(e->addend))
        return (uint8_t *)(a.v + e->addend);
    return NULL;
}

static inline uint64_t x86_read(struct x86_cpu *cpu, gva_t a, unsigned size)
{
    const uint8_t *p = x86_tlb_hit(cpu, a, size, X86_READ);
    if (unlikely(!p))
        return x86_read_slow(cpu, a, size);
    switch (size) {
    case 1: return *p;
    case 2: { uint16_t v; memcpy(&v, p, 2); return v; }
    case 4: { uint32_t v; memcpy(&v, p, 4); return v; }
    default: { uint64_t v; memcpy(&v, p, 8); return v; }
    }
}

static inline void x86_write(struct x86_cpu *cpu, gva_t a, unsigned size, uint64_t v)
{
    uint8_t *p = x86_tlb_hit(cpu, a, size, X86_WRITE);
    if (unlikely(!p)) {
        x86_write_slow(cpu, a, size, v);
        return;
    }
    switch (size) {
    case 1: *p = (uint8_t)v; break;
    case 2: { uint16_t w = (uint16_t)v; memcpy(p, &w, 2); break; }
    case 4: { uint32_t w = (uint32_t)v; memcpy(p, &w, 4); break; }
    default: memcpy(p, &v, 8); break;
    }
}

/* Any length; nothing is written unless all of it is writable. */
void x86_read_block(struct x86_cpu *cpu, gva_t a, void *buf, unsigned len);
void x86_write_block(struct x86_cpu *cpu, gva_t a, const void *buf, unsigned len);

/* Raises what an access to [a, a+len) would raise; sets A (and D for writes). */
void x86_probe(struct x86_cpu *cpu, gva_t a, unsigned len, enum x86_access access);

/* Host pointer to [a, a+len) within one page of RAM after probing, filling the
 * TLB on a miss; NULL when it crosses a page or is not (writable) RAM. Raises
 * what the access raises. For atomic read-modify-write and vector operands. */
uint8_t *x86_host_ptr(struct x86_cpu *cpu, gva_t a, unsigned len, enum x86_access access);

/* For an atomic update where x86_host_ptr() gave NULL: the operand's bytes in host
 * memory although they cross a page or the engine wants to see stores there. They are
 * all at p[0] if `whole`; else bytes[0] of them there and the rest at p[1]. False: not
 * RAM. Raises what the access raises. x86_locked_done() after the update. */
struct x86_locked {
    uint8_t *p[2];
    gpa_t phys[2];
    unsigned bytes[2];
    bool whole;
};
bool x86_locked_ptr(struct x86_cpu *cpu, gva_t a, unsigned len, struct x86_locked *out);
void x86_locked_done(struct x86_cpu *cpu, const struct x86_locked *l);

/* ---- implicit supervisor accesses: GDT, LDT, IDT, TSS ------------------ */
uint64_t x86_read_sys(struct x86_cpu *cpu, gva_t a, unsigned size);
void x86_write_sys(struct x86_cpu *cpu, gva_t a, unsigned size, uint64_t value);
/* Host pointer to one byte of such a table after probing, for an atomic update;
 * NULL when it is not plain RAM. Raises what the access raises. */
uint8_t *x86_host_ptr_sys(struct x86_cpu *cpu, gva_t a, enum x86_access access);

/* Accesses as if at another privilege (stack pushes while changing ring). */
uint64_t x86_read_as(struct x86_cpu *cpu, bool user, gva_t a, unsigned size);
void x86_write_as(struct x86_cpu *cpu, bool user, gva_t a, unsigned size, uint64_t value);
void x86_probe_as(struct x86_cpu *cpu, bool user, gva_t a, unsigned len, enum x86_access access);

/* ---- code -------------------------------------------------------------- */

/* The page that code at `a` is fetched from: its guest-physical address and
 * its host pointer (NULL when not RAM: fetch through ops->phys_read). Raises
 * #PF with X86_PF_I as due. */
gpa_t x86_fetch_page(struct x86_cpu *cpu, gva_t a, const uint8_t **host);

/* ---- segmentation ------------------------------------------------------ */

/* seg:offset to linear for an access of `size` bytes, with limit, type and
 * canonical checks of the current mode: #SS for SS, #GP otherwise. `offset`
 * is already truncated to the address size. */
gva_t x86_linear(struct x86_cpu *cpu, enum x86_seg seg, uint64_t offset, unsigned size,
                 enum x86_access access);
bool x86_canonical(const struct x86_cpu *cpu, uint64_t a);

/* ---- translation without side effects (debugger, monitor) -------------- */

struct x86_walk_step { gpa_t entry; uint64_t value; const char *level; };
struct x86_walk {
    struct x86_walk_step step[5];
    unsigned steps;
    bool mapped, writable, user, executable;
    gpa_t phys;                  /* valid when mapped */
    uint64_t page_bytes;
};
/* Reads tables through `read64` (which returns 0 or -errno); sets no A/D bits,
 * raises nothing. Works on any engine's state. */
void x86_walk(const struct x86_state *s, gva_t a,
              int (*read64)(void *opaque, gpa_t at, uint64_t *value), void *opaque,
              struct x86_walk *out);

/* ---- TLB maintenance --------------------------------------------------- */
void x86_tlb_flush(struct x86_cpu *cpu, bool global);
void x86_tlb_flush_page(struct x86_cpu *cpu, gva_t a);
/* Drops write permission for a physical page in every entry (it now holds code). */
void x86_tlb_protect_phys(struct x86_cpu *cpu, gpa_t page);

#endif
