/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ini.h - a virtual machine in a file: the options of `ring3 run` by their
 * bare names.
 *
 *     # comments begin with # or ; at the start of a line
 *     [run]                          ; optional, and the only section there is
 *     kernel = vmlinuz
 *     append = root=/dev/vda1 console=ttyS0
 *     memory = 1G
 *     no-reboot                      (a flag alone, or = yes, no, on, off, true, false)
 *     disk = debian.qcow2            (lists: one line each)
 *     disk = data.raw,cache=none
 *
 * A value is the rest of its line without the blanks around it, '#', ';' and '='
 * included; one in double quotes keeps its blanks. Paths are relative to the
 * file's own directory, so that a file and its images can be moved and started
 * from anywhere. A key that is no list comes once. Every message begins with
 * FILE:LINE.
 */
#ifndef RING3_CLI_INI_H
#define RING3_CLI_INI_H

#include "base/types.h"

struct error;
struct option;
struct ini;

/* Reads the file and sets `target`'s options, whose strings live until
 * ini_free(). 0; -EINVAL for what is wrong inside it; other codes from the
 * host. On failure, too, *ini is to be freed. */
int ini_load(const char *path, const struct option *table, void *target, struct ini **ini,
             struct error **err);
void ini_free(struct ini *ini);       /* NULL ok */

/* `value` of option `o` with the paths in it (options.h) put behind `dir`,
 * where they are not absolute; the caller frees it. A value that says where
 * with "scheme:" or "scheme://" names no file. */
char *ini_place_paths(const struct option *o, const char *value, const char *dir);

#endif
