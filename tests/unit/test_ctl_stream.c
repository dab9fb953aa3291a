// SPDX-License-Identifier: Apache-2.0
/* Answers of many lines to one peer: shunt_ctl_reply_stream(). */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ctl/ctl.h"
#include "fake_agent.h"

TestSuite(ctl_stream, .timeout = 30);

/* What the agent's side of one stream does: a line a millisecond, the number of it. */
struct sender {
	struct fake_agent *agent;
	struct shunt_ctl_stream *stream;
	uv_timer_t timer;
	int n;		 /* lines to send; -1: until the reader has enough */
	int left_out;	 /* lines that were not sent */
	int n_over;	 /* calls of on_over() */
	size_t line_len; /* of each line at least */
	bool has_ended;
};

static void on_over(void *ctx)
{
	struct sender *sender = ctx;

	sender->n_over++;
}

static json_t *line(struct sender *sender, int number)
{
	CLEANUP(freep) char *padding = calloc(1, sender->line_len + 1);

	memset(padding, 'x', sender->line_len);
	return json_pack("{s:i, s:s}", "line", number, "padding", padding);
}

static void on_turn(uv_timer_t *timer)
{
	struct sender *sender = timer->data;
	static int number;

	if (sender->n_over || (sender->n >= 0 && number >= sender->n)) {
		shunt_ctl_stream_end(sender->stream, json_pack("{s:i}", "last", number));
		sender->has_ended = true;
		uv_close((uv_handle_t *)timer, NULL);
		return;
	}
	sender->left_out += !shunt_ctl_stream_send(sender->stream, line(sender, number++));
}

static void handle(void *ctx, const struct shunt_ctl_peer *peer, const char *command, json_t *args,
		   struct shunt_ctl_reply *reply)
{
	struct sender *sender = ctx;

	(void)peer;
	(void)args;
	if (strcmp(command, "stream")) {
		shunt_ctl_reply_ok(reply, json_pack("{s:b}", "ended", sender->has_ended));
		return;
	}
	sender->stream = shunt_ctl_reply_stream(reply, on_over, sender);
	cr_assert_not_null(sender->stream);
	uv_timer_init(fake_agent_loop(sender->agent), &sender->timer);
	sender->timer.data = sender;
	uv_timer_start(&sender->timer, on_turn, 1, 1);
}

static void start(struct sender *sender)
{
	static const struct shunt_ctl_server_opts opts = { .idle_ms = 1000 };

	sender->agent = fake_agent_start(handle, sender, &opts);
}

/* What a reader has seen. */
struct seen {
	int n;	  /* lines */
	int last; /* number of the last line; -1: not there yet */
	int gaps; /* lines that were left out */
	int enough;
	int stop_fd;
};

static int on_line(void *ctx, json_t *result)
{
	struct seen *seen = ctx;
	json_t *number = json_object_get(result, "line");

	if (!number) {
		seen->last = (int)json_integer_value(json_object_get(result, "last"));
		return 1;
	}
	seen->gaps += (int)json_integer_value(number) - seen->n - seen->gaps;
	seen->n++;
	if (seen->n == seen->enough && write(seen->stop_fd, "!", 1) != 1)
		return 7;
	return 0;
}

static int read_stream(const struct sender *sender, struct seen *seen, int stop_fd)
{
	int exit_code;

	seen->last = -1;
	return shunt_ctl_follow(fake_agent_socket(sender->agent), "stream", NULL, on_line, seen,
				stop_fd, &exit_code, NULL);
}

/* Waits until the stream has ended on the agent's side. */
static void wait_for_end(const struct sender *sender)
{
	bool ended = false;

	for (int i = 0; i < 500 && !ended; i++) {
		json_t *result = NULL;
		int exit_code;

		usleep(10000);
		cr_assert_eq(shunt_ctl_call(fake_agent_socket(sender->agent), "state", NULL, 5000,
					    &result, &exit_code, NULL),
			     0);
		ended = json_is_true(json_object_get(result, "ended"));
		json_decref(result);
	}
	cr_assert(ended, "the stream goes on");
}

Test(ctl_stream, its_lines_come_in_their_order_until_it_ends)
{
	struct sender sender = { .n = 20 };
	struct seen seen = { 0 };

	start(&sender);
	cr_assert_eq(read_stream(&sender, &seen, -1), 1);
	cr_expect_eq(seen.n, 20);
	cr_expect_eq(seen.gaps, 0);
	cr_expect_eq(seen.last, 20);
	fake_agent_stop(sender.agent);
	cr_expect_eq(sender.n_over, 0, "it ended by itself");
}

Test(ctl_stream, a_reader_that_has_had_enough_still_hears_the_end)
{
	struct sender sender = { .n = -1 };
	struct seen seen = { .enough = 5 };
	int stop[2];

	start(&sender);
	cr_assert_eq(pipe(stop), 0);
	seen.stop_fd = stop[1];
	cr_assert_eq(read_stream(&sender, &seen, stop[0]), 1);
	cr_expect_geq(seen.n, 5);
	cr_expect_eq(seen.last, seen.n);
	fake_agent_stop(sender.agent);
	cr_expect_eq(sender.n_over, 1);
}

static int dial_stream(const struct sender *sender)
{
	static const char request[] = "{\"command\":\"stream\"}\n";
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, fake_agent_socket(sender->agent));
	cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	cr_assert_eq(send(fd, request, strlen(request), 0), (ssize_t)strlen(request));
	return fd;
}

Test(ctl_stream, a_reader_that_hangs_up_ends_it_once)
{
	struct sender sender = { .n = -1 };
	char buf[64];
	int fd;

	start(&sender);
	fd = dial_stream(&sender);
	cr_assert_gt(recv(fd, buf, sizeof(buf), 0), 0);
	close(fd);
	wait_for_end(&sender);
	fake_agent_stop(sender.agent);
	cr_expect_eq(sender.n_over, 1);
}

/* The end comes also when there is no room for it, and the connection does not stay for ever. */
Test(ctl_stream, a_reader_that_does_not_keep_up_misses_lines_and_not_the_end)
{
	struct sender sender = { .n = 400, .line_len = 16384 };
	static char buf[16 << 20];
	ssize_t n, len = 0;
	char *last;
	int fd;

	start(&sender);
	fd = dial_stream(&sender);
	wait_for_end(&sender);
	while ((n = recv(fd, buf + len, sizeof(buf) - (size_t)len, 0)) > 0)
		len += n;
	close(fd);
	last = memrchr(buf, '{', (size_t)len);
	cr_assert_not_null(last);
	cr_expect(!strncmp(last, "{\"last\":400}", 12), "%.40s", last);
	cr_expect_gt(sender.left_out, 100);
	cr_expect_lt(len, 400 * 16384 - sender.left_out * 16000);
	fake_agent_stop(sender.agent);
}

Test(ctl_stream, a_reader_that_never_reads_the_end_is_closed_in_time)
{
	struct sender sender = { .n = 300, .line_len = 16384 };
	char buf[16384];
	ssize_t n, len = 0;
	int fd;

	start(&sender);
	fd = dial_stream(&sender);
	wait_for_end(&sender);
	usleep(1500000); /* longer than the idle time */
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		len += n;
	cr_expect_lt(len, 1 << 20, "only what the socket held is there");
	close(fd);
	fake_agent_stop(sender.agent);
}
