// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/netlink.h"
#include "base/cleanup.h"

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
		r = agent_gates_sync(&agent->gates, links, n, verify);
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
