/* SPDX-License-Identifier: GPL-2.0-or-later */
/* options.c - which words of --net are whose. */
#include "net/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/params.h"
#include "base/strbuf.h"
#include "net/net.h"

const char *const net_model_names[] = {"virtio", "e1000", NULL};
static const char *const transports[] = {"pci", "mmio", NULL};

#define FIELD(f) offsetof(struct net_options, f)
const struct param net_card_keys[] = {
    {"model", PARAM_CHOICE, FIELD(model), .choices = net_model_names,
     .help = "what card the guest sees"},
    {"mac", PARAM_STRING, FIELD(mac_text), .help = "its address, 52:54:00:12:34:56"},
    {"queues", PARAM_NUMBER, FIELD(queues), .min = 1, .max = NET_QUEUES_MAX,
     .help = "pairs of queues"},
    {"mtu", PARAM_NUMBER, FIELD(mtu), .min = 68, .max = 65535,
     .help = "the largest packet, told to the guest"},
    {"transport", PARAM_CHOICE, FIELD(transport), .choices = transports,
     .help = "what a virtio card is behind: pci (the default) or mmio"},
    {"packed", PARAM_FLAG, FIELD(packed), .help = "offer packed rings"},
    {"iothread", PARAM_FLAG, FIELD(iothread), .help = "a thread of its own"},
    {"id", PARAM_STRING, FIELD(id), .help = "name in the monitor (net0, net1, ...)"},
    {"capture", PARAM_STRING, FIELD(capture), .help = "record the traffic in a pcap file"},
    {NULL},
};
#undef FIELD

static bool is_card_key(const char *word, size_t len)
{
    size_t name = 0;

    while (name < len && word[name] != '=')
        name++;
    for (const struct param *p = net_card_keys; p->name; p++)
        if (strlen(p->name) == name && !memcmp(p->name, word, name))
            return true;
    return false;
}

/* A doubled comma is part of the word. */
static size_t word_len(const char *s)
{
    size_t n = 0;

    while (s[n] && (s[n] != ',' || s[n + 1] == ','))
        n += s[n] == ',' ? 2 : 1;
    return n;
}

static void split(const char *text, struct strbuf *card, struct strbuf *backend)
{
    for (bool first = true; *text; first = false) {
        size_t len = word_len(text);
        struct strbuf *to = !first && is_card_key(text, len) ? card : backend;

        if (to->len)
            strbuf_add(to, ",", 1);
        strbuf_add(to, text, len);
        text += len;
        text += *text == ',';
    }
}

static int parse_mac(struct net_options *o, struct error **err)
{
    const char *s = o->mac_text;

    for (unsigned i = 0; i < 6; i++) {
        char *end;

        if (!isxdigit((unsigned char)s[0]) || !isxdigit((unsigned char)s[1]))
            goto bad;
        o->mac[i] = (uint8_t)strtoul(s, &end, 16);
        if (end != s + 2 || *end != (i < 5 ? ':' : 0))
            goto bad;
        s = end + 1;
    }
    if (!(o->mac[0] & 1) && memcmp(o->mac, "\0\0\0\0\0", 6) != 0)
        return 0;
    error_set(err, EINVAL, "mac=%s is a group address or zero, no card's", o->mac_text);
    error_hint(err, "the first number must be even, for example 52:54:00:12:34:56");
    return -EINVAL;
bad:
    error_set(err, EINVAL, "mac=%s is no Ethernet address", o->mac_text);
    error_hint(err, "write six pairs of hexadecimal digits, for example 52:54:00:12:34:56");
    return -EINVAL;
}

/* FNV-1a. */
static uint64_t mix(uint64_t h, const char *text)
{
    for (const char *p = text; *p; p++)
        h = (h ^ (uint8_t)*p) * 0x100000001b3;
    return (h ^ 0xff) * 0x100000001b3;
}

/* Into the locally administered prefix that people know for virtual cards. */
static void make_mac(struct net_options *o, const char *text, const char *seed, unsigned index)
{
    uint64_t h = mix(mix(0xcbf29ce484222325, text), seed);

    h = (h ^ index) * 0x100000001b3;
    h ^= h >> 32;
    o->mac[0] = 0x52;
    o->mac[1] = 0x54;
    o->mac[2] = 0x00;
    for (unsigned i = 3; i < 6; i++, h >>= 8)
        o->mac[i] = (uint8_t)h;
}

static int check(const struct net_options *o, struct error **err)
{
    if (o->model != NET_MODEL_E1000)
        return 0;
    if (o->queues > 1 || o->transport || o->packed || o->mtu ||
        o->iothread) {
        error_set(err, EINVAL, "an e1000 has no %s", o->queues > 1 ? "several queues" :
                  o->transport ? "transport=mmio" : o->packed ? "packed rings" :
                  o->mtu ? "mtu" : "iothread");
        error_hint(err, "use model=virtio");
        return -EINVAL;
    }
    return 0;
}

int net_options_parse(struct net_options *o, const char *text, const char *seed, unsigned index,
                      struct error **err)
{
    struct strbuf card = {0}, backend = {0};
    int rc;

    *o = (struct net_options){.queues = 1};
    split(text, &card, &backend);
    rc = params_parse(net_card_keys, o, strbuf_text(&card), err);
    if (!rc && o->mac_text)
        rc = parse_mac(o, err);
    else if (!rc)
        make_mac(o, text, seed, index);
    if (!rc)
        rc = check(o, err);
    if (!rc && strcmp(strbuf_text(&backend), "none") != 0) {
        o->backend = strdup(strbuf_text(&backend));
        BUG_ON(!o->backend);
    }
    strbuf_fini(&card);
    strbuf_fini(&backend);
    return rc;
}

void net_options_fini(struct net_options *o)
{
    params_fini(net_card_keys, o);
    free(o->backend);
    *o = (struct net_options){0};
}
