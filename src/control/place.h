/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * place.h - names of running machines, and where their control sockets are.
 *
 * The directory is $XDG_RUNTIME_DIR/ring3, or /tmp/ring3-UID without that variable. It has
 * to belong to the user and to be closed to everybody else, which is the whole access
 * control. A machine NAME holds a lock on NAME.lock for as long as it lives, and listens
 * at NAME.sock; what a killed process left behind is taken over, since its lock is gone.
 */
#ifndef RING3_CONTROL_PLACE_H
#define RING3_CONTROL_PLACE_H

#include "base/types.h"

struct error;

enum { PLACE_NAME_MAX = 64, PLACE_PATH_MAX = 108 };

struct place {
    char name[PLACE_NAME_MAX + 1];
    char socket[PLACE_PATH_MAX], lock[PLACE_PATH_MAX];
    int lock_fd, listen_fd;          /* -1: none */
};

/* The directory's path; made if `make`. -ENOENT without a message: it is not there. */
int place_directory(char path[PLACE_PATH_MAX], bool make, struct error **err);
/* -EINVAL: not a name. -EADDRINUSE: another process is called so. */
int place_claim(struct place *p, const char *name, struct error **err);
void place_release(struct place *p);
/* Where a machine of that name would listen. */
int place_socket(const char *name, char path[PLACE_PATH_MAX], struct error **err);

#endif
