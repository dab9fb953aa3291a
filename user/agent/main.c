// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "base/version.h"

#define EXIT_USAGE    2
#define EXIT_INTERNAL 8

/* Runs the agent until it is told to end. Return: the exit code. */
static int run(const struct agent_options *options)
{
	static struct agent agent; /* the ring of events is too large for some stacks */
	struct shunt_err err = { 0 };
	char text[1024];
	uv_loop_t loop;
	int code;

	if (uv_loop_init(&loop) < 0) {
		log_error("cannot make an event loop");
		return EXIT_INTERNAL;
	}
	code = agent_open(&agent, options, &loop, &err);
	if (code)
		log_error("%s", shunt_err_str(&err, text, sizeof(text)));
	else
		uv_run(&loop, UV_RUN_DEFAULT);
	if (!code)
		code = agent.exit_code;

	agent_close(&agent);
	uv_run(&loop, UV_RUN_DEFAULT); /* the close callbacks */
	agent_free(&agent);
	uv_loop_close(&loop);
	return code;
}

int main(int argc, char **argv)
{
	struct agent_options options;
	struct shunt_err err = { 0 };
	int action, code = 0;

	signal(SIGPIPE, SIG_IGN);
	action = agent_options_parse(argc, argv, &options, &err);
	switch (action) {
	case AGENT_RUN:
		shunt_log_set_level(options.log_level);
		code = run(&options);
		break;
	case AGENT_SHOW_HELP:
		agent_options_help(stdout);
		break;
	case AGENT_SHOW_MAN:
		agent_options_man(stdout);
		break;
	case AGENT_SHOW_VERSION:
		printf("shuntd %s, ABI %d\n", SHUNT_VERSION, SHUNT_ABI_VERSION);
		break;
	default:
		fprintf(stderr, "shuntd: %s\n", err.text);
		code = action == -ENOMEM ? EXIT_INTERNAL : EXIT_USAGE;
	}
	agent_options_free(&options);
	return code;
}
