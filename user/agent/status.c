// SPDX-License-Identifier: Apache-2.0
#include "agent/status.h"

#include <errno.h>
#include <string.h>

#include "agent/breakers.h"
#include "agent/dead_men.h"
#include "agent/ejections.h"
#include "agent/told.h"
#include "base/cleanup.h"
#include "base/units.h"
#include "model/policy_json.h"
#include "base/version.h"
#include "datapath/read.h"

/* ---- the node
 * ------------------------------------------------------------------------------------------- */

static json_t *roles_json(uint32_t roles)
{
	json_t *array = json_array();

	if (roles & SHUNT_GATE_UPLINK)
		json_array_append_new(array, json_string("uplink"));
	if (roles & SHUNT_GATE_EXTERNAL)
		json_array_append_new(array, json_string("external"));
	return array;
}

static json_t *gates_json(const struct agent *agent)
{
	json_t *array = json_array();

	for (size_t i = 0; i < agent->gates.n; i++) {
		const struct agent_gate *gate = &agent->gates.items[i];
		bool xdp = gate->hook == SHUNT_HOOK_XDP;
		const char *mode = xdp ? gate->info.xdp_native ? "native" : "generic"
				   : gate->info.tc_mode == SHUNT_TC_CLSACT ? "clsact"
									   : "tcx";

		json_array_append_new(
			array, json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:o}", "ifname",
					 gate->ifname, "ifindex", (int)gate->ifindex, "hook",
					 xdp ? "xdp" : "tc", "mode", gate->attached ? mode : "",
					 "state", gate->attached ? "attached" : "failed", "problem",
					 gate->problem, "roles", roles_json(gate->roles)));
	}
	return array;
}

/* Interfaces that a pattern names and that are not there. */
static json_t *waiting_json(const struct agent *agent)
{
	json_t *array = json_array();

	for (size_t i = 0; i < agent->gates.n_patterns; i++) {
		const struct agent_gate_pattern *pattern = &agent->gates.patterns[i];

		if (pattern->literal && !agent_gates_find(&agent->gates, pattern))
			json_array_append_new(
				array, json_pack("{s:s, s:s}", "ifname", pattern->pattern, "hook",
						 pattern->hook == SHUNT_HOOK_XDP ? "xdp" : "tc"));
	}
	return array;
}

static json_t *problem_json(const char *file, unsigned line, unsigned column, const char *field,
			    const char *text)
{
	json_t *text_json = json_string(text);

	/* A sentence may quote bytes of a manifest that are no UTF-8. */
	if (!text_json)
		text_json = json_string("(the text is not UTF-8)");
	return json_pack("{s:s, s:i, s:i, s:s, s:o}", "file", file, "line", (int)line, "column",
			 (int)column, "field", field, "text", text_json);
}

/* What the kernel has decided that somebody should look at. Each writes "" where all is well. */
static const char *(*const decided[])(const struct agent *agent, char *buf, size_t size) = {
	agent_breakers_problem,
	agent_dead_men_problem,
	agent_ejections_problem,
};

static json_t *problems_json(const struct agent *agent)
{
	const char *const own[] = { agent->source_problem, agent->install_problem,
				    agent->state_problem, agent->full.problem };
	const struct shunt_dir_problem *problems;
	json_t *array = json_array();
	char text[512];
	size_t n;

	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		if (own[i][0])
			json_array_append_new(array, problem_json("", 0, 0, "", own[i]));
	for (size_t i = 0; i < ARRAY_LEN(decided); i++)
		if (decided[i](agent, text, sizeof(text))[0])
			json_array_append_new(array, problem_json("", 0, 0, "", text));
	problems = shunt_dir_problems(agent->dir, &n);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(array,
				      problem_json(problems[i].err.file, problems[i].err.line,
						   problems[i].err.column, problems[i].err.field,
						   problems[i].err.text));
	return array;
}

static bool is_bad(const struct shunt_object_report *report)
{
	for (size_t i = 0; i < report->conditions.n; i++)
		if (agent_condition_is_bad(&report->conditions.items[i]))
			return true;
	return false;
}

static json_t *reports_json(const struct agent *agent)
{
	json_t *array = json_array(), *report;

	for (size_t i = 0; i < agent->model.n_reports; i++) {
		if (!is_bad(&agent->model.reports[i]))
			continue;
		report = shunt_object_ref_to_json(&agent->model.reports[i].ref);
		json_object_set_new(report, "conditions",
				    agent_conditions_json(&agent->model.reports[i].conditions));
		json_array_append_new(array, report);
	}
	return array;
}

size_t agent_count_problems(const struct agent *agent)
{
	size_t n = 0, n_files;

	shunt_dir_problems(agent->dir, &n_files);
	for (size_t i = 0; i < agent->model.n_reports; i++)
		n += is_bad(&agent->model.reports[i]);
	for (size_t i = 0; i < agent->model.n_services; i++)
		n += shunt_conditions_get(&agent->model.services[i].conditions, "WeightRefused") !=
		     NULL;
	return n + n_files + (agent->source_problem[0] != '\0') +
	       (agent->install_problem[0] != '\0');
}

const char *agent_health(const struct agent *agent)
{
	char text[512];

	if (agent->detach.reply)
		return "draining";
	if (!agent->installed && !agent->install_problem[0])
		return "starting";
	if (agent_count_problems(agent) || agent->state_problem[0] || agent->full.problem[0] ||
	    agent_gates_missing(&agent->gates))
		return "degraded";
	for (size_t i = 0; i < ARRAY_LEN(decided); i++)
		if (decided[i](agent, text, sizeof(text))[0])
			return "degraded";
	for (size_t i = 0; i < agent->gates.n; i++)
		if (!agent->gates.items[i].attached)
			return "degraded";
	return "ok";
}

/* ---- what the kernel counted -------------------------------------------------------------- */

const char *agent_reason_action(enum shunt_reason reason)
{
	static const char *const actions[] = {
#define ACTION_NAME(name, action, text) #action,
		SHUNT_REASONS(ACTION_NAME)
#undef ACTION_NAME
	};

	return reason < SHUNT_R_MAX ? actions[reason] : "?";
}

static json_t *reasons_json(const struct shunt_stats *stats)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < SHUNT_R_MAX; i++)
		json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:I}", "name",
						       shunt_reason_name(i), "action",
						       agent_reason_action(i), "text",
						       shunt_reason_text(i), "packets",
						       (json_int_t)stats->reasons[i]));
	return array;
}

const char *agent_flow_state_name(unsigned state)
{
	static const char *const names[SHUNT_N_FLOW_STATES] = {
		[SHUNT_F_FREE] = "FREE",
		[SHUNT_F_SYN] = "SYN",
		[SHUNT_F_SYN_ACK] = "SYN_ACK",
		[SHUNT_F_ESTABLISHED] = "ESTABLISHED",
		[SHUNT_F_FIN_CLIENT] = "FIN_CLIENT",
		[SHUNT_F_FIN_BACKEND] = "FIN_BACKEND",
		[SHUNT_F_CLOSED] = "CLOSED",
		[SHUNT_F_UDP_NEW] = "UDP_NEW",
		[SHUNT_F_UDP] = "UDP",
		[SHUNT_F_RESET_BY_CLIENT] = "RESET_BY_CLIENT",
		[SHUNT_F_RESET_BY_BACKEND] = "RESET_BY_BACKEND",
		[SHUNT_F_FIN_SEEN] = "FIN_SEEN",
		[SHUNT_F_UDP_ANSWERED] = "UDP_ANSWERED",
		[SHUNT_F_UDP_ONEWAY] = "UDP_ONEWAY",
	};

	return state < SHUNT_N_FLOW_STATES && names[state] ? names[state] : "?";
}

static json_t *flows_json(const struct shunt_stats *stats)
{
	json_t *states = json_object();
	uint64_t used = 0;

	for (unsigned i = SHUNT_F_FREE + 1; i < SHUNT_N_FLOW_STATES; i++) {
		used += stats->flow_states[i];
		if (stats->flow_states[i])
			json_object_set_new(states, agent_flow_state_name(i),
					    json_integer((json_int_t)stats->flow_states[i]));
	}
	return json_pack("{s:I, s:I, s:o}", "used", (json_int_t)used, "capacity",
			 (json_int_t)stats->flow_capacity, "states", states);
}

/* ---- the commands ------------------------------------------------------------------------------
 */

static json_t *status_json(const struct agent_view *view, const struct agent_targets *targets)
{
	const struct agent *agent = view->agent;
	json_t *services = json_array();

	for (size_t i = 0; i < targets->n; i++)
		json_array_append_new(services, agent_service_json(view, targets->items[i]));
	return json_pack("{s:s, s:i, s:I, s:i, s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}",
			 "version", SHUNT_VERSION, "abi_version", SHUNT_ABI_VERSION, "generation",
			 (json_int_t)view->stats.generation, "pid", (int)getpid(), "uptime_s",
			 (json_int_t)((shunt_mono_ns() - agent->started_ns) / 1000000000), "health",
			 agent_health(agent), "services", services, "gates", gates_json(agent),
			 "gates_waiting", waiting_json(agent), "problems", problems_json(agent),
			 "reports", reports_json(agent), "reasons", reasons_json(&view->stats),
			 "flows", flows_json(&view->stats), "forward",
			 agent->opts->dp.forward == SHUNT_FORWARD_REDIRECT ? "redirect" : "stack");
}

/* All services, or those of that name. Answers on failure. */
static int select_services(struct agent_request *request, const char *name,
			   struct agent_targets *ret_targets)
{
	struct shunt_model *model = &request->agent->model;
	struct agent_targets targets = { .n = model->n_services };

	if (name)
		return agent_find_services(request, name, (struct agent_port){ 0 }, ret_targets);
	targets.items = calloc(targets.n + 1, sizeof(*targets.items));
	if (!targets.items) {
		shunt_ctl_reply_fail(request->reply, SHUNT_CTL_INTERNAL, "out of memory");
		return -ENOMEM;
	}
	for (size_t i = 0; i < targets.n; i++)
		targets.items[i] = &model->services[i];
	*ret_targets = targets;
	return 0;
}

void agent_cmd_status(struct agent_request *request)
{
	struct agent_view view = { .agent = request->agent };
	struct agent_targets targets = { 0 };
	const char *name = NULL;
	const struct agent_arg known[] = {
		{ "service", AGENT_ARG_TEXT, &name, false, 0, 0 },
		{ "times", AGENT_ARG_BOOL, &view.with_times, false, 0, 0 },
	};
	int r;

	if (agent_read_args(request, "status", known, ARRAY_LEN(known)) < 0)
		return;
	if (select_services(request, name, &targets) < 0)
		return;
	r = shunt_stats_collect(shunt_dp_maps(request->agent->dp), &view.stats);
	if (r < 0)
		shunt_ctl_reply_fail(request->reply, SHUNT_CTL_KERNEL, "cannot read the maps: %s",
				     strerror(-r));
	else
		shunt_ctl_reply_ok(request->reply, status_json(&view, &targets));
	shunt_stats_free(&view.stats);
	free(targets.items);
}
