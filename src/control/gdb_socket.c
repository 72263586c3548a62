/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gdb_socket.c - see gdb_socket.h. */
#include "control/gdb_socket.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/strbuf.h"

static int listen_tcp(const char *where, int *fd, struct error **err)
{
    const struct addrinfo want = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM,
                                  .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    const char *colon = strrchr(where, ':');
    char *host = colon ? strndup(where, (size_t)(colon - where)) : NULL;
    struct addrinfo *found;
    uint64_t port;
    int one = 1, rc;

    if (!host || str_parse_number(colon + 1, &port) < 0 || !port || port > UINT16_MAX) {
        free(host);
        error_set(err, EINVAL, "'%s' is not a place for a debugger", where);
        error_hint(err, "[HOST]:PORT, for example :1234, or the path of a socket");
        return -EINVAL;
    }
    rc = getaddrinfo(*host ? host : "127.0.0.1", colon + 1, &want, &found);
    free(host);
    if (rc)
        return error_set(err, EINVAL, "cannot find '%s': %s", where, gai_strerror(rc));
    *fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd >= 0)
        setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    rc = 0;
    if (*fd < 0 || bind(*fd, found->ai_addr, found->ai_addrlen) < 0 || listen(*fd, 1) < 0)
        rc = error_set(err, errno, "cannot wait for a debugger at '%s': %s", where,
                       strerror(errno));
    freeaddrinfo(found);
    return rc;
}

static int listen_unix(const char *where, int *fd, char **path, struct error **err)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    if (strlen(where) >= sizeof at.sun_path)
        return error_set(err, EINVAL, "'%s' is too long for a socket's name", where);
    memcpy(at.sun_path, where, strlen(where));
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0 || bind(*fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(*fd, 1) < 0)
        return error_set(err, errno, "cannot wait for a debugger at '%s': %s", where,
                         strerror(errno));
    *path = strdup(where);
    return 0;
}

int gdb_socket_listen(const char *where, int *fd, char **path, struct error **err)
{
    return strchr(where, '/') ? listen_unix(where, fd, path, err) : listen_tcp(where, fd, err);
}

int gdb_socket_accept(int listen_fd)
{
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), one = 1;

    if (fd >= 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static ssize_t result(ssize_t n)
{
    return n >= 0 ? n : errno == EAGAIN || errno == EINTR ? 0 : -1;
}

ssize_t gdb_socket_receive(int fd, void *buf, size_t len)
{
    ssize_t n = recv(fd, buf, len, 0);

    return n == 0 ? -1 : result(n);
}

ssize_t gdb_socket_send(int fd, const void *buf, size_t len)
{
    return result(send(fd, buf, len, MSG_NOSIGNAL));
}
