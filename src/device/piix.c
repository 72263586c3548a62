/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * piix.c - PCI interrupt routing and the place of the ACPI registers (Intel 82371SB data
 * sheet 290550, 2.2.9; 82371AB data sheet 290562, 7.2).
 */
#include "device/piix.h"

#include <errno.h>
#include <stdlib.h>

#include "base/byteorder.h"
#include "base/error.h"
#include "bus/irq_share.h"

enum { REG_PIRQ = 0x60, PIRQ_OFF = 0x80, PIRQ_IRQ = 0x0f, ROUTABLE = 0xdef8 };
enum { PM_FUNCTION = 3, REG_PMBA = 0x40, PMBA_IO = 1, PMBA_MASK = 0xffc0, REG_DEVACTB = 0x58,
       APMC_EN = 0x02 /* bit 25 of four bytes */, REG_PMREGMISC = 0x80, PMIOSE = 1 };

struct piix_state {
    struct pci_function_state isa, pm;
    uint8_t levels;                    /* PIRQA-D */
};

struct piix {
    struct device dev;
    struct piix_state state;
    struct pci_function isa, pm;
    struct piix_config config;
    struct irq_share line[PCI_LINES];
    uint16_t driven;                   /* ISA interrupts that are high */
    uint16_t pm_port;
};

static struct piix *to_piix(struct device *dev)
{
    return container_of(dev, struct piix, dev);
}

/* ---- interrupts ------------------------------------------------------------ */

static void route(struct piix *p)
{
    uint16_t wanted = 0, changed;

    for (unsigned n = 0; n < PCI_LINES; n++) {
        uint8_t reg = p->state.isa.config[REG_PIRQ + n];

        if (p->state.levels >> n & 1 && !(reg & PIRQ_OFF))
            wanted |= (uint16_t)(1u << (reg & PIRQ_IRQ) & ROUTABLE);
    }
    changed = wanted ^ p->driven;
    p->driven = wanted;
    for (unsigned irq = 0; irq < PIIX_ISA_IRQS; irq++)
        if (changed >> irq & 1)
            irq_line_set(&p->config.isa[irq], wanted >> irq & 1);
}

static void pirq_set(void *opaque, unsigned n, bool level)
{
    struct piix *p = opaque;

    p->state.levels = (uint8_t)((p->state.levels & ~(1u << n)) | (unsigned)level << n);
    irq_line_set(&p->config.apic[n], level);
    route(p);
}

struct irq_line piix_pci_line(struct device *dev, unsigned n)
{
    return irq_share_input(&to_piix(dev)->line[n % PCI_LINES]);
}

/* ---- registers ------------------------------------------------------------- */

static void isa_written(struct pci_function *f, unsigned offset, unsigned size)
{
    route(container_of(f, struct piix, isa));
}

static void pm_written(struct pci_function *f, unsigned offset, unsigned size)
{
    struct piix *p = container_of(f, struct piix, pm);
    const uint8_t *c = p->state.pm.config;
    uint16_t port = c[REG_PMREGMISC] & PMIOSE ? get_le16(c + REG_PMBA) & PMBA_MASK : 0;

    if (port == p->pm_port)
        return;
    p->pm_port = port;
    if (p->config.pm_place)
        p->config.pm_place(p->config.pm_opaque, port);
}

uint16_t piix_pm_port(struct device *dev)
{
    return to_piix(dev)->pm_port;
}

/* ---- life ------------------------------------------------------------------ */

static void piix_reset(struct device *dev)
{
    struct piix *p = to_piix(dev);

    pci_function_reset(&p->isa);
    pci_function_reset(&p->pm);
    route(p);
    pm_written(&p->pm, 0, PCI_CONFIG_BYTES);
}

static void piix_resume(struct device *dev)
{
    struct piix *p = to_piix(dev);

    pci_function_resume(&p->isa);
    pci_function_resume(&p->pm);
    route(p);
    pm_written(&p->pm, 0, PCI_CONFIG_BYTES);
}

static const struct state_field fields[] = {
    STATE_STRUCT(struct piix_state, isa, &pci_function_state_desc),
    STATE_STRUCT(struct piix_state, pm, &pci_function_state_desc),
    STATE_U8(struct piix_state, levels),
    STATE_END
};
static const struct state_desc desc = {"piix", 1, fields};

static const struct state_desc *piix_describe(struct device *dev, void **state)
{
    *state = &to_piix(dev)->state;
    return &desc;
}

static void piix_destroy(struct device *dev)
{
    struct piix *p = to_piix(dev);

    if (p->pm.bus)
        pci_bus_remove(p->pm.bus, &p->pm);
    if (p->isa.bus)
        pci_bus_remove(p->isa.bus, &p->isa);
    free(p);
}

static const struct device_ops piix_ops = {
    .type = "piix",
    .reset = piix_reset,
    .resume = piix_resume,
    .describe = piix_describe,
    .destroy = piix_destroy,
};

static void init_isa(struct piix *p)
{
    static const struct pci_identity id = {.vendor = 0x8086, .device = 0x7000, .class = 0x060100,
                                           .subsystem_vendor = 0x1af4, .subsystem = 0x1100};

    pci_function_init(&p->isa, &p->state.isa, "ISA bridge", &id);
    p->isa.config_written = isa_written;
    /* What is behind the bridge is always there, and systems (UEFI) turn it on first. */
    p->state.isa.config[PCI_COMMAND] = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    p->isa.writable[PCI_COMMAND] |= PCI_COMMAND_IO | PCI_COMMAND_MEMORY;
    for (unsigned n = 0; n < PCI_LINES; n++) {
        uint8_t irq = p->config.route[n];

        p->state.isa.config[REG_PIRQ + n] = irq ? irq : PIRQ_OFF;
        p->isa.writable[REG_PIRQ + n] = PIRQ_OFF | PIRQ_IRQ;
        p->line[n].out = (struct irq_line){pirq_set, p, n};
    }
}

static void init_pm(struct piix *p)
{
    static const struct pci_identity id = {.vendor = 0x8086, .device = 0x7113, .class = 0x068000,
                                           .subsystem_vendor = 0x1af4, .subsystem = 0x1100,
                                           .revision = 3};
    uint8_t *c = p->state.pm.config;

    pci_function_init(&p->pm, &p->state.pm, "power management", &id);
    p->pm.config_written = pm_written;
    put_le32(c + REG_PMBA, p->config.pm_port | PMBA_IO);
    put_le32(p->pm.writable + REG_PMBA, PMBA_MASK);
    c[REG_PMREGMISC] = p->config.pm_port ? PMIOSE : 0;
    p->pm.writable[REG_PMREGMISC] = PMIOSE;
    c[REG_DEVACTB + 3] = APMC_EN;
}

struct device *piix_new(const struct device_env *env, const struct piix_config *cfg,
                        struct error **err)
{
    struct piix *p = calloc(1, sizeof *p);

    if (!p) {
        error_set(err, ENOMEM, "no memory for the south bridge");
        return NULL;
    }
    device_init(&p->dev, &piix_ops, "piix");
    p->config = *cfg;
    init_isa(p);
    init_pm(p);
    if (pci_bus_add(cfg->pci, &p->isa, (int)cfg->slot, err) ||
        pci_bus_add_beside(cfg->pci, &p->pm, cfg->slot, PM_FUNCTION, err)) {
        piix_destroy(&p->dev);
        return NULL;
    }
    pm_written(&p->pm, 0, PCI_CONFIG_BYTES);
    return &p->dev;
}
