/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mc146818.c - MC146818A real-time clock with 128 bytes of CMOS memory.
 *
 * Follows Motorola's data sheet (ADI1024R1) with the century byte at 0x32 that
 * PCs added. The clock is not stepped once a second. While it runs, the time
 * registers are computed from the VM's clock when they are read; while it is
 * stopped (SET, or the divider held in reset) they are plain bytes. Flags of
 * register C that nobody waits for are brought up to date when C is read; a
 * host timer runs only for interrupts that are enabled and not yet raised.
 *
 * The day of the week follows from the date, whatever a guest writes to it.
 */
#include "device/mc146818.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "bus/claims.h"

enum { SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, DAY_OF_WEEK,
       DAY_OF_MONTH, MONTH, YEAR, REG_A, REG_B, REG_C, REG_D, CENTURY = MC146818_CENTURY };
enum { A_UIP = 0x80, A_DV = 0x70, A_DV_RUN = 0x20, A_RS = 0x0f };
enum { B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_DM = 0x04, B_24H = 0x02 };
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10, C_FLAGS = 0x70 };
enum { D_VRT = 0x80, HOUR_PM = 0x80, ALARM_ANY = 0xc0, NMI_MASK = 0x80 };
enum { MINUTE_S = 60, HOUR_S = 3600, DAY_S = 86400, CRYSTAL_HZ = 32768, UIP_NS = 244000 };

#define NS_PER_S 1000000000ull

struct mc146818_state {
    uint8_t cmos[MC146818_CMOS_BYTES];   /* the time registers only while stopped */
    uint8_t index;                       /* as written to port 0x70, bit 7 included */
    uint64_t base_s;                     /* time of day at clock time 0, two's complement */
    uint32_t base_ns;                    /* and the fraction */
    uint64_t synced_ns;                  /* clock time up to which the C flags are right */
};

struct mc146818 {
    struct device dev;
    struct mc146818_state state;
    struct mc146818_config config;
    uint8_t initial[MC146818_CMOS_BYTES];
    struct clock *clock;
    struct timer timer;
    struct bus_claims claims;
};

static struct mc146818 *to_rtc(struct device *dev)
{
    return container_of(dev, struct mc146818, dev);
}

/* ---- calendar ---- */

/* Days since 1970-01-01 of a proleptic Gregorian date; months and days out of
 * range run over into the next year and month. Counting years from March puts
 * the leap day at the end of a year. */
static int64_t days_of_date(int64_t year, unsigned month, unsigned day)
{
    year += ((int64_t)month - 1) / 12;
    month = (month + 11) % 12 + 1;
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400, in_era = y - era * 400;
    int64_t in_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5;

    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year + day - 1 - 719468;
}

struct date { int64_t year; unsigned month, day; };

static struct date date_of_days(int64_t days)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097, in_era = days - era * 146097;
    int64_t y = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int64_t in_year = in_era - (365 * y + y / 4 - y / 100);
    unsigned m = (unsigned)((5 * in_year + 2) / 153);
    struct date d = {.month = m < 10 ? m + 3 : m - 9,
                     .day = (unsigned)(in_year - (153 * m + 2) / 5 + 1)};

    d.year = era * 400 + y + (d.month <= 2);
    return d;
}

/* ---- number formats (data sheet table 3) ---- */

static uint8_t encode(const struct mc146818_state *s, unsigned value)
{
    return (uint8_t)(s->cmos[REG_B] & B_DM ? value : value / 10 << 4 | value % 10);
}

static unsigned decode(const struct mc146818_state *s, uint8_t raw)
{
    return s->cmos[REG_B] & B_DM ? raw : (raw >> 4) * 10u + (raw & 15);
}

static uint8_t encode_hour(const struct mc146818_state *s, unsigned hour)
{
    if (s->cmos[REG_B] & B_24H)
        return encode(s, hour);
    return encode(s, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static unsigned decode_hour(const struct mc146818_state *s, uint8_t raw)
{
    if (s->cmos[REG_B] & B_24H)
        return decode(s, raw);
    return decode(s, raw & ~HOUR_PM) % 12 + (raw & HOUR_PM ? 12 : 0);
}

/* ---- the running clock ---- */

static bool running(const struct mc146818_state *s)
{
    return !(s->cmos[REG_B] & B_SET) && (s->cmos[REG_A] & A_DV) == A_DV_RUN;
}

/* Seconds since 1970 at a clock time, and the fraction. */
static int64_t time_at(const struct mc146818_state *s, uint64_t clock_ns, uint32_t *ns)
{
    uint64_t fraction = s->base_ns + clock_ns % NS_PER_S;

    if (ns)
        *ns = (uint32_t)(fraction % NS_PER_S);
    return (int64_t)(s->base_s + clock_ns / NS_PER_S + fraction / NS_PER_S);
}

static void time_set(struct mc146818 *rtc, int64_t seconds, uint32_t ns)
{
    struct mc146818_state *s = &rtc->state;
    uint64_t now = clock_now_ns(rtc->clock);
    uint32_t now_ns = (uint32_t)(now % NS_PER_S);

    s->base_s = (uint64_t)seconds - now / NS_PER_S - (ns < now_ns);
    s->base_ns = ns < now_ns ? ns + (uint32_t)NS_PER_S - now_ns : ns - now_ns;
}

static unsigned second_of_day(int64_t seconds)
{
    int64_t r = seconds % DAY_S;

    return (unsigned)(r < 0 ? r + DAY_S : r);
}

/* Writes a time into the time registers. */
static void registers_from_time(struct mc146818_state *s, int64_t seconds)
{
    unsigned sod = second_of_day(seconds);
    int64_t days = (seconds - sod) / DAY_S;
    struct date d = date_of_days(days);

    s->cmos[SECONDS] = encode(s, sod % MINUTE_S);
    s->cmos[MINUTES] = encode(s, sod / MINUTE_S % MINUTE_S);
    s->cmos[HOURS] = encode_hour(s, sod / HOUR_S);
    s->cmos[DAY_OF_WEEK] = encode(s, (unsigned)(((days + 4) % 7 + 7) % 7) + 1);   /* 1 = Sunday */
    s->cmos[DAY_OF_MONTH] = encode(s, d.day);
    s->cmos[MONTH] = encode(s, d.month);
    s->cmos[YEAR] = encode(s, (unsigned)((d.year % 100 + 100) % 100));
    s->cmos[CENTURY] = encode(s, (unsigned)((d.year / 100 % 100 + 100) % 100));
}

static int64_t time_from_registers(const struct mc146818_state *s)
{
    unsigned year = decode(s, s->cmos[CENTURY]) * 100 + decode(s, s->cmos[YEAR]);
    int64_t days = days_of_date(year, decode(s, s->cmos[MONTH]), decode(s, s->cmos[DAY_OF_MONTH]));

    return days * DAY_S + decode_hour(s, s->cmos[HOURS]) * HOUR_S +
           decode(s, s->cmos[MINUTES]) * MINUTE_S + decode(s, s->cmos[SECONDS]);
}

static bool is_time_register(unsigned i)
{
    return i == SECONDS || i == MINUTES || i == HOURS || (i >= DAY_OF_WEEK && i <= YEAR) ||
           i == CENTURY;
}

/* ---- flags: update, alarm, periodic ---- */

static bool alarm_field_matches(uint8_t raw, unsigned wanted, unsigned value)
{
    return raw >= ALARM_ANY || wanted == value;
}

/* Seconds from `sod` to the next alarm, 1 to DAY_S; 0 = never. */
static unsigned alarm_distance(const struct mc146818_state *s, unsigned sod)
{
    const uint8_t *c = s->cmos;
    unsigned hour = decode_hour(s, c[HOURS_ALARM]), minute = decode(s, c[MINUTES_ALARM]);
    unsigned second = decode(s, c[SECONDS_ALARM]);

    for (unsigned d = 1; d <= DAY_S;) {
        unsigned t = (sod + d) % DAY_S;
        if (!alarm_field_matches(c[HOURS_ALARM], hour, t / HOUR_S))
            d += HOUR_S - t % HOUR_S;
        else if (!alarm_field_matches(c[MINUTES_ALARM], minute, t / MINUTE_S % MINUTE_S))
            d += MINUTE_S - t % MINUTE_S;
        else if (!alarm_field_matches(c[SECONDS_ALARM], second, t % MINUTE_S))
            d++;
        else
            return d;
    }
    return 0;
}

/* Crystal ticks per periodic interrupt, 0 = none (data sheet table 5). */
static unsigned period_ticks(const struct mc146818_state *s)
{
    unsigned rs = s->cmos[REG_A] & A_RS;

    if (!rs || (s->cmos[REG_A] & A_DV) != A_DV_RUN)
        return 0;
    return rs < 3 ? 64u << rs : 1u << (rs - 1);
}

static uint64_t ns_to_crystal(uint64_t ns)
{
    return (uint64_t)((unsigned __int128)ns * CRYSTAL_HZ / NS_PER_S);
}

static uint64_t crystal_to_ns(uint64_t tick)
{
    return (uint64_t)(((unsigned __int128)tick * NS_PER_S + CRYSTAL_HZ - 1) / CRYSTAL_HZ);
}

/* Sets the flags of what happened since the last time. */
static void sync(struct mc146818 *rtc)
{
    struct mc146818_state *s = &rtc->state;
    uint64_t now = clock_now_ns(rtc->clock);
    unsigned period = period_ticks(s);

    if (period && ns_to_crystal(now) / period != ns_to_crystal(s->synced_ns) / period)
        s->cmos[REG_C] |= C_PF;
    if (running(s)) {
        int64_t then_s = time_at(s, s->synced_ns, NULL), now_s = time_at(s, now, NULL);
        unsigned alarm = alarm_distance(s, second_of_day(then_s));
        if (now_s != then_s)
            s->cmos[REG_C] |= C_UF;
        if (alarm && now_s - then_s >= alarm)
            s->cmos[REG_C] |= C_AF;
    }
    s->synced_ns = now;
}

/* When the earliest enabled and not yet raised interrupt is due. */
static uint64_t next_event(const struct mc146818 *rtc)
{
    const struct mc146818_state *s = &rtc->state;
    unsigned missing = s->cmos[REG_B] & ~s->cmos[REG_C] & C_FLAGS;   /* PIE..UIE = PF..UF */
    unsigned period = period_ticks(s);
    uint64_t now = s->synced_ns, due = CLOCK_NEVER;
    uint32_t fraction;
    unsigned sod = second_of_day(time_at(s, now, &fraction)), alarm;

    if ((missing & B_PIE) && period)
        due = crystal_to_ns((ns_to_crystal(now) / period + 1) * period);
    if (!running(s))
        return due;
    if (missing & B_UIE)
        due = min_u64(due, now + NS_PER_S - fraction);
    alarm = missing & B_AIE ? alarm_distance(s, sod) : 0;
    if (alarm)
        due = min_u64(due, now + alarm * NS_PER_S - fraction);
    return due;
}

/* After sync() and whatever changed. */
static void update_irq(struct mc146818 *rtc)
{
    struct mc146818_state *s = &rtc->state;
    bool raised = s->cmos[REG_C] & s->cmos[REG_B] & C_FLAGS;
    uint64_t due = next_event(rtc);

    s->cmos[REG_C] = (s->cmos[REG_C] & C_FLAGS) | (raised ? C_IRQF : 0);
    irq_line_set(&rtc->config.irq, raised);
    if (due == CLOCK_NEVER)
        timer_disarm(&rtc->timer);
    else
        timer_arm(&rtc->timer, due);
}

static void timer_fired(void *opaque)
{
    sync(opaque);
    update_irq(opaque);
}

/* ---- registers ---- */

/* Writes A or B; either may stop or start the clock. */
static void control_write(struct mc146818 *rtc, unsigned reg, uint8_t value)
{
    struct mc146818_state *s = &rtc->state;
    bool was_running = running(s), held = (s->cmos[REG_A] & A_DV) != A_DV_RUN;
    uint32_t ns;
    int64_t seconds = time_at(s, clock_now_ns(rtc->clock), &ns);

    if (was_running)             /* in the number format that still holds */
        registers_from_time(s, seconds);
    s->cmos[reg] = value;
    if (reg == REG_B && (value & B_SET))
        s->cmos[REG_B] &= ~B_UIE;    /* SET clears UIE (data sheet, register B) */
    if (was_running && running(s))
        return;
    /* Out of divider reset the first update comes after half a second. */
    if (running(s))
        time_set(rtc, time_from_registers(s), held ? (uint32_t)(NS_PER_S / 2) : ns);
}

static void cmos_write(struct mc146818 *rtc, unsigned i, uint8_t value)
{
    struct mc146818_state *s = &rtc->state;
    uint32_t ns;

    sync(rtc);
    if (i == REG_A) {
        control_write(rtc, i, value & ~A_UIP);
    } else if (i == REG_B) {
        control_write(rtc, i, value);
    } else if (is_time_register(i) && running(s)) {
        registers_from_time(s, time_at(s, clock_now_ns(rtc->clock), &ns));
        s->cmos[i] = value;
        time_set(rtc, time_from_registers(s), ns);
    } else if (i != REG_C && i != REG_D) {
        s->cmos[i] = value;
    }
    update_irq(rtc);
}

static uint8_t cmos_read(struct mc146818 *rtc, unsigned i)
{
    struct mc146818_state *s = &rtc->state;
    uint32_t ns;
    int64_t seconds = time_at(s, clock_now_ns(rtc->clock), &ns);
    uint8_t value;

    if (is_time_register(i) && running(s))
        registers_from_time(s, seconds);
    if (i == REG_A && running(s) && ns >= NS_PER_S - UIP_NS)
        return s->cmos[REG_A] | A_UIP;
    if (i != REG_C)
        return s->cmos[i];
    sync(rtc);
    update_irq(rtc);
    value = s->cmos[REG_C];
    s->cmos[REG_C] = 0;          /* reading C clears it */
    update_irq(rtc);
    return value;
}

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    struct mc146818 *rtc = opaque;

    if (!offset)
        return 0xff;             /* the index cannot be read */
    return cmos_read(rtc, rtc->state.index & (MC146818_CMOS_BYTES - 1));
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct mc146818 *rtc = opaque;

    if (!offset)
        rtc->state.index = (uint8_t)value;
    else
        cmos_write(rtc, rtc->state.index & (MC146818_CMOS_BYTES - 1), (uint8_t)value);
}

void mc146818_cmos_set(struct device *dev, unsigned index, uint8_t value)
{
    struct mc146818 *rtc = to_rtc(dev);

    BUG_ON(index <= REG_D || index >= MC146818_CMOS_BYTES);
    rtc->state.cmos[index] = value;
}

bool mc146818_nmi_masked(struct device *dev)
{
    return to_rtc(dev)->state.index & NMI_MASK;
}

/* ---- the device ---- */

static void rtc_reset(struct device *dev)
{
    struct mc146818 *rtc = to_rtc(dev);
    struct mc146818_state *s = &rtc->state;

    *s = (struct mc146818_state){
        .base_s = (uint64_t)rtc->config.base_s,
        .synced_ns = clock_now_ns(rtc->clock),
    };
    memcpy(s->cmos, rtc->initial, sizeof s->cmos);
    memset(s->cmos, 0, REG_A);
    s->cmos[REG_A] = A_DV_RUN | 6;   /* 1024 Hz, as firmware leaves it */
    s->cmos[REG_B] = B_24H;
    s->cmos[REG_C] = 0;
    s->cmos[REG_D] = D_VRT;
    registers_from_time(s, (int64_t)s->base_s);
    update_irq(rtc);
}

static void rtc_quiesce(struct device *dev)
{
    timer_disarm(&to_rtc(dev)->timer);
}

static void rtc_resume(struct device *dev)
{
    struct mc146818 *rtc = to_rtc(dev);

    /* Only a damaged stream has more; calendar arithmetic must not overflow. */
    rtc->state.base_ns %= NS_PER_S;
    rtc->state.base_s = (uint64_t)((int64_t)(rtc->state.base_s << 14) >> 14);
    update_irq(rtc);
}

static const struct state_field fields[] = {
    STATE_U8_ARRAY(struct mc146818_state, cmos),
    STATE_U8(struct mc146818_state, index),
    STATE_U64(struct mc146818_state, base_s),
    STATE_U32(struct mc146818_state, base_ns),
    STATE_U64(struct mc146818_state, synced_ns),
    STATE_END
};
static const struct state_desc desc = {"mc146818", 1, fields};

static const struct state_desc *rtc_describe(struct device *dev, void **state)
{
    *state = &to_rtc(dev)->state;
    return &desc;
}

static void rtc_destroy(struct device *dev)
{
    struct mc146818 *rtc = to_rtc(dev);

    timer_disarm(&rtc->timer);
    bus_claims_release(&rtc->claims);
    free(rtc);
}

static const struct device_ops rtc_ops = {
    .type = "mc146818",
    .reset = rtc_reset,
    .quiesce = rtc_quiesce,
    .resume = rtc_resume,
    .describe = rtc_describe,
    .destroy = rtc_destroy,
};

struct device *mc146818_new(const struct device_env *env, const struct mc146818_config *cfg,
                            struct error **err)
{
    const struct bus_region ports = {"mc146818", cfg->port, 2, port_read, port_write, NULL, 1, 0};
    struct mc146818 *rtc = calloc(1, sizeof *rtc);

    if (!rtc) {
        error_set(err, ENOMEM, "no memory for the real-time clock");
        return NULL;
    }
    device_init(&rtc->dev, &rtc_ops, "rtc");
    rtc->config = *cfg;
    if (cfg->cmos)
        memcpy(rtc->initial, cfg->cmos, sizeof rtc->initial);
    rtc->config.cmos = NULL;     /* the caller's */
    rtc->clock = env->clock;
    timer_init(&rtc->timer, env->clock, timer_fired, rtc);
    if (bus_claims_add(&rtc->claims, env->bus, BUS_PIO, &ports, 1, rtc, err)) {
        free(rtc);
        return NULL;
    }
    rtc_reset(&rtc->dev);
    return &rtc->dev;
}
