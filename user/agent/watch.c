// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/netlink.h"
#include "base/cleanup.h"

/* ---- what the programs are told ------------------------------------------------------------ */

/* The source of connections that leave by @ifindex; all zero if there is none. */
static struct shunt_addr source_of(const struct agent *agent, uint32_t ifindex, int family)
{
	if (agent->opts->has_nat_source[family])
		return agent->opts->nat_source[family];
	for (size_t i = 0; i < agent->n_sources; i++)
		if (agent->sources[i].ifindex == ifindex && agent->sources[i].ip.family == family)
			return agent->sources[i].ip.addr;
	return (struct shunt_addr){ 0 };
}

struct shunt_gate agent_gate_record(const struct agent *agent, const struct agent_gate *gate)
{
	struct shunt_gate record = { .flags = gate->roles };

	if (gate->hook == SHUNT_HOOK_XDP)
		record.flags |= SHUNT_GATE_XDP;
	if (gate->is_pod)
		record.flags |= SHUNT_GATE_PEER;
	if (shunt_xmit_has(&agent->xmit, gate->ifindex, gate->is_hardware,
			   gate->hook == SHUNT_HOOK_XDP))
		record.flags |= SHUNT_GATE_XMIT;
	if (gate->macs.n)
		record.flags |= SHUNT_GATE_MACS;
	for (size_t i = 0; gate->macs.n && i < SHUNT_MAX_GATE_MACS; i++)
		memcpy(record.mac[i], gate->macs.items[i < gate->macs.n ? i : 0],
		       sizeof(record.mac[i]));
	for (int family = 0; gate->roles & SHUNT_GATE_UPLINK && family < SHUNT_N_FAMILIES; family++)
		record.source[family] = source_of(agent, gate->ifindex, family);
	return record;
}

/* Routes to pods behind a bridge lead to the bridge, so the programs must know it. */
static bool has_inside_bridge(const struct agent_gates *gates, size_t i)
{
	const struct agent_gate *gate = &gates->items[i];

	if (!gate->master || gate->roles & SHUNT_GATE_EXTERNAL)
		return false;
	for (size_t k = 0; k < gates->n; k++)
		if (gates->items[k].ifindex == gate->master ||
		    (k < i && gates->items[k].master == gate->master &&
		     !(gates->items[k].roles & SHUNT_GATE_EXTERNAL)))
			return false;
	return true;
}

/* What answers from behind the bridge of gate @i meet: SHUNT_GATE_XDP if one port has it. */
static uint32_t ports_hook(const struct agent_gates *gates, size_t i)
{
	for (size_t k = 0; k < gates->n; k++)
		if (gates->items[k].master == gates->items[i].master &&
		    gates->items[k].hook == SHUNT_HOOK_XDP)
			return SHUNT_GATE_XDP;
	return 0;
}

/* Brings shunt_gates to what is known now. Return: 0 or -errno. */
static int publish(struct agent *agent)
{
	const struct agent_gates *gates = &agent->gates;
	CLEANUP(freep)
	struct shunt_dp_gate_record *records = calloc(2 * gates->n + 1, sizeof(*records));
	size_t n = 0;

	if (!records)
		return -ENOMEM;
	for (size_t i = 0; i < gates->n; i++) {
		records[n++] = (struct shunt_dp_gate_record){
			.ifindex = gates->items[i].ifindex,
			.gate = agent_gate_record(agent, &gates->items[i]),
		};
		if (has_inside_bridge(gates, i))
			records[n++] = (struct shunt_dp_gate_record){
				.ifindex = gates->items[i].master,
				.gate = { .flags = SHUNT_GATE_INSIDE | ports_hook(gates, i) },
			};
	}
	return shunt_dp_gates_replace(agent->dp, records, n);
}

static int read_sources(struct agent *agent)
{
	struct agent_source *sources;
	size_t n;
	int r = agent_sources(&sources, &n);

	if (r < 0)
		return r;
	free(agent->sources);
	agent->sources = sources;
	agent->n_sources = n;
	return 0;
}

/* Only XDP asks for it: is one of @links a gate of XDP, or becomes one in this sync? */
static bool wants_xmit(const struct agent *agent, const struct agent_link *links, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct agent_gate_pattern *pattern =
			agent_gate_match(agent->opts->gates, agent->opts->n_gates, links[i].ifname);

		if (pattern && pattern->hook == SHUNT_HOOK_XDP)
			return true;
	}
	return false;
}

/* Before gates are attached, whose records have it. A failure leaves what was known before. */
static void read_xmit(struct agent *agent)
{
	struct shunt_xmit xmit;
	int r = shunt_xmit_read(&xmit);

	if (r < 0) {
		log_error("cannot ask which interfaces take frames from XDP: %s", strerror(-r));
		return;
	}
	shunt_xmit_free(&agent->xmit);
	agent->xmit = xmit;
}

void agent_sync_gates(struct agent *agent, bool verify)
{
	CLEANUP(freep) struct agent_link *links = NULL;
	size_t n;
	int r;

	/* On the way out nothing is attached any more. */
	if (agent->detach.reply)
		return;
	r = agent_links(&links, &n);
	if (!r)
		r = read_sources(agent);
	if (!r && wants_xmit(agent, links, n))
		read_xmit(agent);
	if (!r)
		r = agent_gates_sync(&agent->gates, links, n, verify);
	if (!r)
		r = publish(agent);
	if (r < 0)
		log_error("cannot look at the interfaces: %s", strerror(-r));
}

bool agent_read_addresses(struct agent *agent)
{
	struct shunt_ip *addrs;
	size_t n;
	bool changed;
	int r;

	r = agent_addresses(&addrs, &n);
	if (r < 0) {
		log_error("cannot look at the addresses of this node: %s", strerror(-r));
		return false;
	}
	changed = n != agent->n_node_addrs ||
		  (n && memcmp(addrs, agent->node_addrs, n * sizeof(*addrs)));
	free(agent->node_addrs);
	agent->node_addrs = addrs;
	agent->n_node_addrs = n;
	return changed;
}

void agent_watch_read(struct agent *agent)
{
	struct agent_netlink_news news = { 0 };
	int r;

	r = agent_netlink_read(agent->netlink_fd, &news);
	if (r < 0) {
		log_error("cannot hear of interfaces: %s", strerror(-r));
		return;
	}
	/* An index that was deleted may be in use again already, by another interface. */
	for (size_t i = 0; i < news.n_deleted; i++)
		agent_gates_forget(&agent->gates, news.deleted[i]);
	free(news.deleted);
	if (!news.any)
		return;
	agent_sync_gates(agent, false);
	if (agent_read_addresses(agent))
		agent_refresh(agent, true);
}
