/* SPDX-License-Identifier: GPL-2.0-or-later */
/* backends.h - room-internal: the rows of net.c's table. */
#ifndef RING3_NET_BACKENDS_H
#define RING3_NET_BACKENDS_H

#include "net/net.h"

extern const struct net_ops net_user, net_tap, net_socket;

#endif
