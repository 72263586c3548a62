/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fault.c - fails, delays, tears, or kills at the n-th request (block/fault.h).
 *
 * It has no asynchronous way: a worker performs everything, which is also what lets
 * it sleep. Its own node below is a protocol node like itself.
 */
#include "block/fault.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/error.h"
#include "block/drivers.h"
#include "block/node.h"

enum { RULES_MAX = 16, ANY = BLOCK_OPS, CHANGE, COUNTS };
static const char *const op_names[] = {"read", "write", "flush", "discard", "zero", "any",
                                       "change", NULL};

enum action { FAIL, LATE, DELAY, TORN, KILL, TORNKILL };

struct rule {
    unsigned op;
    uint64_t nth;
    bool onwards;
    enum action action;
    int code;                        /* FAIL */
    unsigned ms;                     /* DELAY */
};

struct fault {
    struct block *inner;
    struct rule rule[RULES_MAX];
    unsigned rules;
    _Atomic uint64_t count[COUNTS];
};

static bool parse_action(struct rule *rule, const char *text)
{
    static const struct { const char *name; int code; } codes[] = {
        {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EROFS", EROFS}, {"ENOTSUP", ENOTSUP}};
    static const struct { const char *name; enum action action; } actions[] = {
        {"late", LATE}, {"torn", TORN}, {"kill", KILL}, {"tornkill", TORNKILL}};
    char *end;

    for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
        if (strcmp(text, codes[i].name) == 0) {
            rule->code = codes[i].code;
            return true;
        }
    for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
        if (strcmp(text, actions[i].name) == 0) {
            rule->action = actions[i].action;
            return true;
        }
    rule->action = DELAY;
    rule->ms = (unsigned)strtoul(text, &end, 10);
    return end != text && strcmp(end, "ms") == 0;
}

static bool parse_rule(struct rule *rule, char *text)
{
    char *at = strchr(text, '@'), *end;

    *rule = (struct rule){.op = COUNTS, .action = FAIL, .code = EIO};
    if (!at)
        return false;
    *at++ = 0;
    for (unsigned i = 0; op_names[i]; i++)
        if (strcmp(text, op_names[i]) == 0)
            rule->op = i;
    rule->nth = strtoull(at, &end, 10);
    rule->onwards = *end == '+';
    end += rule->onwards;
    if (rule->op == COUNTS || !rule->nth || (*end && *end != '='))
        return false;
    return !*end || parse_action(rule, end + 1);
}

static int parse_rules(struct fault *f, const char *text, size_t len, struct error **err)
{
    char *copy = strndup(text, len), *save = NULL;
    int rc = 0;

    BUG_ON(!copy);
    f->rules = 0;
    for (char *word = strtok_r(copy, ",", &save); word && !rc; word = strtok_r(NULL, ",", &save)) {
        if (f->rules == RULES_MAX || !parse_rule(&f->rule[f->rules++], word))
            rc = error_set(err, EINVAL, "'%s' is no rule of the fault protocol", word);
    }
    free(copy);
    return rc;
}

static const char *const fault_schemes[] = {"fault:", NULL};

static int fault_open(struct block *b, const struct block_open *how, struct error **err)
{
    const char *rules = b->name + strlen(fault_schemes[0]);
    const char *colon = strchr(rules, ':');
    struct block_open inner = *how;
    struct fault *f = calloc(1, sizeof *f);

    BUG_ON(!f);
    if (!colon) {
        free(f);
        return error_set(err, EINVAL, "'%s' is not fault:RULES:NAME", b->name);
    }
    int rc = parse_rules(f, rules, (size_t)(colon - rules), err);
    if (!rc) {
        inner.name = colon + 1;
        f->inner = node_open_protocol(b->io, &inner, err);
        rc = f->inner ? 0 : err && *err ? -(*err)->code : -EIO;
    }
    if (rc) {
        free(f);
        return rc;
    }
    b->state = f;
    return 0;
}

static int fault_close(struct block *b, struct error **err)
{
    struct fault *f = b->state;
    int rc = block_close(f->inner, err);

    free(f);
    return rc;
}

static void fault_info(const struct block *b, struct block_info *out)
{
    const struct fault *f = b->state;

    f->inner->driver->info(f->inner, out);
}

/* The first rule that this request, the n-th of its kinds, meets. */
static const struct rule *matching(struct fault *f, enum block_op op)
{
    uint64_t nth[COUNTS] = {0};

    nth[op] = atomic_fetch_add(&f->count[op], 1) + 1;
    nth[ANY] = atomic_fetch_add(&f->count[ANY], 1) + 1;
    if (op != BLOCK_READ)
        nth[CHANGE] = atomic_fetch_add(&f->count[CHANGE], 1) + 1;
    for (unsigned i = 0; i < f->rules; i++) {
        const struct rule *r = &f->rule[i];
        uint64_t n = nth[r->op];
        if (n && (n == r->nth || (r->onwards && n > r->nth)))
            return r;
    }
    return NULL;
}

static void write_half(struct fault *f, const struct block_request *r)
{
    struct block_request half = *r;
    uint64_t got;

    if (r->op != BLOCK_WRITE || r->bytes < 2)
        return;
    struct iovec *iov = calloc(r->iovs, sizeof *iov);
    BUG_ON(!iov);
    half.iovs = iov_slice(r->iov, r->iovs, 0, r->bytes / 2, iov, r->iovs, &got);
    half.iov = iov;
    half.bytes = got;
    node_perform(f->inner, &half);
    free(iov);
}

static int fault_perform(struct block *b, const struct block_request *r)
{
    struct fault *f = b->state;
    const struct rule *rule = matching(f, r->op);

    if (!rule)
        return node_perform(f->inner, r);
    if (rule->action == TORN || rule->action == TORNKILL)
        write_half(f, r);
    if (rule->action == KILL || rule->action == TORNKILL)
        kill(getpid(), SIGKILL);
    if (rule->action == LATE)
        node_perform(f->inner, r);
    if (rule->action != DELAY)
        return -rule->code;
    nanosleep(&(struct timespec){.tv_sec = rule->ms / 1000,
                                 .tv_nsec = rule->ms % 1000 * 1000000L}, NULL);
    return node_perform(f->inner, r);
}

static int fault_resize(struct block *b, uint64_t bytes, struct error **err)
{
    struct fault *f = b->state;

    return node_resize(f->inner, bytes, err);
}

static int fault_map(struct block *b, uint64_t offset, uint64_t bytes, struct block_extent *out)
{
    struct fault *f = b->state;

    if (f->inner->driver->map)
        return f->inner->driver->map(f->inner, offset, bytes, out);
    *out = (struct block_extent){.bytes = bytes,
                                 .flags = BLOCK_EXTENT_DATA | BLOCK_EXTENT_ALLOCATED};
    return 0;
}

static int fault_make(const char *name, bool replace, struct error **err)
{
    const char *colon = strchr(name + strlen(fault_schemes[0]), ':');
    const struct block_driver *inner = colon ? block_protocol_for(colon + 1) : NULL;

    if (!inner || !inner->make)
        return error_set(err, EINVAL, "'%s' is not fault:RULES:FILE", name);
    return inner->make(colon + 1, replace, err);
}

static void fault_unmake(const char *name)
{
    const char *colon = strchr(name + strlen(fault_schemes[0]), ':');
    const struct block_driver *inner = block_protocol_for(colon + 1);

    inner->unmake(colon + 1);
}

static struct fault *find(const struct block *b)
{
    while (b->driver != &block_fault) {
        b = b->below;
        BUG_ON(!b);
    }
    return b->state;
}

uint64_t block_fault_count(const struct block *b, enum block_op op)
{
    return atomic_load(&find(b)->count[op]);
}

int block_fault_rules(struct block *b, const char *rules, struct error **err)
{
    struct fault *f = find(b);

    for (unsigned i = 0; i < COUNTS; i++)
        atomic_store(&f->count[i], 0);
    return parse_rules(f, rules, strlen(rules), err);
}

const struct block_driver block_fault = {
    .name = "fault",
    .summary = "another protocol with errors on purpose, for tests",
    .schemes = fault_schemes,
    .open = fault_open,
    .close = fault_close,
    .info = fault_info,
    .perform = fault_perform,
    .make = fault_make,
    .unmake = fault_unmake,
    .resize = fault_resize,
    .map = fault_map,
};
