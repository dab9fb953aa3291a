// SPDX-License-Identifier: Apache-2.0
/* What the programs need to know, and cannot find out, of the ways to backends. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/netlink.h>

#include "agent/agent.h"
#include "agent/routes.h"
#include "base/cleanup.h"
#include "shunt/compat.h"

/* Backends whose neighbours are looked after in a second: some 10 us each. */
#define BACKENDS_PER_TICK 512

/* What the programs keep is forgotten. */
static void forget(struct agent *agent)
{
	int asks;

	if (agent->rules_are_new) {
		asks = agent_rules_ask_sources();
		if (asks < 0)
			log_error("cannot look at the rules of routing: %s", strerror(-asks));
		agent->may_keep_hops = !asks;
		agent->rules_are_new = asks < 0;
	}
	shunt_dp_routes_changed(agent->dp, agent->may_keep_hops);
}

int agent_nexthops_open(struct agent *agent)
{
	agent->routes_fd = agent_routes_open();
	if (agent->routes_fd < 0)
		return agent->routes_fd;
	agent->asks_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (agent->asks_fd < 0)
		return -errno;
	agent->rules_are_new = true;
	forget(agent);
	return 0;
}

void agent_nexthops_read(struct agent *agent)
{
	struct agent_routes_news news = { 0 };
	int r = agent_routes_read(agent->routes_fd, &news);

	if (r < 0) {
		log_error("cannot hear of routes: %s", strerror(-r));
		return;
	}
	agent->rules_are_new |= news.rules;
	if (news.any)
		forget(agent);
}

/* The uplinks, if what comes in by one of them meets XDP. Return: how many. */
static size_t find_uplinks(const struct agent *agent, uint32_t *uplinks)
{
	bool has_xdp = false;
	size_t n = 0;

	for (size_t i = 0; i < agent->gates.n; i++) {
		const struct agent_gate *gate = &agent->gates.items[i];

		if (!(gate->roles & SHUNT_GATE_UPLINK))
			continue;
		uplinks[n++] = gate->ifindex;
		has_xdp |= gate->hook == SHUNT_HOOK_XDP;
	}
	return has_xdp ? n : 0;
}

void agent_neighbours_tick(struct agent *agent)
{
	const struct shunt_dp_array *backends = &shunt_dp_maps(agent->dp)->backends;
	CLEANUP(freep) uint32_t *uplinks = calloc(agent->gates.n + 1, sizeof(*uplinks));
	size_t n = uplinks ? find_uplinks(agent, uplinks) : 0, asked = 0;

	for (uint32_t i = 0; n && i < backends->n && asked < BACKENDS_PER_TICK; i++) {
		const struct shunt_backend *backend;
		int r;

		agent->next_neighbour = (agent->next_neighbour + 1) % backends->n;
		backend = SHUNT_DP_AT(*backends, struct shunt_backend, agent->next_neighbour);
		if (!backend->port_be || SHUNT_READ_ONCE(backend->flags) & SHUNT_BE_REMOVED)
			continue;
		asked++;
		r = agent_neighbour_use(agent->asks_fd, &backend->addr, backend->family, uplinks,
					n);
		if (r < 0)
			log_debug("cannot look for a backend's neighbour: %s", strerror(-r));
	}
}
