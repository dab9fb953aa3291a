// SPDX-License-Identifier: Apache-2.0
#include "metrics/text.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "datapath/read.h"
#include "metrics/decisions.h"
#include "metrics/exposition.h"
#include "metrics/signals.h"
#include "shunt/compat.h"
#include "shunt/histogram.h"

/*
 * The series that exists beside a variant's backends: what its retired backends counted, and
 * what no backend took. Without it a sum over backends would fall when a backend goes.
 */
#define OTHER_BACKEND "other"

static const char *backend_name(const struct shunt_stats_backend *backend, char *buf, size_t size)
{
	char address[SHUNT_ADDR_PORT_LEN];

	snprintf(buf, size, "%s%s", shunt_addr_port_str(&backend->ip, backend->port, address),
		 backend->proto == IPPROTO_UDP ? "/udp" : "");
	return buf;
}

/* ---- what is counted by backend --------------------------------------------------------- */

/* One value of one backend, or of what is left of a variant beside its backends. */
static void backend_line(FILE *out, const char *metric, const struct shunt_stats_variant *variant,
			 const char *backend, const char *more, const char *value_of_more,
			 uint64_t value)
{
	char port[16];

	fputs(metric, out);
	variant_labels(out, variant->name.namespace_, variant->name.service, variant->name.variant);
	snprintf(port, sizeof(port), "%u%s", ntohs(variant->name.port_be),
		 variant->name.proto == IPPROTO_UDP ? "/udp" : "");
	label(out, ',', "port", port);
	label(out, ',', "backend", backend);
	if (value_of_more)
		label(out, ',', more, value_of_more);
	fprintf(out, "} %" PRIu64 "\n", value);
}

static uint64_t counter_at(const struct shunt_counters *counters, size_t offset)
{
	return *(const uint64_t *)((const char *)counters + offset);
}

/* Whose series a metric has. */
typedef bool (*variant_filter)(const struct shunt_stats_variant *variant);

static bool is_any(const struct shunt_stats_variant *variant)
{
	(void)variant;
	return true;
}

static bool is_http(const struct shunt_stats_variant *variant)
{
	return variant->is_http;
}

static bool is_tcp(const struct shunt_stats_variant *variant)
{
	return variant->is_tcp;
}

/* @more, @value_of_more: a label; NULL: none. @offset: in struct shunt_counters. */
static void counter_lines(FILE *out, const struct shunt_stats *stats, variant_filter is_wanted,
			  const char *metric, const char *more, const char *value_of_more,
			  size_t offset)
{
	char name[SHUNT_IP_STR_LEN + 16];

	for (size_t v = 0; v < stats->n_variants; v++) {
		const struct shunt_stats_variant *variant = &stats->variants[v];

		if (!is_wanted(variant))
			continue;
		for (size_t b = 0; b < variant->n_backends; b++) {
			const struct shunt_stats_backend *backend =
				&stats->backends[variant->first_backend + b];

			backend_line(out, metric, variant,
				     backend_name(backend, name, sizeof(name)), more, value_of_more,
				     counter_at(&backend->counters, offset));
		}
		backend_line(out, metric, variant, OTHER_BACKEND, more, value_of_more,
			     counter_at(&variant->own, offset));
	}
}

static void active_lines(FILE *out, const struct shunt_stats *stats)
{
	char name[SHUNT_IP_STR_LEN + 16];

	for (size_t v = 0; v < stats->n_variants; v++)
		for (size_t b = 0; b < stats->variants[v].n_backends; b++) {
			const struct shunt_stats_backend *backend =
				&stats->backends[stats->variants[v].first_backend + b];

			backend_line(out, "shunt_connections_active", &stats->variants[v],
				     backend_name(backend, name, sizeof(name)), NULL, NULL,
				     backend->active);
		}
}

static void write_traffic(FILE *out, const struct shunt_stats *stats)
{
	head(out, "shunt_connections_total", "counter", "Connections sent to a backend.");
	counter_lines(out, stats, is_any, "shunt_connections_total", NULL, NULL,
		      offsetof(struct shunt_counters, connections));
	head(out, "shunt_connections_active", "gauge", "Connections to a backend that are open.");
	active_lines(out, stats);

	head(out, "shunt_packets_total", "counter",
	     "Packets translated, in: client to backend, out: backend to client.");
	counter_lines(out, stats, is_any, "shunt_packets_total", "direction", "in",
		      offsetof(struct shunt_counters, packets_in));
	counter_lines(out, stats, is_any, "shunt_packets_total", "direction", "out",
		      offsetof(struct shunt_counters, packets_out));
	head(out, "shunt_bytes_total", "counter",
	     "Bytes of the translated IP packets, headers included.");
	counter_lines(out, stats, is_any, "shunt_bytes_total", "direction", "in",
		      offsetof(struct shunt_counters, bytes_in));
	counter_lines(out, stats, is_any, "shunt_bytes_total", "direction", "out",
		      offsetof(struct shunt_counters, bytes_out));
	head(out, "shunt_rejects_total", "counter",
	     "New connections refused with a reset or an ICMP error, and connections reset.");
	counter_lines(out, stats, is_any, "shunt_rejects_total", NULL, NULL,
		      offsetof(struct shunt_counters, rejects));
}

/* ---- the kernel's own decisions ------------------------------------------------------------ */

static void write_tripped(FILE *out, const struct shunt_stats *stats)
{
	char port[16];

	head(out, "shunt_variant_tripped", "gauge",
	     "1 while the dead-man switch of a variant has tripped: it gets no new connections.");
	for (size_t v = 0; v < stats->n_variants; v++) {
		const struct shunt_variant_name *name = &stats->variants[v].name;

		fputs("shunt_variant_tripped", out);
		variant_labels(out, name->namespace_, name->service, name->variant);
		snprintf(port, sizeof(port), "%u%s", ntohs(name->port_be),
			 name->proto == IPPROTO_UDP ? "/udp" : "");
		label(out, ',', "port", port);
		fprintf(out, "} %d\n", stats->variants[v].tripped);
	}
}

/* Of backends that may be ejected, or were: what was counted stays in sight. */
static void eject_lines(FILE *out, const struct shunt_stats *stats, const char *metric,
			bool is_state)
{
	char name[SHUNT_IP_STR_LEN + 16];

	for (size_t v = 0; v < stats->n_variants; v++)
		for (size_t b = 0; b < stats->variants[v].n_backends; b++) {
			const struct shunt_stats_backend *backend =
				&stats->backends[stats->variants[v].first_backend + b];
			const struct shunt_ejected *ejection = &backend->ejection;

			if (backend->proto != IPPROTO_TCP ||
			    !(ejection->has_rule || ejection->times))
				continue;
			backend_line(out, metric, &stats->variants[v],
				     backend_name(backend, name, sizeof(name)), NULL, NULL,
				     is_state ? ejection->is_out : ejection->times);
		}
}

static void write_ejected(FILE *out, const struct shunt_stats *stats)
{
	head(out, "shunt_backend_ejected", "gauge",
	     "1 while a backend is ejected for its errors: it gets no new connections.");
	eject_lines(out, stats, "shunt_backend_ejected", true);
	head(out, "shunt_backend_ejections_total", "counter",
	     "How often a backend was ejected for its errors.");
	eject_lines(out, stats, "shunt_backend_ejections_total", false);
}

/* ---- TCP and plaintext HTTP
 * ------------------------------------------------------------------------ */

/* A histogram of one variant: the kernel's buckets, and the bounds that are shown of them. */
struct times {
	const char *metric;
	uint64_t counts[SHUNT_TIME_BUCKETS];
	uint64_t sum_us;
	uint32_t first_octave; /* of a microsecond */
	uint32_t last_octave;
};

static void time_line(FILE *out, const struct shunt_stats_variant *variant,
		      const struct times *times, const char *suffix, const char *le)
{
	char port[16];

	fprintf(out, "%s%s", times->metric, suffix);
	variant_labels(out, variant->name.namespace_, variant->name.service, variant->name.variant);
	snprintf(port, sizeof(port), "%u", ntohs(variant->name.port_be));
	label(out, ',', "port", port);
	if (le)
		label(out, ',', "le", le);
	fputs("} ", out);
}

/* Whole octaves, for there the buckets of the kernel have their bounds. */
static void time_lines(FILE *out, const struct shunt_stats_variant *variant,
		       const struct times *times)
{
	uint64_t sum = 0;
	char le[32];

	for (uint32_t b = 0; b < SHUNT_TIME_BUCKETS; b++) {
		if (b % 4 == 0 && b / 4 >= times->first_octave && b / 4 <= times->last_octave) {
			snprintf(le, sizeof(le), "%.6f", (double)(1ull << b / 4) / 1e6);
			time_line(out, variant, times, "_bucket", le);
			fprintf(out, "%" PRIu64 "\n", sum);
		}
		sum += times->counts[b];
	}
	time_line(out, variant, times, "_bucket", "+Inf");
	fprintf(out, "%" PRIu64 "\n", sum);
	time_line(out, variant, times, "_sum", NULL);
	fprintf(out, "%.6f\n", (double)times->sum_us / 1e6);
	time_line(out, variant, times, "_count", NULL);
	fprintf(out, "%" PRIu64 "\n", sum);
}

/* From 128 us to 67 s. */
static void response_times(FILE *out, const struct shunt_stats_variant *variant)
{
	struct times times = { .metric = "shunt_http_response_seconds",
			       .sum_us = variant->total.response_us,
			       .first_octave = 7,
			       .last_octave = 26 };

	for (uint32_t b = 0; b < SHUNT_TIME_BUCKETS; b++)
		times.counts[b] = SHUNT_READ_ONCE(variant->times[b].responses);
	time_lines(out, variant, &times);
}

/* From 16 us to 17 s. */
static void connect_times(FILE *out, const struct shunt_stats_variant *variant)
{
	struct times times = { .metric = "shunt_connect_seconds",
			       .sum_us = variant->total.connect_us,
			       .first_octave = 4,
			       .last_octave = 24 };

	for (uint32_t b = 0; b < SHUNT_TIME_BUCKETS; b++)
		times.counts[b] = SHUNT_READ_ONCE(variant->connect_times[b].connections);
	time_lines(out, variant, &times);
}

static void write_tcp(FILE *out, const struct shunt_stats *stats)
{
	static const struct {
		const char *metric;
		const char *help;
		size_t offset;
	} counters[] = {
		{ "shunt_connections_established_total",
		  "TCP connections whose client has acknowledged the backend's answer.",
		  offsetof(struct shunt_counters, established) },
		{ "shunt_connections_refused_total",
		  "TCP connections that the backend has refused with a reset.",
		  offsetof(struct shunt_counters, refused) },
		{ "shunt_connections_unanswered_total",
		  "TCP connections whose client had to repeat its first packet.",
		  offsetof(struct shunt_counters, unanswered) },
		{ "shunt_connections_reset_total",
		  "TCP connections that the backend has reset before its first byte.",
		  offsetof(struct shunt_counters, reset) },
		{ "shunt_connections_closed_total", "TCP connections that both sides have closed.",
		  offsetof(struct shunt_counters, closed) },
	};

	for (size_t i = 0; i < ARRAY_LEN(counters); i++) {
		head(out, counters[i].metric, "counter", counters[i].help);
		counter_lines(out, stats, is_tcp, counters[i].metric, NULL, NULL,
			      counters[i].offset);
	}
	head(out, "shunt_connect_seconds", "histogram",
	     "From a TCP connection's first packet to the backend's answer.");
	for (size_t v = 0; v < stats->n_variants; v++)
		if (stats->variants[v].is_tcp && stats->variants[v].connect_times)
			connect_times(out, &stats->variants[v]);
}

static void write_http(FILE *out, const struct shunt_stats *stats)
{
	head(out, "shunt_http_requests_total", "counter",
	     "Requests of plaintext HTTP to a backend.");
	counter_lines(out, stats, is_http, "shunt_http_requests_total", NULL, NULL,
		      offsetof(struct shunt_counters, requests));
	head(out, "shunt_http_responses_total", "counter",
	     "Responses of plaintext HTTP by class of their code.");
	for (int i = 0; i < SHUNT_N_CODE_CLASSES; i++)
		counter_lines(out, stats, is_http, "shunt_http_responses_total", "code",
			      shunt_code_classes[i],
			      offsetof(struct shunt_counters, responses) + i * sizeof(uint64_t));
	head(out, "shunt_http_response_seconds", "histogram",
	     "From a request of plaintext HTTP to the first bytes of its response.");
	for (size_t v = 0; v < stats->n_variants; v++)
		if (stats->variants[v].is_http && stats->variants[v].times)
			response_times(out, &stats->variants[v]);
}

/* ---- limits --------------------------------------------------------------------------------- */

static void limit_lines(FILE *out, const struct shunt_stats *stats, const char *metric,
			size_t offset)
{
	static const char *const units[] = { "connections", "packets", "bytes", "requests" };
	static const char *const scopes[] = { "service", "variant", "backend", "client" };
	char number[32];

	for (size_t i = 0; i < stats->n_limits; i++) {
		const struct shunt_stats_limit *limit = &stats->limits[i];
		const struct shunt_bucket_name *name = &limit->name;

		fputs(metric, out);
		variant_labels(out, name->namespace_, name->service, name->variant);
		snprintf(number, sizeof(number), "%u", ntohs(name->port_be));
		label(out, ',', "port", number);
		label(out, ',', "protocol", name->proto == IPPROTO_UDP ? "UDP" : "TCP");
		label(out, ',', "kind", name->is_at_once ? "in_flight" : "rate");
		label(out, ',', "unit", name->unit < ARRAY_LEN(units) ? units[name->unit] : "?");
		label(out, ',', "scope",
		      name->scope < ARRAY_LEN(scopes) ? scopes[name->scope] : "?");
		snprintf(number, sizeof(number), "%016" PRIx64, (uint64_t)name->limit);
		label(out, ',', "limit", number);
		fprintf(out, "} %" PRIu64 "\n",
			*(const uint64_t *)((const char *)&limit->counters + offset));
	}
}

static void write_limits(FILE *out, const struct shunt_stats *stats)
{
	head(out, "shunt_limit_admitted_total", "counter",
	     "Units that a limit let in: connections, packets or bytes.");
	limit_lines(out, stats, "shunt_limit_admitted_total",
		    offsetof(struct shunt_limit_counters, admitted));
	head(out, "shunt_limited_total", "counter",
	     "Packets that a limit refused, first packets of connections included.");
	limit_lines(out, stats, "shunt_limited_total",
		    offsetof(struct shunt_limit_counters, refused));
	head(out, "shunt_limit_untracked_total", "counter",
	     "Packets of clients that a limit had no room to keep in mind: let in.");
	limit_lines(out, stats, "shunt_limit_untracked_total",
		    offsetof(struct shunt_limit_counters, untracked));
}

/* ---- the rest ----------------------------------------------------------------------------- */

static void weight_labels(FILE *out, const char *metric, const struct shunt_metrics_weight *weight)
{
	fputs(metric, out);
	variant_labels(out, weight->namespace_, weight->service, weight->variant);
	label(out, ',', "ports", weight->ports);
}

static void write_weights(FILE *out, const struct shunt_metrics *metrics)
{
	head(out, "shunt_variant_weight", "gauge", "Weight of a variant that is in force.");
	for (size_t i = 0; i < metrics->n_weights; i++) {
		weight_labels(out, "shunt_variant_weight", &metrics->weights[i]);
		fprintf(out, "} %u\n", metrics->weights[i].weight);
	}
	head(out, "shunt_variant_share", "gauge",
	     "Share of new connections that the weights give to a variant, 0 to 1.");
	for (size_t i = 0; i < metrics->n_weights; i++) {
		weight_labels(out, "shunt_variant_share", &metrics->weights[i]);
		fprintf(out, "} %.9g\n", metrics->weights[i].share);
	}
}

static const char *flow_state_name(unsigned state)
{
	static const char *const names[SHUNT_N_FLOW_STATES] = {
		[SHUNT_F_SYN] = "syn",
		[SHUNT_F_SYN_ACK] = "syn_ack",
		[SHUNT_F_ESTABLISHED] = "established",
		[SHUNT_F_FIN_CLIENT] = "fin_client",
		[SHUNT_F_FIN_BACKEND] = "fin_backend",
		[SHUNT_F_CLOSED] = "closed",
		[SHUNT_F_UDP_NEW] = "udp_new",
		[SHUNT_F_UDP] = "udp",
		[SHUNT_F_RESET_BY_CLIENT] = "reset_by_client",
		[SHUNT_F_RESET_BY_BACKEND] = "reset_by_backend",
		[SHUNT_F_FIN_SEEN] = "fin_seen",
		[SHUNT_F_UDP_ANSWERED] = "udp_answered",
		[SHUNT_F_UDP_ONEWAY] = "udp_oneway",
	};

	return names[state];
}

static void write_kernel(FILE *out, const struct shunt_stats *stats)
{
	head(out, "shunt_packets_by_reason_total", "counter",
	     "Packets by what was decided about them.");
	for (unsigned i = 0; i < SHUNT_R_MAX; i++) {
		fputs("shunt_packets_by_reason_total", out);
		label(out, '{', "reason", shunt_reason_name(i));
		fprintf(out, "} %" PRIu64 "\n", stats->reasons[i]);
	}
	head(out, "shunt_flow_entries", "gauge", "Entries of the flow table by state.");
	for (unsigned i = SHUNT_F_FREE + 1; i < SHUNT_N_FLOW_STATES; i++)
		fprintf(out, "shunt_flow_entries{state=\"%s\"} %" PRIu64 "\n", flow_state_name(i),
			stats->flow_states[i]);
	head(out, "shunt_flow_entries_limit", "gauge", "Entries that the flow table has room for.");
	fprintf(out, "shunt_flow_entries_limit %" PRIu64 "\n", stats->flow_capacity);
	head(out, "shunt_generation", "gauge", "Generation of the configuration in the kernel.");
	fprintf(out, "shunt_generation %u\n", stats->generation);
}

static void write_agent(FILE *out, const struct shunt_metrics *metrics)
{
	head(out, "shunt_gate_up", "gauge", "1 if the interface is guarded, 0 if it should be.");
	for (size_t i = 0; i < metrics->n_gates; i++) {
		fputs("shunt_gate_up", out);
		label(out, '{', "interface", metrics->gates[i].interface);
		label(out, ',', "hook", metrics->gates[i].hook);
		fprintf(out, "} %d\n", metrics->gates[i].up);
	}
	head(out, "shunt_source_problems", "gauge",
	     "Files and objects that are not in force as they are written.");
	fprintf(out, "shunt_source_problems %" PRIu64 "\n", metrics->source_problems);
	head(out, "shunt_config_failures_total", "counter",
	     "Configurations that could not be installed.");
	fprintf(out, "shunt_config_failures_total %" PRIu64 "\n", metrics->installs_failed);
	head(out, "shunt_config_age_seconds", "gauge",
	     "Seconds since the source was last read and found in force.");
	fprintf(out, "shunt_config_age_seconds %.3f\n", metrics->config_age_seconds);
	head(out, "shunt_start_time_seconds", "gauge", "When the agent started, since the epoch.");
	fprintf(out, "shunt_start_time_seconds %.3f\n", metrics->start_time_seconds);
	head(out, "shunt_build_info", "gauge", "Always 1; the version is in the labels.");
	fputs("shunt_build_info", out);
	label(out, '{', "version", metrics->version);
	fprintf(out, ",abi=\"%d\"} 1\n", SHUNT_ABI_VERSION);
}

int shunt_metrics_text(const struct shunt_metrics *metrics, char **ret_text, size_t *ret_len)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return -ENOMEM;
	/* Megabytes, a character at a time, and nobody else knows the stream. */
	__fsetlocking(out, FSETLOCKING_BYCALLER);
	write_traffic(out, metrics->stats);
	write_tcp(out, metrics->stats);
	write_tripped(out, metrics->stats);
	write_ejected(out, metrics->stats);
	write_http(out, metrics->stats);
	write_limits(out, metrics->stats);
	shunt_decisions_write(metrics, out);
	write_weights(out, metrics);
	write_kernel(out, metrics->stats);
	write_agent(out, metrics);
	shunt_probes_write(metrics->probes, metrics->n_probes, out);
	if (metrics->compat)
		shunt_compat_write(metrics->compat, metrics->stats, metrics->probe_sums,
				   metrics->n_probe_sums, out);
	if (fclose(out) != 0) {
		free(text);
		return -ENOMEM;
	}
	*ret_text = text;
	*ret_len = len;
	return 0;
}
