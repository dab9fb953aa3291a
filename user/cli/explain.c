// SPDX-License-Identifier: Apache-2.0
#include "cli/explain.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "cli/print.h"
#include "datapath/read.h"

#define FIRST_PORT   32768 /* Linux's ephemeral ports */
#define LAST_PORT    60999
#define ENDPOINT_LEN SHUNT_ADDR_PORT_LEN

/* ---- names --------------------------------------------------------------------------------- */

/* "10.0.0.1:80" or "[fd00::1]:80". @buf: ENDPOINT_LEN. */
static const char *endpoint(char *buf, const struct shunt_addr *addr, uint8_t family,
			    __be16 port_be)
{
	struct shunt_ip ip = { .addr = *addr, .family = family };

	return shunt_addr_port_str(&ip, ntohs(port_be), buf);
}

static const struct shunt_service_name *service_name(const struct explain *e)
{
	static const struct shunt_service_name unknown = { .name = "?" };

	if (!e->choice.service || e->choice.service >= e->maps->service_names.n)
		return &unknown;
	return SHUNT_DP_AT(e->maps->service_names, struct shunt_service_name, e->choice.service);
}

static const char *variant_name(const struct explain *e, uint32_t variant)
{
	if (variant >= e->maps->variant_names.n)
		return "?";
	return SHUNT_DP_AT(e->maps->variant_names, struct shunt_variant_name, variant)->variant;
}

static const char *affinity_name(const struct explain *e)
{
	static const char *const names[] = { "connection", "hash", "session" };

	return e->choice.slot.affinity < ARRAY_LEN(names) ? names[e->choice.slot.affinity] : "?";
}

static const char *state_name(uint32_t state)
{
	static const char *const names[SHUNT_N_FLOW_STATES] = {
		[SHUNT_F_FREE] = "free",
		[SHUNT_F_SYN] = "SYN seen",
		[SHUNT_F_SYN_ACK] = "SYN-ACK seen",
		[SHUNT_F_ESTABLISHED] = "established",
		[SHUNT_F_FIN_CLIENT] = "client closing",
		[SHUNT_F_FIN_BACKEND] = "server closing",
		[SHUNT_F_CLOSED] = "closed",
		[SHUNT_F_UDP_NEW] = "UDP, not answered",
		[SHUNT_F_UDP] = "UDP",
		[SHUNT_F_RESET_BY_CLIENT] = "reset by the client",
		[SHUNT_F_RESET_BY_BACKEND] = "reset by the server",
		[SHUNT_F_FIN_SEEN] = "FIN seen",
		[SHUNT_F_UDP_ANSWERED] = "UDP, answered once",
		[SHUNT_F_UDP_ONEWAY] = "UDP, never answered",
	};

	return state < SHUNT_N_FLOW_STATES ? names[state] : "?";
}

/* ---- what there is already ------------------------------------------------------------------- */

static bool is_client(const struct shunt_flow *flow, const struct shunt_tuple *t)
{
	return flow->client_lo_be == t->src.word_be[3] &&
	       flow->frontend_lo_be == t->dst.word_be[3] && flow->client_port_be == t->sport_be &&
	       flow->frontend_port_be == t->dport_be && flow->proto == t->proto &&
	       flow->family == t->family && !(flow->flags & SHUNT_FLOW_DIRECT) &&
	       !memcmp(flow->client_hi_be, t->src.word_be, sizeof(flow->client_hi_be)) &&
	       !memcmp(flow->frontend_hi_be, t->dst.word_be, sizeof(flow->frontend_hi_be));
}

/* Looks at the whole table, unlike the programs: tens of milliseconds do not matter here. */
static bool find_flow(const struct explain *e, struct shunt_flow *ret_flow)
{
	for (uint32_t i = 0; e->has_source_port && i < e->maps->flows.n; i++) {
		const struct shunt_flow *flow = SHUNT_DP_AT(e->maps->flows, struct shunt_flow, i);

		if (SHUNT_LIFE_STATE(SHUNT_READ_ONCE(flow->life)) == SHUNT_F_FREE)
			continue;
		*ret_flow = *flow;
		if (is_client(ret_flow, &e->tuple) &&
		    SHUNT_LIFE_GEN(SHUNT_READ_ONCE(flow->life)) == SHUNT_LIFE_GEN(ret_flow->life))
			return true;
	}
	return false;
}

/* @tripped: as in struct shunt_choice: these count for nothing. */
static uint64_t weight_total(const struct shunt_split *split, uint32_t tripped)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < split->n_variants && i < SHUNT_MAX_VARIANTS; i++)
		total += tripped >> i & 1 ? 0 : split->variant[i].weight;
	return total;
}

/* ---- spread over the source ports -------------------------------------------------------------
 */

static bool needs_spread(const struct explain *e)
{
	return !e->has_source_port && e->choice.service && e->choice.split &&
	       e->choice.slot.affinity == SHUNT_AFFINITY_CONNECTION;
}

struct spread {
	uint32_t tried;
	uint32_t rejected;
	uint32_t variant[SHUNT_MAX_VARIANTS]; /* by place in the split */
	uint32_t *backend;		      /* by index; owned */
};

static int spread_count(const struct explain *e, struct spread *spread)
{
	struct shunt_tuple tuple = e->tuple;
	struct shunt_choice choice;

	spread->backend = calloc(e->maps->backends.n, sizeof(uint32_t));
	if (!spread->backend)
		return -1;
	for (uint32_t port = FIRST_PORT; port <= LAST_PORT; port++) {
		tuple.sport_be = htons((uint16_t)port);
		shunt_choose_for_service(e->maps, e->choice.service, &tuple, e->now, &choice);
		spread->tried++;
		if (choice.variant_index >= 0)
			spread->variant[choice.variant_index]++;
		if (choice.reason == SHUNT_R_FORWARDED)
			spread->backend[choice.backend]++;
		else
			spread->rejected++;
	}
	return 0;
}

static json_t *spread_json(const struct explain *e)
{
	CLEANUP(freep) uint32_t *backends = NULL;
	json_t *variants = json_array(), *list = json_array();
	struct spread spread = { 0 };
	char to[ENDPOINT_LEN];

	if (spread_count(e, &spread) < 0)
		return json_null();
	backends = spread.backend;
	for (uint32_t i = 0; i < e->choice.record.n_variants && i < SHUNT_MAX_VARIANTS; i++)
		json_array_append_new(
			variants,
			json_pack("{s:s, s:I, s:I}", "name",
				  variant_name(e, e->choice.record.variant[i].variant), "weight",
				  (json_int_t)e->choice.record.variant[i].weight, "connections",
				  (json_int_t)spread.variant[i]));
	for (uint32_t i = 0; i < e->maps->backends.n; i++) {
		const struct shunt_backend *b =
			SHUNT_DP_AT(e->maps->backends, struct shunt_backend, i);

		if (backends[i])
			json_array_append_new(
				list, json_pack("{s:s, s:s, s:I}", "backend",
						endpoint(to, &b->addr, b->family, b->port_be),
						"variant", variant_name(e, b->variant),
						"connections", (json_int_t)backends[i]));
	}
	return json_pack("{s:I, s:I, s:o, s:o}", "tried", (json_int_t)spread.tried, "rejected",
			 (json_int_t)spread.rejected, "variants", variants, "backends", list);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *flow_json(const struct explain *e)
{
	struct shunt_flow flow;
	struct shunt_addr addr;
	char to[ENDPOINT_LEN];

	if (!find_flow(e, &flow))
		return json_null();
	memcpy(addr.word_be, flow.backend_hi_be, sizeof(flow.backend_hi_be));
	addr.word_be[3] = flow.backend_lo_be;
	return json_pack("{s:s, s:s, s:s}", "state", state_name(SHUNT_LIFE_STATE(flow.life)),
			 "variant", variant_name(e, flow.variant), "backend",
			 endpoint(to, &addr, flow.family, flow.backend_port_be));
}

json_t *explain_json(const struct explain *e)
{
	const struct shunt_service_name *name = service_name(e);
	const struct shunt_choice *c = &e->choice;
	char hash[24], to[ENDPOINT_LEN];
	json_t *json;

	json = json_pack("{s:I, s:s, s:s, s:o}", "generation", (json_int_t)c->generation, "reason",
			 shunt_reason_name(c->reason), "text", shunt_reason_text(c->reason), "flow",
			 flow_json(e));
	if (!c->service)
		return json;
	json_object_set_new(json, "service",
			    json_pack("{s:s, s:s, s:i}", "namespace", name->namespace_, "name",
				      name->name, "port", ntohs(name->port_be)));
	json_object_set_new(json, "affinity", json_string(affinity_name(e)));
	json_object_set_new(json, "ejected", explain_ejected_json(e));
	if (needs_spread(e)) {
		json_object_set_new(json, "spread", spread_json(e));
		return json;
	}
	json_object_set_new(json, "breaker", explain_breaker_json(e));
	json_object_set_new(json, "by_session", json_boolean(c->session_holds));
	snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)c->hash);
	json_object_set_new(json, "hash", json_string(hash));
	if (c->variant)
		json_object_set_new(json, "variant", json_string(variant_name(e, c->variant)));
	if (c->backend)
		json_object_set_new(
			json, "backend",
			json_pack("{s:s, s:I, s:I}", "address",
				  endpoint(to, &c->to.addr, c->to.family, c->to.port_be),
				  "ring_slot", (json_int_t)c->ring_slot, "ring_size",
				  (json_int_t)c->ring_size));
	return json;
}

/* ---- text ------------------------------------------------------------------------------------ */

static void label(const struct explain *e, const char *text)
{
	print_text(e->cli, PRINT_DIM, "  %-9s ", text);
}

static void end_line(const struct explain *e)
{
	fputc('\n', e->cli->out);
}

/* " as NodePort of 80" where that is what was asked for. */
static const char *node_port_of(const struct explain *e, const struct shunt_service_name *name,
				char buf[40])
{
	buf[0] = '\0';
	if (name->port_be != e->tuple.dport_be)
		snprintf(buf, 40, " as NodePort of %u", ntohs(name->port_be));
	return buf;
}

static void print_lookup(const struct explain *e)
{
	const struct shunt_service_name *name = service_name(e);
	char dst[ENDPOINT_LEN], port[40];

	label(e, "frontend");
	endpoint(dst, &e->tuple.dst, e->tuple.family, e->tuple.dport_be);
	if (e->choice.service)
		print_text(e->cli, PRINT_PLAIN, "%s/%s belongs to %s/%s%s, generation %u", dst,
			   e->tuple.proto == IPPROTO_TCP ? "TCP" : "UDP", name->namespace_,
			   name->name, node_port_of(e, name, port), e->choice.generation);
	else
		print_text(e->cli, PRINT_PLAIN, "%s: %s", dst, shunt_reason_text(e->choice.reason));
	end_line(e);
}

static void print_flow(const struct explain *e)
{
	struct shunt_flow flow;
	struct shunt_addr addr;
	char to[ENDPOINT_LEN];

	if (!e->has_source_port)
		return;
	label(e, "now");
	if (!find_flow(e, &flow)) {
		print_text(e->cli, PRINT_PLAIN, "no such connection; a new one is decided thus:");
		end_line(e);
		return;
	}
	memcpy(addr.word_be, flow.backend_hi_be, sizeof(flow.backend_hi_be));
	addr.word_be[3] = flow.backend_lo_be;
	print_text(e->cli, PRINT_BOLD, "%s at %s, %s", state_name(SHUNT_LIFE_STATE(flow.life)),
		   variant_name(e, flow.variant),
		   endpoint(to, &addr, flow.family, flow.backend_port_be));
	print_text(e->cli, PRINT_PLAIN, ": it stays there; a new one:");
	end_line(e);
}

static void print_affinity(const struct explain *e)
{
	const struct shunt_choice *c = &e->choice;

	label(e, "affinity");
	print_text(e->cli, PRINT_PLAIN, "%s", affinity_name(e));
	if (c->slot.affinity == SHUNT_AFFINITY_CONNECTION)
		print_text(e->cli, PRINT_PLAIN, ": both addresses and ports are the key");
	else
		print_text(e->cli, PRINT_PLAIN, ": the client's address /%u is the key",
			   c->slot.prefix_len[e->tuple.family]);
	if (c->session_holds)
		print_text(e->cli, PRINT_PLAIN, "; the client is remembered and keeps its backend");
	else if (c->has_session)
		print_text(e->cli, PRINT_PLAIN, "; it was remembered, but that is over");
	end_line(e);
}

/* "; without green, whose dead-man switch has tripped" */
static void print_tripped(const struct explain *e)
{
	for (uint32_t i = 0; i < e->choice.record.n_variants && i < SHUNT_MAX_VARIANTS; i++)
		if (e->choice.tripped >> i & 1)
			print_text(e->cli, PRINT_WARN,
				   "; without %s, whose dead-man switch has tripped",
				   variant_name(e, e->choice.record.variant[i].variant));
}

static void print_variant(const struct explain *e)
{
	const struct shunt_choice *c = &e->choice;
	uint64_t total = weight_total(&c->record, c->tripped);
	char share[SHUNT_UNIT_STR_LEN];
	uint32_t weight;

	label(e, "variant");
	if (c->session_holds) {
		print_text(e->cli, PRINT_PLAIN, "%s, by the session", variant_name(e, c->variant));
	} else if (c->variant_index < 0) {
		print_text(e->cli, PRINT_WARN, "none: every weight is 0");
	} else {
		weight = c->record.variant[c->variant_index].weight;
		print_text(e->cli, PRINT_PLAIN, "%s, weight %u of %llu (%s)",
			   variant_name(e, c->variant), weight, (unsigned long long)total,
			   shunt_share_str(total ? (double)weight / (double)total : 0, share));
		if (c->tripped)
			print_tripped(e);
		else if (c->record.n_variants == 2)
			print_text(e->cli, PRINT_PLAIN, ": hash %08x %s threshold %08llx",
				   shunt_variant_part(c->hash), c->variant_index ? ">=" : "<",
				   (unsigned long long)c->record.threshold);
		else
			print_text(e->cli, PRINT_PLAIN, ": best score of %u for hash %08x",
				   c->record.n_variants, shunt_variant_part(c->hash));
	}
	end_line(e);
}

static void print_backend(const struct explain *e)
{
	const struct shunt_choice *c = &e->choice;
	char to[ENDPOINT_LEN];

	if (!c->variant)
		return;
	label(e, "backend");
	if (c->reason != SHUNT_R_FORWARDED)
		print_text(e->cli, PRINT_WARN, "none: %s", shunt_reason_text(c->reason));
	else if (c->ejected)
		print_text(e->cli, PRINT_BOLD, "%s, for the one that the hash says is ejected",
			   endpoint(to, &c->to.addr, c->to.family, c->to.port_be));
	else if (c->session_holds)
		print_text(e->cli, PRINT_BOLD, "%s",
			   endpoint(to, &c->to.addr, c->to.family, c->to.port_be));
	else
		print_text(e->cli, PRINT_BOLD, "%s, slot %u of %u in the ring of %s",
			   endpoint(to, &c->to.addr, c->to.family, c->to.port_be), c->ring_slot,
			   c->ring_size, variant_name(e, c->variant));
	end_line(e);
}

static void print_spread(const struct explain *e)
{
	static const struct print_column columns[] = {
		{ "BACKEND", false },
		{ "VARIANT", false },
		{ "PORTS", true },
		{ "SHARE", true },
	};
	struct print_grid grid = PRINT_GRID(columns);
	CLEANUP(freep) uint32_t *backends = NULL;
	char text[SHUNT_UNIT_STR_LEN], to[ENDPOINT_LEN];
	struct spread spread = { 0 };

	if (spread_count(e, &spread) < 0)
		return;
	backends = spread.backend;
	label(e, "spread");
	print_text(e->cli, PRINT_PLAIN, "of new connections from the ports %d to %d:", FIRST_PORT,
		   LAST_PORT);
	end_line(e);
	for (uint32_t i = 0; i < e->choice.record.n_variants && i < SHUNT_MAX_VARIANTS; i++) {
		label(e, "");
		print_text(e->cli, PRINT_PLAIN, "%s %u, %s",
			   variant_name(e, e->choice.record.variant[i].variant), spread.variant[i],
			   shunt_share_str((double)spread.variant[i] / spread.tried, text));
		end_line(e);
	}
	if (spread.rejected) {
		label(e, "");
		print_text(e->cli, PRINT_WARN, "%u of them are rejected", spread.rejected);
		end_line(e);
	}
	end_line(e);
	for (uint32_t i = 0; i < e->maps->backends.n; i++) {
		const struct shunt_backend *b =
			SHUNT_DP_AT(e->maps->backends, struct shunt_backend, i);

		if (!backends[i])
			continue;
		print_cell(&grid, PRINT_PLAIN, "%s", endpoint(to, &b->addr, b->family, b->port_be));
		print_cell(&grid, PRINT_PLAIN, "%s", variant_name(e, b->variant));
		print_cell(&grid, PRINT_PLAIN, "%u", backends[i]);
		print_cell(&grid, PRINT_PLAIN, "%s",
			   shunt_share_str((double)backends[i] / spread.tried, text));
	}
	if (grid.n_cells)
		print_grid(e->cli, &grid, 2);
}

/* "at most 100.0 connections/s for each client, burst 50" */
static void print_rate(const struct explain *e, const struct shunt_limit *limit)
{
	static const char *const units[] = { "connections", "packets", "bytes", "requests" };
	static const char *const scopes[] = { "", " for each variant", " for each backend",
					      " for each client" };
	double cost = (double)limit->rate.cost + limit->rate.fraction / 4294967296.0;

	if (limit->unit >= ARRAY_LEN(units) || limit->scope >= ARRAY_LEN(scopes))
		return;
	if (limit->max)
		print_text(e->cli, PRINT_PLAIN, "at most %u %s at once", limit->max,
			   units[limit->unit]);
	else
		print_text(e->cli, PRINT_PLAIN, "at most %.4g %s/s", 64e9 / cost,
			   units[limit->unit]);
	print_text(e->cli, PRINT_PLAIN, "%s", scopes[limit->scope]);
	if (limit->only_variant)
		print_text(e->cli, PRINT_PLAIN, " of %s", variant_name(e, limit->only_variant));
	if (!limit->max)
		print_text(e->cli, PRINT_PLAIN, ", burst %u", limit->rate.burst);
	end_line(e);
}

/* What the kernel holds of the policy, as it stands in the maps. */
static void print_policy(const struct explain *e)
{
	const struct shunt_choice *c = &e->choice;
	const struct shunt_policy_record *policy;
	uint32_t n;

	if (!c->policy || c->policy >= e->maps->policies.n)
		return;
	policy = SHUNT_DP_AT(e->maps->policies, struct shunt_policy_record, c->policy);
	label(e, "policy");
	if (c->reason == SHUNT_R_SOURCE_DENIED)
		print_text(e->cli, PRINT_WARN, "the client's address %s",
			   c->is_listed ? "is denied" : "is in none of the allowed prefixes");
	else if (c->reason == SHUNT_R_SOURCE_DENIED_DROP)
		print_text(e->cli, PRINT_WARN,
			   "the client's address is in none of the loadBalancerSourceRanges");
	else
		print_text(e->cli, PRINT_PLAIN, "the client's address may connect");
	end_line(e);
	n = policy->n_before + policy->n_behind + policy->n_packet + policy->n_request;
	for (uint32_t i = 0; i < n && i < SHUNT_MAX_RATES; i++) {
		label(e, "");
		print_rate(e, &policy->rate[i]);
	}
	n = policy->n_at_once + policy->n_requests_at_once;
	for (uint32_t i = 0; i < n && i < SHUNT_MAX_AT_ONCE; i++) {
		label(e, "");
		print_rate(e, &policy->at_once[i]);
	}
}

void explain_print(const struct explain *e)
{
	const struct shunt_choice *c = &e->choice;

	print_lookup(e);
	if (!c->service)
		return;
	print_flow(e);
	print_policy(e);
	print_affinity(e);
	if (needs_spread(e)) {
		explain_print_breaker(e, true);
		explain_print_ejected(e);
		print_spread(e);
		return;
	}
	if (c->split) {
		print_variant(e);
		print_backend(e);
		explain_print_breaker(e, false);
		explain_print_ejected(e);
	}
	if (c->reason != SHUNT_R_FORWARDED && !c->variant) {
		label(e, "verdict");
		print_text(e->cli, PRINT_WARN, "%s", shunt_reason_text(c->reason));
		end_line(e);
	}
}
