/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main.c - instruction tests: options, the loop, and what happens to a failure.
 *
 *     isa --engine interp --mode 64 --seed 1 --instructions 1000000
 *     isa --engine interp cases/flags.txt
 *     isa --engine dbt --seed 1 --sequences 1000000
 *
 * A mismatch is run again (an interrupt may have cleared x87 pointers under the
 * bare processor), then made smaller, shown, and can be had again with
 * --seed S --index I.
 */
#include "isa.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/error.h"

enum { SKIP = 77, RETRIES = 3 };

struct options {
    const char *engine, *only, *lacking;
    uint64_t seed, index, instructions;
    uint64_t sequences;          /* executions of them, in all; 0: straight cases */
    bool one;                    /* --index given */
    int mode;                    /* -1: all */
    unsigned length, failures;   /* stop after so many */
    struct isa_compare_options compare;
    bool verbose, garbage;
};

struct test {
    struct options o;
    struct isa_runner *host, *guest;
    uint64_t features;
    uint64_t cases, executed, unstable, endless;
    uint64_t turns;              /* executions of sequences */
    uint64_t ended[32];          /* by vector */
    unsigned failed;
};

/* ---- one case ---------------------------------------------------------- */

static bool run_both(struct test *t, const struct isa_case *c, struct isa_result *a,
                     struct isa_result *b)
{
    isa_case_image(c, t->host->image);
    isa_case_image(c, t->guest->image);
    t->host->run(t->host, c, a);
    t->guest->run(t->guest, c, b);
    return isa_equal(c, &t->o.compare, a, b, t->host->image, t->guest->image);
}

static bool agrees(struct test *t, const struct isa_case *c, struct isa_result *a,
                   struct isa_result *b)
{
    if (run_both(t, c, a, b))
        return true;
    for (unsigned i = 0; i < RETRIES; i++) {
        if (run_both(t, c, a, b)) {
            t->unstable++;
            return true;
        }
    }
    return false;
}

/* Replaces instructions by NOPs while it still fails. */
static void minimise(struct test *t, struct isa_case *c)
{
    struct isa_result a, b;

    for (unsigned i = c->insns; i-- > 0;) {
        struct isa_case smaller = *c;
        const struct isa_insn *n = &c->insn[i];

        memset(smaller.code + n->at, 0x90, n->length);
        if (isa_case_scan(&smaller) < 0)
            continue;
        /* The index into insn[] stays valid: only what follows i was split. */
        if (!agrees(t, &smaller, &a, &b))
            *c = smaller;
    }
}

static void report(struct test *t, const struct isa_case *c)
{
    struct isa_case small = *c;
    struct isa_result a, b;

    t->failed++;
    minimise(t, &small);
    agrees(t, &small, &a, &b);
    printf("MISMATCH: ");
    isa_print_case(&small);
    isa_print_difference(&small, &t->o.compare, t->host, &a, t->guest, &b);
    fflush(stdout);
}

static void run_case(struct test *t, const struct isa_case *given)
{
    struct isa_result a, b;
    struct isa_case c = *given;

    isa_limit_registers(t->features, &c.in);
    if (t->o.verbose)
        isa_print_case(&c);
    if (!agrees(t, &c, &a, &b))
        report(t, &c);
    t->cases++;
    t->executed += isa_executed(&c, &a);
    t->ended[a.vector & 31]++;
}

/* ---- random ------------------------------------------------------------ */

static void run_mode(struct test *t, enum isa_mode mode)
{
    struct isa_gen_options g = {t->o.seed, mode, t->o.length, t->o.only, t->features,
                                t->o.garbage};
    uint64_t until = t->executed + t->o.instructions;
    struct isa_case c;

    if (t->o.one) {
        isa_generate(&g, t->o.index, &c);
        run_case(t, &c);
        return;
    }
    for (uint64_t i = 0; t->executed < until && t->failed < t->o.failures; i++) {
        isa_generate(&g, i, &c);
        run_case(t, &c);
    }
}

/* ---- sequences --------------------------------------------------------- */

static bool hot_agrees(struct test *t, const struct isa_case *c, struct isa_hot_result *r)
{
    for (unsigned i = 0; i <= RETRIES; i++) {
        if (isa_hot_run(c, t->host, t->guest, &t->o.compare, r)) {
            t->unstable += i > 0;
            return true;
        }
    }
    return false;
}

static void hot_report(struct test *t, const struct isa_case *c)
{
    struct isa_case small = *c;
    struct isa_hot_result r;

    t->failed++;
    for (unsigned i = c->insns; i-- > 0;) {
        struct isa_case smaller = small;

        isa_sequence_remove(&smaller, i);
        if (!hot_agrees(t, &smaller, &r) && !r.b.failed[0] == !r.a.failed[0])
            small = smaller;
    }
    hot_agrees(t, &small, &r);
    printf("MISMATCH in phase %u%s, %s, turns left %u and %u: ", r.phase,
           r.resumed ? " (going on after a fault)" : "", r.event,
           isa_sequence_turns(t->host->image), isa_sequence_turns(t->guest->image));
    isa_case_scan(&r.c);
    isa_print_case(&r.c);
    isa_print_difference(&r.c, &t->o.compare, t->host, &r.a, t->guest, &r.b);
    fflush(stdout);
}

static void run_sequence(struct test *t, const struct isa_gen_options *g, uint64_t index)
{
    struct isa_hot_result r;
    struct isa_case c;

    isa_sequence(g, index, &c);
    isa_limit_registers(t->features, &c.in);
    t->cases++;
    if (index % 8 && !isa_sequence_settle(&c, t->host)) {
        t->endless++;
        return;
    }
    if (t->o.verbose)
        isa_print_case(&c);
    if (!hot_agrees(t, &c, &r))
        hot_report(t, &c);
    t->endless += r.endless;
    t->turns += r.turns;
    for (unsigned v = 0; v < 32; v++)
        t->ended[v] += r.ended[v];
}

static void run_sequences(struct test *t, enum isa_mode mode)
{
    struct isa_gen_options g = {t->o.seed, mode, t->o.length, t->o.only, t->features, false};
    uint64_t until = t->turns + t->o.sequences;

    if (t->o.one)
        run_sequence(t, &g, t->o.index);
    for (uint64_t i = 0; !t->o.one && t->turns < until && t->failed < t->o.failures; i++)
        run_sequence(t, &g, i);
}

static void summary(const struct test *t)
{
    if (t->turns)
        printf("%s: %llu executions of %llu sequences, %llu endless", t->guest->name,
               (unsigned long long)t->turns, (unsigned long long)t->cases,
               (unsigned long long)t->endless);
    else
        printf("%s: %llu instructions in %llu cases", t->guest->name,
               (unsigned long long)t->executed, (unsigned long long)t->cases);
    printf(", %u mismatches, %llu unstable; ended with", t->failed,
           (unsigned long long)t->unstable);
    for (unsigned v = 0; v < 32; v++) {
        if (t->ended[v])
            printf(" #%u: %llu", v, (unsigned long long)t->ended[v]);
    }
    printf("\n");
}

/* ---- options ----------------------------------------------------------- */

static void usage(void)
{
    puts("isa [--engine plain|interp|dbt|kvm] [--mode 64|32|16|all] [--seed S|fresh] [--index I]\n"
         "    [--instructions N | --sequences N] [--length N] [--only MNEMONIC] [--undefined]\n"
         "    [--garbage] [--failures N] [--verbose] [--host-features LIST] [FILE of cases...]");
}

static bool parse_number(const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 0);
    return !errno && end != text && !*end;
}

static bool parse_option(struct options *o, int c, const char *arg)
{
    uint64_t n = 0;

    switch (c) {
    case 'e': o->engine = arg; return true;
    case 'o': o->only = arg; return true;
    case 'h': o->lacking = arg; return true;
    case 'u': o->compare.undefined = true; return true;
    case 'g': o->garbage = true; return true;
    case 'v': o->verbose = true; return true;
    case 'm':
        o->mode = !strcmp(arg, "64")   ? ISA_MODE_64
                  : !strcmp(arg, "32") ? ISA_MODE_32
                  : !strcmp(arg, "16") ? ISA_MODE_16
                                       : -1;
        return o->mode >= 0 || !strcmp(arg, "all");
    case 's':
        if (!strcmp(arg, "fresh")) {
            struct timespec now;

            clock_gettime(CLOCK_REALTIME, &now);
            o->seed = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
            return true;
        }
        return parse_number(arg, &o->seed);
    case 'i': o->one = true; return parse_number(arg, &o->index);
    case 'q': return parse_number(arg, &o->sequences);
    case 'n': return parse_number(arg, &o->instructions);
    case 'l': return parse_number(arg, &n) && (o->length = (unsigned)n) > 0;
    case 'f': return parse_number(arg, &n) && (o->failures = (unsigned)n) > 0;
    default: return false;
    }
}

static bool parse(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {
        {"engine", 1, NULL, 'e'}, {"mode", 1, NULL, 'm'}, {"seed", 1, NULL, 's'},
        {"index", 1, NULL, 'i'}, {"instructions", 1, NULL, 'n'}, {"length", 1, NULL, 'l'},
        {"only", 1, NULL, 'o'}, {"undefined", 0, NULL, 'u'}, {"failures", 1, NULL, 'f'},
        {"sequences", 1, NULL, 'q'}, {"garbage", 0, NULL, 'g'}, {"host-features", 1, NULL, 'h'},
        {"verbose", 0, NULL, 'v'}, {NULL, 0, NULL, 0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0) {
        if (!parse_option(o, c, optarg))
            return false;
    }
    return true;
}

static int skip(struct error **err)
{
    char *text = error_text(*err);

    printf("skipped: %s\n", text);
    free(text);
    error_free(err);
    return SKIP;
}

static void file_case(void *opaque, const struct isa_case *c)
{
    run_case(opaque, c);
}

static int run(struct test *t, int files, char **file, struct error **err)
{
    for (int i = 0; i < files; i++) {
        if (isa_text_read(file[i], file_case, t, err) < 0)
            return -1;
    }
    if (files)
        return 0;
    printf("seed %llu\n", (unsigned long long)t->o.seed);
    fflush(stdout);
    for (enum isa_mode m = 0; m < ISA_MODES; m++) {
        if (t->o.mode >= 0 && m != (enum isa_mode)t->o.mode)
            continue;
        if (!isa_host_has_mode(t->host, m))
            printf("no %u-bit code: modify_ldt is not to be had here\n", isa_mode_bits(m));
        else if (t->o.sequences)
            run_sequences(t, m);
        else
            run_mode(t, m);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct test t = {.o = {.engine = "interp", .seed = 1, .instructions = 100000, .mode = -1,
                           .failures = 5}};
    struct error *err = NULL;
    int status;

    if (!parse(&t.o, argc, argv)) {
        usage();
        return 2;
    }
#ifdef __SANITIZE_THREAD__
    puts("skipped: the thread sanitizer claims the addresses that cases live at");
    return SKIP;
#endif
    t.host = isa_host_open(&err);          /* before the engine: its handlers come first */
    if (!t.host)
        return skip(&err);
    t.guest = !strcmp(t.o.engine, "plain") ? isa_plain_open(&err)
                                           : isa_engine_open(t.o.engine, t.o.lacking, &err);
    if (!t.guest) {
        t.host->close(t.host);
        return skip(&err);
    }
    t.features = t.guest->features;
    if (run(&t, argc - optind, argv + optind, &err) < 0) {
        char *text = error_text(err);

        fprintf(stderr, "isa: %s\n", text);
        free(text);
        error_free(&err);
        t.failed++;
    }
    summary(&t);
    status = t.failed ? 1 : 0;
    t.guest->close(t.guest);
    t.host->close(t.host);
    return status;
}
