/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options.h - the text of --net, taken apart: what is about the card and what
 * is about the back end.
 *
 *     KIND[,key=value...]
 *
 * The card's keys may stand anywhere: model, mac, queues, iothread, vhost,
 * capture. All others go to the back end as they stand.
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
    uint64_t queues;
    bool iothread, vhost;
    char *capture;
};

extern const struct param net_card_keys[];

/* `index` is which --net this is: a card without mac= gets an address made of the
 * VM's `seed` (its name or kernel) and the index, the same each time. */
int net_options_parse(struct net_options *o, const char *text, const char *seed, unsigned index,
                      struct error **err);
void net_options_fini(struct net_options *o);

#endif
