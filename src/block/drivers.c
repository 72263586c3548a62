/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * drivers.c - every format and protocol there is, in one table.
 *
 * Remote protocols stand on large libraries, whose loading alone takes longer than all
 * of a VM's start. So they are modules (block/module.h): the table has a row with name
 * and schemes, and the module is loaded when such a name is opened.
 */
#include "block/drivers.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "block/module.h"
#include "block/node.h"

#define REMOTE(id, text, ...)                                                                  \
    static const char *const id##_schemes[] = {__VA_ARGS__, NULL};                             \
    static const struct block_driver remote_##id = {                                           \
        .name = #id, .summary = text, .schemes = id##_schemes,                                 \
        .module = "ring3-block-" #id ".so"}

#ifdef RING3_NBD
REMOTE(nbd, "an export of an NBD server", "nbd://", "nbds://", "nbd+unix://", "nbds+unix://");
#endif
#ifdef RING3_HTTP
REMOTE(http, "a file on a web server, read-only", "http://", "https://");
#endif
#ifdef RING3_ISCSI
REMOTE(iscsi, "a logical unit of an iSCSI target", "iscsi://");
#endif
#ifdef RING3_NFS
REMOTE(nfs, "a file on an NFS server", "nfs://");
#endif
#ifdef RING3_RBD
REMOTE(rbd, "an image in a Ceph cluster", "rbd://");
#endif

const struct block_driver *const block_drivers[] = {
    &block_raw,
    &block_qcow2,
    &block_file,
#ifdef RING3_NBD
    &remote_nbd,
#endif
#ifdef RING3_HTTP
    &remote_http,
#endif
#ifdef RING3_ISCSI
    &remote_iscsi,
#endif
#ifdef RING3_NFS
    &remote_nfs,
#endif
#ifdef RING3_RBD
    &remote_rbd,
#endif
    &block_fault,
    NULL,
};

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

/* Found by the program's run path. Stays loaded: the library may have threads. */
const struct block_driver *block_driver_load(const struct block_driver *d, struct error **err)
{
    const struct block_module *m = NULL;

    if (!d->module)
        return d;
    void *handle = dlopen(d->module, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (handle)
        m = dlsym(handle, BLOCK_MODULE_SYMBOL);
    if (m && m->abi == BLOCK_MODULE_ABI)
        return m->driver;
    error_set(err, ELIBACC, "cannot load the module for %s: %s", d->name,
              m ? "it belongs to another ring3" : dlerror());
    error_hint(err, "it is installed together with ring3, in lib/ring3");
    return NULL;
}

const char *block_name_path(const char *name)
{
    size_t len;

    return find_scheme(name, &len) == &block_file ? name + len : name;
}
