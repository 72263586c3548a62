/* SPDX-License-Identifier: MIT-0 */
/*
 * hypercall.h - asking ring3 for something. Freestanding: no other header is needed.
 *
 * THE CALL. Fill the shared page with what the call wants, then write the call's number
 * to port RING3_HC_PORT (1, 2 or 4 bytes). When the OUT is done, so is the call: reading
 * the same port gives 0, or one of RING3_HC_E... below. Nothing a guest puts there can do
 * more than that.
 *
 *     outl(RING3_HC_PORT_PAGE, (uint32_t)(physical_address_of_my_page >> 12));
 *     ...
 *     memcpy(page, &cell, 4);                        // character, attribute, column, row
 *     outl(RING3_HC_PORT, RING3_HC_VGA_PUT);
 *
 * THE PAGE. RING3_HC_PORT_PAGE holds the page's frame number (physical address >> 12).
 * After reset that is a page of ring3's own, at RING3_HC_PAGE; a guest may name any
 * page of its memory instead. RING3_HC_PORT_SIGNATURE reads RING3_HC_SIGNATURE where
 * there are hypercalls, and all ones on machines that have none.
 *
 * BY MEMORY. The page at RING3_HC_REGISTERS is read-only: reading it costs nothing, and a
 * write to it reaches ring3 as a memory-mapped exit. It has the same three registers, for
 * guests that have no port instructions at hand (struct ring3_hc_registers).
 */
#ifndef RING3_HYPERCALL_H
#define RING3_HYPERCALL_H

#define RING3_HC_PORT           0xabba   /* write: do this call; read: how the last one went */
#define RING3_HC_PORT_PAGE      0xabbe   /* frame number of the shared page, 4 bytes */
#define RING3_HC_PORT_SIGNATURE 0xabc2   /* reads RING3_HC_SIGNATURE, 4 bytes */
#define RING3_HC_SIGNATURE      0x33474e52          /* "RNG3" */

#define RING3_HC_PAGE           0xfedb0000u
#define RING3_HC_REGISTERS      0xfedb1000u

/* Numbers. A guest that asks for one that is not here gets RING3_HC_ENOSYS. */
#define RING3_HC_VGA_PUT          1   /* struct ring3_hc_cell */
#define RING3_HC_VGA_SCREEN       2   /* 4,000 bytes: 25 rows of 80 characters and attributes */
#define RING3_HC_DISK_INFO        3   /* gives struct ring3_hc_disk_info */
#define RING3_HC_DISK_WRITE       4   /* struct ring3_hc_sector */
#define RING3_HC_DISK_READ        5   /* struct ring3_hc_sector */
#define RING3_HC_DISK_WRITE_RUN   6   /* struct ring3_hc_run */
#define RING3_HC_DISK_READ_RUN    7   /* struct ring3_hc_run */
#define RING3_HC_DISK_FLUSH       8   /* nothing: what was written is durable */
#define RING3_HC_PRINT            9   /* u32 length, then so many bytes */
#define RING3_HC_TIME            10   /* gives struct ring3_hc_time */
#define RING3_HC_EXITS           11   /* gives struct ring3_hc_exits */
#define RING3_HC_EXIT            12   /* u32 status: 0 powers off; s ends with (s << 1 | 1) */

/* How a call went. */
#define RING3_HC_OK        0
#define RING3_HC_EIO       5          /* the disk failed */
#define RING3_HC_EFAULT   14          /* an address is not in memory */
#define RING3_HC_ENODEV   19          /* this machine has no such screen or disk */
#define RING3_HC_EINVAL   22          /* a length, a column, a sector is out of range */
#define RING3_HC_EROFS    30          /* the disk is read-only */
#define RING3_HC_ENOSYS   38          /* there is no such call */

#ifndef __ASSEMBLER__

struct ring3_hc_cell {
    unsigned char character, attribute;      /* attribute: background << 4 | foreground */
    unsigned char column, row;               /* 0 to 79, 0 to 24 */
};

struct ring3_hc_sector {
    unsigned long long sector;
    unsigned char data[512];
};

/* `count` sectors from `sector` on. Their bytes are at the physical address `address`, or,
 * if that is 0, in the page itself from byte 512 on (7 sectors at most). */
struct ring3_hc_run {
    unsigned long long sector;
    unsigned int count, reserved;
    unsigned long long address;
};
#define RING3_HC_RUN_DATA    512
#define RING3_HC_RUN_IN_PAGE 7
#define RING3_HC_RUN_MAX     65536           /* sectors in one call */

struct ring3_hc_disk_info {
    unsigned long long sectors;
    unsigned int sector_bytes;               /* 512 */
    unsigned int read_only;
};

struct ring3_hc_time {
    unsigned long long since_1970_ns;
    unsigned long long since_start_ns;       /* stands still while the machine is paused */
};

/* Every access to a port or to memory-mapped registers is an exit, on each engine alike:
 * an INS or OUTS with REP counts once per element. */
struct ring3_hc_exits {
    unsigned long long io_in, io_out, mmio_read, mmio_write;
};

/* The page at RING3_HC_REGISTERS. Write `call` to make one. Writing `page` (8 bytes)
 * moves the shared page. All else is only read. */
struct ring3_hc_registers {
    unsigned int call;                       /* reads RING3_HC_SIGNATURE */
    unsigned int result;                     /* of the last call, whichever way it came */
    unsigned long long page;                 /* address of the shared page */
};

#endif

/* ---- teaching calls: a port each -------------------------------------------
 *
 * Where they are after reset; `ring3 run --hypercall NAME=PORT` moves one. They need
 * flat segments. Addresses are virtual, and translated as this processor does. */
#define RING3_HC_PRINT8BIT       0xe9   /* OUT byte: prints the character; IN gives 0xe9 */
#define RING3_HC_PRINT32BIT      0xea   /* OUT long: prints it in decimal, and a newline */
#define RING3_HC_NUM_EXITS       0xeb   /* IN long: exits so far, this one included */
#define RING3_HC_PRINT_STR       0xec   /* OUT long: address of a string that ends with 0 */
#define RING3_HC_NUM_EXITS_BY_TYPE 0xed /* OUT long: address of a buffer that gets the string
                                         * "IO in: x\nIO out: y\n" and a 0 (64 bytes do) */
#define RING3_HC_GVA_TO_HVA      0xee   /* OUT long: address; IN long: low 32 bits of where
                                         * ring3 has it. Not mapped: prints "Invalid GVA", 0 */

#endif
