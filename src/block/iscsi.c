/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * iscsi.c - logical units of iSCSI targets, by libiscsi:
 * "iscsi://[user%password@]host[:port]/target/lun" (RFC 7143; SBC-3 commands).
 *
 * The library serves one thread at a time, so requests go one after the other under
 * the driver's lock. A session that broke is made anew by the next request; what was
 * written and not flushed may be gone then, and the next flush fails.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

#include "base/bug.h"
#include "base/error.h"
#include "block/module.h"

enum { ANSWER_S = 20, PIECE_BYTES = 256 << 10 };
static const char initiator[] = "iqn.2024-01.org.ring3:initiator";

struct iscsi {
    pthread_mutex_t lock;            /* everything */
    struct iscsi_context *session;   /* NULL: to be made */
    int lun;
    bool unflushed, lost;
    uint64_t bytes;
    uint32_t block;
};

/* ---- sessions ------------------------------------------------------------- */

static struct iscsi_context *connect_to(const char *name, int *lun, struct error **err)
{
    struct iscsi_context *s = iscsi_create_context(initiator);
    struct iscsi_url *url = s ? iscsi_parse_full_url(s, name) : NULL;

    if (!url) {
        error_set(err, EINVAL, "cannot open '%s': %s", name,
                  s ? iscsi_get_error(s) : strerror(ENOMEM));
        error_hint(err, "it is iscsi://[user%%password@]host[:port]/target/lun");
        goto fail;
    }
    iscsi_set_session_type(s, ISCSI_SESSION_NORMAL);
    iscsi_set_header_digest(s, ISCSI_HEADER_DIGEST_NONE_CRC32C);
    iscsi_set_targetname(s, url->target);
    iscsi_set_timeout(s, ANSWER_S);
    iscsi_set_noautoreconnect(s, 1);
    if (iscsi_full_connect_sync(s, url->portal, url->lun) != 0) {
        error_set(err, EIO, "cannot connect to '%s': %s", name, iscsi_get_error(s));
        error_hint(err, "is the target running, and are name, unit and password right?");
        goto fail;
    }
    *lun = url->lun;
    iscsi_destroy_url(url);
    return s;
fail:
    if (url)
        iscsi_destroy_url(url);
    if (s)
        iscsi_destroy_context(s);
    return NULL;
}

static int find_size(struct iscsi *i, const char *name, struct error **err)
{
    struct scsi_task *task = iscsi_readcapacity16_sync(i->session, i->lun);
    struct scsi_readcapacity16 *cap = NULL;
    int rc = 0;

    if (task && task->status == SCSI_STATUS_GOOD)
        cap = scsi_datain_unmarshall(task);
    if (!cap)
        rc = error_set(err, EIO, "'%s' does not tell its size: %s", name,
                       iscsi_get_error(i->session));
    else if (cap->block_length < 512 || cap->block_length > 4096 ||
             cap->block_length & (cap->block_length - 1) ||
             cap->returned_lba >= INT64_MAX / cap->block_length)
        rc = error_set(err, ENOTSUP, "'%s' has %" PRIu32 " bytes per block, which no disk has",
                       name, cap->block_length);
    else
        i->block = cap->block_length;
    if (!rc)
        i->bytes = (cap->returned_lba + 1) * i->block;
    if (task)
        scsi_free_scsi_task(task);
    return rc;
}

/* ---- commands; the lock is held -------------------------------------------- */

static struct scsi_task *start(const struct iscsi *i, enum block_op op, unsigned flags,
                               uint64_t offset, void *buf, size_t bytes)
{
    int fua = op == BLOCK_WRITE && flags & BLOCK_FUA;
    struct unmap_list list = {.lba = offset / i->block, .num = (uint32_t)(bytes / i->block)};
    struct scsi_iovec iov = {buf, bytes};

    switch (op) {
    case BLOCK_READ:
        return iscsi_read16_iov_sync(i->session, i->lun, offset / i->block, (uint32_t)bytes,
                                     (int)i->block, 0, 0, 0, 0, 0, &iov, 1);
    case BLOCK_WRITE:
        return iscsi_write16_sync(i->session, i->lun, offset / i->block, buf, (uint32_t)bytes,
                                  (int)i->block, 0, 0, fua, 0, 0);
    case BLOCK_FLUSH:
        return iscsi_synchronizecache16_sync(i->session, i->lun, 0, 0, 0, 0);
    case BLOCK_DISCARD:
        return iscsi_unmap_sync(i->session, i->lun, 0, 0, &list, 1);
    case BLOCK_WRITE_ZEROES:
        break;
    }
    return NULL;
}

static int code_of(const struct scsi_task *task)
{
    if (task->sense.key == SCSI_SENSE_DATA_PROTECTION)
        return task->sense.ascq == SCSI_SENSE_ASCQ_WRITE_PROTECTED ? -EROFS : -ENOSPC;
    return task->sense.key == SCSI_SENSE_ILLEGAL_REQUEST ? -ENOTSUP : -EIO;
}

static void drop_session(struct iscsi *i)
{
    if (i->session)
        iscsi_destroy_context(i->session);
    i->session = NULL;
    i->lost |= i->unflushed;
}

/* Twice, for an idle session may have been closed by the target. */
static int command(struct block *b, enum block_op op, unsigned flags, uint64_t offset, void *buf,
                   size_t bytes)
{
    struct iscsi *i = b->state;
    int rc = -EIO;

    for (int attempt = 0; attempt < 2; attempt++) {
        if (!i->session)
            i->session = connect_to(b->name, &i->lun, NULL);
        if (!i->session)
            return -EIO;
        struct scsi_task *task = start(i, op, flags, offset, buf, bytes);
        int status = task ? task->status : SCSI_STATUS_ERROR;

        rc = status == SCSI_STATUS_GOOD ? 0 :
             status == SCSI_STATUS_CHECK_CONDITION ? code_of(task) : -EIO;
        bool attention = status == SCSI_STATUS_CHECK_CONDITION &&
                         task->sense.key == SCSI_SENSE_UNIT_ATTENTION;
        if (task)
            scsi_free_scsi_task(task);
        if (attention)
            continue;
        if (status == SCSI_STATUS_GOOD || status == SCSI_STATUS_CHECK_CONDITION)
            return rc;
        drop_session(i);
    }
    return rc;
}

/* Formats may ask for parts of blocks: then the whole ones are read, and written back. */
static int piece(struct block *b, enum block_op op, unsigned flags, uint64_t offset, void *buf,
                 size_t bytes)
{
    const struct iscsi *i = b->state;
    uint64_t mask = i->block - 1, from = offset & ~mask, to = (offset + bytes + mask) & ~mask;

    if (from == offset && to == offset + bytes)
        return command(b, op, flags, offset, buf, bytes);
    char *blocks = malloc(to - from);
    if (!blocks)
        return -ENOMEM;
    int rc = command(b, BLOCK_READ, 0, from, blocks, to - from);
    if (!rc && op == BLOCK_READ) {
        memcpy(buf, blocks + (offset - from), bytes);
    } else if (!rc) {
        memcpy(blocks + (offset - from), buf, bytes);
        rc = command(b, BLOCK_WRITE, flags, from, blocks, to - from);
    }
    free(blocks);
    return rc;
}

static int flush(struct block *b)
{
    struct iscsi *i = b->state;
    bool lost = i->lost;

    if (b->cache == BLOCK_UNSAFE || b->readonly)
        return 0;
    i->lost = i->unflushed = false;
    int rc = command(b, BLOCK_FLUSH, 0, 0, NULL, 0);
    return lost || i->lost ? -EIO : rc == -ENOTSUP ? 0 : rc;
}

static int discard(struct block *b, const struct block_request *r)
{
    const struct iscsi *i = b->state;

    if (!b->discard || (r->offset | r->bytes) & (i->block - 1) ||
        r->bytes / i->block > UINT32_MAX)
        return -ENOTSUP;
    return command(b, BLOCK_DISCARD, 0, r->offset, NULL, r->bytes);
}

static int iscsi_perform(struct block *b, const struct block_request *r)
{
    struct block_request mine = *r;
    struct iscsi *i = b->state;
    int rc;

    if (r->op != BLOCK_FLUSH && r->offset + r->bytes > i->bytes)
        return r->op == BLOCK_READ ? -EIO : -ENOSPC;
    if (b->cache == BLOCK_WRITETHROUGH)
        mine.flags |= BLOCK_FUA;
    pthread_mutex_lock(&i->lock);
    i->unflushed |= r->op != BLOCK_READ && r->op != BLOCK_FLUSH;
    rc = r->op == BLOCK_FLUSH ? flush(b) : r->op == BLOCK_DISCARD ? discard(b, &mine) :
         node_pieces(b, &mine, PIECE_BYTES, piece);
    pthread_mutex_unlock(&i->lock);
    return rc;
}

/* ---- open and close ------------------------------------------------------- */

static int iscsi_node_close(struct block *b, struct error **err)
{
    struct iscsi *i = b->state;

    if (i->session) {
        iscsi_logout_sync(i->session);
        iscsi_destroy_context(i->session);
    }
    pthread_mutex_destroy(&i->lock);
    free(i);
    return 0;
}

static int iscsi_open(struct block *b, const struct block_open *how, struct error **err)
{
    struct iscsi *i = calloc(1, sizeof *i);
    int rc = 0;

    BUG_ON(!i);
    pthread_mutex_init(&i->lock, NULL);
    b->state = i;
    i->session = connect_to(b->name, &i->lun, err);
    if (!i->session)
        rc = err && *err ? -(*err)->code : -EIO;
    else
        rc = find_size(i, b->name, err);
    if (rc)
        iscsi_node_close(b, NULL);
    return rc;
}

static void iscsi_info(const struct block *b, struct block_info *out)
{
    const struct iscsi *i = b->state;

    out->bytes = i->bytes;
    out->request_align = i->block;
    out->best_align = 4096;
    out->max_discard_bytes = b->discard && !b->readonly ? 1u << 30 : 0;
}

/* Which ones is in drivers.c; that there are any makes it a protocol. */
static const char *const schemes[] = {NULL};

static const struct block_driver driver = {
    .name = "iscsi",
    .summary = "a logical unit of an iSCSI target",
    .schemes = schemes,
    .open = iscsi_open,
    .close = iscsi_node_close,
    .info = iscsi_info,
    .perform = iscsi_perform,
};

BLOCK_MODULE(driver);
