/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fault.c - from a fault signal to the resume address of a guard.
 *
 * The handler touches only the thread-local guard and the signal frame, so it
 * is safe wherever it strikes. What it knows about the fault comes from the
 * frame the x86-64 Linux kernel builds (struct sigcontext: trapno, err, cr2).
 */
#include "base/fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/error.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

static const int fault_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};

/* Process-wide, like the signal dispositions they describe. */
static struct {
    pthread_mutex_t lock;
    unsigned users;
    struct sigaction previous[ARRAY_SIZE(fault_signals)];
} installed = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* initial-exec: the handler must not allocate on first touch. */
#define THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))
static THREAD_LOCAL struct fault_guard *innermost;
static THREAD_LOCAL struct {
    void *base;
    size_t size;
} alternate_stack;

static void call_previous(int signo, siginfo_t *info, void *context)
{
    const struct sigaction *old = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(fault_signals); i++)
        if (fault_signals[i] == signo)
            old = &installed.previous[i];
    bool sent_by_somebody = info->si_code <= 0;
    if (old->sa_flags & SA_SIGINFO) {
        old->sa_sigaction(signo, info, context);
        return;
    }
    if (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN) {
        old->sa_handler(signo);
        return;
    }
    if (old->sa_handler == SIG_IGN && sent_by_somebody)
        return;
    /* Die of it: the faulting instruction runs again without us; a signal
     * that was sent is sent again. */
    signal(signo, SIG_DFL);
    if (sent_by_somebody)
        raise(signo);
}

static void handle(int signo, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    greg_t *regs = uc->uc_mcontext.gregs;
    uintptr_t pc = (uintptr_t)regs[REG_RIP];
    struct fault_guard *g = innermost;
    int saved = errno;

    if (info->si_code > 0 && g && pc >= g->code_start && pc < g->code_end) {
        g->signo = signo;
        g->trapno = (uint32_t)regs[REG_TRAPNO];
        g->error_code = (uint32_t)regs[REG_ERR];
        g->address = (uint64_t)regs[REG_CR2];
        g->pc = pc;
        regs[REG_RIP] = (greg_t)g->resume;
    } else {
        call_previous(signo, info, context);
    }
    errno = saved;
}

int fault_install(struct error **err)
{
    struct sigaction sa = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    int r = 0;

    sigemptyset(&sa.sa_mask);
    pthread_mutex_lock(&installed.lock);
    for (size_t i = 0; i < ARRAY_SIZE(fault_signals) && !installed.users; i++) {
        if (sigaction(fault_signals[i], &sa, &installed.previous[i]) == 0)
            continue;
        r = error_set(err, errno, "cannot install a handler for signal %d: %s",
                      fault_signals[i], strerror(errno));
        while (i-- > 0)
            sigaction(fault_signals[i], &installed.previous[i], NULL);
        break;
    }
    if (r == 0)
        installed.users++;
    pthread_mutex_unlock(&installed.lock);
    return r;
}

void fault_uninstall(void)
{
    pthread_mutex_lock(&installed.lock);
    BUG_ON(!installed.users);
    if (--installed.users == 0)
        for (size_t i = 0; i < ARRAY_SIZE(fault_signals); i++)
            sigaction(fault_signals[i], &installed.previous[i], NULL);
    pthread_mutex_unlock(&installed.lock);
}

int fault_thread_init(struct error **err)
{
    stack_t old;

    /* A sanitizer, or our embedder, may have given the thread one already. */
    if (sigaltstack(NULL, &old) == 0 && !(old.ss_flags & SS_DISABLE))
        return 0;

    /* The frame holds the whole vector state, which only the kernel can size;
     * the rest is for the handler and those it passes a fault on to. */
    size_t frame = getauxval(AT_MINSIGSTKSZ);
    size_t size = align_up(frame + (64 << 10), PAGE_SIZE) + PAGE_SIZE;
    char *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return error_set(err, errno, "cannot allocate a signal stack: %s", strerror(errno));
    mprotect(base, PAGE_SIZE, PROT_NONE);
    stack_t stack = {.ss_sp = base + PAGE_SIZE, .ss_size = size - PAGE_SIZE};
    if (sigaltstack(&stack, NULL) < 0) {
        int code = errno;
        munmap(base, size);
        return error_set(err, code, "cannot set a signal stack: %s", strerror(code));
    }
    alternate_stack.base = base;
    alternate_stack.size = size;
    return 0;
}

void fault_thread_fini(void)
{
    stack_t none = {.ss_flags = SS_DISABLE};

    if (!alternate_stack.base)
        return;
    sigaltstack(&none, NULL);
    munmap(alternate_stack.base, alternate_stack.size);
    alternate_stack.base = NULL;
}

void fault_guard_push(struct fault_guard *g)
{
    g->outer = innermost;
    /* The handler runs in this thread: order for the compiler is enough. */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    innermost = g;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

void fault_guard_pop(struct fault_guard *g)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    BUG_ON(innermost != g);
    innermost = g->outer;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}
