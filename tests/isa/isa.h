/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * isa.h - instruction tests: the bare processor is the oracle.
 *
 * The processor that runs this test has the instruction set that the guest
 * sees. So a CASE, a few instructions with registers and memory, is executed
 * twice: here, at privilege 3, by entering it through the signal frame of a
 * trap (host.c), and by an engine, as user code of a guest whose page tables
 * show the same memory at the same linear addresses (guest.c). What comes out,
 * registers, flags, vector and x87 state, memory, and the exception with its
 * error code and address, must be equal.
 *
 *   host.c      execution on the bare processor
 *   guest.c     a guest made for this, and the engines
 *   plain.c     a runner over the shared instruction functions of src/x86
 *   gen.c       random cases from a seed
 *   sequence.c  random sequences in loops: jumps, calls, returns
 *   hot.c       running those, again and again, while pages change
 *   values.c    corner-case values in registers and memory
 *   text.c      hand-written cases from cases/ (syntax there)
 *   compare.c   what has to be equal, and how a difference is shown
 *   main.c      options, loop, minimisation
 */
#ifndef RING3_TESTS_ISA_H
#define RING3_TESTS_ISA_H

#include "base/types.h"
#include "x86/decode.h"
#include "x86/state.h"

struct error;

/* ---- memory ------------------------------------------------------------ */

/* One image, in pages; regions show parts of it at fixed linear addresses.
 * Between regions nothing is mapped. All but HIGH lie below 2 GiB, so that
 * 32-bit code and 32-bit displacements reach them. */
enum isa_region_id { ISA_CODE, ISA_DATA, ISA_EDGE, ISA_CONST, ISA_STACK, ISA_HIGH, ISA_LOOP,
                     ISA_REGIONS };

struct isa_region {
    const char *name;
    uint64_t base;
    unsigned page, pages;        /* in the image */
    bool writable, executable;
};
extern const struct isa_region isa_region[ISA_REGIONS];

enum {
    ISA_CODE_BASE = 0x10000000, ISA_CODE_PAGES = 2,
    ISA_DATA_BASE = 0x20000000, ISA_DATA_PAGES = 3,
    ISA_EDGE_BASE = 0x2000f000,                     /* writable, and right behind it */
    ISA_CONST_BASE = 0x20010000,                    /* read-only, then nothing */
    ISA_STACK_BASE = 0x30000000, ISA_STACK_PAGES = 2,
    ISA_LOOP_BASE = 0x30008000,                     /* of sequences; out of their own reach */
    ISA_PAGES = 12, ISA_IMAGE_BYTES = ISA_PAGES * 4096,
};
#define ISA_HIGH_BASE 0x200000000000ull             /* 2 pages, 64-bit code only */

/* Two tables of small numbers, 16 dwords and 8 qwords, in every image. */
enum { ISA_INDICES = ISA_CONST_BASE + 0x800 };

/* What keeps a sequence going (sequence.c), as offsets in ISA_LOOP. */
enum {
    ISA_SLOT_TURNS = 0,          /* dword: turns of the loop still to come */
    ISA_SLOT_DIVERSIONS = 8,     /* dword: returns to elsewhere still to come in this turn */
    ISA_SLOT_COUNTER = 0x10,     /* dwords, of inner loops */
    ISA_SLOT_WALKER = 0x40,      /* qwords: addresses that move with every turn */
    ISA_SLOT_TARGET = 0x80,      /* qwords: where indirect jumps and calls go */
    ISA_SLOT_RANDOM = 0xc0,      /* qword: changes with every turn */
    ISA_SLOT_SUM = 0x100,        /* qwords: of what the turns left in registers and flags */
    ISA_COUNTERS = 8, ISA_WALKERS = 4, ISA_TARGETS = 4, ISA_SUMS = 4,
};

/* ---- cases and results ------------------------------------------------- */

enum isa_mode { ISA_MODE_64, ISA_MODE_32, ISA_MODE_16, ISA_MODES };
unsigned isa_mode_bits(enum isa_mode mode);

/* Selectors are Linux's; the 16-bit code segment is LDT entry 0 and covers
 * ISA_CODE, the 16-bit data and stack segments are entries 1 and 2. */
enum {
    ISA_CS64 = 0x33, ISA_CS32 = 0x23, ISA_DS = 0x2b,
    ISA_CS16 = 0x07, ISA_DS16 = 0x0f, ISA_SS16 = 0x17,
};

struct isa_registers {
    uint64_t gpr[X86_GPR_COUNT];
    uint64_t rip, rflags;
    struct x86_fpu fpu;
};

enum { ISA_INSNS_MAX = 320, ISA_CODE_MAX = 3072 };

struct isa_insn {
    uint16_t at, length;         /* in code[] */
    bool setup;                  /* goes with the one that follows */
    uint32_t undefined;          /* flags that are undefined before it */
};

struct isa_case {
    char name[96];
    enum isa_mode mode;
    struct isa_registers in;     /* rip: where code[] goes */
    uint8_t code[ISA_CODE_MAX];  /* ended by INT3 */
    unsigned code_bytes;
    struct isa_insn insn[ISA_INSNS_MAX + 1];   /* one more for the INT3 */
    unsigned insns;
    uint64_t data_seed;          /* contents of all pages but code */
    struct { uint64_t address; uint8_t bytes[64]; unsigned len; } poke[8];
    unsigned pokes;
    bool endless;                /* may loop for ever, on the processor too: that is
                                    then what `failed` says */
    bool warm;                   /* the code is what the runner ran last */
};

/* What a page of a region, other than code and loop, looks like. */
enum isa_page { ISA_PAGE_NORMAL, ISA_PAGE_ABSENT, ISA_PAGE_READ_ONLY,
                ISA_PAGE_ALIAS /* shows the first page of data */ };

struct isa_result {
    struct isa_registers out;
    uint8_t vector;              /* 3 when it ran to its end */
    uint32_t error;
    uint64_t cr2;                /* of a page fault */
    char failed[160];            /* not empty: the runner could not run it */
};

/* Something that executes cases. Each has an image of its own. */
struct isa_runner {
    const char *name;
    uint8_t *image;              /* ISA_IMAGE_BYTES; the caller fills it before run */
    uint64_t features;           /* x86_insn.isa bits it executes; 0: the processor's */
    void (*run)(struct isa_runner *r, const struct isa_case *c, struct isa_result *out);
    /* Holds until it is changed again; between runs. */
    void (*protect)(struct isa_runner *r, enum isa_region_id region, unsigned page,
                    enum isa_page what);
    void (*close)(struct isa_runner *r);
};

/* NULL, with the reason in *err, when it cannot be had here. */
struct isa_runner *isa_host_open(struct error **err);
/* `lacking`: --host-features of ring3 run, or NULL. */
struct isa_runner *isa_engine_open(const char *name, const char *lacking, struct error **err);
struct isa_runner *isa_plain_open(struct error **err);
/* What the bare processor cannot run here (16-bit code without modify_ldt). */
bool isa_host_has_mode(const struct isa_runner *r, enum isa_mode mode);

/* Fills the image for a case: data from data_seed, pokes, code. */
void isa_case_image(const struct isa_case *c, uint8_t *image);
/* The pokes alone. */
void isa_case_pokes(const struct isa_case *c, uint8_t *image);
/* Offset in the image of a linear address, or -1. */
long isa_image_offset(uint64_t address);

/* ---- the guest (guest.c), also used by plain.c ------------------------- */

struct memory;
struct x86_cpu_model;

enum { ISA_GUEST_BYTES = 4 << 20, ISA_GUEST_IMAGE = 0x100000 };
/* Handlers: the page of entry points is supervisor code; entry n is HLT. */
#define ISA_GUEST_HANDLERS 0xffff80000000d000ull

/* Writes page tables, GDT, LDT, IDT, TSS and handlers into RAM. */
void isa_guest_build(uint8_t *ram);
void isa_guest_state(const struct isa_case *c, const struct x86_cpu_model *model,
                     struct x86_state *s);
void isa_guest_protect(uint8_t *ram, enum isa_region_id region, unsigned page,
                       enum isa_page what);
/* From the state in which a handler was reached. */
void isa_guest_result(const struct x86_state *s, const uint8_t *ram, struct isa_result *out);

/* ---- generation -------------------------------------------------------- */

struct isa_gen_options {
    uint64_t seed;
    enum isa_mode mode;
    unsigned length;             /* instructions per case, at most; 0 = random 1..20 */
    const char *only;            /* mnemonic, or NULL */
    uint64_t features;           /* x86_insn.isa bits that may appear */
    bool garbage;                /* also what is no instruction */
};
void isa_generate(const struct isa_gen_options *o, uint64_t index, struct isa_case *c);
/* A sequence in a loop: sequence.c. */
void isa_sequence(const struct isa_gen_options *o, uint64_t index, struct isa_case *c);
/* Takes out what faults early. False: the processor does not come back from it. */
bool isa_sequence_settle(struct isa_case *c, struct isa_runner *host);
/* Turns still to come, in an image. */
uint32_t isa_sequence_turns(const uint8_t *image);
/* Makes an instruction a NOP. */
void isa_sequence_remove(struct isa_case *c, unsigned insn);
void isa_fill_registers(uint64_t seed, enum isa_mode mode, struct isa_registers *r);
/* Registers that a processor without these features does not have become zero. */
void isa_limit_registers(uint64_t features, struct isa_registers *r);
/* Decodes code[] into insn[], with undefined flags. -ENOEXEC when it cannot. */
int isa_case_scan(struct isa_case *c);

/* ---- pseudo-random numbers: splitmix64 --------------------------------- */

struct isa_rng { uint64_t state; };
static inline uint64_t isa_rand(struct isa_rng *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15ull);

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}
static inline unsigned isa_below(struct isa_rng *r, unsigned n)
{
    return (unsigned)((isa_rand(r) >> 32) * n >> 32);
}
static inline bool isa_chance(struct isa_rng *r, unsigned percent)
{
    return isa_below(r, 100) < percent;
}

/* ---- comparison -------------------------------------------------------- */

struct isa_compare_options {
    bool undefined;              /* flags that the architecture leaves undefined, too */
};
/* Instructions executed before the end, from where it ended. */
unsigned isa_executed(const struct isa_case *c, const struct isa_result *r);
bool isa_equal(const struct isa_case *c, const struct isa_compare_options *o,
               const struct isa_result *a, const struct isa_result *b, const uint8_t *image_a,
               const uint8_t *image_b);
/* The case, disassembled, and every difference. */
void isa_print_case(const struct isa_case *c);
void isa_print_difference(const struct isa_case *c, const struct isa_compare_options *o,
                          const struct isa_runner *ra, const struct isa_result *a,
                          const struct isa_runner *rb, const struct isa_result *b);

/* ---- sequences, repeatedly (hot.c) -------------------------------------- */

struct isa_hot_result {
    uint64_t turns;              /* of the sequence, on the processor */
    uint64_t ended[32];          /* phases, by vector */
    bool endless;                /* the processor does not come back */
    bool resumed;                /* the last phase went on after a page fault */
    unsigned phase;              /* the one that differs */
    char event[64];              /* what happened to pages in it */
    struct isa_result a, b;
    struct isa_case c;           /* as it was entered for that phase */
};
bool isa_hot_run(const struct isa_case *given, struct isa_runner *host, struct isa_runner *guest,
                 const struct isa_compare_options *o, struct isa_hot_result *out);

/* ---- hand-written cases ------------------------------------------------ */

/* Calls fn for every case of a file; 0, or -errno with a message. */
int isa_text_read(const char *path, void (*fn)(void *opaque, const struct isa_case *c),
                  void *opaque, struct error **err);

#endif
