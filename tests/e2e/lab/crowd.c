// SPDX-License-Identifier: Apache-2.0
/*
 * Thousands of TCP connections at once, and who serves them: what Python is too slow for.
 *
 * crowd serve PORT...              sends back what comes in, both families; ends with a signal
 * crowd hold ADDR PORT N FROM M    opens N connections from the M addresses FROM, FROM + 1, ...
 *                                  and prints "open refused failed"; then, for each line on its
 *                                  input, sends a word of its own on each connection and prints
 *                                  how many brought it back. Ends with its input.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_EVENTS 256
#define AT_ONCE	   256		/* connections that are being opened */
#define LISTENER   (1ull << 32) /* in what epoll says */
#define PATIENCE   8000		/* ms without any progress: the rest has failed */

enum state { OPENING, OPEN, ASKED, GONE };

struct member {
	int fd;
	enum state state;
	uint64_t word;
};

struct crowd {
	int epoll;
	uint32_t n, opening, open, refused, failed;
	struct member *members;
	struct sockaddr_in6 to, from; /* IPv4 addresses in the same place */
	uint32_t n_sources;
};

static void die(const char *what)
{
	fprintf(stderr, "crowd: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void watch(int epoll, int operation, int fd, uint32_t events, uint64_t mark)
{
	struct epoll_event event = { .events = events, .data.u64 = mark };

	if (epoll_ctl(epoll, operation, fd, &event) < 0)
		die("epoll");
}

/* ---- the server ------------------------------------------------------------------------------ */

static int listen_at(int port)
{
	struct sockaddr_in6 addr = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int one = 1, sock = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (sock < 0 || setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(sock, (const struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(sock, 4096) < 0)
		die("listen");
	return sock;
}

static void send_back(int fd)
{
	char data[4096];
	ssize_t n = read(fd, data, sizeof(data));

	if (n < 0 && errno == EAGAIN)
		return;
	/* Words, far less than the socket takes. */
	if (n <= 0 || write(fd, data, n) != n)
		close(fd);
}

static void take_all(int epoll, int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
		watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, fd);
}

static _Noreturn void serve(char **ports)
{
	struct epoll_event events[MAX_EVENTS];
	int epoll = epoll_create1(0);

	for (; *ports; ports++) {
		int listener = listen_at(atoi(*ports));

		watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, LISTENER | listener);
	}
	for (;;) {
		int n = epoll_wait(epoll, events, MAX_EVENTS, -1);

		for (int i = 0; i < n; i++) {
			int fd = (int)(uint32_t)events[i].data.u64;

			if (events[i].data.u64 & LISTENER)
				take_all(epoll, fd);
			else
				send_back(fd);
		}
	}
}

/* ---- the crowd ------------------------------------------------------------------------------- */

static void leave(struct crowd *c, struct member *m, uint32_t *count)
{
	close(m->fd);
	c->opening -= m->state == OPENING;
	c->open -= m->state == OPEN || m->state == ASKED;
	m->state = GONE;
	++*count;
}

/* Source number @i, made of the first one by counting up. */
static struct sockaddr_in6 source(const struct crowd *c, uint32_t i)
{
	struct sockaddr_in6 from = c->from;
	uint32_t *last = from.sin6_family == AF_INET
				 ? &((struct sockaddr_in *)&from)->sin_addr.s_addr
				 : &from.sin6_addr.s6_addr32[3];

	*last = htonl(ntohl(*last) + i);
	return from;
}

static void begin(struct crowd *c, uint32_t i)
{
	struct sockaddr_in6 from = source(c, i % c->n_sources);
	struct member *m = &c->members[i];
	int one = 1;

	m->fd = socket(c->to.sin6_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	m->word = (uint64_t)i << 32 | 1;
	c->opening++;
	/* The port is chosen with the connection: only the whole tuple must be free. */
	if (m->fd < 0 ||
	    setsockopt(m->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)) < 0 ||
	    bind(m->fd, (const struct sockaddr *)&from, sizeof(from)) < 0)
		die("socket");
	setsockopt(m->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(m->fd, (const struct sockaddr *)&c->to, sizeof(c->to)) < 0 &&
	    errno != EINPROGRESS) {
		leave(c, m, &c->failed);
		return;
	}
	watch(c->epoll, EPOLL_CTL_ADD, m->fd, EPOLLOUT, i);
}

static void opened(struct crowd *c, struct member *m, uint32_t i)
{
	int error = 0;
	socklen_t len = sizeof(error);

	getsockopt(m->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error) {
		leave(c, m, error == ECONNREFUSED ? &c->refused : &c->failed);
		return;
	}
	m->state = OPEN;
	c->opening--;
	c->open++;
	watch(c->epoll, EPOLL_CTL_MOD, m->fd, EPOLLIN, i);
}

static void open_all(struct crowd *c)
{
	struct epoll_event events[MAX_EVENTS];
	uint32_t begun = 0;

	while (begun < c->n || c->opening) {
		int n;

		while (begun < c->n && c->opening < AT_ONCE)
			begin(c, begun++);
		n = epoll_wait(c->epoll, events, MAX_EVENTS, PATIENCE);
		if (!n)
			break;
		for (int i = 0; i < n; i++) {
			uint32_t who = events[i].data.u64;

			if (c->members[who].state == OPENING)
				opened(c, &c->members[who], who);
		}
	}
	for (uint32_t i = 0; i < begun; i++)
		if (c->members[i].state == OPENING)
			leave(c, &c->members[i], &c->failed);
}

/* Did the member's word come back? */
static void answered(struct crowd *c, struct member *m, uint32_t *alive, uint32_t *lost)
{
	uint64_t word = 0;
	ssize_t n = recv(m->fd, &word, sizeof(word), 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n != sizeof(word) || word != m->word || m->state != ASKED) {
		leave(c, m, lost);
		return;
	}
	m->state = OPEN;
	++*alive;
}

/* Sends member @i its word. Returns 1 if it is asked now. */
static int ask(struct crowd *c, uint32_t i, uint32_t *lost)
{
	struct member *m = &c->members[i];

	if (m->state != OPEN)
		return 0;
	m->word++;
	if (send(m->fd, &m->word, sizeof(m->word), MSG_NOSIGNAL) != sizeof(m->word)) {
		leave(c, m, lost);
		return 0;
	}
	m->state = ASKED;
	return 1;
}

/* Returns how many brought their word back. Not all at once: devices have short queues. */
static uint32_t check_all(struct crowd *c)
{
	struct epoll_event events[MAX_EVENTS];
	uint32_t next = 0, asked = 0, alive = 0, lost = 0;

	for (;;) {
		int n;

		while (next < c->n && asked - alive - lost < AT_ONCE)
			asked += ask(c, next++, &lost);
		if (alive + lost >= asked && next == c->n)
			return alive;
		n = epoll_wait(c->epoll, events, MAX_EVENTS, PATIENCE);
		if (!n)
			return alive;
		for (int i = 0; i < n; i++) {
			struct member *m = &c->members[(uint32_t)events[i].data.u64];

			if (m->state == OPEN || m->state == ASKED)
				answered(c, m, &alive, &lost);
		}
	}
}

/* The address at @text with @port. */
static struct sockaddr_in6 address(const char *text, int port)
{
	struct sockaddr_in6 addr = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&addr;

	if (inet_pton(AF_INET6, text, &addr.sin6_addr) == 1)
		return addr;
	memset(&addr, 0, sizeof(addr));
	v4->sin_family = AF_INET;
	v4->sin_port = htons(port);
	if (inet_pton(AF_INET, text, &v4->sin_addr) != 1)
		die(text);
	return addr;
}

static int hold(char **argv)
{
	struct crowd c = { .epoll = epoll_create1(0), .n = strtoul(argv[2], NULL, 10) };
	char line[64];

	c.to = address(argv[0], atoi(argv[1]));
	c.from = address(argv[3], 0);
	c.n_sources = strtoul(argv[4], NULL, 10);
	c.members = calloc(c.n, sizeof(*c.members));
	if (c.epoll < 0 || !c.members || !c.n_sources)
		die("hold");
	open_all(&c);
	printf("%u %u %u\n", c.open, c.refused, c.failed);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		printf("%u\n", check_all(&c));
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit files;

	signal(SIGPIPE, SIG_IGN);
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	if (argc > 2 && !strcmp(argv[1], "serve"))
		serve(argv + 2);
	if (argc == 7 && !strcmp(argv[1], "hold"))
		return hold(argv + 2);
	fprintf(stderr, "usage: crowd serve PORT... | crowd hold ADDR PORT N FROM M\n");
	return 2;
}
