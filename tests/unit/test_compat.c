// SPDX-License-Identifier: Apache-2.0
/* Series under the names of Traefik and Linkerd. */
#include <criterion/criterion.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "metrics/compat.h"
#include "metrics/signals.h"

#define PORT_80 (80 << 8) /* network order */

static struct shunt_response_time times[2][SHUNT_TIME_BUCKETS];
static struct shunt_stats_variant variants[] = {
	{ .id = 1,
	  .name = { "test", "podinfo", "podinfo-canary", PORT_80, IPPROTO_TCP, { 0 } },
	  .is_http = true,
	  .times = times[0] },
	{ .id = 2,
	  .name = { "test", "podinfo", "podinfo-primary", PORT_80, IPPROTO_TCP, { 0 } },
	  .is_http = true,
	  .times = times[1] },
	{ .id = 3, .name = { "test", "podinfo", "opaque", PORT_80, IPPROTO_TCP, { 0 } } },
};
static const struct shunt_stats stats = { .variants = variants, .n_variants = 3 };

/* @n more responses of the canary. */
static void answer(uint64_t n, int class, uint32_t us)
{
	variants[0].total.responses[class] += n;
	variants[0].total.response_us += n * us;
	variants[0].total.responses_timed += n;
	times[0][shunt_time_bucket(us)].responses += n;
}

static char *text_of(struct shunt_compat *compat)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	cr_assert_eq(shunt_compat_observe(compat, &stats), 0);
	shunt_compat_write(compat, &stats, NULL, 0, out);
	fclose(out);
	return text;
}

/* The value of the series that is written so. */
static double value(struct shunt_compat *compat, const char *series)
{
	CLEANUP(freep) char *text = text_of(compat);
	char *line = strstr(text, series);

	cr_assert_not_null(line, "no series %s in\n%s", series, text);
	return strtod(line + strlen(series), NULL);
}

#define TRAEFIK(suffix, code, more)                                                                \
	"traefik_service_request_duration_seconds_" suffix                                         \
	"{service=\"test-podinfo-canary-80@kubernetescrd\",code=\"" code                           \
	"\",frontend=\"podinfo\"" more "} "
#define LINKERD(metric, deployment, more)                                                          \
	metric "{namespace=\"test\",deployment=\"" deployment                                      \
	       "\",direction=\"inbound\",authority=\"podinfo.test.svc.cluster.local:80\","         \
	       "variant=\"podinfo-canary\"," more "} "

Test(compat, all_is_zero_before_traffic)
{
	struct shunt_compat *compat = shunt_compat_new(SHUNT_COMPAT_TRAEFIK | SHUNT_COMPAT_LINKERD);
	CLEANUP(freep) char *text = text_of(compat);

	cr_expect(strstr(text, TRAEFIK("bucket", "2xx", ",le=\"+Inf\"") "0\n"), "%s", text);
	cr_expect(strstr(text, TRAEFIK("bucket", "5xx", ",le=\"0.001024\"") "0.000000\n"));
	cr_expect(strstr(text,
			 LINKERD("response_total", "podinfo", "classification=\"failure\"") "0\n"));
	cr_expect(strstr(text,
			 LINKERD("response_latency_ms_bucket", "podinfo", "le=\"+Inf\"") "0\n"));
	cr_expect(strstr(text, "deployment=\"podinfo-primary\""));
	cr_expect_null(strstr(text, "opaque"), "its responses are not counted");
	shunt_compat_free(compat);
}

Test(compat, only_what_was_asked_for_is_written)
{
	struct shunt_compat *traefik = shunt_compat_new(SHUNT_COMPAT_TRAEFIK);
	struct shunt_compat *linkerd = shunt_compat_new(SHUNT_COMPAT_LINKERD);
	CLEANUP(freep) char *a = text_of(traefik);
	CLEANUP(freep) char *b = text_of(linkerd);

	cr_expect(strstr(a, "traefik_") && !strstr(a, "response_total"));
	cr_expect(strstr(b, "response_total") && !strstr(b, "traefik_"));
	shunt_compat_free(traefik);
	shunt_compat_free(linkerd);
}

Test(compat, counts_are_exact_and_times_are_those_of_all_codes)
{
	struct shunt_compat *compat = shunt_compat_new(SHUNT_COMPAT_TRAEFIK | SHUNT_COMPAT_LINKERD);

	cr_assert_eq(shunt_compat_observe(compat, &stats), 0);
	answer(80, 2, 1500);
	answer(20, 5, 60000);
	cr_expect_eq(value(compat, TRAEFIK("bucket", "2xx", ",le=\"+Inf\"")), 80);
	cr_expect_eq(value(compat, TRAEFIK("bucket", "5xx", ",le=\"+Inf\"")), 20);
	cr_expect_eq(value(compat, TRAEFIK("count", "5xx", "")), 20);
	/* 80 of 100 are below 2 ms, of each class. */
	cr_expect_float_eq(value(compat, TRAEFIK("bucket", "2xx", ",le=\"0.002048\"")), 64, 1e-6);
	cr_expect_float_eq(value(compat, TRAEFIK("bucket", "5xx", ",le=\"0.002048\"")), 16, 1e-6);
	cr_expect_float_eq(value(compat, TRAEFIK("sum", "5xx", "")), 20 * (1.2 + 12) / 1000, 1e-4);
	cr_expect_eq(
		value(compat, LINKERD("response_latency_ms_bucket", "podinfo", "le=\"2.048\"")),
		80);
	cr_expect_eq(
		value(compat, LINKERD("response_total", "podinfo", "classification=\"success\"")),
		80);
	shunt_compat_free(compat);
}

Test(compat, no_counter_ever_falls)
{
	struct shunt_compat *compat = shunt_compat_new(SHUNT_COMPAT_TRAEFIK);
	double last = 0, now;

	cr_assert_eq(shunt_compat_observe(compat, &stats), 0);
	/* The share of failures falls, and with it their share of all time's histogram. */
	for (int round = 0; round < 20; round++) {
		answer(10 + 100 * (uint64_t)round, 2, 50000);
		answer(10, 5, 1500);
		now = value(compat, TRAEFIK("bucket", "5xx", ",le=\"0.002048\""));
		cr_expect(now >= last, "%f after %f", now, last);
		last = now;
	}
	cr_expect_eq(value(compat, TRAEFIK("count", "5xx", "")), 200);
	shunt_compat_free(compat);
}

Test(compat, what_was_counted_before_the_start_is_left_out)
{
	struct shunt_compat *compat = shunt_compat_new(SHUNT_COMPAT_TRAEFIK);

	answer(1000, 5, 1500);
	cr_assert_eq(shunt_compat_observe(compat, &stats), 0);
	answer(3, 2, 1500);
	cr_expect_eq(value(compat, TRAEFIK("count", "5xx", "")), 0);
	cr_expect_eq(value(compat, TRAEFIK("count", "2xx", "")), 3);
	shunt_compat_free(compat);
}

Test(compat, a_variant_that_comes_later_counts_from_its_first_response)
{
	const struct shunt_stats nobody = { 0 };
	struct shunt_compat *compat = shunt_compat_new(SHUNT_COMPAT_TRAEFIK);

	cr_assert_eq(shunt_compat_observe(compat, &nobody), 0);
	answer(7, 2, 1500);
	cr_expect_eq(value(compat, TRAEFIK("count", "2xx", "")), 7);
	shunt_compat_free(compat);
}

Test(compat, unknown_codes_are_neither_success_nor_failure)
{
	struct shunt_compat *compat = shunt_compat_new(SHUNT_COMPAT_TRAEFIK | SHUNT_COMPAT_LINKERD);

	cr_assert_eq(shunt_compat_observe(compat, &stats), 0);
	answer(50, 0, 1500);
	for (int c = 1; c <= 5; c++) {
		char series[160] = TRAEFIK("count", "0xx", "");

		*strstr(series, "0xx") = (char)('0' + c);
		cr_expect_eq(value(compat, series), 0);
	}
	cr_expect_eq(
		value(compat, LINKERD("response_total", "podinfo", "classification=\"success\"")),
		0);
	answer(10, 2, 1500);
	cr_expect_eq(value(compat, TRAEFIK("count", "2xx", "")), 10);
	shunt_compat_free(compat);
}
