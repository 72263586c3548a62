/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * http.c - files on web servers, read-only, by libcurl: "http://" and "https://".
 *
 * Needs a server that serves ranges (RFC 9110, section 14); the first request finds
 * that out together with the size. Every answer is checked to be the range asked for
 * of a file of that size: a server that starts to send something else makes read
 * errors, not other data. Each thread that reads uses an easy handle, with its
 * connection, of its own.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "base/bug.h"
#include "base/error.h"
#include "block/module.h"

enum { HANDLES = 8, CONNECT_S = 10, SILENCE_S = 20, REDIRECTS = 5, PIECE_BYTES = 4 << 20 };

struct http {
    pthread_mutex_t lock;
    CURL *idle[HANDLES];
    unsigned idles;
    uint64_t bytes;
};

/* What one answer brings. */
struct answer {
    char *buf;
    size_t want, got;
    uint64_t first, total;           /* of Content-Range */
    bool has_range;
    long status;
    char why[CURL_ERROR_SIZE];
};

static size_t on_body(char *data, size_t size, size_t n, void *opaque)
{
    struct answer *a = opaque;

    n *= size;
    if (n > a->want - a->got)
        return 0;                    /* ends the transfer: not what was asked for */
    memcpy(a->buf + a->got, data, n);
    a->got += n;
    return n;
}

/* Redirects have headers of their own: the last answer's count. */
static size_t on_header(char *data, size_t size, size_t n, void *opaque)
{
    static const char name[] = "content-range:";
    struct answer *a = opaque;
    char line[128];

    n *= size;
    if (n > 5 && strncasecmp(data, "HTTP/", 5) == 0)
        a->has_range = false;
    if (n < sizeof name || n >= sizeof line || strncasecmp(data, name, sizeof name - 1) != 0)
        return n;
    memcpy(line, data + sizeof name - 1, n - sizeof name + 1);
    line[n - sizeof name + 1] = 0;
    uint64_t last;
    a->has_range = sscanf(line, " bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64, &a->first, &last,
                          &a->total) == 3;
    return n;
}

static CURL *take(struct http *h)
{
    CURL *c = NULL;

    pthread_mutex_lock(&h->lock);
    if (h->idles)
        c = h->idle[--h->idles];
    pthread_mutex_unlock(&h->lock);
    return c ? c : curl_easy_init();
}

static void give_back(struct http *h, CURL *c)
{
    pthread_mutex_lock(&h->lock);
    if (h->idles < HANDLES) {
        h->idle[h->idles++] = c;
        c = NULL;
    }
    pthread_mutex_unlock(&h->lock);
    if (c)
        curl_easy_cleanup(c);
}

/* One GET of [offset, offset + a->want). 0: an HTTP answer came. */
static int get(struct http *h, const char *url, uint64_t offset, struct answer *a)
{
    char range[64];
    CURL *c = take(h);

    if (!c)
        return -ENOMEM;
    snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, offset, offset + a->want - 1);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_RANGE, range);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)REDIRECTS);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)SILENCE_S);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, a->why);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, a);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, a);
    CURLcode code = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &a->status);
    if (code != CURLE_OK && !a->why[0])
        snprintf(a->why, sizeof a->why, "%s", curl_easy_strerror(code));
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, NULL);
    give_back(h, c);
    /* A whole file or an error page overflows the buffer: that is an answer, too. */
    return code == CURLE_OK || (code == CURLE_WRITE_ERROR && a->status && a->status != 206) ? 0 :
           code == CURLE_OPERATION_TIMEDOUT ? -ETIMEDOUT : -EIO;
}

static int read_piece(struct block *b, uint64_t offset, char *buf, size_t bytes)
{
    struct http *h = b->state;
    int rc = -EIO;

    /* Servers close connections that were idle: once more, on a new one. */
    for (int attempt = 0; attempt < 2 && rc == -EIO; attempt++) {
        struct answer a = {.buf = buf, .want = bytes};

        rc = get(h, b->name, offset, &a);
        if (!rc && (a.status != 206 || !a.has_range || a.first != offset || a.total != h->bytes ||
                    a.got != bytes))
            return -EIO;
    }
    return rc ? -EIO : 0;
}

static int http_perform(struct block *b, const struct block_request *r)
{
    struct http *h = b->state;
    uint64_t inside = r->offset < h->bytes ? min_u64(r->bytes, h->bytes - r->offset) : 0;
    int rc = 0;

    if (r->op != BLOCK_READ)
        return r->op == BLOCK_FLUSH ? 0 : -EROFS;
    char *buf = malloc(min_u64(inside + 1, PIECE_BYTES));
    if (!buf)
        return -ENOMEM;
    for (uint64_t at = 0; at < inside && !rc; at += PIECE_BYTES) {
        size_t len = min_u64(inside - at, PIECE_BYTES);

        rc = read_piece(b, r->offset + at, buf, len);
        if (!rc)
            iov_from_buffer(r->iov, r->iovs, at, buf, len);
    }
    free(buf);
    if (!rc)
        iov_zero(r->iov, r->iovs, inside, r->bytes - inside);
    return rc;
}

static int http_close(struct block *b, struct error **err)
{
    struct http *h = b->state;

    while (h->idles)
        curl_easy_cleanup(h->idle[--h->idles]);
    pthread_mutex_destroy(&h->lock);
    free(h);
    curl_global_cleanup();           /* counts; the last one cleans up */
    return 0;
}

static int refuse(struct block *b, int rc, const struct answer *a, struct error **err)
{
    if (rc)
        error_set(err, -rc, "cannot read '%s': %s", b->name, a->why);
    else if (a->status == 401 || a->status == 403)
        error_set(err, EACCES, "the server refuses '%s' (HTTP status %ld)", b->name, a->status);
    else if (a->status == 404)
        error_set(err, ENOENT, "the server has no '%s' (HTTP status 404)", b->name);
    else if (a->status == 200)
        error_set(err, ENOTSUP, "the server of '%s' does not serve parts of files (ranges)",
                  b->name);
    else
        error_set(err, EIO, "cannot read '%s': HTTP status %ld", b->name, a->status);
    if (!rc && a->status == 401)
        error_hint(err, "http://user:password@host/... gives it a password");
    return err && *err ? -(*err)->code : -EIO;
}

static int http_open(struct block *b, const struct block_open *how, struct error **err)
{
    struct http *h;
    char first;
    struct answer a = {.buf = &first, .want = 1};

    if (!b->readonly) {
        error_set(err, EROFS, "'%s' can only be read", b->name);
        error_hint(err, "open it read-only, or let it be the backing file of an image of your own");
        return -EROFS;
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        return error_set(err, ENOMEM, "libcurl does not start");
    h = calloc(1, sizeof *h);
    BUG_ON(!h);
    pthread_mutex_init(&h->lock, NULL);
    b->state = h;
    int rc = get(h, b->name, 0, &a);
    if (rc == -EIO) {
        a = (struct answer){.buf = &first, .want = 1};
        rc = get(h, b->name, 0, &a);
    }
    if (!rc && a.status == 206 && a.has_range && a.first == 0 && a.total <= INT64_MAX) {
        h->bytes = a.total;
        return 0;
    }
    rc = refuse(b, rc, &a, err);
    http_close(b, NULL);
    return rc;
}

static void http_info(const struct block *b, struct block_info *out)
{
    const struct http *h = b->state;

    out->bytes = h->bytes;
    out->request_align = 1;
    out->best_align = 1 << 16;
}

/* Which ones is in drivers.c; that there are any makes it a protocol. */
static const char *const schemes[] = {NULL};

static const struct block_driver driver = {
    .name = "http",
    .summary = "a file on a web server, read-only",
    .schemes = schemes,
    .open = http_open,
    .close = http_close,
    .info = http_info,
    .perform = http_perform,
};

BLOCK_MODULE(driver);
