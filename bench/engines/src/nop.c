/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nop.c - the smallest ordinary static program: start libc and leave.
 *
 * What `forkexec` executes.
 */
#include <unistd.h>

int main(void)
{
    _exit(0);
}
