/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc_firmware.c - ACPI tables, BIOS data area, interrupt vectors, 8259 bases.
 *
 * The firmware area (pc_map.h) holds the ACPI tables from its start on, and a
 * few bytes of code near its end, where IBM's BIOS had the same routines.
 */
#include "machine/pc_firmware.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/byteorder.h"
#include "base/error.h"
#include "boot/acpi.h"
#include "irqchip/intc.h"
#include "irqchip/state.h"
#include "machine/pc_devices.h"
#include "machine/pc_map.h"
#include "machine/plug.h"
#include "memory/memory.h"

/* ---- real-mode interrupts ---------------------------------------------- */

enum { ROM_SEGMENT = 0xf000, VECTORS = 256, VECTOR_MASTER = 0x08, VECTOR_SLAVE = 0x70,
       IRQS_PER_CHIP = 8 };
enum { AT_IRQ_SLAVE = 0xfe90, AT_IRQ_MASTER = 0xfea0, AT_TIMER = 0xfeb0, AT_IRET = 0xff53,
       AT_RESET = 0xfff0 };

static const struct {
    uint16_t at, len;
    uint8_t code[24];
} routines[] = {
    {AT_IRET, 1, {0xcf}},                               /* iret */
    {AT_IRQ_MASTER, 7, {0x50,                           /* push ax */
                        0xb0, 0x20, 0xe6, 0x20,         /* mov al, 20h; out 20h, al */
                        0x58, 0xcf}},                   /* pop ax; iret */
    {AT_IRQ_SLAVE, 9, {0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58, 0xcf}},
    {AT_TIMER, 20, {0x50, 0x1e, 0x31, 0xc0, 0x8e, 0xd8, /* push ax; push ds; ds = 0 */
                    0x66, 0xff, 0x06, 0x6c, 0x04,       /* inc dword [46ch]: ticks */
                    0xcd, 0x1c,                         /* int 1ch */
                    0xb0, 0x20, 0xe6, 0x20, 0x1f, 0x58, 0xcf}},
    {AT_RESET, 10, {0xb0, 0x06, 0xba, 0xf9, 0x0c, 0xee, /* out 0cf9h, 6: reset */
                    0xfa, 0xf4, 0xeb, 0xfd}},           /* cli; hlt; jmp $-1 */
};

static uint16_t handler_of(unsigned vector)
{
    if (vector == VECTOR_MASTER)
        return AT_TIMER;
    if (vector > VECTOR_MASTER && vector < VECTOR_MASTER + IRQS_PER_CHIP)
        return AT_IRQ_MASTER;
    if (vector >= VECTOR_SLAVE && vector < VECTOR_SLAVE + IRQS_PER_CHIP)
        return AT_IRQ_SLAVE;
    return AT_IRET;
}

static void put_vectors(struct machine *m)
{
    uint8_t ivt[VECTORS * 4];

    for (unsigned v = 0; v < VECTORS; v++) {
        put_le16(ivt + v * 4, handler_of(v));
        put_le16(ivt + v * 4 + 2, ROM_SEGMENT);
    }
    memory_write(m->memory, gpa(0), ivt, sizeof ivt);
}

/* ICW2 of both chips as every BIOS sets it, nothing masked (as ICW1 leaves it),
 * the SCI and the interrupts of PCI's lines levels. Done in the chips' state, which is the
 * same whether they are ours or the kernel's. */
static void set_8259_bases(struct machine *m)
{
    struct device *all[MACHINE_DEVICES_MAX];
    size_t n = min_u64(machine_devices(m, all, ARRAY_SIZE(all)), ARRAY_SIZE(all));

    machine_lock(m);
    for (size_t i = 0; i < n; i++) {
        void *state;

        if (all[i]->ops->describe(all[i], &state) != &i8259_pair_state_desc)
            continue;
        struct i8259_state *chip = ((struct i8259_pair_state *)state)->chip;

        chip[0].irq_base = VECTOR_MASTER;
        chip[1].irq_base = VECTOR_SLAVE;
        chip[1].elcr = (1 << PC_SCI | 1 << 10 | 1 << 11) >> IRQS_PER_CHIP;   /* pirq_route */
        device_resume(all[i]);
    }
    machine_unlock(m);
}

/* ---- tables ------------------------------------------------------------ */

/* The BIOS data area: addresses of serial ports, EBDA segment, KiB of base
 * memory. */
static void put_bios_data(struct machine *m)
{
    uint8_t bda[0x100] = {0};

    put_le16(bda + 0x00, PC_COM1);
    put_le16(bda + 0x0e, PC_EBDA >> 4);
    put_le16(bda + 0x13, PC_EBDA >> 10);
    memory_write(m->memory, gpa(0x400), bda, sizeof bda);
}

void pc_firmware_acpi(const struct machine *m, struct acpi_config *cfg)
{
    *cfg = (struct acpi_config){
        .cpus = m->cpus, .lapic_base = INTC_LAPIC_BASE, .ioapic_base = INTC_IOAPIC_BASE,
        /* The timer is on pin 2 (irqchip/intc.h); the SCI is a level, active high. */
        .override = {{PC_IRQ_TIMER, 2, 0}, {PC_SCI, PC_SCI, 0xd}}, .overrides = 2,
    };
    pc_devices_acpi(m, cfg);
    plug_acpi(m, cfg);
}

static void put_acpi_tables(struct machine *m, uint8_t *rom)
{
    uint8_t facs[ACPI_FACS_BYTES];
    struct acpi_config cfg;

    pc_firmware_acpi(m, &cfg);
    cfg.facs = gpa(PC_FACS);
    acpi_facs_build(facs);
    memory_write(m->memory, gpa(PC_FACS), facs, sizeof facs);
    acpi_build(&cfg, rom, ROM_SEGMENT * 16 - PC_ROM, gpa(PC_ROM));
}

int pc_firmware_write(struct machine *m, struct error **err)
{
    uint8_t *rom = calloc(1, PC_ROM_BYTES);

    if (!rom)
        return error_set(err, ENOMEM, "cannot make the firmware tables: out of memory");
    put_acpi_tables(m, rom);
    for (unsigned i = 0; i < ARRAY_SIZE(routines); i++)
        memcpy(rom + (ROM_SEGMENT * 16 - PC_ROM) + routines[i].at, routines[i].code,
               routines[i].len);
    memory_write(m->memory, gpa(PC_ROM), rom, PC_ROM_BYTES);
    free(rom);
    put_vectors(m);
    put_bios_data(m);
    set_8259_bases(m);
    return 0;
}

/* Real mode, CS:IP from the waking vector, interrupts off. */
bool pc_firmware_waking(struct machine *m, struct x86_state *start)
{
    uint8_t field[4] = {0};
    uint32_t vector;

    memory_read(m->memory, gpa(PC_FACS + ACPI_FACS_WAKING_VECTOR), field, sizeof field);
    vector = get_le32(field);
    if (!vector || vector >= PC_EXTENDED)
        return false;
    x86_state_power_on(start, true);
    start->seg[X86_CS].selector = (uint16_t)(vector >> 4);
    start->seg[X86_CS].base = vector & ~15u;
    start->rip = vector & 15;
    return true;
}

/* IA32_MTRR_DEF_TYPE (Intel SDM vol. 3, 11.11.2.1): RAM is cached. Devices are
 * mapped uncached through the PAT. */
void pc_firmware_cpu(struct x86_state *s)
{
    enum { WRITE_BACK = 6, ENABLED = 1 << 11 };

    s->msr.mtrr_def_type = ENABLED | WRITE_BACK;
}
