// SPDX-License-Identifier: Apache-2.0
#include "agent/trace.h"

#include <linux/pkt_cls.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

#include "agent/status.h"
#include "base/cleanup.h"
#include "base/ip.h"
#include "base/units.h"
#include "datapath/read.h"

/* What builds the record of one packet; members that do not apply are left out. */
struct packet {
	const struct agent *agent;
	const struct shunt_dp_maps *maps;
	const struct shunt_trace_event *e;
};

static bool has(const struct packet *p, enum shunt_trace_stage stage)
{
	return p->e->stages & 1u << stage;
}

/* ---- names
 * ----------------------------------------------------------------------------------------- */

/* "shop/api:80", "shop/dns:53/udp", or null. */
static json_t *service_json(const struct packet *p, uint32_t index)
{
	const struct shunt_service_name *name;

	if (!index || index >= p->maps->service_names.n)
		return json_null();
	name = SHUNT_DP_AT(p->maps->service_names, struct shunt_service_name, index);
	return json_sprintf("%.63s/%.63s:%u%s", name->namespace_, name->name, ntohs(name->port_be),
			    name->proto == IPPROTO_UDP ? "/udp" : "");
}

static json_t *variant_json(const struct packet *p, uint32_t index)
{
	if (!index || index >= p->maps->variant_names.n)
		return json_null();
	return json_sprintf(
		"%.63s",
		SHUNT_DP_AT(p->maps->variant_names, struct shunt_variant_name, index)->variant);
}

static json_t *address_json(const struct shunt_addr *addr, uint32_t family, __be16 port_be)
{
	struct shunt_ip ip = { .addr = *addr, .family = (uint8_t)family };
	char text[SHUNT_ADDR_PORT_LEN];

	if (family >= SHUNT_N_FAMILIES)
		return json_null();
	if (!port_be)
		return json_string(shunt_ip_str(&ip, text));
	return json_string(shunt_addr_port_str(&ip, ntohs(port_be), text));
}

static json_t *backend_json(const struct packet *p, uint32_t index)
{
	const struct shunt_backend *backend;

	if (!index || index >= p->maps->backends.n)
		return json_null();
	backend = SHUNT_DP_AT(p->maps->backends, struct shunt_backend, index);
	return address_json(&backend->addr, backend->family, backend->port_be);
}

static json_t *gate_json(uint32_t ifindex)
{
	char name[IF_NAMESIZE];

	return if_indextoname(ifindex, name) ? json_string(name)
					     : json_sprintf("interface %u", ifindex);
}

static json_t *tuple_json(const struct shunt_tuple *t)
{
	return json_pack("{s:o, s:o}", "src", address_json(&t->src, t->family, t->sport_be), "dst",
			 address_json(&t->dst, t->family, t->dport_be));
}

/* "tcp", "udp", "icmp", "icmpv6", or the protocol's number. */
static json_t *proto_json(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return json_string("tcp");
	case IPPROTO_UDP:
		return json_string("udp");
	case IPPROTO_ICMP:
		return json_string("icmp");
	case IPPROTO_ICMPV6:
		return json_string("icmpv6");
	default:
		return json_sprintf("%u", proto);
	}
}

/* "SYN,ACK" */
static json_t *flags_json(uint32_t flags)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = { { SHUNT_TCP_SYN, "SYN" },
		      { SHUNT_TCP_FIN, "FIN" },
		      { SHUNT_TCP_RST, "RST" },
		      { SHUNT_TCP_ACK, "ACK" } };
	char text[32] = "";

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (!(flags & names[i].bit))
			continue;
		if (text[0])
			strcat(text, ",");
		strcat(text, names[i].name);
	}
	return json_string(text);
}

/* ---- stages
 * ---------------------------------------------------------------------------------------------- */

/* Jiffies of an age are 32 bits wide: what looks negative is a tick that has not been seen. */
static json_int_t age_ms(const struct packet *p, uint32_t jiffies)
{
	return (int32_t)jiffies <= 0 ? 0 : (json_int_t)jiffies * 1000 / shunt_dp_hz(p->agent->dp);
}

/* Adds the record of @stage with its reason, and @more (stolen; NULL: nothing more). */
static void add_stage(json_t *stages, const struct packet *p, enum shunt_trace_stage stage,
		      const char *name, json_t *more)
{
	json_t *record = json_object();

	json_object_set_new(record, "stage", json_string(name));
	if (p->e->said[stage] != SHUNT_R_FORWARDED) {
		json_object_set_new(record, "reason",
				    json_string(shunt_reason_name(p->e->said[stage])));
		json_object_set_new(record, "text",
				    json_string(shunt_reason_text(p->e->said[stage])));
	}
	if (more)
		json_object_update(record, more);
	json_decref(more);
	json_array_append_new(stages, record);
}

static json_t *conntrack_json(const struct packet *p)
{
	const struct shunt_trace_event *e = p->e;

	/* A flow that this packet has made was not known. */
	if (!e->state)
		return json_pack("{s:b}", "known", false);
	return json_pack("{s:b, s:s, s:s, s:I, s:I, s:b, s:b, s:o}", "known", true, "state",
			 agent_flow_state_name(e->state), "state_after",
			 agent_flow_state_name(e->is_stale ? SHUNT_F_FREE : e->state_after),
			 "age_ms", age_ms(p, e->age_jiffies), "idle_ms", age_ms(p, e->idle_jiffies),
			 "stale", e->is_stale, "direct", !!(e->flow_flags & SHUNT_FLOW_DIRECT),
			 "gate", gate_json(e->gate_ifindex));
}

static json_t *variant_stage_json(const struct packet *p)
{
	return json_pack("{s:o, s:I, s:I, s:o}", "variant", variant_json(p, p->e->variant),
			 "weight", (json_int_t)p->e->weight, "weights", (json_int_t)p->e->weights,
			 "hash", json_sprintf("%016llx", (unsigned long long)p->e->hash));
}

static json_t *affinity_json(const struct packet *p)
{
	if (!p->e->is_kept)
		return json_pack("{s:b}", "kept", false);
	return json_pack("{s:b, s:o, s:o}", "kept", true, "variant", variant_json(p, p->e->variant),
			 "backend", backend_json(p, p->e->backend));
}

static json_t *rewrite_json(const struct packet *p)
{
	const struct shunt_tuple *from = p->e->quoted.proto ? &p->e->quoted : &p->e->in;

	return json_pack("{s:o, s:o}", "from", tuple_json(from), "to", tuple_json(&p->e->out));
}

static json_t *stages_json(const struct packet *p)
{
	const struct shunt_trace_event *e = p->e;
	json_t *stages = json_array();

	if (has(p, SHUNT_TRACE_PARSE))
		add_stage(stages, p, SHUNT_TRACE_PARSE, "parse", NULL);
	if (has(p, SHUNT_TRACE_LOOKUP))
		add_stage(stages, p, SHUNT_TRACE_LOOKUP, "lookup",
			  json_pack("{s:o, s:b}", "service", service_json(p, e->service),
				    "is_backend", e->is_backend));
	if (e->quoted.proto)
		add_stage(stages, p, SHUNT_TRACE_ICMP, "icmp",
			  json_pack("{s:o, s:o}", "protocol", proto_json(e->quoted.proto), "about",
				    tuple_json(&e->quoted)));
	if (has(p, SHUNT_TRACE_CONNTRACK))
		add_stage(stages, p, SHUNT_TRACE_CONNTRACK, "conntrack", conntrack_json(p));
	if (has(p, SHUNT_TRACE_GATE))
		add_stage(stages, p, SHUNT_TRACE_GATE, "gate", NULL);
	if (has(p, SHUNT_TRACE_ADMIT))
		add_stage(stages, p, SHUNT_TRACE_ADMIT, "admit", NULL);
	if (has(p, SHUNT_TRACE_AFFINITY))
		add_stage(stages, p, SHUNT_TRACE_AFFINITY, "affinity", affinity_json(p));
	if (has(p, SHUNT_TRACE_VARIANT))
		add_stage(stages, p, SHUNT_TRACE_VARIANT, "variant", variant_stage_json(p));
	if (has(p, SHUNT_TRACE_BACKEND))
		add_stage(stages, p, SHUNT_TRACE_BACKEND, "backend",
			  json_pack("{s:o}", "backend", backend_json(p, e->backend)));
	if (has(p, SHUNT_TRACE_ENTRY))
		add_stage(stages, p, SHUNT_TRACE_ENTRY, "entry",
			  json_pack("{s:b}", "source_translated",
				    !!(e->flow_flags & SHUNT_FLOW_SOURCE_NAT)));
	if (has(p, SHUNT_TRACE_REWRITE))
		add_stage(stages, p, SHUNT_TRACE_REWRITE, "rewrite", rewrite_json(p));
	return stages;
}

/* ---- the packet
 * ---------------------------------------------------------------------------------------------- */

static json_t *packet_json(const struct packet *p)
{
	const struct shunt_trace_event *e = p->e;
	json_t *packet;

	if (!e->in.proto)
		return json_pack("{s:o}", "ethertype",
				 json_sprintf("0x%04x", ntohs(e->eth_proto_be)));
	packet = json_pack("{s:s, s:o, s:o, s:o, s:I, s:I}", "family",
			   e->in.family == SHUNT_V6 ? "ipv6" : "ipv4", "protocol",
			   proto_json(e->in.proto), "src",
			   address_json(&e->in.src, e->in.family, e->in.sport_be), "dst",
			   address_json(&e->in.dst, e->in.family, e->in.dport_be), "bytes",
			   (json_int_t)e->ip_bytes, "segments", (json_int_t)e->segments);
	if (e->part)
		json_object_set_new(packet, "fragment",
				    json_string(e->part == 1 ? "first" : "later"));
	if (e->in.proto == IPPROTO_TCP && e->in.sport_be) {
		json_object_set_new(packet, "flags", flags_json(e->tcp.flags));
		json_object_set_new(packet, "seq", json_integer(e->tcp.seq));
		json_object_set_new(packet, "ack", json_integer(e->tcp.ack));
	}
	return packet;
}

/* What the program returned, in one word for both hooks. */
static const char *verdict_name(const struct shunt_trace_event *e)
{
	static const struct {
		uint8_t hook;
		int32_t code;
		const char *name;
	} names[] = {
		{ SHUNT_TRACE_TC, TC_ACT_UNSPEC, "pass" },
		{ SHUNT_TRACE_TC, TC_ACT_SHOT, "drop" },
		{ SHUNT_TRACE_TC, TC_ACT_REDIRECT, "redirect" },
		{ SHUNT_TRACE_XDP, 1, "drop" },	    /* XDP_DROP */
		{ SHUNT_TRACE_XDP, 2, "pass" },	    /* XDP_PASS */
		{ SHUNT_TRACE_XDP, 3, "redirect" }, /* XDP_TX: out of the interface it came in by */
		{ SHUNT_TRACE_XDP, 4, "redirect" }, /* XDP_REDIRECT */
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (names[i].hook == e->hook && names[i].code == e->verdict)
			return names[i].name;
	return "?";
}

json_t *agent_trace_packet(const struct agent *agent, const struct shunt_trace_event *event,
			   int64_t to_real_ns)
{
	const struct packet p = { agent, shunt_dp_maps(agent->dp), event };
	int64_t when_ns = (int64_t)event->time_ns + to_real_ns;
	char stamp[SHUNT_UNIT_STR_LEN];

	return json_pack(
		"{s:s, s:I, s:I, s:I, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:b, s:o, s:s, s:s, s:s, "
		"s:s}",
		"time", shunt_time_str(when_ns / 1000000, stamp), "time_ns", (json_int_t)when_ns,
		"took_ns", (json_int_t)event->took_ns, "cpu", (json_int_t)event->cpu, "gate",
		gate_json(event->ifindex), "hook", event->hook == SHUNT_TRACE_XDP ? "xdp" : "tc",
		"direction", event->direction == SHUNT_TRACE_EGRESS ? "egress" : "ingress",
		"packet", packet_json(&p), "service", service_json(&p, event->service), "variant",
		variant_json(&p, event->variant), "backend", backend_json(&p, event->backend),
		"new", event->is_new, "stages", stages_json(&p), "reason",
		shunt_reason_name(event->reason), "action", agent_reason_action(event->reason),
		"text", shunt_reason_text(event->reason), "verdict", verdict_name(event));
}
