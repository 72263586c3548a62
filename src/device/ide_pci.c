/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ide_pci.c - bus-master IDE (see ide_pci.h). */
#include "device/ide_pci.h"

#include <errno.h>
#include <stdlib.h>

#include "base/byteorder.h"
#include "base/error.h"
#include "base/log.h"
#include "device/ata.h"
#include "memory/memory.h"

enum { VENDOR_INTEL = 0x8086, DEVICE_PIIX3_IDE = 0x7010, CLASS_IDE = 0x010180, BAR_BUS_MASTER = 4,
       BAR_BYTES = 16, CHANNEL_BYTES = 8, IDETIM = 0x40, IDETIM_DECODE = 0x80 };
enum { COMMAND_START = 0x01, COMMAND_TO_MEMORY = 0x08 };
enum { STATUS_ACTIVE = 0x01, STATUS_ERROR = 0x02, STATUS_INTERRUPT = 0x04, STATUS_KEPT = 0x60 };
enum { PRD_BYTES = 8, PRD_LAST = 0x8000, PRD_TABLE_MASK = 0xffff };

/* Where in the table the transfer is. */
struct position {
    uint32_t entry;              /* the next descriptor */
    uint32_t base, left;         /* of the one it is in */
    bool last;                   /* which is the table's last */
};

struct master_state {
    uint8_t command, status;
    uint32_t table;
    struct position now;
};

struct ide_state {
    struct pci_function_state pci;
    struct master_state master[IDE_CHANNELS];
};

struct master {
    struct ide_pci *ide;
    unsigned index;
    struct ata_bus_master ops;
    struct position before[ATA_PIECES_MAX];      /* of each piece that was gathered */
    struct position next;                        /* behind them all */
};

struct ide_pci {
    struct device dev;
    struct ide_state state;
    struct pci_function pci;
    struct pci_bus *bus;
    struct memory *memory;
    struct log *log;
    struct log_limit limit;
    struct device *channel[IDE_CHANNELS];
    struct master master[IDE_CHANNELS];
};

static struct ide_pci *to_ide(struct device *dev)
{
    return container_of(dev, struct ide_pci, dev);
}

static struct master_state *state_of(const struct master *m)
{
    return &m->ide->state.master[m->index];
}

/* ---- descriptors ----------------------------------------------------------- */

/* The table does not cross 64 KiB: neither does the chip's counter. */
static bool next_descriptor(const struct master *m, struct position *p)
{
    uint8_t raw[PRD_BYTES];

    if (memory_read(m->ide->memory, gpa(p->entry), raw, sizeof raw) < 0)
        return false;
    p->base = get_le32(raw) & ~1u;
    p->left = get_le16(raw + 4) & ~1u;
    if (!p->left)
        p->left = 0x10000;
    p->last = get_le16(raw + 6) & PRD_LAST;
    p->entry = (p->entry & ~(uint32_t)PRD_TABLE_MASK) | ((p->entry + PRD_BYTES) & PRD_TABLE_MASK);
    return true;
}

/* The next piece of RAM at the position. False: there is none. */
static bool take(struct master *m, struct position *p, bool to_memory, uint64_t bytes,
                 struct ata_pieces *out)
{
    uint64_t n = min_u64(bytes, p->left);
    gpa_t at = gpa(p->base);
    const struct memory_region *r = memory_find(m->ide->memory, at);
    hva_t host;

    if (!r)
        return false;
    n = min_u64(n, r->base.v + r->size_bytes - at.v);
    host = memory_host(m->ide->memory, at, n, to_memory);
    if (!host.p)
        return false;
    m->before[out->count] = *p;
    out->iov[out->count] = (struct iovec){host.p, n};
    out->at[out->count++] = at;
    out->bytes += n;
    p->base += (uint32_t)n;
    p->left -= (uint32_t)n;
    return true;
}

/* Whole units only: what is over stays for the next time. */
static void cut(struct master *m, struct ata_pieces *out, uint64_t surplus)
{
    while (surplus) {
        struct iovec *last = &out->iov[out->count - 1];
        uint64_t n = min_u64(surplus, last->iov_len);

        last->iov_len -= n;
        out->bytes -= n;
        surplus -= n;
        m->next = m->before[out->count - 1];
        m->next.base += (uint32_t)last->iov_len;
        m->next.left -= (uint32_t)last->iov_len;
        if (!last->iov_len)
            out->count--;
    }
}

static int fault(struct master *m, const char *what)
{
    struct master_state *s = state_of(m);

    s->status = (uint8_t)((s->status & ~STATUS_ACTIVE) | STATUS_ERROR);
    log_guest(m->ide->log, &m->ide->limit, "%s, channel %u: %s", m->ide->dev.name, m->index, what);
    return -EFAULT;
}

static int gather_pieces(struct master *m, bool to_memory, uint64_t bytes, struct ata_pieces *out)
{
    struct position p = state_of(m)->now;

    out->count = 0;
    out->bytes = 0;
    while (out->bytes < bytes && out->count < ATA_PIECES_MAX && (p.left || !p.last)) {
        if (!p.left && !next_descriptor(m, &p))
            return fault(m, "the descriptor table is not in RAM");
        if (!take(m, &p, to_memory, bytes - out->bytes, out))
            return fault(m, "a descriptor names something else than RAM");
    }
    m->next = p;
    return 0;
}

static int gather(void *opaque, bool to_memory, uint64_t bytes, unsigned unit,
                  struct ata_pieces *out)
{
    struct master *m = opaque;
    struct master_state *s = state_of(m);
    int rc;

    if (!(s->status & STATUS_ACTIVE))
        return -EAGAIN;
    if (!(m->ide->state.pci.config[PCI_COMMAND] & PCI_COMMAND_MASTER))
        return fault(m, "DMA without being a bus master");
    if (to_memory != !!(s->command & COMMAND_TO_MEMORY))
        return fault(m, "DMA against the direction of the drive's command");
    rc = gather_pieces(m, to_memory, bytes, out);
    if (rc)
        return rc;
    cut(m, out, out->bytes % unit);
    if (out->bytes)
        return 0;
    s->status &= (uint8_t)~STATUS_ACTIVE;        /* the table ended before the data */
    return -ENODATA;
}

static void advance(void *opaque)
{
    struct master *m = opaque;

    state_of(m)->now = m->next;
}

/* The line's edge is latched, and with the data all moved the controller is idle; a table
 * that describes more than there was leaves it active (interface, 3.1). */
static void interrupt(void *opaque, bool level)
{
    struct master *m = opaque;
    struct master_state *s = state_of(m);

    if (!level)
        return;
    s->status |= STATUS_INTERRUPT;
    if (!s->now.left && s->now.last)
        s->status &= (uint8_t)~STATUS_ACTIVE;
}

/* ---- registers ------------------------------------------------------------- */

static uint8_t register_read(struct ide_pci *ide, unsigned offset)
{
    const struct master_state *s = &ide->state.master[offset / CHANNEL_BYTES];
    unsigned reg = offset % CHANNEL_BYTES;

    switch (reg) {
    case 0: return s->command;
    case 2: return s->status;
    case 1: case 3: return 0;
    default: return (uint8_t)(s->table >> 8 * (reg - 4));
    }
}

/* Stopping forgets where the transfer was (interface, 2.1). */
static void command_write(struct master *m, uint8_t v)
{
    struct master_state *s = state_of(m);
    bool was = s->command & COMMAND_START;

    s->command = v & (COMMAND_START | COMMAND_TO_MEMORY);
    if (was == (v & COMMAND_START))
        return;
    s->now = (struct position){.entry = s->table};
    s->status &= (uint8_t)~STATUS_ACTIVE;
    if (was)
        return;
    s->status |= STATUS_ACTIVE;
    ata_dma_started(m->ide->channel[m->index]);
}

static void register_write(struct ide_pci *ide, unsigned offset, uint8_t v)
{
    struct master *m = &ide->master[offset / CHANNEL_BYTES];
    struct master_state *s = state_of(m);
    unsigned reg = offset % CHANNEL_BYTES, shift = 8 * (reg & 3);

    if (reg == 0)
        command_write(m, v);
    else if (reg == 2)
        s->status = (uint8_t)((s->status & (STATUS_ACTIVE | STATUS_ERROR | STATUS_INTERRUPT) &
                               ~(v & (STATUS_ERROR | STATUS_INTERRUPT))) | (v & STATUS_KEPT));
    else if (reg >= 4)
        s->table = (s->table & ~(0xffu << shift) & ~3u) | ((uint32_t)v << shift & ~3u);
}

static uint64_t bar_read(struct pci_function *f, uint64_t offset, unsigned size)
{
    struct ide_pci *ide = container_of(f, struct ide_pci, pci);
    uint64_t v = 0;

    for (unsigned i = 0; i < size; i++)
        v |= (uint64_t)register_read(ide, (unsigned)offset + i) << 8 * i;
    return v;
}

static void bar_write(struct pci_function *f, uint64_t offset, unsigned size, uint64_t value)
{
    struct ide_pci *ide = container_of(f, struct ide_pci, pci);

    for (unsigned i = 0; i < size; i++)
        register_write(ide, (unsigned)offset + i, (uint8_t)(value >> 8 * i));
}

static const struct pci_bar_ops bar_ops = {bar_read, bar_write};

/* ---- the device ------------------------------------------------------------ */

static void reset(struct device *dev)
{
    struct ide_pci *ide = to_ide(dev);

    memset(ide->state.master, 0, sizeof ide->state.master);
    pci_function_reset(&ide->pci);
}

static void resume(struct device *dev)
{
    struct ide_pci *ide = to_ide(dev);

    pci_function_resume(&ide->pci);
    for (unsigned i = 0; i < IDE_CHANNELS; i++)
        ata_dma_started(ide->channel[i]);
}

static void destroy(struct device *dev)
{
    struct ide_pci *ide = to_ide(dev);

    for (unsigned i = 0; i < IDE_CHANNELS; i++)
        ata_set_bus_master(ide->channel[i], NULL);
    if (ide->bus)
        pci_bus_remove(ide->bus, &ide->pci);
    free(ide);
}

static const struct state_field position_fields[] = {
    STATE_U32(struct position, entry), STATE_U32(struct position, base),
    STATE_U32(struct position, left), STATE_BOOL(struct position, last),
    STATE_END
};
static const struct state_desc position_desc = {"position", 1, position_fields};

static const struct state_field master_fields[] = {
    STATE_U8(struct master_state, command), STATE_U8(struct master_state, status),
    STATE_U32(struct master_state, table),
    STATE_STRUCT(struct master_state, now, &position_desc),
    STATE_END
};
static const struct state_desc master_desc = {"master", 1, master_fields};

static const struct state_field fields[] = {
    STATE_STRUCT(struct ide_state, pci, &pci_function_state_desc),
    STATE_STRUCT_ARRAY(struct ide_state, master, &master_desc),
    STATE_END
};
static const struct state_desc desc = {"ide-pci", 1, fields};

static const struct state_desc *describe(struct device *dev, void **state)
{
    *state = &to_ide(dev)->state;
    return &desc;
}

static const struct device_ops ops = {
    .type = "ide-pci",
    .reset = reset,
    .resume = resume,
    .describe = describe,
    .destroy = destroy,
};

/* IDETIM and its kin (PIIX3, 3.2.9 to 3.2.12) are storage: timing there is none. Decoding
 * is on from the start, as firmware leaves it. */
static void configuration(struct ide_pci *ide)
{
    static const struct pci_identity id = {.vendor = VENDOR_INTEL, .device = DEVICE_PIIX3_IDE,
                                           .class = CLASS_IDE, .subsystem_vendor = 0x1af4,
                                           .subsystem = 0x1100};

    pci_function_init(&ide->pci, &ide->state.pci, "ide", &id);
    for (unsigned i = 0; i < 5; i++) {
        ide->pci.writable[IDETIM + i] = 0xff;
        ide->state.pci.config[IDETIM + i] = i < 4 && i & 1 ? IDETIM_DECODE : 0;
    }
    pci_bar_set(&ide->pci, BAR_BUS_MASTER, PCI_BAR_IO, BAR_BYTES, &bar_ops);
}

struct device *ide_pci_new(const struct device_env *env, struct pci_bus *bus,
                           const struct ide_pci_config *cfg, struct error **err)
{
    struct ide_pci *ide = calloc(1, sizeof *ide);
    int rc;

    if (!ide) {
        error_set(err, ENOMEM, "no memory for the IDE controller");
        return NULL;
    }
    device_init(&ide->dev, &ops, "ide");
    ide->memory = env->memory;
    ide->log = env->log;
    configuration(ide);
    rc = cfg->function ? pci_bus_add_beside(bus, &ide->pci, (unsigned)cfg->slot, cfg->function, err)
                       : pci_bus_add(bus, &ide->pci, cfg->slot, err);
    if (rc < 0) {
        free(ide);
        return NULL;
    }
    ide->bus = bus;
    for (unsigned i = 0; i < IDE_CHANNELS; i++) {
        struct master *m = &ide->master[i];

        *m = (struct master){.ide = ide, .index = i, .ops = {gather, advance, interrupt, m}};
        ide->channel[i] = cfg->channel[i];
        ata_set_bus_master(ide->channel[i], &m->ops);
    }
    return &ide->dev;
}
