// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"
#include "agent/trace.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/version.h"

int agent_read_args(const struct agent_request *request, const char *command,
		    const struct agent_arg *known, size_t n)
{
	struct shunt_err err = { 0 };
	int r = agent_args_read(request->args, command, known, n, &err);

	if (r < 0)
		shunt_ctl_reply_fail(request->reply, SHUNT_CTL_USAGE, "%s", err.text);
	return r;
}

/* ---- names ------------------------------------------------------------------------------------
 */

/* Is @service the one that "namespace/name" or "name" means? */
static bool is_named(const struct shunt_model_service *service, const char *name)
{
	size_t len = strlen(service->namespace_);
	const char *slash = strchr(name, '/');

	if (!slash)
		return !strcmp(service->name, name);
	return (size_t)(slash - name) == len && !strncmp(name, service->namespace_, len) &&
	       !strcmp(service->name, slash + 1);
}

bool agent_is_known(const struct agent *agent, const char *name)
{
	for (size_t i = 0; i < agent->model.n_services; i++)
		if (is_named(&agent->model.services[i], name))
			return true;
	return false;
}

static bool has_port(const struct shunt_model_service *service, struct agent_port port)
{
	uint8_t proto = IPPROTO_TCP;

	if (port.protocol && !strcmp(port.protocol, "udp"))
		proto = IPPROTO_UDP;
	for (size_t i = 0; i < service->n_ports; i++)
		if ((!port.number || service->ports[i].port == port.number) &&
		    (!port.protocol || service->ports[i].proto == proto))
			return true;
	return false;
}

/* Adds "namespace/name" to a sentence, if it still fits and is not its end already. */
static void list_service(char *buf, size_t size, const struct shunt_model_service *service)
{
	size_t len = strlen(buf);
	char name[2 * SHUNT_NAME_LEN + 4];
	int n;

	n = snprintf(name, sizeof(name), "%s/%s", service->namespace_, service->name);
	if (len >= (size_t)n && !strcmp(buf + len - n, name))
		return;
	if (len + n + 8 < size)
		sprintf(buf + len, "%s%s", len ? ", " : "", name);
	else if (len && buf[len - 1] != '.')
		strcpy(buf + len, ", ...");
}

static void fail_unknown(const struct agent_request *request, const char *name)
{
	const struct shunt_model *model = &request->agent->model;
	char known[400] = "";

	for (size_t i = 0; i < model->n_services; i++)
		list_service(known, sizeof(known), &model->services[i]);
	if (known[0])
		shunt_ctl_reply_fail(request->reply, SHUNT_CTL_NOT_FOUND,
				     "no service %s has a split; there are: %s", name, known);
	else
		shunt_ctl_reply_fail(request->reply, SHUNT_CTL_NOT_FOUND,
				     "no service %s has a split; there is none at all", name);
}

/* Do the found services have one namespace? Otherwise answers which there are. */
static bool one_namespace(const struct agent_request *request, const char *name,
			  const struct agent_targets *targets)
{
	char known[400] = "";
	bool one = true;

	for (size_t i = 0; i < targets->n; i++) {
		one = one && !strcmp(targets->items[i]->namespace_, targets->items[0]->namespace_);
		list_service(known, sizeof(known), targets->items[i]);
	}
	if (!one)
		shunt_ctl_reply_fail(request->reply, SHUNT_CTL_NOT_FOUND,
				     "%s is in several namespaces: %s; say which", name, known);
	return one;
}

int agent_find_services(const struct agent_request *request, const char *name,
			struct agent_port port, struct agent_targets *ret_targets)
{
	const struct shunt_model *model = &request->agent->model;
	struct agent_targets targets = { 0 };
	struct shunt_model_service **slot;
	bool named = false;

	if (!request->agent->installed) {
		shunt_ctl_reply_fail(request->reply, SHUNT_CTL_UNAVAILABLE,
				     "the configuration is not in force yet: %s",
				     request->agent->install_problem);
		return -ENOENT;
	}

	for (size_t i = 0; i < model->n_services; i++) {
		if (!is_named(&model->services[i], name))
			continue;
		named = true;
		if (!has_port(&model->services[i], port))
			continue;
		slot = shunt_array_add(&targets.items, &targets.n, sizeof(*slot));
		if (!slot) {
			free(targets.items);
			shunt_ctl_reply_fail(request->reply, SHUNT_CTL_INTERNAL, "out of memory");
			return -ENOENT;
		}
		*slot = &model->services[i];
	}

	if (targets.n && one_namespace(request, name, &targets)) {
		*ret_targets = targets;
		return 0;
	}
	if (!targets.n && named)
		shunt_ctl_reply_fail(request->reply, SHUNT_CTL_NOT_FOUND,
				     "service %s has no port %lld%s%s with a split", name,
				     (long long)port.number, port.protocol ? "/" : "",
				     port.protocol ? port.protocol : "");
	else if (!targets.n)
		fail_unknown(request, name);
	free(targets.items);
	return -ENOENT;
}

/* ---- the small commands --------------------------------------------------------------------- */

static void cmd_events(struct agent_request *request)
{
	json_int_t last = 20;
	bool follow = false;
	const struct agent_arg known[] = {
		{ "follow", AGENT_ARG_BOOL, &follow, false, 0, 0 },
		{ "last", AGENT_ARG_INTEGER, &last, false, 0, AGENT_MAX_LAST },
	};
	json_t *events;

	if (agent_read_args(request, "events", known, ARRAY_LEN(known)) < 0)
		return;
	events = agent_events_last(&request->agent->events, (size_t)last);
	if (follow)
		shunt_ctl_reply_follow(request->reply, events);
	else
		shunt_ctl_reply_ok(request->reply, json_pack("{s:o}", "events", events));
}

static void cmd_version(struct agent_request *request)
{
	struct agent *agent = request->agent;

	if (agent_read_args(request, "version", NULL, 0) < 0)
		return;
	shunt_ctl_reply_ok(
		request->reply,
		json_pack("{s:s, s:i, s:i, s:I, s:I}", "version", SHUNT_VERSION, "abi_version",
			  SHUNT_ABI_VERSION, "pid", getpid(), "uptime_s",
			  (json_int_t)((shunt_mono_ns() - agent->started_ns) / 1000000000),
			  "generation", (json_int_t)agent->generation));
}

/* ---- dispatch
 * ------------------------------------------------------------------------------------ */

static const struct {
	const char *name;
	void (*run)(struct agent_request *request);
	bool changes; /* not while the agent detaches */
} commands[] = {
	{ "status", agent_cmd_status, false },	 { "weight", agent_cmd_weight, true },
	{ "switch", agent_cmd_switch, true },	 { "rollback", agent_cmd_rollback, true },
	{ "drain", agent_cmd_drain, true },	 { "breaker", agent_cmd_breaker, false },
	{ "history", agent_cmd_history, false }, { "events", cmd_events, false },
	{ "doctor", agent_cmd_doctor, false },	 { "detach", agent_cmd_detach, true },
	{ "version", cmd_version, false },	 { "trace", agent_cmd_trace, true },
};

void agent_handle(void *ctx, const struct shunt_ctl_peer *peer, const char *command, json_t *args,
		  struct shunt_ctl_reply *reply)
{
	struct agent_request request = {
		.agent = ctx,
		.peer = *peer,
		.args = args,
		.reply = reply,
		.since_ns = shunt_mono_ns(),
	};

	if (!request.agent->dp) {
		shunt_ctl_reply_fail(reply, SHUNT_CTL_UNAVAILABLE, "the agent has left this node");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].name, command))
			continue;
		if (commands[i].changes && request.agent->detach.reply)
			shunt_ctl_reply_fail(reply, SHUNT_CTL_UNAVAILABLE,
					     "the agent is detaching from this node");
		else
			commands[i].run(&request);
		return;
	}
	shunt_ctl_reply_fail(reply, SHUNT_CTL_USAGE, "unknown command %.64s", command);
}
