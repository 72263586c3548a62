/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sdl.c - the window (SDL 2).
 *
 * SDL wants everything from the thread that started it, so window, events and drawing are
 * one thread's. SDL is the process's: there is one window. Sixty times a second it looks
 * whether something changed, and draws only then.
 *
 * A click into the window catches the mouse, so that a guest that knows only movements
 * gets them all; Ctrl+Alt+G lets it go.
 */
#include "display/view.h"

#include <SDL.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/params.h"
#include "display/input.h"
#include "display/mirror.h"

enum { FRAME_MS = 16 };

struct sdl_params {
    bool escape;
};

static const struct param keys[] = {
    {.name = "escape", .type = PARAM_FLAG, .offset = offsetof(struct sdl_params, escape),
     .help = "Escape ends the VM (default on)"},
    {NULL},
};

struct sdl_view {
    struct view view;
    struct view_config config;
    struct sdl_params params;
    struct mirror mirror;
    pthread_t thread;
    _Atomic bool quit;
    /* The thread's start, told to whoever waits for it. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int started;                   /* 1: there is a window; -1: there is none */
    struct error *error;
    /* The thread's own */
    SDL_Window *window;
    SDL_Renderer *renderer;
    SDL_Texture *texture;
    unsigned buttons;
    bool caught;
};

/* ---- the picture ------------------------------------------------------------- */

static bool make_texture(struct sdl_view *v)
{
    const struct display_surface *s = &v->mirror.copy;

    if (v->texture)
        SDL_DestroyTexture(v->texture);
    v->texture = SDL_CreateTexture(v->renderer, SDL_PIXELFORMAT_RGB888,
                                   SDL_TEXTUREACCESS_STREAMING, (int)s->width, (int)s->height);
    SDL_SetWindowSize(v->window, (int)s->width, (int)s->height);
    SDL_RenderSetLogicalSize(v->renderer, (int)s->width, (int)s->height);
    return v->texture != NULL;
}

/* The mirror's lock is held: true when there is something new to show. */
static bool upload(struct sdl_view *v)
{
    struct mirror *m = &v->mirror;
    bool changed = m->rects || m->resized;

    if (m->resized && !make_texture(v))
        return false;
    for (unsigned i = 0; i < m->rects; i++) {
        const struct display_rect *r = &m->rect[i];
        const SDL_Rect to = {(int)r->x, (int)r->y, (int)r->width, (int)r->height};

        SDL_UpdateTexture(v->texture, &to, m->copy.pixels + (size_t)r->y * m->copy.stride + r->x,
                          (int)(m->copy.stride * sizeof *m->copy.pixels));
    }
    m->resized = false;
    m->rects = 0;
    return changed;
}

static void show(struct sdl_view *v)
{
    SDL_RenderClear(v->renderer);
    SDL_RenderCopy(v->renderer, v->texture, NULL, NULL);
    SDL_RenderPresent(v->renderer);
}

static void frame(struct sdl_view *v)
{
    bool changed;

    mirror_refresh(&v->mirror);
    pthread_mutex_lock(&v->mirror.lock);
    changed = upload(v);
    pthread_mutex_unlock(&v->mirror.lock);
    if (changed)
        show(v);
}

/* ---- events ------------------------------------------------------------------- */

static void catch_mouse(struct sdl_view *v, bool on)
{
    v->caught = on;
    SDL_SetRelativeMouseMode(on ? SDL_TRUE : SDL_FALSE);
}

/* Ends with the VM lock held. */
static struct input *input_lock(struct sdl_view *v)
{
    pthread_mutex_lock(v->config.vm_lock);
    return v->config.input;
}

static void input_unlock(struct sdl_view *v)
{
    pthread_mutex_unlock(v->config.vm_lock);
}

static void on_key(struct sdl_view *v, const SDL_KeyboardEvent *e)
{
    bool down = e->type == SDL_KEYDOWN;
    unsigned code = view_key_of_usage((unsigned)e->keysym.scancode);
    struct input *in;

    if (v->params.escape && e->keysym.scancode == SDL_SCANCODE_ESCAPE) {
        if (down)
            v->config.closed(v->config.opaque);
        return;
    }
    if (down && e->keysym.scancode == SDL_SCANCODE_G && e->keysym.mod & KMOD_CTRL &&
        e->keysym.mod & KMOD_ALT) {
        catch_mouse(v, false);
        return;
    }
    in = input_lock(v);
    if (in && code)
        input_key(in, code, down);
    input_unlock(v);
}

static unsigned button_bit(unsigned button)
{
    return button == SDL_BUTTON_LEFT ? INPUT_LEFT : button == SDL_BUTTON_RIGHT ? INPUT_RIGHT
         : button == SDL_BUTTON_MIDDLE ? INPUT_MIDDLE : 0;
}

static void send_pointer(struct sdl_view *v, int dx, int dy, int wheel)
{
    struct input *in = input_lock(v);
    const struct input_pointer p = {.dx = dx, .dy = dy, .wheel = wheel, .buttons = v->buttons};

    if (in)
        input_pointer(in, &p);
    input_unlock(v);
}

static void on_button(struct sdl_view *v, const SDL_MouseButtonEvent *e)
{
    unsigned bit = button_bit(e->button);

    if (e->type == SDL_MOUSEBUTTONDOWN && !v->caught) {
        catch_mouse(v, true);
        return;
    }
    v->buttons = e->type == SDL_MOUSEBUTTONDOWN ? v->buttons | bit : v->buttons & ~bit;
    send_pointer(v, 0, 0, 0);
}

static void on_window(struct sdl_view *v, const SDL_WindowEvent *e)
{
    if (e->event == SDL_WINDOWEVENT_EXPOSED) {
        show(v);
    } else if (e->event == SDL_WINDOWEVENT_FOCUS_LOST) {
        struct input *in = input_lock(v);

        if (in)
            input_release_all(in);
        input_unlock(v);
        catch_mouse(v, false);
    }
}

static void on_event(struct sdl_view *v, const SDL_Event *e)
{
    switch (e->type) {
    case SDL_QUIT: v->config.closed(v->config.opaque); break;
    case SDL_KEYDOWN:
    case SDL_KEYUP: on_key(v, &e->key); break;
    case SDL_MOUSEBUTTONDOWN:
    case SDL_MOUSEBUTTONUP: on_button(v, &e->button); break;
    case SDL_MOUSEMOTION:
        if (v->caught)
            send_pointer(v, e->motion.xrel, e->motion.yrel, 0);
        break;
    case SDL_MOUSEWHEEL: send_pointer(v, 0, 0, -e->wheel.y); break;
    case SDL_WINDOWEVENT: on_window(v, &e->window); break;
    default: break;
    }
}

/* ---- the thread ----------------------------------------------------------------- */

static bool start(struct sdl_view *v)
{
    SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
    if (SDL_Init(SDL_INIT_VIDEO) != 0)
        return false;
    v->window = SDL_CreateWindow("ring3", SDL_WINDOWPOS_UNDEFINED, SDL_WINDOWPOS_UNDEFINED, 640,
                                 400, SDL_WINDOW_RESIZABLE);
    v->renderer = v->window ? SDL_CreateRenderer(v->window, -1, 0) : NULL;
    return v->renderer != NULL;
}

static void tell_started(struct sdl_view *v, bool ok)
{
    pthread_mutex_lock(&v->lock);
    v->started = ok ? 1 : -1;
    if (!ok)
        error_set(&v->error, EIO, "--display sdl: cannot open a window: %s", SDL_GetError());
    pthread_cond_signal(&v->changed);
    pthread_mutex_unlock(&v->lock);
}

static void *sdl_main(void *opaque)
{
    struct sdl_view *v = opaque;
    bool ok = start(v);
    SDL_Event e;

    tell_started(v, ok);
    if (ok)
        mirror_attach(&v->mirror);
    while (ok && !atomic_load(&v->quit)) {
        uint32_t begun = SDL_GetTicks();

        frame(v);
        while (!atomic_load(&v->quit)) {
            uint32_t spent = SDL_GetTicks() - begun;

            if (spent >= FRAME_MS || !SDL_WaitEventTimeout(&e, (int)(FRAME_MS - spent)))
                break;
            on_event(v, &e);
        }
    }
    mirror_detach(&v->mirror);
    if (v->texture)
        SDL_DestroyTexture(v->texture);
    if (v->renderer)
        SDL_DestroyRenderer(v->renderer);
    if (v->window)
        SDL_DestroyWindow(v->window);
    SDL_Quit();
    return NULL;
}

static void sdl_free(struct sdl_view *v)
{
    mirror_fini(&v->mirror);
    pthread_cond_destroy(&v->changed);
    pthread_mutex_destroy(&v->lock);
    free(v);
}

static void sdl_close(struct view *view)
{
    struct sdl_view *v = container_of(view, struct sdl_view, view);

    atomic_store(&v->quit, true);
    pthread_join(v->thread, NULL);
    sdl_free(v);
}

int view_sdl_open(const char *text, const struct view_config *cfg, struct view **out,
                  struct error **err)
{
    struct sdl_params p = {.escape = true};
    struct sdl_view *v;
    int rc = params_parse(keys, &p, text, err);

    params_fini(keys, &p);
    if (rc)
        return error_wrap(err, "--display sdl");
    v = calloc(1, sizeof *v);
    if (!v)
        return error_set(err, ENOMEM, "no memory for a window");
    v->view.close = sdl_close;
    v->config = *cfg;
    v->params = p;
    pthread_mutex_init(&v->lock, NULL);
    pthread_cond_init(&v->changed, NULL);
    mirror_init(&v->mirror, cfg->display, cfg->vm_lock);
    rc = pthread_create(&v->thread, NULL, sdl_main, v);
    if (rc) {
        sdl_free(v);
        return error_set(err, rc, "cannot start the window's thread: %s", strerror(rc));
    }
    pthread_mutex_lock(&v->lock);
    while (!v->started)
        pthread_cond_wait(&v->changed, &v->lock);
    pthread_mutex_unlock(&v->lock);
    if (v->started > 0) {
        *out = &v->view;
        return 0;
    }
    if (err)
        *err = v->error;
    else
        error_free(&v->error);
    sdl_close(&v->view);
    return -EIO;
}
