// SPDX-License-Identifier: Apache-2.0
#include "fake_agent.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct fake_agent {
	uv_loop_t loop;
	uv_async_t stop;
	uv_thread_t thread;
	struct shunt_ctl_server *server;
	char dir[32], socket[48];
};

static void on_stop(uv_async_t *stop)
{
	struct fake_agent *agent = stop->data;

	shunt_ctl_server_stop(agent->server);
	uv_close((uv_handle_t *)stop, NULL);
}

static void run(void *arg)
{
	struct fake_agent *agent = arg;

	uv_run(&agent->loop, UV_RUN_DEFAULT);
}

struct fake_agent *fake_agent_start(shunt_ctl_handler handler, void *ctx,
				    const struct shunt_ctl_server_opts *opts)
{
	struct fake_agent *agent = calloc(1, sizeof(*agent));
	struct shunt_err err = { 0 };

	cr_assert(agent);
	snprintf(agent->dir, sizeof(agent->dir), "/tmp/shunt-test-XXXXXX");
	cr_assert(mkdtemp(agent->dir));
	snprintf(agent->socket, sizeof(agent->socket), "%s/run/sock", agent->dir);
	uv_loop_init(&agent->loop);
	uv_async_init(&agent->loop, &agent->stop, on_stop);
	agent->stop.data = agent;
	cr_assert_eq(shunt_ctl_server_start(&agent->loop, agent->socket, handler, ctx ? ctx : agent,
					    opts, &agent->server, &err),
		     0, "%s", err.text);
	cr_assert_eq(uv_thread_create(&agent->thread, run, agent), 0);
	return agent;
}

const char *fake_agent_socket(const struct fake_agent *agent)
{
	return agent->socket;
}

struct shunt_ctl_server *fake_agent_server(const struct fake_agent *agent)
{
	return agent->server;
}

uv_loop_t *fake_agent_loop(struct fake_agent *agent)
{
	return &agent->loop;
}

void fake_agent_stop(struct fake_agent *agent)
{
	char dir[64];

	uv_async_send(&agent->stop);
	uv_thread_join(&agent->thread);
	cr_assert_eq(uv_loop_close(&agent->loop), 0, "a handle was left open");
	snprintf(dir, sizeof(dir), "%s/run", agent->dir);
	cr_assert_eq(rmdir(dir), 0, "the socket was left behind");
	cr_assert_eq(rmdir(agent->dir), 0);
	free(agent);
}
