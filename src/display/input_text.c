/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * input_text.c - "root<ret>" as keys going down and up.
 *
 * Characters are those of a US keyboard, since the guest's layout is the guest's affair.
 */
#include "display/input.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <linux/input-event-codes.h>

#include "base/error.h"

enum { WORD_MAX = 32, MODIFIERS_MAX = 8, NAMES_MAX = 96 };

/* By key code from KEY_1 on; what a key gives without and with Shift. */
static const char plain[] = "1234567890-=\b\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./";
static const char shifted[] = "!@#$%^&*()_+\b\tQWERTYUIOP{}\n\0ASDFGHJKL:\"~\0|ZXCVBNM<>?";

static const struct key_name {
    const char *name;
    unsigned code;
} names[] = {
    {"ret", KEY_ENTER},      {"enter", KEY_ENTER},    {"esc", KEY_ESC},
    {"tab", KEY_TAB},        {"spc", KEY_SPACE},      {"space", KEY_SPACE},
    {"bs", KEY_BACKSPACE},   {"backspace", KEY_BACKSPACE},
    {"up", KEY_UP},          {"down", KEY_DOWN},      {"left", KEY_LEFT},
    {"right", KEY_RIGHT},    {"home", KEY_HOME},      {"end", KEY_END},
    {"pgup", KEY_PAGEUP},    {"pgdn", KEY_PAGEDOWN},  {"ins", KEY_INSERT},
    {"insert", KEY_INSERT},  {"del", KEY_DELETE},     {"delete", KEY_DELETE},
    {"f1", KEY_F1},          {"f2", KEY_F2},          {"f3", KEY_F3},
    {"f4", KEY_F4},          {"f5", KEY_F5},          {"f6", KEY_F6},
    {"f7", KEY_F7},          {"f8", KEY_F8},          {"f9", KEY_F9},
    {"f10", KEY_F10},        {"f11", KEY_F11},        {"f12", KEY_F12},
    {"ctrl", KEY_LEFTCTRL},  {"alt", KEY_LEFTALT},    {"shift", KEY_LEFTSHIFT},
    {"win", KEY_LEFTMETA},   {"meta", KEY_LEFTMETA},  {"altgr", KEY_RIGHTALT},
    {"rctrl", KEY_RIGHTCTRL}, {"rshift", KEY_RIGHTSHIFT}, {"rwin", KEY_RIGHTMETA},
    {"caps", KEY_CAPSLOCK},  {"num", KEY_NUMLOCK},    {"scroll", KEY_SCROLLLOCK},
    {"print", KEY_SYSRQ},    {"pause", KEY_PAUSE},    {"menu", KEY_COMPOSE},
    {"minus", KEY_MINUS},    {"kp0", KEY_KP0},        {"kp1", KEY_KP1},
    {"kp2", KEY_KP2},        {"kp3", KEY_KP3},        {"kp4", KEY_KP4},
    {"kp5", KEY_KP5},        {"kp6", KEY_KP6},        {"kp7", KEY_KP7},
    {"kp8", KEY_KP8},        {"kp9", KEY_KP9},        {"kpenter", KEY_KPENTER},
    {"kpplus", KEY_KPPLUS},  {"kpminus", KEY_KPMINUS}, {"kpdot", KEY_KPDOT},
    {"kpslash", KEY_KPSLASH}, {"kpstar", KEY_KPASTERISK},
};

/* 0 = the keyboard has no key for it. */
static unsigned code_of_char(char c, bool *shift)
{
    *shift = false;
    if (c == ' ')
        return KEY_SPACE;
    if (!c || c == '\b')
        return 0;
    for (unsigned i = 0; i < sizeof plain - 1; i++) {
        if (plain[i] == c)
            return KEY_1 + i;
        if (shifted[i] == c) {
            *shift = true;
            return KEY_1 + i;
        }
    }
    return 0;
}

static unsigned code_of_name(const char *word)
{
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        if (strcasecmp(names[i].name, word) == 0)
            return names[i].code;
    return 0;
}

static int unknown_name(const char *word, struct error **err)
{
    const char *list[NAMES_MAX + 3];
    unsigned n = 0;

    _Static_assert(ARRAY_SIZE(names) <= NAMES_MAX, "they fit");
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        list[n++] = names[i].name;
    list[n++] = "lt";
    list[n++] = "gt";
    list[n] = NULL;
    return error_no_such(err, "key", word, list);
}

struct typist {
    void (*emit)(void *opaque, unsigned code, bool down);
    void *opaque;
};

/* Down in order, up in the opposite one. */
static void press(const struct typist *t, const unsigned *code, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        t->emit(t->opaque, code[i], true);
    while (n--)
        t->emit(t->opaque, code[n], false);
}

static void press_char(const struct typist *t, unsigned code, bool shift)
{
    const unsigned codes[2] = {KEY_LEFTSHIFT, code};

    press(t, shift ? codes : codes + 1, shift ? 2 : 1);
}

/* "ctrl-alt-del", "alt-f2", "ctrl-c", "shift-a": what is between the brackets. */
static int press_chord(const struct typist *t, char *chord, struct error **err)
{
    unsigned codes[MODIFIERS_MAX], n = 0;
    char *rest = NULL;

    for (char *word = strtok_r(chord, "-", &rest); word; word = strtok_r(NULL, "-", &rest)) {
        unsigned code = code_of_name(word);
        bool shift = false;

        if (!code && !strcmp(word, "lt"))
            code = code_of_char('<', &shift);
        else if (!code && !strcmp(word, "gt"))
            code = code_of_char('>', &shift);
        else if (!code && word[1] == '\0')
            code = code_of_char(word[0], &shift);
        if (!code)
            return unknown_name(word, err);
        if (n + 2 > MODIFIERS_MAX)
            return error_set(err, EINVAL, "more than %d keys at once", MODIFIERS_MAX);
        if (shift)
            codes[n++] = KEY_LEFTSHIFT;
        codes[n++] = code;
    }
    if (!n)
        return error_set(err, EINVAL, "there is no key between '<' and '>'");
    press(t, codes, n);
    return 0;
}

int input_parse(const char *keys, void (*emit)(void *opaque, unsigned code, bool down),
                void *opaque, struct error **err)
{
    const struct typist t = {emit, opaque};

    while (*keys) {
        const char *end = *keys == '<' ? strchr(keys, '>') : NULL;
        char chord[WORD_MAX];
        bool shift;
        unsigned code;

        if (*keys == '<') {
            size_t len = end ? (size_t)(end - keys - 1) : 0;
            int rc;

            if (!end || len >= sizeof chord) {
                error_set(err, EINVAL, "'<' without a key's name and '>'");
                error_hint(err, "the character itself is <lt>");
                return -EINVAL;
            }
            memcpy(chord, keys + 1, len);
            chord[len] = '\0';
            rc = press_chord(&t, chord, err);
            if (rc < 0)
                return rc;
            keys = end + 1;
            continue;
        }
        code = code_of_char(*keys, &shift);
        if (!code)
            return error_set(err, EINVAL, isprint((unsigned char)*keys)
                             ? "a US keyboard has no key for '%c'"
                             : "a US keyboard has no key for the byte %#x",
                             (unsigned char)*keys);
        press_char(&t, code, shift);
        keys++;
    }
    return 0;
}
