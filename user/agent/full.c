// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "agent/agent.h"
#include "datapath/read.h"

/* Refusals come in bursts: so long after the last one the table still counts as full. */
#define FULL_HOLD_NS (10 * 1000000000ull)

void agent_full_tick(struct agent *agent)
{
	const struct shunt_dp_maps *maps = shunt_dp_maps(agent->dp);
	struct agent_full *full = &agent->full;
	uint64_t reasons[SHUNT_R_MAX], more, now_ns = agent_mono_ns();
	bool was_full = full->problem[0];

	if (shunt_read_reasons(maps, reasons) < 0)
		return; /* status says that the maps cannot be read */
	more = full->is_known ? reasons[SHUNT_R_TABLE_FULL] - full->refused : 0;
	full->refused = reasons[SHUNT_R_TABLE_FULL];
	full->is_known = true;
	if (more) {
		full->last_ns = now_ns;
		snprintf(
			full->problem, sizeof(full->problem),
			"the flow table is full: new connections are refused, %llu packets of them "
			"within a second; raise --max-flows (now %u)",
			(unsigned long long)more, (unsigned)maps->flows.n);
		if (!was_full)
			agent_event(agent, SHUNT_LOG_WARN, "FlowTableFull", "", "%s",
				    full->problem);
	} else if (was_full && now_ns - full->last_ns > FULL_HOLD_NS) {
		full->problem[0] = '\0';
		agent_event(agent, SHUNT_LOG_INFO, "FlowTableHasRoom", "",
			    "no new connection was refused for %llu s",
			    (unsigned long long)(FULL_HOLD_NS / 1000000000));
	}
}
