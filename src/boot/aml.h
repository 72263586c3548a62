/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * aml.h - writing ACPI machine language.
 *
 * ACPI 6.4, chapter 20 (AML) and 6.4 (resource descriptors): just the objects
 * that describe devices at fixed places and a PCI bus. Things that nest are opened and
 * closed; closing writes the length. The buffer is the caller's; running over
 * it is a BUG, for what is written depends on constants and the CPU count only.
 */
#ifndef RING3_BOOT_AML_H
#define RING3_BOOT_AML_H

#include "base/types.h"

struct aml {
    uint8_t *buf;
    size_t cap, len;
};


/* Names are 4-character segments ("COM1"), or a root path ("\\_SB_"). What open
 * returns, close wants back: where the length goes. */
size_t aml_scope_open(struct aml *a, const char *name);
size_t aml_device_open(struct aml *a, const char *name);
void aml_close(struct aml *a, size_t mark);

/* Method(name, args) { If (name) { ... } Return (name) }: what _PRT and _PIC need. */
size_t aml_method_open(struct aml *a, const char *name, unsigned args);
size_t aml_if_open(struct aml *a, const char *name);
void aml_return(struct aml *a, const char *name);
void aml_store_arg0(struct aml *a, const char *name);

void aml_name_int(struct aml *a, const char *name, uint64_t value);
void aml_name_string(struct aml *a, const char *name, const char *text);
void aml_name_eisaid(struct aml *a, const char *name, const char id[7]);   /* "PNP0501" */
void aml_name_package(struct aml *a, const char *name, const uint8_t *bytes, uint8_t count);
/* Name(name, Package(count)) to be filled with aml_package() and closed. */
size_t aml_name_package_open(struct aml *a, const char *name, uint8_t count);
void aml_package(struct aml *a, const uint32_t *values, uint8_t count);

/* Name(_CRS, ResourceTemplate()), made of these. */
struct aml_resources {
    uint8_t bytes[256];
    size_t len;
};
void aml_resource_io(struct aml_resources *r, uint16_t port, uint8_t len);
void aml_resource_irq(struct aml_resources *r, unsigned irq);              /* edge, high */
void aml_resource_gsi(struct aml_resources *r, uint32_t gsi);              /* level, high, shared */
void aml_resource_memory(struct aml_resources *r, uint32_t base, uint32_t bytes);
/* What a bridge passes on: bus numbers, ports, memory. `last` is inclusive. */
void aml_resource_bus_window(struct aml_resources *r, uint16_t first, uint16_t last);
void aml_resource_io_window(struct aml_resources *r, uint16_t first, uint16_t last);
void aml_resource_memory_window(struct aml_resources *r, uint64_t first, uint64_t last);
void aml_name_crs(struct aml *a, const struct aml_resources *r);

#endif
