/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * balloon.c - memory balloon (virtio 1.2, 5.5), with statistics and free page reporting.
 *
 * Pages are given back by punching holes into the RAM backing; the guest finds zeroes
 * when it uses them again, which the specification allows. Code cached from such pages
 * is dropped like code that was written to.
 *
 * The statistics queue works backwards: the driver fills a buffer when it gets it back.
 * It is kept until somebody wants figures (describe), which are therefore those of the
 * request before.
 */
#include "virtio/balloon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/byteorder.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "memory/memory.h"

enum { F_STATS_VQ = 1 << 1, F_DEFLATE_ON_OOM = 1 << 2, F_REPORTING = 1 << 5 };
enum { QUEUE_INFLATE, QUEUE_DEFLATE, QUEUE_FIRST_OPTIONAL, QUEUES = 4 };
enum { QUEUE_SIZE = 128, SEGMENTS = 64, CONFIG_BYTES = 8, CONFIG_ACTUAL = 4, PFN_BYTES = 4,
       STAT_BYTES = 10, STATS = 10, BATCH = 256 };

struct balloon_state {
    uint32_t target_pages, actual_pages;
    uint64_t stat[STATS];
};

struct virtio_balloon {
    struct virtio_device vd;
    struct balloon_state state;
    struct virtio_chain *chain, *stats;
    bool holds_stats;                /* `stats` is the driver's buffer, not yet returned */
    uint64_t given_back;             /* bytes, since the start */
};

static struct virtio_balloon *to_balloon(struct virtio_device *vd)
{
    return container_of(vd, struct virtio_balloon, vd);
}

static struct virtio_queue *optional_queue(struct virtio_balloon *b, uint64_t feature)
{
    unsigned index = QUEUE_FIRST_OPTIONAL;

    if (!virtio_has(&b->vd, feature))
        return NULL;
    if (feature == F_REPORTING && virtio_has(&b->vd, F_STATS_VQ))
        index++;
    return &b->vd.queue[index];
}

/* ---- giving back --------------------------------------------------------- */

/* Only whole pages of RAM; what else the guest names stays as it is. */
static void give_back(struct virtio_balloon *b, uint64_t at, uint64_t bytes)
{
    struct memory *m = b->vd.memory;
    hva_t host = memory_host(m, gpa(at), bytes, true);
    uint64_t offset = (uint64_t)(host.p - memory_ram_base(m).p);

    if (!host.p || (at | bytes) & PAGE_OFFSET_MASK ||
        !range_inside(offset, bytes, memory_ram_bytes(m)))
        return;
    if (fallocate(memory_fd(m), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                  (off_t)bytes) < 0)
        return;
    memory_written(m, gpa(at), bytes);
    b->given_back += bytes;
}

/* Page numbers that follow each other go in one piece. */
static void give_back_pages(struct virtio_balloon *b, const struct virtio_chain *c)
{
    uint8_t raw[BATCH * PFN_BYTES];
    uint64_t start = 0, count = 0;
    size_t offset = 0, n;

    while ((n = virtio_chain_read(c, offset, raw, sizeof raw) / PFN_BYTES)) {
        for (size_t i = 0; i < n; i++) {
            uint64_t page = get_le32(raw + i * PFN_BYTES);

            if (count && page == start + count) {
                count++;
                continue;
            }
            if (count)
                give_back(b, start << PAGE_SHIFT, count << PAGE_SHIFT);
            start = page;
            count = 1;
        }
        offset += n * PFN_BYTES;
    }
    if (count)
        give_back(b, start << PAGE_SHIFT, count << PAGE_SHIFT);
}

/* ---- queues -------------------------------------------------------------- */

static void work(struct virtio_balloon *b, struct virtio_queue *q)
{
    bool reporting = q == optional_queue(b, F_REPORTING);
    struct virtio_chain *c = b->chain;

    while (virtio_queue_pop(q, c)) {
        if (q->index == QUEUE_INFLATE)
            give_back_pages(b, c);
        for (unsigned i = c->outs; reporting && i < c->outs + c->ins; i++)
            give_back(b, c->at[i], c->iov[i].iov_len);
        virtio_queue_push(q, c, 0);
    }
    virtio_queue_signal(q);
}

static void take_stats(struct virtio_balloon *b, struct virtio_queue *q)
{
    uint8_t raw[STAT_BYTES];

    while (!b->holds_stats && virtio_queue_pop(q, b->stats)) {
        b->holds_stats = true;
        for (unsigned i = 0; i < 2 * STATS; i++) {
            if (virtio_chain_read(b->stats, i * sizeof raw, raw, sizeof raw) < sizeof raw)
                break;
            if (get_le16(raw) < STATS)
                b->state.stat[get_le16(raw)] = get_le64(raw + 2);
        }
    }
}

static void balloon_notify(struct virtio_device *vd, struct virtio_queue *q)
{
    struct virtio_balloon *b = to_balloon(vd);

    if (q == optional_queue(b, F_STATS_VQ))
        take_stats(b, q);
    else
        work(b, q);
}

static void ask_for_stats(struct virtio_balloon *b)
{
    struct virtio_queue *q = optional_queue(b, F_STATS_VQ);

    if (!q || !b->holds_stats)
        return;
    b->holds_stats = false;
    virtio_queue_push(q, b->stats, 0);
    virtio_queue_signal(q);
}

/* ---- the device ---------------------------------------------------------- */

static void balloon_config_read(struct virtio_device *vd, unsigned offset, void *buf, unsigned len)
{
    const struct balloon_state *s = &to_balloon(vd)->state;
    uint8_t raw[CONFIG_BYTES];

    put_le32(raw, s->target_pages);
    put_le32(raw + CONFIG_ACTUAL, s->actual_pages);
    memcpy(buf, raw + offset, len);
}

static void balloon_config_write(struct virtio_device *vd, unsigned offset, const void *buf,
                                 unsigned len)
{
    if (offset == CONFIG_ACTUAL && len == 4)
        to_balloon(vd)->state.actual_pages = get_le32(buf);
}

static void balloon_reset(struct virtio_device *vd)
{
    struct virtio_balloon *b = to_balloon(vd);

    b->state = (struct balloon_state){.target_pages = b->state.target_pages};
    b->holds_stats = false;
}

/* The buffer goes back unseen, to be taken again by whoever goes on with the state. */
static void balloon_quiesce(struct virtio_device *vd)
{
    struct virtio_balloon *b = to_balloon(vd);
    struct virtio_queue *q = optional_queue(b, F_STATS_VQ);

    if (q && b->holds_stats)
        virtio_queue_unpop(q, b->stats);
    b->holds_stats = false;
}

static void balloon_resume(struct virtio_device *vd)
{
    struct virtio_balloon *b = to_balloon(vd);
    struct virtio_queue *q = optional_queue(b, F_STATS_VQ);

    if (q)
        take_stats(b, q);
}

static void balloon_describe(struct virtio_device *vd, struct strbuf *out)
{
    static const char *const names[STATS] = {
        "swapped in", "swapped out", "major faults", "minor faults", "free bytes",
        "total bytes", "available bytes", "disk cache bytes", "huge pages", "huge page failures",
    };
    struct virtio_balloon *b = to_balloon(vd);

    strbuf_addf(out, "  target %llu MiB, actual %llu MiB, %llu MiB given back so far\n",
                (unsigned long long)b->state.target_pages >> 8,
                (unsigned long long)b->state.actual_pages >> 8,
                (unsigned long long)b->given_back >> 20);
    for (unsigned i = 0; i < STATS; i++)
        if (b->state.stat[i])
            strbuf_addf(out, "  %s: %llu\n", names[i], (unsigned long long)b->state.stat[i]);
    ask_for_stats(b);
}

static void balloon_destroy(struct virtio_device *vd)
{
    struct virtio_balloon *b = to_balloon(vd);

    free(b->chain);
    free(b->stats);
    free(b);
}

static const struct state_field fields[] = {
    STATE_U32(struct balloon_state, target_pages),
    STATE_U32(struct balloon_state, actual_pages),
    STATE_U64_ARRAY(struct balloon_state, stat),
    STATE_END
};
static const struct state_desc desc = {"balloon", 1, fields};

static const struct virtio_ops balloon_ops = {
    .type = "virtio-balloon",
    .id = VIRTIO_ID_BALLOON,
    .pci_class = 0x00ff00,
    .config_read = balloon_config_read,
    .config_write = balloon_config_write,
    .notify = balloon_notify,
    .reset = balloon_reset,
    .quiesce = balloon_quiesce,
    .resume = balloon_resume,
    .describe = balloon_describe,
    .destroy = balloon_destroy,
    .state = &desc,
    .state_offset = offsetof(struct virtio_balloon, state),
};

bool virtio_balloon_set(struct virtio_device *vd, uint64_t bytes)
{
    uint64_t pages = bytes >> PAGE_SHIFT;

    if (vd->ops != &balloon_ops)
        return false;
    to_balloon(vd)->state.target_pages = (uint32_t)min_u64(pages, UINT32_MAX);
    virtio_config_changed(vd);
    return true;
}

struct virtio_device *virtio_balloon_new(const struct device_env *env, const char *name,
                                         struct error **err)
{
    struct virtio_balloon *b = calloc(1, sizeof *b);

    if (!b) {
        error_set(err, ENOMEM, "no memory for the balloon");
        return NULL;
    }
    virtio_device_init(&b->vd, &balloon_ops, env, name,
                       F_STATS_VQ | F_DEFLATE_ON_OOM | F_REPORTING, CONFIG_BYTES, QUEUES,
                       QUEUE_SIZE);
    b->chain = virtio_chain_new(SEGMENTS);
    b->stats = virtio_chain_new(SEGMENTS);
    return &b->vd;
}
