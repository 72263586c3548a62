/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * user_config.c - addresses, networks, and TYPE:[ADDR:]PORT:[ADDR:]PORT.
 *
 * A forwarded port listens on the host's loopback unless an address says more:
 * whoever wants the world to reach a guest says so (0.0.0.0).
 */
#include "net/user_config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bug.h"
#include "base/error.h"

#define FIELD(f) offsetof(struct user_config, f)
const struct param user_keys[] = {
    {"forward", PARAM_LIST, FIELD(forward_text),
     .help = "tcp|udp:[ADDR:]PORT:[GUEST-ADDR:]PORT, from the host to the guest"},
    {"restrict", PARAM_FLAG, FIELD(restricted), .help = "nothing but forwarded ports"},
    {"net", PARAM_STRING, FIELD(net_text), .help = "the guest's network, 10.0.2.0/24"},
    {"dns", PARAM_STRING, FIELD(dns_text), .help = "where the guest finds a name server"},
    {"hostname", PARAM_STRING, FIELD(hostname), .help = "the guest's name, told by DHCP"},
    {"domain", PARAM_STRING, FIELD(domain), .help = "the guest's domain, told by DHCP"},
    {"ipv6", PARAM_FLAG, FIELD(ipv6), .help = "IPv6 too (default on)"},
    {"tftp", PARAM_STRING, FIELD(tftp), .help = "a folder to serve by TFTP"},
    {"bootfile", PARAM_STRING, FIELD(bootfile), .help = "the boot file, told by DHCP"},
    {NULL},
};
#undef FIELD

enum { NET_PREFIX_MAX = 27 };        /* hosts .2, .3 and .15 must fit */
enum { HOST = 2, DNS = 3, FIRST_GUEST = 15 };

static struct in_addr in_net(const struct user_config *c, uint32_t host)
{
    return (struct in_addr){htonl(ntohl(c->net.s_addr) | host)};
}

static int parse_net(struct user_config *c, struct error **err)
{
    const char *text = c->net_text ? c->net_text : "10.0.2.0/24";
    const char *slash = strchr(text, '/');
    char address[INET_ADDRSTRLEN] = "", *end = NULL;
    unsigned long prefix = slash ? strtoul(slash + 1, &end, 10) : 24;
    size_t len = slash ? (size_t)(slash - text) : strlen(text);

    if (len < sizeof address)
        memcpy(address, text, len);
    if (inet_pton(AF_INET, address, &c->net) != 1 || (slash && (*end || end == slash + 1))) {
        error_set(err, EINVAL, "net=%s is no IPv4 network", text);
        error_hint(err, "write net=10.0.2.0/24");
        return -EINVAL;
    }
    if (prefix < 8 || prefix > NET_PREFIX_MAX)
        return error_set(err, EINVAL, "net=%s: the prefix must be from 8 to %d", text,
                         NET_PREFIX_MAX);
    c->mask.s_addr = htonl(~0u << (32 - prefix));
    c->net.s_addr &= c->mask.s_addr;
    c->host = in_net(c, HOST);
    c->dns = in_net(c, DNS);
    c->dhcp = in_net(c, FIRST_GUEST);
    return 0;
}

static int parse_dns(struct user_config *c, struct error **err)
{
    if (!c->dns_text)
        return 0;
    if (inet_pton(AF_INET, c->dns_text, &c->dns) != 1)
        return error_set(err, EINVAL, "dns=%s is no IPv4 address", c->dns_text);
    if ((c->dns.s_addr & c->mask.s_addr) != c->net.s_addr || c->dns.s_addr == c->host.s_addr)
        return error_set(err, EINVAL, "dns=%s must be an address of its own in the guest's network",
                         c->dns_text);
    return 0;
}

static bool parse_port(const char *s, uint16_t *port)
{
    char *end;
    unsigned long v = strtoul(s, &end, 10);

    if (*s < '0' || *s > '9' || *end || !v || v > UINT16_MAX)
        return false;
    *port = (uint16_t)v;
    return true;
}

/* The words after the type: [address] port [address] port. Missing addresses stay. */
static bool parse_ends(struct user_forward *f, char **word, unsigned words)
{
    unsigned i = 0;

    if (words == 4 || (words == 3 && strchr(word[0], '.')))
        if (inet_pton(AF_INET, word[i++], &f->host) != 1)
            return false;
    if (i >= words || !parse_port(word[i++], &f->host_port))
        return false;
    if (words - i == 2 && inet_pton(AF_INET, word[i++], &f->guest) != 1)
        return false;
    return words - i == 1 && parse_port(word[i], &f->guest_port);
}

static int parse_forward(struct user_config *c, const char *text, struct error **err)
{
    struct user_forward f = {.host.s_addr = htonl(INADDR_LOOPBACK), .guest = c->dhcp};
    char *copy = strdup(text), *word[6], *save = NULL;
    unsigned words = 0;
    bool good;

    BUG_ON(!copy);
    for (char *w = strtok_r(copy, ":", &save); w && words < 6; w = strtok_r(NULL, ":", &save))
        word[words++] = w;
    good = words >= 3 && words <= 5 && (!strcmp(word[0], "tcp") || !strcmp(word[0], "udp")) &&
           parse_ends(&f, word + 1, words - 1);
    f.udp = good && word[0][0] == 'u';
    free(copy);
    if (!good) {
        error_set(err, EINVAL, "forward=%s cannot be understood", text);
        error_hint(err, "write forward=tcp:2222:22, or "
                   "forward=tcp:HOST-ADDRESS:PORT:GUEST-ADDRESS:PORT; ports are from 1 to 65535");
        return -EINVAL;
    }
    if (c->forwards == USER_FORWARDS_MAX)
        return error_set(err, EINVAL, "more than %d forwarded ports", USER_FORWARDS_MAX);
    c->forward[c->forwards++] = f;
    return 0;
}

static int check_tftp(const struct user_config *c, struct error **err)
{
    struct stat st;

    if (!c->tftp)
        return 0;
    if (stat(c->tftp, &st) < 0)
        return error_set(err, errno, "cannot serve folder '%s' by TFTP: %s", c->tftp,
                         strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return error_set(err, ENOTDIR, "cannot serve '%s' by TFTP: it is not a folder", c->tftp);
    return 0;
}

int user_config_parse(struct user_config *c, const char *keys, struct error **err)
{
    int rc;

    *c = (struct user_config){.ipv6 = true};
    rc = params_parse(user_keys, c, keys, err);
    if (!rc)
        rc = parse_net(c, err);
    if (!rc)
        rc = parse_dns(c, err);
    for (size_t i = 0; !rc && i < c->forward_text.count; i++)
        rc = parse_forward(c, c->forward_text.item[i], err);
    return rc ? rc : check_tftp(c, err);
}

void user_config_fini(struct user_config *c)
{
    params_fini(user_keys, c);
}
