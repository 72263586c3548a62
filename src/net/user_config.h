/* SPDX-License-Identifier: GPL-2.0-or-later */
/* user_config.h - room-internal: the keys of --net user, read and checked. */
#ifndef RING3_NET_USER_CONFIG_H
#define RING3_NET_USER_CONFIG_H

#include <netinet/in.h>
#include "base/params.h"

enum { USER_FORWARDS_MAX = 64 };

struct user_forward {
    bool udp;
    struct in_addr host, guest;
    uint16_t host_port, guest_port;
};

struct user_config {
    struct param_list forward_text;
    char *net_text, *dns_text, *hostname, *domain, *tftp, *bootfile;
    bool restricted, ipv6;
    struct in_addr net, mask, host, dns, dhcp;
    struct user_forward forward[USER_FORWARDS_MAX];
    unsigned forwards;
};

extern const struct param user_keys[];

/* user_config_fini() is due in any case. */
int user_config_parse(struct user_config *c, const char *keys, struct error **err);
void user_config_fini(struct user_config *c);

#endif
