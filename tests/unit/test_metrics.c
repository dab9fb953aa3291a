// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "metrics/signals.h"
#include "metrics/text.h"
#include "shunt/histogram.h"

#define PORT_80 (80 << 8) /* network order */
#define PORT_53 (53 << 8)

/* 9 of 20 us, one of 3 s. */
static struct shunt_connect_time connect_times[SHUNT_TIME_BUCKETS] = { [17] = { 9 }, [86] = { 1 } };

static struct shunt_stats_variant variants[] = {
	{ .id = 1,
	  .name = { "shop", "web", "blue", PORT_80, IPPROTO_TCP, { 0 } },
	  .own = { .connections = 7, .rejects = 2, .refused = 4 },
	  .total = { .connect_us = 3000180 },
	  .is_tcp = true,
	  .connect_times = connect_times,
	  .first_backend = 0,
	  .n_backends = 2 },
	{ .id = 2,
	  .name = { "shop", "web", "a\"b\\c\nd", PORT_53, IPPROTO_UDP, { 0 } },
	  .first_backend = 2 },
};

static struct shunt_stats_backend backends[] = {
	{ .id = 1,
	  .variant = 1,
	  .port = 8080,
	  .proto = IPPROTO_TCP,
	  .active = 3,
	  .ejection = { .has_rule = true, .is_out = true, .times = 4 } },
	{ .id = 2, .variant = 1, .port = 53, .proto = IPPROTO_UDP },
};

static struct shunt_stats_limit limits[] = {
	{ .name = { "shop",
		    "web",
		    "",
		    0xab,
		    0,
		    PORT_80,
		    IPPROTO_TCP,
		    SHUNT_LIMIT_BYTES,
		    SHUNT_LIMIT_CLIENT,
		    0,
		    { 0 } },
	  .counters = { .admitted = 1500, .refused = 3, .untracked = 1 } },
	{ .name = { "shop",
		    "web",
		    "blue",
		    0xcd,
		    1,
		    PORT_80,
		    IPPROTO_TCP,
		    SHUNT_LIMIT_CONNECTIONS,
		    SHUNT_LIMIT_VARIANT,
		    1,
		    { 0 } },
	  .counters = { .admitted = 9 } },
};

static const struct shunt_metrics_weight weights[] = {
	{ "shop", "web", "blue", "80/TCP", 95, 0.95 },
	{ "shop", "web", "green", "80/TCP", 5, 0.05 },
};

static const struct shunt_breaker_name breaker_names[] = {
	{ .namespace_ = "shop", .service = "web", .port_be = PORT_80, .proto = IPPROTO_TCP },
	{ .namespace_ = "shop",
	  .service = "web",
	  .variant = "blue",
	  .port_be = PORT_53,
	  .proto = IPPROTO_UDP,
	  .scope = SHUNT_LIMIT_BACKEND },
};

static const struct shunt_metrics_breaker breakers[] = {
	{ &breaker_names[0], "", SHUNT_BREAKER_FORCED_OPEN, 0 },
	{ &breaker_names[1], "10.0.0.1:8080", SHUNT_BREAKER_RECOVERING, 7 },
};

static const struct shunt_metrics_decision decisions[] = { { "BreakerOpen", 7 } };

static const struct shunt_metrics_gate gates[] = { { "eth0", "xdp", true },
						   { "eth1", "tc", false } };

/* The text of some statistics, of none with @empty. */
static char *text_of(bool empty)
{
	struct shunt_stats stats = { .flow_capacity = 1024, .generation = 14 };
	struct shunt_metrics metrics = { .stats = &stats,
					 .version = "1.2.3",
					 .config_age_seconds = 0.5 };
	char *text;
	size_t len;

	if (!empty) {
		cr_assert_eq(shunt_ip_parse("10.0.0.1", &backends[0].ip), 0);
		cr_assert_eq(shunt_ip_parse("fd00::1", &backends[1].ip), 0);
		backends[0].counters.bytes_out = 123456789012ull;
		backends[0].counters.established = 31;
		backends[0].counters.refused = 32;
		backends[0].counters.unanswered = 33;
		backends[0].counters.reset = 34;
		backends[0].counters.closed = 35;
		stats.variants = variants;
		stats.n_variants = ARRAY_LEN(variants);
		stats.backends = backends;
		stats.n_backends = ARRAY_LEN(backends);
		stats.limits = limits;
		stats.n_limits = ARRAY_LEN(limits);
		metrics.weights = weights;
		metrics.n_weights = ARRAY_LEN(weights);
		metrics.gates = gates;
		metrics.n_gates = ARRAY_LEN(gates);
		metrics.breakers = breakers;
		metrics.n_breakers = ARRAY_LEN(breakers);
		metrics.decisions = decisions;
		metrics.n_decisions = ARRAY_LEN(decisions);
		metrics.decisions_lost = 2;
		stats.flow_states[SHUNT_F_ESTABLISHED] = 3;
	}
	cr_assert_eq(shunt_metrics_text(&metrics, &text, &len), 0);
	cr_assert_eq(strlen(text), len);
	return text;
}

static void assert_line(const char *text, const char *line)
{
	char wanted[256];

	snprintf(wanted, sizeof(wanted), "\n%s\n", line);
	cr_expect(strstr(text, wanted), "no line %s", line);
}

static void assert_promtool_likes(const char *text)
{
	FILE *tool = popen("promtool check metrics", "w");
	int status;

	cr_assert_not_null(tool);
	fputs(text, tool);
	status = pclose(tool);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "promtool says %d",
		  WEXITSTATUS(status));
}

Test(metrics, promtool_finds_nothing_to_say)
{
	CLEANUP(freep) char *text = text_of(false);
	CLEANUP(freep) char *empty = text_of(true);

	assert_promtool_likes(text);
	assert_promtool_likes(empty);
}

Test(metrics, a_backend_without_traffic_has_zeros)
{
	CLEANUP(freep) char *text = text_of(false);

	assert_line(text, "shunt_connections_total{namespace=\"shop\",service=\"web\","
			  "variant=\"blue\",port=\"80\",backend=\"10.0.0.1:8080\"} 0");
	assert_line(text, "shunt_packets_total{namespace=\"shop\",service=\"web\",variant=\"blue\","
			  "port=\"80\",backend=\"[fd00::1]:53/udp\",direction=\"out\"} 0");
	assert_line(text, "shunt_rejects_total{namespace=\"shop\",service=\"web\","
			  "variant=\"blue\",port=\"80\",backend=\"10.0.0.1:8080\"} 0");
}

Test(metrics, figures_stand_where_they_belong)
{
	CLEANUP(freep) char *text = text_of(false);

	assert_line(text, "shunt_connections_active{namespace=\"shop\",service=\"web\","
			  "variant=\"blue\",port=\"80\",backend=\"10.0.0.1:8080\"} 3");
	assert_line(text, "shunt_bytes_total{namespace=\"shop\",service=\"web\",variant=\"blue\","
			  "port=\"80\",backend=\"10.0.0.1:8080\",direction=\"out\"} 123456789012");
	assert_line(text, "shunt_variant_weight{namespace=\"shop\",service=\"web\","
			  "variant=\"green\",ports=\"80/TCP\"} 5");
	assert_line(text, "shunt_variant_share{namespace=\"shop\",service=\"web\","
			  "variant=\"blue\",ports=\"80/TCP\"} 0.95");
	assert_line(text, "shunt_flow_entries{state=\"established\"} 3");
	assert_line(text, "shunt_gate_up{interface=\"eth1\",hook=\"tc\"} 0");
	assert_line(text, "shunt_generation 14");
	assert_line(text,
		    "shunt_limit_admitted_total{namespace=\"shop\",service=\"web\",variant=\"\","
		    "port=\"80\",protocol=\"TCP\",kind=\"rate\",unit=\"bytes\",scope=\"client\","
		    "limit=\"00000000000000ab\"} 1500");
	assert_line(text,
		    "shunt_limit_untracked_total{namespace=\"shop\",service=\"web\",variant=\"\","
		    "port=\"80\",protocol=\"TCP\",kind=\"rate\",unit=\"bytes\",scope=\"client\","
		    "limit=\"00000000000000ab\"} 1");
	assert_line(text, "shunt_limited_total{namespace=\"shop\",service=\"web\",variant=\"blue\","
			  "port=\"80\",protocol=\"TCP\",kind=\"in_flight\",unit=\"connections\","
			  "scope=\"variant\","
			  "limit=\"00000000000000cd\"} 0");
	assert_line(text, "shunt_config_age_seconds 0.500");
}

Test(metrics, breakers_have_a_state_and_count_how_often_they_opened)
{
	CLEANUP(freep) char *text = text_of(false);

	assert_line(text, "shunt_breaker_state{namespace=\"shop\",service=\"web\",variant=\"\","
			  "port=\"80\",backend=\"\",scope=\"service\"} 3");
	assert_line(text, "shunt_breaker_opened_total{namespace=\"shop\",service=\"web\","
			  "variant=\"blue\",port=\"53/udp\",backend=\"10.0.0.1:8080\","
			  "scope=\"backend\"} 7");
	assert_line(text, "shunt_decisions_total{reason=\"BreakerOpen\"} 7");
	assert_line(text, "shunt_decisions_lost_total 2");
}

Test(metrics, what_no_backend_took_is_in_a_series_of_its_own)
{
	CLEANUP(freep) char *text = text_of(false);

	assert_line(text, "shunt_connections_total{namespace=\"shop\",service=\"web\","
			  "variant=\"blue\",port=\"80\",backend=\"other\"} 7");
	assert_line(text, "shunt_rejects_total{namespace=\"shop\",service=\"web\","
			  "variant=\"blue\",port=\"80\",backend=\"other\"} 2");
}

#define BLUE	     "{namespace=\"shop\",service=\"web\",variant=\"blue\",port=\"80\","
#define BLUE_BACKEND BLUE "backend=\"10.0.0.1:8080\"}"

Test(metrics, what_becomes_of_connections_has_series_of_its_own)
{
	CLEANUP(freep) char *text = text_of(false);

	assert_line(text, "shunt_connections_established_total" BLUE_BACKEND " 31");
	assert_line(text, "shunt_connections_refused_total" BLUE_BACKEND " 32");
	assert_line(text, "shunt_connections_unanswered_total" BLUE_BACKEND " 33");
	assert_line(text, "shunt_connections_reset_total" BLUE_BACKEND " 34");
	assert_line(text, "shunt_connections_closed_total" BLUE_BACKEND " 35");
	assert_line(text, "shunt_connections_refused_total" BLUE "backend=\"other\"} 4");
	cr_expect_null(strstr(text, "shunt_connections_refused_total{namespace=\"shop\","
				    "service=\"web\",variant=\"a"),
		       "a variant of UDP has none");
	assert_line(text, "shunt_connect_seconds_bucket" BLUE "le=\"0.000016\"} 0");
	assert_line(text, "shunt_connect_seconds_bucket" BLUE "le=\"0.000032\"} 9");
	assert_line(text, "shunt_connect_seconds_bucket" BLUE "le=\"2.097152\"} 9");
	assert_line(text, "shunt_connect_seconds_bucket" BLUE "le=\"4.194304\"} 10");
	assert_line(text, "shunt_connect_seconds_bucket" BLUE "le=\"+Inf\"} 10");
	assert_line(text, "shunt_connect_seconds_sum{namespace=\"shop\",service=\"web\","
			  "variant=\"blue\",port=\"80\"} 3.000180");
	assert_line(text, "shunt_connect_seconds_count{namespace=\"shop\",service=\"web\","
			  "variant=\"blue\",port=\"80\"} 10");
	cr_expect_float_eq(shunt_connect_quantile(connect_times, 0.9), 20e-6, 2e-6);
	cr_expect_float_eq(shunt_connect_quantile(connect_times, 0.91), 3.0, 0.3);
	cr_expect_lt(shunt_connect_quantile(NULL, 0.5), 0.0);
}

Test(metrics, label_values_are_escaped)
{
	CLEANUP(freep) char *text = text_of(false);

	assert_line(text, "shunt_connections_total{namespace=\"shop\",service=\"web\","
			  "variant=\"a\\\"b\\\\c\\nd\",port=\"53/udp\",backend=\"other\"} 0");
}

Test(metrics, ports_of_tcp_and_udp_are_told_apart)
{
	CLEANUP(freep) char *text = text_of(false);

	assert_line(text, "shunt_variant_tripped{namespace=\"shop\",service=\"web\","
			  "variant=\"blue\",port=\"80\"} 0");
	assert_line(text, "shunt_variant_tripped{namespace=\"shop\",service=\"web\","
			  "variant=\"a\\\"b\\\\c\\nd\",port=\"53/udp\"} 0");
}

Test(metrics, ejection_is_shown_where_there_is_a_rule)
{
	CLEANUP(freep) char *text = text_of(false);

	assert_line(text, "shunt_backend_ejected{namespace=\"shop\",service=\"web\","
			  "variant=\"blue\",port=\"80\",backend=\"10.0.0.1:8080\"} 1");
	assert_line(text, "shunt_backend_ejections_total{namespace=\"shop\",service=\"web\","
			  "variant=\"blue\",port=\"80\",backend=\"10.0.0.1:8080\"} 4");
	cr_expect_null(strstr(text, "shunt_backend_ejected{namespace=\"shop\",service=\"web\","
				    "variant=\"blue\",port=\"80\",backend=\"[fd00::1]:53"));
}

Test(metrics, every_reason_has_a_series_from_the_first_moment)
{
	CLEANUP(freep) char *text = text_of(true);
	char line[96];

#define EXPECT_REASON(name, action, words)                                                         \
	snprintf(line, sizeof(line), "shunt_packets_by_reason_total{reason=\"%s\"} 0", #name);     \
	assert_line(text, line);
	SHUNT_REASONS(EXPECT_REASON)
#undef EXPECT_REASON
}

Test(metrics, a_quantile_is_within_a_tenth)
{
	static struct shunt_response_time times[SHUNT_TIME_BUCKETS];

	cr_expect_lt(shunt_stats_quantile(times, 0.5), 0.0, "of nothing there is none");
	cr_expect_lt(shunt_stats_quantile(NULL, 0.5), 0.0);
	/* 1 ms to 10 s, evenly. */
	for (uint32_t ms = 1; ms <= 10000; ms++)
		times[shunt_time_bucket(ms * 1000)].responses++;
	for (int percent = 1; percent <= 100; percent++) {
		double right = percent / 10.0, got = shunt_stats_quantile(times, percent / 100.0);

		cr_expect(got > right * 0.9 && got < right * 1.1, "p%d: %f s", percent, got);
	}
}

Test(metrics, unknown_codes_are_no_success)
{
	const uint64_t responses[] = { 100, 1, 20, 3, 4, 5 }, unknown[] = { 100, 0, 0, 0, 0, 0 };

	cr_expect_eq(shunt_responses_known(responses), 33);
	cr_expect_eq(shunt_responses_good(responses), 28);
	cr_expect_float_eq(shunt_success_rate(responses), 28 / 33.0, 1e-12);
	cr_expect_lt(shunt_success_rate(unknown), 0.0);
}
