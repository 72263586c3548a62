/* SPDX-License-Identifier: GPL-2.0-or-later */
/* view.c - the table of views, and what they share: where keys are on a keyboard. */
#include "display/view.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

static const struct {
    const char *name;
    int (*open)(const char *text, const struct view_config *cfg, struct view **out,
                struct error **err);
    const char *missing;           /* what the build lacks */
} kinds[] = {
    {"none", NULL, NULL},
#ifdef RING3_HAVE_SDL
    {"sdl", view_sdl_open, NULL},
#else
    {"sdl", NULL, "SDL 2 (libsdl2-dev)"},
#endif
#ifdef RING3_HAVE_VNC
    {"vnc", view_vnc_open, NULL},
#else
    {"vnc", NULL, "LibVNCServer (libvncserver-dev)"},
#endif
};

int view_open(const char *text, const struct view_config *cfg, struct view **out,
              struct error **err)
{
    const char *names[ARRAY_SIZE(kinds) + 1] = {NULL};
    size_t len = strcspn(text, ",=");
    char word[32];

    *out = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        names[i] = kinds[i].name;
        if (strlen(kinds[i].name) != len || strncmp(kinds[i].name, text, len) != 0)
            continue;
        if (kinds[i].missing)
            return error_set(err, ENOTSUP, "--display %s: ring3 was built without %s",
                             kinds[i].name, kinds[i].missing);
        if (kinds[i].open && !cfg->display)
            return error_set(err, EINVAL, "--display %s: this machine has no screen",
                             kinds[i].name);
        if (kinds[i].open)
            return kinds[i].open(text + len + (text[len] != 0), cfg, out, err);
        return text[len] ? error_set(err, EINVAL, "--display none takes nothing further") : 0;
    }
    snprintf(word, sizeof word, "%.*s", (int)len, text);
    return error_no_such(err, "display", word, names);
}

void view_close(struct view *v)
{
    if (v)
        v->close(v);
}

/* ---- keys -------------------------------------------------------------------- */

/* USB HID Usage Tables, page 7. */
static const uint8_t usages[] = {
    [4] = KEY_A, KEY_B, KEY_C, KEY_D, KEY_E, KEY_F, KEY_G, KEY_H, KEY_I, KEY_J, KEY_K, KEY_L,
    KEY_M, KEY_N, KEY_O, KEY_P, KEY_Q, KEY_R, KEY_S, KEY_T, KEY_U, KEY_V, KEY_W, KEY_X, KEY_Y,
    KEY_Z, KEY_1, KEY_2, KEY_3, KEY_4, KEY_5, KEY_6, KEY_7, KEY_8, KEY_9, KEY_0, KEY_ENTER,
    KEY_ESC, KEY_BACKSPACE, KEY_TAB, KEY_SPACE, KEY_MINUS, KEY_EQUAL, KEY_LEFTBRACE,
    KEY_RIGHTBRACE, KEY_BACKSLASH, KEY_BACKSLASH, KEY_SEMICOLON, KEY_APOSTROPHE, KEY_GRAVE,
    KEY_COMMA, KEY_DOT, KEY_SLASH, KEY_CAPSLOCK, KEY_F1, KEY_F2, KEY_F3, KEY_F4, KEY_F5, KEY_F6,
    KEY_F7, KEY_F8, KEY_F9, KEY_F10, KEY_F11, KEY_F12, KEY_SYSRQ, KEY_SCROLLLOCK, KEY_PAUSE,
    KEY_INSERT, KEY_HOME, KEY_PAGEUP, KEY_DELETE, KEY_END, KEY_PAGEDOWN, KEY_RIGHT, KEY_LEFT,
    KEY_DOWN, KEY_UP, KEY_NUMLOCK, KEY_KPSLASH, KEY_KPASTERISK, KEY_KPMINUS, KEY_KPPLUS,
    KEY_KPENTER, KEY_KP1, KEY_KP2, KEY_KP3, KEY_KP4, KEY_KP5, KEY_KP6, KEY_KP7, KEY_KP8, KEY_KP9,
    KEY_KP0, KEY_KPDOT, KEY_102ND, KEY_COMPOSE,
    [224] = KEY_LEFTCTRL, KEY_LEFTSHIFT, KEY_LEFTALT, KEY_LEFTMETA, KEY_RIGHTCTRL, KEY_RIGHTSHIFT,
    KEY_RIGHTALT, KEY_RIGHTMETA,
};

unsigned view_key_of_usage(unsigned usage)
{
    return usage < ARRAY_SIZE(usages) ? usages[usage] : 0;
}

/* X11/keysymdef.h from 0xff00 on. */
static const struct { uint16_t symbol; uint8_t key; } symbols[] = {
    {0xff08, KEY_BACKSPACE}, {0xff09, KEY_TAB}, {0xff0d, KEY_ENTER}, {0xff13, KEY_PAUSE},
    {0xff14, KEY_SCROLLLOCK}, {0xff15, KEY_SYSRQ}, {0xff1b, KEY_ESC}, {0xff50, KEY_HOME},
    {0xff51, KEY_LEFT}, {0xff52, KEY_UP}, {0xff53, KEY_RIGHT}, {0xff54, KEY_DOWN},
    {0xff55, KEY_PAGEUP}, {0xff56, KEY_PAGEDOWN}, {0xff57, KEY_END}, {0xff61, KEY_SYSRQ},
    {0xff63, KEY_INSERT}, {0xff67, KEY_COMPOSE}, {0xff7f, KEY_NUMLOCK}, {0xff8d, KEY_KPENTER},
    {0xff95, KEY_KP7}, {0xff96, KEY_KP4}, {0xff97, KEY_KP8}, {0xff98, KEY_KP6}, {0xff99, KEY_KP2},
    {0xff9a, KEY_KP9}, {0xff9b, KEY_KP3}, {0xff9c, KEY_KP1}, {0xff9d, KEY_KP5}, {0xff9e, KEY_KP0},
    {0xff9f, KEY_KPDOT}, {0xffaa, KEY_KPASTERISK}, {0xffab, KEY_KPPLUS}, {0xffad, KEY_KPMINUS},
    {0xffae, KEY_KPDOT}, {0xffaf, KEY_KPSLASH}, {0xffb0, KEY_KP0}, {0xffb1, KEY_KP1},
    {0xffb2, KEY_KP2}, {0xffb3, KEY_KP3}, {0xffb4, KEY_KP4}, {0xffb5, KEY_KP5}, {0xffb6, KEY_KP6},
    {0xffb7, KEY_KP7}, {0xffb8, KEY_KP8}, {0xffb9, KEY_KP9}, {0xffbe, KEY_F1}, {0xffbf, KEY_F2},
    {0xffc0, KEY_F3}, {0xffc1, KEY_F4}, {0xffc2, KEY_F5}, {0xffc3, KEY_F6}, {0xffc4, KEY_F7},
    {0xffc5, KEY_F8}, {0xffc6, KEY_F9}, {0xffc7, KEY_F10}, {0xffc8, KEY_F11}, {0xffc9, KEY_F12},
    {0xffe1, KEY_LEFTSHIFT}, {0xffe2, KEY_RIGHTSHIFT}, {0xffe3, KEY_LEFTCTRL},
    {0xffe4, KEY_RIGHTCTRL}, {0xffe5, KEY_CAPSLOCK}, {0xffe7, KEY_LEFTMETA},
    {0xffe8, KEY_RIGHTMETA}, {0xffe9, KEY_LEFTALT}, {0xffea, KEY_RIGHTALT},
    {0xffeb, KEY_LEFTMETA}, {0xffec, KEY_RIGHTMETA}, {0xffff, KEY_DELETE}, {0xfe03, KEY_RIGHTALT},
    {0xfe20, KEY_TAB},
};

unsigned view_key_of_symbol(uint32_t symbol, bool *shifted)
{
    static const char plain[] = "1234567890-=[]\\;'`,./ abcdefghijklmnopqrstuvwxyz";
    static const char shift[] = "!@#$%^&*()_+{}|:\"~<>? ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const uint8_t keys[] = {
        KEY_1, KEY_2, KEY_3, KEY_4, KEY_5, KEY_6, KEY_7, KEY_8, KEY_9, KEY_0, KEY_MINUS,
        KEY_EQUAL, KEY_LEFTBRACE, KEY_RIGHTBRACE, KEY_BACKSLASH, KEY_SEMICOLON, KEY_APOSTROPHE,
        KEY_GRAVE, KEY_COMMA, KEY_DOT, KEY_SLASH, KEY_SPACE, KEY_A, KEY_B, KEY_C, KEY_D, KEY_E,
        KEY_F, KEY_G, KEY_H, KEY_I, KEY_J, KEY_K, KEY_L, KEY_M, KEY_N, KEY_O, KEY_P, KEY_Q, KEY_R,
        KEY_S, KEY_T, KEY_U, KEY_V, KEY_W, KEY_X, KEY_Y, KEY_Z,
    };
    const char *at;

    *shifted = false;
    for (size_t i = 0; i < ARRAY_SIZE(symbols); i++)
        if (symbols[i].symbol == symbol)
            return symbols[i].key;
    if (symbol < ' ' || symbol > '~')
        return 0;
    at = strchr(plain, (int)symbol);
    if (at)
        return keys[at - plain];
    at = strchr(shift, (int)symbol);
    *shifted = at != NULL;
    return at ? keys[at - shift] : 0;
}
