/* SPDX-License-Identifier: GPL-2.0-or-later */
/* drivers.c - every format and protocol there is, in one table. */
#include "block/drivers.h"

#include <string.h>

#include "block/node.h"

const struct block_driver *const block_drivers[] = {
    &block_raw,
    &block_qcow2,
    &block_file,
#ifdef RING3_NBD
    &block_nbd,
#endif
#ifdef RING3_CURL
    &block_http,
#endif
    &block_fault,
    NULL,
};

const struct block_driver *block_driver_find(const char *name)
{
    for (const struct block_driver *const *d = block_drivers; *d; d++)
        if (strcmp((*d)->name, name) == 0)
            return *d;
    return NULL;
}

/* Schemes are written with what ends them, "nbd://" or "file:". */
static const struct block_driver *find_scheme(const char *name, size_t *len)
{
    for (const struct block_driver *const *d = block_drivers; *d; d++)
        for (const char *const *s = (*d)->schemes; s && *s; s++) {
            *len = strlen(*s);
            if (strncmp(name, *s, *len) == 0)
                return *d;
        }
    return NULL;
}

const struct block_driver *block_protocol_for(const char *name)
{
    size_t len;
    const struct block_driver *d = find_scheme(name, &len);

    if (d)
        return d;
    const char *colon = strstr(name, "://");
    /* A slash before it: a path that contains those characters. */
    if (colon && colon != name && strcspn(name, "/.") >= (size_t)(colon - name))
        return NULL;
    return &block_file;
}

const char *block_name_path(const char *name)
{
    size_t len;

    return find_scheme(name, &len) == &block_file ? name + len : name;
}
