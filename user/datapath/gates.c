// SPDX-License-Identifier: Apache-2.0
/* The map shunt_gates: what the programs know of the interfaces that are guarded. */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "datapath/internal.h"
#include "shunt/compat.h"

int shunt_dp_gate_put(struct shunt_dp *dp, uint32_t ifindex, const struct shunt_gate *gate)
{
	struct shunt_gate now;

	if (!bpf_map_lookup_elem(dp->maps.gates_fd, &ifindex, &now) &&
	    !memcmp(&now, gate, sizeof(now)))
		return 0;
	return bpf_map_update_elem(dp->maps.gates_fd, &ifindex, gate, BPF_ANY) < 0 ? -errno : 0;
}

int shunt_dp_gate_add(struct shunt_dp *dp, uint32_t ifindex)
{
	const struct shunt_gate plain = { 0 };

	if (!bpf_map_update_elem(dp->maps.gates_fd, &ifindex, &plain, BPF_NOEXIST))
		return 0;
	return errno == EEXIST ? 0 : -errno;
}

int shunt_dp_gate_del(struct shunt_dp *dp, uint32_t ifindex)
{
	if (!bpf_map_delete_elem(dp->maps.gates_fd, &ifindex))
		return 0;
	return errno == ENOENT ? 0 : -errno;
}

static bool is_among(uint32_t ifindex, const struct shunt_dp_gate_record *records, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (records[i].ifindex == ifindex)
			return true;
	return false;
}

/* Return: the first -errno, or 0. */
static int remove_others(struct shunt_dp *dp, const struct shunt_dp_gate_record *records, size_t n)
{
	uint32_t key, next;
	int first = 0, r;

	r = bpf_map_get_next_key(dp->maps.gates_fd, NULL, &next);
	while (!r) {
		key = next;
		/* Before the removal: a removed key has no next one. */
		r = bpf_map_get_next_key(dp->maps.gates_fd, &key, &next);
		if (!is_among(key, records, n)) {
			int failure = shunt_dp_gate_del(dp, key);

			first = first ? first : failure;
		}
	}
	return first;
}

static struct shunt_settings *settings_of(struct shunt_dp *dp)
{
	return dp->maps.settings.base;
}

/* Answers that come in by an external gate are looked at; by any gate, there is one flag. */
static void tell_external(struct shunt_dp *dp, bool has_external)
{
	uint32_t *flags = &settings_of(dp)->flags;

	if (has_external)
		__atomic_fetch_or(flags, SHUNT_S_EXTERNAL | SHUNT_S_ANSWERS, __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_and(flags, ~SHUNT_S_EXTERNAL, __ATOMIC_SEQ_CST);
}

void shunt_dp_routes_changed(struct shunt_dp *dp, bool may_keep)
{
	struct shunt_settings *settings = settings_of(dp);
	uint32_t next = SHUNT_READ_ONCE(settings->route_generation) + 1;

	/* 0 means that nothing is kept. */
	SHUNT_WRITE_ONCE(settings->route_generation, may_keep ? next ? next : 1 : 0);
}

int shunt_dp_gates_replace(struct shunt_dp *dp, const struct shunt_dp_gate_record *records,
			   size_t n)
{
	int first = remove_others(dp, records, n);
	bool has_external = false;

	for (size_t i = 0; i < n; i++) {
		int r = shunt_dp_gate_put(dp, records[i].ifindex, &records[i].gate);

		first = first ? first : r;
		has_external |= records[i].gate.flags & SHUNT_GATE_EXTERNAL;
	}
	tell_external(dp, has_external);
	shunt_dp_routes_changed(dp, SHUNT_READ_ONCE(settings_of(dp)->route_generation));
	return first;
}
