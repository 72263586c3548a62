/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state.c - power-on, INIT and SIPI values, and a dump for people.
 *
 * Intel SDM vol. 3, table 10-1 "IA-32 and Intel 64 processor states following
 * power-up, reset, or INIT"; APM vol. 2, table 14-1 agrees where it matters.
 */
#include "x86/state.h"

#include <inttypes.h>
#include <string.h>
#include "base/strbuf.h"

enum { ATTR_DATA = X86_ATTR_P | X86_ATTR_S | 0x3, ATTR_CODE = X86_ATTR_P | X86_ATTR_S | 0xb,
       ATTR_LDT = X86_ATTR_P | 0x2, ATTR_TSS_BUSY = X86_ATTR_P | 0xb };

#define APIC_BASE_RESET 0xfee00800ull
#define APIC_BASE_BSP (1ull << 8)

/* What power-on and INIT have in common. */
static void reset_common(struct x86_state *s, bool bsp)
{
    memset(s->gpr, 0, sizeof s->gpr);
    s->gpr[X86_RDX] = 0x600;            /* family 6; x86_cpu_init knows better */
    s->rip = 0xfff0;
    s->rflags = X86_FLAG_1;
    for (unsigned i = 0; i < X86_SEG_COUNT; i++)
        s->seg[i] = (struct x86_segment){0, 0xffff, ATTR_DATA, 0};
    s->seg[X86_CS] = (struct x86_segment){0xffff0000, 0xffff, ATTR_CODE, 0xf000};
    s->ldtr = (struct x86_segment){0, 0xffff, ATTR_LDT, 0};
    s->tr = (struct x86_segment){0, 0xffff, ATTR_TSS_BUSY, 0};
    s->gdtr = s->idtr = (struct x86_table){0, 0xffff};
    s->cr2 = s->cr3 = s->cr4 = s->cr8 = 0;
    memset(s->dr, 0, sizeof s->dr);
    s->dr6 = 0xffff0ff0;
    s->dr7 = 0x400;
    s->msr.efer = 0;
    s->ev = (struct x86_events){.mp_state = bsp ? X86_MP_RUNNABLE : X86_MP_WAIT_FOR_SIPI};
}

void x86_state_power_on(struct x86_state *s, bool bsp)
{
    memset(s, 0, sizeof *s);
    reset_common(s, bsp);
    s->cr0 = X86_CR0_CD | X86_CR0_NW | X86_CR0_ET;
    s->xcr0 = X86_XCR0_X87;
    s->msr.apic_base = APIC_BASE_RESET | (bsp ? APIC_BASE_BSP : 0);
    s->msr.pat = 0x0007040600070406;
    s->msr.misc_enable = 1;             /* fast strings */
    s->msr.mcg_ctl = UINT64_MAX;
    s->msr.smbase = 0x30000;
    /* Intel shows the revision in bits 63-32, AMD in 31-0; 0 means "never updated",
     * which makes some guests complain. */
    s->msr.ucode_rev = 1ull << 32 | 0x01000065;
    s->msr.amd_hwcr = 1 << 24;          /* TscFreqSel: the TSC counts at P0 frequency */
    s->msr.amd_de_cfg = 1 << 1;         /* LFENCE is dispatch serializing */
    s->fpu.fcw = 0x0040;
    s->fpu.ftw = 0xff;                  /* all registers hold +0.0, none is empty */
    s->fpu.mxcsr = 0x1f80;
}

void x86_state_init(struct x86_state *s)
{
    uint64_t cache = s->cr0 & (X86_CR0_CD | X86_CR0_NW);
    reset_common(s, s->msr.apic_base & APIC_BASE_BSP);
    s->cr0 = cache | X86_CR0_ET;
}

void x86_state_sipi(struct x86_state *s, uint8_t vector)
{
    s->seg[X86_CS].selector = (uint16_t)(vector << 8);
    s->seg[X86_CS].base = (uint64_t)vector << 12;
    s->rip = 0;
    s->ev.mp_state = X86_MP_RUNNABLE;
}

/* ---- for people ------------------------------------------------------------ */

static const char *const gpr_names[X86_GPR_COUNT] = {
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
};
static const char *const seg_names[X86_SEG_COUNT] = {"es", "cs", "ss", "ds", "fs", "gs"};

static void print_flags(const struct x86_state *s, struct strbuf *out)
{
    static const struct { uint32_t bit; const char *name; } flag[] = {
        {X86_FLAG_ID, "id"}, {X86_FLAG_VIP, "vip"}, {X86_FLAG_VIF, "vif"}, {X86_FLAG_AC, "ac"},
        {X86_FLAG_VM, "vm"}, {X86_FLAG_RF, "rf"}, {X86_FLAG_NT, "nt"}, {X86_FLAG_OF, "of"},
        {X86_FLAG_DF, "df"}, {X86_FLAG_IF, "if"}, {X86_FLAG_TF, "tf"}, {X86_FLAG_SF, "sf"},
        {X86_FLAG_ZF, "zf"}, {X86_FLAG_AF, "af"}, {X86_FLAG_PF, "pf"}, {X86_FLAG_CF, "cf"},
    };
    strbuf_addf(out, "rip %016" PRIx64 "  rflags %08" PRIx64 " [", s->rip, s->rflags);
    for (unsigned i = 0, n = 0; i < ARRAY_SIZE(flag); i++)
        if (s->rflags & flag[i].bit)
            strbuf_addf(out, "%s%s", n++ ? " " : "", flag[i].name);
    strbuf_addf(out, "]  iopl %u  cpl %u\n", (unsigned)(s->rflags & X86_FLAG_IOPL) >> 12,
                s->cr0 & X86_CR0_PE ? x86_state_cpl(s) : 0);
}

static void print_segment(const char *name, const struct x86_segment *seg, struct strbuf *out)
{
    strbuf_addf(out, "%-4s %04x  base %016" PRIx64 "  limit %08x  attr %05x", name,
                seg->selector, seg->base, seg->limit, seg->attr);
    if (seg->attr & X86_ATTR_UNUSABLE)
        strbuf_addf(out, "  unusable");
    else if (seg->attr & X86_ATTR_S)
        strbuf_addf(out, "  %s %s dpl %u", seg->attr & 8 ? "code" : "data",
                    seg->attr & X86_ATTR_L ? "64" : seg->attr & X86_ATTR_DB ? "32" : "16",
                    (seg->attr & X86_ATTR_DPL) >> X86_ATTR_DPL_SHIFT);
    strbuf_addf(out, "\n");
}

static void print_events(const struct x86_events *ev, struct strbuf *out)
{
    static const char *const mp[] = {"runnable", "halted", "waiting for SIPI", "INIT"};
    strbuf_addf(out, "cpu  %s", ev->mp_state < ARRAY_SIZE(mp) ? mp[ev->mp_state] : "?");
    if (ev->exception_valid)
        strbuf_addf(out, ", exception %u pending (error %x)", ev->exception_vector,
                    ev->exception_error);
    if (ev->interrupt_valid)
        strbuf_addf(out, ", interrupt %02x accepted", ev->interrupt_vector);
    strbuf_addf(out, "%s%s%s%s%s\n", ev->nmi_pending ? ", NMI pending" : "",
                ev->nmi_masked ? ", NMI masked" : "", ev->shadow_sti ? ", STI shadow" : "",
                ev->shadow_mov_ss ? ", MOV SS shadow" : "", ev->smm ? ", SMM" : "");
}

void x86_state_print(const struct x86_state *s, struct strbuf *out)
{
    for (unsigned i = 0; i < X86_GPR_COUNT; i++)
        strbuf_addf(out, "%-3s %016" PRIx64 "%s", gpr_names[i], s->gpr[i],
                    i % 4 == 3 ? "\n" : "  ");
    print_flags(s, out);
    for (unsigned i = 0; i < X86_SEG_COUNT; i++)
        print_segment(seg_names[i], &s->seg[i], out);
    print_segment("ldtr", &s->ldtr, out);
    print_segment("tr", &s->tr, out);
    strbuf_addf(out, "gdtr %016" PRIx64 "/%04x  idtr %016" PRIx64 "/%04x\n", s->gdtr.base,
                s->gdtr.limit, s->idtr.base, s->idtr.limit);
    strbuf_addf(out, "cr0 %08" PRIx64 "  cr2 %016" PRIx64 "  cr3 %016" PRIx64 "  cr4 %08" PRIx64
                "  cr8 %" PRIx64 "\n", s->cr0, s->cr2, s->cr3, s->cr4, s->cr8);
    strbuf_addf(out, "dr0 %" PRIx64 "  dr1 %" PRIx64 "  dr2 %" PRIx64 "  dr3 %" PRIx64
                "  dr6 %08" PRIx64 "  dr7 %08" PRIx64 "\n", s->dr[0], s->dr[1], s->dr[2],
                s->dr[3], s->dr6, s->dr7);
    const struct x86_msrs *m = &s->msr;
    strbuf_addf(out, "efer %04" PRIx64 "  star %016" PRIx64 "  lstar %016" PRIx64 "  fmask %"
                PRIx64 "\n", m->efer, m->star, m->lstar, m->fmask);
    strbuf_addf(out, "kernel_gs_base %016" PRIx64 "  apic_base %" PRIx64 "  pat %016" PRIx64
                "  tsc %" PRIu64 "\n", m->kernel_gs_base, m->apic_base, m->pat, s->tsc);
    strbuf_addf(out, "xcr0 %" PRIx64 "  mxcsr %04x  fcw %04x  fsw %04x  ftw %02x\n", s->xcr0,
                s->fpu.mxcsr, s->fpu.fcw, s->fpu.fsw, s->fpu.ftw);
    print_events(&s->ev, out);
}
