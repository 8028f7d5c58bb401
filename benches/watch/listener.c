/* Thousands of watchers in one process: opens them, writes down what each one was told and when.
 *
 *   listener PORT PLAN
 * PLAN is a file with one watcher a line, "sse PATH" or "ws PATH"; "stuck-sse" and "stuck-ws" open their
 * connection and never read from it.
 * It prints "ready OPEN REFUSED" when every connection is answered, and then obeys standard input:
 *   wait N       prints "reached N" as soon as N events have come in, of all watchers together
 *   unstick      the stuck ones read from now on
 *   dump FILE    one line for each thing told: watcher, type, modify_index, nanoseconds, key, separated by
 *                tabs; prints "dumped RECORDS". "eof" is an ended connection, "close" a close frame
 *                (its index is the code, its key the reason)
 *   stop         or the end of standard input: it ends
 * Times are CLOCK_MONOTONIC, which Python's time.monotonic_ns() reads too. One thread, epoll, no copies but
 * of unfinished lines: the machine is shared with the server that is measured. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { UNFINISHED_MAX = 256, READ_MAX = 65536, STUCK_BUFFER = 4096, EVENTS = 4096, PAUSE_US = 1000 };
enum stage { CONNECTING, HEAD, OPEN, ENDED };
enum part { SIZE, DATA, TRAIL };

struct text {
    char *bytes;
    size_t length, room;
};

struct watcher {
    char *path;
    int fd;
    uint8_t is_ws, is_stuck, is_chunked;
    uint8_t stage, part; /* part: where in a chunk or a frame */
    uint8_t opcode, head_length;
    uint8_t head[14];
    uint64_t left; /* bytes of the chunk or the frame still to come */
    struct text line, control;
};

struct record {
    uint32_t watcher, key_length;
    char type[16];
    uint64_t index, at_ns;
    size_t key;
};

static struct watcher *watchers;
static struct record *records;
static struct text keys;
static size_t watcher_count, record_count, record_room;
static size_t answered, open_count, refused, events, wait_for, next_to_open;
static int poller, port;
static char request[8192];

static void fail(const char *what) {
    fprintf(stderr, "listener: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *more(void *old, size_t bytes) {
    void *found = realloc(old, bytes);
    if (!found) fail("memory");
    return found;
}

static void append(struct text *to, const char *bytes, size_t length) {
    if (to->length + length > to->room) {
        to->room = 2 * (to->length + length);
        to->bytes = more(to->bytes, to->room);
    }
    memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static struct record *note(struct watcher *w, const char *type, size_t type_length) {
    if (record_count == record_room) {
        record_room = record_room ? 2 * record_room : 65536;
        records = more(records, record_room * sizeof *records);
    }
    struct record *r = &records[record_count++];
    memset(r, 0, sizeof *r);
    r->watcher = (uint32_t)(w - watchers);
    r->at_ns = now_ns();
    r->key = keys.length;
    memcpy(r->type, type, type_length < sizeof r->type ? type_length : sizeof r->type - 1);
    return r;
}

static void note_key(struct record *r, const char *key, size_t length) {
    append(&keys, key, length);
    r->key_length = (uint32_t)length;
}

/* What stands behind `name` in one line of JSON. Quotes inside values are escaped: no name can be forged. */
static const char *behind(const char *line, size_t length, const char *name) {
    const char *found = memmem(line, length, name, strlen(name));
    return found ? found + strlen(name) : NULL;
}

static size_t quoted(const char *from, const char *end) {
    const char *at = from;
    while (at < end && *at != '"') at += *at == '\\' ? 2 : 1;
    return (size_t)((at < end ? at : end) - from);
}

static void told(struct watcher *w, const char *line, size_t length) {
    const char *end = line + length, *type = behind(line, length, "\"type\":\"");
    const char *key = behind(line, length, "\"key\":\""), *index = behind(line, length, "\"modify_index\":");
    if (!index) index = behind(line, length, "\"resume_index\":");
    struct record *r = note(w, type ? type : "untyped", type ? quoted(type, end) : 7);
    while (index && index < end && *index >= '0' && *index <= '9')
        r->index = r->index * 10 + (uint64_t)(*index++ - '0');
    if (key) note_key(r, key, quoted(key, end));
    if (!w->is_stuck) events++;
}

static void whole_line(struct watcher *w, const char *line, size_t length) {
    if (w->is_ws && length)
        told(w, line, length);
    else if (length > 6 && !memcmp(line, "data: ", 6))
        told(w, line + 6, length - 6);
}

static void content(struct watcher *w, const char *bytes, size_t length) {
    while (length) {
        const char *end = memchr(bytes, '\n', length);
        size_t taken = end ? (size_t)(end - bytes) + 1 : length;
        if (!end) {
            append(&w->line, bytes, length);
        } else if (w->line.length) {
            append(&w->line, bytes, taken - 1);
            whole_line(w, w->line.bytes, w->line.length);
            w->line.length = 0;
        } else {
            whole_line(w, bytes, taken - 1);
        }
        bytes += taken;
        length -= taken;
    }
}

static void end_of(struct watcher *w) {
    if (w->stage == OPEN) open_count--;
    if (w->stage < OPEN) {
        answered++;
        refused++;
    }
    w->stage = ENDED;
    note(w, "eof", 3);
    close(w->fd);
}

static void say(struct watcher *w, uint8_t opcode, const char *payload, size_t length) {
    char frame[6 + 125] = {(char)(0x80 | opcode), (char)(0x80 | length)}; /* masked with zeros */
    memcpy(frame + 6, payload, length);
    if (send(w->fd, frame, 6 + length, MSG_NOSIGNAL) < 0) end_of(w);
}

static void control(struct watcher *w) {
    const unsigned char *bytes = (unsigned char *)w->control.bytes;
    size_t length = w->control.length;
    if (w->opcode == 9) {
        say(w, 10, w->control.bytes, length);
    } else if (w->opcode == 8) {
        struct record *r = note(w, "close", 5);
        r->index = length < 2 ? 1005 : (uint64_t)(bytes[0] << 8 | bytes[1]);
        if (length > 2) note_key(r, w->control.bytes + 2, length - 2);
        say(w, 8, w->control.bytes, length);
    }
    w->control.length = 0;
}

static void end_of_frame(struct watcher *w) {
    w->part = SIZE;
    w->head_length = 0;
    if (w->opcode >= 8) control(w);
}

static size_t frames(struct watcher *w, const char *bytes, size_t length) {
    if (w->part == DATA) {
        size_t taken = length < w->left ? length : (size_t)w->left;
        if (w->opcode < 8)
            content(w, bytes, taken);
        else
            append(&w->control, bytes, taken);
        w->left -= taken;
        if (!w->left) end_of_frame(w);
        return taken;
    }
    w->head[w->head_length++] = (uint8_t)*bytes;
    uint8_t size = w->head_length > 1 ? w->head[1] & 127 : 0;
    size_t whole = size == 127 ? 10 : size == 126 ? 4 : 2;
    if (w->head_length < whole) return 1;
    w->opcode = w->head[0] & 15;
    w->left = whole == 2 ? size : 0;
    for (size_t at = 2; at < whole; at++) w->left = w->left << 8 | w->head[at];
    w->part = DATA;
    if (!w->left) end_of_frame(w);
    return 1;
}

static size_t chunks(struct watcher *w, const char *bytes, size_t length) {
    if (w->part == DATA) {
        size_t taken = length < w->left ? length : (size_t)w->left;
        content(w, bytes, taken);
        w->left -= taken;
        if (!w->left) w->part = TRAIL;
        return taken;
    }
    if (w->part == TRAIL) {
        if (*bytes == '\n') w->part = SIZE;
    } else if (*bytes == '\n') {
        w->part = w->left ? DATA : TRAIL;
    } else if (*bytes != '\r') {
        w->left = w->left * 16 + (uint64_t)(*bytes <= '9' ? *bytes - '0' : (*bytes | 32) - 'a' + 10);
    }
    return 1;
}

static size_t answer(struct watcher *w, const char *bytes) {
    append(&w->line, bytes, 1);
    if (w->line.length < 4 || memcmp(w->line.bytes + w->line.length - 4, "\r\n\r\n", 4)) return 1;
    append(&w->line, "", 1);
    const char *wanted = w->is_ws ? "HTTP/1.1 101" : "HTTP/1.1 200";
    if (strncmp(w->line.bytes, wanted, strlen(wanted))) {
        fprintf(stderr, "listener: %s was answered %.400s\n", w->path, w->line.bytes);
        end_of(w);
        return 1;
    }
    w->is_chunked = !w->is_ws && strcasestr(w->line.bytes, "\r\ntransfer-encoding: chunked") != NULL;
    w->line.length = 0;
    w->stage = OPEN;
    answered++;
    open_count++;
    if (w->is_stuck) epoll_ctl(poller, EPOLL_CTL_DEL, w->fd, NULL);
    return 1;
}

static void came(struct watcher *w, const char *bytes, size_t length) {
    while (length && w->stage != ENDED) {
        size_t taken = length;
        if (w->stage == HEAD)
            taken = answer(w, bytes);
        else if (w->is_ws)
            taken = frames(w, bytes, length);
        else if (w->is_chunked)
            taken = chunks(w, bytes, length);
        else
            content(w, bytes, length);
        bytes += taken;
        length -= taken;
    }
}

static void connected(struct watcher *w) {
    const char *upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s\r\n",
                          w->path, port, w->is_ws ? upgrade : "Accept: text/event-stream\r\n");
    w->stage = HEAD;
    struct epoll_event wish = {.events = EPOLLIN, .data.ptr = w};
    epoll_ctl(poller, EPOLL_CTL_MOD, w->fd, &wish);
    if (send(w->fd, request, (size_t)length, MSG_NOSIGNAL) != length) end_of(w);
}

static void open_some(void) {
    while (next_to_open < watcher_count && next_to_open - answered < UNFINISHED_MAX) {
        struct watcher *w = &watchers[next_to_open++];
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        w->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (w->fd < 0) fail("socket");
        int small = STUCK_BUFFER;
        if (w->is_stuck) setsockopt(w->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        if (connect(w->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) fail("connect");
        struct epoll_event wish = {.events = EPOLLOUT, .data.ptr = w};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, w->fd, &wish)) fail("epoll_ctl");
    }
}

static void readable(struct watcher *w) {
    static char bytes[READ_MAX];
    ssize_t length = recv(w->fd, bytes, sizeof bytes, 0);
    if (length > 0)
        came(w, bytes, (size_t)length);
    else if (length == 0 || (errno != EAGAIN && errno != EINTR))
        end_of(w);
}

static void dump(const char *file) {
    FILE *out = fopen(file, "w");
    if (!out) fail(file);
    for (size_t at = 0; at < record_count; at++) {
        struct record *r = &records[at];
        fprintf(out, "%u\t%s\t%llu\t%llu\t", r->watcher, r->type, (unsigned long long)r->index,
                (unsigned long long)r->at_ns);
        fprintf(out, "%.*s\n", (int)r->key_length, keys.bytes ? keys.bytes + r->key : "");
    }
    if (fclose(out)) fail(file);
    printf("dumped %zu\n", record_count);
}

static void unstick(void) {
    for (size_t at = 0; at < watcher_count; at++) {
        struct epoll_event wish = {.events = EPOLLIN, .data.ptr = &watchers[at]};
        if (watchers[at].is_stuck && watchers[at].stage == OPEN)
            epoll_ctl(poller, EPOLL_CTL_ADD, watchers[at].fd, &wish);
    }
}

static int obeyed(void) {
    static char line[4096];
    static size_t length;
    ssize_t got = read(STDIN_FILENO, line + length, sizeof line - length - 1);
    if (got <= 0) return 0;
    length += (size_t)got;
    line[length] = 0;
    for (char *end; (end = strchr(line, '\n')); memmove(line, end + 1, length + 1)) {
        *end = 0;
        length -= (size_t)(end + 1 - line);
        if (!strncmp(line, "wait ", 5)) wait_for = strtoull(line + 5, NULL, 10);
        if (!strncmp(line, "dump ", 5)) dump(line + 5);
        if (!strcmp(line, "unstick")) unstick();
        if (!strcmp(line, "stop")) return 0;
    }
    return 1;
}

static void read_plan(const char *file) {
    FILE *in = fopen(file, "r");
    char kind[16], path[4096];
    if (!in) fail(file);
    while (fscanf(in, "%15s %4095s", kind, path) == 2) {
        watchers = more(watchers, (watcher_count + 1) * sizeof *watchers);
        struct watcher *w = &watchers[watcher_count++];
        memset(w, 0, sizeof *w);
        w->path = strdup(path);
        w->is_stuck = !strncmp(kind, "stuck-", 6);
        w->is_ws = strstr(kind, "ws") != NULL;
    }
    fclose(in);
}

static void report(void) {
    static int is_ready;
    if (!is_ready && answered == watcher_count) is_ready = printf("ready %zu %zu\n", open_count, refused);
    if (wait_for && events >= wait_for) printf("reached %zu\n", wait_for), wait_for = 0;
    fflush(stdout);
}

int main(int count, char **words) {
    struct rlimit files;
    if (count != 3) return fprintf(stderr, "usage: listener PORT PLAN\n"), 2;
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    port = atoi(words[1]);
    read_plan(words[2]);
    poller = epoll_create1(EPOLL_CLOEXEC);
    static struct epoll_event found[EVENTS];
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &input)) fail("standard input");
    for (;;) {
        open_some();
        report();
        int ready = epoll_wait(poller, found, EVENTS, -1);
        for (int at = 0; at < ready; at++) {
            struct watcher *w = found[at].data.ptr;
            if (!w && !obeyed()) return 0;
            if (w && w->stage == CONNECTING) connected(w);
            else if (w && w->stage != ENDED) readable(w);
        }
        /* Being woken for every single event would cost the server more than it costs its watchers. */
        if (ready > 0 && answered == watcher_count) usleep(PAUSE_US);
    }
}
