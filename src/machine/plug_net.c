/* SPDX-License-Identifier: GPL-2.0-or-later */
/* plug_net.c - `--net`: a back end, and the card that shows it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/iothread.h"
#include "base/strbuf.h"
#include "device/e1000.h"
#include "machine/plug.h"
#include "net/options.h"
#include "virtio/net.h"

static int plug_e1000(const struct plug *p, const struct net_options *o, const char *name,
                      struct net *n, struct error **err)
{
    struct e1000_config cfg = {.name = name, .net = n};

    memcpy(cfg.mac, o->mac, sizeof cfg.mac);
    struct device *dev = e1000_new(p->env, p->pci, &cfg, err);
    if (!dev)
        return -EIO;
    machine_add_device(p->machine, dev);
    plug_bootable_pci(p, dev->name);
    return 0;
}

static struct net *open_backend(const struct net_env *env, const struct net_options *o,
                                struct error **err)
{
    struct net *n = net_open(env, o->backend, err);

    if (n && o->capture && net_capture(n, o->capture, err) < 0) {
        net_close(n);
        n = NULL;
    }
    return n;
}

/* With a thread of its own: everything of the back end happens with its lock. */
static struct virtio_device *make_virtio(const struct plug *p, const struct net_options *o,
                                         const char *name, struct error **err)
{
    struct iothread *thread = o->iothread ? plug_iothread(p, name, NULL, err) : NULL;
    struct net_env env = {p->env->loop, bus_lock(p->env->bus), p->env->log};
    struct virtio_net_config cfg = {.name = name, .queues = (unsigned)o->queues,
                                    .mtu = (uint16_t)o->mtu};
    struct virtio_device *vd = NULL;

    if (o->iothread && !thread)
        return NULL;
    memcpy(cfg.mac, o->mac, sizeof cfg.mac);
    if (thread) {
        env.loop = iothread_loop(thread);
        env.lock = iothread_lock(thread);
        pthread_mutex_lock(env.lock);
    }
    cfg.net = open_backend(&env, o, err);
    if (cfg.net)
        vd = virtio_net_new(p->env, &cfg, err);
    if (thread)
        pthread_mutex_unlock(env.lock);
    if (vd && thread && plug_thread(p, vd, err) < 0) {
        virtio_device_destroy(vd);
        vd = NULL;
    }
    if (vd && o->packed)
        vd->features |= VIRTIO_F_PACKED;
    return vd;
}

static int plug_one(const struct plug *p, const struct net_options *o, struct error **err)
{
    const struct net_env env = {p->env->loop, bus_lock(p->env->bus), p->env->log};
    char name[24];

    if (!o->backend)
        return 0;
    plug_name(p->machine, "net", name, sizeof name);
    if (o->id && plug_name_free(p->machine, o->id, err) < 0)
        return -EEXIST;
    const char *id = o->id ? o->id : name;
    if (o->model == NET_MODEL_E1000) {
        struct net *n = open_backend(&env, o, err);
        return n ? plug_e1000(p, o, id, n, err) : -EIO;
    }
    struct virtio_device *vd = make_virtio(p, o, id, err);
    return vd ? plug_virtio(p, vd, o->transport, err) : -EIO;
}

int plug_net(const struct plug *p, const char *text, unsigned index, struct error **err)
{
    const struct machine_config *mc = &p->machine->config;
    struct net_options o;
    struct strbuf seed = {0};
    struct error *why = NULL;
    int rc;

    /* What tells this VM from another with the same network. */
    strbuf_addf(&seed, "%s|%s", mc->kernel ? mc->kernel : "",
                mc->disks && mc->disks[0] ? mc->disks[0] : "");
    rc = net_options_parse(&o, text, strbuf_text(&seed), index, &why);
    if (!rc)
        rc = plug_one(p, &o, &why);
    if (rc)
        rc = error_wrap(&why, "network '%s'", text);
    if (err)
        *err = why;
    else
        error_free(&why);
    net_options_fini(&o);
    strbuf_fini(&seed);
    return rc;
}

void machine_list_networks(struct strbuf *out)
{
    for (const struct net_ops *const *k = net_kinds(); *k; k++) {
        strbuf_addf(out, "%-10s %s\n", (*k)->name, (*k)->summary);
        params_describe((*k)->keys, out);
    }
    strbuf_addf(out, "%-10s %s\n", "none", "no card at all");
    strbuf_addf(out, "with any kind, for the card:\n");
    params_describe(net_card_keys, out);
}
