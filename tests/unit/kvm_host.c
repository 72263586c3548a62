/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvm_host.c - what the host says: no permission, the calibration, the choice.
 */
#include "kvm_fixture.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/kvm/kvm.h"

enum { NOBODY = 65534, CHILD_SKIPS = 77 };

static int open_as_nobody(void)
{
    struct error *err = NULL;

    if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
        return CHILD_SKIPS;
    if (access("/dev/kvm", R_OK | W_OK) == 0)
        return CHILD_SKIPS;       /* open to everybody here */
    if (kvm_open(&err) != -EACCES || !err || !err->hint || !strstr(err->hint, "group kvm"))
        return 1;
    error_free(&err);
    struct engine_probe probe;
    engine_kvm.probe(&probe);
    if (probe.status != ENGINE_FORBIDDEN || !strstr(probe.reason, "/dev/kvm"))
        return 2;
    struct x86_features features;
    engine_kvm.features(&features);
    for (unsigned i = 0; i < X86_FEATURE_WORDS; i++)
        if (features.w[i])
            return 3;
    return 0;
}

static void no_permission(void **state)
{
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        alarm(WATCHDOG_S);
        _exit(open_as_nobody());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == CHILD_SKIPS)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Whatever the speed, it comes back, with figures and a verdict that fits. */
static void calibration(void **state)
{
    struct engine_probe probe;

    alarm(WATCHDOG_S);
    engine_kvm.probe(&probe);
    if (probe.status != ENGINE_GOOD && probe.status != ENGINE_SLOW)
        fail_msg("probe: %s", probe.reason);
    assert_true(probe.insn_per_us > 0);
    assert_true(probe.exit_us > 0);
    assert_int_equal(probe.status == ENGINE_GOOD,
                     probe.insn_per_us >= ENGINE_SOFTWARE_INSN_PER_US);
    assert_true(probe.caps & ENGINE_CAP_IRQCHIP);
    print_message("%s\n", probe.reason);
    alarm(0);
}

/* Creation that cannot work says why and leaves nothing behind. */
static void too_many_processors(void **state)
{
    struct error *err = NULL;
    struct engine_vm *vm = NULL;
    struct log log;
    struct memory *memory = memory_new(1 << 20, &err);

    log_init(&log, -1);
    struct engine_vm_config cfg = {.memory = memory, .cpus = 1000000, .log = &log};
    expect_error(engine_kvm.vm_create(&cfg, &vm, &err), EINVAL, &err, "processors");
    assert_null(vm);
    memory_free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_permission), cmocka_unit_test(calibration),
        cmocka_unit_test(too_many_processors),
    };
    fixture_need_kvm();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
