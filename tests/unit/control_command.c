/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control_command.c - the monitor's language, over a machine that is a fake.
 *
 * The functions of machine.h that the commands use are defined here, so the
 * linker takes nothing of the real room.
 */
#include "unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "bus/bus.h"
#include "control/command.h"
#include "display/display.h"
#include "display/input.h"
#include "engine/engine.h"
#include "machine/machine.h"
#include "memory/memory.h"

enum { MIB = 1 << 20 };

struct machine {
    struct memory *memory;
    struct bus *bus;
    struct clock *clock;
    struct input *input;
    struct log log;
    struct x86_cpu_model model;
    struct engine_vm vm;
    struct engine_vcpu vcpu[2];
    struct x86_state s;
    struct device *devices[2];
    struct display *display;
    bool paused;
    unsigned resets, nmis, stops;
};

static const struct engine_ops fake_engine = {.name = "fake", .summary = "nothing runs"};

void machine_describe_engine(struct machine *m, struct strbuf *out)
{
    strbuf_addf(out, "fake details\n");
}

int machine_dump_code(struct machine *m, FILE *out, struct error **err)
{
    fprintf(out, "fake code\n");
    return 0;
}

struct display *machine_display(struct machine *m) { return m->display; }

void machine_pause(struct machine *m) { m->paused = true; }
void machine_resume(struct machine *m) { m->paused = false; }
bool machine_paused(const struct machine *m) { return m->paused; }
void machine_reset(struct machine *m) { m->resets++; }
void machine_nmi(struct machine *m) { m->nmis++; }
int machine_balloon(struct machine *m, uint64_t bytes, struct error **err)
{
    return error_set(err, ENODEV, "there is no balloon");
}

int machine_change_disc(struct machine *m, const char *name, const char *file, bool force,
                        struct error **err)
{
    return error_set(err, ENODEV, "%s, %s, %s", name ? name : "no drive", file ? file : "no file",
                     force ? "force" : "politely");
}

void machine_stop(struct machine *m) { m->stops++; }
static const struct x86_debugger no_points;
const struct x86_debugger *machine_points(const struct machine *m) { return &no_points; }
int machine_point_add(struct machine *m, const struct x86_point *p) { return -ENOSPC; }
int machine_point_remove(struct machine *m, const struct x86_point *p) { return -ENOENT; }
void machine_debug_go(struct machine *m, unsigned only, bool step) {}
struct input *machine_input(struct machine *m) { return m->input; }
struct memory *machine_memory(struct machine *m) { return m->memory; }
struct bus *machine_bus(struct machine *m) { return m->bus; }
const struct engine_ops *machine_engine(struct machine *m) { return &fake_engine; }
struct engine_vm *machine_engine_vm(struct machine *m) { return &m->vm; }
unsigned machine_cpus(struct machine *m) { return 2; }
struct engine_vcpu *machine_vcpu(struct machine *m, unsigned index) { return &m->vcpu[index]; }

int machine_vcpu_state(struct machine *m, unsigned index, struct x86_state *out)
{
    *out = m->s;
    return 0;
}

size_t machine_devices(struct machine *m, struct device **out, size_t max)
{
    memcpy(out, m->devices, sizeof m->devices);
    return 2;
}

/* Virtual addresses are physical ones plus 16 MiB. */
size_t machine_read_virtual(struct machine *m, const struct x86_state *s, gva_t a, void *buf,
                            size_t len)
{
    size_t n = 0;

    while (n < len && memory_read(m->memory, gpa(a.v - 16 * MIB + n), (char *)buf + n, 1) == 0)
        n++;
    return n;
}

struct chip {
    struct device device;
    uint8_t ier;
};
static const struct state_field chip_fields[] = {STATE_U8(struct chip, ier), STATE_END};
static const struct state_desc chip_desc = {"chip", 1, chip_fields};

static const struct state_desc *chip_describe(struct device *dev, void **state)
{
    *state = container_of(dev, struct chip, device);
    return &chip_desc;
}

static const struct device_ops chip_ops = {.type = "chip", .describe = chip_describe};
static struct chip chip = {{&chip_ops, "com1"}, 7}, other = {{&chip_ops, "com2"}, 9};

static int setup(void **state)
{
    struct machine *m = calloc(1, sizeof *m);
    struct bus_region port = {.name = "com1", .base = 0x3f8, .size = 8};

    m->memory = memory_new(MIB, NULL);
    memory_map_ram(m->memory, "ram", gpa(0), 0, MIB, 0, NULL);
    m->bus = bus_new(NULL);
    m->clock = clock_new_manual();
    m->input = input_new(m->clock, NULL);
    bus_add(m->bus, BUS_PIO, &port, NULL);
    m->devices[0] = &chip.device;
    m->devices[1] = &other.device;
    log_init(&m->log, -1);
    m->model.name = "fake-cpu";
    m->model.leaves = 1;
    m->model.leaf[0] = (struct x86_cpuid_leaf){.leaf = 1, .eax = 0xabcd};
    m->vm.config.log = &m->log;
    m->vm.config.model = &m->model;
    m->s.rip = 16 * MIB + 0x1000;
    m->s.gpr[X86_RSP] = 16 * MIB + 0x2000;
    m->s.msr.efer = X86_EFER_LMA;
    m->s.seg[X86_CS].attr = X86_ATTR_L;
    *state = m;
    return 0;
}

static int teardown(void **state)
{
    struct machine *m = *state;

    memory_free(m->memory);
    bus_free(m->bus);
    input_free(m->input);
    clock_free(m->clock);
    free(m);
    return 0;
}

/* Runs a line; the result and what it printed (until the next call). */
static struct strbuf out;

static int execute(struct machine *m, const char *line)
{
    strbuf_clear(&out);
    int r = command_execute(m, line, &out);
    assert_true(out.len == 0 || out.text[out.len - 1] == '\n');
    return r;
}

static void expect(struct machine *m, const char *line, const char *text)
{
    assert_int_equal(execute(m, line), 0);
    if (strcmp(strbuf_text(&out), text) != 0)
        fail_msg("%s\nprinted:  %s\nexpected: %s", line, strbuf_text(&out), text);
}

static void expect_part(struct machine *m, const char *line, int result, const char *text)
{
    assert_int_equal(execute(m, line), result);
    if (!strstr(strbuf_text(&out), text))
        fail_msg("%s\nprinted: %s\nlacks:   %s", line, strbuf_text(&out), text);
}

static void lines_are_taken_apart(void **state)
{
    struct machine *m = *state;
    char line[800];

    expect(m, "", "");
    expect(m, "  \t ", "");
    expect(m, "  pause  ", "paused\n");
    assert_true(m->paused);
    expect_part(m, "puase", -EINVAL, "there is no command 'puase'; did you mean 'pause'?");
    expect_part(m, "frobnicate", -EINVAL, "'help' lists them");
    expect_part(m, "a b c d e f g h i j k l m n o p q", -EINVAL, "too many words");
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\0';
    expect_part(m, line, -EINVAL, "too long");
    memset(line, '/', sizeof line - 1);
    expect_part(m, line, -EINVAL, "too long");
}

static void every_command_is_in_help(void **state)
{
    struct machine *m = *state;

    assert_int_equal(execute(m, "help"), 0);
    for (const struct command *c = command_table; c->name; c++)
        assert_non_null(strstr(out.text, c->name));
    for (const struct command *c = command_info_table; c->name; c++)
        assert_non_null(strstr(out.text, c->name));
}

static void commands_reach_the_machine(void **state)
{
    struct machine *m = *state;

    expect(m, "pause", "paused\n");
    expect(m, "continue", "running\n");
    assert_false(m->paused);
    expect(m, "reset", "reset\n");
    assert_int_equal(m->resets, 1);
    expect(m, "nmi", "");
    assert_int_equal(m->nmis, 1);
    expect(m, "quit", "");
    assert_int_equal(m->stops, 1);
    expect(m, "trace irq,msr", "");
    assert_int_equal(m->log.trace_mask, 1u << LOG_IRQ | 1u << LOG_MSR);
    expect(m, "trace none", "");
    assert_int_equal(m->log.trace_mask, 0);
    expect_part(m, "trace irk", -EINVAL, "did you mean 'irq'?");
    expect_part(m, "trace", -EINVAL, "trace what?");
}

static void info_shows(void **state)
{
    struct machine *m = *state;

    counter_add(&m->vcpu[0].counters, COUNTER_exits, 5);
    counter_add(&m->vcpu[1].counters, COUNTER_exits, 7);
    expect_part(m, "info exits", 0, "exits                        12 (5 7)  returns");
    expect(m, "info devices", "com1         chip\ncom2         chip\n");
    expect(m, "info devices com2", "ier = 0x9\n");
    expect_part(m, "info devices com3", -EINVAL, "there is no device 'com3'");
    expect(m, "info bus", "port 03f8-03ff  com1\n");
    expect(m, "info memory", "000000000000-0000000fffff       1024 KiB  ram\n");
    expect(m, "info engine", "fake: nothing runs\n2 vCPU(s), running\nfake details\n");
    expect_part(m, "info cpuid", 0, "00000001 00000000  0000abcd 00000000");
    expect_part(m, "info registers", 0, "vCPU 1\n");
    expect_part(m, "info registres", -EINVAL, "did you mean 'registers'?");
    expect_part(m, "info", -EINVAL, "info exits");
}

static void memory_in_every_format(void **state)
{
    struct machine *m = *state;
    static const uint8_t bytes[] = {0xfe, 0xff, 0xff, 0xff, 'A', '"', 0, 0x80};

    memory_write(m->memory, gpa(0x2000), bytes, sizeof bytes);
    expect(m, "xp 0x2000", "0x0000000000002000:  0xfffffffe\n");
    expect(m, "xp /2 0x2000", "0x0000000000002000:  0xfffffffe 0x80002241\n");
    expect(m, "x/2wd $rsp", "0x0000000001002000:  -2 -2147474879\n");
    expect(m, "x /1uh $rsp+2", "0x0000000001002002:  65535\n");
    expect(m, "xp/xg 0x2000", "0x0000000000002000:  0x80002241fffffffe\n");
    expect(m, "xp/ob 8192", "0x0000000000002000:  0376\n");
    expect(m, "xp/2db 0x2000", "0x0000000000002000:  -2 -1\n");
    expect(m, "xp/3c 0x2004", "0x0000000000002004:  'A' '\\x22' '\\x00'\n");
    expect(m, "xp/2s 0x2004", "0x0000000000002004:  \"A\\x22\"\n"
                              "0x0000000000002007:  \"\\x80\"\n");
    expect(m, "xp/0x 0x2000", "");
    /* Sixteen bytes to a line. */
    expect(m, "xp/5xw 0x3000", "0x0000000000003000:  0x00000000 0x00000000 0x00000000 0x00000000\n"
                               "0x0000000000003010:  0x00000000\n");
}

static void code_is_disassembled(void **state)
{
    struct machine *m = *state;
    static const uint8_t code[] = {0x90, 0x48, 0x89, 0xd8, 0xf4};

    memory_write(m->memory, gpa(0x1000), code, sizeof code);
    expect(m, "x /3i $rip", "0x0000000001001000:  nop\n"
                            "0x0000000001001001:  mov rax, rbx\n"
                            "0x0000000001001004:  hlt\n");
    /* In 16-bit code the same bytes are something else. */
    m->s.msr.efer = 0;
    m->s.seg[X86_CS].attr = 0;
    expect_part(m, "xp/2i 0x1000", 0, "dec ax\n");
    m->s.seg[X86_CS].base = 0x10;
    m->s.rip = 16 * MIB + 0xff0;
    expect_part(m, "x/i $rip", 0, "0x0000000001001000:  nop\n");
}

static void bad_requests(void **state)
{
    struct machine *m = *state;

    expect_part(m, "x", -EINVAL, "usage: x [/NFU] ADDRESS");
    expect_part(m, "x /4x", -EINVAL, "usage");
    expect_part(m, "x /4x 1 2", -EINVAL, "usage");
    expect_part(m, "x /4z 0", -EINVAL, "format 'z'");
    expect_part(m, "x /5000x 0", -EINVAL, "at most");
    expect_part(m, "x /99999999999999999999x 0", -EINVAL, "at most");
    expect_part(m, "x rip", -EINVAL, "'rip' is not an address");
    expect_part(m, "x $rix", -EINVAL, "is not an address");
    expect_part(m, "x $", -EINVAL, "is not an address");
    expect_part(m, "x 0x", -EINVAL, "is not an address");
    expect_part(m, "x 1+", -EINVAL, "is not an address");
    expect_part(m, "x -1", -EINVAL, "is not an address");
    expect_part(m, "x 12z", -EINVAL, "is not an address");
    expect_part(m, "x 0x1000", -EFAULT, "there is no mapped memory at 0x1000");
    expect_part(m, "xp/i 0x100000", -EFAULT, "there is no physical memory at 0x100000");
    expect_part(m, "xp/s 0x100000", -EFAULT, "there is no physical");
    /* Up to the edge, then the complaint. */
    expect_part(m, "xp/3xw 0xffff8", -EFAULT, "0x00000000000ffff8:  0x00000000 0x00000000\nthere");
    expect_part(m, "xp $rsp-0x1000000-0x2000", 0, "0x0000000000000000:  0x00000000");
}

static bool hear_key(void *opaque, unsigned code, bool down)
{
    strbuf_addf(opaque, "%c%u ", down ? '+' : '-', code);
    return true;
}

static bool hear_pointer(void *opaque, const struct input_pointer *p)
{
    strbuf_addf(opaque, "%d,%d,%d,%u ", p->dx, p->dy, p->wheel, p->buttons);
    return true;
}

static void keys_and_mouse(void **state)
{
    struct machine *m = *state;
    struct strbuf heard = {0};
    struct input_sink sink = {hear_key, hear_pointer, &heard, NULL};

    input_add(m->input, &sink);
    expect(m, "keys a <f1>", "");
    for (unsigned i = 0; i < 10; i++) {
        clock_advance(m->clock, INPUT_TYPE_NS);
        clock_run_timers(m->clock);
    }
    assert_string_equal(strbuf_text(&heard), "+30 -30 +57 -57 +59 -59 ");
    strbuf_clear(&heard);
    expect(m, "mouse 10 -5", "");
    expect(m, "mouse 0 0 lm -1", "");
    assert_string_equal(strbuf_text(&heard), "10,-5,0,0 0,0,-1,5 ");
    expect(m, "info input", "keyboard: yes, 0 keys wait, 0 to be typed, 0 dropped\n"
                            "pointer: yes, 0 events wait\n");
    expect_part(m, "keys", -EINVAL, "keys TEXT");
    expect_part(m, "keys <entre>", -EINVAL, "did you mean 'enter'");
    expect_part(m, "mouse 1", -EINVAL, "mouse DX DY");
    expect_part(m, "mouse 1 1x", -EINVAL, "mouse DX DY");
    expect_part(m, "mouse 1 1 q", -EINVAL, "mouse DX DY");
    expect_part(m, "mouse 99999 1", -EINVAL, "mouse DX DY");
    strbuf_fini(&heard);
}

static int group_teardown(void **state)
{
    strbuf_fini(&out);
    return 0;
}

static void dump_blocks(void **state)
{
    struct machine *m = *state;
    char line[64], text[32];
    FILE *f = tmpfile();

    assert_non_null(f);
    snprintf(line, sizeof line, "dump-blocks /proc/self/fd/%d", fileno(f));
    expect(m, line, "");
    rewind(f);
    assert_non_null(fgets(text, sizeof text, f));
    assert_string_equal(text, "fake code\n");
    fclose(f);
    expect_part(m, "dump-blocks", -EINVAL, "which FILE");
    expect_part(m, "dump-blocks /nonexistent/x", -EINVAL, "cannot open '/nonexistent/x'");
}

static bool screen_text(void *graphics, struct strbuf *text)
{
    if (!*(bool *)graphics)
        strbuf_addf(text, "login:\n");
    return !*(bool *)graphics;
}

static void the_screen(void **state)
{
    struct machine *m = *state;
    bool graphics = false;
    const struct display_card card = {.text = screen_text, .opaque = &graphics};
    char line[64], head[16] = "";
    FILE *f = tmpfile();

    assert_non_null(f);
    expect_part(m, "screen-text", -EINVAL, "no screen");
    expect_part(m, "screenshot x.png", -EINVAL, "no screen");
    m->display = display_new(&card, NULL);
    expect(m, "screen-text", "login:\n");
    graphics = true;
    expect_part(m, "screen-text", -EINVAL, "a picture of 640x400, not text");
    snprintf(line, sizeof line, "screenshot /proc/self/fd/%d", fileno(f));
    expect(m, line, "");
    rewind(f);
    assert_int_equal(fread(head, 1, sizeof head, f), sizeof head);
    assert_memory_equal(head, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", sizeof head);
    fclose(f);
    expect_part(m, "screenshot", -EINVAL, "which FILE");
    expect_part(m, "screenshot /nonexistent/x.png", -ENOENT, "cannot open '/nonexistent/x.png'");
    expect_part(m, "screenshot /dev/full", -ENOSPC, "cannot write '/dev/full'");
    display_free(m->display);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(lines_are_taken_apart),
        TEST(every_command_is_in_help),
        TEST(commands_reach_the_machine),
        TEST(info_shows),
        TEST(keys_and_mouse),
        TEST(memory_in_every_format),
        TEST(code_is_disassembled),
        TEST(bad_requests),
        TEST(dump_blocks),
        TEST(the_screen),
    };
    return cmocka_run_group_tests(tests, NULL, group_teardown);
}
