/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ps2_codes.c - keys to scan codes.
 *
 * Linux numbers the keys of the original keyboard by their set 1 codes, so set 1 is the
 * key code itself or a row of `extended`; set 2 is what the controller translates to that;
 * and set 3 is set 2 but for the rows of `third` (IBM PS/2 Hardware Interface Technical
 * Reference, "Keyboard", scan code tables).
 */
#include "device/ps2_codes.h"

#include <linux/input-event-codes.h>

enum { SET1_BREAK = 0x80, BREAK = 0xf0, E0 = 0xe0, E1 = 0xe1 };
enum { LAST_PLAIN = KEY_KPDOT };

static const uint8_t translation[128] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};

uint8_t ps2_translate(uint8_t set2)
{
    if (set2 < ARRAY_SIZE(translation))
        return translation[set2];
    return set2 == 0x83 ? 0x41 : set2 == 0x84 ? 0x54 : set2;
}

/* Keys whose code in set 1 is not their number; most have a prefix. */
static const struct {
    uint8_t key, prefix, set1;
} extended[] = {
    {KEY_RO, 0, 0x73},             {KEY_HENKAN, 0, 0x79},         {KEY_KATAKANAHIRAGANA, 0, 0x70},
    {KEY_MUHENKAN, 0, 0x7b},       {KEY_YEN, 0, 0x7d},            {KEY_KPCOMMA, 0, 0x7e},
    {KEY_KPEQUAL, 0, 0x59},        {KEY_KPENTER, E0, 0x1c},       {KEY_RIGHTCTRL, E0, 0x1d},
    {KEY_KPSLASH, E0, 0x35},       {KEY_RIGHTALT, E0, 0x38},      {KEY_HOME, E0, 0x47},
    {KEY_UP, E0, 0x48},            {KEY_PAGEUP, E0, 0x49},        {KEY_LEFT, E0, 0x4b},
    {KEY_RIGHT, E0, 0x4d},         {KEY_END, E0, 0x4f},           {KEY_DOWN, E0, 0x50},
    {KEY_PAGEDOWN, E0, 0x51},      {KEY_INSERT, E0, 0x52},        {KEY_DELETE, E0, 0x53},
    {KEY_LEFTMETA, E0, 0x5b},      {KEY_RIGHTMETA, E0, 0x5c},     {KEY_COMPOSE, E0, 0x5d},
    {KEY_POWER, E0, 0x5e},         {KEY_SLEEP, E0, 0x5f},         {KEY_WAKEUP, E0, 0x63},
    {KEY_MUTE, E0, 0x20},          {KEY_VOLUMEDOWN, E0, 0x2e},    {KEY_VOLUMEUP, E0, 0x30},
    {KEY_PREVIOUSSONG, E0, 0x10},  {KEY_NEXTSONG, E0, 0x19},      {KEY_PLAYPAUSE, E0, 0x22},
    {KEY_STOPCD, E0, 0x24},        {KEY_CALC, E0, 0x21},          {KEY_MAIL, E0, 0x6c},
    {KEY_WWW, E0, 0x32},
};

static const struct {
    uint8_t key, set3;
} third[] = {
    {KEY_ESC, 0x08},        {KEY_F1, 0x07},       {KEY_F2, 0x0f},         {KEY_F3, 0x17},
    {KEY_F4, 0x1f},         {KEY_F5, 0x27},       {KEY_F6, 0x2f},         {KEY_F7, 0x37},
    {KEY_F8, 0x3f},         {KEY_F9, 0x47},       {KEY_F10, 0x4f},        {KEY_F11, 0x56},
    {KEY_F12, 0x5e},        {KEY_SYSRQ, 0x57},    {KEY_SCROLLLOCK, 0x5f}, {KEY_PAUSE, 0x62},
    {KEY_CAPSLOCK, 0x14},   {KEY_LEFTCTRL, 0x11}, {KEY_LEFTALT, 0x19},    {KEY_RIGHTALT, 0x39},
    {KEY_RIGHTCTRL, 0x58},  {KEY_BACKSLASH, 0x5c}, {KEY_102ND, 0x13},     {KEY_INSERT, 0x67},
    {KEY_HOME, 0x6e},       {KEY_PAGEUP, 0x6f},   {KEY_DELETE, 0x64},     {KEY_END, 0x65},
    {KEY_PAGEDOWN, 0x6d},   {KEY_UP, 0x63},       {KEY_LEFT, 0x61},       {KEY_DOWN, 0x60},
    {KEY_RIGHT, 0x6a},      {KEY_NUMLOCK, 0x76},  {KEY_KPSLASH, 0x77},    {KEY_KPASTERISK, 0x7e},
    {KEY_KPMINUS, 0x84},    {KEY_KPPLUS, 0x7c},   {KEY_KPENTER, 0x79},    {KEY_LEFTMETA, 0x8b},
    {KEY_RIGHTMETA, 0x8c},  {KEY_COMPOSE, 0x8d},
};

/* Prefix in the high byte; 0 = no such key. */
static unsigned set1_of(unsigned key)
{
    if (key <= LAST_PLAIN || key == KEY_102ND || key == KEY_F11 || key == KEY_F12)
        return key;
    for (unsigned i = 0; i < ARRAY_SIZE(extended); i++)
        if (extended[i].key == key)
            return (unsigned)extended[i].prefix << 8 | extended[i].set1;
    return 0;
}

static uint8_t set2_of_set1(uint8_t set1)
{
    if (set1 == 0x41)              /* F7: a newer code than the table's own */
        return 0x83;
    for (unsigned i = 1; i < ARRAY_SIZE(translation); i++)
        if (translation[i] == set1)
            return (uint8_t)i;
    return 0;
}

uint8_t ps2_code3(unsigned key)
{
    unsigned set1 = set1_of(key);

    for (unsigned i = 0; i < ARRAY_SIZE(third); i++)
        if (third[i].key == key)
            return third[i].set3;
    return set1 && set1 <= UINT8_MAX ? set2_of_set1((uint8_t)set1) : 0;
}

static void put(struct ps2_sequence *s, uint8_t byte)
{
    s->byte[s->len++] = byte;
}

/* One key's code with its prefix, `code` in set 1. */
static void put_key(struct ps2_sequence *s, unsigned set, uint8_t prefix, uint8_t code, bool down)
{
    if (prefix)
        put(s, prefix);
    if (set == 1) {
        put(s, down ? code : code | SET1_BREAK);
        return;
    }
    if (!down)
        put(s, BREAK);
    put(s, set2_of_set1(code));
}

/* With Alt it is SysRq, a key of its own; otherwise it pretends that Shift goes down
 * before it, for programs that knew the 84-key keyboard, unless Shift or Ctrl is held. */
static void put_print_screen(struct ps2_sequence *s, unsigned set, bool down, unsigned held)
{
    enum { SET1_PRINT = 0x37, SET1_SYSRQ = 0x54, SET1_SHIFT = 0x2a, SET2_SYSRQ = 0x84 };

    if (held & PS2_ALT) {
        if (set == 2 && !down)
            put(s, BREAK);
        put(s, set == 2 ? SET2_SYSRQ : down ? SET1_SYSRQ : SET1_SYSRQ | SET1_BREAK);
        return;
    }
    if (down && !(held & (PS2_SHIFT | PS2_CTRL)))
        put_key(s, set, E0, SET1_SHIFT, true);
    put_key(s, set, E0, SET1_PRINT, down);
    if (!down && !(held & (PS2_SHIFT | PS2_CTRL)))
        put_key(s, set, E0, SET1_SHIFT, false);
}

/* Goes up as soon as it is down. Without Ctrl it looks like Ctrl and Num Lock. */
static void put_pause(struct ps2_sequence *s, unsigned set, bool down, unsigned held)
{
    enum { SET1_BREAK_KEY = 0x46, SET1_CTRL = 0x1d, SET1_NUM = 0x45 };

    if (!down)
        return;
    for (unsigned up = 0; up < 2; up++) {
        if (held & PS2_CTRL) {
            put_key(s, set, E0, SET1_BREAK_KEY, !up);
        } else {
            put_key(s, set, E1, SET1_CTRL, !up);
            put_key(s, set, 0, SET1_NUM, !up);
        }
    }
}

struct ps2_sequence ps2_codes(unsigned set, unsigned key, bool down, unsigned held)
{
    struct ps2_sequence s = {.len = 0};
    unsigned set1 = set1_of(key);

    if (set == 3) {
        uint8_t code = ps2_code3(key);

        if (code && !down)
            put(&s, BREAK);
        if (code)
            put(&s, code);
    } else if (key == KEY_SYSRQ) {
        put_print_screen(&s, set, down, held);
    } else if (key == KEY_PAUSE) {
        put_pause(&s, set, down, held);
    } else if (set1) {
        put_key(&s, set, (uint8_t)(set1 >> 8), (uint8_t)set1, down);
    }
    return s;
}
