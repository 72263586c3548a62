/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio.h - what a virtio device is: queues, features, status; and what it asks of
 * the transport it is behind.
 *
 * Follows the Virtual I/O Device specification 1.2 (OASIS). Only "modern" devices:
 * VIRTIO_F_VERSION_1 is offered and required.
 *
 * THREE PARTS. A device (blk.c, rng.c, ...) implements struct virtio_ops and knows
 * queues; a transport (pci.c, mmio.c) implements registers and knows no device; this
 * room's device.c keeps what both share in struct virtio_device. A device's constructor
 * returns a struct virtio_device *; virtio_pci_new() or virtio_mmio_new() takes it over
 * and is the `struct device` that the machine sees:
 *
 *     struct virtio_device *vd = virtio_rng_new(env, &cfg, err);
 *     struct device *dev = vd ? virtio_pci_new(env, bus, vd, &place, err) : NULL;
 *
 * (The transport destroys vd when its own constructor fails.)
 *
 * QUEUES. virtio_queue_pop() gives the next chain of buffers as host iovecs, all of
 * them checked; virtio_queue_push() gives it back; virtio_queue_signal() interrupts the
 * driver if it wants that. Push as many as there are, then signal once. A device that
 * works until a queue is empty turns notifications off first and looks again after
 * turning them on (virtio_queue_kicks). A driver that breaks a ring (index, length,
 * loop, address outside RAM) gets DEVICE_NEEDS_RESET, and nothing is popped from any
 * queue until it resets the device: virtio_queue_pop() just says that there is nothing.
 *
 * THREADS. A device lives under one lock: the VM's, or that of an I/O thread
 * (virtio_iothread()). All virtio_ops and all queue functions run with it. With the VM
 * lock, `notify` runs in the vCPU that rang. With an I/O thread the doorbell is an
 * eventfd that the thread watches, `notify` runs there, and interrupts are posted work.
 * Registers are always served with the VM lock held; the transport takes the I/O
 * thread's lock inside of it.
 *
 * STATE. Registers and ring positions are in struct virtio_state; a device adds its own
 * table (virtio_ops.state), at an offset from its struct virtio_device.
 */
#ifndef RING3_VIRTIO_VIRTIO_H
#define RING3_VIRTIO_VIRTIO_H

#include <sys/uio.h>
#include "base/log.h"
#include "base/state_desc.h"
#include "base/types.h"
#include "bus/device.h"
#include "pci/pci.h"

struct iothread;
struct memory;
struct strbuf;
struct virtio_device;

enum { VIRTIO_QUEUES_MAX = 64, VIRTIO_QUEUE_SIZE_MAX = 1024, VIRTIO_NO_VECTOR = 0xffff };

/* Device IDs (chapter 5). */
enum { VIRTIO_ID_NET = 1, VIRTIO_ID_BLOCK = 2, VIRTIO_ID_CONSOLE = 3, VIRTIO_ID_ENTROPY = 4,
       VIRTIO_ID_BALLOON = 5, VIRTIO_ID_9P = 9, VIRTIO_ID_VSOCK = 19 };

/* Device status (2.1). */
enum { VIRTIO_ACKNOWLEDGE = 1, VIRTIO_DRIVER = 2, VIRTIO_DRIVER_OK = 4, VIRTIO_FEATURES_OK = 8,
       VIRTIO_NEEDS_RESET = 64, VIRTIO_FAILED = 128 };

/* Reserved feature bits (chapter 6). The room offers the first three by itself; packed
 * rings when whoever made the device adds the bit to virtio_device.features. */
#define VIRTIO_F_INDIRECT   (1ull << 28)
#define VIRTIO_F_EVENT_IDX  (1ull << 29)
#define VIRTIO_F_VERSION_1  (1ull << 32)
#define VIRTIO_F_PACKED     (1ull << 34)
#define VIRTIO_F_IN_ORDER   (1ull << 35)     /* devices that complete in order add it */

/* ---- queues -------------------------------------------------------------- */

struct virtio_queue_state {
    uint64_t descriptors, driver, device;    /* the three areas, guest-physical */
    uint16_t size;
    uint16_t vector;                         /* MSI-X */
    bool ready;
    uint16_t next_avail, next_used;          /* positions; in packed rings below size */
    bool avail_wrap, used_wrap;              /* packed rings */
    uint16_t signalled;                      /* next_used at the last interrupt decision */
    bool signalled_wrap;
};

struct virtio_queue {
    struct virtio_device *vd;
    struct virtio_queue_state *state;
    unsigned index;
    uint16_t size_max;                       /* what the device offers */
    bool live;                               /* the pointers below are good */
    uint8_t *descriptors, *driver, *device;
    uint16_t unsignalled;                    /* pushed since the last decision */
    bool quiet;                              /* virtio_queue_kicks(q, false) */
    uint64_t kicks, signals, chains;         /* `info virtio` */
};

/* A chain taken from a queue. iov[0 .. outs) is read by the device, iov[outs ..
 * outs + ins) written. `room` and the two arrays are the owner's: virtio_chain_new(). */
struct virtio_chain {
    unsigned room;
    struct iovec *iov;
    uint64_t *at;                            /* guest-physical, for each iov */
    unsigned outs, ins;
    uint64_t out_bytes, in_bytes;
    uint16_t id;                             /* head or buffer ID */
    uint16_t slots;                          /* descriptors it takes in a packed ring */
};

struct virtio_chain *virtio_chain_new(unsigned room);   /* one block: free() */

/* False: nothing there (or the device is broken). */
bool virtio_queue_pop(struct virtio_queue *q, struct virtio_chain *c);
/* Is there something to pop? No check of it. */
bool virtio_queue_waiting(struct virtio_queue *q);
/* Takes back the last chain popped, to be popped again. */
void virtio_queue_unpop(struct virtio_queue *q, const struct virtio_chain *c);
/* Gives it back with the first `written` bytes of its ins written. */
void virtio_queue_push(struct virtio_queue *q, const struct virtio_chain *c, uint32_t written);
/* Gives several back at once: the driver sees all of them or none. */
void virtio_queue_push_many(struct virtio_queue *q, const struct virtio_chain *const *c,
                            const uint32_t *written, unsigned n);
void virtio_queue_signal(struct virtio_queue *q);
/* Ask the driver (not) to notify. After on = true: true if something waits already. */
bool virtio_queue_kicks(struct virtio_queue *q, bool on);

/* Copies between a buffer and outs or ins from byte `offset` on; returns how much. */
size_t virtio_chain_read(const struct virtio_chain *c, size_t offset, void *buf, size_t len);
size_t virtio_chain_write(const struct virtio_chain *c, size_t offset, const void *buf,
                          size_t len);

/* ---- devices ------------------------------------------------------------- */

struct virtio_ops {
    const char *type;                        /* "virtio-rng": names the state section */
    unsigned id;                             /* VIRTIO_ID_ */
    uint32_t pci_class;
    /* Configuration space (2.5): within config_bytes. May be NULL. */
    void (*config_read)(struct virtio_device *vd, unsigned offset, void *buf, unsigned len);
    void (*config_write)(struct virtio_device *vd, unsigned offset, const void *buf,
                         unsigned len);
    /* DRIVER_OK was set: features are agreed, queues may be used. May be NULL. */
    void (*activate)(struct virtio_device *vd);
    /* The driver put something into a queue. */
    void (*notify)(struct virtio_device *vd, struct virtio_queue *q);
    /* Forget everything: nothing of the guest's memory is touched afterwards. */
    void (*reset)(struct virtio_device *vd);
    void (*quiesce)(struct virtio_device *vd);       /* as device_ops; may be NULL */
    void (*resume)(struct virtio_device *vd);
    void (*describe)(struct virtio_device *vd, struct strbuf *out);  /* `info`; may be NULL */
    void (*destroy)(struct virtio_device *vd);       /* frees it */
    const struct state_desc *state;                  /* of the device's own, or NULL */
    size_t state_offset;                             /* from the struct virtio_device */
};

/* What the transports keep, too, so that one table describes everything. */
struct virtio_state {
    struct pci_function_state pci;
    uint64_t driver_features;
    uint32_t device_features_select, driver_features_select;
    uint16_t queue_select, config_vector;
    uint8_t status, isr, config_generation;
    struct virtio_queue_state queue[VIRTIO_QUEUES_MAX];
};
extern const struct state_desc virtio_state_desc;

enum virtio_interrupt { VIRTIO_INTERRUPT_QUEUE = 1, VIRTIO_INTERRUPT_CONFIG = 2 };  /* = ISR */

/* A transport's ear. VM lock held. */
struct virtio_transport {
    void (*interrupt)(void *opaque, enum virtio_interrupt what, unsigned queue);
    void *opaque;
};

struct virtio_device {
    struct virtio_state state;               /* first */
    const struct virtio_ops *ops;
    char name[24];                           /* "disk0" */
    uint64_t features;                       /* offered */
    unsigned config_bytes;
    unsigned queues;
    struct virtio_queue queue[VIRTIO_QUEUES_MAX];
    struct memory *memory;
    struct log *log;
    struct log_limit limit;
    struct virtio_transport transport;
    uint64_t broken;                         /* times a driver broke a ring */
    struct state_field fields[3];            /* the whole: common part, device's part */
    struct state_desc desc;
    struct virtio_thread *thread;            /* iothread=on, else NULL */
    pthread_mutex_t *vm_lock;
};

/* For constructors. Every queue has up to `queue_size` entries, a power of two.
 * `features` are the device's own bits. */
void virtio_device_init(struct virtio_device *vd, const struct virtio_ops *ops,
                        const struct device_env *env, const char *name, uint64_t features,
                        unsigned config_bytes, unsigned queues, uint16_t queue_size);
void virtio_device_destroy(struct virtio_device *vd);        /* NULL ok */

static inline bool virtio_has(const struct virtio_device *vd, uint64_t feature)
{
    return vd->state.driver_features & feature;
}
/* Is the driver there and nothing broken? */
static inline bool virtio_live(const struct virtio_device *vd)
{
    return (vd->state.status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET | VIRTIO_FAILED)) ==
           VIRTIO_DRIVER_OK;
}

/* The device's configuration changed. */
void virtio_config_changed(struct virtio_device *vd);
/* The driver is beyond the specification: DEVICE_NEEDS_RESET (2.1.2). */
void virtio_break(struct virtio_device *vd, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ---- for transports (VM lock held) --------------------------------------- */

/* Around serving a register, and all else below. */
void virtio_enter(struct virtio_device *vd);
void virtio_leave(struct virtio_device *vd);

uint64_t virtio_get_features(const struct virtio_device *vd, unsigned select);
void virtio_set_features(struct virtio_device *vd, unsigned select, uint32_t value);
void virtio_set_status(struct virtio_device *vd, uint8_t status);    /* 0: reset */
/* The queue of that number, or NULL. */
struct virtio_queue *virtio_queue_of(struct virtio_device *vd, unsigned index);
void virtio_queue_set_size(struct virtio_queue *q, uint32_t size);
void virtio_queue_set_ready(struct virtio_queue *q, bool ready);
/* Doorbell: runs `notify` here, or has the I/O thread do it. */
void virtio_kick(struct virtio_device *vd, unsigned queue);
/* What a doorbell comes to, in the device's thread. */
void virtio_notify(struct virtio_device *vd, unsigned queue);
void virtio_config_access(struct virtio_device *vd, unsigned offset, void *buf, unsigned len,
                          bool write);
void virtio_device_reset(struct virtio_device *vd);
void virtio_device_quiesce(struct virtio_device *vd);
void virtio_device_resume(struct virtio_device *vd);
const struct state_desc *virtio_device_describe(struct virtio_device *vd, void **state);
void virtio_describe_text(struct virtio_device *vd, struct strbuf *out);

/* ---- transports ---------------------------------------------------------- */

/* The device on a PCI bus. Takes vd over, on failure too. */
struct device *virtio_pci_new(const struct device_env *env, struct pci_bus *bus,
                              struct virtio_device *vd, struct error **err);

struct virtio_mmio_config {
    uint64_t base;                           /* VIRTIO_MMIO_BYTES of it */
    struct irq_line irq;
};
enum { VIRTIO_MMIO_BYTES = 0x200 };
struct device *virtio_mmio_new(const struct device_env *env, const struct virtio_mmio_config *cfg,
                               struct virtio_device *vd, struct error **err);
/* The virtio device behind a struct device of either transport, else NULL. */
struct virtio_device *virtio_of(struct device *dev);

/* Between the files of this room. */
struct virtio_device *virtio_mmio_vd(struct device *dev);    /* NULL: another transport's */
bool virtio_queue_map(struct virtio_queue *q);       /* false: not in RAM, or misaligned */

#endif
