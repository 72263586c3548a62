/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * apps.c - hashing, compression and a database: real library code.
 *
 * SHA-256 is written here from FIPS 180-4; zlib and SQLite are Debian's static libraries, so the
 * same machine code runs natively and in every guest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>
#include <zlib.h>
#include "bench.h"

/* ---- SHA-256, written from FIPS 180-4 ---------------------------------- */

static uint32_t round_k[64], init_h[8];

/* The constants are the leading fractional bits of the cube and square roots
 * of the first primes; deriving them exactly needs only integer arithmetic:
 * floor(frac(p^(1/n)) * 2^32) by bisection on 128-bit products. */
static uint32_t root_fraction(unsigned p, int cube)
{
    unsigned __int128 lo = 0, hi = (unsigned __int128)1 << 40;
    while (hi - lo > 1) {                 /* lo <= p^(1/n) * 2^32 < hi */
        unsigned __int128 mid = (lo + hi) / 2;
        unsigned __int128 v = mid * mid;
        int below;
        if (cube)  /* compare mid^3 with p * 2^96, without overflow */
            below = mid < ((unsigned __int128)1 << 36) &&
                    v * mid <= (unsigned __int128)p << 96;
        else
            below = v <= (unsigned __int128)p << 64;
        if (below)
            lo = mid;
        else
            hi = mid;
    }
    return (uint32_t)lo;
}

static void sha_constants(void)
{
    unsigned n = 0;
    for (unsigned p = 2; n < 64; p++) {
        unsigned d = 2;
        while (d * d <= p && p % d)
            d++;
        if (d * d <= p)
            continue;
        if (n < 8)
            init_h[n] = root_fraction(p, 0);
        round_k[n++] = root_fraction(p, 1);
    }
}

static uint32_t ror(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void sha_block(uint32_t h[8], const unsigned char *p)
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
               (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (ror(a, 7) ^ ror(a, 18) ^ a >> 3) +
               (ror(b, 17) ^ ror(b, 19) ^ b >> 10);
    }
    memcpy(s, h, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t e = s[4], a = s[0];
        uint32_t t1 = s[7] + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) +
                      ((e & s[5]) ^ (~e & s[6])) + round_k[i] + w[i];
        uint32_t t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) +
                      ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof s[0]);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        h[i] += s[i];
}

int b_sha256(unsigned scale, struct result *r)
{
    enum { BLOCKS = 1024 };
    static unsigned char buf[BLOCKS * 64];
    uint32_t h[8];
    uint64_t rounds = scaled(400, scale);
    sha_constants();
    /* Known answer: the digest of "abc" starts with ba7816bf 8f01cfea. */
    memcpy(buf, "abc\x80", 4);
    buf[63] = 24;
    memcpy(h, init_h, sizeof h);
    sha_block(h, buf);
    if (h[0] != 0xba7816bf || h[1] != 0x8f01cfea)
        return BENCH_FAIL;
    for (size_t i = 0; i < sizeof buf; i++)
        buf[i] = (unsigned char)(i * 13 + (i >> 8));
    uint64_t t0 = now_ns();
    for (uint64_t k = 0; k < rounds; k++)
        for (int i = 0; i < BLOCKS; i++)
            sha_block(h, buf + 64 * i);
    r->ns = now_ns() - t0;
    r->units = rounds * sizeof buf;
    r->check = (uint64_t)h[0] << 32 | h[7];
    return BENCH_OK;
}

/* ---- zlib -------------------------------------------------------------- */

int b_zlib(unsigned scale, struct result *r)
{
    enum { SIZE = 1 << 20 };
    static const char *const word[] = {
        "kernel ", "page ", "fault ", "buffer ", "return ", "static ",
        "struct ", "int ", "0x", "\n\t", "lock ", "queue ", "map ", "->",
        "if (", ") {",
    };
    uLong bound = compressBound(SIZE);
    unsigned char *in = malloc(SIZE), *out = malloc(bound), *back = malloc(SIZE);
    uint64_t rounds = scaled(5, scale), seed = 3, sum = 0;
    if (!in || !out || !back)
        return BENCH_FAIL;
    for (size_t n = 0; n < SIZE;) {
        uint64_t x = xorshift64(&seed);
        const char *w = word[x & 15];
        while (*w && n < SIZE)
            in[n++] = (unsigned char)*w++;
        if ((x >> 20) % 5 == 0 && n < SIZE)
            in[n++] = (unsigned char)(x >> 30);
    }
    uint64_t t0 = now_ns();
    for (uint64_t k = 0; k < rounds; k++) {
        uLongf clen = bound, dlen = SIZE;
        in[k]++;
        if (compress2(out, &clen, in, SIZE, 6) != Z_OK ||
            uncompress(back, &dlen, out, clen) != Z_OK || dlen != SIZE)
            return BENCH_FAIL;
        sum += clen + crc32(0, back, SIZE);
    }
    r->ns = now_ns() - t0;
    r->units = rounds * SIZE;
    r->check = sum;
    free(in);
    free(out);
    free(back);
    return BENCH_OK;
}

/* ---- SQLite ------------------------------------------------------------ */

int b_sqlite(unsigned scale, struct result *r)
{
    sqlite3 *db;
    sqlite3_stmt *st;
    uint64_t rows = scaled(100000, scale), sum = 0, seed = 11;
    char name[32];
    if (sqlite3_open(":memory:", &db) != SQLITE_OK)
        return BENCH_FAIL;
    uint64_t t0 = now_ns();
    sqlite3_exec(db, "create table t(id integer primary key, k int, "
                     "name text); create index tk on t(k); begin",
                 0, 0, 0);
    if (sqlite3_prepare_v2(db, "insert into t(k, name) values(?,?)", -1, &st,
                           0) != SQLITE_OK)
        return BENCH_FAIL;
    for (uint64_t i = 0; i < rows; i++) {
        uint64_t x = xorshift64(&seed);
        snprintf(name, sizeof name, "row-%u-%u", (unsigned)i,
                 (unsigned)(x & 0xfff));
        sqlite3_bind_int64(st, 1, (sqlite3_int64)((x >> 12) % 1000));
        sqlite3_bind_text(st, 2, name, -1, SQLITE_TRANSIENT);
        if (sqlite3_step(st) != SQLITE_DONE)
            return BENCH_FAIL;
        sqlite3_reset(st);
    }
    sqlite3_finalize(st);
    sqlite3_exec(db, "commit", 0, 0, 0);
    if (sqlite3_prepare_v2(db, "select count(*), sum(id), max(name) from t "
                               "where k between ? and ? and name like '%7%'",
                           -1, &st, 0) != SQLITE_OK)
        return BENCH_FAIL;
    for (int k = 0; k < 1000; k += 20) {
        sqlite3_bind_int(st, 1, k);
        sqlite3_bind_int(st, 2, k + 20);
        if (sqlite3_step(st) != SQLITE_ROW)
            return BENCH_FAIL;
        sum = sum * 31 + (uint64_t)sqlite3_column_int64(st, 0) +
              (uint64_t)sqlite3_column_int64(st, 1);
        sqlite3_reset(st);
    }
    sqlite3_finalize(st);
    r->ns = now_ns() - t0;
    r->units = rows;
    r->check = sum;
    sqlite3_close(db);
    return BENCH_OK;
}
