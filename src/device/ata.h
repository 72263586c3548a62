/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ata.h - an ATA channel: registers, a cable, and up to two drives on it.
 *
 * Follows ATA/ATAPI-7 (T13/1532D volumes 1 and 2): hard disks with PIO, multi-sector PIO
 * and DMA, 28- and 48-bit addresses and CHS; CD-ROM drives with the PACKET feature set
 * (MMC-5). The channel stands by itself at its ISA addresses. A bus master (ide_pci.h)
 * makes its DMA commands work; without one a drive offers none.
 *
 * A drive does one thing at a time, and one of the two at a time, as the cable has it: a
 * command written while data is being transferred ends both, with ABRT. What the guest
 * writes while BSY is set is ignored.
 *
 * Images belong to the channel: they are closed, and with that made durable, in destroy.
 * Their context belongs to the same loop and lock as the device.
 *
 * Threads: VM lock held in everything.
 */
#ifndef RING3_DEVICE_ATA_H
#define RING3_DEVICE_ATA_H

#include <sys/uio.h>
#include "block/block.h"
#include "bus/device.h"

struct strbuf;

enum { ATA_PRIMARY = 0x1f0, ATA_PRIMARY_CONTROL = 0x3f6, ATA_SECONDARY = 0x170,
       ATA_SECONDARY_CONTROL = 0x376, ATA_DRIVES = 2, ATA_SERIAL_BYTES = 20,
       ATA_NAME_BYTES = 24 };

struct ata_config {
    const char *name;                /* "ata0" */
    uint16_t command, control;       /* 8 ports, 1 port */
    struct irq_line irq;
};
struct device *ata_new(const struct device_env *env, const struct ata_config *cfg,
                       struct error **err);

enum ata_kind { ATA_NONE, ATA_DISK, ATA_CDROM };
struct ata_drive_config {
    enum ata_kind kind;
    const char *name;                /* "disk0": for messages and the monitor */
    const char *serial;              /* NULL: the name; longer ones are cut */
    struct block *block;             /* taken over, on failure too; CDROM: NULL = no disc */
    bool write_back;                 /* DISK: writes are durable only after a flush */
    /* An I/O error: NULL reports it to the guest. Else the request waits for ata_retry(),
     * and this is called to stop the VM. */
    void (*failed)(void *opaque, const char *name, int error);
    void *opaque;
};
/* Puts a drive on the cable, before the machine starts. -EINVAL with a message: the image
 * is nothing a drive can be made of. */
int ata_attach(struct device *channel, unsigned unit, const struct ata_drive_config *cfg,
               struct error **err);

/* Other kinds of devices are none of these: ATA_NONE, NULL, nothing happens. */
enum ata_kind ata_drive_kind(const struct device *dev, unsigned unit);
const char *ata_drive_name(const struct device *dev, unsigned unit);
struct block *ata_image(const struct device *dev, unsigned unit);      /* NULL: none */
void ata_retry(struct device *dev);                  /* the VM goes on after an error */

/* The door of a CD-ROM drive. `block`: the new disc, taken over; NULL: the tray is open
 * and empty. -EBUSY: the guest has locked the door, and has now been asked to open it;
 * `force` is the pin through the hole. */
int ata_change_disc(struct device *dev, unsigned unit, struct block *block, bool force,
                    struct error **err);

/* ---- DMA ----------------------------------------------------------------- */

/* Guest memory for a piece of a transfer. */
enum { ATA_PIECES_MAX = 256 };
struct ata_pieces {
    struct iovec iov[ATA_PIECES_MAX];
    gpa_t at[ATA_PIECES_MAX];
    unsigned count;
    uint64_t bytes;
};

/* What a channel asks of its bus master. */
struct ata_bus_master {
    /* Memory for the next min(bytes, what is described, what fits) bytes, cut to a multiple
     * of `unit`. 0: there are some. -EAGAIN: it is not started, and will call
     * ata_dma_started(). -ENODATA: nothing more is described, and nothing more will
     * happen. -EFAULT: that is no memory; its error bit is set. */
    int (*gather)(void *opaque, bool to_memory, uint64_t bytes, unsigned unit,
                  struct ata_pieces *out);
    void (*advance)(void *opaque);               /* what was gathered last is done */
    void (*interrupt)(void *opaque, bool level); /* the channel's line */
    void *opaque;
};
/* `master` lives as long as the channel. */
void ata_set_bus_master(struct device *channel, const struct ata_bus_master *master);
void ata_dma_started(struct device *channel);

#endif
