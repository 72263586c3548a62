/* SPDX-License-Identifier: GPL-2.0-or-later */
/* screen.h - the commands about the screen (room-internal; see command.h). */
#ifndef RING3_CONTROL_SCREEN_H
#define RING3_CONTROL_SCREEN_H

struct machine;
struct strbuf;

int command_screenshot(struct machine *m, int argc, char **argv, struct strbuf *out);
int command_screen_text(struct machine *m, int argc, char **argv, struct strbuf *out);

#endif
