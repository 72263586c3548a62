/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kick.c - getting a thread out of KVM_RUN from another thread.
 *
 * Two halves make it impossible to lose a kick. `immediate_exit` in the shared
 * page makes the NEXT entry return at once; the signal ends the PRESENT one.
 * The kicker first sets its request bit, then immediate_exit, then signals; the
 * vCPU first clears immediate_exit, then looks at the requests, then enters.
 * If the vCPU did not see the request, its clearing came before the kicker's
 * setting, so the entry returns at once or the signal finds the thread in the
 * guest. All accesses are sequentially consistent for that reason.
 *
 * The handler does nothing: interrupting is the point. Dispositions belong to
 * the process, hence the one reference-counted static here. The signal is sent
 * by thread ID, so a stale one at worst interrupts a system call of another
 * thread, which SA_RESTART restarts.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/bug.h"
#include "base/error.h"

static struct {
    pthread_mutex_t lock;
    unsigned users;
    struct sigaction previous;
} kick = {.lock = PTHREAD_MUTEX_INITIALIZER};

int kvm_kick_signal(void)
{
    return SIGRTMIN + 3;
}

static void on_kick(int signo)
{
    (void)signo;
}

int kvm_kick_install(struct error **err)
{
    struct sigaction action = {.sa_handler = on_kick, .sa_flags = SA_RESTART};
    int result = 0;

    sigemptyset(&action.sa_mask);
    pthread_mutex_lock(&kick.lock);
    if (kick.users == 0 && sigaction(kvm_kick_signal(), &action, &kick.previous) < 0)
        result = error_set(err, errno, "cannot install the handler of signal %d: %s",
                           kvm_kick_signal(), strerror(errno));
    else
        kick.users++;
    pthread_mutex_unlock(&kick.lock);
    return result;
}

void kvm_kick_uninstall(void)
{
    pthread_mutex_lock(&kick.lock);
    BUG_ON(kick.users == 0);
    if (--kick.users == 0) {
        /* A kick still on its way must not meet the default action. */
        if (kick.previous.sa_handler == SIG_DFL)
            kick.previous.sa_handler = SIG_IGN;
        sigaction(kvm_kick_signal(), &kick.previous, NULL);
    }
    pthread_mutex_unlock(&kick.lock);
}

void kvm_kick_enter(struct kvm_vcpu *v)
{
    pid_t self = (pid_t)syscall(SYS_gettid);

    /* A signal that this thread blocks would not end KVM_RUN. */
    if (v->unblocked_tid != self) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, kvm_kick_signal());
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        v->unblocked_tid = self;
    }
    atomic_store(&v->tid, self);
}

void kvm_kick_leave(struct kvm_vcpu *v)
{
    atomic_store(&v->tid, 0);
}

/* Any thread, and signal handlers: only atomics and a system call. */
void kvm_vcpu_kick(struct engine_vcpu *vcpu)
{
    struct kvm_vcpu *v = kvm_vcpu_of(vcpu);
    int saved_errno = errno;

    __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    pid_t tid = atomic_load(&v->tid);
    if (tid)
        syscall(SYS_tgkill, getpid(), tid, kvm_kick_signal());
    errno = saved_errno;
}
