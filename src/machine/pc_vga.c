/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc_vga.c - `--vga`: the PC's video card.
 *
 * Its video BIOS is SeaBIOS's, from Debian's package; without it the card works for all
 * who program it themselves (Linux, UEFI), and not for what calls INT 10h.
 */
#include "machine/pc_vga.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/params.h"
#include "device/vga.h"
#include "machine/pc_board.h"
#include "pci/pci.h"

enum { SLOT = 2 /* QEMU's */, ROM_BYTES_MAX = 256 << 10 };
enum kind { KIND_STD, KIND_NONE };
enum text { TEXT_PLAIN, TEXT_EXITS };

struct vga_params {
    unsigned kind, text;
    uint64_t width, height;
};

static const char *const kinds[] = {"std", "none", NULL};
static const char *const texts[] = {"plain", "exits", NULL};

static const struct param keys[] = {
    {.name = "kind", .type = PARAM_CHOICE, .offset = offsetof(struct vga_params, kind),
     .operand = true, .choices = kinds, .help = "std (the default) or none"},
    {.name = "text", .type = PARAM_CHOICE, .offset = offsetof(struct vga_params, text),
     .choices = texts, .help = "text memory: plain, or exits: a VM exit for every write"},
    {.name = "width", .type = PARAM_NUMBER, .offset = offsetof(struct vga_params, width),
     .min = 640, .max = 1920, .help = "that the monitor prefers (default 1024)"},
    {.name = "height", .type = PARAM_NUMBER, .offset = offsetof(struct vga_params, height),
     .min = 400, .max = 1200, .help = "likewise (default 768)"},
    {NULL},
};

static int parse(const struct machine *m, struct vga_params *p, struct error **err)
{
    int rc = m->config.vga ? params_parse(keys, p, m->config.vga, err) : 0;

    return rc ? error_wrap(err, "--vga") : 0;
}

/* NULL: there is none. */
static uint8_t *read_rom(size_t *bytes)
{
    int fd = open("/usr/share/seabios/vgabios-stdvga.bin", O_RDONLY | O_CLOEXEC);
    uint8_t *rom = fd < 0 ? NULL : malloc(ROM_BYTES_MAX);
    ssize_t n = rom ? read(fd, rom, ROM_BYTES_MAX) : -1;

    if (fd >= 0)
        close(fd);
    if (n > 0 && n < ROM_BYTES_MAX) {
        *bytes = (size_t)n;
        return rom;
    }
    free(rom);
    return NULL;
}

int pc_vga_make(struct pc_wiring *w, struct error **err)
{
    struct vga_params p = {0};
    struct machine *m = w->machine;
    struct vga_config cfg = {.pci = pci_bus_of(pc_of(m)->pci), .slot = SLOT};
    struct device *dev;
    uint8_t *rom;
    int rc = parse(m, &p, err);

    if (rc || p.kind == KIND_NONE)
        return rc;
    rom = read_rom(&cfg.rom_bytes);
    cfg.rom = rom;
    cfg.text_exits = p.text == TEXT_EXITS;
    cfg.width = (unsigned)p.width;
    cfg.height = (unsigned)p.height;
    dev = vga_new(w->env, &cfg, err);
    free(rom);
    if (!dev)
        return -EIO;
    machine_add_device(m, dev);
    m->display = vga_display(dev);
    return 0;
}

bool pc_vga_wanted(const struct machine *m)
{
    struct vga_params p = {0};

    return parse(m, &p, NULL) == 0 && p.kind != KIND_NONE;
}
