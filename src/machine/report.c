/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * report.c - what a person wants to see when a guest has died.
 *
 * Everything is read without side effects and may be missing: the state of the
 * processor is as the guest left it, which is the reason for the report.
 */
#include "machine/impl.h"

#include <inttypes.h>

#include "base/strbuf.h"
#include "x86/cpu.h"
#include "x86/decode.h"

enum { CHAIN_MAX = 8, DISASSEMBLY_LINES = 8 };

static const char *const vector_names[32] = {
    "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "CSO", "#TS", "#NP", "#SS",
    "#GP", "#PF", "15", "#MF", "#AC", "#MC", "#XM", "#VE", "#CP",
};

static void add_chain(struct engine_vcpu *e, struct strbuf *out)
{
    struct x86_exception chain[CHAIN_MAX];
    uint64_t rips[CHAIN_MAX];
    unsigned n = e->ops->fault_chain ? e->ops->fault_chain(e, chain, rips, CHAIN_MAX) : 0;

    if (!n)
        return;
    strbuf_addf(out, "exceptions, oldest first:\n");
    for (unsigned i = 0; i < n; i++) {
        const struct x86_exception *x = &chain[i];
        const char *name = x->vector < 32 ? vector_names[x->vector] : NULL;

        if (name)
            strbuf_addf(out, "  %s", name);
        else
            strbuf_addf(out, "  vector %u", x->vector);
        strbuf_addf(out, " at rip %016" PRIx64, rips[i]);
        if (x->has_error)
            strbuf_addf(out, ", error code %#x", x->error);
        if (x->vector == X86_PF)
            strbuf_addf(out, ", address %016" PRIx64, x->cr2);
        strbuf_addf(out, "\n");
    }
}

static unsigned code_bits(const struct x86_state *s)
{
    uint32_t attr = s->seg[X86_CS].attr;

    if ((s->msr.efer & X86_EFER_LMA) && (attr & X86_ATTR_L))
        return 64;
    return (s->cr0 & X86_CR0_PE) && !(s->rflags & X86_FLAG_VM) && (attr & X86_ATTR_DB) ? 32 : 16;
}

static void add_code(struct machine *m, const struct x86_state *s, struct strbuf *out)
{
    unsigned bits = code_bits(s);
    uint64_t base = bits == 64 ? 0 : s->seg[X86_CS].base, at = s->rip;

    strbuf_addf(out, "code:\n");
    for (unsigned line = 0; line < DISASSEMBLY_LINES; line++) {
        uint8_t bytes[X86_INSN_MAX_BYTES];
        char text[128];
        size_t have = machine_read_virtual(m, s, gva(base + at), bytes, sizeof bytes);
        unsigned len;

        if (!have) {
            strbuf_addf(out, "  %016" PRIx64 "  (no memory there)\n", at);
            break;
        }
        len = x86_disassemble(bytes, have, bits, at, text, sizeof text);
        strbuf_addf(out, "%s %016" PRIx64 "  %s\n", line ? " " : ">", at, text);
        at += len;
    }
}

void machine_fault_report(struct machine *m, unsigned vcpu, struct strbuf *out)
{
    struct x86_state s;
    int rc = machine_vcpu_state(m, vcpu, &s);

    if (rc) {
        strbuf_addf(out, "vCPU %u: the engine does not tell its state\n", vcpu);
        return;
    }
    strbuf_addf(out, "vCPU %u:\n", vcpu);
    x86_state_print(&s, out);
    add_chain(m->vcpu[vcpu].engine, out);
    add_code(m, &s, out);
}
