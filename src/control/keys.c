/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keys.c - `keys` and `mouse`: what a person at the machine would do. */
#include "control/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "bus/bus.h"
#include "display/input.h"
#include "machine/machine.h"

enum { PIXELS_MAX = 10000 };

/* Words are joined by one space each; <spc> is one too. */
int command_keys(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    pthread_mutex_t *lock = bus_lock(machine_bus(m));
    struct strbuf text = {0};
    struct error *err = NULL;
    int rc;

    if (argc < 2)
        return command_refuse(out, "keys TEXT: for example 'keys root<ret>'");
    for (int i = 1; i < argc; i++)
        strbuf_addf(&text, "%s%s", i > 1 ? " " : "", argv[i]);
    pthread_mutex_lock(lock);
    rc = input_type(machine_input(m), strbuf_text(&text), &err);
    pthread_mutex_unlock(lock);
    strbuf_fini(&text);
    return rc < 0 ? command_failed(out, &err) : 0;
}

static bool parse_pixels(const char *text, int *value)
{
    char *end;
    long v = strtol(text, &end, 10);

    *value = (int)v;
    return end != text && !*end && v >= -PIXELS_MAX && v <= PIXELS_MAX;
}

static bool parse_buttons(const char *text, unsigned *buttons)
{
    static const char letters[] = "lrmse";       /* enum input_buttons, from bit 0 on */

    *buttons = 0;
    if (!strcmp(text, "none"))
        return true;
    for (; *text; text++) {
        const char *at = strchr(letters, *text);

        if (!at)
            return false;
        *buttons |= 1u << (at - letters);
    }
    return true;
}

int command_mouse(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    pthread_mutex_t *lock = bus_lock(machine_bus(m));
    struct input_pointer p = {0};

    if (argc < 3 || argc > 5 || !parse_pixels(argv[1], &p.dx) || !parse_pixels(argv[2], &p.dy) ||
        (argc > 3 && !parse_buttons(argv[3], &p.buttons)) ||
        (argc > 4 && !parse_pixels(argv[4], &p.wheel)))
        return command_refuse(out, "mouse DX DY [BUTTONS [WHEEL]]: pixels up to %d; buttons held "
                              "are letters of lrmse, or none: 'mouse 10 -5 l'", PIXELS_MAX);
    pthread_mutex_lock(lock);
    input_pointer(machine_input(m), &p);
    pthread_mutex_unlock(lock);
    return 0;
}
