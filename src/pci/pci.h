/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pci.h - one PCI bus: functions, their configuration space, BARs, INTx, MSI-X.
 *
 * Follows PCI Local Bus 3.0 (chapter 6) for the header and the capabilities, and
 * PCI Express 7.2.2 for the memory-mapped way to configuration space (ECAM).
 *
 * A FUNCTION is a struct pci_function embedded in a device. Its configuration
 * space is bytes with a mask of writable bits and one of bits that are cleared
 * by writing ones; nearly everything a device does there is filling in these
 * three. In this order: pci_function_init(), pci_bar_set(), pci_capability_add(),
 * pci_msix_set(), then pci_bus_add(), which places the BARs, maps them and
 * remembers the space as what reset goes back to.
 *
 * BARS are placed by pci_bus_add() in the bus's windows, unless firmware does that
 * (pci_bus_config.unplaced). A guest may size and move them. While memory (or I/O)
 * decoding is on in the command register, a BAR is a region of the bus (bus/bus.h). One
 * that the guest puts on top of something else answers nowhere until it is moved, or the
 * other is. BARs are ordinary regions, never BUS_LOCKLESS, so all of this may happen
 * while vCPUs run.
 *
 * A BAR BACKED BY MEMORY (pci_bar_memory(): a frame buffer, an option ROM) is read and
 * written by the guest at the speed of RAM; the device sees none of it and looks at the
 * bytes when it wants to. Where it is shown changes by device_env.still: by the time the
 * guest executes its next instruction. RAM wins over such a BAR, and such a BAR over
 * other devices. `moved` is called after the change.
 *
 *     hva_t vram = memory_block_new("vga memory", bytes, err);     the device's, for its life
 *     pci_bar_set(&f, 0, PCI_BAR_MEMORY, bytes, NULL);
 *     pci_bar_memory(&f, 0, vram, 0);                              then pci_bus_add()
 *     ... pci_bus_remove(); memory_block_free(vram, bytes);
 *
 * The EXPANSION ROM (6.2.5.2) is the BAR with index PCI_ROM, a memory BAR with its own
 * enable bit: pci_rom_set().
 *
 * MULTI-FUNCTION devices: pci_bus_add() puts function 0 into a slot, pci_bus_add_beside()
 * functions 1 to 7.
 *
 * INTERRUPTS. pci_intx_set() drives the function's INTx level; pins (INTA# is 0) are routed
 * to the `lines` of the bus by (slot + pin - 1) modulo their number, as PIIX boards have it.
 * pci_msix_raise() sends a vector's message, or sets its pending bit while it
 * or all are masked. Whoever uses MSI-X does not drive INTx: pci_msix_enabled().
 *
 * STATE is struct pci_function_state with pci_function_state_desc, a part of the
 * device's own state. After it was loaded: pci_function_resume().
 *
 * Threads: VM lock held in everything here.
 */
#ifndef RING3_PCI_PCI_H
#define RING3_PCI_PCI_H

#include "base/state_desc.h"
#include "base/types.h"
#include "bus/bus.h"
#include "bus/device.h"
#include "bus/irq.h"

enum { PCI_CONFIG_BYTES = 256, PCI_BARS = 7, PCI_ROM = 6, PCI_SLOTS = 32, PCI_FUNCTIONS = 8,
       PCI_LINES = 4, PCI_MSIX_VECTORS_MAX = 64 };

/* Offsets in configuration space (PCI 3.0, 6.1), named as in linux/pci_regs.h. */
enum {
    PCI_VENDOR = 0x00, PCI_DEVICE = 0x02, PCI_COMMAND = 0x04, PCI_STATUS = 0x06,
    PCI_REVISION = 0x08, PCI_CLASS = 0x0a, PCI_HEADER_TYPE = 0x0e, PCI_BAR0 = 0x10,
    PCI_SUBSYSTEM_VENDOR = 0x2c, PCI_SUBSYSTEM = 0x2e, PCI_ROM_ADDRESS = 0x30,
    PCI_CAPABILITIES = 0x34,
    PCI_INTERRUPT_LINE = 0x3c, PCI_INTERRUPT_PIN = 0x3d, PCI_FIRST_CAPABILITY = 0x40,
};
enum { PCI_COMMAND_IO = 1, PCI_COMMAND_MEMORY = 2, PCI_COMMAND_MASTER = 4,
       PCI_COMMAND_INTX_OFF = 1 << 10 };
enum { PCI_MULTI_FUNCTION = 0x80 /* of the header type */ };
enum { PCI_STATUS_INTX = 1 << 3, PCI_STATUS_CAPABILITIES = 1 << 4 };
enum { PCI_CAP_MSIX = 0x11, PCI_CAP_VENDOR = 0x09 };

struct memory;
struct pci_bus;
struct pci_function;
struct strbuf;

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEMORY, PCI_BAR_MEMORY64 };

/* What answers behind a BAR. Offsets are relative to it. */
struct pci_bar_ops {
    uint64_t (*read)(struct pci_function *f, uint64_t offset, unsigned size);
    void (*write)(struct pci_function *f, uint64_t offset, unsigned size, uint64_t value);
};

struct pci_bar {
    enum pci_bar_kind kind;
    uint64_t size;                    /* power of two; memory: at least 16, I/O: 4 */
    const struct pci_bar_ops *ops;
    struct pci_function *function;
    unsigned index;
    bool mapped;                      /* on the bus or in the memory map, at `base` */
    uint64_t base;
    hva_t memory;                     /* what the guest sees there; {NULL}: ops */
    unsigned memory_flags;            /* enum memory_flags */
};

struct pci_function_state {
    uint8_t config[PCI_CONFIG_BYTES];
    uint32_t msix_table[PCI_MSIX_VECTORS_MAX * 4];    /* address, address, data, control */
    uint64_t msix_pending;
    bool intx;                        /* the level the device wants */
};
extern const struct state_desc pci_function_state_desc;

struct pci_function {
    const char *name;                 /* "virtio-blk": for messages and `info pci` */
    struct pci_function_state *state; /* in the device's state struct */
    uint8_t writable[PCI_CONFIG_BYTES], clearable[PCI_CONFIG_BYTES];
    uint8_t initial[PCI_CONFIG_BYTES];
    struct pci_bar bar[PCI_BARS];
    unsigned next_capability, last_capability;
    struct pci_bus *bus;
    unsigned slot, function;          /* function: 0 .. 7 */
    struct irq_line line;
    bool line_level;
    /* MSI-X */
    unsigned vectors, msix_capability, msix_bar;
    uint64_t msix_table_offset, msix_pending_offset;
    /* Optional: called before a read and after a write of [offset, offset+size). */
    void (*config_read)(struct pci_function *f, unsigned offset, unsigned size);
    void (*config_written)(struct pci_function *f, unsigned offset, unsigned size);
    /* Optional: BARs were (un)mapped, moved; for doorbells. */
    void (*moved)(struct pci_function *f);
};

struct pci_identity {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint32_t class;                   /* 0xCCSSPP: class, subclass, interface */
    uint8_t revision;
    bool intx;                        /* has an INTA# pin */
};

/* ---- functions ----------------------------------------------------------- */

void pci_function_init(struct pci_function *f, struct pci_function_state *state, const char *name,
                       const struct pci_identity *id);
/* A 64-bit BAR takes index+1 too. */
void pci_bar_set(struct pci_function *f, unsigned index, enum pci_bar_kind kind, uint64_t size,
                 const struct pci_bar_ops *ops);
/* Behind the BAR, set before with ops NULL, is `memory` of its size, the caller's, at least
 * a page. `flags`: MEMORY_READONLY or 0 (memory/memory.h). */
void pci_bar_memory(struct pci_function *f, unsigned index, hva_t memory, unsigned flags);
/* An expansion ROM of `size` bytes (a power of two, at least a page), read-only. */
void pci_rom_set(struct pci_function *f, hva_t rom, uint64_t size);
/* Appends a capability of `len` bytes whose first is `id`; the link is put in.
 * Returns its offset in configuration space. BUG when there is no room. */
unsigned pci_capability_add(struct pci_function *f, const uint8_t *bytes, unsigned len);
/* MSI-X with table and pending bits at these offsets of a memory BAR, whose ops
 * pass accesses there on to pci_msix_read/write (false: not there). */
void pci_msix_set(struct pci_function *f, unsigned vectors, unsigned bar, uint64_t table,
                  uint64_t pending);
bool pci_msix_read(struct pci_function *f, uint64_t offset, unsigned size, uint64_t *value);
bool pci_msix_write(struct pci_function *f, uint64_t offset, unsigned size, uint64_t value);

bool pci_msix_enabled(const struct pci_function *f);
void pci_msix_raise(struct pci_function *f, unsigned vector);    /* out of range: ignored */
void pci_intx_set(struct pci_function *f, bool level);

/* Power-on configuration; BARs where they were first placed. */
void pci_function_reset(struct pci_function *f);
void pci_function_resume(struct pci_function *f);
bool pci_bar_mapped(const struct pci_function *f, unsigned index, uint64_t *base);

/* As the guest does it. Sizes 1, 2, 4; not across a dword. */
uint32_t pci_config_read(struct pci_function *f, unsigned offset, unsigned size);
void pci_config_write(struct pci_function *f, unsigned offset, unsigned size, uint32_t value);

/* ---- the bus -------------------------------------------------------------- */

struct pci_window { uint64_t base, size; };

struct pci_bus_config {
    uint64_t ecam;                    /* 1 MiB, the one bus; 0 = none */
    struct pci_window io, memory, memory64;
    struct irq_line (*line)(void *opaque, unsigned n);  /* a fresh input of line n < PCI_LINES */
    void *line_opaque;
    uint8_t irq[PCI_LINES];           /* for the interrupt line registers, unless `unplaced` */
    struct irq_msi msi;
    bool unplaced;                    /* BARs start without an address, decoding off */
    /* Function 0 of slot 0; vendor 0: Intel's Q35 memory controller with QEMU's subsystem,
     * which every system knows and none programs. */
    struct pci_identity bridge;
    /* What else the bridge's registers do (pci/pam.h). Both NULL: nothing. bridge_changed is
     * called after they were written, reset or loaded. */
    void (*bridge_init)(void *opaque, struct pci_function *bridge);
    void (*bridge_changed)(void *opaque, const struct pci_function *bridge);
    void *bridge_opaque;
};

/* The host bridge: ports 0xCF8-0xCFF, ECAM, function 0 of slot 0. Made before the
 * functions, destroyed after them. */
struct device *pci_bus_new(const struct device_env *env, const struct pci_bus_config *cfg,
                           struct error **err);
struct pci_bus *pci_bus_of(struct device *host_bridge);

/* slot < 0: the first free one. -EBUSY, -ENOSPC with a message. */
int pci_bus_add(struct pci_bus *bus, struct pci_function *f, int slot, struct error **err);
/* Function 1 .. 7 of a slot that has a function 0, which becomes multi-function. */
int pci_bus_add_beside(struct pci_bus *bus, struct pci_function *f, unsigned slot,
                       unsigned function, struct error **err);
void pci_bus_remove(struct pci_bus *bus, struct pci_function *f);   /* not added: fine */
struct pci_function *pci_bus_function(const struct pci_bus *bus, unsigned slot);   /* its 0th */

/* Which of the bus's lines a slot's pin is on. */
unsigned pci_intx_line(unsigned slot, unsigned pin);
/* The function that was added last; NULL: none. */
const struct pci_function *pci_bus_newest(const struct pci_bus *bus);
/* The configuration address register at port 0xCF8: only whole dwords are PCI's, the
 * bytes are a chip set's reset control (device/sysport.h), which passes these on. */
uint64_t pci_address_read(void *bus);
void pci_address_write(void *bus, uint64_t value);
/* The span of 64-bit BARs that were put above 4 GiB; false: there are none. */
bool pci_bus_high(const struct pci_bus *bus, uint64_t *first, uint64_t *last);
/* Lines for `info pci`. */
void pci_bus_describe(const struct pci_bus *bus, struct strbuf *out);

/* Between the files of this room. */
void pci_msix_control_written(struct pci_function *f);
void pci_function_map(struct pci_function *f);
void pci_function_unmap(struct pci_function *f);
void pci_bus_remap(struct pci_bus *bus);      /* BARs that found no room try again */
struct bus *pci_bus_bus(const struct pci_bus *bus);
void pci_bus_memory_changed(struct pci_bus *bus);       /* asks for pci_function_show() */
/* Brings the memory behind BARs in line; `out` hides what is to go, else shows. */
void pci_function_show(struct pci_function *f, struct memory *memory, bool out);
struct log *pci_bus_log(const struct pci_bus *bus);
const struct irq_msi *pci_bus_msi(const struct pci_bus *bus);

#endif
