// SPDX-License-Identifier: Apache-2.0
#include "lab.h"

#include <math.h>

TestSuite(variant, .timeout = 120);

#define CONNECTIONS 2000

/* New flows by variant: [0] rejected, [v] variant v. Each has its own backend v. */
static void count_shares(struct lab *lab, uint32_t counts[SHUNT_MAX_VARIANTS + 1])
{
	struct lab_packet packet;
	struct lab_frame in, out;
	uint32_t code;

	memset(counts, 0, (SHUNT_MAX_VARIANTS + 1) * sizeof(*counts));
	for (uint32_t i = 0; i < CONNECTIONS; i++) {
		packet = lab_from_client(lab, 1 + i % 97, (uint16_t)(1024 + i), 1);
		packet_build(&packet, &in);
		cr_assert_eq(
			lab_run(lab, lab_ingress_fd(lab), lab->kind->hook, &in, 0, &out, &code), 0);
		if (packet_parse(&out, &packet, &(bool){ false }))
			counts[lab_backend_of(lab, &packet.dst)]++;
		else
			counts[0]++;
	}
}

/* Chi-square of @counts against @weights; 37.7 is the 0.1 % bound for 15 degrees of freedom. */
static void check_shares(const uint32_t *counts, const uint32_t *weights, uint32_t n)
{
	double total = 0, chi2 = 0;

	for (uint32_t v = 0; v < n; v++)
		total += weights[v];
	for (uint32_t v = 0; v < n; v++) {
		double want = CONNECTIONS * (weights[v] / total);

		if (weights[v])
			chi2 += pow(counts[v + 1] - want, 2) / want;
		else
			CHECK_EQ(counts[v + 1], 0);
	}
	cr_expect(chi2 < 37.7, "%s: chi-square of %u variants is %.1f", lab_what, n, chi2);
	CHECK_EQ(counts[0], 0);
}

LAB_EACH(variant, shares_of_two_to_sixteen_variants_are_their_weights, 0)
{
	static const struct {
		uint32_t n, weights[SHUNT_MAX_VARIANTS];
	} cases[] = {
		{ 1, { 1 } },
		{ 1, { SHUNT_MAX_WEIGHT } },
		{ 2, { 95, 5 } },
		{ 2, { 1, 1 } },
		{ 2, { 0, 7 } },
		{ 2, { 7, 0 } },
		{ 2, { SHUNT_MAX_WEIGHT, SHUNT_MAX_WEIGHT } },
		{ 3, { 80, 15, 5 } },
		{ 3, { 0, 1, 0 } },
		{ 3, { SHUNT_MAX_WEIGHT, 0, SHUNT_MAX_WEIGHT / 10 } },
		{ 16, { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 } },
		{ 16, { 10, 0, 20, 0, 30, 0, 40, 0, 10, 10, 10, 10, 10, 10, 20, 20 } },
	};
	uint32_t counts[SHUNT_MAX_VARIANTS + 1];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		/* All families and hooks run one code for this: one of them sees all cases. */
		if (i % 4 && (k->hook == LAB_XDP || k->proto == IPPROTO_UDP))
			continue;
		lab_reset(lab, k);
		lab_scene(lab, cases[i].n, 1);
		lab_weights(lab, 1, cases[i].weights, cases[i].n);
		count_shares(lab, counts);
		check_shares(counts, cases[i].weights, cases[i].n);
	}
}

LAB_EACH(variant, the_threshold_decides_between_two_to_the_last_value, LAB_ONLY_XDP)
{
	struct lab_packet packet;

	(void)k;
	lab_scene(lab, 2, 1);
	packet = lab_from_client(lab, 1, 4000, 1);

	lab_split(lab, 1)->threshold = 1ull << 32; /* above each hash */
	for (uint16_t port = 1; port < 100; port++) {
		packet.sport = port;
		lab_ingress(lab, &packet);
		CHECK_EQ(lab_flow(lab, &packet)->variant, 1);
	}
	lab_split(lab, 1)->threshold = 0;
	for (uint16_t port = 100; port < 200; port++) {
		packet.sport = port;
		lab_ingress(lab, &packet);
		CHECK_EQ(lab_flow(lab, &packet)->variant, 2);
	}
}

LAB_EACH(variant, without_any_weight_new_flows_are_rejected, 0)
{
	static const uint32_t zero[SHUNT_MAX_VARIANTS];
	struct lab_packet packet;
	struct lab_result result;

	for (uint32_t n = 0; n <= SHUNT_MAX_VARIANTS; n += n < 3 ? 1 : 13) {
		lab_reset(lab, k);
		lab_scene(lab, n, 1);
		lab_weights(lab, 1, zero, n);
		packet = lab_from_client(lab, 1, 4000, 1);
		result = lab_ingress(lab, &packet);
		CHECK_REASON(result.reason, SHUNT_R_NO_WEIGHT);
		CHECK_EQ(result.verdict, LAB_BOUNCE);
		CHECK_EQ(lab_flows_in_use(lab), 0);
	}
}

LAB_EACH(variant, a_tripped_variant_counts_as_weight_zero, 0)
{
	uint32_t counts[SHUNT_MAX_VARIANTS + 1], n = 0;
	const uint32_t left[] = { 1, 0, 1 };
	struct lab_packet packet;

	for (n = 2; n <= 3; n++) {
		lab_reset(lab, k);
		lab_scene(lab, n, 1);
		SHUNT_DP_AT(lab->maps.overlay, struct shunt_overlay, 2)->tripped = 1;
		count_shares(lab, counts);
		check_shares(counts, left, n);

		for (uint32_t v = 1; v <= n; v++)
			SHUNT_DP_AT(lab->maps.overlay, struct shunt_overlay, v)->tripped = 1;
		packet = lab_from_client(lab, 200, 4000, 1);
		CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_NO_WEIGHT);
	}
}

/* Order 1: each step of a ramp moves only the share that theory says, nobody back. */
LAB_EACH(variant, a_ramp_moves_clients_one_way_only, LAB_ONLY_XDP)
{
	static const uint32_t steps[] = { 0, 1, 5, 20, 50, 80, 100 };
	uint8_t moved[400] = { 0 };
	uint32_t weights[3], n;
	struct lab_packet packet;

	for (n = 2; n <= 3; n++) {
		lab_reset(lab, k);
		lab_scene(lab, n, 1);
		memset(moved, 0, sizeof(moved));
		for (size_t s = 0; s < ARRAY_LEN(steps); s++) {
			/* From the first to the second; the third keeps its weight. */
			weights[0] = 100 - steps[s];
			weights[1] = steps[s];
			weights[2] = 25;
			lab_weights(lab, 1, weights, n);
			memset(lab->maps.flow_sets.base, 0, 64u * lab->maps.flow_sets.n);
			memset(lab->maps.reply_sets.base, 0, 64u * lab->maps.reply_sets.n);
			memset(lab->maps.flows.base, 0, 128u * lab->maps.flows.n);
			for (uint16_t i = 0; i < ARRAY_LEN(moved); i++) {
				uint32_t variant;

				packet = lab_from_client(lab, 1 + i, 4000, 1);
				lab_ingress(lab, &packet);
				variant = lab_flow(lab, &packet)->variant;
				/* Out of the shrinking one, into the growing one. */
				CHECK(s == 0 || variant == moved[i] || moved[i] == 1 ||
				      variant == 2);
				moved[i] = (uint8_t)variant;
			}
		}
	}
}
