/* SPDX-License-Identifier: GPL-2.0-or-later */
/* address.c - getaddrinfo(), sockets, and the words for what fails. */
#include "net/address.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/error.h"

enum { CONNECT_MS = 5000, BACKLOG = 4 };

static int parse_unix(struct address *a, const char *path, struct error **err)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    if (!*path || strlen(path) >= sizeof un.sun_path)
        return error_set(err, EINVAL, "'%s' is no path for a Unix socket: it must have 1 to %zu "
                         "characters", path, sizeof un.sun_path - 1);
    memcpy(un.sun_path, path, strlen(path));
    memcpy(&a->at, &un, sizeof un);
    a->len = sizeof un;
    return 0;
}

static int bad_address(const char *text, const char *why, struct error **err)
{
    error_set(err, EINVAL, "'%s' is no address%s%s", text, *why ? ": " : "", why);
    error_hint(err, "write HOST:PORT or unix:PATH");
    return -EINVAL;
}

static int parse_inet(struct address *a, const char *text, struct error **err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(text, ':');
    struct addrinfo *found;
    char *host;
    int rc;

    if (!colon || colon == text || !colon[1])
        return bad_address(text, "", err);
    if (text[0] == '[' && colon[-1] == ']')
        host = strndup(text + 1, (size_t)(colon - text) - 2);
    else
        host = strndup(text, (size_t)(colon - text));
    BUG_ON(!host);
    rc = getaddrinfo(host, colon + 1, &hints, &found);
    free(host);
    if (rc)
        return bad_address(text, gai_strerror(rc), err);
    memcpy(&a->at, found->ai_addr, found->ai_addrlen);
    a->len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

int address_parse(struct address *a, const char *text, struct error **err)
{
    *a = (struct address){0};
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(a, text + 5, err);
    return text[0] == '/' ? parse_unix(a, text, err) : parse_inet(a, text, err);
}

const char *address_path(const struct address *a)
{
    return a->at.ss_family == AF_UNIX ? ((const struct sockaddr_un *)&a->at)->sun_path : NULL;
}

static int new_socket(const struct address *a, int type)
{
    int fd = socket(a->at.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

    if (fd >= 0 && a->at.ss_family != AF_UNIX && type == SOCK_STREAM)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* Does the file belong to a socket of somebody who is gone? */
static bool stale(const struct address *a, int type)
{
    int fd = new_socket(a, type);
    bool dead = fd >= 0 && connect(fd, (const struct sockaddr *)&a->at, a->len) < 0 &&
                errno == ECONNREFUSED;

    if (fd >= 0)
        close(fd);
    return dead;
}

int address_listen(const struct address *a, int type, const char *text, struct error **err)
{
    int fd = new_socket(a, type), one = 1, rc, code;

    if (fd < 0)
        return error_set(err, errno, "cannot make a socket for '%s': %s", text, strerror(errno));
    if (a->at.ss_family != AF_UNIX && type == SOCK_STREAM)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    rc = bind(fd, (const struct sockaddr *)&a->at, a->len);
    if (rc < 0 && errno == EADDRINUSE && address_path(a) && stale(a, type)) {
        unlink(address_path(a));
        rc = bind(fd, (const struct sockaddr *)&a->at, a->len);
    }
    if (rc == 0 && type == SOCK_STREAM)
        rc = listen(fd, BACKLOG);
    if (rc == 0)
        return fd;
    code = errno;
    close(fd);
    error_set(err, code, "cannot listen on '%s': %s", text, strerror(code));
    if (code == EADDRINUSE)
        error_hint(err, "another program, perhaps another VM, does already");
    return -code;
}

int address_connect_start(const struct address *a)
{
    int fd = new_socket(a, SOCK_STREAM), code;

    if (fd < 0 || connect(fd, (const struct sockaddr *)&a->at, a->len) == 0 ||
        errno == EINPROGRESS)
        return fd;
    code = errno;
    close(fd);
    errno = code;
    return -1;
}

int address_connect(const struct address *a, const char *text, struct error **err)
{
    int fd = address_connect_start(a), code = fd < 0 ? errno : 0;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    socklen_t len = sizeof code;

    if (fd >= 0) {
        if (poll(&p, 1, CONNECT_MS) == 0)
            code = ETIMEDOUT;
        else
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len);
    }
    if (!code)
        return fd;
    if (fd >= 0)
        close(fd);
    error_set(err, code, "cannot connect to '%s': %s", text, strerror(code));
    if (code == ECONNREFUSED || code == ENOENT)
        error_hint(err, "start the side that listens first");
    return -code;
}
