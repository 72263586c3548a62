/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net_cards.h - network cards in the kit, with the kit at the other end of the cable. */
#ifndef RING3_TESTS_NET_CARDS_H
#define RING3_TESTS_NET_CARDS_H

#include "kit.h"

int net_cards_e1000(struct rig *rig, const struct device_env *env, struct error **err);
int net_cards_virtio(struct rig *rig, const struct device_env *env, struct error **err);
void net_cards_destroy(struct rig *rig);
/* Frames that come in, and registers that matter to the e1000. The cable stays plugged:
 * it is no state of the card. */
uint64_t net_cards_poke(struct rig *rig, struct rig_random *r);

#endif
