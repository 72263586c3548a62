/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "isa.h"
#include <errno.h>
#include "base/error.h"
int isa_text_read(const char *path, void (*fn)(void *opaque, const struct isa_case *c),
                  void *opaque, struct error **err)
{
    return error_set(err, ENOSYS, "not yet");
}
