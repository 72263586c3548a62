/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * e1000.c - the registers of the 82540EM, its EEPROM, its PHY, its interrupts.
 *
 * Most registers just keep what is written; those in the switches below do not. The
 * EEPROM (5.6) is there with a valid checksum, since drivers refuse cards without one;
 * it is read-only.
 */
#include "device/e1000_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/strbuf.h"

enum { MEMORY_BYTES = 128 << 10, IO_BYTES = 64, IO_ADDRESS = 0, IO_DATA = 4 };
enum { VENDOR_INTEL = 0x8086, DEVICE_82540EM = 0x100e, CLASS_ETHERNET = 0x020000 };
/* EECD (13.4.3). */
enum { EECD_SK = 1, EECD_CS = 2, EECD_DI = 4, EECD_DO = 8, EECD_REQ = 0x40, EECD_GNT = 0x80,
       EECD_PRESENT = 0x100, EECD_LINES = EECD_SK | EECD_CS | EECD_DI | EECD_REQ };
enum { EEPROM_COMMAND_BITS = 9, EEPROM_READ = 6, EEPROM_IDLE = 0xffff, EEPROM_CHECKSUM = 0xbaba };
enum { EERD_START = 1, EERD_DONE = 1 << 4 };
enum { MDIC_WRITE = 1, MDIC_READ = 2, MDIC_READY = 1 << 28, MDIC_INTERRUPT = 1 << 29,
       MDIC_ERROR = 1 << 30, MDIC_PHY = 1 };
/* The PHY: a Marvell 88E1011. */
enum { PHY_CONTROL = 0, PHY_STATUS = 1, PHY_ID1 = 2, PHY_ID2 = 3, PHY_ADVERTISE = 4,
       PHY_PARTNER = 5, PHY_1000_CONTROL = 9, PHY_1000_STATUS = 10, PHY_EXT_STATUS = 15,
       PHY_SPECIFIC_CONTROL = 16, PHY_SPECIFIC_STATUS = 17, PHY_EXT_CONTROL = 20 };
enum { PHY_STATUS_LINK = 1 << 2, PHY_SPECIFIC_LINK = 1 << 10, PHY_RESET = 1 << 15,
       PHY_RESTART = 1 << 9 };
enum { ITR_UNIT_NS = 256 };

static struct e1000 *to_e1000(const struct device *dev)
{
    return container_of(dev, struct e1000, dev);
}

/* ---- interrupts (13.4.17 ff.) --------------------------------------------- */

static void update_line(struct e1000 *e)
{
    uint32_t itr = *e1000_reg(e, ITR) & 0xffff;
    bool want = *e1000_reg(e, ICR) & *e1000_reg(e, IMS);
    uint64_t now;

    if (!want || e->state.pci.intx) {
        pci_intx_set(&e->pci, want);
        return;
    }
    now = clock_now_ns(e->clock);
    if (itr && now < e->state.quiet_until_ns) {
        timer_arm(&e->throttle, e->state.quiet_until_ns);
        return;
    }
    e->state.quiet_until_ns = now + (uint64_t)itr * ITR_UNIT_NS;
    e->interrupts++;
    pci_intx_set(&e->pci, true);
}

static void on_throttle(void *opaque)
{
    update_line(opaque);
}

void e1000_raise(struct e1000 *e, uint32_t causes)
{
    *e1000_reg(e, ICR) |= causes;
    update_line(e);
}

/* ---- EEPROM --------------------------------------------------------------- */

/* Microwire: commands go in with the clock's rising edge, data comes out with its
 * falling one, first a zero, then words from the address on. */
static void eeprom_write(struct e1000 *e, uint32_t value)
{
    struct e1000_state *s = &e->state;
    uint8_t now = (uint8_t)(value & EECD_LINES), before = s->eeprom_last;

    s->eeprom_last = now;
    if (!(now & EECD_CS)) {
        s->eeprom_bits = 0;
        s->eeprom_command = 0;
        s->eeprom_out = EEPROM_IDLE;
        return;
    }
    if (now & EECD_SK && !(before & EECD_SK) && s->eeprom_bits < EEPROM_COMMAND_BITS) {
        bool bit = now & EECD_DI;

        if (!s->eeprom_bits && !bit)         /* it waits for the start bit */
            return;
        s->eeprom_command = (uint16_t)(s->eeprom_command << 1 | bit);
        s->eeprom_bits++;
    } else if (!(now & EECD_SK) && before & EECD_SK &&
               s->eeprom_bits == EEPROM_COMMAND_BITS && s->eeprom_command >> 6 == EEPROM_READ) {
        s->eeprom_out = s->eeprom_out == EEPROM_IDLE
                            ? (uint16_t)((s->eeprom_command & (EEPROM_WORDS - 1)) * 16)
                            : (uint16_t)((s->eeprom_out + 1) % (EEPROM_WORDS * 16));
    }
}

static uint32_t eeprom_read(const struct e1000 *e)
{
    const struct e1000_state *s = &e->state;
    uint16_t at = s->eeprom_out;
    bool bit = at == EEPROM_IDLE || at >= EEPROM_WORDS * 16
                   ? true : e->eeprom[at / 16] >> (15 - at % 16) & 1;

    return s->eeprom_last | EECD_PRESENT | (s->eeprom_last & EECD_REQ ? EECD_GNT : 0) |
           (bit ? EECD_DO : 0);
}

static void eerd_write(struct e1000 *e, uint32_t value)
{
    unsigned word = value >> 8 & 0xff;

    if (value & EERD_START)
        value = (value & 0xff00) | EERD_DONE |
                (uint32_t)(word < EEPROM_WORDS ? e->eeprom[word] : 0xffff) << 16;
    *e1000_reg(e, EERD) = value;
}

static void eeprom_fill(struct e1000 *e, const uint8_t *mac)
{
    uint16_t sum = 0;

    for (unsigned i = 0; i < 3; i++)
        e->eeprom[i] = (uint16_t)(mac[i * 2] | mac[i * 2 + 1] << 8);
    e->eeprom[0x0a] = 0x4408;                /* valid, power management off */
    e->eeprom[0x0b] = DEVICE_82540EM;
    e->eeprom[0x0c] = VENDOR_INTEL;
    e->eeprom[0x0d] = DEVICE_82540EM;
    e->eeprom[0x0e] = VENDOR_INTEL;
    for (unsigned i = 0; i < EEPROM_WORDS - 1; i++)
        sum = (uint16_t)(sum + e->eeprom[i]);
    e->eeprom[EEPROM_WORDS - 1] = (uint16_t)(EEPROM_CHECKSUM - sum);
}

/* ---- PHY (13.4.8) --------------------------------------------------------- */

static void phy_link(struct e1000 *e)
{
    uint16_t *p = e->state.phy;

    p[PHY_STATUS] = (uint16_t)(0x7949 | 0x20 | (e->link_up ? PHY_STATUS_LINK : 0));
    p[PHY_SPECIFIC_STATUS] = (uint16_t)(0xa800 | (e->link_up ? PHY_SPECIFIC_LINK : 0));
}

static void phy_power_on(struct e1000 *e)
{
    uint16_t *p = e->state.phy;

    memset(p, 0, sizeof e->state.phy);
    p[PHY_CONTROL] = 0x1140;                 /* negotiate; full duplex, 1000 Mb/s */
    p[PHY_ID1] = 0x0141;
    p[PHY_ID2] = 0x0c20;
    p[PHY_ADVERTISE] = 0x0de1;
    p[PHY_PARTNER] = 0x45e1;
    p[PHY_1000_CONTROL] = 0x0e00;
    p[PHY_1000_STATUS] = 0x3c00;
    p[PHY_EXT_STATUS] = 0x3000;
    p[PHY_SPECIFIC_CONTROL] = 0x0360;
    p[PHY_EXT_CONTROL] = 0x0d60;
    phy_link(e);
}

static void phy_write(struct e1000 *e, unsigned n, uint16_t value)
{
    switch (n) {
    case PHY_CONTROL:
        if (value & PHY_RESET)
            phy_power_on(e);
        else
            e->state.phy[n] = value & (uint16_t)~PHY_RESTART;
        if (value & (PHY_RESET | PHY_RESTART) && e->link_up)
            e1000_raise(e, ICR_LSC);         /* negotiated already */
        break;
    case PHY_STATUS: case PHY_ID1: case PHY_ID2: case PHY_PARTNER: case PHY_1000_STATUS:
    case PHY_EXT_STATUS: case PHY_SPECIFIC_STATUS:
        break;
    default:
        e->state.phy[n] = value;
    }
}

static void mdic_write(struct e1000 *e, uint32_t value)
{
    unsigned n = value >> 16 & 31, phy = value >> 21 & 31, op = value >> 26 & 3;

    value &= ~(uint32_t)(MDIC_READY | MDIC_ERROR);
    if (phy != MDIC_PHY || (op != MDIC_READ && op != MDIC_WRITE))
        value |= MDIC_ERROR;
    else if (op == MDIC_READ)
        value = (value & ~0xffffu) | e->state.phy[n];
    else
        phy_write(e, n, (uint16_t)value);
    *e1000_reg(e, MDIC) = value | MDIC_READY;
    if (value & MDIC_INTERRUPT)
        e1000_raise(e, ICR_MDAC);
}

/* ---- registers ------------------------------------------------------------ */

static void set_status(struct e1000 *e)
{
    *e1000_reg(e, STATUS) = STATUS_FD | STATUS_SPEED_1000 | (e->link_up ? STATUS_LU : 0);
}

static void chip_reset(struct e1000 *e)
{
    struct e1000_state *s = &e->state;
    uint32_t io = s->io_address;

    timer_disarm(&e->throttle);
    memset((char *)s + offsetof(struct e1000_state, reg), 0,
           sizeof *s - offsetof(struct e1000_state, reg));
    s->io_address = io;
    s->eeprom_out = EEPROM_IDLE;
    *e1000_reg(e, CTRL) = 0x00000a09;        /* 13.4.1: after power-on, with our EEPROM */
    *e1000_reg(e, PBA) = 0x00100030;
    *e1000_reg(e, VET) = 0x8100;
    *e1000_reg(e, RA) = (uint32_t)e->eeprom[0] | (uint32_t)e->eeprom[1] << 16;
    *e1000_reg(e, RA + 4) = e->eeprom[2] | 1u << 31;
    set_status(e);
    phy_power_on(e);
    pci_intx_set(&e->pci, false);
}

static void ctrl_write(struct e1000 *e, uint32_t value)
{
    if (value & CTRL_RST) {
        chip_reset(e);
        return;
    }
    if (value & (uint32_t)CTRL_PHY_RST)
        phy_power_on(e);
    *e1000_reg(e, CTRL) = value & ~(uint32_t)CTRL_PHY_RST;
}

static uint32_t register_read(struct e1000 *e, uint32_t at)
{
    uint32_t value;

    e->accesses++;
    if (at >= REGISTERS_END)
        return 0;
    at &= ~3u;
    value = *e1000_reg(e, at);
    switch (at) {
    case EECD:
        return eeprom_read(e);
    case ICR:                                /* reading acknowledges */
        *e1000_reg(e, ICR) = 0;
        update_line(e);
        return value;
    case ICS: case IMC:
        return 0;
    default:
        if (at >= STATISTICS && at < STATISTICS_END)
            *e1000_reg(e, at) = 0;           /* 13.7: cleared by reading */
        return value;
    }
}

static void register_write(struct e1000 *e, uint32_t at, uint32_t value)
{
    e->accesses++;
    if (at >= REGISTERS_END || at & 3)
        return;
    switch (at) {
    case CTRL: ctrl_write(e, value); return;
    case STATUS: return;
    case EECD: eeprom_write(e, value); return;
    case EERD: eerd_write(e, value); return;
    case MDIC: mdic_write(e, value); return;
    case ICR: *e1000_reg(e, ICR) &= ~value; update_line(e); return;
    case ICS: e1000_raise(e, value & 0x1ffff); return;
    case IMS: *e1000_reg(e, IMS) |= value & 0x1ffff; update_line(e); return;
    case IMC: *e1000_reg(e, IMS) &= ~value; update_line(e); return;
    case RDLEN: case TDLEN: *e1000_reg(e, at) = value & 0xfff80; return;
    case RDH: case TDH: *e1000_reg(e, at) = value & 0xffff; return;
    case RDT: case RCTL:
        *e1000_reg(e, at) = at == RDT ? value & 0xffff : value;
        net_receive_ready(e->net, 0);
        return;
    case TDT: case TCTL:
        *e1000_reg(e, at) = at == TDT ? value & 0xffff : value;
        e1000_transmit(e);
        return;
    default:
        if (at < STATISTICS || at >= STATISTICS_END)
            *e1000_reg(e, at) = value;
    }
}

static struct e1000 *of_function(struct pci_function *f)
{
    return container_of(f, struct e1000, pci);
}

/* Only whole registers are to be accessed (13.4). */
static uint64_t memory_bar_read(struct pci_function *f, uint64_t offset, unsigned size)
{
    uint64_t value = register_read(of_function(f), (uint32_t)offset);

    return size == 8 ? value | (uint64_t)register_read(of_function(f), (uint32_t)offset + 4) << 32
                     : value >> 8 * (offset & 3);
}

static void memory_bar_write(struct pci_function *f, uint64_t offset, unsigned size,
                             uint64_t value)
{
    if (size < 4)
        return;
    register_write(of_function(f), (uint32_t)offset, (uint32_t)value);
    if (size == 8)
        register_write(of_function(f), (uint32_t)offset + 4, (uint32_t)(value >> 32));
}

/* 13.1.2: an address, then the data. */
static uint64_t io_bar_read(struct pci_function *f, uint64_t offset, unsigned size)
{
    struct e1000 *e = of_function(f);

    if (size != 4)
        return ~0ull;
    return offset == IO_ADDRESS ? e->state.io_address
           : offset == IO_DATA ? register_read(e, e->state.io_address) : 0;
}

static void io_bar_write(struct pci_function *f, uint64_t offset, unsigned size, uint64_t value)
{
    struct e1000 *e = of_function(f);

    if (size == 4 && offset == IO_ADDRESS)
        e->state.io_address = (uint32_t)value & (MEMORY_BYTES - 1);
    else if (size == 4 && offset == IO_DATA)
        register_write(e, e->state.io_address, (uint32_t)value);
}

static const struct pci_bar_ops memory_bar = {memory_bar_read, memory_bar_write};
static const struct pci_bar_ops io_bar = {io_bar_read, io_bar_write};

/* ---- the device ----------------------------------------------------------- */

static void link_changed(void *opaque, bool up)
{
    struct e1000 *e = opaque;

    if (e->link_up == up)
        return;
    e->link_up = up;
    set_status(e);
    phy_link(e);
    e1000_raise(e, ICR_LSC);
}

static void e1000_reset(struct device *dev)
{
    struct e1000 *e = to_e1000(dev);

    e->state.io_address = 0;
    chip_reset(e);
    pci_function_reset(&e->pci);
}

static void e1000_resume(struct device *dev)
{
    struct e1000 *e = to_e1000(dev);

    pci_function_resume(&e->pci);
    if (*e1000_reg(e, ICR) & *e1000_reg(e, IMS) && !e->state.pci.intx)
        timer_arm(&e->throttle, e->state.quiet_until_ns);
    net_receive_ready(e->net, 0);
}

static void e1000_destroy(struct device *dev)
{
    struct e1000 *e = to_e1000(dev);

    timer_disarm(&e->throttle);
    if (e->bus)
        pci_bus_remove(e->bus, &e->pci);
    net_close(e->net);
    free(e->frame);
    free(e);
}

static const struct state_field context_fields[] = {
    STATE_U8(struct e1000_context, ip_start), STATE_U8(struct e1000_context, ip_at),
    STATE_U8(struct e1000_context, tu_start), STATE_U8(struct e1000_context, tu_at),
    STATE_U8(struct e1000_context, command), STATE_U8(struct e1000_context, header_bytes),
    STATE_U16(struct e1000_context, ip_end), STATE_U16(struct e1000_context, tu_end),
    STATE_U16(struct e1000_context, mss), STATE_U32(struct e1000_context, payload_bytes),
    STATE_END
};
static const struct state_desc context_desc = {"context", 1, context_fields};

static const struct state_field fields[] = {
    STATE_STRUCT(struct e1000_state, pci, &pci_function_state_desc),
    STATE_U32_ARRAY(struct e1000_state, reg),
    STATE_U16_ARRAY(struct e1000_state, phy),
    STATE_U32(struct e1000_state, io_address),
    STATE_U8(struct e1000_state, eeprom_last),
    STATE_U8(struct e1000_state, eeprom_bits),
    STATE_U16(struct e1000_state, eeprom_command),
    STATE_U16(struct e1000_state, eeprom_out),
    STATE_STRUCT(struct e1000_state, context, &context_desc),
    STATE_U64(struct e1000_state, quiet_until_ns),
    STATE_END
};
static const struct state_desc desc = {"e1000", 1, fields};

static const struct state_desc *e1000_state(struct device *dev, void **state)
{
    *state = &to_e1000(dev)->state;
    return &desc;
}

static const struct device_ops ops = {
    .type = "e1000",
    .reset = e1000_reset,
    .resume = e1000_resume,
    .describe = e1000_state,
    .destroy = e1000_destroy,
};

struct net *e1000_backend(const struct device *dev)
{
    return dev->ops == &ops ? to_e1000(dev)->net : NULL;
}

void e1000_describe(const struct device *dev, struct strbuf *out)
{
    const struct e1000 *e = to_e1000(dev);
    uint64_t frames = e->net->stats.rx_frames + e->net->stats.tx_frames;
    double per = frames ? (double)frames : 1;

    strbuf_addf(out, "%s: e1000, %s, link %s\n", dev->name, e->net->ops->name,
                e->link_up ? "up" : "down");
    strbuf_addf(out, "  %llu register accesses (%.2f a frame), %llu interrupts (%.2f a frame), "
                "%llu bad descriptors\n", (unsigned long long)e->accesses,
                (double)e->accesses / per, (unsigned long long)e->interrupts,
                (double)e->interrupts / per, (unsigned long long)e->bad_descriptors);
    net_describe(e->net, out);
}

struct device *e1000_new(const struct device_env *env, struct pci_bus *bus,
                         const struct e1000_config *cfg, struct error **err)
{
    static const struct pci_identity id = {
        .vendor = VENDOR_INTEL, .device = DEVICE_82540EM, .subsystem_vendor = VENDOR_INTEL,
        .subsystem = 0x001e, .class = CLASS_ETHERNET, .revision = 2, .intx = true,
    };
    struct e1000 *e = calloc(1, sizeof *e);

    if (e)
        e->frame = malloc(FRAME_ROOM);
    if (!e || !e->frame) {
        error_set(err, ENOMEM, "no memory for network card '%s'", cfg->name);
        net_close(cfg->net);
        free(e);
        return NULL;
    }
    device_init(&e->dev, &ops, cfg->name);
    e->memory = env->memory;
    e->clock = env->clock;
    e->log = env->log;
    e->net = cfg->net;
    e->link_up = !cfg->net->link_down;
    timer_init(&e->throttle, env->clock, on_throttle, e);
    eeprom_fill(e, cfg->mac);
    pci_function_init(&e->pci, &e->state.pci, "e1000", &id);
    pci_bar_set(&e->pci, 0, PCI_BAR_MEMORY, MEMORY_BYTES, &memory_bar);
    pci_bar_set(&e->pci, 1, PCI_BAR_IO, IO_BYTES, &io_bar);
    if (pci_bus_add(bus, &e->pci, -1, err) < 0) {
        e1000_destroy(&e->dev);
        return NULL;
    }
    e->bus = bus;
    chip_reset(e);
    net_attach(e->net, &(struct net_up){e1000_receive, link_changed, e});
    return &e->dev;
}
