/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * share_p9.c - the 9P server with messages made by hand: what a client needs, what a
 * hostile one tries. Beside the shared directory lies one that must stay untouched.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "share/p9_impl.h"

enum { MSIZE = 8192, ROOT = 0, BIG = 70000 };

static char base[] = "/tmp/ring3-share-XXXXXX";
static char top[PATH_MAX];
static struct p9 *s;
static uint8_t msg[BIG], reply[BIG];
static size_t msg_len, reply_len;

/* ---- messages ---- */

/* A word per argument: '1', '2', '4', '8' bytes, 's' a string. */
static void make(unsigned type, const char *form, va_list ap)
{
    struct p9_out out = {.p = msg, .len = P9_HEADER, .cap = sizeof msg};

    for (; *form; form++) {
        if (*form == 's') {
            const char *text = va_arg(ap, const char *);
            p9_put_text(&out, text, strlen(text));
        } else if (*form == '8') {
            p9_put(&out, va_arg(ap, uint64_t), 8);
        } else {
            p9_put(&out, va_arg(ap, unsigned), (unsigned)(*form - '0'));
        }
    }
    msg_len = out.len;
    put_le32(msg, (uint32_t)msg_len);
    msg[4] = (uint8_t)type;
    put_le16(msg + 5, 77);
}

static int send_message(void)
{
    memset(reply, 0xee, sizeof reply);
    reply_len = p9_request(s, msg, msg_len, reply, sizeof reply - 1);
    assert_int_equal(reply[sizeof reply - 1], 0xee);
    assert_true(reply_len >= P9_HEADER && get_le32(reply) == reply_len);
    assert_int_equal(get_le16(reply + 5), get_le16(msg + 5));
    if (reply[4] == P9_RLERROR) {
        assert_int_equal(reply_len, P9_HEADER + 4);
        int code = (int)get_le32(reply + P9_HEADER);
        assert_true(code > 0 && code < 4096);
        return -code;
    }
    assert_int_equal(reply[4], msg[4] + 1);
    return 0;
}

/* 0 or a negative errno; the answer is in reply. */
static int call(unsigned type, const char *form, ...)
{
    va_list ap;

    va_start(ap, form);
    make(type, form, ap);
    va_end(ap);
    return send_message();
}

static const uint8_t *body(void)
{
    return reply + P9_HEADER;
}

/* ---- usual steps ---- */

static void begin(bool readonly)
{
    p9_free(s);
    s = p9_new(top, readonly, NULL);
    assert_non_null(s);
    assert_int_equal(call(P9_TVERSION, "4s", MSIZE, "9P2000.L"), 0);
    assert_int_equal(call(P9_TATTACH, "44ss4", ROOT, P9_NOFID, "root", "", 0), 0);
}

static int walk(unsigned to, const char *name)
{
    return call(P9_TWALK, "442s", ROOT, to, 1, name);
}

static int walk2(unsigned to, const char *a, const char *b)
{
    return call(P9_TWALK, "442ss", ROOT, to, 2, a, b);
}

static int clunk(unsigned fid)
{
    return call(P9_TCLUNK, "4", fid);
}

static int open_name(unsigned fid, const char *name, unsigned flags)
{
    int r = walk(fid, name);

    if (r == 0)
        r = call(P9_TLOPEN, "44", fid, flags);
    return r;
}

static int write_text(unsigned fid, uint64_t offset, const char *text)
{
    unsigned len = (unsigned)strlen(text);
    struct p9_out out = {.p = msg, .len = P9_HEADER, .cap = sizeof msg};
    p9_put(&out, fid, 4);
    p9_put(&out, offset, 8);
    p9_put(&out, len, 4);
    memcpy(msg + out.len, text, len);
    msg_len = out.len + len;
    put_le32(msg, (uint32_t)msg_len);
    msg[4] = P9_TWRITE;
    put_le16(msg + 5, 1);
    int r = send_message();
    return r < 0 ? r : (int)get_le32(body());
}

/* ---- files of the host ---- */

static char *in_base(const char *name)
{
    static char path[4][PATH_MAX];
    static unsigned next;
    char *p = path[next++ % 4];

    snprintf(p, PATH_MAX, "%s/%s", base, name);
    return p;
}

static void put_file(const char *name, const char *text)
{
    FILE *f = fopen(in_base(name), "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static bool holds(const char *name, const char *text)
{
    char buf[256] = "";
    FILE *f = fopen(in_base(name), "r");

    if (!f)
        return false;
    size_t n = fread(buf, 1, sizeof buf - 1, f);
    fclose(f);
    return n == strlen(text) && memcmp(buf, text, n) == 0;
}

static bool exists(const char *name)
{
    struct stat st;

    return lstat(in_base(name), &st) == 0;
}

static void check_outside(void)
{
    assert_true(holds("outside/secret", "secret"));
    struct stat st;
    assert_int_equal(stat(in_base("outside"), &st), 0);
    assert_int_equal(st.st_nlink, 2);
    assert_int_equal(st.st_mode & 07777, 0755);
}

static void fresh_tree(void)
{
    char command[3 * PATH_MAX];

    snprintf(command, sizeof command,
             "rm -rf %s/* && mkdir -p %s/top/dir/deep %s/outside && chmod 755 %s/outside", base,
             base, base, base);
    assert_int_equal(system(command), 0);
    put_file("outside/secret", "secret");
    put_file("top/file", "hello");
    put_file("top/dir/inner", "inner");
    assert_int_equal(symlink("../outside", in_base("top/out")), 0);
    assert_int_equal(symlink("/", in_base("top/slash")), 0);
    assert_int_equal(symlink("../outside/secret", in_base("top/leak")), 0);
    assert_int_equal(symlink("../outside/new", in_base("top/dangling")), 0);
    assert_int_equal(mkfifo(in_base("top/fifo"), 0600), 0);
}

static int setup(void **state)
{
    fresh_tree();
    begin(false);
    return 0;
}

static int teardown(void **state)
{
    p9_free(s);
    s = NULL;
    check_outside();
    return 0;
}

/* ---- what a client needs ---- */

static void versions(void **state)
{
    assert_int_equal(call(P9_TVERSION, "4s", 4095, "9P2000.L"), -EMSGSIZE);
    assert_int_equal(call(P9_TVERSION, "4s", 1 << 30, "9P2000.L"), 0);
    assert_int_equal(get_le32(body()), P9_MESSAGE_MAX);
    /* A version forgets every fid. */
    assert_int_equal(clunk(ROOT), -EBADF);
    assert_int_equal(call(P9_TVERSION, "4s", MSIZE, "9P2000.u"), 0);
    assert_memory_equal(body() + 4, "\7\0unknown", 9);
    assert_int_equal(call(P9_TATTACH, "44ss4", ROOT, P9_NOFID, "root", "", 0), -EPROTO);
    assert_int_equal(call(P9_TVERSION, "4s", MSIZE, "9P2000.L"), 0);
    assert_int_equal(call(P9_TAUTH, "4ss4", 1, "root", "", 0), -EOPNOTSUPP);
    assert_int_equal(call(P9_TATTACH, "44ss4", ROOT, 5, "root", "", 0), -EOPNOTSUPP);
    assert_int_equal(call(P9_TATTACH, "44ss4", P9_NOFID, P9_NOFID, "root", "", 0), -EBADF);
    assert_int_equal(call(P9_TATTACH, "44ss4", ROOT, P9_NOFID, "root", "", 0), 0);
    assert_int_equal(call(P9_TATTACH, "44ss4", ROOT, P9_NOFID, "root", "", 0), -EBADF);
    assert_int_equal(call(P9_TFLUSH, "2", 3), 0);
}

static void files(void **state)
{
    assert_int_equal(open_name(1, "file", O_RDWR), 0);
    assert_int_equal(call(P9_TREAD, "484", 1, (uint64_t)1, 100), 0);
    assert_int_equal(get_le32(body()), 4);
    assert_memory_equal(body() + 4, "ello", 4);
    assert_int_equal(write_text(1, 5, " world"), 6);
    assert_true(holds("top/file", "hello world"));
    assert_int_equal(call(P9_TREAD, "484", 1, (uint64_t)100, 100), 0);
    assert_int_equal(get_le32(body()), 0);
    assert_int_equal(call(P9_TFSYNC, "44", 1, 0), 0);
    assert_int_equal(clunk(1), 0);
    assert_int_equal(clunk(1), -EBADF);
    /* Create: the directory's fid becomes the file's. */
    assert_int_equal(call(P9_TWALK, "442", ROOT, 2, 0), 0);
    assert_int_equal(call(P9_TLCREATE, "4s444", 2, "new", O_RDWR | O_CREAT | O_EXCL, 06755, 0), 0);
    assert_int_equal(write_text(2, 0, "x"), 1);
    struct stat st;
    assert_int_equal(stat(in_base("top/new"), &st), 0);
    assert_int_equal(st.st_mode & 06000, 0);
    assert_int_equal(call(P9_TSETATTR, "444448" "8888", 2, 1 | 8, 04640, 0, 0, (uint64_t)3,
                          (uint64_t)0, (uint64_t)0, (uint64_t)0, (uint64_t)0), 0);
    assert_int_equal(stat(in_base("top/new"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(st.st_size, 3);
    assert_int_equal(call(P9_TSETATTR, "444448" "8888", 2, 16 | 32 | 128 | 256, 0, 0, 0,
                          (uint64_t)0, (uint64_t)1000, (uint64_t)1, (uint64_t)2000,
                          (uint64_t)2), 0);
    assert_int_equal(stat(in_base("top/new"), &st), 0);
    assert_true(st.st_atim.tv_sec == 1000 && st.st_mtim.tv_sec == 2000 && st.st_mtim.tv_nsec == 2);
    assert_int_equal(call(P9_TGETATTR, "48", 2, (uint64_t)0x7ff), 0);
    assert_int_equal(reply_len, P9_HEADER + 153);
    assert_true(get_le64(body() + 49) == 3);
    assert_int_equal(call(P9_TSTATFS, "4", 2), 0);
    assert_int_equal(get_le32(body()), 0x01021997);
    assert_int_equal(call(P9_TREMOVE, "4", 2), 0);
    assert_false(exists("top/new"));
    assert_int_equal(clunk(2), -EBADF);
}

static void names(void **state)
{
    assert_int_equal(call(P9_TMKDIR, "4s44", ROOT, "d", 0700, 0), 0);
    assert_int_equal(body()[0], 0x80);
    assert_int_equal(call(P9_TSYMLINK, "4ss4", ROOT, "l", "../outside/secret", 0), 0);
    assert_int_equal(body()[0], 0x02);
    assert_int_equal(walk(1, "l"), 0);
    assert_int_equal(call(P9_TREADLINK, "4", 1), 0);
    assert_memory_equal(body(), "\x11\0../outside/secret", 19);
    assert_int_equal(call(P9_TREADLINK, "4", ROOT), -EINVAL);
    assert_int_equal(walk(2, "file"), 0);
    assert_int_equal(call(P9_TLINK, "44s", ROOT, 2, "hard"), 0);
    assert_true(holds("top/hard", "hello"));
    assert_int_equal(call(P9_TLINK, "44s", ROOT, 1, "hardlink"), 0);    /* of the link itself */
    assert_int_equal(walk(3, "d"), 0);
    assert_int_equal(call(P9_TRENAMEAT, "4s4s", ROOT, "hard", 3, "moved"), 0);
    assert_true(holds("top/d/moved", "hello"));
    assert_int_equal(call(P9_TRENAME, "44s", 2, 3, "file2"), 0);
    assert_true(holds("top/d/file2", "hello"));
    assert_int_equal(call(P9_TRENAME, "44s", ROOT, 3, "root"), -EBUSY);
    assert_int_equal(call(P9_TUNLINKAT, "4s4", ROOT, "d", 0), -EISDIR);
    assert_int_equal(call(P9_TUNLINKAT, "4s4", ROOT, "d", 0x200), -ENOTEMPTY);
    assert_int_equal(call(P9_TUNLINKAT, "4s4", 3, "moved", 0), 0);
    assert_int_equal(call(P9_TUNLINKAT, "4s4", 3, "file2", 0), 0);
    assert_int_equal(call(P9_TUNLINKAT, "4s4", ROOT, "d", 0x200), 0);
    assert_int_equal(call(P9_TMKNOD, "4s4444", ROOT, "node", S_IFCHR | 0666, 1, 3, 0), -EPERM);
    assert_int_equal(call(P9_TXATTRWALK, "44s", 2, 9, "user.x"), -EOPNOTSUPP);
}

static void walks(void **state)
{
    assert_int_equal(walk2(1, "dir", "inner"), 0);
    assert_int_equal(get_le16(body()), 2);
    /* Half a walk: how far, and no fid. */
    assert_int_equal(walk2(2, "dir", "nothing"), 0);
    assert_int_equal(get_le16(body()), 1);
    assert_int_equal(clunk(2), -EBADF);
    assert_int_equal(walk(2, "nothing"), -ENOENT);
    assert_int_equal(walk(1, "file"), -EBADF);       /* the number is taken */
    assert_int_equal(call(P9_TWALK, "442s", 99, 5, 1, "x"), -EBADF);
    assert_int_equal(call(P9_TWALK, "442", ROOT, P9_NOFID, 0), -EBADF);
    /* To itself, and back up. */
    assert_int_equal(call(P9_TWALK, "442", ROOT, 3, 0), 0);
    assert_int_equal(call(P9_TWALK, "442s", 3, 3, 1, "dir"), 0);
    assert_int_equal(call(P9_TWALK, "442ss", 3, 4, 2, "deep", ".."), 0);
    assert_int_equal(call(P9_TWALK, "442s", 4, 5, 1, "inner"), 0);
    assert_int_equal(call(P9_TLOPEN, "44", 5, O_RDONLY), 0);
    assert_int_equal(call(P9_TWALK, "442", 5, 5, 0), -EBUSY);
    assert_int_equal(call(P9_TLOPEN, "44", 5, O_RDONLY), -EBUSY);
}

static void directories(void **state)
{
    unsigned seen = 0;
    uint64_t offset = 0;

    for (int i = 0; i < 300; i++) {
        char name[32];
        snprintf(name, sizeof name, "entry-%d", i);
        assert_int_equal(call(P9_TWALK, "442s", ROOT, 8, 1, "dir"), 0);
        assert_int_equal(call(P9_TLCREATE, "4s444", 8, name, O_WRONLY | O_CREAT, 0600, 0), 0);
        assert_int_equal(clunk(8), 0);
    }
    assert_int_equal(open_name(1, "dir", O_RDONLY), 0);
    for (;;) {
        assert_int_equal(call(P9_TREADDIR, "484", 1, offset, 500), 0);
        uint32_t n = get_le32(body()), at = 0;
        assert_true(n <= 500);
        if (!n)
            break;
        while (at < n) {
            const uint8_t *e = body() + 4 + at;
            offset = get_le64(e + P9_QID);
            seen++;
            at += P9_QID + 11 + get_le16(e + P9_QID + 9);
        }
        assert_int_equal(at, n);
    }
    assert_int_equal(seen, 300 + 2 + 2);             /* ".", "..", "inner", "deep" */
    assert_int_equal(call(P9_TREADDIR, "484", 1, (uint64_t)0, 10), -EINVAL);
    assert_int_equal(call(P9_TREADDIR, "484", 1, UINT64_MAX, 500), -EINVAL);
    call(P9_TREADDIR, "484", 1, (uint64_t)0x123456789, 500);
    assert_int_equal(call(P9_TREAD, "484", 1, (uint64_t)0, 10), -EISDIR);
    assert_int_equal(open_name(2, "file", O_RDONLY), 0);
    assert_int_equal(call(P9_TREADDIR, "484", 2, (uint64_t)0, 500), -ENOTDIR);
    /* What lies above the root is not told. */
    struct stat st;
    assert_int_equal(stat(top, &st), 0);
    assert_int_equal(call(P9_TWALK, "442", ROOT, 3, 0), 0);
    assert_int_equal(call(P9_TLOPEN, "44", 3, O_RDONLY), 0);
    assert_int_equal(call(P9_TREADDIR, "484", 3, (uint64_t)0, 4000), 0);
    for (uint32_t at = 0, n = get_le32(body()); at < n;) {
        const uint8_t *e = body() + 4 + at;
        unsigned len = get_le16(e + P9_QID + 9);
        if (len <= 2 && e[P9_QID + 11] == '.')
            assert_true(get_le64(e + 5) == st.st_ino);
        at += P9_QID + 11 + len;
    }
}

static void locks(void **state)
{
    assert_int_equal(open_name(1, "file", O_RDWR), 0);
    assert_int_equal(open_name(2, "file", O_RDWR), 0);
    assert_int_equal(call(P9_TLOCK, "41488" "4s", 1, 1, 0, (uint64_t)0, (uint64_t)10, 7, "me"), 0);
    assert_int_equal(body()[0], 0);
    assert_int_equal(call(P9_TLOCK, "41488" "4s", 2, 0, 1, (uint64_t)5, (uint64_t)0, 8, "me"), 0);
    assert_int_equal(body()[0], 1);                  /* blocked, and did not block us */
    assert_int_equal(call(P9_TGETLOCK, "4188" "4s", 2, 0, (uint64_t)5, (uint64_t)0, 8, "me"), 0);
    assert_int_equal(body()[0], 1);
    assert_true(get_le64(body() + 1) == 0 && get_le64(body() + 9) == 10);
    assert_int_equal(call(P9_TLOCK, "41488" "4s", 1, 2, 0, (uint64_t)0, (uint64_t)0, 7, "me"), 0);
    assert_int_equal(call(P9_TLOCK, "41488" "4s", 2, 0, 1, (uint64_t)5, (uint64_t)0, 8, "me"), 0);
    assert_int_equal(body()[0], 0);
    assert_int_equal(call(P9_TLOCK, "41488" "4s", 2, 9, 1, (uint64_t)5, (uint64_t)0, 8, "me"),
                     -EINVAL);
    assert_int_equal(call(P9_TLOCK, "41488" "4s", 2, 0, 1, UINT64_MAX, (uint64_t)0, 8, "me"),
                     -EINVAL);
}

/* ---- what a hostile one tries ---- */

static void links_are_not_followed(void **state)
{
    static const char *const links[] = {"out", "slash", "leak", "dangling"};

    for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
        unsigned fid = 10 + (unsigned)i;
        assert_int_equal(walk(fid, links[i]), 0);
        assert_int_equal(body()[2], 0x02);
        assert_int_equal(call(P9_TLOPEN, "44", fid, O_RDONLY), -ELOOP);
        assert_int_equal(call(P9_TLOPEN, "44", fid, O_WRONLY | O_TRUNC), -ELOOP);
        assert_int_equal(call(P9_TWALK, "442s", fid, 90, 1, "secret"), -ENOTDIR);
        assert_int_equal(call(P9_TLCREATE, "4s444", fid, "new", O_RDWR | O_CREAT, 0644, 0),
                         -ENOTDIR);
        assert_int_equal(call(P9_TMKDIR, "4s44", fid, "new", 0755, 0), -ENOTDIR);
        assert_int_equal(call(P9_TSYMLINK, "4ss4", fid, "new", "x", 0), -ENOTDIR);
        assert_int_equal(call(P9_TLINK, "44s", fid, ROOT, "new"), -ENOTDIR);
        assert_int_equal(call(P9_TUNLINKAT, "4s4", fid, "secret", 0), -ENOTDIR);
        assert_int_equal(call(P9_TRENAMEAT, "4s4s", fid, "secret", ROOT, "got"), -ENOTDIR);
        assert_int_equal(call(P9_TRENAMEAT, "4s4s", ROOT, "file", fid, "put"), -ENOTDIR);
        /* Attributes are the link's own. */
        assert_int_equal(call(P9_TSETATTR, "444448" "8888", fid, 8, 0, 0, 0, (uint64_t)0,
                              (uint64_t)0, (uint64_t)0, (uint64_t)0, (uint64_t)0), -ELOOP);
        call(P9_TSETATTR, "444448" "8888", fid, 1, 0777, 0, 0, (uint64_t)0, (uint64_t)0,
             (uint64_t)0, (uint64_t)0, (uint64_t)0);
        assert_int_equal(call(P9_TSETATTR, "444448" "8888", fid, 16 | 128, 0, 0, 0, (uint64_t)0,
                              (uint64_t)5, (uint64_t)0, (uint64_t)0, (uint64_t)0), 0);
        struct stat st;
        assert_int_equal(stat(in_base("outside/secret"), &st), 0);
        assert_true(st.st_atim.tv_sec != 5);
        /* Creating over a link neither follows nor replaces it. */
        assert_int_equal(call(P9_TWALK, "442", ROOT, 91, 0), 0);
        assert_int_equal(call(P9_TLCREATE, "4s444", 91, links[i], O_RDWR | O_CREAT | O_TRUNC,
                              0644, 0), -ELOOP);
        assert_int_equal(clunk(91), 0);
    }
    assert_int_equal(walk2(92, "out", "secret"), 0);
    assert_int_equal(get_le16(body()), 1);           /* the link, and no further */
    assert_false(exists("outside/new"));
}

static void names_that_climb(void **state)
{
    static const char *const bad[] = {"..", ".", "", "/", "/etc", "a/b", "../outside", "dir/../..",
                                      "file/"};

    assert_int_equal(walk(1, "file"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        if (strcmp(bad[i], "..") != 0)
            assert_int_equal(walk(90, bad[i]), -EINVAL);
        assert_int_equal(call(P9_TWALK, "442", ROOT, 91, 0), 0);
        assert_int_equal(call(P9_TLCREATE, "4s444", 91, bad[i], O_RDWR | O_CREAT, 0644, 0),
                         -EINVAL);
        assert_int_equal(clunk(91), 0);
        assert_int_equal(call(P9_TMKDIR, "4s44", ROOT, bad[i], 0755, 0), -EINVAL);
        assert_int_equal(call(P9_TSYMLINK, "4ss4", ROOT, bad[i], "x", 0), -EINVAL);
        assert_int_equal(call(P9_TLINK, "44s", ROOT, 1, bad[i]), -EINVAL);
        assert_int_equal(call(P9_TUNLINKAT, "4s4", ROOT, bad[i], 0x200), -EINVAL);
        assert_int_equal(call(P9_TRENAMEAT, "4s4s", ROOT, bad[i], ROOT, "x"), -EINVAL);
        assert_int_equal(call(P9_TRENAMEAT, "4s4s", ROOT, "file", ROOT, bad[i]), -EINVAL);
        assert_int_equal(call(P9_TRENAME, "44s", 1, ROOT, bad[i]), -EINVAL);
    }
    /* Above the root is the root. */
    assert_int_equal(call(P9_TWALK, "442sss", ROOT, 5, 3, "..", "..", "file"), 0);
    assert_int_equal(get_le16(body()), 3);
    char name[300];
    memset(name, 'x', 299);
    name[299] = '\0';
    assert_int_equal(walk(90, name), -EPROTO);
}

static void a_directory_that_moves_out(void **state)
{
    assert_int_equal(call(P9_TWALK, "442ss", ROOT, 1, 2, "dir", "deep"), 0);
    assert_int_equal(rename(in_base("top/dir"), in_base("outside/dir")), 0);
    assert_int_equal(call(P9_TWALK, "442s", 1, 2, 1, ".."), -ESTALE);
    assert_int_equal(call(P9_TRENAME, "44s", 1, ROOT, "back"), -ESTALE);
    assert_int_equal(rename(in_base("outside/dir"), in_base("top/dir")), 0);
    assert_int_equal(call(P9_TWALK, "442s", 1, 2, 1, ".."), 0);
    assert_int_equal(rmdir(in_base("top/dir/deep")), 0);
    assert_int_equal(call(P9_TWALK, "442s", 1, 3, 1, ".."), -ESTALE);
    assert_int_equal(call(P9_TREMOVE, "4", 1), -ESTALE);
}

static void special_files(void **state)
{
    assert_int_equal(open_name(1, "fifo", O_RDONLY), -EACCES);
    assert_int_equal(call(P9_TLOPEN, "44", 1, O_RDWR), -EACCES);
    assert_int_equal(call(P9_TWALK, "442", ROOT, 2, 0), 0);
    assert_int_equal(call(P9_TLCREATE, "4s444", 2, "fifo", O_RDWR | O_CREAT, 0644, 0), -EACCES);
}

static void readonly(void **state)
{
    begin(true);
    assert_int_equal(open_name(1, "file", O_RDWR), -EROFS);
    assert_int_equal(call(P9_TLOPEN, "44", 1, O_WRONLY), -EROFS);
    assert_int_equal(call(P9_TLOPEN, "44", 1, O_RDONLY | O_TRUNC), -EROFS);
    assert_int_equal(call(P9_TWALK, "442", ROOT, 2, 0), 0);
    assert_int_equal(call(P9_TLCREATE, "4s444", 2, "n", O_RDWR | O_CREAT, 0644, 0), -EROFS);
    assert_int_equal(call(P9_TMKDIR, "4s44", ROOT, "n", 0755, 0), -EROFS);
    assert_int_equal(call(P9_TSYMLINK, "4ss4", ROOT, "n", "x", 0), -EROFS);
    assert_int_equal(call(P9_TLINK, "44s", ROOT, 1, "n"), -EROFS);
    assert_int_equal(call(P9_TUNLINKAT, "4s4", ROOT, "file", 0), -EROFS);
    assert_int_equal(call(P9_TRENAMEAT, "4s4s", ROOT, "file", ROOT, "n"), -EROFS);
    assert_int_equal(call(P9_TRENAME, "44s", 1, ROOT, "n"), -EROFS);
    for (unsigned valid = 1; valid < 512; valid <<= 1)
        assert_int_equal(call(P9_TSETATTR, "444448" "8888", 1, valid, 0, 0, 0, (uint64_t)0,
                              (uint64_t)0, (uint64_t)0, (uint64_t)0, (uint64_t)0), -EROFS);
    assert_int_equal(call(P9_TLOPEN, "44", 1, O_RDONLY), 0);
    assert_int_equal(write_text(1, 0, "x"), -EBADF);
    assert_int_equal(call(P9_TREMOVE, "4", 1), -EROFS);
    assert_true(holds("top/file", "hello"));
    assert_false(exists("top/n"));
}

static void messages_cut_short(void **state)
{
    static const unsigned types[] = {
        P9_TSTATFS, P9_TLOPEN, P9_TLCREATE, P9_TSYMLINK, P9_TRENAME, P9_TREADLINK, P9_TGETATTR,
        P9_TSETATTR, P9_TREADDIR, P9_TFSYNC, P9_TLOCK, P9_TGETLOCK, P9_TLINK, P9_TMKDIR,
        P9_TRENAMEAT, P9_TUNLINKAT, P9_TATTACH, P9_TWALK, P9_TREAD, P9_TWRITE, P9_TCLUNK,
        P9_TREMOVE, P9_TFLUSH,
    };

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        memset(msg, 0, P9_HEADER);
        put_le32(msg, P9_HEADER);
        msg[4] = (uint8_t)types[i];
        msg_len = P9_HEADER;
        assert_int_equal(send_message(), -EPROTO);
    }
    /* Longer or shorter than it says. */
    call(P9_TCLUNK, "4", 99);
    put_le32(msg, 12);
    assert_int_equal(send_message(), -EPROTO);
    assert_int_equal(call(P9_TCLUNK, "41", 99, 0), -EPROTO);
    assert_int_equal(call(P9_TWALK, "442", ROOT, 5, 17), -EPROTO);
    assert_int_equal(call(P9_TWALK, "442", ROOT, 5, 3), -EPROTO);
    assert_int_equal(call(P9_TREAD, "484", ROOT, (uint64_t)0, 10), -EBADF);
    assert_int_equal(p9_request(s, msg, 6, reply, sizeof reply), 0);
    assert_int_equal(p9_request(s, msg, msg_len, reply, 10), 0);
    assert_true(p9_request(s, msg, msg_len, reply, 11) == 11);
    memset(msg, 0, sizeof msg);
    msg_len = MSIZE + 1;
    put_le32(msg, (uint32_t)msg_len);
    msg[4] = P9_TFLUSH;
    assert_int_equal(send_message(), -EPROTO);
    assert_int_equal(call(255, ""), -EOPNOTSUPP);
    /* A small buffer for the answer. */
    assert_int_equal(open_name(1, "file", O_RDONLY), 0);
    call(P9_TREAD, "484", 1, (uint64_t)0, 0xffffffff);
    assert_true(p9_request(s, msg, msg_len, reply, 14) == 14);
    assert_int_equal(get_le32(body()), 3);
    call(P9_TGETATTR, "48", 1, (uint64_t)0);
    assert_true(p9_request(s, msg, msg_len, reply, 40) == 11);
}

static void many_fids(void **state)
{
    for (unsigned i = 1; i < 400; i++)
        assert_int_equal(walk(i * 64, i % 2 ? "file" : "dir"), 0);
    for (unsigned i = 1; i < 400; i += 3)
        assert_int_equal(clunk(i * 64), 0);
    for (unsigned i = 1; i < 400; i++)
        assert_int_equal(call(P9_TGETATTR, "48", i * 64, (uint64_t)0), i % 3 == 1 ? -EBADF : 0);
    assert_int_equal(call(P9_TVERSION, "4s", MSIZE, "9P2000.L"), 0);
    assert_int_equal(call(P9_TGETATTR, "48", ROOT, (uint64_t)0), -EBADF);
}

static uint64_t seed;

static unsigned pick(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

static const struct { unsigned type; const char *form; } forms[] = {
    {P9_TSTATFS, "4"}, {P9_TLOPEN, "44"}, {P9_TLCREATE, "4s444"}, {P9_TSYMLINK, "4ss4"},
    {P9_TMKNOD, "4s4444"}, {P9_TRENAME, "44s"}, {P9_TREADLINK, "4"}, {P9_TGETATTR, "48"},
    {P9_TSETATTR, "4444488888"}, {P9_TXATTRWALK, "44s"}, {P9_TREADDIR, "484"},
    {P9_TFSYNC, "44"}, {P9_TLOCK, "414884s"}, {P9_TGETLOCK, "41884s"}, {P9_TLINK, "44s"},
    {P9_TMKDIR, "4s44"}, {P9_TRENAMEAT, "4s4s"}, {P9_TUNLINKAT, "4s4"}, {P9_TATTACH, "44ss4"},
    {P9_TFLUSH, "2"}, {P9_TWALK, "442s"}, {P9_TREAD, "484"}, {P9_TWRITE, "484"},
    {P9_TCLUNK, "4"}, {P9_TREMOVE, "4"},
};

static void random_message(void)
{
    static const char *const words[] = {"file", "dir", "..", "out", "slash", "leak", "dangling",
                                        ".", "", "fifo", "a", "b", "../outside", "/", "deep"};
    static const unsigned numbers[] = {0, 1, 1, 2, 3, 4, 5, 0x200, 0644, 01102, 0xffffffff};
    struct p9_out out = {.p = msg, .len = P9_HEADER, .cap = sizeof msg};
    size_t which = pick(ARRAY_SIZE(forms));

    for (const char *f = forms[which].form; *f; f++) {
        if (*f == 's') {
            const char *w = words[pick(ARRAY_SIZE(words))];
            p9_put_text(&out, w, strlen(w));
        } else if (*f == '8') {
            p9_put(&out, pick(16) ? pick(3000) : UINT64_MAX >> pick(3), 8);
        } else {
            p9_put(&out, numbers[pick(ARRAY_SIZE(numbers))], (unsigned)(*f - '0'));
        }
    }
    msg_len = max_u64(out.len - (pick(20) ? 0 : pick(4)), P9_HEADER);
    put_le32(msg, (uint32_t)msg_len);
    msg[4] = (uint8_t)forms[which].type;
    if (!pick(30))
        msg[P9_HEADER + pick((unsigned)(out.len - P9_HEADER))] ^= (uint8_t)(1 << pick(8));
}

/* Messages of every type with arguments that hurt. */
static void random_traffic(void **state)
{
    unsigned fine = 0;

    seed = 42;
    for (int round = 0; round < 60000; round++) {
        random_message();
        fine += send_message() == 0;
        if (round % 16 == 0) {
            call(P9_TATTACH, "44ss4", ROOT, P9_NOFID, "root", "", 0);
            clunk(1 + pick(5));
            walk(1 + pick(5), "dir");
        }
    }
    assert_true(fine > 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        T(versions), T(files), T(names), T(walks), T(directories), T(locks),
        T(links_are_not_followed), T(names_that_climb), T(a_directory_that_moves_out),
        T(special_files), T(readonly), T(messages_cut_short), T(many_fids), T(random_traffic),
#undef T
    };

    if (!mkdtemp(base))
        return 1;
    snprintf(top, sizeof top, "%s/top", base);
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    char command[PATH_MAX];
    snprintf(command, sizeof command, "rm -rf %s", base);
    return system(command) || r;
}
