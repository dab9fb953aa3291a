// SPDX-License-Identifier: Apache-2.0
#include "cli_lab.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static void on_over(void *ctx)
{
	(void)ctx;
}

/* Each line of the result; the agent that answers goes away after the last. */
static void stream(struct cli_lab *lab, struct shunt_ctl_reply *reply)
{
	struct shunt_ctl_stream *stream = shunt_ctl_reply_stream(reply, on_over, lab);
	json_t *lines = json_loads(lab->result, 0, NULL), *line;
	size_t i;

	json_array_foreach (lines, i, line)
		shunt_ctl_stream_send(stream, json_incref(line));
	json_decref(lines);
	shunt_ctl_stream_end(stream, NULL);
}

static void handle(void *ctx, const struct shunt_ctl_peer *peer, const char *command, json_t *args,
		   struct shunt_ctl_reply *reply)
{
	struct cli_lab *lab = ctx;

	(void)peer;
	snprintf(lab->last_command, sizeof(lab->last_command), "%s", command);
	json_decref(lab->last_args);
	lab->last_args = json_deep_copy(args);
	if (!lab->result)
		shunt_ctl_reply_fail(reply, lab->code, "%s", lab->error);
	else if (!strcmp(command, "trace"))
		stream(lab, reply);
	else if (json_is_true(json_object_get(args, "follow")))
		shunt_ctl_reply_follow(reply, json_loads(lab->result, 0, NULL));
	else
		shunt_ctl_reply_ok(reply, json_loads(lab->result, JSON_DECODE_ANY, NULL));
}

void cli_lab_start(struct cli_lab *lab, const char *result)
{
	memset(lab, 0, sizeof(*lab));
	lab->result = result;
	lab->agent = fake_agent_start(handle, lab, NULL);
}

void cli_lab_stop(struct cli_lab *lab)
{
	fake_agent_stop(lab->agent);
	json_decref(lab->last_args);
}

void cli_lab_refuse(struct cli_lab *lab, enum shunt_ctl_code code, const char *error)
{
	lab->result = NULL;
	lab->code = code;
	lab->error = error;
}
