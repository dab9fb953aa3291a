// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"
#include "datapath/read.h"

/* Refusals come in bursts: so long after the last one they still count as going on. */
#define HOLD_NS (10 * 1000000000ull)

/* Which refusals, and what they are called. */
struct kind {
	enum shunt_reason reason;
	const char *begins, *ends, *ended;
	bool is_problem; /* status shows it, so it is said anew while it goes on */
	void (*say)(const struct agent *agent, uint64_t packets, char *buf, size_t size);
};

static void say_full(const struct agent *agent, uint64_t packets, char *buf, size_t size)
{
	snprintf(buf, size,
		 "the flow table is full: new connections are refused, %llu packets of them "
		 "within a second; raise --max-flows (now %u)",
		 (unsigned long long)packets, (unsigned)shunt_dp_maps(agent->dp)->flows.n);
}

/* Reads the whole flow table for the client's name. */
static void say_greedy(const struct agent *agent, uint64_t packets, char *buf, size_t size)
{
	const struct shunt_dp_maps *maps = shunt_dp_maps(agent->dp);
	const struct shunt_settings *settings =
		SHUNT_DP_AT(maps->settings, struct shunt_settings, 0);
	char text[SHUNT_IP_STR_LEN] = "a client";
	struct shunt_ip client;
	bool is_v6 = false;

	if (shunt_read_greedy(maps, &client)) {
		shunt_ip_str(&client, text);
		is_v6 = client.family == SHUNT_V6;
	}
	snprintf(buf, size,
		 "%s%s has its share of the flow table, %u connections: new ones are refused, "
		 "%llu packets of them within a second; if it is many clients behind one address, "
		 "raise --client-share (now %g)",
		 text, is_v6 ? "/64" : "", settings->client_limit, (unsigned long long)packets,
		 agent->opts->dp.client_share_bp / 100.0);
}

static void tick(struct agent *agent, struct agent_refusals *refusals, const struct kind *kind,
		 uint64_t counted)
{
	uint64_t now_ns = shunt_mono_ns(),
		 more = refusals->is_known ? counted - refusals->refused : 0;
	bool went_on = refusals->is_on;

	refusals->refused = counted;
	refusals->is_known = true;
	if (more) {
		refusals->last_ns = now_ns;
		refusals->is_on = true;
		if (!went_on || kind->is_problem)
			kind->say(agent, more, refusals->problem, sizeof(refusals->problem));
		if (!went_on)
			agent_event(agent, SHUNT_LOG_WARN, kind->begins, "", "%s",
				    refusals->problem);
	} else if (went_on && now_ns - refusals->last_ns > HOLD_NS) {
		refusals->is_on = false;
		refusals->problem[0] = '\0';
		agent_event(agent, SHUNT_LOG_INFO, kind->ends, "", "%s for %llu s", kind->ended,
			    (unsigned long long)(HOLD_NS / 1000000000));
	}
}

void agent_refusals_tick(struct agent *agent)
{
	static const struct kind full = {
		.reason = SHUNT_R_TABLE_FULL,
		.begins = "FlowTableFull",
		.ends = "FlowTableHasRoom",
		.ended = "no new connection was refused",
		.is_problem = true,
		.say = say_full,
	};
	static const struct kind greedy = {
		.reason = SHUNT_R_CLIENT_SHARE,
		.begins = "ClientShare",
		.ends = "ClientShareOver",
		.ended = "no client was refused for having its share",
		.say = say_greedy,
	};
	uint64_t reasons[SHUNT_R_MAX];

	if (shunt_read_reasons(shunt_dp_maps(agent->dp), reasons) < 0)
		return; /* status says that the maps cannot be read */
	tick(agent, &agent->full, &full, reasons[full.reason]);
	tick(agent, &agent->greedy, &greedy, reasons[greedy.reason]);
}
