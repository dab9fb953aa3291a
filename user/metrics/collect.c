// SPDX-License-Identifier: Apache-2.0
#include "metrics/collect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/mono.h"
#include "datapath/read.h"
#include "shunt/compat.h"
#include "shunt/histogram.h"

static int compare_backends(const void *a, const void *b)
{
	const struct shunt_stats_backend *x = a, *y = b;
	int r;

	if (x->variant != y->variant)
		return x->variant < y->variant ? -1 : 1;
	if (x->ip.family != y->ip.family)
		return x->ip.family < y->ip.family ? -1 : 1;
	r = memcmp(&x->ip.addr, &y->ip.addr, sizeof(x->ip.addr));
	if (r)
		return r;
	if (x->port != y->port)
		return x->port < y->port ? -1 : 1;
	return x->proto - y->proto;
}

int shunt_variant_name_compare(const struct shunt_variant_name *a,
			       const struct shunt_variant_name *b)
{
	int r = strcmp(a->namespace_, b->namespace_);

	if (!r)
		r = strcmp(a->service, b->service);
	if (!r)
		r = ntohs(a->port_be) - ntohs(b->port_be);
	if (!r)
		r = a->proto - b->proto;
	return r ? r : strcmp(a->variant, b->variant);
}

static int compare_variants(const void *a, const void *b)
{
	const struct shunt_stats_variant *x = a, *y = b;

	return shunt_variant_name_compare(&x->name, &y->name);
}

static int collect_backends(const struct shunt_dp_maps *maps, struct shunt_stats *stats)
{
	uint64_t now_ns = shunt_mono_ns();
	struct shunt_stats_backend *out;
	int r;

	for (uint32_t id = 1; id < maps->backends.n; id++) {
		const struct shunt_backend *in =
			SHUNT_DP_AT(maps->backends, struct shunt_backend, id);

		if (!in->variant)
			continue;
		out = shunt_array_add(&stats->backends, &stats->n_backends, sizeof(*out));
		if (!out)
			return -ENOMEM;
		out->id = id;
		out->variant = in->variant;
		out->ip.addr = in->addr;
		out->ip.family = in->family;
		out->port = ntohs(in->port_be);
		out->proto = in->proto;
		out->flags = in->flags;
		out->active = shunt_read_active(maps, id);
		out->ejection = shunt_ejection_read(maps, id, now_ns);
		r = shunt_read_backend(maps, id, &out->counters);
		if (r < 0)
			return r;
	}
	if (stats->n_backends)
		qsort(stats->backends, stats->n_backends, sizeof(*out), compare_backends);
	return 0;
}

/* Finds @variant's backends in the sorted array and adds them up. */
static void sum_backends(struct shunt_stats_variant *variant, const struct shunt_stats *stats)
{
	size_t low = 0, high = stats->n_backends;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (stats->backends[middle].variant < variant->id)
			low = middle + 1;
		else
			high = middle;
	}
	variant->first_backend = low;
	variant->total = variant->own;
	for (; low < stats->n_backends && stats->backends[low].variant == variant->id; low++) {
		shunt_counters_add(&variant->total, &stats->backends[low].counters);
		variant->active += stats->backends[low].active;
		variant->n_backends++;
	}
}

/* What the programs look at of the variant's service: enum shunt_service_flags. */
static uint32_t service_flags(const struct shunt_dp_maps *maps, uint32_t variant)
{
	const struct shunt_settings *settings =
		SHUNT_DP_AT(maps->settings, struct shunt_settings, 0);
	uint32_t service = SHUNT_DP_AT(maps->variants, struct shunt_variant, variant)->service;
	uint32_t slot = SHUNT_READ_ONCE(settings->epoch) & 1;

	if (service >= maps->services.n)
		return 0;
	return SHUNT_DP_AT(maps->services, struct shunt_service, service)->slot[slot].flags;
}

/* What is measured of a variant, or was: that stays in sight. */
static void collect_signals(const struct shunt_dp_maps *maps, struct shunt_stats_variant *out)
{
	const struct shunt_counters *c = &out->total;
	uint32_t flags = service_flags(maps, out->id);

	out->is_http = flags & SHUNT_SVC_HTTP || c->requests;
	out->times = SHUNT_DP_AT(maps->response_times, struct shunt_response_time,
				 out->id * SHUNT_TIME_BUCKETS);
	out->is_tcp = flags & SHUNT_SVC_TCP || c->established || c->refused || c->unanswered;
	out->connect_times = SHUNT_DP_AT(maps->connect_times, struct shunt_connect_time,
					 out->id * SHUNT_TIME_BUCKETS);
}

static int collect_variants(const struct shunt_dp_maps *maps, struct shunt_stats *stats)
{
	struct shunt_stats_variant *out;
	int r;

	for (uint32_t id = 1; id < maps->variant_names.n; id++) {
		const struct shunt_variant_name *name =
			SHUNT_DP_AT(maps->variant_names, struct shunt_variant_name, id);

		if (!name->variant[0])
			continue;
		out = shunt_array_add(&stats->variants, &stats->n_variants, sizeof(*out));
		if (!out)
			return -ENOMEM;
		out->id = id;
		out->name = *name;
		r = shunt_read_variant(maps, id, &out->own);
		if (r < 0)
			return r;
		sum_backends(out, stats);
		out->tripped = SHUNT_DP_AT(maps->overlay, struct shunt_overlay, id)->tripped != 0;
		collect_signals(maps, out);
	}
	if (stats->n_variants)
		qsort(stats->variants, stats->n_variants, sizeof(*out), compare_variants);
	return 0;
}

/* A rate of scope variant counts in the buckets of the variants: its own is never used. */
static bool is_counted(const struct shunt_bucket_name *name)
{
	return name->service[0] &&
	       (name->scope != SHUNT_LIMIT_VARIANT || name->is_at_once || name->variant_index);
}

static int collect_limits(const struct shunt_dp_maps *maps, struct shunt_stats *stats)
{
	int r = 0;

	for (uint32_t id = 1; r == 0 && id < maps->bucket_names.n; id++) {
		const struct shunt_bucket_name *name =
			SHUNT_DP_AT(maps->bucket_names, struct shunt_bucket_name, id);
		struct shunt_stats_limit *limit;

		if (!is_counted(name))
			continue;
		limit = shunt_array_add(&stats->limits, &stats->n_limits, sizeof(*limit));
		if (!limit)
			return -ENOMEM;
		limit->name = *name;
		r = shunt_read_limit(maps, id, &limit->counters);
	}
	return r;
}

int shunt_stats_collect_variants(const struct shunt_dp_maps *maps, struct shunt_stats *ret_stats)
{
	CLEANUP(shunt_stats_free) struct shunt_stats stats = { 0 };
	int r = collect_backends(maps, &stats);

	if (!r)
		r = collect_variants(maps, &stats);
	if (r < 0)
		return r;
	*ret_stats = stats;
	stats = (struct shunt_stats){ 0 };
	return 0;
}

int shunt_stats_collect(const struct shunt_dp_maps *maps, struct shunt_stats *ret_stats)
{
	const struct shunt_settings *settings =
		SHUNT_DP_AT(maps->settings, struct shunt_settings, 0);
	CLEANUP(shunt_stats_free) struct shunt_stats stats = { 0 };
	int r;

	stats.generation = SHUNT_READ_ONCE(settings->generation);
	stats.flags = SHUNT_READ_ONCE(settings->flags);
	stats.flow_capacity = maps->flows.n;

	r = collect_backends(maps, &stats);
	if (!r)
		r = collect_variants(maps, &stats);
	if (!r)
		r = collect_limits(maps, &stats);
	if (!r)
		r = shunt_read_reasons(maps, stats.reasons);
	if (!r)
		r = shunt_read_flow_states(maps, stats.flow_states);
	if (r < 0)
		return r;

	*ret_stats = stats;
	stats = (struct shunt_stats){ 0 };
	return 0;
}

const struct shunt_stats_variant *shunt_stats_variant(const struct shunt_stats *stats,
						      const char *namespace_, const char *service,
						      uint16_t port, uint8_t proto,
						      const char *variant)
{
	size_t low = 0, high = stats->n_variants;
	struct shunt_variant_name wanted = { 0 };

	strncpy(wanted.namespace_, namespace_, sizeof(wanted.namespace_) - 1);
	strncpy(wanted.service, service, sizeof(wanted.service) - 1);
	strncpy(wanted.variant, variant, sizeof(wanted.variant) - 1);
	wanted.port_be = htons(port);
	wanted.proto = proto;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int r = shunt_variant_name_compare(&stats->variants[middle].name, &wanted);

		if (!r)
			return &stats->variants[middle];
		if (r < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

const struct shunt_stats_backend *shunt_stats_backend(const struct shunt_stats *stats,
						      uint32_t variant, const struct shunt_ip *ip,
						      uint16_t port, uint8_t proto)
{
	const struct shunt_stats_backend wanted = {
		.variant = variant, .ip = *ip, .port = port, .proto = proto
	};

	if (!stats->n_backends)
		return NULL;
	return bsearch(&wanted, stats->backends, stats->n_backends, sizeof(wanted),
		       compare_backends);
}

int shunt_stats_connections(const struct shunt_dp_maps *maps, const bool *wanted,
			    uint64_t *ret_connections)
{
	struct shunt_counters counters;
	int r;

	for (uint32_t id = 1; id < maps->variants.n; id++) {
		if (!wanted[id])
			continue;
		r = shunt_read_variant(maps, id, &counters);
		if (r < 0)
			return r;
		ret_connections[id] = counters.connections;
	}
	for (uint32_t id = 1; id < maps->backends.n; id++) {
		uint32_t variant = SHUNT_DP_AT(maps->backends, struct shunt_backend, id)->variant;

		if (variant >= maps->variants.n || !wanted[variant])
			continue;
		r = shunt_read_backend(maps, id, &counters);
		if (r < 0)
			return r;
		ret_connections[variant] += counters.connections;
	}
	return 0;
}

uint64_t shunt_stats_active(const struct shunt_dp_maps *maps, uint32_t variant,
			    const struct shunt_ip *ip, uint16_t port)
{
	uint64_t sum = 0;

	for (uint32_t id = 1; id < maps->backends.n; id++) {
		const struct shunt_backend *backend =
			SHUNT_DP_AT(maps->backends, struct shunt_backend, id);

		if (backend->variant != variant)
			continue;
		if (ip && (backend->family != ip->family ||
			   memcmp(&backend->addr, &ip->addr, sizeof(ip->addr))))
			continue;
		if (!port || ntohs(backend->port_be) == port)
			sum += shunt_read_active(maps, id);
	}
	return sum;
}

void shunt_stats_free(struct shunt_stats *stats)
{
	free(stats->variants);
	free(stats->backends);
	free(stats->limits);
	*stats = (struct shunt_stats){ 0 };
}
