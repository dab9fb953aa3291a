// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "agent/probes.h"
#include "model/policy.h"

/* A server on the same loop, and a model whose backends it is. */
#define MANY 200

static struct scene {
	uv_loop_t loop;
	uv_tcp_t server;
	const char *answer; /* NULL: it hears, and says nothing */
	size_t n_asked, n_open, most_open;
	char heard[1024];

	struct agent_probes *probes;
	struct shunt_port ports[1];
	struct shunt_model_backend backends[MANY];
	struct shunt_model_variant variant;
	struct shunt_policy policy;
	struct shunt_model_service service;
	struct shunt_model model;
} s;

struct peer {
	uv_tcp_t tcp;
	uv_write_t write;
};

static void on_peer_closed(uv_handle_t *handle)
{
	s.n_open--;
	free(handle->data);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	(void)handle;
	(void)suggested;
	*buf = uv_buf_init(s.heard, sizeof(s.heard) - 1);
}

static void on_heard(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct peer *peer = stream->data;
	uv_buf_t answer;

	(void)buf;
	if (n < 0) {
		uv_close((uv_handle_t *)stream, on_peer_closed);
		return;
	}
	s.heard[n] = '\0';
	s.n_asked++;
	if (!s.answer)
		return;
	answer = uv_buf_init((char *)s.answer, (unsigned)strlen(s.answer));
	uv_write(&peer->write, stream, &answer, 1, NULL);
}

static void on_connection(uv_stream_t *server, int status)
{
	struct peer *peer = calloc(1, sizeof(*peer));

	cr_assert(!status && peer);
	uv_tcp_init(&s.loop, &peer->tcp);
	peer->tcp.data = peer;
	cr_assert_eq(uv_accept(server, (uv_stream_t *)&peer->tcp), 0);
	uv_read_start((uv_stream_t *)&peer->tcp, give_room, on_heard);
	if (++s.n_open > s.most_open)
		s.most_open = s.n_open;
}

static uint16_t listen_somewhere(void)
{
	struct sockaddr_in address;
	int len = sizeof(address);

	uv_ip4_addr("0.0.0.0", 0, &address);
	uv_tcp_init(&s.loop, &s.server);
	cr_assert_eq(uv_tcp_bind(&s.server, (struct sockaddr *)&address, 0), 0);
	cr_assert_eq(uv_listen((uv_stream_t *)&s.server, 512, on_connection), 0);
	uv_tcp_getsockname(&s.server, (struct sockaddr *)&address, &len);
	return ntohs(address.sin_port);
}

static void setup(void)
{
	uint16_t port;

	memset(&s, 0, sizeof(s));
	s.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	uv_loop_init(&s.loop);
	port = listen_somewhere();
	s.ports[0] = (struct shunt_port){ .port = 80, .proto = IPPROTO_TCP };
	for (int i = 0; i < MANY; i++) {
		char text[SHUNT_IP_STR_LEN];

		/* All of 127/8 is this host. */
		snprintf(text, sizeof(text), "127.0.0.%d", 1 + i);
		s.backends[i] =
			(struct shunt_model_backend){ .port = port, .weight = 1, .usable = true };
		shunt_ip_parse(text, &s.backends[i].ip);
	}
	s.variant = (struct shunt_model_variant){ .name = (char *)"blue",
						  .backends = s.backends,
						  .n_backends = 1 };
	strcpy(s.policy.probe.path, "/healthz?x=1");
	s.policy.probe.interval_ms = 100;
	s.policy.probe.timeout_ms = 60000;
	s.service = (struct shunt_model_service){
		.namespace_ = (char *)"shop",
		.name = (char *)"app",
		.ports = s.ports,
		.n_ports = 1,
		.variants = &s.variant,
		.n_variants = 1,
		.policy = &s.policy,
	};
	s.model = (struct shunt_model){ .services = &s.service, .n_services = 1 };
	s.probes = agent_probes_new(&s.loop);
	cr_assert_not_null(s.probes);
}

static void close_peer(uv_handle_t *handle, void *ctx)
{
	(void)ctx;
	if (!uv_is_closing(handle))
		uv_close(handle, handle == (uv_handle_t *)&s.server ? NULL : on_peer_closed);
}

static void teardown(void)
{
	agent_probes_close(s.probes);
	/* What the probes had open is closed by now: what is left is the server's. */
	uv_walk(&s.loop, close_peer, NULL);
	uv_run(&s.loop, UV_RUN_DEFAULT);
	agent_probes_free(s.probes);
	cr_assert_eq(uv_loop_close(&s.loop), 0, "something is left on the loop");
}

TestSuite(probes, .init = setup, .fini = teardown);

static uint64_t answers(int class)
{
	size_t n;
	const struct shunt_probe_sum *const *sums = agent_probes_sums(s.probes, &n);

	return n ? sums[0]->answers[class] : 0;
}

static void run_until(int class, uint64_t n)
{
	uint64_t begin = uv_hrtime();

	while (answers(class) < n) {
		cr_assert_lt(uv_hrtime() - begin, 30ull * 1000000000, "class %d: %zu", class,
			     (size_t)answers(class));
		uv_run(&s.loop, UV_RUN_ONCE);
	}
}

static void run_for_ms(uint64_t ms)
{
	uint64_t begin = uv_hrtime();

	while (uv_hrtime() - begin < ms * 1000000)
		uv_run(&s.loop, UV_RUN_NOWAIT);
}

Test(probes, a_backend_is_asked_again_and_again)
{
	struct shunt_metrics_probe *list;
	size_t n;

	cr_assert_eq(agent_probes_follow(s.probes, &s.model), 0);
	run_until(2, 3);
	cr_expect(strstr(s.heard, "GET /healthz?x=1 HTTP/1.1\r\nHost: app.shop\r\n"), "%s",
		  s.heard);
	cr_expect(strstr(s.heard, "\r\nUser-Agent: shunt-probe/"));
	cr_expect(strstr(s.heard, "\r\nShunt-Probe: 1\r\n"));
	s.answer = "HTTP/1.0 503 Busy\r\n\r\n";
	run_until(5, 2);
	s.answer = "220 smtp.example ESMTP\r\n";
	run_until(0, 2);
	list = agent_probes_list(s.probes, &n);
	cr_assert_eq(n, 1);
	cr_expect_str_eq(list[0].variant->variant, "blue");
	cr_expect_geq(list[0].answers[2], 3);
	cr_expect_eq(list[0].answers[4], 0);
	free(list);
}

Test(probes, who_says_nothing_in_time_has_not_answered)
{
	s.answer = NULL;
	s.policy.probe.timeout_ms = 100;
	cr_assert_eq(agent_probes_follow(s.probes, &s.model), 0);
	run_until(0, 2);
	cr_expect_eq(answers(2), 0);
}

Test(probes, who_refuses_has_not_answered)
{
	s.backends[0].port = 1;
	cr_assert_eq(agent_probes_follow(s.probes, &s.model), 0);
	run_until(0, 2);
}

Test(probes, no_more_are_under_way_than_there_may_be)
{
	uint64_t begin = uv_hrtime();

	s.answer = NULL;
	s.variant.n_backends = MANY;
	cr_assert_eq(agent_probes_follow(s.probes, &s.model), 0);
	while (s.n_open < AGENT_PROBES_AT_ONCE && uv_hrtime() - begin < 30ull * 1000000000)
		uv_run(&s.loop, UV_RUN_ONCE);
	run_for_ms(200);
	cr_expect_eq(s.most_open, AGENT_PROBES_AT_ONCE);
}

Test(probes, what_goes_is_not_asked_any_more)
{
	struct shunt_metrics_probe *list;
	size_t asked, n;

	s.answer = NULL;
	cr_assert_eq(agent_probes_follow(s.probes, &s.model), 0);
	while (!s.n_asked)
		uv_run(&s.loop, UV_RUN_ONCE);
	/* With one under way. */
	s.variant.n_backends = 0;
	cr_assert_eq(agent_probes_follow(s.probes, &s.model), 0);
	asked = s.n_asked;
	while (s.n_open)
		uv_run(&s.loop, UV_RUN_ONCE);
	run_for_ms(200);
	cr_expect_eq(s.n_asked, asked);
	list = agent_probes_list(s.probes, &n);
	cr_expect_eq(n, 0);
	free(list);
}

Test(probes, another_change_breaks_nothing_off)
{
	s.answer = NULL;
	cr_assert_eq(agent_probes_follow(s.probes, &s.model), 0);
	while (!s.n_asked)
		uv_run(&s.loop, UV_RUN_ONCE);
	s.policy.probe.timeout_ms = 150;
	cr_assert_eq(agent_probes_follow(s.probes, &s.model), 0);
	cr_expect_eq(s.n_open, 1);
	run_until(0, 1);
}

Test(probes, without_a_policy_nobody_is_asked_and_counts_stay)
{
	cr_assert_eq(agent_probes_follow(s.probes, &s.model), 0);
	run_until(2, 1);
	s.service.policy = NULL;
	cr_assert_eq(agent_probes_follow(s.probes, &s.model), 0);
	cr_expect_geq(answers(2), 1, "a counter must not fall");
	s.model.n_services = 0;
	cr_assert_eq(agent_probes_follow(s.probes, &s.model), 0);
	cr_expect_eq(answers(2), 0);
}

Test(probes, the_end_comes_with_probes_under_way)
{
	s.answer = NULL;
	s.variant.n_backends = 8;
	cr_assert_eq(agent_probes_follow(s.probes, &s.model), 0);
	while (s.n_asked < 8)
		uv_run(&s.loop, UV_RUN_ONCE);
}
