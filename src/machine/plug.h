/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * plug.h - devices that are there because the user asked for them.
 *
 * `--device NAME[,key=value...]` finds NAME in the one table in plug.c; `--disk TEXT`
 * is the row "disk" by another way. A new device is a file with its row's function
 * (machine/plug_NAME.c) and the row. The function reads its text with a table of its
 * own (base/params.h), makes the device and hands it to plug_virtio() or
 * machine_add_device().
 *
 * What such devices share and what has to outlive them (contexts of disk images, I/O
 * threads) is in struct plugs, which the machine owns and frees after the devices.
 *
 * Threads: while the machine is made, VM lock held; plug_acpi(): no vCPU runs.
 */
#ifndef RING3_MACHINE_PLUG_H
#define RING3_MACHINE_PLUG_H

#include "base/params.h"
#include "device/ata.h"
#include "machine/impl.h"

struct acpi_config;
struct block_io;
struct iothread;
struct pci_bus;
struct strbuf;
struct virtio_device;
struct virtio_thread;

enum plug_transport { PLUG_PCI, PLUG_MMIO };
extern const char *const plug_transport_names[];     /* for PARAM_CHOICE */

enum { PLUG_MMIO_MAX = 32, PLUG_THREADS_MAX = 64, PLUG_BOOTS_MAX = 64,
       PLUG_BOOT_PATH_BYTES = 64 };

enum plug_boot { PLUG_BOOT_DISK, PLUG_BOOT_CDROM, PLUG_BOOT_NET };

struct plug_boot_entry {
    enum plug_boot kind;
    char name[24], path[PLUG_BOOT_PATH_BYTES];
};

struct plugs {
    struct block_io *block_io;               /* in the VM's loop; made when first needed */
    struct device *ata[2];                   /* the channels; made when first needed */
    struct {
        struct iothread *thread;
        struct block_io *block_io;           /* NULL: not a disk's */
        struct virtio_thread *virtio;        /* NULL: the device was not made */
    } thread[PLUG_THREADS_MAX];
    unsigned threads;
    unsigned mmio_gsi[PLUG_MMIO_MAX];
    unsigned mmios;
    struct plug_boot_entry boot[PLUG_BOOTS_MAX];     /* what firmware may boot from */
    unsigned boots;
};

struct plug {
    struct machine *machine;
    const struct device_env *env;
    struct pci_bus *pci;
    struct irq_line (*gsi)(struct machine *m, unsigned gsi);
};

struct plug_kind {
    const char *name, *summary;
    const struct param *keys;
    /* `text` is what stands behind "NAME,": may be empty. */
    int (*plug)(const struct plug *p, const char *text, struct error **err);
};

/* Everything in the machine's configuration, in the order given: disks, devices. */
int plug_all(const struct plug *p, struct error **err);
struct plugs *plugs_of(struct machine *m);
void plugs_free(struct machine *m);     /* after the devices; no lock held */
/* All I/O threads out of their devices, and back. VM lock held. */
void plugs_lock_threads(struct machine *m);
void plugs_unlock_threads(struct machine *m);
struct plugs *plugs_of(struct machine *m);          /* made when first needed */

/*
 * Firmware may boot from device `name`, at this Open Firmware path: for an ATA drive
 * "/pci@i0cf8/ide@SLOT,FUNCTION/drive@CHANNEL/disk@UNIT", in hexadecimal digits.
 */
void plug_bootable(const struct plug *p, enum plug_boot kind, const char *name, const char *path);
/* The PCI function made last, if it is of a kind that boots. */
void plug_bootable_pci(const struct plug *p, const char *name);
/* The paths in the order that --boot says, a line each; then the others: disks, CD-ROMs,
 * network cards. -EINVAL: --boot names what there is not. */
int plug_boot_order(struct machine *m, struct strbuf *out, struct error **err);

/* A thread of its own for the device of that name; with `block_io`, a context in it.
 * NULL with a message. */
struct iothread *plug_iothread(const struct plug *p, const char *name,
                               struct block_io **block_io, struct error **err);
/* Puts the device into the thread made last, before plug_virtio(). */
int plug_thread(const struct plug *p, struct virtio_device *vd, struct error **err);
/* The VM goes on after a pause: disks that wait after an error try again. */
void plugs_resumed(struct machine *m);
void plug_acpi(const struct machine *m, struct acpi_config *acpi);

/* Puts vd behind a transport and gives it to the machine. Takes vd over, on failure
 * too. A name that is taken is -EEXIST. */
int plug_virtio(const struct plug *p, struct virtio_device *vd, unsigned transport,
                struct error **err);
/* -EEXIST with a message when a device has that name. */
int plug_name_free(const struct machine *m, const char *name, struct error **err);
/* "rng0": the first free name with this stem. */
void plug_name(const struct machine *m, const char *stem, char *out, size_t size);
struct block_io *plug_block_io(const struct plug *p, struct error **err);   /* the VM loop's */

extern const struct param plug_balloon_keys[], plug_cdrom_keys[], plug_disk_keys[], plug_rng_keys[],
    plug_console_keys[], plug_share_keys[], plug_vsock_keys[];
int plug_rng(const struct plug *p, const char *text, struct error **err);
int plug_console(const struct plug *p, const char *text, struct error **err);
int plug_balloon(const struct plug *p, const char *text, struct error **err);
/* `index`: which --net this is. */
int plug_net(const struct plug *p, const char *text, unsigned index, struct error **err);
int plug_disk(const struct plug *p, const char *text, struct error **err);
int plug_cdrom(const struct plug *p, const char *text, struct error **err);
/* A drive in the next free place of the ATA channels, which are made for the first one.
 * cfg->block is taken over, on failure too. */
int plug_ata_drive(const struct plug *p, const struct ata_drive_config *cfg, struct error **err);
bool plug_ata_find(const struct machine *m, const char *name, struct device **dev, unsigned *unit);
/* A disk image or ISO by its name alone: what it is, its content says. */
int plug_image(const struct plug *p, const char *path, struct error **err);
int plug_vsock(const struct plug *p, const char *text, struct error **err);
int plug_share(const struct plug *p, const char *text, struct error **err);

#endif
