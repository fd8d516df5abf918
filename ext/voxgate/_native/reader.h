// The operating system's part of reader.pyx: sockets that are ready, by Linux's epoll. On other systems no set can be
// opened, and sockets are read by the transports of the event loop.

#ifndef VOXGATE_READER_H
#define VOXGATE_READER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __linux__

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct epoll_event vg_ready_t;

// More may be there than one read returns: the end, an error, or, behind an urgent byte, the rest.
#define VG_READY_MORE (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)

static inline int vg_ready_open(void) { return epoll_create1(EPOLL_CLOEXEC); }

static inline void vg_ready_close(int set) { close(set); }

static inline int vg_ready_change(int set, int change, int fd, uint64_t key, int is_armed) {
    // Edge-triggered: the kernel does not look at a socket again that was read until nothing was left.
    vg_ready_t event = {.events = is_armed ? EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET : EPOLLET, .data.u64 = key};
    return epoll_ctl(set, change, fd, &event);
}

static inline int vg_ready_add(int set, int fd, uint64_t key) {
    return vg_ready_change(set, EPOLL_CTL_ADD, fd, key, 1);
}

static inline int vg_ready_arm(int set, int fd, uint64_t key, int is_armed) {
    return vg_ready_change(set, EPOLL_CTL_MOD, fd, key, is_armed);
}

static inline int vg_ready_remove(int set, int fd) { return vg_ready_change(set, EPOLL_CTL_DEL, fd, 0, 0); }

static inline int vg_ready_list(int set, vg_ready_t *events, int n) { return epoll_wait(set, events, n, 0); }

static inline uint64_t vg_ready_key(const vg_ready_t *event) { return event->data.u64; }

static inline int vg_ready_has_more(const vg_ready_t *event) { return (event->events & VG_READY_MORE) != 0; }

static inline ptrdiff_t vg_ready_receive(int fd, void *data, size_t n) { return recv(fd, data, n, MSG_DONTWAIT); }

#else

#include <errno.h>

typedef struct { uint64_t key; } vg_ready_t;

static inline int vg_ready_open(void) { errno = ENOSYS; return -1; }
static inline void vg_ready_close(int set) { (void)set; }
static inline int vg_ready_add(int set, int fd, uint64_t key) { (void)set; (void)fd; (void)key; return -1; }
static inline int vg_ready_arm(int set, int fd, uint64_t key, int is_armed) {
    (void)set; (void)fd; (void)key; (void)is_armed; return -1;
}
static inline int vg_ready_remove(int set, int fd) { (void)set; (void)fd; return -1; }
static inline int vg_ready_list(int set, vg_ready_t *events, int n) { (void)set; (void)events; (void)n; return -1; }
static inline uint64_t vg_ready_key(const vg_ready_t *event) { return event->key; }
static inline int vg_ready_has_more(const vg_ready_t *event) { (void)event; return 0; }
static inline ptrdiff_t vg_ready_receive(int fd, void *data, size_t n) {
    (void)fd; (void)data; (void)n; errno = ENOSYS; return -1;
}

#endif

#endif
