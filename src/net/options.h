/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options.h - the text of --net, taken apart: what is about the card and what
 * is about the back end.
 *
 *     KIND[,key=value...]
 *
 * The card's keys (net_card_keys) may stand anywhere. All others go to the back end
 * as they stand.
 */
#ifndef RING3_NET_OPTIONS_H
#define RING3_NET_OPTIONS_H

#include "base/params.h"

enum net_model { NET_MODEL_VIRTIO, NET_MODEL_E1000 };
extern const char *const net_model_names[];

struct net_options {
    char *backend;                   /* for net_open; NULL: "none", no card at all */
    unsigned model;                  /* enum net_model */
    char *mac_text;
    uint8_t mac[6];
    uint64_t queues, mtu;            /* mtu 0: not told to the guest */
    unsigned transport;              /* of virtio: pci, mmio */
    bool packed, iothread;
    char *capture, *id;
};

extern const struct param net_card_keys[];

/* `index` is which --net this is: a card without mac= gets an address made of the text,
 * of what tells this VM from others (`seed`) and of the index, the same each time. */
int net_options_parse(struct net_options *o, const char *text, const char *seed, unsigned index,
                      struct error **err);
void net_options_fini(struct net_options *o);

#endif
