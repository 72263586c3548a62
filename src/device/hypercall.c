/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hypercall.c - ports and registers of the hypercalls, and the teaching calls, each of
 * which is a port.
 */
#include "device/hypercall_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/byteorder.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "bus/bus.h"
#include "memory/memory.h"
#include "ring3/hypercall.h"
#include "ring3/simple.h"

enum { STRING_MAX = 1 << 16 };

void hypercall_print(struct hypercalls *h, const void *data, size_t len)
{
    if (!h->config.print || !len)
        return;
    pthread_mutex_lock(h->lock);
    h->config.print(h->config.print_opaque, data, len);
    pthread_mutex_unlock(h->lock);
}

/* ---- guest-virtual memory ------------------------------------------------------ */

/* Host memory from `a` on to the end of its page; NULL: not mapped, or no memory. */
static uint8_t *virtual_page(struct hypercalls *h, unsigned vcpu, gva_t a, bool write, gpa_t *at)
{
    uint64_t rest = PAGE_SIZE - (a.v & PAGE_OFFSET_MASK);

    if (h->config.translate(h->config.machine, vcpu, a, at) != 0)
        return NULL;
    return memory_host(h->memory, *at, rest, write).p;
}

static bool virtual_write(struct hypercalls *h, unsigned vcpu, gva_t a, const char *data,
                          size_t len)
{
    while (len) {
        uint64_t n = min_u64(len, PAGE_SIZE - (a.v & PAGE_OFFSET_MASK));
        gpa_t at;
        uint8_t *host = virtual_page(h, vcpu, a, true, &at);

        if (!host)
            return false;
        memcpy(host, data, n);
        memory_written(h->memory, at, n);
        a = gva_add(a, n);
        data += n;
        len -= n;
    }
    return true;
}

static void wrong_address(struct hypercalls *h, unsigned vcpu, const char *call, uint64_t a)
{
    log_guest(h->log, &h->wrong, "vCPU %u: %s with a wrong address: 0x%" PRIx64, vcpu, call, a);
}

/* ---- teaching calls ---------------------------------------------------------------- */

static void print8(struct hypercalls *h, unsigned vcpu, uint32_t value)
{
    uint8_t byte = (uint8_t)value;

    hypercall_print(h, &byte, 1);
}

static uint32_t print8_there(struct hypercalls *h, unsigned vcpu)
{
    return RING3_HC_PRINT8BIT;
}

static void print32(struct hypercalls *h, unsigned vcpu, uint32_t value)
{
    char text[16];

    hypercall_print(h, text, (size_t)snprintf(text, sizeof text, "%" PRIu32 "\n", value));
}

static uint32_t num_exits(struct hypercalls *h, unsigned vcpu)
{
    uint64_t count[HYPERCALL_EXITS], sum = 0;

    h->config.exits(h->config.machine, count);
    for (unsigned i = 0; i < HYPERCALL_EXITS; i++)
        sum += count[i];
    return (uint32_t)sum;
}

/* A string without an end, or that leads out of memory, prints nothing. */
static void print_str(struct hypercalls *h, unsigned vcpu, uint32_t value)
{
    struct strbuf text = {0};
    gva_t a = gva(value);
    bool ended = false;

    while (!ended && text.len < STRING_MAX) {
        uint64_t rest = PAGE_SIZE - (a.v & PAGE_OFFSET_MASK);
        gpa_t at;
        const uint8_t *host = virtual_page(h, vcpu, a, false, &at);
        size_t before = text.len, n;

        if (!host)
            break;
        /* Copied, then looked at: another processor may be writing there. */
        strbuf_add(&text, host, rest);
        n = strnlen(text.text + before, rest);
        ended = n < rest;
        text.len = before + n;
        a = gva_add(a, rest);
    }
    if (ended)
        hypercall_print(h, text.text, text.len);
    else
        wrong_address(h, vcpu, "printStr", value);
    strbuf_fini(&text);
}

static void exits_by_type(struct hypercalls *h, unsigned vcpu, uint32_t value)
{
    uint64_t count[HYPERCALL_EXITS];
    char text[64];
    int len;

    h->config.exits(h->config.machine, count);
    len = snprintf(text, sizeof text, "IO in: %" PRIu64 "\nIO out: %" PRIu64 "\n",
                   count[HYPERCALL_IO_IN], count[HYPERCALL_IO_OUT]);
    if (!virtual_write(h, vcpu, gva(value), text, (size_t)len + 1))
        wrong_address(h, vcpu, "numExitsByType", value);
}

static void gva_to_hva(struct hypercalls *h, unsigned vcpu, uint32_t value)
{
    static const char invalid[] = "Invalid GVA\n";
    gpa_t at;
    const uint8_t *host = virtual_page(h, vcpu, gva(value), false, &at);

    h->hva[vcpu] = (uint32_t)(uintptr_t)host;
    if (!host)
        hypercall_print(h, invalid, sizeof invalid - 1);
}

static uint32_t gva_to_hva_read(struct hypercalls *h, unsigned vcpu)
{
    return h->hva[vcpu];
}

/* ---- the call port and its neighbours ------------------------------------------------ */

/* What the guest reads in the register page. */
static void show_registers(struct hypercalls *h, uint32_t result)
{
    if (!h->registers)
        return;
    put_le32(h->registers + offsetof(struct ring3_hc_registers, call), RING3_HC_SIGNATURE);
    put_le32(h->registers + offsetof(struct ring3_hc_registers, result), result);
    put_le64(h->registers + offsetof(struct ring3_hc_registers, page), h->page);
}

static void finished(struct hypercalls *h, unsigned vcpu, uint32_t result)
{
    h->result[vcpu] = result;
    show_registers(h, result);
}

static void call_write(struct hypercalls *h, unsigned vcpu, uint32_t number)
{
    finished(h, vcpu, hypercall_do(h, vcpu, number));
}

static uint32_t call_read(struct hypercalls *h, unsigned vcpu)
{
    return h->result[vcpu];
}

static void move_page(struct hypercalls *h, unsigned vcpu, uint64_t address)
{
    bool there = !(address & PAGE_OFFSET_MASK) &&
                 memory_host(h->memory, gpa(address), PAGE_SIZE, true).p;

    if (there)
        h->page = address;
    else
        log_guest(h->log, &h->wrong, "vCPU %u: no shared page can be at 0x%" PRIx64, vcpu, address);
    finished(h, vcpu, there ? RING3_HC_OK : RING3_HC_EFAULT);
}

static void page_write(struct hypercalls *h, unsigned vcpu, uint32_t frame)
{
    move_page(h, vcpu, (uint64_t)frame << PAGE_SHIFT);
}

static uint32_t page_read(struct hypercalls *h, unsigned vcpu)
{
    return (uint32_t)(h->page >> PAGE_SHIFT);
}

static uint32_t signature_read(struct hypercalls *h, unsigned vcpu)
{
    return RING3_HC_SIGNATURE;
}

static uint32_t cpu_read(struct hypercalls *h, unsigned vcpu)
{
    return vcpu;
}

/* ---- the table --------------------------------------------------------------------- */

static const struct row {
    const char *name;
    uint16_t port;
    unsigned group;
    bool shared;                     /* where another device has the port, it does the same */
    void (*write)(struct hypercalls *h, unsigned vcpu, uint32_t value);
    uint32_t (*read)(struct hypercalls *h, unsigned vcpu);
} rows[] = {
    {"call", RING3_HC_PORT, HYPERCALL_SHARED_PAGE, false, call_write, call_read},
    {"page", RING3_HC_PORT_PAGE, HYPERCALL_SHARED_PAGE, false, page_write, page_read},
    {"signature", RING3_HC_PORT_SIGNATURE, HYPERCALL_SHARED_PAGE, false, NULL, signature_read},
    {"print8bit", RING3_HC_PRINT8BIT, HYPERCALL_TEACHING, true, print8, print8_there},
    {"print32bit", RING3_HC_PRINT32BIT, HYPERCALL_TEACHING, false, print32, NULL},
    {"numExits", RING3_HC_NUM_EXITS, HYPERCALL_TEACHING, false, NULL, num_exits},
    {"printStr", RING3_HC_PRINT_STR, HYPERCALL_TEACHING, false, print_str, NULL},
    {"numExitsByType", RING3_HC_NUM_EXITS_BY_TYPE, HYPERCALL_TEACHING, false, exits_by_type, NULL},
    {"gvaToHva", RING3_HC_GVA_TO_HVA, HYPERCALL_TEACHING, false, gva_to_hva, gva_to_hva_read},
    {"cpu", RING3_SIMPLE_CPU, HYPERCALL_SIMPLE, false, NULL, cpu_read},
    {"simple", RING3_SIMPLE_HYPERCALL, HYPERCALL_SIMPLE, false, call_write, call_read},
};
_Static_assert(ARRAY_SIZE(rows) <= HYPERCALL_PORTS_MAX, "too many ports");

static const struct row *row_at(const struct hypercalls *h, uint16_t port)
{
    return h->row_of_port[port] ? &rows[h->row_of_port[port] - 1] : NULL;
}

bool hypercalls_port_read(struct hypercalls *h, unsigned vcpu, uint16_t port, unsigned size,
                          uint64_t *value)
{
    const struct row *r = row_at(h, port);

    if (!r)
        return false;
    BUG_ON(vcpu >= HYPERCALL_CPUS_MAX);
    *value = (r->read ? r->read(h, vcpu) : UINT32_MAX) & (UINT64_MAX >> (64 - 8 * size));
    return true;
}

bool hypercalls_port_write(struct hypercalls *h, unsigned vcpu, uint16_t port, unsigned size,
                           uint64_t value)
{
    const struct row *r = row_at(h, port);

    if (!r)
        return false;
    BUG_ON(vcpu >= HYPERCALL_CPUS_MAX);
    if (r->write)
        r->write(h, vcpu, (uint32_t)value);
    return true;
}

bool hypercalls_mmio_write(struct hypercalls *h, unsigned vcpu, gpa_t a, unsigned size,
                           uint64_t value)
{
    if ((a.v & PAGE_MASK) != RING3_HC_REGISTERS || !h->registers)
        return false;
    BUG_ON(vcpu >= HYPERCALL_CPUS_MAX);
    switch (a.v & PAGE_OFFSET_MASK) {
    case offsetof(struct ring3_hc_registers, call):
        call_write(h, vcpu, (uint32_t)value);
        break;
    case offsetof(struct ring3_hc_registers, page):
        move_page(h, vcpu, value);
        break;
    }
    return true;
}

/* ---- making -------------------------------------------------------------------------- */

static const struct row *row_named(const char *name, size_t len)
{
    if (len > 3 && !memcmp(name, "HC_", 3)) {
        name += 3;
        len -= 3;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        if (strlen(rows[i].name) == len && !memcmp(rows[i].name, name, len))
            return &rows[i];
    return NULL;
}

static int no_such_call(const char *text, size_t len, struct error **err)
{
    const char *names[ARRAY_SIZE(rows) + 1] = {NULL};
    char name[32] = "";

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        names[i] = rows[i].name;
    memcpy(name, text, min_u64(len, sizeof name - 1));
    return error_no_such(err, "hypercall", name, names);
}

/* Where the user wants a row: *port. 1 when that was said. */
static int moved_to(const struct hypercall_config *cfg, const struct row *row, uint16_t *port)
{
    int said = 0;

    *port = row->port;
    for (const char *const *m = cfg->moved; m && *m; m++) {
        size_t len = strcspn(*m, "=");
        uint64_t number;

        if (row_named(*m, len) != row || str_parse_number(*m + len + 1, &number) < 0)
            continue;
        *port = (uint16_t)number;
        said = 1;
    }
    return said;
}

static int check_moves(const struct hypercall_config *cfg, struct error **err)
{
    for (const char *const *m = cfg->moved; m && *m; m++) {
        size_t len = strcspn(*m, "=");
        uint64_t port;

        if (!row_named(*m, len))
            return no_such_call(*m, len, err);
        if (!(*m)[len] || str_parse_number(*m + len + 1, &port) < 0 || port > UINT16_MAX) {
            error_set(err, EINVAL, "hypercall '%s' names no port", *m);
            error_hint(err, "write NAME=PORT, for example printStr=0xE5");
            return -EINVAL;
        }
    }
    return 0;
}

static int claim(struct hypercalls *h, unsigned row, uint16_t port, bool moved, struct error **err)
{
    const struct bus_region region = {rows[row].name, port, 1, NULL, NULL, h, 4, 0};
    const struct bus_region *other = bus_find(h->bus, BUS_PIO, port);

    if (other && !moved && rows[row].shared && other->opaque != h)
        return 0;
    if (other)
        return error_set(err, EINVAL, "hypercall '%s': port %#x is that of '%s'", rows[row].name,
                         port, other->name);
    int rc = bus_add(h->bus, BUS_PIO, &region, err);
    if (rc)
        return rc;
    h->claimed[h->claims++] = port;
    h->row_of_port[port] = (uint8_t)(row + 1);
    return 0;
}

static int claim_all(struct hypercalls *h, struct error **err)
{
    int rc = check_moves(&h->config, err);

    for (unsigned i = 0; i < ARRAY_SIZE(rows) && !rc; i++) {
        uint16_t port;
        bool moved = moved_to(&h->config, &rows[i], &port);

        if (moved || h->config.groups & rows[i].group)
            rc = claim(h, i, port, moved, err);
    }
    return rc;
}

static int map_pages(struct hypercalls *h, struct error **err)
{
    if (!(h->config.groups & HYPERCALL_SHARED_PAGE))
        return 0;
    if (!memory_map_block(h->memory, "hypercall page", gpa(RING3_HC_PAGE), PAGE_SIZE, 0, err).p)
        return -ENOMEM;
    h->registers = memory_map_block(h->memory, "hypercall registers", gpa(RING3_HC_REGISTERS),
                                    PAGE_SIZE, MEMORY_READONLY, err).p;
    return h->registers ? 0 : -ENOMEM;
}

/* ---- device --------------------------------------------------------------------------- */

struct hypercalls *hypercalls_of(struct device *dev)
{
    return container_of(dev, struct hypercalls, dev);
}

static void hypercalls_reset(struct device *dev)
{
    struct hypercalls *h = hypercalls_of(dev);

    h->page = RING3_HC_PAGE;
    memset(h->result, 0, sizeof h->result);
    memset(h->hva, 0, sizeof h->hva);
    if (h->registers)
        memory_fill(h->memory, gpa(RING3_HC_PAGE), 0, PAGE_SIZE);
    show_registers(h, 0);
}

static void hypercalls_resume(struct device *dev)
{
    show_registers(hypercalls_of(dev), 0);
}

static const struct state_field fields[] = {
    STATE_U64(struct hypercalls, page),
    STATE_U32_ARRAY(struct hypercalls, result),
    STATE_U32_ARRAY(struct hypercalls, hva),
    STATE_END
};
static const struct state_desc desc = {"hypercalls", 1, fields};

static const struct state_desc *hypercalls_describe(struct device *dev, void **state)
{
    *state = hypercalls_of(dev);
    return &desc;
}

static void hypercalls_destroy(struct device *dev)
{
    struct hypercalls *h = hypercalls_of(dev);

    while (h->claims)
        bus_remove(h->bus, BUS_PIO, h->claimed[--h->claims]);
    free(h);
}

static const struct device_ops hypercalls_ops = {
    .type = "hypercalls",
    .reset = hypercalls_reset,
    .resume = hypercalls_resume,
    .describe = hypercalls_describe,
    .destroy = hypercalls_destroy,
};

struct device *hypercalls_new(const struct device_env *env, const struct hypercall_config *cfg,
                              struct error **err)
{
    struct hypercalls *h = calloc(1, sizeof *h);

    if (!h) {
        error_set(err, ENOMEM, "no memory for the hypercalls");
        return NULL;
    }
    BUG_ON(cfg->cpus > HYPERCALL_CPUS_MAX);
    device_init(&h->dev, &hypercalls_ops, "hypercalls");
    h->config = *cfg;
    h->memory = env->memory;
    h->bus = env->bus;
    h->clock = env->clock;
    h->log = env->log;
    h->power = env->power;
    h->lock = bus_lock(env->bus);
    if (claim_all(h, err) < 0 || map_pages(h, err) < 0) {
        hypercalls_destroy(&h->dev);
        return NULL;
    }
    hypercalls_reset(&h->dev);
    return &h->dev;
}
