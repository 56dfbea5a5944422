/*
 * The floors under the benchmarks: what the kernel asks for the same bytes, without any
 * protocol above it.
 *
 * usage: floor fanout SUBSCRIBERS FRAME_BYTES
 *            Accepts one publisher and then SUBSCRIBERS. Every FRAME_BYTES that the
 *            publisher sends go to all of them, by a bare loop of send().
 *        floor echo FRAME_BYTES REPLY_BYTES
 *            Accepts whoever comes. For every FRAME_BYTES that are read, one send() of
 *            REPLY_BYTES; which connection has something to read, epoll says.
 *
 * Prints its port first. Ends when the publisher, or the last connection, has gone.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 65536, EVENTS = 4096 };

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int listen_anywhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) ||
        listen(listener, 4096) ||
        getsockname(listener, (struct sockaddr *)&address, &length))
        fail("listen");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static int accept_one(int listener)
{
    int on = 1, fd = accept(listener, NULL, NULL);
    if (fd < 0)
        fail("accept");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static int fanout(int subscribers, size_t size)
{
    int listener = listen_anywhere(), publisher = accept_one(listener);
    int *sockets = calloc((size_t)subscribers, sizeof *sockets);
    char *frame = malloc(size);
    if (!sockets || !frame)
        fail("memory");
    for (int i = 0; i < subscribers; i++)
        sockets[i] = accept_one(listener);
    while (recv(publisher, frame, size, MSG_WAITALL) == (ssize_t)size)
        for (int i = 0; i < subscribers; i++)
            if (send(sockets[i], frame, size, MSG_DONTWAIT | MSG_NOSIGNAL) !=
                (ssize_t)size)
                fail("send");
    return 0;
}

static void watch(int poll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event))
        fail("epoll_ctl");
}

static void reply_to(int fd, ssize_t received, size_t frame, const char *reply,
                     size_t size)
{
    if (received % (ssize_t)frame) {
        fprintf(stderr, "floor: %zd bytes are not whole frames\n", received);
        exit(1);
    }
    for (; received > 0; received -= (ssize_t)frame)
        if (send(fd, reply, size, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)size)
            fail("send");
}

static int echo(size_t frame, size_t size)
{
    static struct epoll_event events[EVENTS];
    static char data[READ_BYTES];
    int listener = listen_anywhere(), poll = epoll_create1(0), connections = 0;
    char *reply = calloc(1, size);
    if (poll < 0 || !reply)
        fail("epoll_create1");
    watch(poll, listener);
    for (;;) {
        int count = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                watch(poll, accept_one(listener));
                connections++;
                continue;
            }
            ssize_t received = read(fd, data, sizeof data);
            if (received > 0) {
                reply_to(fd, received, frame, reply, size);
            } else {
                close(fd);
                if (--connections == 0)
                    return 0;
            }
        }
    }
}

int main(int argc, char **argv)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (argc == 4 && !strcmp(argv[1], "fanout"))
        return fanout(atoi(argv[2]), (size_t)atoi(argv[3]));
    if (argc == 4 && !strcmp(argv[1], "echo"))
        return echo((size_t)atoi(argv[2]), (size_t)atoi(argv[3]));
    fprintf(stderr, "usage: floor fanout SUBSCRIBERS BYTES | floor echo BYTES BYTES\n");
    return 2;
}
