/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host.c - a case on the bare processor.
 *
 * A trap of ours (INT3 in enter()) brings us into a signal handler, which
 * saves the frame, replaces it by the case's registers and returns: the kernel
 * loads every register, CS and the XSAVE state included, and the case runs. It
 * ends with an exception, so with another signal, whose frame is the result;
 * the handler puts our own frame back. No register is ever loaded by hand, and
 * 32- and 16-bit code is entered like 64-bit code.
 *
 * The signal frame is the kernel's x86-64 one: XSAVE image in standard form
 * behind uc_mcontext.fpregs (Linux, asm/sigcontext.h). The thread's FS base is
 * libc's: cases must not use FS.
 *
 * Process-wide by nature (signals, fixed addresses): one at a time.
 */
#include "isa.h"

#include <asm/ldt.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>
#include "base/bug.h"
#include "base/error.h"
#include "x86/xsave.h"

#ifndef UC_STRICT_RESTORE_SS
#define UC_SIGCONTEXT_SS 2
#define UC_STRICT_RESTORE_SS 4
#endif

enum { STACK_BYTES = 128 << 10, XSTATE_BYTES = 8192, TICK_US = 100000, WATCHDOG_TICKS = 200, ENDLESS_TICKS = 5 };

/* struct _fpx_sw_bytes at the end of the FXSAVE region. */
struct sw_bytes {
    uint32_t magic1, extended_size;
    uint64_t xfeatures;
    uint32_t xstate_size, padding[7];
};

struct host {
    struct isa_runner runner;
    bool ldt;
    uint16_t data_selector;                        /* now in DS and ES */
    uint64_t components;
    enum { IDLE, ENTERING, RUNNING } phase;
    const struct isa_case *current;
    struct isa_result *result;
    /* The frame of host_run(), while a case runs. */
    mcontext_t saved;
    unsigned long saved_flags;
    uint8_t saved_fpu[XSTATE_BYTES];
    void *stack;
    struct sigaction old[8], old_alarm;
    uint64_t runs, runs_seen;                      /* for the watchdog, */
    unsigned ticks;                                /* and how often it saw this one */
    int image_fd;
};

static const int signals[] = {SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

/* The handler has no other way to find its host. */
static struct host *the_host;

/* ---- frames ------------------------------------------------------------ */

static const int gpr_index[X86_GPR_COUNT] = {
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
    REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

static uint32_t xstate_bytes(const uint8_t *fpu)
{
    struct sw_bytes sw;

    memcpy(&sw, fpu + 464, sizeof sw);
    return sw.xstate_size;
}

static void set_selectors(mcontext_t *m, uint16_t cs, uint16_t ss)
{
    uint64_t v = (uint64_t)m->gregs[REG_CSGSFS];

    v &= 0x0000ffffffff0000ull;
    v |= cs | (uint64_t)ss << 48;
    m->gregs[REG_CSGSFS] = (greg_t)v;
}

/* Puts the case's registers into the frame. */
static void load_case(struct host *h, ucontext_t *uc)
{
    const struct isa_case *c = h->current;
    mcontext_t *m = &uc->uc_mcontext;
    uint8_t *fpu = (uint8_t *)m->fpregs;
    uint8_t image[X86_XSAVE_MAX_BYTES];

    for (unsigned i = 0; i < X86_GPR_COUNT; i++)
        m->gregs[gpr_index[i]] = (greg_t)c->in.gpr[i];
    m->gregs[REG_RIP] = (greg_t)c->in.rip;
    m->gregs[REG_EFL] = (greg_t)c->in.rflags;
    if (c->mode == ISA_MODE_64)
        set_selectors(m, ISA_CS64, ISA_DS);
    else if (c->mode == ISA_MODE_32)
        set_selectors(m, ISA_CS32, ISA_DS);
    else
        set_selectors(m, ISA_CS16, ISA_SS16);
    uc->uc_flags |= UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
    x86_fpu_to_xsave(&c->in.fpu, h->components, image);
    memcpy(fpu, image, 464);                       /* up to the kernel's own bytes */
    memcpy(fpu + 512, image + 512, xstate_bytes(fpu) - 512);
}

static void store_result(struct host *h, const ucontext_t *uc)
{
    const mcontext_t *m = &uc->uc_mcontext;
    struct isa_result *r = h->result;
    uint8_t image[X86_XSAVE_MAX_BYTES] = {0};

    for (unsigned i = 0; i < X86_GPR_COUNT; i++)
        r->out.gpr[i] = (uint64_t)m->gregs[gpr_index[i]];
    r->out.rip = (uint64_t)m->gregs[REG_RIP];
    r->out.rflags = (uint64_t)m->gregs[REG_EFL];
    r->vector = (uint8_t)m->gregs[REG_TRAPNO];
    r->error = (uint32_t)m->gregs[REG_ERR];
    r->cr2 = (uint64_t)m->gregs[REG_CR2];
    memcpy(image, m->fpregs, xstate_bytes((const uint8_t *)m->fpregs));
    memset(image + 464, 0, 48);
    if (x86_fpu_from_xsave(&r->out.fpu, h->components, image) < 0)
        strcpy(r->failed, "the kernel's XSAVE image is not one");
}

/* Out of the case, back into host_run(). */
static void leave_case(struct host *h, ucontext_t *uc)
{
    uint8_t *fpu = (uint8_t *)uc->uc_mcontext.fpregs;

    h->phase = IDLE;
    store_result(h, uc);
    memcpy(fpu, h->saved_fpu, xstate_bytes(fpu));
    memcpy(uc->uc_mcontext.gregs, h->saved.gregs, sizeof h->saved.gregs);
    uc->uc_flags = h->saved_flags;
}

/* A case may have set AC, which the kernel leaves on for handlers. */
static inline void alignment_unchecked(void)
{
    __asm__ volatile("sub $128, %%rsp\n\tpushf\n\tandq %0, (%%rsp)\n\tpopf\n\tadd $128, %%rsp"
                     : : "i"(~X86_FLAG_AC) : "cc", "memory");
}

static void handler(int signo, siginfo_t *info, void *context)
{
    struct host *h = the_host;
    ucontext_t *uc = context;
    uint8_t *fpu = (uint8_t *)uc->uc_mcontext.fpregs;

    alignment_unchecked();
    if (!h || h->phase == IDLE) {
        signal(signo, SIG_DFL);                    /* a fault of the test itself */
    } else if (h->phase == ENTERING) {
        h->phase = RUNNING;
        h->saved = uc->uc_mcontext;
        h->saved_flags = uc->uc_flags;
        memcpy(h->saved_fpu, fpu, xstate_bytes(fpu));
        load_case(h, uc);
    } else {
        leave_case(h, uc);
    }
}

/* Nothing else ends a case that loops for ever on the processor. */
static void watchdog(int signo, siginfo_t *info, void *context)
{
    struct host *h = the_host;
    static const char text[] = "the processor does not come back from this case: ";

    alignment_unchecked();
    if (!h || h->phase != RUNNING)
        return;
    if (h->runs != h->runs_seen) {
        h->runs_seen = h->runs;
        h->ticks = 0;
        return;
    }
    h->ticks++;
    if (h->current->endless && h->ticks >= ENDLESS_TICKS) {
        strcpy(h->result->failed, "does not come back");
        leave_case(h, context);
        return;
    }
    if (h->ticks < WATCHDOG_TICKS)
        return;
    if (write(1, text, sizeof text - 1) < 0 ||
        write(1, h->current->name, strlen(h->current->name)) < 0 || write(1, "\n", 1) < 0)
        _exit(2);
    _exit(1);
}

/* The signal frame does not hold DS and ES. 64-bit code ignores them. */
static void set_data_selector(struct host *h, uint16_t selector)
{
    if (h->data_selector != selector)
        __asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(selector));
    h->data_selector = selector;
}

static void host_run(struct isa_runner *r, const struct isa_case *c, struct isa_result *out)
{
    struct host *h = (struct host *)r;

    memset(out, 0, sizeof *out);
    set_data_selector(h, c->mode == ISA_MODE_16 ? ISA_DS16 : ISA_DS);
    h->result = out;
    h->current = c;
    h->runs++;
    h->phase = ENTERING;
    /* Returning from a signal leaves NT and ID as they are; code that ran before may have
     * set them. */
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\tandq %0, (%%rsp)\n\tpopfq\n\t"
                     "lea 128(%%rsp), %%rsp" : : "i"(~(X86_FLAG_NT | X86_FLAG_ID))
                     : "memory", "cc");
    __asm__ volatile("int3" : : : "memory");
}

/* ---- set-up ------------------------------------------------------------ */

bool isa_host_has_mode(const struct isa_runner *r, enum isa_mode mode)
{
    return mode != ISA_MODE_16 || ((const struct host *)r)->ldt;
}

/* 16-bit code, data and stack over the regions, as guest.c's LDT has them. */
static bool set_ldt(void)
{
    static const struct { uint32_t base; bool code; } want[] = {
        {ISA_CODE_BASE, true}, {ISA_DATA_BASE, false}, {ISA_STACK_BASE, false},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
        struct user_desc d = {.entry_number = i, .base_addr = want[i].base, .limit = 0xffff,
                              .contents = want[i].code ? MODIFY_LDT_CONTENTS_CODE
                                                       : MODIFY_LDT_CONTENTS_DATA};

        if (syscall(SYS_modify_ldt, 0x11, &d, sizeof d) != 0)
            return false;
    }
    return true;
}

static int map_image(struct host *h, struct error **err)
{
    int fd = memfd_create("isa-image", MFD_CLOEXEC), r = 0;

    if (fd < 0 || ftruncate(fd, ISA_IMAGE_BYTES) < 0)
        return error_set(err, errno, "cannot create the image: %s", strerror(errno));
    h->runner.image = mmap(NULL, ISA_IMAGE_BYTES, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_POPULATE, fd, 0);
    for (unsigned i = 0; i < ISA_REGIONS && !r; i++) {
        const struct isa_region *g = &isa_region[i];
        int prot = PROT_READ | (g->writable ? PROT_WRITE : 0) | (g->executable ? PROT_EXEC : 0);
        void *want = (void *)(uintptr_t)g->base;

        if (mmap(want, g->pages * PAGE_SIZE, prot,
                 MAP_SHARED | MAP_POPULATE | MAP_FIXED_NOREPLACE, fd,
                 (off_t)g->page * PAGE_SIZE) != want)
            r = error_set(err, errno, "cannot map %s at %#llx: %s", g->name,
                          (unsigned long long)g->base, strerror(errno));
    }
    h->image_fd = fd;
    return r;
}

static void host_protect(struct isa_runner *r, enum isa_region_id region, unsigned page,
                         enum isa_page what)
{
    const struct isa_region *g = &isa_region[region];
    unsigned shown = what == ISA_PAGE_ALIAS ? isa_region[ISA_DATA].page : g->page + page;
    int prot = what == ISA_PAGE_ABSENT ? PROT_NONE : PROT_READ;
    void *at = (void *)(uintptr_t)(g->base + page * PAGE_SIZE);

    if (g->writable && (what == ISA_PAGE_NORMAL || what == ISA_PAGE_ALIAS))
        prot |= PROT_WRITE;
    BUG_ON(mmap(at, PAGE_SIZE, prot, MAP_SHARED | MAP_POPULATE | MAP_FIXED,
                ((struct host *)r)->image_fd, (off_t)shown * PAGE_SIZE) != at);
}

static void host_close(struct isa_runner *r)
{
    struct host *h = (struct host *)r;

    for (unsigned i = 0; i < ARRAY_SIZE(signals); i++)
        sigaction(signals[i], &h->old[i], NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    sigaction(SIGALRM, &h->old_alarm, NULL);
    the_host = NULL;
    for (unsigned i = 0; i < ISA_REGIONS; i++)
        munmap((void *)(uintptr_t)isa_region[i].base, isa_region[i].pages * PAGE_SIZE);
    munmap(h->runner.image, ISA_IMAGE_BYTES);
    munmap(h->stack, STACK_BYTES);
    close(h->image_fd);
    free(h);
}

static uint64_t xcr0(void)
{
    uint32_t a, d;

    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return a | (uint64_t)d << 32;
}

struct isa_runner *isa_host_open(struct error **err)
{
    struct host *h = calloc(1, sizeof *h);
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    stack_t stack = {.ss_size = STACK_BYTES};

    if (!h) {
        error_set(err, ENOMEM, "out of memory");
        return NULL;
    }
    h->runner = (struct isa_runner){.name = "processor", .run = host_run,
                                     .protect = host_protect, .close = host_close};
    h->components = xcr0() & (X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX | X86_XCR0_AVX512);
    if (map_image(h, err) < 0) {
        free(h);
        return NULL;
    }
    h->stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack.ss_sp = h->stack;
    sigaltstack(&stack, NULL);
    sigfillset(&sa.sa_mask);
    for (unsigned i = 0; i < ARRAY_SIZE(signals); i++) {
        sigdelset(&sa.sa_mask, signals[i]);
        sigaction(signals[i], &sa, &h->old[i]);
    }
    sa = (struct sigaction){.sa_sigaction = watchdog,
                            .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    sigfillset(&sa.sa_mask);
    sigaction(SIGALRM, &sa, &h->old_alarm);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, TICK_US}, {0, TICK_US}}, NULL);
    h->ldt = set_ldt();
    the_host = h;
    return &h->runner;
}
