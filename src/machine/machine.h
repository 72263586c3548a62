/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * machine.h - parts wired into a computer, and its life.
 *
 * A machine owns memory, bus, clock, event loop, engine VM, vCPU threads and
 * devices. machine/ is the only room that knows which part sits where. A kind
 * of machine (pc, simple) is a `const struct machine_ops` row in machines.c.
 *
 * Life: machine_new (nothing runs) -> machine_run (returns when the guest
 * powers off, fails, or machine_stop is called) -> machine_free. machine_run
 * drives the event loop in the calling thread and starts a thread per vCPU.
 *
 * Threads: machine_stop and machine_post may be called from any thread;
 * pause, resume, reset and the get functions only from the loop's thread
 * (e.g. inside a watch callback posted with loop_post, without the VM lock).
 */
#ifndef RING3_MACHINE_MACHINE_H
#define RING3_MACHINE_MACHINE_H

#include <stdio.h>
#include "base/types.h"
#include "bus/device.h"
#include "x86/cpuid.h"
#include "x86/debugger.h"
#include "x86/state.h"

struct bus;
struct clock;
struct counters;
struct display;
struct engine_ops;
struct engine_vcpu;
struct engine_vm;
struct error;
struct input;
struct log;
struct loop;
struct machine;
struct memory;
struct strbuf;

/* Where the serial port goes. `write` never blocks: it takes everything or
 * drops (and counts) what does not fit. `ready` (may be NULL) says that
 * machine_serial_room() is no longer 0. Both run with the VM lock held, in
 * whichever thread the guest's access comes from. */
struct machine_serial {
    void (*write)(void *opaque, const uint8_t *data, size_t len);
    void *opaque;
    void (*ready)(void *opaque);
};

/* Everything pointed at lives as long as the machine. */
struct machine_config {
    const char *machine;           /* "pc" */
    const char *engine;            /* "auto", "kvm", "dbt", "interp" */
    const char *cpu;               /* --cpu text or NULL */
    const char *host_features;     /* --host-features text or NULL */
    const char *kernel, *initrd, *append;
    /* Without a kernel a firmware runs: NULL or "bios", "uefi", or a file's name. */
    const char *firmware;
    const char *firmware_vars;     /* UEFI variable store; NULL: forgotten at the end */
    const char *boot_order;        /* --boot text or NULL */
    const char *const *option_roms;
    bool firmware_serial;          /* firmware shows its screen on the serial port, too */
    const char *const *modules;    /* multiboot modules, NULL-terminated, or NULL */
    const char *image;             /* the first disk or CD-ROM: a file's name, or NULL */
    const char *const *disks;      /* texts of --disk, NULL-terminated, or NULL */
    const char *const *cdroms;     /* of --cdrom */
    const char *const *nets;       /* of --net */
    const char *const *shares;     /* of --share */
    const char *const *devices;    /* texts of --device, likewise (machine/plug.h) */
    const char *const *loads;      /* raw images, FILE@ADDRESS, likewise */
    const char *start;             /* how they start, MODE[@ADDRESS] (boot/raw.h), or NULL */
    const char *const *hypercall_ports;   /* NAME=PORT (device/hypercall.h), likewise */
    const char *vga;               /* text of --vga; NULL: as it comes */
    uint64_t memory_bytes;
    unsigned cpus;
    unsigned machines;             /* that this process is to have; 0 = one */
    bool no_reboot;                /* a reset ends the machine */
    bool pause_on_triple_fault;    /* and does not end */
    bool test_device;              /* kvm-unit-tests ports */
    bool hypercalls;               /* the teaching calls, on machines that have them on request */
    bool no_irqchip;               /* kvm: interrupt controllers in user space */
    bool manual_clock;             /* time moves by clock_advance() alone, from
                                      the beginning of 2000: for tests */
    uint16_t debug_exit_port;      /* 0 = 0xF4 */
    struct machine_serial serial, debugcon;
    struct machine_serial terminal;    /* for a console port on stdio; `ready` is about
                                          machine_terminal_room(). May be the same as serial */
    struct log *log;
    FILE *code_dump;               /* translated code goes there at the end, or NULL;
                                      whoever owns it looks for errors */
};

enum machine_end {
    MACHINE_POWERED_OFF, MACHINE_DEBUG_EXIT, MACHINE_RESET /* with no_reboot */,
    MACHINE_TRIPLE_FAULT, MACHINE_STOPPED /* by the user */, MACHINE_FAILED,
    MACHINE_PANICKED,
};

struct machine_result {
    enum machine_end end;
    int status;                    /* for DEBUG_EXIT: the exit status */
    unsigned vcpu;                 /* for TRIPLE_FAULT, FAILED */
    struct error *error;           /* for FAILED; the caller frees it */
};

/* A debugger's ear. `stopped` is called in the loop's thread without the VM lock; the
 * machine is paused then. */
enum machine_stop_reason { MACHINE_STOP_STEP, MACHINE_STOP_POINT, MACHINE_STOP_SHUTDOWN };
struct machine_stop {
    unsigned vcpu;
    enum machine_stop_reason reason;
    struct x86_debugger_hit hit;   /* for POINT */
};
struct machine_debugger {
    void (*stopped)(void *opaque, const struct machine_stop *stop);
    void *opaque;
};

struct machine_ops {
    const char *name, *summary;
    bool own_irqchip;              /* not the engine's, whatever it has */
    bool firmware;                 /* starts one when no kernel is given */
    bool takes_images;             /* starts machine_config.loads */
    void (*defaults)(struct machine_config *cfg);
    /* Maps RAM, makes devices, opens the boot files. Engine VM and vCPUs exist. */
    int (*build)(struct machine *m, struct error **err);
    /* Power-on state: devices, RAM, tables, boot image, vCPUs. Called before the
     * start too. Fails when the boot files cannot be read (any more). No vCPU
     * runs, VM lock not held. */
    int (*reset)(struct machine *m, struct error **err);
    /* Out of ACPI S3: RAM is as it was, the boot vCPU starts where the guest asked
     * for. Conditions as for reset. NULL: this machine does not sleep. */
    int (*wake)(struct machine *m, struct error **err);
    /* Typed input for the first serial port; how much it takes now. VM lock held. */
    void (*serial_input)(struct machine *m, const uint8_t *data, size_t len);
    size_t (*serial_room)(struct machine *m);
    void (*destroy)(struct machine *m);                    /* m->board */
    void (*describe)(struct machine *m, struct strbuf *out);
};

const struct machine_ops *const *machine_all(void);
const struct machine_ops *machine_find(const char *name);
void machine_config_defaults(struct machine_config *cfg);

int machine_new(const struct machine_config *cfg, struct machine **out, struct error **err);
void machine_free(struct machine *m);
int machine_run(struct machine *m, struct machine_result *result, struct error **err);
void machine_stop(struct machine *m);              /* any thread, signal-safe */

/* Instead of machine_run(): a machine of one vCPU without a thread of its own, a slice at
 * a time in the caller's thread, which is the loop's thread then and blocks signals. So
 * several machines share one thread (sched/). Every slice begins with what the event loop
 * has to do. */
enum machine_slice_end { MACHINE_SLICE_SPENT, MACHINE_SLICE_IDLE, MACHINE_SLICE_ENDED };
int machine_slices_start(struct machine *m, bool until_exit, struct error **err);
/* Until somebody kicks the vCPU, or (until_exit) the guest accesses a device. */
enum machine_slice_end machine_slice(struct machine *m);
/* Gives *result; machine_free() is next. */
void machine_slices_end(struct machine *m, struct machine_result *result);
/* How long an idle machine may be left alone. */
uint64_t machine_slice_wait_ns(struct machine *m);
/* Accesses to ports and memory-mapped registers so far. */
uint64_t machine_exit_count(struct machine *m);

void machine_pause(struct machine *m);             /* idempotent; vCPUs out of run() */
void machine_resume(struct machine *m);
bool machine_paused(const struct machine *m);
void machine_reset(struct machine *m);
void machine_nmi(struct machine *m);

/* ---- for a debugger (one at a time); the machine is paused ---- */
/* NULL leaves: points are forgotten. While one is there, a triple fault stops the machine
 * and does not end it. */
void machine_debugger_set(struct machine *m, const struct machine_debugger *d);
/* -ENOSPC; -EOPNOTSUPP: this engine cannot watch data. -ENOENT: there is no such point. */
int machine_point_add(struct machine *m, const struct x86_point *p);
int machine_point_remove(struct machine *m, const struct x86_point *p);
const struct x86_debugger *machine_points(const struct machine *m);
/* Lets go: vCPU `only` (others stand still) or all (UINT_MAX), `step` for one instruction. */
void machine_debug_go(struct machine *m, unsigned only, bool step);
int machine_vcpu_set_state(struct machine *m, unsigned index, const struct x86_state *in);
size_t machine_write_virtual(struct machine *m, const struct x86_state *s, gva_t a,
                             const void *buf, size_t len);

void machine_serial_input(struct machine *m, const uint8_t *data, size_t len);
size_t machine_serial_room(struct machine *m);     /* bytes it takes now */
/* The same for what is typed on the terminal: it goes to the console port there (--device
 * console) once the guest has opened that, else to the serial port. */
void machine_terminal_input(struct machine *m, const uint8_t *data, size_t len);
size_t machine_terminal_room(struct machine *m);
void machine_terminal_size(struct machine *m, unsigned columns, unsigned rows);
/* Is a console port on stdio among the devices? */
bool machine_uses_terminal(const struct machine_config *cfg);

struct loop *machine_loop(struct machine *m);
/* Keyboard and pointer (display/input.h): VM lock held in what is done with it. */
struct input *machine_input(struct machine *m);
struct memory *machine_memory(struct machine *m);
struct bus *machine_bus(struct machine *m);
struct clock *machine_clock(struct machine *m);
const struct engine_ops *machine_engine(struct machine *m);
struct engine_vm *machine_engine_vm(struct machine *m);
unsigned machine_cpus(struct machine *m);
struct engine_vcpu *machine_vcpu(struct machine *m, unsigned index);
/* Pauses if needed, reads, resumes. */
int machine_vcpu_state(struct machine *m, unsigned index, struct x86_state *out);
size_t machine_devices(struct machine *m, struct device **out, size_t max);
/* Guest-virtual read through the vCPU's page tables, without side effects. */
size_t machine_read_virtual(struct machine *m, const struct x86_state *s, gva_t a,
                            void *buf, size_t len);
/* The screen, or NULL; calls into it: VM lock held (display/display.h). */
struct display *machine_display(struct machine *m);
/* Where the time goes (looks for some hundredths of a second) and what the engine
 * tells of itself. */
void machine_describe_engine(struct machine *m, struct strbuf *out);
/* `info pci`, `info virtio`, `info block`. */
void machine_describe_pci(struct machine *m, struct strbuf *out);
void machine_describe_virtio(struct machine *m, struct strbuf *out);
void machine_describe_block(struct machine *m, struct strbuf *out);
/* What the guest is asked to do without. -ENODEV: there is no balloon. */
int machine_balloon(struct machine *m, uint64_t bytes, struct error **err);
/* Another disc into a CD-ROM drive (NULL: the only one there is); without a file the
 * drive is emptied. -EBUSY: the guest holds the door; `force` opens it all the same. */
int machine_change_disc(struct machine *m, const char *name, const char *file, bool force,
                        struct error **err);
/* Network cards, what is at their other end, what passed. */
void machine_describe_network(struct machine *m, struct strbuf *out);
/* `--device list`: names, what they are, their keys. */
void machine_list_devices(struct strbuf *out);
void machine_list_networks(struct strbuf *out);      /* `--net list` */
/* Guest and host code of everything translated. EINVAL: this engine does not translate. */
int machine_dump_code(struct machine *m, FILE *out, struct error **err);
/* Registers, control registers, exception chain and disassembly around RIP. */
void machine_fault_report(struct machine *m, unsigned vcpu, struct strbuf *out);

#endif
