/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio_console.c - console ports against a driver that means harm, and against one that
 * only asks. Each queue has rings of its own, a page for each area.
 */
#include "virtio_fixture.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/loop.h"
#include "virtio/console.h"

enum { PORTS = 3, QUEUES = 2 * PORTS + 2, SIZE = 16, CRX = 2, CTX = 3, BUFFERS = 0x40000,
       BUFFER_BYTES = 0x400, ROUNDS = 30000 };
#define F_MULTIPORT (1ull << 1)

struct guest {
    struct rig rig;
    struct loop *loop;
    struct virtio_device *vd;
    uint16_t next[QUEUES], used[QUEUES];
    char path[64], heard[256];
    size_t heard_len;
    unsigned readies;
};

static void hear(void *opaque, const uint8_t *data, size_t len)
{
    struct guest *g = opaque;

    for (size_t i = 0; i < len && g->heard_len < sizeof g->heard - 1; i++)
        g->heard[g->heard_len++] = (char)data[i];
}

static void ready(void *opaque)
{
    ((struct guest *)opaque)->readies++;
}

static uint64_t desc_at(unsigned q) { return 0x1000 + q * 0x3000ull; }

static void start(struct guest *g, uint64_t features)
{
    struct virtio_device *vd = g->vd;

    features |= VIRTIO_F_VERSION_1;
    virtio_set_status(vd, 0);
    memset(ram(&g->rig, 0), 0, RAM_BYTES);
    memset(g->next, 0, sizeof g->next);
    memset(g->used, 0, sizeof g->used);
    virtio_set_features(vd, 0, (uint32_t)features);
    virtio_set_features(vd, 1, (uint32_t)(features >> 32));
    virtio_set_status(vd, VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    for (unsigned i = 0; i < QUEUES; i++) {
        struct virtio_queue *q = virtio_queue_of(vd, i);

        virtio_queue_set_size(q, SIZE);
        q->state->descriptors = desc_at(i);
        q->state->driver = desc_at(i) + 0x1000;
        q->state->device = desc_at(i) + 0x2000;
        virtio_queue_set_ready(q, true);
    }
    virtio_set_status(vd, vd->state.status | VIRTIO_DRIVER_OK);
}

static uint64_t buffer(unsigned q, unsigned slot)
{
    return BUFFERS + (q * SIZE + slot) * (uint64_t)BUFFER_BYTES;
}

/* One buffer into a queue, without the doorbell. */
static void give(struct guest *g, unsigned q, const void *data, uint32_t len, bool writes)
{
    unsigned slot = g->next[q] % SIZE;

    if (data)
        memcpy(ram(&g->rig, buffer(q, slot)), data, len);
    put_descriptor(&g->rig, desc_at(q), slot, buffer(q, slot), len, writes ? D_WRITE : 0, 0);
    put_le16(ram(&g->rig, desc_at(q) + 0x1000 + 4 + 2 * slot), (uint16_t)slot);
    put_le16(ram(&g->rig, desc_at(q) + 0x1000 + 2), ++g->next[q]);
}

/* The next buffer given back; its length, or -1. */
static int taken(struct guest *g, unsigned q, const uint8_t **data)
{
    uint8_t *ring = ram(&g->rig, desc_at(q) + 0x2000);

    if (get_le16(ring + 2) == g->used[q])
        return -1;
    uint8_t *e = ring + 4 + 8 * (g->used[q]++ % SIZE);
    if (data)
        *data = ram(&g->rig, buffer(q, get_le32(e)));
    return (int)get_le32(e + 4);
}

static void say(struct guest *g, uint32_t id, uint16_t event, uint16_t value)
{
    uint8_t raw[8];

    put_le32(raw, id);
    put_le16(raw + 4, event);
    put_le16(raw + 6, value);
    give(g, CTX, raw, sizeof raw, false);
    virtio_notify(g->vd, CTX);
    assert_int_equal(taken(g, CTX, NULL), 0);
}

static void expect_told(struct guest *g, uint32_t id, uint16_t event, uint16_t value, int len)
{
    const uint8_t *p;

    assert_int_equal(taken(g, CRX, &p), len);
    assert_int_equal(get_le32(p), id);
    assert_int_equal(get_le16(p + 4), event);
    assert_int_equal(get_le16(p + 6), value);
}

static int setup(void **state)
{
    struct guest *g = calloc(1, sizeof *g);
    struct virtio_console_port port[PORTS] = {
        {NULL, {.kind = CONSOLE_END_STDIO, .write = hear, .ready = ready, .opaque = g}},
        {"stream", {.kind = CONSOLE_END_UNIX, .path = g->path}},
        {NULL, {.kind = CONSOLE_END_PTY}},
    };
    const struct virtio_console_config cfg = {.name = "c", .port = port, .ports = PORTS};

    rig_init(&g->rig);
    g->loop = loop_new(NULL);
    g->rig.env.loop = g->loop;
    snprintf(g->path, sizeof g->path, "/tmp/ring3-console-%d", (int)getpid());
    g->vd = virtio_console_new(&g->rig.env, &cfg, NULL);
    assert_non_null(g->vd);
    g->vd->transport = (struct virtio_transport){rig_interrupt, &g->rig};
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    struct guest *g = *state;

    virtio_device_destroy(g->vd);
    assert_int_not_equal(access(g->path, F_OK), 0);
    loop_free(g->loop);
    rig_fini(&g->rig);
    free(g);
    return 0;
}

static void open_ports(struct guest *g)
{
    start(g, F_MULTIPORT);
    say(g, 0, 0, 1);
    for (uint32_t i = 0; i < PORTS; i++) {
        say(g, i, 3, 1);
        say(g, i, 6, 1);
    }
}

static void ports_are_announced_and_sized(void **state)
{
    struct guest *g = *state;

    virtio_console_resize(g->vd, 80, 25);
    assert_false(virtio_console_open(g->vd));
    open_ports(g);
    for (int i = 0; i < 8; i++)              /* nothing was there to tell it with */
        give(g, CRX, NULL, 64, true);
    virtio_notify(g->vd, CRX);
    expect_told(g, 0, 1, 1, 8);
    expect_told(g, 0, 4, 1, 8);
    expect_told(g, 0, 5, 1, 12);
    expect_told(g, 0, 6, 1, 8);
    expect_told(g, 1, 1, 1, 8);
    expect_told(g, 1, 7, 1, 8 + 7);
    expect_told(g, 2, 1, 1, 8);
    expect_told(g, 2, 4, 1, 8);
    assert_true(virtio_console_open(g->vd));
    give(g, CRX, NULL, 64, true);
    give(g, CRX, NULL, 64, true);
    virtio_notify(g->vd, CRX);
    expect_told(g, 2, 6, 1, 8);
    virtio_console_resize(g->vd, 132, 50);
    expect_told(g, 0, 5, 1, 12);
    assert_int_equal(g->rig.config_interrupts, 1);
}

static void bytes_pass(void **state)
{
    struct guest *g = *state;
    const uint8_t *p;

    open_ports(g);
    virtio_console_type(g->vd, (const uint8_t *)"abc", 3);
    give(g, 0, NULL, 16, true);
    virtio_notify(g->vd, 0);
    assert_int_equal(taken(g, 0, &p), 3);
    assert_memory_equal(p, "abc", 3);
    assert_int_equal(g->readies, 1);
    give(g, 1, "xyz", 3, false);
    virtio_notify(g->vd, 1);
    assert_int_equal(taken(g, 1, NULL), 0);
    assert_string_equal(g->heard, "xyz");
}

/* A stream waits for its reader with its place kept; a console nobody reads is not waited
 * for; and a client that goes is seen. */
static void streams_wait_and_consoles_do_not(void **state)
{
    struct guest *g = *state;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    uint8_t data[BUFFER_BYTES], got[BUFFER_BYTES];
    uint64_t sent = 0, read_bytes = 0;

    open_ports(g);
    memcpy(at.sun_path, g->path, strlen(g->path) + 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    loop_run_once(g->loop, 0);
    say(g, 1, 6, 0);                         /* what was written before still counts */
    for (int waiting = 0; waiting < SIZE - 1 || read_bytes < sent;) {
        for (unsigned i = 0; i < sizeof data; i++)
            data[i] = (uint8_t)((sent + i) * 7 >> 3);
        if (waiting < SIZE - 1) {
            give(g, 5, data, sizeof data, false);
            virtio_notify(g->vd, 5);
            sent += sizeof data;
            waiting = taken(g, 5, NULL) < 0 ? waiting + 1 : waiting;
            continue;
        }
        ssize_t n = read(fd, got, sizeof got);
        for (ssize_t i = 0; i < n; i++)
            assert_int_equal(got[i], (uint8_t)((read_bytes + (uint64_t)i) * 7 >> 3));
        read_bytes += n > 0 ? (uint64_t)n : 0;
        loop_run_once(g->loop, 0);
    }
    for (int i = 0; i < 1000; i++) {
        give(g, 7, data, sizeof data, false);
        virtio_notify(g->vd, 7);
        assert_int_equal(taken(g, 7, NULL), 0);
    }
    close(fd);
    give(g, 4, NULL, 16, true);
    virtio_notify(g->vd, 4);
    loop_run_once(g->loop, 0);
    for (int i = 0; i < 12; i++)
        give(g, CRX, NULL, 64, true);
    virtio_notify(g->vd, CRX);
    for (int len; (len = taken(g, CRX, NULL)) >= 0;)
        assert_true(len >= 8);
}

static void any_driver_is_survived(void **state)
{
    struct guest *g = *state;
    uint64_t seed = 0x5eed5eed1234;
    uint8_t raw[64];

    start(g, F_MULTIPORT);
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned q = (unsigned)(unit_random(&seed) % QUEUES);
        uint32_t len = 1 + (uint32_t)(unit_random(&seed) % sizeof raw);

        for (unsigned k = 0; k < sizeof raw; k++)
            raw[k] = (uint8_t)unit_random(&seed);
        put_le32(raw, (uint32_t)(unit_random(&seed) % (PORTS + 2)));
        put_le16(raw + 4, (uint16_t)(unit_random(&seed) % 9));
        give(g, q, raw, len, unit_random(&seed) % 16 ? q % 2 == 0 : q % 2);
        if (unit_random(&seed) % 64 == 0)
            put_le16(ram(&g->rig, desc_at(q) + 0x1000 + 4), (uint16_t)unit_random(&seed));
        virtio_notify(g->vd, q);
        if (virtio_console_room(g->vd) >= len)
            virtio_console_type(g->vd, raw, len);
        virtio_console_resize(g->vd, (uint16_t)(i % 5), 3);
        virtio_config_access(g->vd, (unsigned)(unit_random(&seed) % 16), raw, 4, i & 1);
        loop_run_once(g->loop, 0);
        if (!virtio_live(g->vd))
            start(g, i % 3 ? F_MULTIPORT : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ports_are_announced_and_sized, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(streams_wait_and_consoles_do_not, setup, teardown),
        cmocka_unit_test_setup_teardown(any_driver_is_survived, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
