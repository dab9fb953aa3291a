// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "metrics/http.h"

static uv_loop_t loop;
static struct shunt_http_server *http;
static struct shunt_ip local;
static uint16_t port;
static bool is_ready;

static int metrics(void *ctx, char **ret_text, size_t *ret_len)
{
	(void)ctx;
	*ret_len = 3 << 20; /* more than a socket takes at once */
	*ret_text = malloc(*ret_len);
	memset(*ret_text, '#', *ret_len);
	return 0;
}

static bool healthy(void *ctx, char *why)
{
	(void)ctx;
	(void)why;
	return true;
}

static bool ready(void *ctx, char *why)
{
	(void)ctx;
	snprintf(why, 512, "eth0 is not guarded");
	return is_ready;
}

static const struct shunt_http_ops ops = {
	.metrics = metrics, .healthy = healthy, .ready = ready, .timeout_s = 1
};

/* A port that nobody has: the kernel's choice, given back. */
static uint16_t free_port(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001) };
	CLEANUP(fd_closep) int fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(addr);

	cr_assert_eq(bind(fd, (struct sockaddr *)&addr, len), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	return ntohs(addr.sin_port);
}

static void setup(void)
{
	struct shunt_err err = { 0 };

	is_ready = false;
	port = free_port();
	cr_assert_eq(shunt_ip_parse("127.0.0.1", &local), 0);
	cr_assert_eq(uv_loop_init(&loop), 0);
	cr_assert_eq(shunt_http_start(&loop, &local, port, &ops, &http, &err), 0, "%s", err.text);
}

static void teardown(void)
{
	shunt_http_stop(http);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0);
}

TestSuite(http, .init = setup, .fini = teardown, .timeout = 20);

static int connect_to_it(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons(port),
				    .sin_addr.s_addr = htonl(0x7f000001) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

/* Sends @request, turns the loop, and reads until the end. */
static char *talk(const char *request)
{
	CLEANUP(fd_closep) int fd = connect_to_it();
	size_t size = 4 << 20, len = 0;
	char *answer = calloc(1, size);
	ssize_t n;

	cr_assert_eq(write(fd, request, strlen(request)), (ssize_t)strlen(request));
	do {
		uv_run(&loop, UV_RUN_NOWAIT);
		n = read(fd, answer + len, size - len - 1);
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0 || (n < 0 && errno == EAGAIN));
	return answer;
}

static void assert_answer(const char *request, const char *start, const char *part)
{
	CLEANUP(freep) char *answer = talk(request);

	cr_expect_eq(strncmp(answer, start, strlen(start)), 0, "%s: %.200s", request, answer);
	cr_expect(strstr(answer, part), "%s: %.400s", request, answer);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

Test(http, the_pages_are_there)
{
	assert_answer(GET("/"), "HTTP/1.1 200", "href=\"/metrics\"");
	assert_answer(GET("/healthz"), "HTTP/1.1 200", "ok");
	assert_answer(GET("/nothing"), "HTTP/1.1 404", "no such page");
	assert_answer(GET("/metrics/"), "HTTP/1.1 404", "no such page");
}

Test(http, a_large_body_arrives_whole)
{
	CLEANUP(freep) char *answer = talk(GET("/metrics"));
	char *body = strstr(answer, "\r\n\r\n");

	cr_assert_not_null(body);
	cr_assert_eq(strlen(body + 4), 3 << 20);
	cr_assert(strstr(answer, "text/plain; version=0.0.4"));
}

Test(http, not_ready_says_why)
{
	assert_answer(GET("/readyz"), "HTTP/1.1 503", "eth0 is not guarded");
	is_ready = true;
	assert_answer(GET("/readyz"), "HTTP/1.1 200", "ok");
}

Test(http, only_get_and_head_are_taken)
{
	assert_answer("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
		      "Connection: close\r\n\r\n",
		      "HTTP/1.1 405", "Allow: GET, HEAD");
	assert_answer("DELETE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 405",
		      "GET only");
	assert_answer("HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		      "HTTP/1.1 200", "Content-Length: 3");
}

Test(http, garbage_ends_its_own_connection_only)
{
	CLEANUP(freep) char *answer = talk("\x16\x03\x01 nonsense\r\n\r\n");

	cr_expect_neq(strncmp(answer, "HTTP/1.1 200", 12), 0);
	assert_answer(GET("/healthz"), "HTTP/1.1 200", "ok");
}

Test(http, one_client_cannot_take_all_connections)
{
	int fds[SHUNT_HTTP_MAX_PER_CLIENT + 4], n_closed = 0;
	char byte;

	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = connect_to_it();
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	for (int i = 0; i < 20; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		n_closed += read(fds[i], &byte, 1) == 0 || errno == ECONNRESET;
		close(fds[i]);
	}
	cr_assert_eq(n_closed, 4);
}

/* Blocks until the server has something to do: only its own timer can wake the loop. */
Test(http, a_silent_connection_is_closed)
{
	CLEANUP(fd_closep) int fd = connect_to_it();
	char byte;

	while (read(fd, &byte, 1) != 0 && errno == EAGAIN)
		uv_run(&loop, UV_RUN_ONCE);
	cr_assert_eq(read(fd, &byte, 1), 0);
}

Test(http, a_taken_port_is_an_error_with_a_sentence)
{
	struct shunt_http_server *second = NULL;
	struct shunt_err err = { 0 };

	cr_assert_eq(shunt_http_start(&loop, &local, port, &ops, &second, &err), -EADDRINUSE);
	cr_assert(strstr(err.text, "127.0.0.1"), "%s", err.text);
	cr_assert_null(second);
}
