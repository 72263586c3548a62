/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * examine.c - `x` and `xp`: memory in the format one asks for.
 *
 * The request is GDB's: a count, a format letter and a unit letter after the
 * slash, each optional and in any order.
 */
#include "control/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/byteorder.h"
#include "base/strbuf.h"
#include "machine/machine.h"
#include "memory/memory.h"
#include "x86/decode.h"

enum { COUNT_MAX = 4096, LINE_BYTES = 16, STRING_MAX = 256 };

struct request {
    struct machine *machine;
    struct x86_state state;      /* of vCPU 0: paging, and $registers */
    bool physical;
    unsigned count;
    char format;
    unsigned size;               /* bytes per item */
    uint64_t at;
    struct strbuf *out;
};

static const struct {
    const char *name;
    size_t offset;
} registers[] = {
#define GPR(name, index) {name, offsetof(struct x86_state, gpr) + 8 * (index)}
    GPR("rax", X86_RAX), GPR("rcx", X86_RCX), GPR("rdx", X86_RDX), GPR("rbx", X86_RBX),
    GPR("rsp", X86_RSP), GPR("rbp", X86_RBP), GPR("rsi", X86_RSI), GPR("rdi", X86_RDI),
    GPR("r8", X86_R8), GPR("r9", X86_R9), GPR("r10", X86_R10), GPR("r11", X86_R11),
    GPR("r12", X86_R12), GPR("r13", X86_R13), GPR("r14", X86_R14), GPR("r15", X86_R15),
#undef GPR
    {"rip", offsetof(struct x86_state, rip)}, {"pc", offsetof(struct x86_state, rip)},
    {"cr2", offsetof(struct x86_state, cr2)}, {"cr3", offsetof(struct x86_state, cr3)},
};

static bool parse_register(const char *name, size_t len, const struct x86_state *s, uint64_t *v)
{
    for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
        if (strlen(registers[i].name) != len || memcmp(registers[i].name, name, len) != 0)
            continue;
        memcpy(v, (const char *)s + registers[i].offset, sizeof *v);
        return true;
    }
    return false;
}

/* TERM {(+|-) TERM}; TERM is a number or $register. RIP counts from the base
 * of CS, which matters in real mode: $rip is the linear address. */
int command_address(const char *text, const struct x86_state *s, uint64_t *result)
{
    uint64_t sum = 0;
    bool minus = false;

    for (const char *at = text;; at++) {
        uint64_t v;
        size_t len = strcspn(at, "+-");
        if (*at == '$') {
            if (!parse_register(at + 1, len - 1, s, &v))
                return -EINVAL;
            if (len == 4 && memcmp(at, "$rip", 4) == 0)
                v += s->seg[X86_CS].base;
        } else {
            char *end;
            if (*at < '0' || *at > '9')
                return -EINVAL;
            v = strtoull(at, &end, at[0] == '0' && (at[1] | 32) == 'x' ? 16 : 10);
            if (end != at + len)
                return -EINVAL;
        }
        sum += minus ? -v : v;
        at += len;
        if (!*at)
            break;
        minus = *at == '-';
    }
    *result = sum;
    return 0;
}

/* "/16xb" */
static int parse_format(const char *text, struct request *q)
{
    uint64_t count = 0;
    bool counted = false;

    for (const char *c = text; *c; c++) {
        if (*c >= '0' && *c <= '9') {
            count = count * 10 + (uint64_t)(*c - '0');
            counted = true;
            if (count > COUNT_MAX)
                return command_refuse(q->out, "%s: at most %d items", text, COUNT_MAX);
        } else if (strchr("xduocsi", *c)) {
            q->format = *c;
        } else if (strchr("bhwg", *c)) {
            q->size = *c == 'b' ? 1 : *c == 'h' ? 2 : *c == 'w' ? 4 : 8;
        } else {
            return command_refuse(q->out, "format '%c': there are x d u o c s i, and the units "
                                  "b h w g", *c);
        }
    }
    if (counted)
        q->count = (unsigned)count;
    if (!q->size)
        q->size = q->format == 'c' ? 1 : 4;
    return 0;
}

/* How many of the bytes at `a` are there. */
static size_t fetch(struct request *q, uint64_t a, void *buf, size_t len)
{
    struct memory *memory = machine_memory(q->machine);
    size_t n = 0;

    if (!q->physical)
        return machine_read_virtual(q->machine, &q->state, gva(a), buf, len);
    while (n < len && memory_read(memory, gpa(a + n), (uint8_t *)buf + n, 1) == 0)
        n++;
    return n;
}

static int unreadable(struct request *q, uint64_t a)
{
    strbuf_addf(q->out, "there is no %s memory at 0x%" PRIx64 "\n",
                q->physical ? "physical" : "mapped", a);
    return -EFAULT;
}

static unsigned code_bits(const struct x86_state *s)
{
    uint32_t attr = s->seg[X86_CS].attr;

    if (s->msr.efer & X86_EFER_LMA && attr & X86_ATTR_L)
        return 64;
    return s->cr0 & X86_CR0_PE && !(s->rflags & X86_FLAG_VM) && attr & X86_ATTR_DB ? 32 : 16;
}

static int print_code(struct request *q)
{
    uint8_t bytes[X86_INSN_MAX_BYTES];
    char text[128];

    for (unsigned i = 0; i < q->count; i++) {
        size_t n = fetch(q, q->at, bytes, sizeof bytes);
        if (!n)
            return unreadable(q, q->at);
        unsigned len = x86_disassemble(bytes, n, code_bits(&q->state), q->at, text, sizeof text);
        strbuf_addf(q->out, "0x%016" PRIx64 ":  %s\n", q->at, text);
        q->at += len;
    }
    return 0;
}

static void print_char(struct strbuf *out, uint8_t c)
{
    if (c >= ' ' && c < 0x7f && c != '\\' && c != '"')
        strbuf_addf(out, "%c", c);
    else
        strbuf_addf(out, "\\x%02x", c);
}

static int print_strings(struct request *q)
{
    for (unsigned i = 0; i < q->count; i++) {
        uint8_t text[STRING_MAX];
        size_t n = fetch(q, q->at, text, sizeof text);
        if (!n)
            return unreadable(q, q->at);
        size_t len = strnlen((char *)text, n);
        strbuf_addf(q->out, "0x%016" PRIx64 ":  \"", q->at);
        for (size_t j = 0; j < len; j++)
            print_char(q->out, text[j]);
        strbuf_addf(q->out, "\"%s\n", len == n ? "..." : "");
        q->at += len == n ? len : len + 1;
    }
    return 0;
}

static void print_item(struct request *q, const uint8_t *p)
{
    uint8_t bytes[8] = {0};
    unsigned bits = 8 * q->size;

    memcpy(bytes, p, q->size);
    uint64_t v = get_le64(bytes);
    int64_t sv = (int64_t)(v << (64 - bits)) >> (64 - bits);
    switch (q->format) {
    case 'x': strbuf_addf(q->out, " 0x%0*" PRIx64, (int)(2 * q->size), v); break;
    case 'd': strbuf_addf(q->out, " %" PRId64, sv); break;
    case 'u': strbuf_addf(q->out, " %" PRIu64, v); break;
    case 'o': strbuf_addf(q->out, " 0%" PRIo64, v); break;
    default:
        strbuf_addf(q->out, " '");
        print_char(q->out, (uint8_t)v);
        strbuf_addf(q->out, "'");
    }
}

static int print_numbers(struct request *q)
{
    unsigned per_line = LINE_BYTES / q->size;

    for (unsigned i = 0; i < q->count; i++) {
        uint8_t item[8];
        if (fetch(q, q->at, item, q->size) < q->size) {
            if (i % per_line)
                strbuf_addf(q->out, "\n");
            return unreadable(q, q->at);
        }
        if (i % per_line == 0)
            strbuf_addf(q->out, "%s0x%016" PRIx64 ": ", i ? "\n" : "", q->at);
        print_item(q, item);
        q->at += q->size;
    }
    if (q->count)
        strbuf_addf(q->out, "\n");
    return 0;
}

int command_examine(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    struct request q = {.machine = m, .physical = strcmp(argv[0], "xp") == 0, .count = 1,
                        .format = 'x', .out = out};
    const char *format = argc > 1 && argv[1][0] == '/' ? argv[1] + 1 : "";
    int first = *format ? 2 : 1;

    if (parse_format(format, &q) < 0)
        return -EINVAL;
    if (argc != first + 1)
        return command_refuse(out, "usage: %s [/NFU] ADDRESS, for example %s /16i $rip", argv[0],
                              argv[0]);
    int r = machine_vcpu_state(m, 0, &q.state);
    if (r < 0)
        return command_refuse(out, "cannot read the registers: %s", strerror(-r));
    if (command_address(argv[first], &q.state, &q.at) < 0)
        return command_refuse(out, "'%s' is not an address; write 0x1234, $rip or $rsp+8",
                              argv[first]);
    if (q.format == 'i')
        return print_code(&q);
    if (q.format == 's')
        return print_strings(&q);
    return print_numbers(&q);
}
