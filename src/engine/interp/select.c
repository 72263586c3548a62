/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/interp/interp.h"
void interp_select(const struct interp *v, const struct x86_insn *insn, struct op *op)
{
    op->exec = x86_exec_op(insn);
    op->fn = insn->class == X86_CLASS_HOST ? interp_host : interp_general;
}
