// SPDX-License-Identifier: Apache-2.0
#include "datapath/refs.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shunt/compat.h"

static void mark(uint8_t *used, uint32_t n, uint32_t index)
{
	if (index < n)
		used[index] = 1;
}

/* Reads the tags, one line for sixteen flows, and only the flows that are there. */
static void scan_set(const struct shunt_dp_maps *maps, uint32_t s, struct shunt_refs *refs)
{
	const struct shunt_flow_set *set = SHUNT_DP_AT(maps->flow_sets, struct shunt_flow_set, s);

	for (uint32_t way = 0; way < SHUNT_FLOW_WAYS; way++) {
		const struct shunt_flow *flow;

		if (!SHUNT_READ_ONCE(set->tag[way]))
			continue;
		flow = SHUNT_DP_AT(maps->flows, struct shunt_flow, s * SHUNT_FLOW_WAYS + way);
		mark(refs->services, maps->services.n, SHUNT_READ_ONCE(flow->service));
		mark(refs->backends, maps->backends.n, SHUNT_READ_ONCE(flow->backend));
	}
}

int shunt_refs_scan(const struct shunt_dp_maps *maps, struct shunt_refs *ret_refs)
{
	struct shunt_refs refs = {
		.services = calloc(maps->services.n, 1),
		.backends = calloc(maps->backends.n, 1),
	};

	if (!refs.services || !refs.backends) {
		shunt_refs_done(&refs);
		return -ENOMEM;
	}
	for (uint32_t s = 0; s < maps->flow_sets.n; s++)
		scan_set(maps, s, &refs);
	*ret_refs = refs;
	return 0;
}

void shunt_refs_done(struct shunt_refs *refs)
{
	free(refs->services);
	free(refs->backends);
	memset(refs, 0, sizeof(*refs));
}

int shunt_refs_forget_sessions(const struct shunt_dp_maps *maps, const uint8_t *gone)
{
	struct shunt_session_key key, next;
	struct shunt_session session;
	int r = bpf_map_get_next_key(maps->sessions_fd, NULL, &next);

	while (r == 0) {
		/* The step comes first: after a deletion the walk would begin anew. */
		key = next;
		r = bpf_map_get_next_key(maps->sessions_fd, &key, &next);
		if (r < 0 && errno != ENOENT)
			return -errno;
		if (bpf_map_lookup_elem(maps->sessions_fd, &key, &session) < 0)
			continue;
		if (session.backend < maps->backends.n && gone[session.backend])
			bpf_map_delete_elem(maps->sessions_fd, &key);
	}
	return 0;
}
