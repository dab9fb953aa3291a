// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"
#include "base/cleanup.h"

#include <string.h>

#include "datapath/flowmem.h"
#include "datapath/read.h"
#include "shunt/compat.h"

static struct shunt_settings *settings_of(const struct agent *agent)
{
	return SHUNT_DP_AT(shunt_dp_maps(agent->dp)->settings, struct shunt_settings, 0);
}

/* Entries that still carry a connection: closed and reset ones only linger. */
static uint64_t count_flows(const struct agent *agent)
{
	uint64_t states[SHUNT_N_FLOW_STATES], sum = 0;

	if (shunt_read_flow_states(shunt_dp_maps(agent->dp), states) < 0)
		return 0;
	for (unsigned i = SHUNT_F_FREE + 1; i < SHUNT_N_FLOW_STATES; i++)
		if (shunt_ft_is_counted(i))
			sum += states[i];
	return sum;
}

/* Removes hooks and pins, answers, and ends the loop. */
static void finish(struct agent *agent)
{
	struct agent_detach detach = agent->detach;
	uint64_t left = count_flows(agent);
	size_t n_gates = 0;
	struct shunt_err err = { 0 };
	int r;

	for (size_t i = 0; i < agent->gates.n; i++)
		n_gates += agent->gates.items[i].attached;

	/* Only who does not hold the pins can remove them. From here on there are no maps. */
	agent_close_kernel(agent);
	r = shunt_dp_remove(agent->opts->dp.bpffs, &err);
	if (r < 0) {
		agent_event(agent, SHUNT_LOG_ERROR, "DetachFailed", "",
			    "%s; the agent ends, a new one takes over what is left", err.text);
		shunt_ctl_reply_fail(detach.reply, SHUNT_CTL_KERNEL, "%s", err.text);
		agent_stop(agent, SHUNT_CTL_KERNEL);
		return;
	}
	agent_event(agent, SHUNT_LOG_INFO, "Detached", "",
		    "hooks and pins are removed from %zu gates, %llu connections were left",
		    n_gates, (unsigned long long)left);
	shunt_ctl_reply_ok(detach.reply,
			   json_pack("{s:I, s:I, s:f, s:b}", "gates", (json_int_t)n_gates,
				     "flows_left", (json_int_t)left, "took_ms",
				     (shunt_mono_ns() - detach.since_ns) / 1e6, "drained",
				     detach.drain && !left));
	agent_stop(agent, 0);
}

void agent_detach_tick(struct agent *agent)
{
	if (!agent->detach.reply)
		return;
	if (shunt_mono_ns() >= agent->detach.deadline_ns || !count_flows(agent))
		finish(agent);
}

void agent_cmd_detach(struct agent_request *request)
{
	struct agent *agent = request->agent;
	json_int_t deadline_ms = 60000;
	bool drain = false;
	const struct agent_arg known[] = {
		{ "drain", AGENT_ARG_BOOL, &drain, false, 0, 0 },
		{ "deadline_ms", AGENT_ARG_INTEGER, &deadline_ms, false, 0, AGENT_MAX_DEADLINE_MS },
	};

	if (agent_read_args(request, "detach", known, ARRAY_LEN(known)) < 0)
		return;
	agent->detach = (struct agent_detach){
		.reply = request->reply,
		.drain = drain,
		.since_ns = request->since_ns,
		.deadline_ns = request->since_ns + (uint64_t)deadline_ms * 1000000,
	};
	if (!drain) {
		finish(agent);
		return;
	}
	__sync_fetch_and_or(&settings_of(agent)->flags, SHUNT_S_DRAIN);
	agent_event(agent, SHUNT_LOG_INFO, "Draining", "",
		    "new connections go to the cluster's proxy, hooks go when the last of %llu "
		    "connections has ended, or in %lld ms",
		    (unsigned long long)count_flows(agent), (long long)deadline_ms);
	agent_detach_tick(agent);
}
