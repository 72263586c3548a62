/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * boot.c - the table of loaders, and telling a user why none of them fits.
 */
#include "boot/loader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/log.h"
#include "memory/memory.h"

/* In this order: a multiboot header is a deliberate choice of the image's
 * maker, the PVH note is what every Linux vmlinux has besides its own entry. */
static const struct boot_loader *const boot_loaders[] = {
    &boot_bzimage, &boot_multiboot, &boot_pvh, &boot_elf64, NULL,
};
static const struct boot_loader *const bare_loaders[] = {&boot_multiboot, &boot_bare, NULL};

/* What people give by mistake, recognised by its first bytes. */
static const struct { uint16_t at; uint8_t len; const char *magic, *name; } known_kinds[] = {
    {0, 2, "\x1f\x8b", "gzip data (unpack it first)"},
    {0, 6, "\xfd" "7zXZ\0", "xz data (unpack it first)"},
    {0, 4, "\x28\xb5\x2f\xfd", "zstd data (unpack it first)"},
    {0, 3, "BZh", "bzip2 data (unpack it first)"},
    {0, 8, "!<arch>\n", "an archive or a Debian package (unpack it first)"},
    {0, 6, "070701", "a cpio archive (is this the initrd?)"},
    {0, 4, "QFI\xfb", "a qcow2 disk image"},
    {0, 8, "\x89PNG\r\n\x1a\n", "a PNG picture"},
    {0, 4, "%PDF", "a PDF document"},
    {0, 2, "PK", "a zip archive"},
    {0, 2, "#!", "a script"},
    {0, 4, "\x7f" "ELF", "an ELF file without a PVH note, a multiboot header or a Linux entry"},
    {0, 2, "MZ", "a DOS or EFI program without a Linux setup header"},
    {257, 5, "ustar", "a tar archive"},
};

static int not_a_kernel(const struct boot_job *job, struct error **err)
{
    const struct boot_file *f = &job->image->kernel;
    const char *what = "a file of no known kind";
    int rc;

    for (unsigned i = 0; i < ARRAY_SIZE(known_kinds); i++) {
        if (memcmp(job->head + known_kinds[i].at, known_kinds[i].magic, known_kinds[i].len))
            continue;
        what = known_kinds[i].name;
        break;
    }
    rc = error_set(err, ENOEXEC, "%s '%s' is not a kernel: it is %s", f->role, f->path, what);
    error_hint(err, job->target->bare
                        ? "expected an ELF file or a multiboot image; --load takes raw images"
                        : "expected a Linux bzImage, an ELF file with a PVH note, or a multiboot "
                          "image");
    return rc;
}

int boot_load(const struct boot_image *img, const struct boot_target *target,
              struct x86_state *start, struct error **err)
{
    const struct boot_file *k = &img->kernel;
    struct boot_job *job;
    int rc;

    BUG_ON(!boot_file_given(k));
    job = calloc(1, sizeof *job);
    if (!job)
        return error_set(err, ENOMEM, "cannot load %s '%s': out of memory", k->role, k->path);
    job->image = img;
    job->target = target;
    job->start = start;
    job->space.map = target->map;
    job->head_bytes = min_u64(k->size_bytes, BOOT_HEAD_BYTES);

    rc = boot_file_read(k, 0, job->head, job->head_bytes, err);
    if (rc)
        goto out;
    for (const struct boot_loader *const *at = target->bare ? bare_loaders : boot_loaders; *at;
         at++) {
        const struct boot_loader *l = *at;

        if (!l->probe(job))
            continue;
        log_trace(target->log, BOOT, "%s '%s': %s", k->role, k->path, l->summary);
        rc = l->load(job, err);
        if (rc)
            error_wrap(err, "cannot load %s '%s' (%s)", k->role, k->path, l->summary);
        for (unsigned n = 0; !rc && n < job->space.count; n++)
            log_trace(target->log, BOOT, "%#llx-%#llx %s",
                      (unsigned long long)job->space.used[n].start,
                      (unsigned long long)(job->space.used[n].start +
                                           job->space.used[n].size_bytes),
                      job->space.used[n].what);
        goto out;
    }
    rc = not_a_kernel(job, err);
out:
    free(job);
    return rc;
}

int boot_image_open(struct boot_image *img, const char *kernel, const char *initrd,
                    const char *const *modules, const char *cmdline, struct error **err)
{
    int rc;

    *img = (struct boot_image){.kernel = BOOT_FILE_NONE, .initrd = BOOT_FILE_NONE,
                               .cmdline = cmdline ? cmdline : ""};
    if (!kernel) {
        rc = error_set(err, EINVAL, "no kernel given");
        error_hint(err, "name one with --kernel FILE");
        return rc;
    }
    rc = boot_file_open(&img->kernel, "kernel", kernel, err);
    if (!rc && initrd)
        rc = boot_file_open(&img->initrd, "initrd", initrd, err);
    for (; !rc && modules && *modules; modules++) {
        if (img->modules == BOOT_MODULES_MAX)
            rc = error_set(err, E2BIG, "module '%s' is one too many (at most %d)", *modules,
                           BOOT_MODULES_MAX);
        else if (!(rc = boot_file_open(&img->module[img->modules], "module", *modules, err)))
            img->modules++;
    }
    if (rc)
        boot_image_close(img);
    return rc;
}

void boot_image_close(struct boot_image *img)
{
    boot_file_close(&img->kernel);
    boot_file_close(&img->initrd);
    for (unsigned i = 0; i < img->modules; i++)
        boot_file_close(&img->module[i]);
    img->modules = 0;
}

void boot_put(struct boot_job *job, gpa_t to, const void *data, uint64_t len)
{
    BUG_ON(memory_write(job->target->memory, to, data, len) != 0);
}

int boot_place_table(struct boot_job *job, const char *what, uint64_t size_bytes, gpa_t *out,
                     struct error **err)
{
    struct boot_wish low = {.what = what, .size_bytes = size_bytes, .align = PAGE_SIZE,
                            .low = BOOT_LOW_START, .high = BOOT_LOW_END};
    struct boot_wish any = {.what = what, .size_bytes = size_bytes, .align = PAGE_SIZE,
                            .low = BOOT_EXTENDED, .high = 1ull << 32, .top_down = true};

    if (boot_space_find(&job->space, &low, out, NULL) == 0)
        return 0;
    return boot_space_find(&job->space, &any, out, err);
}

int boot_place_text(struct boot_job *job, const char *what, const char *text, gpa_t *out,
                    struct error **err)
{
    uint64_t len = strlen(text) + 1;
    int rc = boot_place_table(job, what, len, out, err);

    if (!rc)
        boot_put(job, *out, text, len);
    return rc;
}

int boot_place_file(struct boot_job *job, const struct boot_file *f, const struct boot_wish *where,
                    gpa_t *out, struct error **err)
{
    struct boot_wish w = *where;
    int rc;

    w.what = f->role;
    w.size_bytes = f->size_bytes;
    rc = boot_space_find(&job->space, &w, out, err);
    if (rc)
        return error_wrap(err, "%s '%s'", f->role, f->path);
    return boot_file_load(f, 0, job->target->memory, *out, f->size_bytes, err);
}
