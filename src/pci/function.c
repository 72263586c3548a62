/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * function.c - a function's configuration space and its BARs (PCI 3.0, chapter 6).
 *
 * BAR registers are ordinary masked bytes: sizing works because the low bits of
 * the address are not writable. After every write that touches a BAR or the
 * command register the regions are brought in line with what the bytes say.
 */
#include "pci/pci.h"

#include "base/bug.h"
#include "base/byteorder.h"
#include "base/error.h"
#include "base/log.h"
#include "memory/memory.h"

enum { BAR_IO = 1, BAR_64 = 4, ROM_ENABLE = 1 };

void pci_function_init(struct pci_function *f, struct pci_function_state *state, const char *name,
                       const struct pci_identity *id)
{
    uint8_t *c = state->config;

    *f = (struct pci_function){.name = name, .state = state,
                               .next_capability = PCI_FIRST_CAPABILITY};
    *state = (struct pci_function_state){0};
    put_le16(c + PCI_VENDOR, id->vendor);
    put_le16(c + PCI_DEVICE, id->device);
    c[PCI_REVISION] = id->revision;
    c[PCI_CLASS - 1] = (uint8_t)id->class;
    put_le16(c + PCI_CLASS, (uint16_t)(id->class >> 8));
    put_le16(c + PCI_SUBSYSTEM_VENDOR, id->subsystem_vendor);
    put_le16(c + PCI_SUBSYSTEM, id->subsystem);
    c[PCI_INTERRUPT_PIN] = id->intx;
    f->writable[PCI_INTERRUPT_LINE] = 0xff;
    f->writable[PCI_COMMAND] = PCI_COMMAND_MASTER | 0x40 /* parity: kept, no effect */;
    f->writable[PCI_COMMAND + 1] = 1 | (id->intx ? PCI_COMMAND_INTX_OFF >> 8 : 0);
    f->clearable[PCI_STATUS + 1] = 0xf9;
}

void pci_bar_set(struct pci_function *f, unsigned index, enum pci_bar_kind kind, uint64_t size,
                 const struct pci_bar_ops *ops)
{
    struct pci_bar *b = &f->bar[index];
    unsigned at = PCI_BAR0 + 4 * index;

    BUG_ON(index >= PCI_ROM || size & (size - 1) || size < (kind == PCI_BAR_IO ? 4 : 16));
    BUG_ON(kind == PCI_BAR_MEMORY64 && index + 1 == PCI_ROM);
    *b = (struct pci_bar){.kind = kind, .size = size, .ops = ops, .function = f, .index = index};
    put_le32(f->writable + at, (uint32_t)~(size - 1));
    if (kind == PCI_BAR_MEMORY64) {
        put_le32(f->writable + at + 4, (uint32_t)(~(size - 1) >> 32));
        f->state->config[at] = BAR_64;
    } else if (kind == PCI_BAR_IO) {
        f->state->config[at] = BAR_IO;
    }
    f->writable[PCI_COMMAND] |= kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
}

void pci_bar_memory(struct pci_function *f, unsigned index, hva_t memory, unsigned flags)
{
    struct pci_bar *b = &f->bar[index];

    BUG_ON(index >= PCI_BARS || b->kind < PCI_BAR_MEMORY || b->size < PAGE_SIZE);
    b->memory = memory;
    b->memory_flags = flags;
}

void pci_rom_set(struct pci_function *f, hva_t rom, uint64_t size)
{
    BUG_ON(size & (size - 1) || size < PAGE_SIZE);
    f->bar[PCI_ROM] = (struct pci_bar){.kind = PCI_BAR_MEMORY, .size = size, .function = f,
                                       .index = PCI_ROM};
    put_le32(f->writable + PCI_ROM_ADDRESS, (uint32_t)~(size - 1) | ROM_ENABLE);
    f->writable[PCI_COMMAND] |= PCI_COMMAND_MEMORY;
    pci_bar_memory(f, PCI_ROM, rom, MEMORY_READONLY);
}

unsigned pci_capability_add(struct pci_function *f, const uint8_t *bytes, unsigned len)
{
    unsigned at = f->next_capability;
    uint8_t *c = f->state->config;

    BUG_ON(at + len > PCI_CONFIG_BYTES || len < 2);
    memcpy(c + at, bytes, len);
    c[at + 1] = 0;
    c[f->last_capability ? f->last_capability + 1 : PCI_CAPABILITIES] = (uint8_t)at;
    c[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
    f->last_capability = at;
    f->next_capability = (at + len + 3) & ~3u;
    return at;
}

/* ---- BARs ---------------------------------------------------------------- */

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_bar *b = opaque;

    return b->ops->read ? b->ops->read(b->function, offset, size) : UINT64_MAX;
}

static void bar_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci_bar *b = opaque;

    if (b->ops->write)
        b->ops->write(b->function, offset, size, value);
}

static enum bus_space space_of(const struct pci_bar *b)
{
    return b->kind == PCI_BAR_IO ? BUS_PIO : BUS_MMIO;
}

static unsigned register_of(const struct pci_bar *b)
{
    return b->index == PCI_ROM ? PCI_ROM_ADDRESS : PCI_BAR0 + 4 * b->index;
}

static uint64_t address_in(const struct pci_function *f, const struct pci_bar *b)
{
    const uint8_t *reg = f->state->config + register_of(b);
    uint64_t address = b->kind == PCI_BAR_MEMORY64 ? get_le64(reg) : get_le32(reg);

    return address & ~(b->size - 1);
}

/* An address of all zeroes is one nobody has assigned. */
static bool decodes(const struct pci_function *f, const struct pci_bar *b, uint64_t address)
{
    unsigned bit = b->kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;

    if (b->index == PCI_ROM && !(f->state->config[PCI_ROM_ADDRESS] & ROM_ENABLE))
        return false;
    return b->kind != PCI_BAR_NONE && get_le16(f->state->config + PCI_COMMAND) & bit && address;
}

static void bar_unmap(struct pci_function *f, struct pci_bar *b)
{
    if (b->mapped)
        bus_remove(pci_bus_bus(f->bus), space_of(b), b->base);
    b->mapped = false;
}

static bool bar_map(struct pci_function *f, struct pci_bar *b, uint64_t address)
{
    struct bus_region r = {.name = f->name, .base = address, .size = b->size, .read = bar_read,
                           .write = bar_write, .opaque = b};

    b->mapped = bus_add(pci_bus_bus(f->bus), space_of(b), &r, NULL) == 0;
    b->base = address;
    if (!b->mapped)
        log_trace(pci_bus_log(f->bus), DEVICE, "%s: BAR %u at 0x%llx is in the way of something",
                  f->name, b->index, (unsigned long long)address);
    return b->mapped;
}

void pci_function_map(struct pci_function *f)
{
    bool changed = false, memory = false;

    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct pci_bar *b = &f->bar[i];
        uint64_t address = address_in(f, b);
        bool wanted = decodes(f, b, address);

        if (b->memory.p) {
            memory |= wanted != b->mapped || (wanted && address != b->base);
            continue;
        }
        if (b->mapped && (!wanted || address != b->base)) {
            bar_unmap(f, b);
            changed = true;
        }
        if (wanted && !b->mapped)
            changed |= bar_map(f, b, address);
    }
    if (changed && f->moved)
        f->moved(f);
    if (memory)
        pci_bus_memory_changed(f->bus);
}

void pci_function_show(struct pci_function *f, struct memory *memory, bool out)
{
    bool changed = false;

    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct pci_bar *b = &f->bar[i];
        uint64_t address = address_in(f, b);
        bool wanted = b->memory.p && decodes(f, b, address);

        if (out && b->memory.p && b->mapped && (!wanted || address != b->base)) {
            memory_unmap(memory, gpa(b->base));
            b->mapped = false;
            changed = true;
        }
        if (!out && wanted && !b->mapped) {
            b->base = address;
            b->mapped = !memory_map_host(memory, f->name, gpa(address), b->memory, b->size,
                                         b->memory_flags, NULL);
            changed |= b->mapped;
        }
    }
    if (changed && f->moved)
        f->moved(f);
}

void pci_function_unmap(struct pci_function *f)
{
    f->state->config[PCI_COMMAND] &= (uint8_t)~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
    pci_function_map(f);
    if (f->moved)
        f->moved(f);
}

bool pci_bar_mapped(const struct pci_function *f, unsigned index, uint64_t *base)
{
    *base = f->bar[index].base;
    return f->bar[index].mapped;
}

/* ---- INTx ---------------------------------------------------------------- */

static void line_update(struct pci_function *f)
{
    uint8_t *c = f->state->config;
    bool off = get_le16(c + PCI_COMMAND) & PCI_COMMAND_INTX_OFF;

    c[PCI_STATUS] = (uint8_t)((c[PCI_STATUS] & ~PCI_STATUS_INTX) |
                              (f->state->intx ? PCI_STATUS_INTX : 0));
    f->line_level = f->state->intx && !off;
    irq_line_set(&f->line, f->line_level);
}

void pci_intx_set(struct pci_function *f, bool level)
{
    if (f->state->intx == level)
        return;
    f->state->intx = level;
    line_update(f);
}

/* ---- accesses ------------------------------------------------------------ */

uint32_t pci_config_read(struct pci_function *f, unsigned offset, unsigned size)
{
    uint32_t v = 0;

    if (offset + size > PCI_CONFIG_BYTES)
        return 0;
    if (f->config_read)
        f->config_read(f, offset, size);
    memcpy(&v, f->state->config + offset, size);
    return v;
}

static bool touches(unsigned offset, unsigned size, unsigned from, unsigned to)
{
    return offset < to && offset + size > from;
}

void pci_config_write(struct pci_function *f, unsigned offset, unsigned size, uint32_t value)
{
    uint8_t *c = f->state->config;

    if (offset + size > PCI_CONFIG_BYTES)
        return;
    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(value >> 8 * i), w = f->writable[offset + i];

        c[offset + i] = (uint8_t)((c[offset + i] & ~w) | (byte & w));
        c[offset + i] &= (uint8_t)~(byte & f->clearable[offset + i]);
    }
    if (touches(offset, size, PCI_COMMAND, PCI_COMMAND + 2))
        line_update(f);
    if (touches(offset, size, PCI_COMMAND, PCI_COMMAND + 2) ||
        touches(offset, size, PCI_BAR0, PCI_BAR0 + 4 * PCI_ROM) ||
        touches(offset, size, PCI_ROM_ADDRESS, PCI_ROM_ADDRESS + 4)) {
        pci_function_map(f);
        pci_bus_remap(f->bus);
    }
    if (f->vectors && touches(offset, size, f->msix_capability, f->msix_capability + 4))
        pci_msix_control_written(f);
    if (f->config_written)
        f->config_written(f, offset, size);
}

/* ---- life ---------------------------------------------------------------- */

void pci_function_reset(struct pci_function *f)
{
    *f->state = (struct pci_function_state){0};
    memcpy(f->state->config, f->initial, PCI_CONFIG_BYTES);
    for (unsigned v = 0; v < f->vectors; v++)
        f->state->msix_table[4 * v + 3] = 1;       /* masked */
    line_update(f);
    pci_function_map(f);
}

void pci_function_resume(struct pci_function *f)
{
    line_update(f);
    pci_function_map(f);
}

static const struct state_field fields[] = {
    STATE_U8_ARRAY(struct pci_function_state, config),
    STATE_U32_ARRAY(struct pci_function_state, msix_table),
    STATE_U64(struct pci_function_state, msix_pending),
    STATE_BOOL(struct pci_function_state, intx),
    STATE_END
};
const struct state_desc pci_function_state_desc = {"pci", 1, fields};
