// SPDX-License-Identifier: Apache-2.0
/* The map shunt_gates: what the programs know of the interfaces that are guarded. */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "datapath/internal.h"

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

int shunt_dp_gates_replace(struct shunt_dp *dp, const struct shunt_dp_gate_record *records,
			   size_t n)
{
	int first = remove_others(dp, records, n);

	for (size_t i = 0; i < n; i++) {
		int r = shunt_dp_gate_put(dp, records[i].ifindex, &records[i].gate);

		first = first ? first : r;
	}
	return first;
}
