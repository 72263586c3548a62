/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gdb_regs.c - registers in GDB's order and in its description (gdb/features/i386). */
#include "control/gdb.h"

#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "x86/state.h"

struct reg {
    const char *name, *type;
    uint16_t offset;             /* in struct x86_state */
    uint8_t stored, shown;       /* bytes; the rest reads as 0 */
    const char *feature;         /* the first of a group says which */
};

#define AT(field) offsetof(struct x86_state, field)
#define GPR(name, index) {name, "int64", AT(gpr) + 8 * (index), 8, 8}
#define SEG(name, index) {name, "int32", AT(seg) + sizeof(struct x86_segment) * (index) + \
                          offsetof(struct x86_segment, selector), 2, 4}
#define ST(n) {"st" #n, "i387_ext", AT(fpu.st) + 16 * (n), 10, 10}
#define FPU(name, field, bytes) {name, "int32", AT(fpu.field), bytes, 4}
#define XMM(n) {"xmm" #n, "vec128", AT(fpu.vec) + 64 * (n), 16, 16}
#define YMMH(n) {"ymm" #n "h", "uint128", AT(fpu.vec) + 64 * (n) + 16, 16, 16}
#define SYSTEM(name, field) {name, "int64", AT(field), 8, 8}

enum { TAG_WORD = 34 };          /* `ftag`: made of the abridged one */

static const struct reg regs[] = {
    {"rax", "int64", AT(gpr), 8, 8, "org.gnu.gdb.i386.core"},
    GPR("rbx", X86_RBX), GPR("rcx", X86_RCX), GPR("rdx", X86_RDX), GPR("rsi", X86_RSI),
    GPR("rdi", X86_RDI), {"rbp", "data_ptr", AT(gpr) + 8 * X86_RBP, 8, 8},
    {"rsp", "data_ptr", AT(gpr) + 8 * X86_RSP, 8, 8}, GPR("r8", X86_R8), GPR("r9", X86_R9),
    GPR("r10", X86_R10), GPR("r11", X86_R11), GPR("r12", X86_R12), GPR("r13", X86_R13),
    GPR("r14", X86_R14), GPR("r15", X86_R15), {"rip", "code_ptr", AT(rip), 8, 8},
    {"eflags", "i386_eflags", AT(rflags), 4, 4},
    SEG("cs", X86_CS), SEG("ss", X86_SS), SEG("ds", X86_DS), SEG("es", X86_ES),
    SEG("fs", X86_FS), SEG("gs", X86_GS),
    ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7),
    FPU("fctrl", fcw, 2), FPU("fstat", fsw, 2), FPU("ftag", ftw, 1), FPU("fiseg", fcs, 2),
    FPU("fioff", fip, 4), FPU("foseg", fds, 2), FPU("fooff", fdp, 4), FPU("fop", fop, 2),
    {"xmm0", "vec128", AT(fpu.vec), 16, 16, "org.gnu.gdb.i386.sse"},
    XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7), XMM(8), XMM(9), XMM(10), XMM(11),
    XMM(12), XMM(13), XMM(14), XMM(15), FPU("mxcsr", mxcsr, 4),
    {"ymm0h", "uint128", AT(fpu.vec) + 16, 16, 16, "org.gnu.gdb.i386.avx"},
    YMMH(1), YMMH(2), YMMH(3), YMMH(4), YMMH(5), YMMH(6), YMMH(7), YMMH(8), YMMH(9), YMMH(10),
    YMMH(11), YMMH(12), YMMH(13), YMMH(14), YMMH(15),
    {"fs_base", "int64", AT(seg) + sizeof(struct x86_segment) * X86_FS +
                offsetof(struct x86_segment, base), 8, 8, "org.gnu.gdb.i386.segments"},
    {"gs_base", "int64", AT(seg) + sizeof(struct x86_segment) * X86_GS +
                offsetof(struct x86_segment, base), 8, 8},
    {"k_gs_base", "int64", AT(msr.kernel_gs_base), 8, 8, "org.ring3.system"},
    SYSTEM("cr0", cr0), SYSTEM("cr2", cr2), SYSTEM("cr3", cr3), SYSTEM("cr4", cr4),
    SYSTEM("cr8", cr8), SYSTEM("efer", msr.efer),
};

unsigned gdb_regs_count(void)
{
    return ARRAY_SIZE(regs);
}

static const char types[] =
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
    "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
    "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
    "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
    "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>"
    "<field name=\"v2_double\" type=\"v2d\"/><field name=\"v16_int8\" type=\"v16i8\"/>"
    "<field name=\"v8_int16\" type=\"v8i16\"/><field name=\"v4_int32\" type=\"v4i32\"/>"
    "<field name=\"v2_int64\" type=\"v2i64\"/><field name=\"uint128\" type=\"uint128\"/></union>";

static const char flag_type[] =
    "<flags id=\"i386_eflags\" size=\"4\"><field name=\"CF\" start=\"0\" end=\"0\"/>"
    "<field name=\"\" start=\"1\" end=\"1\"/><field name=\"PF\" start=\"2\" end=\"2\"/>"
    "<field name=\"AF\" start=\"4\" end=\"4\"/><field name=\"ZF\" start=\"6\" end=\"6\"/>"
    "<field name=\"SF\" start=\"7\" end=\"7\"/><field name=\"TF\" start=\"8\" end=\"8\"/>"
    "<field name=\"IF\" start=\"9\" end=\"9\"/><field name=\"DF\" start=\"10\" end=\"10\"/>"
    "<field name=\"OF\" start=\"11\" end=\"11\"/><field name=\"NT\" start=\"14\" end=\"14\"/>"
    "<field name=\"RF\" start=\"16\" end=\"16\"/><field name=\"VM\" start=\"17\" end=\"17\"/>"
    "<field name=\"AC\" start=\"18\" end=\"18\"/><field name=\"ID\" start=\"21\" end=\"21\"/>"
    "</flags>";

void gdb_regs_describe(struct strbuf *xml)
{
    strbuf_addf(xml, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
                     "<architecture>i386:x86-64</architecture>");
    for (unsigned n = 0; n < ARRAY_SIZE(regs); n++) {
        const struct reg *r = &regs[n];

        if (r->feature)
            strbuf_addf(xml, "%s<feature name=\"%s\">%s", n ? "</feature>" : "", r->feature,
                        !n ? flag_type : !strcmp(r->type, "vec128") ? types : "");
        strbuf_addf(xml, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%u\"/>", r->name,
                    r->shown * 8, r->type, n);
    }
    strbuf_addf(xml, "</feature></target>");
}

/* Two bits a register, in physical order: valid (not told apart from zero) or empty. */
static void whole_tags(uint8_t abridged, uint8_t out[4])
{
    unsigned tags = 0;

    for (unsigned i = 0; i < 8; i++)
        tags |= abridged >> i & 1 ? 0 : 3u << 2 * i;
    out[0] = (uint8_t)tags;
    out[1] = (uint8_t)(tags >> 8);
}

void gdb_reg_read(const struct x86_state *s, unsigned n, struct strbuf *hex)
{
    const struct reg *r = &regs[n];
    uint8_t bytes[16] = {0};

    memcpy(bytes, (const char *)s + r->offset, r->stored);
    if (n == TAG_WORD)
        whole_tags(s->fpu.ftw, bytes);
    for (unsigned i = 0; i < r->shown; i++)
        strbuf_addf(hex, "%02x", bytes[i]);
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool gdb_reg_write(struct x86_state *s, unsigned n, const char **hex)
{
    const struct reg *r = &regs[n];
    uint8_t bytes[16];

    for (unsigned i = 0; i < r->shown; i++, *hex += 2) {
        int high = digit((*hex)[0]), low = high < 0 ? -1 : digit((*hex)[1]);

        if (low < 0)
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    if (n == TAG_WORD) {
        for (unsigned i = 0; i < 8; i++) {
            bool empty = (bytes[i / 4] >> i % 4 * 2 & 3) == 3;

            s->fpu.ftw = (uint8_t)((s->fpu.ftw & ~(1u << i)) | (unsigned)!empty << i);
        }
        return true;
    }
    memcpy((char *)s + r->offset, bytes, r->stored);
    return true;
}
