// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "datapath/installer.h"

/*
 * Policies are written aside and named by services, as splits are by rules. Their buckets are
 * indices with names, as variants are: a change of a policy keeps what did not change.
 */

static struct shunt_policy_record *policy_at(const struct shunt_installer *installer,
					     uint32_t policy)
{
	return SHUNT_DP_AT(installer->maps->policies, struct shunt_policy_record, policy);
}

/* ---- address lists -------------------------------------------------------------------------- */

union source_key {
	struct shunt_source_key_v4 v4;
	struct shunt_source_key_v6 v6;
};

static void source_key(const struct shunt_image_source *source, uint32_t policy,
		       union source_key *key)
{
	const struct shunt_cidr *cidr = &source->cidr;
	const __be32 *word = cidr->net.addr.word_be;
	uint32_t list = policy | (source->is_balancer ? SHUNT_SOURCES_OF_BALANCER : 0);

	memset(key, 0, sizeof(*key));
	if (cidr->net.family == SHUNT_V4) {
		key->v4 = (struct shunt_source_key_v4){ 32u + cidr->prefix_len, list, word[3] };
		return;
	}
	key->v6.prefix_len = 32u + cidr->prefix_len;
	key->v6.policy = list;
	memcpy(key->v6.word_be, word, sizeof(key->v6.word_be));
}

static int write_sources(struct shunt_installer *installer, const struct shunt_image_policy *policy,
			 uint32_t index)
{
	for (size_t i = 0; i < policy->n_sources; i++) {
		const struct shunt_image_source *from = &policy->sources[i];
		struct shunt_source value = { .is_denied = from->is_denied };
		union source_key key;

		source_key(from, index, &key);
		if (bpf_map_update_elem(installer->maps->sources_fd[from->cidr.net.family], &key,
					&value, BPF_ANY) < 0)
			return -errno;
		installer->policy_sources[index]++;
	}
	return 0;
}

/* Are the address lists in the maps those of @policy? */
static bool sources_are(const struct shunt_installer *installer,
			const struct shunt_image_policy *policy, uint32_t index)
{
	for (size_t i = 0; i < policy->n_sources; i++) {
		const struct shunt_image_source *want = &policy->sources[i];
		struct shunt_source value;
		union source_key key;

		/* A lookup finds the longest prefix that holds the key: its own, if it is there. */
		source_key(want, index, &key);
		if (bpf_map_lookup_elem(installer->maps->sources_fd[want->cidr.net.family], &key,
					&value) < 0 ||
		    value.is_denied != want->is_denied)
			return false;
	}
	return true;
}

void shunt_policy_sweep_sources(struct shunt_installer *installer)
{
	if (!installer->has_stale_sources)
		return;
	installer->has_stale_sources = false;
	memset(installer->policy_sources, 0,
	       installer->maps->policies.n * sizeof(*installer->policy_sources));
	for (int family = 0; family < SHUNT_N_FAMILIES; family++) {
		int fd = installer->maps->sources_fd[family];
		union source_key key, next;
		uint32_t policy;
		int r = bpf_map_get_next_key(fd, NULL, &next);

		while (r == 0) {
			/* The step comes first: after a deletion the walk would begin anew. */
			key = next;
			r = bpf_map_get_next_key(fd, &key, &next);
			/* Both keys begin alike. */
			policy = key.v4.policy & ~SHUNT_SOURCES_OF_BALANCER;
			if (policy >= installer->maps->policies.n ||
			    !installer->policy_users[policy])
				bpf_map_delete_elem(fd, &key);
			else
				installer->policy_sources[policy]++;
		}
	}
}

/* ---- in force ------------------------------------------------------------------------------- */

static void hold_bucket(struct shunt_installer *installer, uint32_t id, int by)
{
	if (id < installer->maps->buckets.n)
		installer->buckets[id].users += (uint32_t)by;
}

static void hold_limits(struct shunt_installer *installer, const struct shunt_limit *limits,
			size_t n, int by)
{
	for (size_t i = 0; i < n; i++) {
		hold_bucket(installer, limits[i].bucket, by);
		for (int v = 0; v < SHUNT_MAX_VARIANTS; v++)
			hold_bucket(installer, limits[i].variant[v].bucket, by);
	}
}

/* Before a policy of packets can be seen, and after the last one no longer is. */
static void flag_packets(struct shunt_installer *installer)
{
	struct shunt_settings *settings = installer_settings(installer);

	if (installer->n_packet_policies)
		__atomic_or_fetch(&settings->flags, SHUNT_S_PACKET_LIMITS, __ATOMIC_RELEASE);
	else
		__atomic_and_fetch(&settings->flags, ~(uint32_t)SHUNT_S_PACKET_LIMITS,
				   __ATOMIC_RELEASE);
}

/* @by 1: the first user of @policy has come, -1: the last has gone. Its record is what it was. */
static void hold(struct shunt_installer *installer, uint32_t policy, int by)
{
	const struct shunt_policy_record *record = policy_at(installer, policy);

	hold_limits(installer, record->rate, SHUNT_MAX_RATES, by);
	hold_limits(installer, record->at_once, SHUNT_MAX_AT_ONCE, by);
	if (!(record->flags & SHUNT_POLICY_PACKETS))
		return;
	installer->n_packet_policies += (uint32_t)by;
	flag_packets(installer);
}

void shunt_policy_use(struct shunt_installer *installer, uint32_t policy, int by)
{
	if (!policy || policy >= installer->maps->policies.n)
		return;
	if (!installer->policy_users[policy])
		hold(installer, policy, 1);
	installer->policy_users[policy] += (uint32_t)by;
	if (installer->policy_users[policy])
		return;
	hold(installer, policy, -1);
	installer->has_stale_sources |= policy_at(installer, policy)->flags & SHUNT_POLICY_LISTS;
	shunt_place_retire(&installer->policies, policy, 1);
}

/* ---- records -------------------------------------------------------------------------------- */

static bool record_is(const struct shunt_installer *installer,
		      const struct shunt_image_policy *policy, uint32_t index)
{
	struct shunt_policy_record record = *policy_at(installer, index);

	record.service = policy->record.service;
	if (memcmp(&record, &policy->record, sizeof(record)))
		return false;
	return !(record.flags & SHUNT_POLICY_LISTS) ||
	       (sources_are(installer, policy, index) &&
		installer->policy_sources[index] == policy->n_sources);
}

/* Waits for a grace period only if nothing is free otherwise. */
static int take(struct shunt_installer *installer, uint32_t *ret_index, struct shunt_err *err)
{
	int r = shunt_place_alloc(&installer->policies, 1, ret_index);

	if (r == -ENOSPC && shunt_place_waits(&installer->policies)) {
		r = shunt_installer_grace(installer);
		if (r < 0)
			return shunt_err_set(err, r, "waiting for packets in flight: %s",
					     strerror(-r));
		r = shunt_place_alloc(&installer->policies, 1, ret_index);
	}
	if (r == -ENOSPC)
		return shunt_err_set(err, r, "map shunt_policies is full: raise --max-policies");
	return r < 0 ? shunt_err_set(err, r, "out of memory") : 0;
}

int shunt_policy_prepare(struct shunt_installer *installer, const struct shunt_image_policy *policy,
			 uint32_t service, uint32_t old, uint32_t *ret_new, struct shunt_err *err)
{
	uint32_t index;
	int r;

	*ret_new = 0;
	if (!policy)
		return 0;
	if (old && record_is(installer, policy, old)) {
		*ret_new = old;
		return 0;
	}
	r = take(installer, &index, err);
	if (r < 0)
		return r;
	*policy_at(installer, index) = policy->record;
	policy_at(installer, index)->service = service;
	shunt_policy_use(installer, index, 1);
	r = write_sources(installer, policy, index);
	if (r < 0) {
		shunt_policy_abandon(installer, index);
		return r == -ENOSPC ? shunt_err_set(err, r,
						    "maps shunt_sources_v4 and _v6 have no room: "
						    "raise --max-sources")
				    : shunt_err_set(err, r, "map shunt_sources: %s", strerror(-r));
	}
	*ret_new = index;
	return 0;
}

void shunt_policy_abandon(struct shunt_installer *installer, uint32_t policy)
{
	if (!policy)
		return;
	/* Its entries first: the index may be taken again at once. */
	installer->policy_users[policy] = 0;
	hold(installer, policy, -1);
	installer->has_stale_sources |= policy_at(installer, policy)->flags & SHUNT_POLICY_LISTS;
	shunt_policy_sweep_sources(installer);
	shunt_place_free(&installer->policies, policy, 1);
}

/* ---- buckets -------------------------------------------------------------------------------- */

static struct shunt_bucket_name *name_at(const struct shunt_installer *installer, uint32_t id)
{
	return SHUNT_DP_AT(installer->maps->bucket_names, struct shunt_bucket_name, id);
}

void shunt_buckets_write(struct shunt_installer *installer, const struct shunt_image_service *image)
{
	for (size_t i = 0; image->policy && i < image->policy->n_buckets; i++) {
		const struct shunt_image_bucket *from = &image->policy->buckets[i];

		if (installer->buckets[from->id].live)
			continue;
		*name_at(installer, from->id) = from->name;
		installer->buckets[from->id].live = true;
	}
}

/* Released services too limit their flows: what counts is whether a policy in force names it. */
static bool may_go(const struct shunt_installer *installer, uint32_t id)
{
	return installer->buckets[id].live && !installer->buckets[id].users;
}

bool shunt_buckets_wait(const struct shunt_installer *installer)
{
	for (uint32_t id = 1; id < installer->maps->buckets.n; id++)
		if (may_go(installer, id))
			return true;
	return installer->has_stale_sources;
}

int shunt_buckets_retire(struct shunt_installer *installer)
{
	CLEANUP(freep) struct shunt_limit_counters *zero = NULL;
	int cpus = libbpf_num_possible_cpus();

	if (cpus < 0)
		return cpus;
	zero = calloc(cpus, sizeof(*zero));
	if (!zero)
		return -ENOMEM;
	for (uint32_t id = 1; id < installer->maps->buckets.n; id++) {
		if (!may_go(installer, id))
			continue;
		if (bpf_map_update_elem(installer->maps->limit_counters_fd, &id, zero, BPF_ANY) < 0)
			return -errno;
		SHUNT_DP_AT(installer->maps->buckets, struct shunt_bucket, id)->word = 0;
		memset(name_at(installer, id), 0, sizeof(struct shunt_bucket_name));
		installer->buckets[id].live = false;
		shunt_ids_reclaim(installer->ids, SHUNT_ID_BUCKET, id);
	}
	return 0;
}

/* ---- adoption ------------------------------------------------------------------------------- */

/* Names come from maps that others may have written: never trust their end. */
static int adopt_bucket(struct shunt_installer *installer, uint32_t id)
{
	const struct shunt_bucket_name *name = name_at(installer, id);
	char key[SHUNT_ID_KEY_LEN];

	if (!name->service[0])
		return 0;
	if (!memchr(name->namespace_, 0, SHUNT_NAME_LEN) ||
	    !memchr(name->service, 0, SHUNT_NAME_LEN))
		return -EINVAL;
	shunt_id_bucket_key(key, name);
	installer->buckets[id].live = true;
	return shunt_ids_adopt(installer->ids, SHUNT_ID_BUCKET, key, id);
}

static int adopt_policy(struct shunt_installer *installer, uint32_t policy)
{
	int r = 0;

	if (policy >= installer->maps->policies.n)
		return -ERANGE;
	if (policy && !installer->policy_users[policy])
		r = shunt_place_adopt(&installer->policies, policy, 1);
	if (r == 0)
		shunt_policy_use(installer, policy, 1);
	return r;
}

int shunt_policies_adopt(struct shunt_installer *installer)
{
	int r = 0;

	for (uint32_t id = 1; r == 0 && id < installer->maps->buckets.n; id++)
		r = adopt_bucket(installer, id);
	for (uint32_t id = 1; r == 0 && id < installer->maps->services.n; id++)
		if (installer->services[id].live)
			r = adopt_policy(installer, SHUNT_DP_AT(installer->maps->services,
								struct shunt_service, id)
							    ->policy[installer_slot(installer)]);
	if (r < 0)
		return r;
	/* An agent may have died between writing lists, or the flag, and naming their policy. */
	flag_packets(installer);
	installer->has_stale_sources = true;
	shunt_policy_sweep_sources(installer);
	return 0;
}
