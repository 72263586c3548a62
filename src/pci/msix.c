/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * msix.c - MSI-X: a table of messages and a word of pending bits (PCI 3.0, 6.8.2).
 *
 * A loaded state may say that vectors are pending that are no longer masked; they
 * go out at the next change of a mask, as on hardware that was powered on so.
 */
#include "pci/pci.h"

#include "base/bug.h"
#include "base/byteorder.h"

enum { ENTRY_BYTES = 16, ENTRY_WORDS = 4, WORD_DATA = 2, WORD_CONTROL = 3, VECTOR_MASKED = 1 };
enum { CONTROL_ENABLE = 0x8000, CONTROL_MASK_ALL = 0x4000 };

void pci_msix_set(struct pci_function *f, unsigned vectors, unsigned bar, uint64_t table,
                  uint64_t pending)
{
    uint8_t cap[12] = {PCI_CAP_MSIX};

    BUG_ON(!vectors || vectors > PCI_MSIX_VECTORS_MAX || (table | pending) & 7);
    put_le16(cap + 2, (uint16_t)(vectors - 1));
    put_le32(cap + 4, (uint32_t)table | bar);
    put_le32(cap + 8, (uint32_t)pending | bar);
    f->vectors = vectors;
    f->msix_bar = bar;
    f->msix_table_offset = table;
    f->msix_pending_offset = pending;
    f->msix_capability = pci_capability_add(f, cap, sizeof cap);
    f->writable[f->msix_capability + 3] = (CONTROL_ENABLE | CONTROL_MASK_ALL) >> 8;
    for (unsigned v = 0; v < vectors; v++)
        f->state->msix_table[ENTRY_WORDS * v + WORD_CONTROL] = VECTOR_MASKED;
}

static uint16_t control(const struct pci_function *f)
{
    return get_le16(f->state->config + f->msix_capability + 2);
}

bool pci_msix_enabled(const struct pci_function *f)
{
    return f->vectors && control(f) & CONTROL_ENABLE;
}

static bool masked(const struct pci_function *f, unsigned v)
{
    return control(f) & CONTROL_MASK_ALL ||
           f->state->msix_table[ENTRY_WORDS * v + WORD_CONTROL] & VECTOR_MASKED;
}

static void deliver(struct pci_function *f, unsigned v)
{
    const uint32_t *e = f->state->msix_table + ENTRY_WORDS * v;

    f->state->msix_pending &= ~(1ull << v);
    irq_msi_send(pci_bus_msi(f->bus), (uint64_t)e[1] << 32 | e[0], e[WORD_DATA]);
}

/* Without bus mastering a message is a memory write that cannot be made. */
void pci_msix_raise(struct pci_function *f, unsigned v)
{
    if (v >= f->vectors || !pci_msix_enabled(f))
        return;
    if (masked(f, v))
        f->state->msix_pending |= 1ull << v;
    else if (f->state->config[PCI_COMMAND] & PCI_COMMAND_MASTER)
        deliver(f, v);
}

static void deliver_pending(struct pci_function *f)
{
    if (!pci_msix_enabled(f) || !(f->state->config[PCI_COMMAND] & PCI_COMMAND_MASTER))
        return;
    for (unsigned v = 0; v < f->vectors; v++)
        if (f->state->msix_pending >> v & 1 && !masked(f, v))
            deliver(f, v);
}

void pci_msix_control_written(struct pci_function *f)
{
    deliver_pending(f);
}

/* Accesses are of 4 or 8 bytes, aligned (6.8.2); others read 0 and vanish. */
static bool in(uint64_t offset, unsigned size, uint64_t start, uint64_t bytes)
{
    return offset >= start && range_inside(offset - start, size, bytes);
}

bool pci_msix_read(struct pci_function *f, uint64_t offset, unsigned size, uint64_t *value)
{
    bool aligned = (size == 4 || size == 8) && offset % size == 0;

    *value = 0;
    if (in(offset, size, f->msix_table_offset, (uint64_t)f->vectors * ENTRY_BYTES)) {
        if (aligned)
            memcpy(value, (uint8_t *)f->state->msix_table + (offset - f->msix_table_offset), size);
        return true;
    }
    if (in(offset, size, f->msix_pending_offset, 8)) {
        if (aligned)
            *value = f->state->msix_pending >> 8 * (offset - f->msix_pending_offset);
        return true;
    }
    return false;
}

bool pci_msix_write(struct pci_function *f, uint64_t offset, unsigned size, uint64_t value)
{
    uint64_t at = offset - f->msix_table_offset;

    if (in(offset, size, f->msix_pending_offset, 8))
        return true;
    if (!in(offset, size, f->msix_table_offset, (uint64_t)f->vectors * ENTRY_BYTES))
        return false;
    if ((size != 4 && size != 8) || offset % size)
        return true;
    memcpy((uint8_t *)f->state->msix_table + at, &value, size);
    f->state->msix_table[at / ENTRY_BYTES * ENTRY_WORDS + WORD_CONTROL] &= VECTOR_MASKED;
    deliver_pending(f);
    return true;
}
