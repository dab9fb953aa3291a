// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ctl/ctl.h"
#include "ctl/line.h"
#include "ctl/server.h"
#include "fake_agent.h"

#define TIMEOUT_MS 5000

/* ---- the agent's side ------------------------------------------------------------------------ */

struct later {
	uv_timer_t timer;
	struct shunt_ctl_reply *reply;
};

static void free_handle(uv_handle_t *handle)
{
	free(handle->data);
}

static void on_later(uv_timer_t *timer)
{
	struct later *later = timer->data;

	shunt_ctl_reply_ok(later->reply, json_string("later"));
	uv_close((uv_handle_t *)timer, free_handle);
}

static void answer_later(struct fake_agent *agent, struct shunt_ctl_reply *reply, uint64_t ms)
{
	struct later *later = calloc(1, sizeof(*later));

	later->reply = reply;
	uv_timer_init(fake_agent_loop(agent), &later->timer);
	later->timer.data = later;
	uv_timer_start(&later->timer, on_later, ms, 0);
}

static json_t *long_string(size_t len)
{
	char *text = malloc(len);
	json_t *json;

	memset(text, 'x', len);
	json = json_stringn(text, len);
	free(text);
	return json;
}

static void handle(void *ctx, const struct shunt_ctl_peer *peer, const char *command, json_t *args,
		   struct shunt_ctl_reply *reply)
{
	struct fake_agent *agent = ctx;

	if (!strcmp(command, "echo")) {
		shunt_ctl_reply_ok(reply, json_incref(args));
	} else if (!strcmp(command, "who")) {
		shunt_ctl_reply_ok(reply,
				   json_pack("{s:i, s:i}", "uid", peer->uid, "pid", peer->pid));
	} else if (!strcmp(command, "later")) {
		answer_later(agent, reply, 50);
	} else if (!strcmp(command, "much")) {
		shunt_ctl_reply_ok(reply, long_string(16 << 20));
	} else if (!strcmp(command, "follow")) {
		shunt_ctl_reply_follow(reply, json_pack("[s, s]", "old", "older"));
	} else if (!strcmp(command, "publish")) {
		shunt_ctl_server_publish(fake_agent_server(agent), json_string("new"));
		shunt_ctl_reply_ok(reply, json_null());
	} else if (!strcmp(command, "flood")) {
		for (int i = 0; i < 64; i++)
			shunt_ctl_server_publish(fake_agent_server(agent), long_string(1 << 16));
		shunt_ctl_reply_ok(reply, json_null());
	} else {
		shunt_ctl_reply_fail(reply, SHUNT_CTL_REFUSED, "no command %s", command);
	}
}

/* ---- the peer's side --------------------------------------------------------------------------
 */

static int dial(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0, "%s", strerror(errno));
	return fd;
}

/* Reads until the peer closes or @ms are over. Return: bytes, or -1 when it did not close. */
static ssize_t read_all(int fd, char *buf, size_t size, int ms)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	size_t len = 0;
	ssize_t n;

	while (poll(&poll_fd, 1, ms) > 0) {
		n = recv(fd, buf + len, size - 1 - len, 0);
		if (n <= 0) {
			buf[len] = '\0';
			return (ssize_t)len;
		}
		len += (size_t)n;
	}
	return -1;
}

static void cr_assert_alive(const struct fake_agent *agent)
{
	json_auto_t *result = NULL;
	struct shunt_err err = { 0 };
	int exit_code;

	cr_assert_eq(shunt_ctl_call(fake_agent_socket(agent), "echo", NULL, TIMEOUT_MS, &result,
				    &exit_code, &err),
		     0, "%s", err.text);
}

static void cr_assert_one_refusal(const char *text, const char *code)
{
	char want[32];

	snprintf(want, sizeof(want), "\"code\":\"%s\"", code);
	cr_assert(strstr(text, want), "want %s: %s", code, text);
	cr_assert_eq(strchr(text, '\n'), text + strlen(text) - 1, "not one line: %s", text);
}

/* ---- requests and answers ---------------------------------------------------------------------
 */

Test(ctl, arguments_come_back_from_an_echo)
{
	struct fake_agent *agent = fake_agent_start(handle, NULL, NULL);
	json_auto_t *args = json_pack("{s:s, s:i}", "service", "shop/\u00e4pi\n", "n", 5);
	json_auto_t *result = NULL;
	struct shunt_err err = { 0 };
	int exit_code = -1;

	cr_assert_eq(shunt_ctl_call(fake_agent_socket(agent), "echo", args, TIMEOUT_MS, &result,
				    &exit_code, &err),
		     0, "%s", err.text);
	cr_assert_eq(exit_code, 0);
	cr_assert(json_equal(args, result));
	fake_agent_stop(agent);
}

Test(ctl, an_answer_may_come_later)
{
	struct fake_agent *agent = fake_agent_start(handle, NULL, NULL);
	json_auto_t *result = NULL;
	int exit_code;

	cr_assert_eq(shunt_ctl_call(fake_agent_socket(agent), "later", NULL, TIMEOUT_MS, &result,
				    &exit_code, NULL),
		     0);
	cr_assert_str_eq(json_string_value(result), "later");
	fake_agent_stop(agent);
}

Test(ctl, a_long_answer_arrives_whole)
{
	struct fake_agent *agent = fake_agent_start(handle, NULL, NULL);
	json_auto_t *result = NULL;
	int exit_code;

	cr_assert_eq(shunt_ctl_call(fake_agent_socket(agent), "much", NULL, TIMEOUT_MS, &result,
				    &exit_code, NULL),
		     0);
	cr_assert_eq(json_string_length(result), 16 << 20);
	fake_agent_stop(agent);
}

Test(ctl, a_refusal_carries_its_code_and_sentence)
{
	struct fake_agent *agent = fake_agent_start(handle, NULL, NULL);
	struct shunt_err err = { 0 };
	json_t *result = NULL;
	int exit_code;

	cr_assert_eq(shunt_ctl_call(fake_agent_socket(agent), "nonsense", NULL, TIMEOUT_MS, &result,
				    &exit_code, &err),
		     -EREMOTEIO);
	cr_assert_null(result);
	cr_assert_eq(exit_code, SHUNT_CTL_REFUSED);
	cr_assert_str_eq(err.text, "no command nonsense");
	fake_agent_stop(agent);
}

Test(ctl, the_agent_learns_who_asks)
{
	struct fake_agent *agent = fake_agent_start(handle, NULL, NULL);
	json_auto_t *result = NULL;
	int exit_code;

	cr_assert_eq(shunt_ctl_call(fake_agent_socket(agent), "who", NULL, TIMEOUT_MS, &result,
				    &exit_code, NULL),
		     0);
	cr_assert_eq(json_integer_value(json_object_get(result, "uid")), geteuid());
	cr_assert_eq(json_integer_value(json_object_get(result, "pid")), getpid());
	fake_agent_stop(agent);
}

Test(ctl, several_requests_of_one_connection_are_answered_in_order)
{
	static const char lines[] = "{\"command\":\"later\"}\n{\"command\":\"x\"}\n"
				    "{\"command\":\"echo\",\"args\":{\"n\":3}}\n";
	struct fake_agent *agent = fake_agent_start(handle, NULL, NULL);
	int fd = dial(fake_agent_socket(agent));
	char buf[4096];

	cr_assert_eq(send(fd, lines, strlen(lines), 0), (ssize_t)strlen(lines));
	shutdown(fd, SHUT_WR);
	cr_assert_geq(read_all(fd, buf, sizeof(buf), TIMEOUT_MS), 0);
	cr_assert_str_eq(buf, "{\"ok\":true,\"result\":\"later\"}\n"
			      "{\"ok\":false,\"code\":\"REFUSED\",\"error\":\"no command x\"}\n"
			      "{\"ok\":true,\"result\":{\"n\":3}}\n");
	close(fd);
	fake_agent_stop(agent);
}

/* ---- bad peers --------------------------------------------------------------------------------
 */

static const struct {
	const char *what, *line;
	size_t len;
} garbage[] = {
#define GARBAGE(what, line)                                                                        \
	{                                                                                          \
		what, line, sizeof(line) - 1                                                       \
	}
	GARBAGE("nothing", "\n"),
	GARBAGE("words", "GET / HTTP/1.1\r\n"),
	GARBAGE("NUL bytes", "\0\0\0\0\n"),
	GARBAGE("half an object", "{\"command\":\n"),
	GARBAGE("an array", "[]\n"),
	GARBAGE("a number", "42\n"),
	GARBAGE("no command", "{}\n"),
	GARBAGE("a command that is a number", "{\"command\":1}\n"),
	GARBAGE("args that are a list", "{\"command\":\"echo\",\"args\":[]}\n"),
	GARBAGE("an unknown member", "{\"command\":\"echo\",\"arg\":{}}\n"),
	GARBAGE("a member twice", "{\"command\":\"echo\",\"command\":\"echo\"}\n"),
	GARBAGE("two objects", "{\"command\":\"echo\"}{\"command\":\"echo\"}\n"),
	GARBAGE("bad UTF-8", "{\"command\":\"\xff\xfe\"}\n"),
	GARBAGE("an escaped NUL", "{\"command\":\"a\\u0000b\"}\n"),
};

Test(ctl, garbage_gets_one_usage_answer_and_the_agent_lives)
{
	struct fake_agent *agent = fake_agent_start(handle, NULL, NULL);
	char buf[4096];
	int fd;

	for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
		fd = dial(fake_agent_socket(agent));
		send(fd, garbage[i].line, garbage[i].len, MSG_NOSIGNAL);
		cr_assert_geq(read_all(fd, buf, sizeof(buf), TIMEOUT_MS), 0, "%s: not closed",
			      garbage[i].what);
		cr_assert_one_refusal(buf, "USAGE");
		close(fd);
	}
	cr_assert_alive(agent);
	fake_agent_stop(agent);
}

Test(ctl, random_bytes_and_deep_nesting_do_not_hurt)
{
	struct fake_agent *agent = fake_agent_start(handle, NULL, NULL);
	char bytes[65536], buf[4096];
	int fd;

	srand(7);
	for (int round = 0; round < 50; round++) {
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = round == 0 ? '[' : (char)rand();
		fd = dial(fake_agent_socket(agent));
		send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
		send(fd, "\n", 1, MSG_NOSIGNAL);
		cr_assert_geq(read_all(fd, buf, sizeof(buf), TIMEOUT_MS), 0);
		cr_assert_one_refusal(buf, "USAGE");
		close(fd);
	}
	cr_assert_alive(agent);
	fake_agent_stop(agent);
}

Test(ctl, a_line_beyond_the_limit_is_refused)
{
	struct fake_agent *agent = fake_agent_start(handle, NULL, NULL);
	int fd = dial(fake_agent_socket(agent));
	char *text = malloc(SHUNT_CTL_MAX_REQUEST + 65536), buf[4096];
	ssize_t n = 0, sent = 0;

	memset(text, ' ', SHUNT_CTL_MAX_REQUEST + 65536);
	while (sent < SHUNT_CTL_MAX_REQUEST + 65536 && n >= 0) {
		n = send(fd, text, SHUNT_CTL_MAX_REQUEST + 65536 - (size_t)sent, MSG_NOSIGNAL);
		sent += n;
	}
	cr_assert_geq(read_all(fd, buf, sizeof(buf), TIMEOUT_MS), 0);
	cr_assert_one_refusal(buf, "USAGE");
	cr_assert(strstr(buf, "longer than 1 MiB"));
	free(text);
	close(fd);
	cr_assert_alive(agent);
	fake_agent_stop(agent);
}

Test(ctl, a_line_at_the_limit_is_taken)
{
	struct fake_agent *agent = fake_agent_start(handle, NULL, NULL);
	json_auto_t *args = json_pack("{s:o}", "x", long_string(SHUNT_CTL_MAX_REQUEST - 100));
	json_auto_t *result = NULL;
	int exit_code;

	cr_assert_eq(shunt_ctl_call(fake_agent_socket(agent), "echo", args, TIMEOUT_MS, &result,
				    &exit_code, NULL),
		     0);
	fake_agent_stop(agent);
}

Test(ctl, the_client_hears_a_refusal_that_comes_while_it_still_writes)
{
	struct fake_agent *agent = fake_agent_start(handle, NULL, NULL);
	json_auto_t *args = json_pack("{s:o}", "x", long_string(8 * SHUNT_CTL_MAX_REQUEST));
	struct shunt_err err = { 0 };
	json_t *result = NULL;
	int exit_code;

	cr_assert_eq(shunt_ctl_call(fake_agent_socket(agent), "echo", args, TIMEOUT_MS, &result,
				    &exit_code, &err),
		     -EREMOTEIO, "%s", err.text);
	cr_assert_eq(exit_code, SHUNT_CTL_USAGE);
	cr_assert(strstr(err.text, "longer than 1 MiB"), "%s", err.text);
	fake_agent_stop(agent);
}

Test(ctl, half_a_line_ends_after_the_idle_time_however_it_drips)
{
	struct shunt_ctl_server_opts opts = { .idle_ms = 300 };
	struct fake_agent *agent = fake_agent_start(handle, NULL, &opts);
	int quiet = dial(fake_agent_socket(agent)), drip = dial(fake_agent_socket(agent));
	char buf[4096];

	for (int i = 0; i < 20; i++) {
		if (send(drip, " ", 1, MSG_NOSIGNAL) < 0)
			break;
		usleep(50000);
	}
	cr_assert_geq(read_all(drip, buf, sizeof(buf), 100), 0, "still open");
	cr_assert_one_refusal(buf, "USAGE");
	cr_assert_geq(read_all(quiet, buf, sizeof(buf), 100), 0, "still open");
	cr_assert_one_refusal(buf, "USAGE");
	close(quiet);
	close(drip);
	cr_assert_alive(agent);
	fake_agent_stop(agent);
}

Test(ctl, the_idle_time_does_not_run_while_an_answer_is_awaited)
{
	struct shunt_ctl_server_opts opts = { .idle_ms = 10 };
	struct fake_agent *agent = fake_agent_start(handle, NULL, &opts);
	json_auto_t *result = NULL;
	int exit_code;

	cr_assert_eq(shunt_ctl_call(fake_agent_socket(agent), "later", NULL, TIMEOUT_MS, &result,
				    &exit_code, NULL),
		     0);
	fake_agent_stop(agent);
}

Test(ctl, a_peer_that_does_not_read_is_closed)
{
	static const char line[] = "{\"command\":\"much\"}\n";
	struct shunt_ctl_server_opts opts = { .idle_ms = 200 };
	struct fake_agent *agent = fake_agent_start(handle, NULL, &opts);
	int fd = dial(fake_agent_socket(agent));
	static char buf[17 << 20];
	ssize_t n;

	send(fd, line, strlen(line), 0);
	usleep(600000);
	n = read_all(fd, buf, sizeof(buf), TIMEOUT_MS);
	cr_assert(n >= 0 && n < 16 << 20, "got all %zd bytes", n);
	close(fd);
	cr_assert_alive(agent);
	fake_agent_stop(agent);
}

Test(ctl, a_peer_that_leaves_before_its_answer_does_not_hurt)
{
	static const char line[] = "{\"command\":\"later\"}\n";
	struct fake_agent *agent = fake_agent_start(handle, NULL, NULL);
	int fd;

	for (int i = 0; i < 100; i++) {
		fd = dial(fake_agent_socket(agent));
		send(fd, line, strlen(line), 0);
		close(fd);
	}
	usleep(100000);
	cr_assert_alive(agent);
	fake_agent_stop(agent);
}

Test(ctl, the_agent_may_stop_while_an_answer_is_awaited)
{
	static const char line[] = "{\"command\":\"later\"}\n";
	struct fake_agent *agent = fake_agent_start(handle, NULL, NULL);
	int fd = dial(fake_agent_socket(agent));
	char buf[4096];

	send(fd, line, strlen(line), 0);
	usleep(20000);
	fake_agent_stop(agent);
	cr_assert_eq(read_all(fd, buf, sizeof(buf), TIMEOUT_MS), 0);
	close(fd);
}

Test(ctl, the_65th_peer_is_told_so)
{
	struct fake_agent *agent = fake_agent_start(handle, NULL, NULL);
	int fds[SHUNT_CTL_MAX_PEERS + 1];
	char buf[4096];

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = dial(fake_agent_socket(agent));
	cr_assert_geq(read_all(fds[SHUNT_CTL_MAX_PEERS], buf, sizeof(buf), TIMEOUT_MS), 0);
	cr_assert_one_refusal(buf, "UNAVAILABLE");
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	usleep(50000);
	cr_assert_alive(agent);
	fake_agent_stop(agent);
}

Test(ctl, a_foreign_user_is_refused)
{
	struct fake_agent *agent = fake_agent_start(handle, NULL, NULL);
	const char *path = fake_agent_socket(agent);
	char dir[64], buf[4096] = "";
	int status, fd, pipe_fds[2];

	if (geteuid() != 0)
		cr_skip_test("needs root to become somebody else");
	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
	chmod(dir, 0755);
	*strrchr(dir, '/') = '\0';
	chmod(dir, 0755);
	chmod(path, 0666);
	cr_assert_eq(pipe(pipe_fds), 0);
	if (fork() == 0) {
		if (setuid(65534) < 0)
			_exit(1);
		fd = dial(path);
		read_all(fd, buf, sizeof(buf), TIMEOUT_MS);
		_exit(write(pipe_fds[1], buf, strlen(buf)) > 0 ? 0 : 1);
	}
	close(pipe_fds[1]);
	wait(&status);
	cr_assert_gt(read(pipe_fds[0], buf, sizeof(buf) - 1), 0);
	cr_assert_one_refusal(buf, "PERMISSION");
	cr_assert_alive(agent);
	fake_agent_stop(agent);
}

/* ---- events -----------------------------------------------------------------------------------
 */

static int count_event(void *ctx, json_t *event)
{
	int *seen = ctx;

	if (!json_is_string(event))
		return 7;
	return ++*seen == 3 ? 1 : 0;
}

static void *publish_soon(void *arg)
{
	json_auto_t *result = NULL;
	int exit_code;

	usleep(100000);
	shunt_ctl_call(arg, "publish", NULL, TIMEOUT_MS, &result, &exit_code, NULL);
	return NULL;
}

Test(ctl, a_follower_gets_past_and_new_events)
{
	struct fake_agent *agent = fake_agent_start(handle, NULL, NULL);
	char *path = strdup(fake_agent_socket(agent));
	int seen = 0, exit_code;
	pthread_t thread;

	pthread_create(&thread, NULL, publish_soon, path);
	cr_assert_eq(
		shunt_ctl_follow(path, "follow", NULL, count_event, &seen, -1, &exit_code, NULL),
		1);
	cr_assert_eq(seen, 3);
	pthread_join(thread, NULL);
	free(path);
	fake_agent_stop(agent);
}

Test(ctl, a_follower_outlives_the_idle_time)
{
	struct shunt_ctl_server_opts opts = { .idle_ms = 30 };
	struct fake_agent *agent = fake_agent_start(handle, NULL, &opts);
	char *path = strdup(fake_agent_socket(agent));
	int seen = 0, exit_code;
	pthread_t thread;

	pthread_create(&thread, NULL, publish_soon, path);
	cr_assert_eq(
		shunt_ctl_follow(path, "follow", NULL, count_event, &seen, -1, &exit_code, NULL),
		1);
	pthread_join(thread, NULL);
	free(path);
	fake_agent_stop(agent);
}

Test(ctl, a_follower_that_lags_behind_is_closed)
{
	static const char line[] = "{\"command\":\"follow\"}\n";
	struct fake_agent *agent = fake_agent_start(handle, NULL, NULL);
	int fd = dial(fake_agent_socket(agent)), exit_code;
	json_auto_t *result = NULL;
	static char buf[8 << 20];
	ssize_t n;

	send(fd, line, strlen(line), 0);
	usleep(50000);
	cr_assert_eq(shunt_ctl_call(fake_agent_socket(agent), "flood", NULL, TIMEOUT_MS, &result,
				    &exit_code, NULL),
		     0);
	n = read_all(fd, buf, sizeof(buf), TIMEOUT_MS);
	cr_assert(n >= 0 && n < 64 << 16, "got all %zd bytes", n);
	close(fd);
	cr_assert_alive(agent);
	fake_agent_stop(agent);
}

Test(ctl, a_stream_that_ends_is_told_from_one_that_was_stopped)
{
	struct fake_agent *agent = fake_agent_start(handle, NULL, NULL);
	struct shunt_err err = { 0 };
	int seen = -1000, exit_code;
	char *path = strdup(fake_agent_socket(agent));

	/* "echo" answers once; then nothing comes until the idle time: stop the agent instead. */
	cr_assert_eq(shunt_ctl_follow(path, "echo", NULL, count_event, &seen, -1, &exit_code, &err),
		     7);
	fake_agent_stop(agent);
	cr_assert_eq(shunt_ctl_follow(path, "echo", NULL, count_event, &seen, -1, &exit_code, &err),
		     -ENOENT);
	cr_assert_eq(exit_code, SHUNT_CTL_UNAVAILABLE);
	free(path);
}
