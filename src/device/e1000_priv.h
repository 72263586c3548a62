/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * e1000_priv.h - the inside of the 82540EM: e1000.c has registers, EEPROM, PHY and
 * interrupts, e1000_tx.c and e1000_rx.c the two rings.
 */
#ifndef RING3_DEVICE_E1000_PRIV_H
#define RING3_DEVICE_E1000_PRIV_H

#include "base/clock.h"
#include "base/log.h"
#include "device/e1000.h"

/* Registers (13.4), by name as in the manual. */
enum {
    CTRL = 0x0000, STATUS = 0x0008, EECD = 0x0010, EERD = 0x0014, MDIC = 0x0020, VET = 0x0038,
    ICR = 0x00c0, ITR = 0x00c4, ICS = 0x00c8, IMS = 0x00d0, IMC = 0x00d8, RCTL = 0x0100,
    TCTL = 0x0400, PBA = 0x1000,
    RDBAL = 0x2800, RDBAH = 0x2804, RDLEN = 0x2808, RDH = 0x2810, RDT = 0x2818,
    TDBAL = 0x3800, TDBAH = 0x3804, TDLEN = 0x3808, TDH = 0x3810, TDT = 0x3818,
    STATISTICS = 0x4000, MPC = 0x4010, GPRC = 0x4074, GPTC = 0x4080, TPR = 0x40d0, TPT = 0x40d4,
    STATISTICS_END = 0x4128, RXCSUM = 0x5000, MTA = 0x5200, MTA_END = 0x5400, RA = 0x5400,
    RA_END = 0x5480, VFTA = 0x5600, VFTA_END = 0x5800, REGISTERS_END = 0x5c00,
};
enum { CTRL_RST = 1 << 26, CTRL_VME = 1 << 30, CTRL_PHY_RST = (int)(1u << 31) };
enum { STATUS_FD = 1, STATUS_LU = 2, STATUS_SPEED_1000 = 2 << 6 };
enum { ICR_TXDW = 1, ICR_TXQE = 2, ICR_LSC = 4, ICR_RXDMT0 = 1 << 4, ICR_RXO = 1 << 6,
       ICR_RXT0 = 1 << 7, ICR_MDAC = 1 << 9 };
enum { RCTL_EN = 2, RCTL_UPE = 8, RCTL_MPE = 0x10, RCTL_LPE = 0x20, RCTL_RDMTS_SHIFT = 8,
       RCTL_MO_SHIFT = 12, RCTL_BAM = 1 << 15, RCTL_BSIZE_SHIFT = 16, RCTL_VFE = 1 << 18,
       RCTL_BSEX = 1 << 25, RCTL_SECRC = 1 << 26 };
enum { TCTL_EN = 2, TCTL_PSP = 8 };
enum { DESCRIPTOR_BYTES = 16, MAC_BYTES = 6, FRAME_MIN = 60, FRAME_MAX = 16384, TAG_BYTES = 4,
       EEPROM_WORDS = 64, PHY_REGISTERS = 32 };

/* The last context descriptor (3.3.6). */
struct e1000_context {
    uint8_t ip_start, ip_at, tu_start, tu_at, command, header_bytes;
    uint16_t ip_end, tu_end, mss;
    uint32_t payload_bytes;
};

struct e1000_state {
    struct pci_function_state pci;
    uint32_t reg[REGISTERS_END / 4];
    uint16_t phy[PHY_REGISTERS];
    uint32_t io_address;             /* IOADDR */
    uint8_t eeprom_last;             /* EECD as it was written last */
    uint8_t eeprom_bits;             /* of a command taken in */
    uint16_t eeprom_command, eeprom_out;     /* _out: bit position, or all ones */
    struct e1000_context context;
    uint64_t quiet_until_ns;         /* interrupt throttling */
};

/* A frame being gathered from its descriptors. */
struct e1000_frame {
    uint32_t bytes;
    uint8_t command, options;
    uint16_t special;
    bool broken;
};

struct e1000 {
    struct device dev;
    struct e1000_state state;
    struct pci_function pci;
    struct pci_bus *bus;
    struct memory *memory;
    struct clock *clock;
    struct log *log;
    struct log_limit limit;
    struct net *net;
    struct timer throttle;
    uint16_t eeprom[EEPROM_WORDS];
    bool link_up;
    uint64_t accesses, interrupts, bad_descriptors, filtered;
    struct e1000_frame sent;
    uint8_t *frame;                  /* its bytes: FRAME_ROOM */
};
enum { FRAME_ROOM = NET_FRAME_MAX + TAG_BYTES };

static inline uint32_t *e1000_reg(struct e1000 *e, unsigned at)
{
    return &e->state.reg[at / 4];
}
/* Causes bits of ICR. */
void e1000_raise(struct e1000 *e, uint32_t causes);
static inline bool e1000_may_dma(const struct e1000 *e)
{
    return e->state.pci.config[PCI_COMMAND] & PCI_COMMAND_MASTER;
}
static inline uint64_t e1000_ring(struct e1000 *e, unsigned low, unsigned high)
{
    return ((uint64_t)*e1000_reg(e, high) << 32 | *e1000_reg(e, low)) & ~(uint64_t)15;
}

/* e1000_tx.c: takes what is between TDH and TDT. */
void e1000_transmit(struct e1000 *e);
/* e1000_rx.c: net_up.receive. */
bool e1000_receive(void *opaque, unsigned queue, const struct net_header *h,
                   const struct iovec *iov, unsigned iovs);

#endif
