/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vnc.c - a VNC server (RFB, RFC 6143) by LibVNCServer.
 *
 * The library serves each viewer with threads of that viewer's own, so that one who stops
 * reading holds up nobody else; after a while it is dropped. One thread here brings the
 * library's frame buffer up to date while somebody is connected, 40 times a second, and
 * marks what changed; what is sent is up to the viewers, who ask.
 *
 * The frame buffer is mapped once for the largest screen and never moves: a viewer's
 * thread that still sends a picture of the old size reads old pixels, and not past them.
 *
 * The library logs by functions that are the process's: they are turned off.
 */
#include "display/view.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <linux/input-event-codes.h>
#include <rfb/rfb.h>

#include "base/error.h"
#include "base/log.h"
#include "base/params.h"
#include "base/strbuf.h"
#include "display/input.h"
#include "display/mirror.h"

enum { FRAME_NS = 25000000, FIRST_PORT = 5900, DISPLAYS = 65536 - FIRST_PORT, CLIENT_WAIT_MS = 5000,
       CLOSE_WAIT_MS = 3000,
       PASSWORD_BYTES = 8, WHEEL_UP = 1 << 3, WHEEL_DOWN = 1 << 4, PIXEL_BYTES = 4 };
#define FRAME_BUFFER_BYTES ((size_t)DISPLAY_WIDTH_MAX * DISPLAY_HEIGHT_MAX * PIXEL_BYTES)

struct vnc_params {
    char *address, *password;
};

static const struct param keys[] = {
    {.name = "address", .type = PARAM_STRING, .offset = offsetof(struct vnc_params, address),
     .operand = true, .help = "[HOST]:N, port 5900+N; without HOST this host alone"},
    {.name = "password", .type = PARAM_STRING, .offset = offsetof(struct vnc_params, password),
     .help = "file whose first line is the password (8 characters count)"},
    {NULL},
};

struct vnc_view {
    struct view view;
    struct view_config config;
    struct mirror mirror;
    rfbScreenInfoPtr screen;
    uint8_t *frame_buffer;
    char password[PASSWORD_BYTES + 1];
    char *passwords[2];            /* for the library: a list ended by NULL */
    pthread_t thread;
    bool running;
    _Atomic bool quit;
    _Atomic int clients;
    /* Input, from viewers' threads: VM lock. */
    int x, y;
    unsigned mask;
    bool shift;                    /* a viewer holds it */
};

/* ---- the picture ---------------------------------------------------------------- */

/* The library's natural order has red lowest. */
static uint32_t swapped(uint32_t p)
{
    return (p & 0xff00) | (p >> 16 & 0xff) | (p & 0xff) << 16;
}

static void copy_rect(struct vnc_view *v, const struct display_rect *r)
{
    const struct display_surface *s = &v->mirror.copy;

    for (unsigned y = r->y; y < r->y + r->height; y++) {
        uint32_t *to = (uint32_t *)(void *)v->frame_buffer + (size_t)y * s->width + r->x;
        const uint32_t *from = s->pixels + (size_t)y * s->stride + r->x;

        for (unsigned x = 0; x < r->width; x++)
            to[x] = swapped(from[x]);
    }
}

/* Sizes and rectangles are taken under the mirror's lock and told without it, for the
 * library waits for its viewers then. */
static void frame(struct vnc_view *v)
{
    struct mirror *m = &v->mirror;
    struct display_rect rect[MIRROR_RECTS_MAX];
    unsigned rects, width, height;
    bool resized;

    mirror_refresh(m);
    pthread_mutex_lock(&m->lock);
    rects = m->rects;
    memcpy(rect, m->rect, rects * sizeof *rect);
    for (unsigned i = 0; i < rects; i++)
        copy_rect(v, &rect[i]);
    width = m->copy.width;
    height = m->copy.height;
    resized = m->resized;
    m->rects = 0;
    m->resized = false;
    pthread_mutex_unlock(&m->lock);
    if (resized && ((int)width != v->screen->width || (int)height != v->screen->height))
        rfbNewFramebuffer(v->screen, (char *)v->frame_buffer, (int)width, (int)height, 8, 3,
                          PIXEL_BYTES);
    for (unsigned i = 0; i < rects; i++)
        rfbMarkRectAsModified(v->screen, (int)rect[i].x, (int)rect[i].y,
                              (int)(rect[i].x + rect[i].width),
                              (int)(rect[i].y + rect[i].height));
}

static void *vnc_main(void *opaque)
{
    struct vnc_view *v = opaque;
    const struct timespec pause = {.tv_nsec = FRAME_NS};

    while (!atomic_load(&v->quit)) {
        if (atomic_load(&v->clients)) {
            mirror_attach(&v->mirror);
            frame(v);
        } else {
            mirror_detach(&v->mirror);
        }
        nanosleep(&pause, NULL);
    }
    mirror_detach(&v->mirror);
    return NULL;
}

/* ---- viewers ----------------------------------------------------------------------- */

static struct vnc_view *view_of(rfbClientPtr client)
{
    return client->screen->screenData;
}

static void on_gone(rfbClientPtr client)
{
    struct vnc_view *v = view_of(client);

    atomic_fetch_sub(&v->clients, 1);
    pthread_mutex_lock(v->config.vm_lock);
    v->shift = false;
    if (v->config.input)
        input_release_all(v->config.input);
    pthread_mutex_unlock(v->config.vm_lock);
}

static enum rfbNewClientAction on_client(rfbClientPtr client)
{
    atomic_fetch_add(&view_of(client)->clients, 1);
    client->clientGoneHook = on_gone;
    return RFB_CLIENT_ACCEPT;
}

/* A viewer that types symbols without holding Shift gets it held for it. */
static void type_symbol(struct vnc_view *v, uint32_t symbol, bool down)
{
    bool shifted;
    unsigned code = view_key_of_symbol(symbol, &shifted);

    if (!code)
        return;
    if (code == KEY_LEFTSHIFT || code == KEY_RIGHTSHIFT)
        v->shift = down;
    if (shifted && down && !v->shift) {
        input_key(v->config.input, KEY_LEFTSHIFT, true);
        input_key(v->config.input, code, true);
        input_key(v->config.input, KEY_LEFTSHIFT, false);
    } else {
        input_key(v->config.input, code, down);
    }
}

static void on_key(rfbBool down, rfbKeySym symbol, rfbClientPtr client)
{
    struct vnc_view *v = view_of(client);

    pthread_mutex_lock(v->config.vm_lock);
    if (v->config.input)
        type_symbol(v, symbol, down);
    pthread_mutex_unlock(v->config.vm_lock);
}

static unsigned scaled(int at, int size)
{
    int last = size > 1 ? size - 1 : 1, in = at < 0 ? 0 : at > last ? last : at;

    return (unsigned)((int64_t)in * INPUT_ABSOLUTE_MAX / last);
}

static void on_pointer(int mask, int x, int y, rfbClientPtr client)
{
    struct vnc_view *v = view_of(client);
    struct input_pointer p = {.absolute = true};
    unsigned pressed;

    pthread_mutex_lock(v->config.vm_lock);
    pressed = (unsigned)mask & ~v->mask;
    p.dx = x - v->x;
    p.dy = y - v->y;
    p.wheel = (pressed & WHEEL_DOWN ? 1 : 0) - (pressed & WHEEL_UP ? 1 : 0);
    p.buttons = (mask & 1 ? INPUT_LEFT : 0) | (mask & 2 ? INPUT_MIDDLE : 0) |
                (mask & 4 ? INPUT_RIGHT : 0);
    p.x = scaled(x, v->screen->width);
    p.y = scaled(y, v->screen->height);
    v->x = x;
    v->y = y;
    v->mask = (unsigned)mask;
    if (v->config.input)
        input_pointer(v->config.input, &p);
    pthread_mutex_unlock(v->config.vm_lock);
}

/* ---- opening ------------------------------------------------------------------------ */

/* "[HOST]:N" */
static int parse_address(const char *text, in_addr_t *host, unsigned *port, struct error **err)
{
    const char *colon = text ? strrchr(text, ':') : NULL;
    const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    char name[256];
    uint64_t n;
    int rc;

    if (!colon || str_parse_number(colon + 1, &n) < 0 || n >= DISPLAYS) {
        error_set(err, EINVAL, "--display vnc: '%s' is no [HOST]:N", text ? text : "");
        error_hint(err, "for example --display vnc=:1 for port 5901 of this host");
        return -EINVAL;
    }
    *port = FIRST_PORT + (unsigned)n;
    *host = htonl(INADDR_LOOPBACK);
    if (colon == text)
        return 0;
    snprintf(name, sizeof name, "%.*s", (int)(colon - text), text);
    rc = getaddrinfo(name, NULL, &hints, &found);
    if (rc)
        return error_set(err, EINVAL, "--display vnc: no address for host '%s': %s", name,
                         gai_strerror(rc));
    *host = ((const struct sockaddr_in *)(const void *)found->ai_addr)->sin_addr.s_addr;
    freeaddrinfo(found);
    return 0;
}

static int read_password(struct vnc_view *v, const char *path, struct error **err)
{
    FILE *f = fopen(path, "re");
    char line[256] = "";

    if (!f)
        return error_set(err, errno, "--display vnc: cannot open the password file '%s': %s", path,
                         strerror(errno));
    if (!fgets(line, sizeof line, f))
        line[0] = 0;
    fclose(f);
    line[strcspn(line, "\r\n")] = 0;
    if (!line[0])
        return error_set(err, EINVAL, "--display vnc: the first line of '%s' is empty", path);
    memcpy(v->password, line, PASSWORD_BYTES);
    explicit_bzero(line, sizeof line);
    v->passwords[0] = v->password;
    return 0;
}

/* Nobody new, then everybody out. The library's own way (rfbShutdownServer with TRUE) looks
 * at viewers that may be gone already. False: somebody's thread does not end. */
static bool close_clients(struct vnc_view *v)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    rfbClientIteratorPtr all;
    rfbClientPtr client;

    rfbShutdownServer(v->screen, FALSE);
    all = rfbGetClientIterator(v->screen);
    while ((client = rfbClientIteratorNext(all))) {
        rfbCloseClient(client);
        if (write(client->pipe_notify_client_thread[1], "", 1) != 1)
            log_trace(v->config.log, DEVICE, "a VNC viewer's thread cannot be woken");
    }
    rfbReleaseClientIterator(all);
    for (unsigned i = 0; i < CLOSE_WAIT_MS && atomic_load(&v->clients); i++)
        nanosleep(&pause, NULL);
    return atomic_load(&v->clients) == 0;
}

static void vnc_close(struct view *view)
{
    struct vnc_view *v = container_of(view, struct vnc_view, view);

    atomic_store(&v->quit, true);
    if (v->running)
        pthread_join(v->thread, NULL);
    /* What a thread may still use stays: the process is about to end. */
    if (v->running && !close_clients(v)) {
        log_warn(v->config.log, "a VNC viewer could not be disconnected");
        return;
    }
    if (v->screen) {
        v->screen->frameBuffer = NULL;
        rfbScreenCleanup(v->screen);
    }
    mirror_fini(&v->mirror);
    if (v->frame_buffer)
        munmap(v->frame_buffer, FRAME_BUFFER_BYTES);
    explicit_bzero(v->password, sizeof v->password);
    free(v);
}

static int make_screen(struct vnc_view *v, in_addr_t host, unsigned port, struct error **err)
{
    const struct display_surface *s = display_surface(v->config.display);
    rfbScreenInfoPtr screen;

    rfbLogEnable(0);
    screen = rfbGetScreen(NULL, NULL, (int)s->width, (int)s->height, 8, 3, PIXEL_BYTES);
    if (!screen)
        return error_set(err, ENOMEM, "no memory for a VNC server");
    v->screen = screen;
    screen->screenData = v;
    screen->frameBuffer = (char *)v->frame_buffer;
    screen->desktopName = "ring3";
    screen->alwaysShared = TRUE;
    screen->listenInterface = host;
    screen->port = (int)port;
    screen->ipv6port = -1;
    screen->maxClientWait = CLIENT_WAIT_MS;
    screen->cursor = NULL;
    screen->kbdAddEvent = on_key;
    screen->ptrAddEvent = on_pointer;
    screen->newClientHook = on_client;
    if (v->passwords[0]) {
        screen->authPasswdData = v->passwords;
        screen->passwordCheck = rfbCheckPasswordByList;
    }
    errno = 0;
    rfbInitServer(screen);
    if (screen->listenSock == RFB_INVALID_SOCKET)
        return error_set(err, errno ? errno : EADDRINUSE,
                         "--display vnc: cannot listen on port %u: %s", port,
                         strerror(errno ? errno : EADDRINUSE));
    return 0;
}

static int run(struct vnc_view *v, struct error **err)
{
    int rc = pthread_create(&v->thread, NULL, vnc_main, v);

    if (rc)
        return error_set(err, rc, "cannot start the VNC server's thread: %s", strerror(rc));
    v->running = true;
    rfbRunEventLoop(v->screen, -1, TRUE);
    return 0;
}

int view_vnc_open(const char *text, const struct view_config *cfg, struct view **out,
                  struct error **err)
{
    struct vnc_view *v = calloc(1, sizeof *v);
    struct vnc_params p = {0};
    in_addr_t host;
    unsigned port;
    int rc;

    if (!v)
        return error_set(err, ENOMEM, "no memory for a VNC server");
    v->view.close = vnc_close;
    v->config = *cfg;
    mirror_init(&v->mirror, cfg->display, cfg->vm_lock);
    rc = params_parse(keys, &p, text, err);
    if (rc)
        error_wrap(err, "--display vnc");
    if (!rc)
        rc = parse_address(p.address, &host, &port, err);
    if (!rc && p.password)
        rc = read_password(v, p.password, err);
    if (!rc) {
        v->frame_buffer = mmap(NULL, FRAME_BUFFER_BYTES, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (v->frame_buffer == MAP_FAILED) {
            v->frame_buffer = NULL;
            rc = error_set(err, errno, "no memory for a VNC server: %s", strerror(errno));
        }
    }
    if (!rc)
        rc = make_screen(v, host, port, err);
    if (!rc)
        rc = run(v, err);
    if (!rc && !p.password && host != htonl(INADDR_LOOPBACK))
        log_warn(cfg->log, "whoever reaches port %u of this host has the guest's screen and "
                 "keyboard: there is no password", port);
    params_fini(keys, &p);
    if (rc)
        vnc_close(&v->view);
    else
        *out = &v->view;
    return rc;
}
