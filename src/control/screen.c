/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * screen.c - what is on the machine's screen: as a file, as text.
 *
 * The VM lock is held only while the card paints and the picture is copied.
 */
#include "control/screen.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "bus/bus.h"
#include "control/command.h"
#include "display/display.h"
#include "display/picture.h"
#include "machine/machine.h"

static int tell(struct error *err, struct strbuf *out)
{
    char *text = error_text(err);
    int code = err->code;

    strbuf_addf(out, "%s\n", text);
    free(text);
    error_free(&err);
    return -code;
}

int command_screenshot(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    struct display *d = machine_display(m);
    pthread_mutex_t *lock = bus_lock(machine_bus(m));
    struct display_surface picture = {0};
    struct error *err = NULL;

    if (argc != 2)
        return command_refuse(out, "screenshot into which FILE? (.png or .ppm)");
    if (!d)
        return command_refuse(out, "this machine has no screen");
    pthread_mutex_lock(lock);
    int rc = display_copy(d, &picture, &err);
    pthread_mutex_unlock(lock);
    if (!rc)
        rc = picture_write(&picture, argv[1], &err);
    free(picture.pixels);
    return rc ? tell(err, out) : 0;
}

int command_screen_text(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    struct display *d = machine_display(m);
    pthread_mutex_t *lock = bus_lock(machine_bus(m));

    if (!d)
        return command_refuse(out, "this machine has no screen");
    pthread_mutex_lock(lock);
    display_refresh(d);
    bool text = display_text(d, out);
    const struct display_surface *s = display_surface(d);
    unsigned width = s->width, height = s->height;
    pthread_mutex_unlock(lock);
    if (!text)
        return command_refuse(out, "the screen shows a picture of %ux%u, not text; 'screenshot' "
                              "saves it", width, height);
    return 0;
}
