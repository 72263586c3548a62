/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * info.c - looking at a machine without changing it.
 *
 * What device code may be changing at this moment is read under the VM lock.
 */
#include "control/info.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/counters.h"
#include "base/strbuf.h"
#include "bus/bus.h"
#include "control/command.h"
#include "display/input.h"
#include "engine/engine.h"
#include "machine/machine.h"
#include "memory/memory.h"
#include "state/state.h"
#include "x86/cpuid.h"

enum { DEVICES_MAX = 64 };

int info_registers(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    struct x86_state s;

    for (unsigned i = 0; i < machine_cpus(m); i++) {
        int r = machine_vcpu_state(m, i, &s);
        if (r < 0) {
            strbuf_addf(out, "cannot read the registers of vCPU %u: %s\n", i, strerror(-r));
            return r;
        }
        strbuf_addf(out, "vCPU %u\n", i);
        x86_state_print(&s, out);
    }
    return 0;
}

int info_exits(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    unsigned cpus = machine_cpus(m);

    for (int id = 0; id < COUNTER_COUNT; id++) {
        uint64_t sum = 0;
        for (unsigned i = 0; i < cpus; i++)
            sum += counter_get(&machine_vcpu(m, i)->counters, (enum counter_id)id);
        if (!sum)
            continue;
        strbuf_addf(out, "%-16s %14" PRIu64, counter_name((enum counter_id)id), sum);
        if (cpus > 1) {
            strbuf_addf(out, " (");
            for (unsigned i = 0; i < cpus; i++)
                strbuf_addf(out, "%s%" PRIu64, i ? " " : "",
                            counter_get(&machine_vcpu(m, i)->counters, (enum counter_id)id));
            strbuf_addf(out, ")");
        }
        strbuf_addf(out, "  %s\n", counter_help((enum counter_id)id));
    }
    strbuf_addf(out, "%-16s %14" PRIu64 "  accesses that no device answered\n", "unclaimed",
                bus_unclaimed(machine_bus(m)));
    return 0;
}

/* Lines of state_print, indented. VM lock held. */
static void print_device_state(struct device *dev, struct strbuf *out)
{
    void *state = NULL;

    if (!dev->ops->describe)
        return;
    const struct state_desc *desc = dev->ops->describe(dev, &state);
    if (desc)
        state_print(desc, state, out);
}

int info_devices(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    struct device *devices[DEVICES_MAX];
    pthread_mutex_t *lock = bus_lock(machine_bus(m));
    bool found = false;

    pthread_mutex_lock(lock);
    size_t n = machine_devices(m, devices, DEVICES_MAX);
    for (size_t i = 0; i < n && i < DEVICES_MAX; i++) {
        if (argc < 2) {
            strbuf_addf(out, "%-12s %s\n", devices[i]->name, devices[i]->ops->type);
        } else if (strcmp(argv[1], devices[i]->name) == 0) {
            print_device_state(devices[i], out);
            found = true;
        }
    }
    pthread_mutex_unlock(lock);
    if (argc >= 2 && !found)
        return command_refuse(out, "there is no device '%s'; 'info devices' lists them", argv[1]);
    return 0;
}

static void print_port(void *arg, const struct bus_region *r)
{
    strbuf_addf(arg, "port %04" PRIx64 "-%04" PRIx64 "  %s\n", r->base, r->base + r->size - 1,
                r->name);
}

static void print_address(void *arg, const struct bus_region *r)
{
    strbuf_addf(arg, "mmio %012" PRIx64 "-%012" PRIx64 "  %s\n", r->base, r->base + r->size - 1,
                r->name);
}

int info_bus(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    struct bus *bus = machine_bus(m);

    pthread_mutex_lock(bus_lock(bus));
    bus_for_each(bus, BUS_PIO, print_port, out);
    bus_for_each(bus, BUS_MMIO, print_address, out);
    pthread_mutex_unlock(bus_lock(bus));
    return 0;
}

int info_memory(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    size_t n;
    const struct memory_region *r = memory_regions(machine_memory(m), &n);

    for (size_t i = 0; i < n; i++)
        strbuf_addf(out, "%012" PRIx64 "-%012" PRIx64 " %10" PRIu64 " KiB  %s%s\n", r[i].base.v,
                    r[i].base.v + r[i].size_bytes - 1, r[i].size_bytes >> 10, r[i].name,
                    r[i].flags & MEMORY_READONLY ? " (read-only)" : "");
    return 0;
}

int info_engine(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    const struct engine_ops *engine = machine_engine(m);

    strbuf_addf(out, "%s: %s\n", engine->name, engine->summary);
    strbuf_addf(out, "%u vCPU(s), %s\n", machine_cpus(m),
                machine_paused(m) ? "paused" : "running");
    machine_describe_engine(m, out);
    return 0;
}

int info_pci(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    machine_describe_pci(m, out);
    return 0;
}

int info_virtio(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    machine_describe_virtio(m, out);
    return 0;
}

int info_block(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    machine_describe_block(m, out);
    return 0;
}

int info_network(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    machine_describe_network(m, out);
    return 0;
}

int info_input(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    pthread_mutex_t *lock = bus_lock(machine_bus(m));

    pthread_mutex_lock(lock);
    input_describe(machine_input(m), out);
    pthread_mutex_unlock(lock);
    return 0;
}

int info_cpuid(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    const struct x86_cpu_model *model = machine_engine_vm(m)->config.model;

    strbuf_addf(out, "model %s\n    leaf  subleaf       eax      ebx      ecx      edx\n",
                model->name);
    for (unsigned i = 0; i < model->leaves; i++) {
        const struct x86_cpuid_leaf *l = &model->leaf[i];
        strbuf_addf(out, "%08x %08x  %08x %08x %08x %08x\n", l->leaf, l->subleaf, l->eax, l->ebx,
                    l->ecx, l->edx);
    }
    return 0;
}
