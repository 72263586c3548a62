/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ata.c - an ATA channel: task file registers, selection, resets, interrupts.
 *
 * ATA/ATAPI-7 volume 2, clauses 5 and 6 (PIO and the registers), 9.11 to 9.13 (resets,
 * signatures). Both drives see every write to the command block; the selected one is
 * read. Where there is no drive, nobody drives the bus: an empty channel reads 7Fh (DD7
 * is pulled down), a missing second drive zeros.
 */
#include "device/ata_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"

enum { FLOATING = 0x7f, C_DEVICE_RESET = 0x08, C_DIAGNOSTIC = 0x90, DIAGNOSTIC_PASSED = 1 };

static struct ata *to_ata(struct device *dev)
{
    return container_of(dev, struct ata, dev);
}

static struct ata_drive *selected(struct ata *c)
{
    return &c->drive[c->state.selected];
}

static bool empty(const struct ata *c)
{
    return c->drive[0].kind == ATA_NONE && c->drive[1].kind == ATA_NONE;
}

bool ata_dma_possible(const struct ata_drive *d)
{
    return d->channel->master != NULL;
}

/* ---- interrupts and ends of commands --------------------------------------- */

void ata_update_line(struct ata *c)
{
    const struct ata_state *s = &c->state;
    bool level = s->drive[s->selected].intrq && !(s->control & (CONTROL_NIEN | CONTROL_SRST));

    if (level == c->line)
        return;
    c->line = level;
    irq_line_set(&c->irq, level);
    if (c->master)
        c->master->interrupt(c->master->opaque, level);
}

void ata_raise(struct ata_drive *d)
{
    state_of(d)->intrq = true;
    ata_update_line(d->channel);
}

void ata_done(struct ata_drive *d)
{
    state_of(d)->status = STATUS_DRDY | STATUS_DSC;
    state_of(d)->error = 0;
    ata_raise(d);
}

void ata_fail(struct ata_drive *d, uint8_t error)
{
    state_of(d)->status = STATUS_DRDY | STATUS_DSC | STATUS_ERR;
    state_of(d)->error = error;
    ata_raise(d);
}

static void bad_step(struct ata *c, const char *what)
{
    c->bad_steps++;
    log_guest(c->log, &c->limit, "%s: %s (phase %u)", c->dev.name, what, c->state.phase);
}

/* ---- resets ---------------------------------------------------------------- */

void ata_signature(struct ata_drive *d)
{
    struct ata_drive_state *s = state_of(d);
    bool packet = d->kind == ATA_CDROM;

    memset(s->count, 0, sizeof s->count);
    memset(s->low, 0, sizeof s->low);
    memset(s->mid, 0, sizeof s->mid);
    memset(s->high, 0, sizeof s->high);
    memset(s->features, 0, sizeof s->features);
    s->error = DIAGNOSTIC_PASSED;
    s->device = 0;
    s->intrq = false;
    s->status = d->kind == ATA_DISK ? STATUS_DRDY | STATUS_DSC : 0;
    if (d->kind == ATA_NONE)
        return;
    s->count[0] = s->low[0] = 1;
    s->mid[0] = packet ? 0x14 : 0;
    s->high[0] = packet ? 0xeb : 0;
}

static void both_signatures(struct ata *c)
{
    c->state.selected = 0;
    for (unsigned i = 0; i < ATA_DRIVES; i++)
        ata_signature(&c->drive[i]);
    ata_update_line(c);
}

static void power_on(struct ata *c)
{
    memset(&c->state, 0, sizeof c->state);
    for (unsigned i = 0; i < ATA_DRIVES; i++) {
        struct ata_drive_state *s = &c->state.drive[i];

        s->heads = 16;
        s->sectors = 63;
        s->power = 0xff;
        s->mode = ata_dma_possible(&c->drive[i]) ? 0x45 : 0;     /* UDMA 5, as firmware leaves it */
        s->write_cache = c->drive[i].write_back;
        s->look_ahead = s->smart = c->drive[i].kind == ATA_DISK;
    }
    both_signatures(c);
}

static void diagnostic(struct ata *c)
{
    both_signatures(c);
    ata_raise(&c->drive[c->drive[0].kind == ATA_NONE]);
}

static void control_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct ata *c = opaque;
    bool was = c->state.control & CONTROL_SRST, is = value & CONTROL_SRST;

    c->state.control = (uint8_t)value & (CONTROL_NIEN | CONTROL_SRST | CONTROL_HOB);
    if (is && !was)
        ata_transfer_drop(c);
    if (was && !is)
        both_signatures(c);
    ata_update_line(c);
}

/* ---- reading --------------------------------------------------------------- */

static uint8_t status_of(const struct ata *c, const struct ata_drive *d)
{
    const struct ata_state *s = &c->state;

    if (empty(c))
        return FLOATING;
    if (d->kind == ATA_NONE)
        return 0;
    if (s->control & CONTROL_SRST || s->phase == PHASE_RESETTING)
        return STATUS_BSY;
    if (s->phase == PHASE_IDLE || s->owner != d->unit)
        return s->drive[d->unit].status;
    return s->phase <= PHASE_DMA ? STATUS_DRDY | STATUS_DSC | STATUS_DRQ : STATUS_BSY;
}

static uint64_t control_read(void *opaque, uint64_t offset, unsigned size)
{
    struct ata *c = opaque;

    return status_of(c, selected(c));        /* the alternate status: INTRQ stays */
}

static uint8_t register_read(struct ata *c, unsigned reg)
{
    struct ata_drive *d = selected(c);
    struct ata_drive_state *s = state_of(d);
    unsigned old = c->state.control & CONTROL_HOB ? 1 : 0;

    if (reg == R_STATUS) {
        uint8_t status = status_of(c, d);

        s->intrq = false;
        ata_update_line(c);
        return status;
    }
    if (empty(c))
        return FLOATING;
    if (reg == R_DEVICE)
        return s->device | DEVICE_FIXED | (uint8_t)(c->state.selected << 4);
    if (d->kind == ATA_NONE)
        return 0;
    switch (reg) {
    case R_ERROR: return s->error;
    case R_COUNT: return s->count[old];
    case R_LOW: return s->low[old];
    case R_MID: return s->mid[old];
    case R_HIGH: return s->high[old];
    default: return 0xff;
    }
}

/* Whether the guest may move data now, in this direction. */
static bool data_phase(struct ata *c, bool out)
{
    const struct ata_state *s = &c->state;
    bool right = out ? s->phase == PHASE_DATA_OUT || s->phase == PHASE_PACKET
                     : s->phase == PHASE_DATA_IN;

    if (right && s->owner == s->selected)
        return true;
    bad_step(c, out ? "data written that nobody waits for" : "data read where there is none");
    return false;
}

static uint32_t data_in(struct ata *c, uint8_t *to, uint32_t bytes)
{
    struct ata_state *s = &c->state;
    uint32_t n = (uint32_t)min_u64(bytes, s->end - s->at);

    memcpy(to, s->buffer + s->at, n);
    s->at += n;
    if (s->at == s->end)
        ata_block_passed(c);
    return n;
}

static uint32_t data_out(struct ata *c, const uint8_t *from, uint32_t bytes)
{
    struct ata_state *s = &c->state;
    uint32_t n = (uint32_t)min_u64(bytes, s->end - s->at);

    memcpy(s->buffer + s->at, from, n);
    s->at += n;
    if (s->at == s->end)
        ata_block_passed(c);
    return n;
}

static uint64_t command_read(void *opaque, uint64_t offset, unsigned size)
{
    struct ata *c = opaque;
    uint64_t v = 0;

    if (offset != R_DATA) {
        for (unsigned i = 0; i < size; i++)
            v |= (uint64_t)register_read(c, (unsigned)offset + i) << 8 * i;
        return v;
    }
    if (!data_phase(c, false))
        return UINT64_MAX;
    data_in(c, (uint8_t *)&v, size);
    return v;
}

static size_t read_string(void *opaque, uint64_t offset, unsigned size, void *buf, size_t count)
{
    struct ata *c = opaque;
    const struct ata_state *s = &c->state;

    if (offset != R_DATA || s->phase != PHASE_DATA_IN || s->owner != s->selected)
        return 0;
    count = min_u64(count, (s->end - s->at) / size);
    if (count)
        data_in(c, buf, (uint32_t)count * size);
    return count;
}

/* ---- writing --------------------------------------------------------------- */

static void shift_in(uint8_t pair[2], uint8_t v)
{
    pair[1] = pair[0];
    pair[0] = v;
}

static void command_block_write(struct ata_drive_state *s, unsigned reg, uint8_t v)
{
    switch (reg) {
    case R_FEATURES: shift_in(s->features, v); break;
    case R_COUNT: shift_in(s->count, v); break;
    case R_LOW: shift_in(s->low, v); break;
    case R_MID: shift_in(s->mid, v); break;
    case R_HIGH: shift_in(s->high, v); break;
    default: s->device = v & ~DEVICE_DEV; break;
    }
}

static void execute(struct ata_drive *d, uint8_t command)
{
    struct ata *c = d->channel;
    bool known;

    c->commands++;
    log_trace(c->log, DEVICE, "%s: command 0x%02x, features 0x%02x, count 0x%02x", d->name, command,
              state_of(d)->features[0], state_of(d)->count[0]);
    if (command == C_DIAGNOSTIC) {
        diagnostic(c);
        return;
    }
    state_of(d)->error = 0;
    state_of(d)->status = STATUS_DRDY | STATUS_DSC;
    known = d->kind == ATA_DISK ? ata_disk_command(d, command) : atapi_command(d, command);
    if (known)
        return;
    log_trace(c->log, DEVICE, "%s: command 0x%02x is not for this drive", d->name, command);
    ata_fail(d, ERROR_ABRT);
}

static void command_write(struct ata *c, uint8_t command)
{
    struct ata_state *s = &c->state;
    struct ata_drive *d = selected(c);

    if (d->kind == ATA_NONE)
        return;
    if (command == C_DEVICE_RESET && d->kind == ATA_CDROM) {
        if (s->phase != PHASE_IDLE && s->owner == d->unit)
            ata_transfer_drop(c);
        ata_signature(d);
        ata_update_line(c);
        return;
    }
    state_of(d)->intrq = false;
    ata_update_line(c);
    if (s->phase == PHASE_IDLE) {
        execute(d, command);
        return;
    }
    bad_step(c, "a command amid a transfer: both end");
    ata_transfer_drop(c);
    ata_fail(&c->drive[s->owner], ERROR_ABRT);
}

static void register_write(struct ata *c, unsigned reg, uint8_t v)
{
    struct ata_state *s = &c->state;
    bool busy = s->phase > PHASE_DMA || s->control & CONTROL_SRST;

    s->control &= (uint8_t)~CONTROL_HOB;
    if (busy && !(reg == R_COMMAND && v == C_DEVICE_RESET && !(s->control & CONTROL_SRST))) {
        bad_step(c, "a register written while the drive is busy");
        return;
    }
    if (reg == R_COMMAND) {
        command_write(c, v);
        return;
    }
    for (unsigned i = 0; i < ATA_DRIVES; i++)
        command_block_write(&s->drive[i], reg, v);
    if (reg == R_DEVICE) {
        s->selected = v & DEVICE_DEV ? 1 : 0;
        ata_update_line(c);
    }
}

static void command_block(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct ata *c = opaque;

    if (offset != R_DATA)
        for (unsigned i = 0; i < size; i++)
            register_write(c, (unsigned)offset + i, (uint8_t)(value >> 8 * i));
    else if (data_phase(c, true))
        data_out(c, (const uint8_t *)&value, size);
}

static size_t write_string(void *opaque, uint64_t offset, unsigned size, const void *buf,
                           size_t count)
{
    struct ata *c = opaque;
    const struct ata_state *s = &c->state;

    if (offset != R_DATA || s->phase != PHASE_DATA_OUT || s->owner != s->selected)
        return 0;
    count = min_u64(count, (s->end - s->at) / size);
    if (count)
        data_out(c, buf, (uint32_t)count * size);
    return count;
}

/* ---- the device ------------------------------------------------------------ */

static void drain(struct ata *c)
{
    for (unsigned i = 0; i < ATA_DRIVES; i++)
        if (c->drive[i].block)
            block_drain(c->drive[i].block);
}

static void reset(struct device *dev)
{
    struct ata *c = to_ata(dev);

    ata_transfer_drop(c);
    drain(c);
    c->waiting = false;
    power_on(c);
}

static void quiesce(struct device *dev)
{
    drain(to_ata(dev));
}

static void resume(struct device *dev)
{
    struct ata *c = to_ata(dev);

    c->state.selected &= 1;
    ata_transfer_resume(c);
    ata_update_line(c);
    irq_line_set(&c->irq, c->line);
}

static void close_image(struct ata_drive *d)
{
    struct error *err = NULL;

    if (d->block && block_close(d->block, &err) < 0) {
        char *text = err ? error_text(err) : NULL;

        log_warn(d->channel->log, "%s: the image may lack its last writes: %s", d->name,
                 text ? text : "no reason given");
        free(text);
        error_free(&err);
    }
    d->block = NULL;
}

static void destroy(struct device *dev)
{
    struct ata *c = to_ata(dev);

    ata_transfer_drop(c);
    drain(c);
    for (unsigned i = 0; i < ATA_DRIVES; i++)
        close_image(&c->drive[i]);
    bus_claims_release(&c->claims);
    free(c);
}

static const struct state_field drive_fields[] = {
    STATE_U8(struct ata_drive_state, status), STATE_U8(struct ata_drive_state, error),
    STATE_U8(struct ata_drive_state, device), STATE_U8_ARRAY(struct ata_drive_state, features),
    STATE_U8_ARRAY(struct ata_drive_state, count), STATE_U8_ARRAY(struct ata_drive_state, low),
    STATE_U8_ARRAY(struct ata_drive_state, mid), STATE_U8_ARRAY(struct ata_drive_state, high),
    STATE_BOOL(struct ata_drive_state, intrq), STATE_U8(struct ata_drive_state, multiple),
    STATE_U8(struct ata_drive_state, mode), STATE_U8(struct ata_drive_state, heads),
    STATE_U8(struct ata_drive_state, sectors), STATE_U8(struct ata_drive_state, power),
    STATE_BOOL(struct ata_drive_state, write_cache), STATE_BOOL(struct ata_drive_state, look_ahead),
    STATE_BOOL(struct ata_drive_state, smart), STATE_U8(struct ata_drive_state, sense),
    STATE_U8(struct ata_drive_state, asc), STATE_U8(struct ata_drive_state, ascq),
    STATE_U8(struct ata_drive_state, event), STATE_BOOL(struct ata_drive_state, attention),
    STATE_BOOL(struct ata_drive_state, locked), STATE_BOOL(struct ata_drive_state, open),
    STATE_END
};
static const struct state_desc drive_desc = {"drive", 1, drive_fields};

static const struct state_field fields[] = {
    STATE_STRUCT_ARRAY(struct ata_state, drive, &drive_desc),
    STATE_U8(struct ata_state, control), STATE_U8(struct ata_state, selected),
    STATE_U8(struct ata_state, phase), STATE_U8(struct ata_state, owner),
    STATE_BOOL(struct ata_state, write), STATE_BOOL(struct ata_state, dma),
    STATE_BOOL(struct ata_state, fua), STATE_BOOL(struct ata_state, media),
    STATE_U32(struct ata_state, at), STATE_U32(struct ata_state, end),
    STATE_U32(struct ata_state, filled), STATE_U32(struct ata_state, block_bytes),
    STATE_U64(struct ata_state, unit), STATE_U32(struct ata_state, left),
    STATE_U8_ARRAY(struct ata_state, buffer),
    STATE_END
};
static const struct state_desc desc = {"ata", 1, fields};

static const struct state_desc *describe(struct device *dev, void **state)
{
    *state = &to_ata(dev)->state;
    return &desc;
}

static const struct device_ops ops = {
    .type = "ata",
    .reset = reset,
    .quiesce = quiesce,
    .resume = resume,
    .describe = describe,
    .destroy = destroy,
};

struct device *ata_new(const struct device_env *env, const struct ata_config *cfg,
                       struct error **err)
{
    const struct bus_region regions[] = {
        {.name = "ata-command", .base = cfg->command, .size = 8, .read = command_read,
         .write = command_block, .read_string = read_string, .write_string = write_string},
        {.name = "ata-control", .base = cfg->control, .size = 1, .read = control_read,
         .write = control_write},
    };
    struct ata *c = calloc(1, sizeof *c);

    if (!c) {
        error_set(err, ENOMEM, "no memory for ATA channel '%s'", cfg->name);
        return NULL;
    }
    device_init(&c->dev, &ops, cfg->name);
    c->memory = env->memory;
    c->log = env->log;
    c->irq = cfg->irq;
    for (unsigned i = 0; i < ATA_DRIVES; i++) {
        c->drive[i].channel = c;
        c->drive[i].unit = i;
    }
    if (bus_claims_add(&c->claims, env->bus, BUS_PIO, regions, ARRAY_SIZE(regions), c, err) < 0) {
        free(c);
        return NULL;
    }
    power_on(c);
    return &c->dev;
}

/* ---- drives ---------------------------------------------------------------- */

/* Takes the image as the drive's medium. */
static int take_image(struct ata_drive *d, struct block *block, struct error **err)
{
    unsigned unit = unit_bytes(d);
    struct block_info info;

    block_info(block, &info);
    if (info.request_align > unit)
        error_set(err, EINVAL, "its host wants requests of %u bytes, and this drive has sectors "
                  "of %u", info.request_align, unit);
    else if (d->kind == ATA_DISK && info.bytes < unit)
        error_set(err, EINVAL, "the image is smaller than one sector");
    else {
        d->block = block;
        d->bytes = info.bytes;
        d->units = info.bytes / unit;
        d->readonly = info.readonly || d->kind == ATA_CDROM;
        return 0;
    }
    if (info.request_align > unit)
        error_hint(err, "use another cache= than none");
    block_close(block, NULL);
    return -EINVAL;
}

int ata_attach(struct device *channel, unsigned unit, const struct ata_drive_config *cfg,
               struct error **err)
{
    const char *serial = cfg->serial ? cfg->serial : cfg->name;
    struct ata *c = to_ata(channel);
    struct ata_drive *d = &c->drive[unit];

    BUG_ON(unit >= ATA_DRIVES || d->kind != ATA_NONE || cfg->kind == ATA_NONE);
    d->kind = cfg->kind;
    memcpy(d->name, cfg->name, min_u64(strlen(cfg->name), sizeof d->name - 1));
    memcpy(d->serial, serial, min_u64(strlen(serial), sizeof d->serial - 1));
    d->write_back = cfg->write_back;
    d->failed = cfg->failed;
    d->opaque = cfg->opaque;
    if (cfg->block && take_image(d, cfg->block, err) < 0) {
        d->kind = ATA_NONE;
        return -EINVAL;
    }
    power_on(c);
    return 0;
}

void ata_set_bus_master(struct device *channel, const struct ata_bus_master *master)
{
    struct ata *c = to_ata(channel);

    ata_transfer_drop(c);
    drain(c);
    c->master = master;
    power_on(c);
}

static struct ata_drive *drive_of(const struct device *dev, unsigned unit)
{
    struct device *channel = (struct device *)(uintptr_t)dev;

    return dev->ops == &ops ? &to_ata(channel)->drive[unit % ATA_DRIVES] : NULL;
}

enum ata_kind ata_drive_kind(const struct device *dev, unsigned unit)
{
    const struct ata_drive *d = drive_of(dev, unit);

    return d ? d->kind : ATA_NONE;
}

const char *ata_drive_name(const struct device *dev, unsigned unit)
{
    const struct ata_drive *d = drive_of(dev, unit);

    return d && d->kind != ATA_NONE ? d->name : NULL;
}

struct block *ata_image(const struct device *dev, unsigned unit)
{
    const struct ata_drive *d = drive_of(dev, unit);

    return d ? d->block : NULL;
}

int ata_change_disc(struct device *dev, unsigned unit, struct block *block, bool force,
                    struct error **err)
{
    struct ata_drive *d = drive_of(dev, unit);
    struct block *old;

    BUG_ON(!d || d->kind != ATA_CDROM);
    if (state_of(d)->locked && !force) {
        atapi_door(d, DOOR_ASKED);
        block_close(block, NULL);
        error_set(err, EBUSY, "the guest has locked the door of '%s'; it has been asked to open it",
                  d->name);
        error_hint(err, "try again, or add 'force'");
        return -EBUSY;
    }
    old = d->block;
    if (old)
        block_drain(old);
    d->block = NULL;
    if (block && take_image(d, block, err) < 0) {
        d->block = old;
        return -EINVAL;
    }
    block_close(old, NULL);
    atapi_door(d, block ? DOOR_CLOSED : DOOR_OPENED);
    return 0;
}

void ata_retry(struct device *dev)
{
    struct ata *c = to_ata(dev);

    if (dev->ops != &ops || !c->waiting)
        return;
    c->waiting = false;
    c->in_flight = true;
    block_submit(c->drive[c->state.owner].block, &c->request);
}
