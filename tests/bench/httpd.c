// SPDX-License-Identifier: Apache-2.0
/*
 * httpd PORT...: the least that an HTTP/1.1 server does, so that a comparison of paths to it is
 * not drowned by its own work. One thread; one small answer to whatever comes in; the
 * connection stays open unless the request says "close". Ends with a signal.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_EVENTS 256

#define BODY                                                                                       \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678\n"        \
	"012345678901234567890123456789012345678\n"

static const char open_answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 120\r\n\r\n" BODY;
static const char last_answer[] =
	"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 120\r\n\r\n" BODY;

static int die(const char *what)
{
	perror(what);
	exit(1);
}

static int listen_at(int port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(port) };
	int one = 1, sock = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (sock < 0 || setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(sock, (const struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(sock, 4096) < 0)
		die("httpd: listen");
	return sock;
}

static void watch(int epoll, int fd, int is_listener)
{
	/* Which of the two: in the half of the word that no descriptor reaches. */
	struct epoll_event event = { .events = EPOLLIN,
				     .data.u64 = (uint64_t)is_listener << 32 | (uint32_t)fd };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		die("httpd: epoll");
}

static void take_all(int epoll, int listener)
{
	int one = 1, fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		watch(epoll, fd, 0);
	}
}

static void answer(int fd)
{
	char request[4096];
	ssize_t n = read(fd, request, sizeof(request) - 1);
	int last;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		close(fd);
		return;
	}
	request[n] = '\0';
	last = strstr(request, "close") != NULL;
	n = last ? write(fd, last_answer, sizeof(last_answer) - 1)
		 : write(fd, open_answer, sizeof(open_answer) - 1);
	if (n < 0 || last)
		close(fd);
}

int main(int argc, char **argv)
{
	struct epoll_event events[MAX_EVENTS];
	int epoll = epoll_create1(0);

	_Static_assert(sizeof(BODY) - 1 == 120, "as Content-Length says");
	signal(SIGPIPE, SIG_IGN);
	if (epoll < 0 || argc < 2)
		die("httpd: give ports");
	for (int i = 1; i < argc; i++)
		watch(epoll, listen_at(atoi(argv[i])), 1);
	for (;;) {
		int n = epoll_wait(epoll, events, MAX_EVENTS, -1);

		for (int i = 0; i < n; i++) {
			int fd = (int)(uint32_t)events[i].data.u64;

			if (events[i].data.u64 >> 32)
				take_all(epoll, fd);
			else
				answer(fd);
		}
	}
}
