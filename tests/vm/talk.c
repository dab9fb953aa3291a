// SPDX-License-Identifier: Apache-2.0
/*
 * Both ends of a TCP conversation for the virtual machines, where nothing else is at hand.
 *
 *   talk serve NAME PORT		 answers each line with NAME, for ever
 *   talk count N ADDR PORT	 N connections, a line each; prints "NAME=COUNT ..."
 *   talk hold FILE ADDR PORT	 one connection, a line every 50 ms, until FILE is gone; prints
 *			 "NAME=LINES"
 *
 * Exit status: 0; 1: a connection failed, or a held one changed its backend.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_NAMES    8
#define NAME_LEN     16
#define MAX_CLIENTS  64
#define ANSWER_MS    5000
#define HOLD_STEP_US 50000

static int fail(const char *what)
{
	fprintf(stderr, "talk: %s: %s\n", what, strerror(errno));
	return 1;
}

/* ---- the server: one process, for a fork is dear under emulation ---------------------------- */

static int listen_on(const char *port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(port)) };
	int fd = socket(AF_INET6, SOCK_STREAM, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(fd, 1024) < 0)
		return -1;
	return fd;
}

/* Answers what came on @fd. Return: 0: the client has closed. */
static int answer(int fd, const char *name)
{
	char line[64];
	ssize_t n = read(fd, line, sizeof(line));

	return n > 0 && write(fd, name, strlen(name)) > 0;
}

static int serve(const char *name, const char *port)
{
	struct pollfd fds[1 + MAX_CLIENTS] = { { .fd = listen_on(port), .events = POLLIN } };
	char text[NAME_LEN + 1];
	int n = 1;

	if (fds[0].fd < 0)
		return fail("listen");
	snprintf(text, sizeof(text), "%.14s\n", name);
	while (poll(fds, n, -1) > 0) {
		for (int i = n - 1; i > 0; i--) {
			if (!fds[i].revents || answer(fds[i].fd, text))
				continue;
			close(fds[i].fd);
			fds[i] = fds[--n];
		}
		/* Full: the next one waits in the backlog. */
		if (fds[0].revents && n <= MAX_CLIENTS)
			fds[n++] = (struct pollfd){ .fd = accept(fds[0].fd, NULL, NULL),
						    .events = POLLIN };
	}
	return fail("poll");
}

/* ---- the client ------------------------------------------------------------------------------ */

static int connect_to(const char *addr, const char *port)
{
	struct timeval limit = { .tv_sec = ANSWER_MS / 1000 };
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST };
	struct addrinfo *to;
	int fd;

	if (getaddrinfo(addr, port, &hints, &to))
		return -1;
	fd = socket(to->ai_family, SOCK_STREAM, 0);
	if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
			setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
			connect(fd, to->ai_addr, to->ai_addrlen) < 0)) {
		close(fd);
		fd = -1;
	}
	freeaddrinfo(to);
	return fd;
}

/* Asks once. Return: 0 with the server's name. */
static int ask(int fd, char name[NAME_LEN])
{
	ssize_t n;

	if (write(fd, "?\n", 2) != 2)
		return -1;
	n = read(fd, name, NAME_LEN - 1);
	if (n <= 1)
		return -1;
	name[n - 1] = '\0';
	return 0;
}

static int count(int n, const char *addr, const char *port)
{
	struct {
		char name[NAME_LEN];
		int n;
	} seen[MAX_NAMES] = { { "", 0 } };
	char name[NAME_LEN];

	for (int i = 0; i < n; i++) {
		int fd = connect_to(addr, port), s = 0;

		if (fd < 0 || ask(fd, name) < 0)
			return fail(addr);
		close(fd);
		while (s < MAX_NAMES - 1 && seen[s].n && strcmp(seen[s].name, name))
			s++;
		strcpy(seen[s].name, name);
		seen[s].n++;
	}
	for (int s = 0; s < MAX_NAMES && seen[s].n; s++)
		printf("%s=%d\n", seen[s].name, seen[s].n);
	return 0;
}

static int hold(const char *file, const char *addr, const char *port)
{
	char first[NAME_LEN], name[NAME_LEN];
	int fd = connect_to(addr, port), n = 1;

	if (fd < 0 || ask(fd, first) < 0)
		return fail(addr);
	for (; !access(file, F_OK); n++) {
		usleep(HOLD_STEP_US);
		if (ask(fd, name) < 0)
			return fail("the held connection");
		if (strcmp(first, name))
			return fail("the held connection has another backend");
	}
	printf("%s=%d\n", first, n);
	return 0;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 4 && !strcmp(argv[1], "serve"))
		return serve(argv[2], argv[3]);
	if (argc == 5 && !strcmp(argv[1], "count"))
		return count(atoi(argv[2]), argv[3], argv[4]);
	if (argc == 5 && !strcmp(argv[1], "hold"))
		return hold(argv[2], argv[3], argv[4]);
	fprintf(stderr, "talk: see the head of talk.c\n");
	return 2;
}
