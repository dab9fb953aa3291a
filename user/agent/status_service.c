// SPDX-License-Identifier: Apache-2.0
#include "agent/status.h"

#include <netinet/in.h>
#include <string.h>

#include "agent/breakers.h"
#include "agent/ejections.h"
#include "agent/rest.h"
#include "base/units.h"
#include "model/policy_json.h"

static const char *proto_name(uint8_t proto)
{
	return proto == IPPROTO_UDP ? "UDP" : "TCP";
}

json_t *agent_conditions_json(const struct shunt_conditions *conditions)
{
	json_t *array = json_array();

	for (size_t i = 0; i < conditions->n; i++) {
		const struct shunt_condition *c = &conditions->items[i];

		json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:s}", "type", c->type,
						       "status", c->status, "reason", c->reason,
						       "message", c->message));
	}
	return array;
}

/* ---- backends
 * ------------------------------------------------------------------------------------ */

/* What became of TCP connections. */
static json_t *tcp_json(const struct shunt_counters *c)
{
	double connects = (double)c->connects_timed;

	return json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:o}", "established", (json_int_t)c->established,
		"refused", (json_int_t)c->refused, "unanswered", (json_int_t)c->unanswered, "reset",
		(json_int_t)c->reset, "closed", (json_int_t)c->closed, "connect_mean_ms",
		connects > 0 ? json_real((double)c->connect_us / connects / 1e3) : json_null());
}

/* @is_tcp: what becomes of its connections is counted. */
static json_t *backend_json(const struct shunt_ip *ip, uint16_t port, uint8_t proto, bool is_tcp,
			    const char *state, const struct shunt_stats_backend *counted)
{
	char address[SHUNT_IP_STR_LEN];
	json_t *json;

	json = json_pack("{s:s, s:i, s:s, s:s, s:I, s:I}", "address", shunt_ip_str(ip, address),
			 "port", (int)port, "protocol", proto_name(proto), "state", state,
			 "connections_total",
			 (json_int_t)(counted ? counted->counters.connections : 0),
			 "connections_active", (json_int_t)(counted ? counted->active : 0));
	json_object_set_new(json, "tcp",
			    is_tcp && counted ? tcp_json(&counted->counters) : json_null());
	json_object_set_new(json, "ejection",
			    counted && counted->proto == IPPROTO_TCP
				    ? agent_ejection_json(&counted->ejection)
				    : json_null());
	return json;
}

static const char *backend_state(const struct agent_view *view,
				 const struct shunt_model_service *service,
				 const struct shunt_model_backend *backend)
{
	const struct shunt_drain *drains;
	size_t n = shunt_overrides_drains(view->agent->overrides, service, &drains);

	if (agent_drain_of(drains, n, &backend->ip, backend->port))
		return "drained";
	switch (backend->state) {
	case SHUNT_BACKEND_READY:
		return "ready";
	case SHUNT_BACKEND_TERMINATING:
		return "terminating";
	case SHUNT_BACKEND_NOT_READY:
		break;
	}
	return "not-ready";
}

/* Is @counted a backend that the model has too? */
static bool in_model(const struct shunt_model_service *service,
		     const struct shunt_model_variant *variant,
		     const struct shunt_stats_backend *counted)
{
	for (size_t b = 0; b < variant->n_backends; b++) {
		const struct shunt_model_backend *backend = &variant->backends[b];

		if (backend->port == counted->port &&
		    service->ports[backend->port_index].proto == counted->proto &&
		    shunt_ip_equal(&backend->ip, &counted->ip))
			return true;
	}
	return false;
}

static json_t *backends_json(const struct agent_view *view,
			     const struct shunt_model_service *service,
			     const struct shunt_model_variant *variant,
			     const struct shunt_stats_variant *counted)
{
	bool is_tcp = counted && counted->is_tcp;
	json_t *array = json_array();

	for (size_t b = 0; b < variant->n_backends; b++) {
		const struct shunt_model_backend *backend = &variant->backends[b];
		uint8_t proto = service->ports[backend->port_index].proto;
		const struct shunt_stats_backend *c = NULL;

		if (counted)
			c = shunt_stats_backend(&view->stats, counted->id, &backend->ip,
						backend->port, proto);
		json_array_append_new(array,
				      backend_json(&backend->ip, backend->port, proto, is_tcp,
						   backend_state(view, service, backend), c));
	}
	/* Those that the manifest no longer has, until their last flow has ended. */
	for (size_t b = 0; counted && b < counted->n_backends; b++) {
		const struct shunt_stats_backend *c =
			&view->stats.backends[counted->first_backend + b];

		if (c->flags & SHUNT_BE_REMOVED && !in_model(service, variant, c))
			json_array_append_new(array, backend_json(&c->ip, c->port, c->proto, is_tcp,
								  "removed", c));
	}
	return array;
}

/* ---- variants
 * --------------------------------------------------------------------------------------- */

static uint32_t weight_in_force(const struct shunt_model_variant *variant)
{
	return variant->drained ? 0 : variant->weight;
}

/* What packets are led by: the kernel itself may have taken the weight away. */
static uint32_t weight_of_packets(const struct shunt_model_variant *variant,
				  const struct shunt_stats_variant *counted)
{
	return counted && counted->tripped ? 0 : weight_in_force(variant);
}

json_t *agent_weights_json(const struct shunt_model_service *service)
{
	json_t *weights = json_object();

	for (size_t v = 0; v < service->n_variants; v++)
		json_object_set_new(weights, service->variants[v].name,
				    json_integer(weight_in_force(&service->variants[v])));
	return weights;
}

static const char *group_name(enum shunt_group_state group)
{
	switch (group) {
	case SHUNT_GROUP_RESOLVED:
		return "Resolved";
	case SHUNT_GROUP_NOT_FOUND:
		return "BackendNotFound";
	case SHUNT_GROUP_FORBIDDEN:
		return "RefNotPermitted";
	case SHUNT_GROUP_INVALID:
		break;
	}
	return "Invalid";
}

/* What the service's weights add up to, and its connections since they last changed. */
struct sums {
	uint64_t weight;
	uint64_t connections;
};

static uint64_t new_connections(const struct agent_view *view,
				const struct shunt_model_service *service, const char *variant,
				const struct shunt_stats_variant *counted)
{
	uint64_t total = counted ? counted->total.connections : 0;
	uint64_t before = agent_baseline(view->agent, service, variant);

	/* A baseline from before a reboot says nothing about counters that began anew. */
	return total >= before ? total - before : total;
}

static const struct shunt_stats_variant *counted_variant(const struct agent_view *view,
							 const struct shunt_model_service *service,
							 const char *variant)
{
	return shunt_stats_variant(&view->stats, service->namespace_, service->name,
				   service->ports[0].port, service->ports[0].proto, variant);
}

static struct sums service_sums(const struct agent_view *view,
				const struct shunt_model_service *service)
{
	struct sums sums = { 0 };

	for (size_t v = 0; v < service->n_variants; v++) {
		const char *name = service->variants[v].name;
		const struct shunt_stats_variant *counted = counted_variant(view, service, name);

		sums.weight += weight_of_packets(&service->variants[v], counted);
		sums.connections += new_connections(view, service, name, counted);
	}
	return sums;
}

static json_t *traffic_json(const struct shunt_stats_variant *counted)
{
	static const struct shunt_stats_variant nothing;
	const struct shunt_counters *c = counted ? &counted->total : &nothing.total;

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "connections_total",
			 (json_int_t)c->connections, "connections_active",
			 (json_int_t)(counted ? counted->active : 0), "rejects",
			 (json_int_t)c->rejects, "packets_in", (json_int_t)c->packets_in,
			 "bytes_in", (json_int_t)c->bytes_in, "packets_out",
			 (json_int_t)c->packets_out, "bytes_out", (json_int_t)c->bytes_out);
}

static json_t *ms_or_null(double seconds)
{
	return seconds < 0 ? json_null() : json_real(seconds * 1e3);
}

/* The buckets of the histogram that are not empty, as [bucket, responses]. */
static json_t *times_json(const struct shunt_response_time *times)
{
	json_t *array = json_array();

	for (int b = 0; b < SHUNT_TIME_BUCKETS; b++)
		if (times[b].responses)
			json_array_append_new(
				array, json_pack("[i, I]", b, (json_int_t)times[b].responses));
	return array;
}

/* The same of the times from SYN to SYN-ACK. */
static json_t *connect_times_json(const struct shunt_connect_time *times)
{
	json_t *array = json_array();

	for (int b = 0; times && b < SHUNT_TIME_BUCKETS; b++) {
		uint64_t n = SHUNT_READ_ONCE(times[b].connections);

		if (n)
			json_array_append_new(array, json_pack("[i, I]", b, (json_int_t)n));
	}
	return array;
}

static json_t *signals_json(const struct shunt_golden *signals)
{
	double success = shunt_success_rate(signals->responses);
	json_t *responses = json_object();

	for (int i = 0; i < SHUNT_N_CODE_CLASSES; i++)
		json_object_set_new(responses, shunt_code_classes[i],
				    json_integer((json_int_t)signals->responses[i]));
	return json_pack("{s:I, s:o, s:o, s:o, s:o}", "requests", (json_int_t)signals->requests,
			 "responses", responses, "success_rate",
			 success < 0 ? json_null() : json_real(success), "p50_ms",
			 ms_or_null(shunt_stats_quantile(signals->times, 0.5)), "p99_ms",
			 ms_or_null(shunt_stats_quantile(signals->times, 0.99)));
}

/* What its plaintext HTTP was asked and has answered; null where nobody looks. */
static json_t *http_json(const struct agent_view *view, const struct shunt_stats_variant *counted)
{
	struct shunt_golden total, recent;
	json_t *json, *window;
	double seconds;

	if (!counted || !counted->is_http)
		return json_null();
	total = shunt_golden_total(counted);
	recent = shunt_window_get(view->agent->window, counted, shunt_mono_ns(), &seconds);
	json = signals_json(&total);
	window = signals_json(&recent);
	json_object_set_new(window, "seconds", json_real(seconds));
	json_object_set_new(json, "window", window);
	if (view->with_times)
		json_object_set_new(json, "times", times_json(total.times));
	return json;
}

/* What became of its TCP connections; null where nobody looks. */
static json_t *variant_tcp_json(const struct agent_view *view,
				const struct shunt_stats_variant *counted)
{
	json_t *json;

	if (!counted || !counted->is_tcp)
		return json_null();
	json = tcp_json(&counted->total);
	json_object_set_new(json, "connect_p50_ms",
			    ms_or_null(shunt_connect_quantile(counted->connect_times, 0.5)));
	json_object_set_new(json, "connect_p99_ms",
			    ms_or_null(shunt_connect_quantile(counted->connect_times, 0.99)));
	if (view->with_times)
		json_object_set_new(json, "times", connect_times_json(counted->connect_times));
	return json;
}

static json_t *variant_json(const struct agent_view *view,
			    const struct shunt_model_service *service,
			    const struct shunt_model_variant *variant, struct sums sums)
{
	const struct shunt_stats_variant *counted = counted_variant(view, service, variant->name);
	uint64_t fresh = new_connections(view, service, variant->name, counted);
	double weight = weight_of_packets(variant, counted);
	double share = sums.weight ? weight / (double)sums.weight : 0;
	json_t *json, *measured, *probes;

	measured = sums.connections ? json_real((double)fresh / (double)sums.connections)
				    : json_null();
	json = json_pack("{s:s, s:I, s:f, s:I, s:o, s:I, s:s, s:b, s:b}", "name", variant->name,
			 "weight", (json_int_t)variant->weight, "share", share, "manifest_weight",
			 (json_int_t)variant->manifest_weight, "measured_share", measured,
			 "new_connections", (json_int_t)fresh, "group", group_name(variant->group),
			 "drained", variant->drained, "tripped", counted && counted->tripped);
	json_object_update_new(json, traffic_json(counted));
	json_object_set_new(json, "tcp", variant_tcp_json(view, counted));
	json_object_set_new(json, "http", http_json(view, counted));
	probes = agent_probes_json(view->agent->probes, service, variant->name);
	if (probes)
		json_object_set_new(json, "probes", probes);
	json_object_set_new(json, "backends", backends_json(view, service, variant, counted));
	return json;
}

/* ---- services
 * ------------------------------------------------------------------------------------------ */

static json_t *frontends_json(const struct shunt_model_service *service)
{
	json_t *array = json_array();
	char address[SHUNT_IP_STR_LEN];

	for (size_t i = 0; i < service->n_frontends; i++) {
		const struct shunt_frontend_addr *f = &service->frontends[i];
		const struct shunt_port *port = &service->ports[f->port_index];

		json_array_append_new(array,
				      json_pack("{s:s, s:i, s:s, s:i, s:b}", "address",
						shunt_ip_str(&f->ip, address), "port",
						(int)shunt_model_frontend_port(service, f),
						"protocol", proto_name(port->proto), "service_port",
						(int)port->port, "node_port", f->node_port != 0));
	}
	return array;
}

/* What is measured of a port: "http", "opaque" (TCP signals only) or "off". */
static const char *signals_of(const struct shunt_model_service *service,
			      const struct shunt_port *port)
{
	if (port->proto != IPPROTO_TCP ||
	    (service->policy && service->policy->signals == SHUNT_SIGNALS_OFF))
		return "off";
	return shunt_policy_has_http(service->policy, port) ? "http" : "opaque";
}

static json_t *ports_json(const struct shunt_model_service *service)
{
	json_t *array = json_array();

	for (size_t i = 0; i < service->n_ports; i++)
		json_array_append_new(
			array, json_pack("{s:s, s:i, s:s, s:s}", "name", service->ports[i].name,
					 "port", (int)service->ports[i].port, "protocol",
					 proto_name(service->ports[i].proto), "signals",
					 signals_of(service, &service->ports[i])));
	return array;
}

static json_t *override_json(const struct agent *agent, const struct shunt_model_service *service)
{
	const struct shunt_change *override = shunt_overrides_get(agent->overrides, service);
	char when[SHUNT_UNIT_STR_LEN];
	json_t *weights;

	if (!override)
		return json_null();
	weights = json_object();
	for (size_t i = 0; i < override->n_to; i++)
		json_object_set_new(weights, override->to[i].variant,
				    json_integer(override->to[i].weight));
	return json_pack("{s:s, s:I, s:s, s:s, s:o}", "command", override->command, "who_uid",
			 (json_int_t) override->who_uid, "when",
			 shunt_time_str(override->when_ms, when), "reason", override->reason,
			 "weights", weights);
}

static const char *affinity_name(enum shunt_affinity affinity)
{
	return affinity == SHUNT_AFFINITY_HASH	    ? "hash"
	       : affinity == SHUNT_AFFINITY_SESSION ? "session"
						    : "connection";
}

json_t *agent_service_json(const struct agent_view *view, const struct shunt_model_service *service)
{
	struct sums sums = service_sums(view, service);
	json_t *variants = json_array();

	for (size_t v = 0; v < service->n_variants; v++)
		json_array_append_new(variants,
				      variant_json(view, service, &service->variants[v], sums));
	return json_pack("{s:s, s:s, s:o, s:o, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o}",
			 "namespace", service->namespace_, "name", service->name, "frontends",
			 frontends_json(service), "ports", ports_json(service), "affinity",
			 affinity_name(service->affinity.kind), "owned", service->owned, "variants",
			 variants, "source", shunt_object_ref_to_json(&service->source), "override",
			 override_json(view->agent, service), "policy",
			 shunt_policy_to_json(service->policy), "breakers",
			 agent_breakers_json(view->agent, service), "conditions",
			 agent_conditions_json(&service->conditions));
}
