/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cgroup.c - a control group for one process (Linux Documentation/admin-guide: cgroup-v2
 * "CPU", cgroup-v1 and scheduler/sched-bwc).
 */
#include "cli/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/error.h"

enum { PERIOD_US = 100000, WEIGHT_DEFAULT = 100, SHARES_DEFAULT = 1024, PER_CENT = 100 };

static const char v2_root[] = "/sys/fs/cgroup", v1_root[] = "/sys/fs/cgroup/cpu";

static int write_file(const char *directory, const char *file, const char *text)
{
    char path[512];
    int fd, rc = 0;

    snprintf(path, sizeof path, "%s/%s", directory, file);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (write(fd, text, strlen(text)) < 0)
        rc = -errno;
    close(fd);
    return rc;
}

static int write_number(const char *directory, const char *file, uint64_t n)
{
    char text[24];

    snprintf(text, sizeof text, "%llu", (unsigned long long)n);
    return write_file(directory, file, text);
}

/* The path behind "0::" or "...:cpu:" in /proc/self/cgroup; the caller frees. */
static char *own_path(bool v2)
{
    char line[512], *path = NULL;
    FILE *f = fopen("/proc/self/cgroup", "re");

    while (f && !path && fgets(line, sizeof line, f)) {
        char *controllers = strchr(line, ':');
        char *at = controllers ? strchr(controllers + 1, ':') : NULL;

        if (!at)
            continue;
        *at++ = 0;
        at[strcspn(at, "\n")] = 0;
        if (v2 ? !strcmp(line, "0:") : !strcmp(controllers + 1, "cpu") ||
                                           !strcmp(controllers + 1, "cpu,cpuacct"))
            path = strdup(at);
    }
    if (f)
        fclose(f);
    return path;
}

/* A group beside ours: in a version 2 group that has processes no other may be. */
static void choose_place(struct cgroup *g, bool v2)
{
    const char *root = v2 ? v2_root : v1_root;
    char *path = own_path(v2);
    const char *under = path && strcmp(path, "/") != 0 ? path : "";
    size_t len = strlen(root) + strlen(under), size = len + 32;

    g->home = malloc(size);
    g->own = malloc(size);
    BUG_ON(!g->home || !g->own);
    snprintf(g->home, size, "%s%s", root, under);
    while (v2 && *under && g->home[--len] != '/')
        ;
    snprintf(g->own, size, "%.*s/ring3-%d", (int)len, g->home, (int)getpid());
    free(path);
}

static int set_limits(const struct cgroup *g, bool v2, uint64_t weight, uint64_t max_percent)
{
    const uint64_t quota = max_percent * PERIOD_US / PER_CENT;
    char text[48];
    int rc = 0;

    if (weight)
        rc = v2 ? write_number(g->own, "cpu.weight", weight)
                : write_number(g->own, "cpu.shares", weight * SHARES_DEFAULT / WEIGHT_DEFAULT);
    if (rc || !max_percent)
        return rc;
    snprintf(text, sizeof text, "%llu %d", (unsigned long long)quota, PERIOD_US);
    if (v2)
        return write_file(g->own, "cpu.max", text);
    rc = write_number(g->own, "cpu.cfs_period_us", PERIOD_US);
    return rc ? rc : write_number(g->own, "cpu.cfs_quota_us", quota);
}

int cgroup_enter(struct cgroup *g, uint64_t weight, uint64_t max_percent, struct error **err)
{
    bool v2 = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
    int rc = 0;

    if (!weight && !max_percent)
        return 0;
    choose_place(g, v2);
    if (mkdir(g->own, 0755) < 0)
        rc = -errno;
    if (!rc && v2) {                 /* no harm if it is on already */
        char *slash = strrchr(g->own, '/');

        *slash = 0;
        rc = write_file(g->own, "cgroup.subtree_control", "+cpu");
        *slash = '/';
    }
    if (!rc)
        rc = set_limits(g, v2, weight, max_percent);
    if (!rc)
        rc = write_number(g->own, "cgroup.procs", (uint64_t)getpid());
    if (!rc)
        return 0;
    error_set(err, -rc, "cannot limit the CPU by control group '%s': %s", g->own, strerror(-rc));
    error_hint(err, "it takes root, or a group that is delegated (systemd-run --user --scope -p "
               "Delegate=yes)");
    cgroup_leave(g);
    return rc;
}

void cgroup_leave(struct cgroup *g)
{
    if (g->own) {
        (void)!write_number(g->home, "cgroup.procs", (uint64_t)getpid());
        rmdir(g->own);
    }
    free(g->home);
    free(g->own);
    *g = (struct cgroup){0};
}
