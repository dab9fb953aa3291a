// SPDX-License-Identifier: Apache-2.0
#include "metrics/compat.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "metrics/by_variant.h"
#include "metrics/exposition.h"
#include "metrics/window.h"

/*
 * Bounds of the histograms: half octaves from 1.024 ms to 33.6 s, where the kernel's buckets have
 * bounds. A quantile is between two of them, so within a fifth.
 */
#define FIRST_BOUND 40
#define BOUND_STEP  2
#define N_BOUNDS    31

#define N_CLASSES (SHUNT_N_CODE_CLASSES - 1) /* of known codes: 1xx to 5xx */

/* A histogram as Traefik has it, of responses of one class. */
struct class_times {
	uint64_t count;
	double below[N_BOUNDS]; /* of them, those not above each bound */
	double sum;		/* seconds */
};

/*
 * The kernel counts times of all codes together. So what has come since the last look is taken
 * to be spread alike over its codes: counts are exact, times are those of all codes. The sums have
 * to be kept, for a share of all time's histogram would fall when the codes change, and a counter
 * must not. Begins with the name, as shunt_by_variant asks.
 */
struct memory {
	struct shunt_variant_name name;
	struct shunt_golden last;
	uint64_t last_us, last_timed;
	struct class_times of[N_CLASSES];
};

struct shunt_compat {
	unsigned series;
	bool has_begun;
	struct shunt_by_variant memories;
};

struct shunt_compat *shunt_compat_new(unsigned series)
{
	struct shunt_compat *compat = calloc(1, sizeof(*compat));

	if (compat)
		compat->series = series;
	return compat;
}

void shunt_compat_free(struct shunt_compat *compat)
{
	if (compat)
		shunt_by_variant_free(&compat->memories);
	free(compat);
}

/* ---- observing ------------------------------------------------------------------------------- */

/* Responses not above each bound. Return: all of them. */
static uint64_t cumulate(const struct shunt_response_time *times, uint64_t below[N_BOUNDS])
{
	uint64_t sum = 0;

	for (int b = 0; b < SHUNT_TIME_BUCKETS; b++) {
		int bound = (b - FIRST_BOUND) / BOUND_STEP;

		if (b >= FIRST_BOUND && (b - FIRST_BOUND) % BOUND_STEP == 0 && bound < N_BOUNDS)
			below[bound] = sum;
		sum += times[b].responses;
	}
	return sum;
}

static void remember_last(struct memory *memory, const struct shunt_stats_variant *variant,
			  const struct shunt_golden *total)
{
	memory->last = *total;
	memory->last_us = variant->total.response_us;
	memory->last_timed = variant->total.responses_timed;
}

static void observe(struct memory *memory, const struct shunt_stats_variant *variant,
		    const struct shunt_golden *total)
{
	const struct shunt_golden since = shunt_golden_since(total, &memory->last);
	uint64_t below[N_BOUNDS], timed = cumulate(since.times, below);
	uint64_t us = variant->total.response_us - memory->last_us;
	uint64_t us_of = variant->total.responses_timed - memory->last_timed;

	/* Counts without times, or times of unknown codes only, wait for the others. */
	if (!timed || !shunt_responses_known(since.responses))
		return;
	for (int c = 0; c < N_CLASSES; c++) {
		double n = (double)since.responses[1 + c];

		memory->of[c].count += since.responses[1 + c];
		for (int b = 0; b < N_BOUNDS; b++)
			memory->of[c].below[b] += n * (double)below[b] / (double)timed;
		if (us_of)
			memory->of[c].sum += n * (double)us / (double)us_of / 1e6;
	}
	remember_last(memory, variant, total);
}

int shunt_compat_observe(struct shunt_compat *compat, const struct shunt_stats *stats)
{
	/* Linkerd's series are those of the counters themselves. */
	if (!(compat->series & SHUNT_COMPAT_TRAEFIK))
		return 0;
	for (size_t v = 0; v < stats->n_variants; v++) {
		const struct shunt_stats_variant *variant = &stats->variants[v];
		struct shunt_golden total;
		struct memory *memory;

		if (!variant->is_http)
			continue;
		memory = shunt_by_variant_add(&compat->memories, variant, sizeof(*memory));
		if (!memory)
			return -ENOMEM;
		total = shunt_golden_total(variant);
		if (compat->has_begun)
			observe(memory, variant, &total);
		else
			remember_last(memory, variant, &total);
	}
	compat->has_begun = true;
	return shunt_by_variant_keep_http(&compat->memories, stats);
}

/* ---- Traefik --------------------------------------------------------------------------------- */

/* "shop-api-canary-80@kubernetescrd", as Traefik calls a Service that an IngressRoute leads to. */
static void traefik_labels(FILE *out, const char *metric, const struct shunt_variant_name *name,
			   int class, const char *le, bool is_probe)
{
	char service[3 * SHUNT_NAME_LEN + 32], code[4] = { (char)('1' + class), 'x', 'x', '\0' };

	snprintf(service, sizeof(service), "%s-%s-%u@kubernetescrd", name->namespace_,
		 name->variant, ntohs(name->port_be));
	fputs(metric, out);
	label(out, '{', "service", service);
	label(out, ',', "code", code);
	/* Traefik has none, but two Services may be split between the same others. */
	label(out, ',', "frontend", name->service);
	if (is_probe)
		label(out, ',', "probe", "true");
	if (le)
		label(out, ',', "le", le);
	fputs("} ", out);
}

static void traefik_times(FILE *out, const struct shunt_variant_name *name, int class,
			  const struct class_times *times, bool is_probe)
{
	static const char metric[] = "traefik_service_request_duration_seconds";
	char bucket[64], le[32];

	snprintf(bucket, sizeof(bucket), "%s_bucket", metric);
	for (int b = 0; b < N_BOUNDS; b++) {
		snprintf(le, sizeof(le), "%.6g", shunt_time_bound(FIRST_BOUND + BOUND_STEP * b));
		traefik_labels(out, bucket, name, class, le, is_probe);
		fprintf(out, "%.6f\n", times->below[b]);
	}
	traefik_labels(out, bucket, name, class, "+Inf", is_probe);
	fprintf(out, "%" PRIu64 "\n", times->count);
	snprintf(bucket, sizeof(bucket), "%s_sum", metric);
	traefik_labels(out, bucket, name, class, NULL, is_probe);
	fprintf(out, "%.6f\n", times->sum);
	snprintf(bucket, sizeof(bucket), "%s_count", metric);
	traefik_labels(out, bucket, name, class, NULL, is_probe);
	fprintf(out, "%" PRIu64 "\n", times->count);
}

/* A probe without an answer is a 5xx, as a request is to a proxy. */
static bool is_in_class(int class, int c)
{
	return class == c || (c == 5 && class == 0);
}

static void probe_times(const struct shunt_probe_sum *sum, int c, struct class_times *ret_times)
{
	uint64_t below[N_BOUNDS];

	*ret_times = (struct class_times){ 0 };
	for (int class = 0; class < SHUNT_N_CODE_CLASSES; class ++) {
		if (!is_in_class(class, c))
			continue;
		cumulate(sum->times[class], below);
		for (int b = 0; b < N_BOUNDS; b++)
			ret_times->below[b] += (double)below[b];
		ret_times->count += sum->answers[class];
		ret_times->sum += (double)sum->us[class] / 1e6;
	}
}

static void write_traefik(const struct shunt_compat *compat, const struct shunt_stats *stats,
			  const struct shunt_probe_sum *const *probes, size_t n_probes, FILE *out)
{
	const struct memory *memory;
	struct class_times times;

	head(out, "traefik_service_requests_total", "counter",
	     "Responses of plaintext HTTP by class of their code, under Traefik's name.");
	for (size_t v = 0; v < stats->n_variants; v++) {
		memory = shunt_by_variant_get(&compat->memories, &stats->variants[v]);
		for (int c = 0; memory && c < N_CLASSES; c++) {
			traefik_labels(out, "traefik_service_requests_total", &memory->name, c,
				       NULL, false);
			fprintf(out, "%" PRIu64 "\n", memory->of[c].count);
		}
	}
	for (size_t i = 0; i < n_probes; i++)
		for (int c = 0; c < N_CLASSES; c++) {
			probe_times(probes[i], 1 + c, &times);
			traefik_labels(out, "traefik_service_requests_total", &probes[i]->variant,
				       c, NULL, true);
			fprintf(out, "%" PRIu64 "\n", times.count);
		}
	head(out, "traefik_service_request_duration_seconds", "histogram",
	     "From a request of plaintext HTTP to the first bytes of its response, under Traefik's "
	     "name.");
	for (size_t v = 0; v < stats->n_variants; v++) {
		memory = shunt_by_variant_get(&compat->memories, &stats->variants[v]);
		for (int c = 0; memory && c < N_CLASSES; c++)
			traefik_times(out, &memory->name, c, &memory->of[c], false);
	}
	for (size_t i = 0; i < n_probes; i++)
		for (int c = 0; c < N_CLASSES; c++) {
			probe_times(probes[i], 1 + c, &times);
			traefik_times(out, &probes[i]->variant, c, &times, true);
		}
}

/* ---- Linkerd --------------------------------------------------------------------------------- */

/*
 * The labels of a variant whose Service is called as Flagger calls them: `api-canary` has the
 * pods of Deployment `api`, and `api-primary` those of `api-primary`.
 */
static void linkerd_labels(FILE *out, const char *metric, const struct shunt_variant_name *name,
			   bool is_probe)
{
	static const char canary[] = "-canary";
	char deployment[sizeof(name->variant)], authority[3 * SHUNT_NAME_LEN + 32];
	size_t len = strlen(name->variant);

	memcpy(deployment, name->variant, sizeof(deployment));
	if (len >= sizeof(canary) && !strcmp(deployment + len - strlen(canary), canary))
		deployment[len - strlen(canary)] = '\0';
	snprintf(authority, sizeof(authority), "%s.%s.svc.cluster.local:%u", name->service,
		 name->namespace_, ntohs(name->port_be));
	fputs(metric, out);
	label(out, '{', "namespace", name->namespace_);
	label(out, ',', "deployment", deployment);
	label(out, ',', "direction", "inbound");
	label(out, ',', "authority", authority);
	label(out, ',', "variant", name->variant);
	if (is_probe)
		label(out, ',', "probe", "true");
}

static void linkerd_responses(FILE *out, const struct shunt_stats_variant *variant, bool is_probe)
{
	uint64_t responses[SHUNT_N_CODE_CLASSES];

	memcpy(responses, variant->total.responses, sizeof(responses));
	linkerd_labels(out, "response_total", &variant->name, is_probe);
	label(out, ',', "classification", "success");
	fprintf(out, "} %" PRIu64 "\n", shunt_responses_good(responses));
	linkerd_labels(out, "response_total", &variant->name, is_probe);
	label(out, ',', "classification", "failure");
	fprintf(out, "} %" PRIu64 "\n", responses[5]);
}

static void linkerd_times(FILE *out, const struct shunt_stats_variant *variant, bool is_probe)
{
	const struct shunt_golden total = shunt_golden_total(variant);
	uint64_t below[N_BOUNDS], all = cumulate(total.times, below);
	char le[32];

	for (int b = 0; b < N_BOUNDS; b++) {
		linkerd_labels(out, "response_latency_ms_bucket", &variant->name, is_probe);
		snprintf(le, sizeof(le), "%.6g",
			 1e3 * shunt_time_bound(FIRST_BOUND + BOUND_STEP * b));
		label(out, ',', "le", le);
		fprintf(out, "} %" PRIu64 "\n", below[b]);
	}
	linkerd_labels(out, "response_latency_ms_bucket", &variant->name, is_probe);
	label(out, ',', "le", "+Inf");
	fprintf(out, "} %" PRIu64 "\n", all);
	linkerd_labels(out, "response_latency_ms_sum", &variant->name, is_probe);
	fprintf(out, "} %.3f\n", (double)variant->total.response_us / 1e3);
	linkerd_labels(out, "response_latency_ms_count", &variant->name, is_probe);
	fprintf(out, "} %" PRIu64 "\n", all);
}

/* A variant to which probes alone have come. @times: SHUNT_TIME_BUCKETS, which it borrows. */
static void probed_variant(const struct shunt_probe_sum *sum, struct shunt_stats_variant *variant,
			   struct shunt_response_time *times)
{
	*variant = (struct shunt_stats_variant){ .name = sum->variant, .times = times };
	memset(times, 0, SHUNT_TIME_BUCKETS * sizeof(*times));
	for (int class = 0; class < SHUNT_N_CODE_CLASSES; class ++) {
		variant->total.responses[class ? class : 5] += sum->answers[class];
		variant->total.response_us += sum->us[class];
		for (int b = 0; b < SHUNT_TIME_BUCKETS; b++)
			times[b].responses += sum->times[class][b].responses;
	}
}

static void write_linkerd(const struct shunt_stats *stats,
			  const struct shunt_probe_sum *const *probes, size_t n_probes, FILE *out)
{
	struct shunt_response_time times[SHUNT_TIME_BUCKETS];
	struct shunt_stats_variant probed;

	head(out, "response_total", "counter",
	     "Responses of plaintext HTTP whose code is known, under Linkerd's name.");
	for (size_t v = 0; v < stats->n_variants; v++)
		if (stats->variants[v].is_http)
			linkerd_responses(out, &stats->variants[v], false);
	for (size_t i = 0; i < n_probes; i++) {
		probed_variant(probes[i], &probed, times);
		linkerd_responses(out, &probed, true);
	}
	head(out, "response_latency_ms", "histogram",
	     "From a request of plaintext HTTP to the first bytes of its response, under Linkerd's "
	     "name.");
	for (size_t v = 0; v < stats->n_variants; v++)
		if (stats->variants[v].is_http && stats->variants[v].times)
			linkerd_times(out, &stats->variants[v], false);
	for (size_t i = 0; i < n_probes; i++) {
		probed_variant(probes[i], &probed, times);
		linkerd_times(out, &probed, true);
	}
}

void shunt_compat_write(const struct shunt_compat *compat, const struct shunt_stats *stats,
			const struct shunt_probe_sum *const *probes, size_t n_probes, FILE *out)
{
	if (compat->series & SHUNT_COMPAT_TRAEFIK)
		write_traefik(compat, stats, probes, n_probes, out);
	if (compat->series & SHUNT_COMPAT_LINKERD)
		write_linkerd(stats, probes, n_probes, out);
}
