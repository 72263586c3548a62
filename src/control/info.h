/* SPDX-License-Identifier: GPL-2.0-or-later */
/* info.h - the `info` commands (room-internal; see command.h). */
#ifndef RING3_CONTROL_INFO_H
#define RING3_CONTROL_INFO_H

struct machine;
struct strbuf;

int info_registers(struct machine *m, int argc, char **argv, struct strbuf *out);
int info_exits(struct machine *m, int argc, char **argv, struct strbuf *out);
int info_devices(struct machine *m, int argc, char **argv, struct strbuf *out);
int info_bus(struct machine *m, int argc, char **argv, struct strbuf *out);
int info_memory(struct machine *m, int argc, char **argv, struct strbuf *out);
int info_engine(struct machine *m, int argc, char **argv, struct strbuf *out);
int info_pci(struct machine *m, int argc, char **argv, struct strbuf *out);
int info_virtio(struct machine *m, int argc, char **argv, struct strbuf *out);
int info_network(struct machine *m, int argc, char **argv, struct strbuf *out);
int info_breakpoints(struct machine *m, int argc, char **argv, struct strbuf *out);
int info_input(struct machine *m, int argc, char **argv, struct strbuf *out);
int info_block(struct machine *m, int argc, char **argv, struct strbuf *out);
int info_cpuid(struct machine *m, int argc, char **argv, struct strbuf *out);

#endif
