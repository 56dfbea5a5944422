/*
 * The floor under fanout.py: the same bytes to as many sockets, by a bare loop of send().
 *
 * usage: floor CONNECTIONS ROUNDS GAP_US FRAME_BYTES
 *
 * Prints the port, accepts CONNECTIONS, waits for a line on standard input, sends ROUNDS
 * frames of FRAME_BYTES to each with a pause between the rounds, and prints the
 * microseconds of CPU (user and system of this process) per frame. Repeats for every
 * further line, until standard input ends.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static double cpu_us(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
           used.ru_utime.tv_usec + used.ru_stime.tv_usec;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: floor CONNECTIONS ROUNDS GAP_US FRAME_BYTES\n");
        return 2;
    }
    int connections = atoi(argv[1]), rounds = atoi(argv[2]), gap_us = atoi(argv[3]);
    size_t size = (size_t)atoi(argv[4]);
    int *sockets = calloc((size_t)connections, sizeof *sockets);
    char *frame = calloc(1, size), line[64];
    if (!sockets || !frame)
        return 1;
    memset(frame, 'x', size);

    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    if (bind(listener, (struct sockaddr *)&address, sizeof address) ||
        listen(listener, 2048) ||
        getsockname(listener, (struct sockaddr *)&address, &length)) {
        perror("floor");
        return 1;
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (int i = 0; i < connections; i++) {
        sockets[i] = accept(listener, NULL, NULL);
        setsockopt(sockets[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }

    while (fgets(line, sizeof line, stdin)) {
        long sent = 0;
        double before = cpu_us();
        for (int round = 0; round < rounds; round++) {
            for (int i = 0; i < connections; i++)
                sent += send(sockets[i], frame, size, MSG_DONTWAIT | MSG_NOSIGNAL) ==
                        (ssize_t)size;
            usleep((useconds_t)gap_us);
        }
        if (sent != (long)connections * rounds) {
            fprintf(stderr, "floor: %ld of %ld frames were sent\n", sent,
                    (long)connections * rounds);
            return 1;
        }
        printf("%.3f\n", (cpu_us() - before) / (double)sent);
        fflush(stdout);
    }
    return 0;
}
