/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pcap.c - savefile(5) of libpcap: a header of 24 bytes, then a header of 16 bytes and
 * the frame, again and again. One writev() each: nothing is lost when we are killed. */
#include "net/pcap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/log.h"
#include "net/net.h"

enum { MAGIC_NS = (int)0xa1b23c4du, VERSION_MAJOR = 2, VERSION_MINOR = 4, LINKTYPE_ETHERNET = 1,
       SNAPLEN = 262144 };

struct pcap {
    int fd;                          /* -1: given up */
    off_t bytes;                     /* whole records */
    struct log *log;
    char *file;
};

static void give_up(struct pcap *p, int code)
{
    log_warn(p->log, "cannot write capture file '%s': %s; the capture ends here", p->file,
             strerror(code));
    /* Half a record would make readers complain. Pipes have no end to cut. */
    if (ftruncate(p->fd, p->bytes) < 0)
        log_warn(p->log, "capture file '%s' ends with half a frame", p->file);
    close(p->fd);
    p->fd = -1;
}

struct pcap *pcap_open(const char *file, struct log *log, struct error **err)
{
    const struct {
        uint32_t magic;
        uint16_t major, minor;
        uint32_t zone, accuracy, snaplen, linktype;
    } head = {(uint32_t)MAGIC_NS, VERSION_MAJOR, VERSION_MINOR, 0, 0, SNAPLEN, LINKTYPE_ETHERNET};
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
    struct pcap *p;

    if (fd < 0) {
        error_set(err, errno, "cannot open capture file '%s' for writing: %s", file,
                  strerror(errno));
        return NULL;
    }
    if (write(fd, &head, sizeof head) != sizeof head) {
        int code = errno ? errno : EIO;

        error_set(err, code, "cannot write capture file '%s': %s", file, strerror(code));
        close(fd);
        return NULL;
    }
    p = calloc(1, sizeof *p);
    BUG_ON(!p);
    *p = (struct pcap){.fd = fd, .bytes = sizeof head, .log = log, .file = strdup(file)};
    BUG_ON(!p->file);
    return p;
}

void pcap_close(struct pcap *p)
{
    if (!p)
        return;
    if (p->fd >= 0)
        close(p->fd);
    free(p->file);
    free(p);
}

void pcap_frame(struct pcap *p, const struct iovec *iov, unsigned iovs)
{
    struct iovec v[NET_IOVS_MAX + 1];
    struct { uint32_t s, ns, kept, len; } head;
    struct timespec now;
    ssize_t wrote, want;

    if (!p || p->fd < 0)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    head.s = (uint32_t)now.tv_sec;
    head.ns = (uint32_t)now.tv_nsec;
    head.kept = head.len = (uint32_t)net_iov_bytes(iov, iovs);
    want = (ssize_t)(sizeof head + head.len);
    v[0] = (struct iovec){&head, sizeof head};
    memcpy(v + 1, iov, iovs * sizeof *iov);
    if (iovs < NET_IOVS_MAX) {
        errno = 0;
        wrote = writev(p->fd, v, (int)iovs + 1);
        if (wrote == want)
            p->bytes += wrote;
        else
            give_up(p, wrote < 0 ? errno : ENOSPC);
    }
}
