/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * base_fault.c - guards catch what the processor raises, and nothing else.
 *
 * Each piece of faulting code is a function in assembly with a resume label of
 * its own, as in the stubs of the reference engine.
 */
#include "unit.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "x86/state.h"

/* Returns 0 when the body ran through, 1 when it was resumed. All vector and
 * x87 state is made fit for C again, as fault.h asks. */
#define PROBE(name, body)                                               \
    extern const char name##_start[], name##_end[], name##_resume[];    \
    int name(void *p);                                                  \
    __asm__(".text\n"                                                   \
            ".globl " #name "\n"                                        \
            #name ":\n"                                                 \
            #name "_start:\n\t"                                         \
            body "\n"                                                   \
            #name "_end:\n\t"                                           \
            "xorl %eax, %eax\n\t"                                       \
            "ret\n"                                                     \
            #name "_resume:\n\t"                                        \
            "cld\n\t"                                                   \
            "fninit\n\t"                                                \
            "ldmxcsr probe_mxcsr_default(%rip)\n\t"                     \
            "movl $1, %eax\n\t"                                         \
            "ret\n")

__asm__(".section .rodata\n"
        "probe_mxcsr_default: .long 0x1f80\n"
        "probe_mxcsr_open: .long 0x0000\n"
        "probe_fcw_open: .word 0x0340\n"
        ".text\n");

PROBE(probe_nothing, "nop");
PROBE(probe_ud, "ud2");
PROBE(probe_de, "xorl %ecx, %ecx\n\t xorl %edx, %edx\n\t movl $1, %eax\n\t divl %ecx");
PROBE(probe_gp, "movaps 1(%rdi), %xmm0");
PROBE(probe_pf, "movb $1, (%rdi)");
PROBE(probe_bp, "int3");
PROBE(probe_xm, "ldmxcsr probe_mxcsr_open(%rip)\n\t xorps %xmm0, %xmm0\n\t divss %xmm0, %xmm0");
PROBE(probe_mf, "fldcw probe_fcw_open(%rip)\n\t fldz\n\t fldz\n\t fdivrp\n\t fwait");

struct row {
    const char *name;
    int (*run)(void *);
    const char *start, *end, *resume;
    uint32_t trapno;
    int signo;
};
#define ROW(name, trapno, signo) \
    {#name, name, name##_start, name##_end, name##_resume, trapno, signo}

static const struct row rows[] = {
    ROW(probe_de, X86_DE, SIGFPE),  ROW(probe_ud, X86_UD, SIGILL),
    ROW(probe_gp, X86_GP, SIGSEGV), ROW(probe_pf, X86_PF, SIGSEGV),
    ROW(probe_bp, X86_BP, SIGTRAP), ROW(probe_xm, X86_XM, SIGFPE),
    ROW(probe_mf, X86_MF, SIGFPE),
};

static int guarded(const struct row *r, void *p, struct fault_guard *g)
{
    *g = (struct fault_guard){.code_start = (uintptr_t)r->start,
                              .code_end = (uintptr_t)r->end + 1,   /* INT3 reports the next byte */
                              .resume = (uintptr_t)r->resume};
    fault_guard_push(g);
    int caught = r->run(p);
    fault_guard_pop(g);
    return caught;
}

static void *readonly_page(void)
{
    void *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(p, MAP_FAILED);
    return p;
}

static void every_exception_is_caught(void **state)
{
    uint8_t *page = readonly_page();
    struct fault_guard g;

    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            const struct row *r = &rows[i];
            if (!guarded(r, page, &g))
                fail_msg("%s was not caught", r->name);
            assert_int_equal(g.signo, r->signo);
            assert_int_equal(g.trapno, r->trapno);
            assert_true(g.pc >= (uintptr_t)r->start && g.pc <= (uintptr_t)r->end);
            if (r->trapno == X86_PF) {
                assert_int_equal(g.address, (uintptr_t)page);
                assert_int_equal(g.error_code & 6, 6);    /* a write, by user code */
            }
        }
    }
    const struct row nothing = ROW(probe_nothing, 0, 0);
    assert_int_equal(guarded(&nothing, NULL, &g), 0);
    munmap(page, 4096);
}

/* C code goes on as if nothing had happened. */
static void floating_point_is_sane_afterwards(void **state)
{
    struct fault_guard g;
    volatile double one = 1, zero = 0;
    volatile long double three = 3;

    assert_true(guarded(&rows[5], NULL, &g));
    assert_true(one / zero > 1e300);
    assert_true(guarded(&rows[6], NULL, &g));
    assert_true(three / 2 == 1.5L);
}

static void only_the_innermost_guard_counts(void **state)
{
    const struct row *ud = &rows[1];
    struct fault_guard outer = {.code_start = 1, .code_end = 2, .resume = 3}, g;

    fault_guard_push(&outer);
    assert_true(guarded(ud, NULL, &g));
    assert_int_equal(outer.signo, 0);
    fault_guard_pop(&outer);
}

static void *in_thread(void *arg)
{
    struct fault_guard g;

    if (fault_thread_init(NULL) < 0 || fault_thread_init(NULL) < 0)
        return NULL;
    int caught = guarded(&rows[0], NULL, &g);
    fault_thread_fini();
    fault_thread_fini();
    return caught ? arg : NULL;
}

static void guards_are_per_thread(void **state)
{
    struct fault_guard here = {.code_start = (uintptr_t)rows[0].start,
                               .code_end = (uintptr_t)rows[0].end, .resume = 1};
    pthread_t thread;
    void *result;
    int token;

    fault_guard_push(&here);
    assert_int_equal(pthread_create(&thread, NULL, in_thread, &token), 0);
    pthread_join(thread, &result);
    fault_guard_pop(&here);
    assert_ptr_equal(result, &token);
    assert_int_equal(here.signo, 0);
}

static void previous_handler(int signo)
{
    _exit(40 + signo);
}

/* Runs `fn` in a child; its wait status. */
static int in_child(void (*fn)(void))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        fn();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void sent_signal(void)
{
    kill(getpid(), SIGSEGV);
}

/* As if `handler` had been there before fault_install(). */
static void install_over(void (*handler)(int))
{
    fault_uninstall();
    signal(SIGILL, handler);
    signal(SIGSEGV, handler);
    fault_install(NULL);
}

static void fault_with_default_before(void)
{
    install_over(SIG_DFL);
    probe_ud(NULL);
}

static void signal_with_default_before(void)
{
    install_over(SIG_DFL);
    sent_signal();
}

static void handler_before(void)
{
    install_over(previous_handler);
    probe_ud(NULL);
}

static void others_faults_go_to_whoever_was_there(void **state)
{
    int status = in_child(handler_before);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 40 + SIGILL);
    status = in_child(fault_with_default_before);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGILL);
    status = in_child(signal_with_default_before);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void installing_is_counted(void **state)
{
    struct fault_guard g;

    assert_int_equal(fault_install(NULL), 0);
    fault_uninstall();
    assert_true(guarded(&rows[1], NULL, &g));
}

/* cmocka puts handlers of its own in place before each test: ours go on top. */
#define TEST(fn)                                        \
    static void with_handlers_##fn(void **state)        \
    {                                                   \
        assert_int_equal(fault_install(NULL), 0);       \
        fn(state);                                      \
        fault_uninstall();                              \
    }
TEST(every_exception_is_caught)
TEST(floating_point_is_sane_afterwards)
TEST(only_the_innermost_guard_counts)
TEST(guards_are_per_thread)
TEST(installing_is_counted)
TEST(others_faults_go_to_whoever_was_there)

static int group_setup(void **state)
{
    return fault_thread_init(NULL);
}

static int group_teardown(void **state)
{
    fault_thread_fini();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_handlers_every_exception_is_caught),
        cmocka_unit_test(with_handlers_floating_point_is_sane_afterwards),
        cmocka_unit_test(with_handlers_only_the_innermost_guard_counts),
        cmocka_unit_test(with_handlers_guards_are_per_thread),
        cmocka_unit_test(with_handlers_installing_is_counted),
        cmocka_unit_test(with_handlers_others_faults_go_to_whoever_was_there),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
