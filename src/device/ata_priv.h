/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ata_priv.h - the inside of an ATA channel: ata.c has the registers and the cable,
 * ata_transfer.c moves data, ata_disk.c and ata_identify.c are a hard disk's commands,
 * atapi.c and atapi_info.c a CD-ROM's.
 *
 * THE PHASE says what the channel is at, and with that BSY and DRQ of the drive that owns
 * it. Sectors pass through the buffer in PIO; in DMA they go between image and guest
 * memory directly. At most one request is with the block layer.
 */
#ifndef RING3_DEVICE_ATA_PRIV_H
#define RING3_DEVICE_ATA_PRIV_H

#include "base/log.h"
#include "bus/claims.h"
#include "device/ata.h"

enum { R_DATA, R_ERROR, R_COUNT, R_LOW, R_MID, R_HIGH, R_DEVICE, R_STATUS, R_FEATURES = R_ERROR,
       R_COMMAND = R_STATUS };
enum { STATUS_ERR = 0x01, STATUS_DRQ = 0x08, STATUS_DSC = 0x10, STATUS_DF = 0x20,
       STATUS_DRDY = 0x40, STATUS_BSY = 0x80 };
enum { ERROR_ABRT = 0x04, ERROR_IDNF = 0x10, ERROR_UNC = 0x40 };
enum { DEVICE_DEV = 0x10, DEVICE_LBA = 0x40, DEVICE_FIXED = 0xa0 };
enum { CONTROL_NIEN = 0x02, CONTROL_SRST = 0x04, CONTROL_HOB = 0x80 };
enum { REASON_COD = 1, REASON_IO = 2 };
enum { SECTOR_BYTES = 512, CD_SECTOR_BYTES = 2048, BUFFER_BYTES = 64 << 10, PACKET_BYTES = 12,
       MULTIPLE_MAX = 16 };

enum ata_phase {
    PHASE_IDLE,
    PHASE_PACKET,        /* DRQ: a command packet comes */
    PHASE_DATA_IN,       /* DRQ: the buffer to the guest */
    PHASE_DATA_OUT,      /* DRQ: from the guest to the buffer */
    PHASE_DMA,           /* DRQ: the bus master's turn */
    PHASE_READING,       /* BSY: the image to the buffer */
    PHASE_WRITING,       /* BSY: the buffer to the image */
    PHASE_DMA_IO,        /* BSY: the image and guest memory */
    PHASE_FLUSHING,      /* BSY */
    PHASE_RESETTING,     /* BSY of both: a request of before the reset is on its way */
    PHASES,
};

/* A drive's registers and what its commands set. [1] of a pair is the previous content,
 * the upper half of a 48-bit command. */
struct ata_drive_state {
    uint8_t status, error, device;
    uint8_t features[2], count[2], low[2], mid[2], high[2];
    bool intrq;
    uint8_t multiple;            /* sectors of a DRQ block; 0: READ MULTIPLE is off */
    uint8_t mode;                /* SET FEATURES 03h: the DMA mode */
    uint8_t heads, sectors;      /* of the CHS translation */
    uint8_t power;               /* CHECK POWER MODE: 0xff active, 0x80 idle, 0 standby */
    bool write_cache, look_ahead, smart;
    /* CD-ROM */
    uint8_t sense, asc, ascq;
    uint8_t event;               /* the media event nobody has asked for yet */
    bool attention;              /* the disc was changed: the next command hears of it */
    bool locked, open;
};

struct ata_state {
    struct ata_drive_state drive[ATA_DRIVES];
    uint8_t control;
    uint8_t selected;            /* which drive */
    uint8_t phase, owner;        /* whose transfer it is */
    bool write, dma, fua, media; /* of the transfer; media: with the image */
    uint32_t at, end, filled;    /* buffer: next byte, end of the DRQ block, of the data */
    uint32_t block_bytes;        /* of a DRQ block */
    uint64_t unit;               /* the next one of the image: disk sectors, CD sectors */
    uint32_t left;               /* units that have not passed the buffer */
    uint8_t buffer[BUFFER_BYTES];
};

struct ata;

struct ata_drive {
    struct ata *channel;
    unsigned unit;
    enum ata_kind kind;
    char name[ATA_NAME_BYTES], serial[ATA_SERIAL_BYTES + 1];
    struct block *block;
    uint64_t units;              /* of the image; a CD's last may be incomplete */
    uint64_t bytes;
    bool write_back, readonly;
    void (*failed)(void *opaque, const char *name, int error);
    void *opaque;
};

struct ata {
    struct device dev;
    struct ata_state state;
    struct ata_drive drive[ATA_DRIVES];
    struct memory *memory;
    struct log *log;
    struct log_limit limit;
    struct irq_line irq;
    bool line;
    struct bus_claims claims;
    const struct ata_bus_master *master;
    struct block_request request;
    struct iovec iov;            /* of the buffer */
    struct ata_pieces pieces;
    bool in_flight, waiting;     /* the request: with the image; failed, to be tried again */
    bool stepping;               /* ata_step() is at work further up the stack */
    uint64_t commands, sectors_pio, sectors_dma, bad_steps;
};

static inline struct ata_drive_state *state_of(const struct ata_drive *d)
{
    return &d->channel->state.drive[d->unit];
}
static inline unsigned unit_bytes(const struct ata_drive *d)
{
    return d->kind == ATA_CDROM ? CD_SECTOR_BYTES : SECTOR_BYTES;
}

/* ata.c */
void ata_update_line(struct ata *c);
void ata_raise(struct ata_drive *d);                    /* INTRQ */
/* The end of a command: status, error register, interrupt. */
void ata_done(struct ata_drive *d);
void ata_fail(struct ata_drive *d, uint8_t error);
void ata_signature(struct ata_drive *d);                /* 9.12 */
bool ata_dma_possible(const struct ata_drive *d);

/* ata_transfer.c: a transfer of `left` units from `unit` on, or of `filled` bytes of the
 * buffer; state.write, .dma, .fua and .block_bytes are set. */
void ata_start_media(struct ata_drive *d, uint64_t unit, uint32_t units);
void ata_start_buffer(struct ata_drive *d, uint32_t bytes);
void ata_flush(struct ata_drive *d);
void ata_block_passed(struct ata *c);                   /* the guest has moved a DRQ block */
void ata_step(struct ata *c);                           /* go on, as far as it goes now */
void ata_transfer_drop(struct ata *c);                  /* -> IDLE, or RESETTING */
void ata_transfer_resume(struct ata *c);
void ata_request_done(struct block_request *r, int rc);

/* Commands. False: there is no such command (for this kind of drive). */
bool ata_disk_command(struct ata_drive *d, uint8_t command);
bool atapi_command(struct ata_drive *d, uint8_t command);
bool ata_set_features(struct ata_drive *d);
void ata_identify(const struct ata_drive *d, uint8_t out[SECTOR_BYTES]);

/* atapi.c */
/* What happens to the door from outside. */
enum atapi_door { DOOR_ASKED, DOOR_OPENED, DOOR_CLOSED };
void atapi_door(struct ata_drive *d, enum atapi_door what);
void atapi_packet(struct ata_drive *d);                 /* 12 bytes are in the buffer */
void atapi_transfer_done(struct ata_drive *d, int rc);
void atapi_block_started(struct ata_drive *d, uint32_t bytes);   /* registers of a DRQ block */
void atapi_sense(struct ata_drive *d, uint8_t sense, uint8_t asc, uint8_t ascq);
/* The answer is in the buffer; the guest wants at most `room` of it. */
void atapi_reply(struct ata_drive *d, uint32_t bytes, uint32_t room);
/* atapi_info.c: what a drive tells of itself and its disc; the length of the answer, or 0
 * with the sense set. */
uint32_t atapi_info(struct ata_drive *d, const uint8_t packet[PACKET_BYTES], uint32_t *room);

#endif
