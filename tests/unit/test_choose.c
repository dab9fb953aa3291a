// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "install_lab.h"

/*
 * The properties of the choice. All seeds are fixed, so nothing here is a matter of luck:
 * bounds are those of an honest coin at 4 sigma or chi-square at p = 10^-4.
 */
#define MILLION 1000000

static const __u64 key[2] = { 0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull };

/* The value that chi-square with @df degrees exceeds once in 10^4 (Wilson and Hilferty). */
static double chi_square_limit(unsigned df)
{
	double part = 2.0 / (9.0 * df);

	return df * pow(1 - part + 3.719 * sqrt(part), 3);
}

static void assert_distribution(const uint32_t *seen, const double *share, unsigned n, double total,
				const char *what)
{
	double chi_square = 0;

	for (unsigned i = 0; i < n; i++) {
		double expected = total * share[i];

		if (share[i] == 0) {
			cr_assert_eq(seen[i], 0, "%s: %u is due nothing", what, i);
			continue;
		}
		chi_square += (seen[i] - expected) * (seen[i] - expected) / expected;
	}
	cr_assert_lt(chi_square, chi_square_limit(n - 1), "%s: chi-square %f of %u", what,
		     chi_square, n);
}

/* |seen - expected| within 4 sigma of a binomial. */
static void assert_share(double seen, double share, double total, const char *what)
{
	double sigma = sqrt(total * share * (1 - share));

	cr_assert(fabs(seen - total * share) <= 4 * sigma, "%s: %f of %f, due %f", what, seen,
		  total, total * share);
}

static struct shunt_split make_split(const uint32_t *weights, unsigned n)
{
	struct shunt_split split = { .n_variants = n };
	char name[32];

	for (unsigned v = 0; v < n; v++) {
		snprintf(name, sizeof(name), "variant-%02u", v);
		split.variant[v].weight = weights[v];
		split.variant[v].seed = shunt_name_seed(name);
	}
	if (n == 2)
		split.threshold = shunt_threshold(weights[0], weights[1]);
	return split;
}

static __u64 hash_of(uint32_t client)
{
	struct shunt_tuple tuple = lab_tuple(1, client);

	return shunt_choice_hash(key, 12345, &tuple, SHUNT_AFFINITY_CONNECTION, 32);
}

static int pick(const struct shunt_split *split, uint32_t client)
{
	return shunt_pick_variant(split, 0, hash_of(client));
}

/* ---- shares --------------------------------------------------------------------------------- */

/* Chi-square says nothing about cells that are due less than a few. */
static bool has_rare(const double *share, unsigned n)
{
	for (unsigned v = 0; v < n; v++)
		if (share[v] > 0 && share[v] * MILLION < 5)
			return true;
	return false;
}

Test(choose, shares_are_those_of_the_weights)
{
	const struct {
		unsigned n;
		uint32_t weight[SHUNT_MAX_VARIANTS];
	} cases[] = {
		{ 1, { 3 } },
		{ 2, { 95, 5 } },
		{ 2, { 1, 999999 } },
		{ 3, { 90, 9, 1 } },
		{ 3, { 1, 1, 1 } },
		{ 5, { 50, 0, 30, 15, 5 } },
		{ 16, { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 } },
		{ 16, { 1000000, 1000, 500, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1000000 } },
	};

	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct shunt_split split = make_split(cases[c].weight, cases[c].n);
		uint32_t seen[SHUNT_MAX_VARIANTS] = { 0 };
		double share[SHUNT_MAX_VARIANTS], total = 0;
		char what[32];

		for (unsigned v = 0; v < cases[c].n; v++)
			total += cases[c].weight[v];
		for (unsigned v = 0; v < cases[c].n; v++)
			share[v] = cases[c].weight[v] / total;
		for (uint32_t client = 0; client < MILLION; client++)
			seen[pick(&split, client)]++;
		snprintf(what, sizeof(what), "case %zu", c);
		if (cases[c].n == 1)
			cr_assert_eq(seen[0], MILLION);
		else if (!has_rare(share, cases[c].n))
			assert_distribution(seen, share, cases[c].n, MILLION, what);
		for (unsigned v = 0; v < cases[c].n; v++)
			if (share[v] * MILLION > 5)
				assert_share(seen[v], share[v], MILLION, what);
	}
}

Test(choose, weight_zero_gets_nothing_and_all_zero_nobody)
{
	const uint32_t two[] = { 0, 1 }, none[] = { 0, 0, 0 }, three[] = { 5, 0, 5 };
	struct shunt_split a = make_split(two, 2), b = make_split(none, 3),
			   c = make_split(three, 3);

	for (uint32_t client = 0; client < MILLION; client++) {
		cr_assert_eq(pick(&a, client), 1);
		cr_assert_eq(pick(&b, client), -1);
		cr_assert_neq(pick(&c, client), 1);
	}
}

Test(choose, only_the_ratio_of_weights_counts)
{
	const uint32_t small[] = { 95, 5 }, large[] = { 950, 50 };
	const uint32_t small3[] = { 7, 2, 1 }, large3[] = { 700000, 200000, 100000 };
	struct shunt_split a = make_split(small, 2), b = make_split(large, 2);
	struct shunt_split c = make_split(small3, 3), d = make_split(large3, 3);

	for (uint32_t client = 0; client < MILLION; client++) {
		cr_assert_eq(pick(&a, client), pick(&b, client));
		cr_assert_eq(pick(&c, client), pick(&d, client));
	}
}

Test(choose, a_tripped_variant_counts_as_weight_zero)
{
	const uint32_t with[] = { 50, 30, 20 }, without[] = { 50, 0, 20 };
	struct shunt_split a = make_split(with, 3), b = make_split(without, 3);

	for (uint32_t client = 0; client < 100000; client++)
		cr_assert_eq(shunt_pick_variant(&a, 2, hash_of(client)), pick(&b, client));
}

/* ---- ramps ------------------------------------------------------------------------------------
 */

/* 5 -> 25 -> 50 -> 100 of 100 for the variant at @canary of two. */
static void ramp_two(unsigned canary)
{
	const uint32_t steps[] = { 0, 5, 25, 50, 100 };

	for (int s = 1; s < 5; s++) {
		uint32_t before[2] = { 100 - steps[s - 1], 100 - steps[s - 1] };
		uint32_t after[2] = { 100 - steps[s], 100 - steps[s] };
		struct shunt_split from, to;
		uint32_t moved = 0;

		before[canary] = steps[s - 1];
		after[canary] = steps[s];
		from = make_split(before, 2);
		to = make_split(after, 2);
		for (uint32_t client = 0; client < MILLION; client++) {
			unsigned was = pick(&from, client), is = pick(&to, client);
			__u64 part = shunt_variant_part(hash_of(client));
			__u64 low = from.threshold < to.threshold ? from.threshold : to.threshold;
			__u64 high = from.threshold < to.threshold ? to.threshold : from.threshold;

			cr_assert(was != canary || is == canary, "nobody goes back");
			cr_assert_eq(was != is, part >= low && part < high, "exactly the share");
			moved += was != is;
		}
		assert_share(moved, (steps[s] - steps[s - 1]) / 100.0, MILLION, "moved");
	}
}

Test(choose, a_ramp_of_two_moves_exactly_the_share)
{
	ramp_two(0);
	ramp_two(1);
}

Test(choose, a_ramp_among_many_moves_only_to_the_one_that_rises)
{
	const uint32_t steps[] = { 0, 5, 25, 50, 100, 1000 };
	const unsigned counts[] = { 3, 5, 16 };

	for (int c = 0; c < 3; c++) {
		unsigned n = counts[c];
		uint32_t weight[SHUNT_MAX_VARIANTS];

		for (unsigned v = 0; v < n; v++)
			weight[v] = 20 + v;
		for (int s = 1; s < 6; s++) {
			struct shunt_split from, to;
			double others = 0, moved = 0;

			weight[1] = steps[s - 1];
			from = make_split(weight, n);
			weight[1] = steps[s];
			to = make_split(weight, n);
			for (unsigned v = 0; v < n; v++)
				others += v == 1 ? 0 : weight[v];
			for (uint32_t client = 0; client < MILLION / 2; client++) {
				int was = pick(&from, client), is = pick(&to, client);

				cr_assert(was == is || is == 1, "%u variants: %d to %d", n, was,
					  is);
				moved += was != is;
			}
			assert_share(moved,
				     steps[s] / (others + steps[s]) -
					     steps[s - 1] / (others + steps[s - 1]),
				     MILLION / 2, "moved");
		}
	}
}

/* ---- independence
 * --------------------------------------------------------------------------------- */

Test(choose, the_backend_does_not_depend_on_the_variant)
{
	const uint32_t weights[] = { 90, 10 };
	struct shunt_split split = make_split(weights, 2);
	uint32_t seen[2][10] = { 0 }, total[2] = { 0 };
	double share[10];

	for (int i = 0; i < 10; i++)
		share[i] = 0.1;
	for (uint32_t client = 0; client < MILLION; client++) {
		__u64 hash = hash_of(client);
		int variant = shunt_pick_variant(&split, 0, hash);

		seen[variant][shunt_ring_slot(hash, 1000) / 100]++;
		total[variant]++;
	}
	assert_distribution(seen[0], share, 10, total[0], "stable");
	assert_distribution(seen[1], share, 10, total[1], "canary");
}

Test(choose, two_services_choose_independently_for_one_client)
{
	const uint32_t weights[] = { 50, 50 };
	const double share[] = { 0.25, 0.25, 0.25, 0.25 };
	struct shunt_split split = make_split(weights, 2);
	uint32_t seen[4] = { 0 };

	for (uint32_t client = 0; client < MILLION; client++) {
		struct shunt_tuple tuple = lab_tuple(1, client);
		__u64 a = shunt_choice_hash(key, shunt_name_seed("shop/a"), &tuple,
					    SHUNT_AFFINITY_HASH, 32);
		__u64 b = shunt_choice_hash(key, shunt_name_seed("shop/b"), &tuple,
					    SHUNT_AFFINITY_HASH, 32);

		seen[2 * shunt_pick_variant(&split, 0, a) + shunt_pick_variant(&split, 0, b)]++;
	}
	/* Some of the clients share an address, which widens the spread: no chi-square here. */
	for (int i = 0; i < 4; i++)
		cr_assert(fabs(seen[i] / (double)MILLION - share[i]) < 0.005, "%u", seen[i]);
}

/* ---- affinity
 * ---------------------------------------------------------------------------------------- */

static struct shunt_tuple tuple_of(const char *client, const char *frontend, uint16_t sport)
{
	struct shunt_tuple tuple = { .proto = IPPROTO_TCP, .sport_be = htons(sport) };
	struct shunt_ip ip;

	cr_assert_eq(shunt_ip_parse(frontend, &ip), 0);
	tuple.dst = ip.addr;
	cr_assert_eq(shunt_ip_parse(client, &ip), 0);
	tuple.src = ip.addr;
	tuple.family = ip.family;
	return tuple;
}

static __u64 affinity_hash(const char *client, const char *frontend, uint16_t sport,
			   unsigned prefix)
{
	struct shunt_tuple tuple = tuple_of(client, frontend, sport);

	return shunt_choice_hash(key, 1, &tuple, SHUNT_AFFINITY_HASH, prefix);
}

Test(choose, affinity_sees_the_client_and_nothing_else)
{
	__u64 hash = affinity_hash("10.1.2.3", "10.255.0.1", 1000, 32);

	for (uint16_t port = 1; port < 2000; port++)
		cr_assert_eq(affinity_hash("10.1.2.3", "10.255.0.1", port, 32), hash);
	cr_assert_eq(affinity_hash("10.1.2.3", "10.255.0.9", 1000, 32), hash);
	cr_assert_neq(affinity_hash("10.1.2.4", "10.255.0.1", 1000, 32), hash);
}

Test(choose, affinity_by_prefix_keeps_neighbours_together)
{
	cr_assert_eq(affinity_hash("10.1.2.3", "10.255.0.1", 1, 24),
		     affinity_hash("10.1.2.200", "10.255.0.1", 2, 24));
	cr_assert_neq(affinity_hash("10.1.2.3", "10.255.0.1", 1, 24),
		      affinity_hash("10.1.3.3", "10.255.0.1", 1, 24));
	cr_assert_eq(affinity_hash("10.1.2.3", "10.255.0.1", 1, 1),
		     affinity_hash("127.0.0.1", "10.255.0.1", 2, 1));
	cr_assert_eq(affinity_hash("fd00:1:2:3::1", "fd00::1", 1, 64),
		     affinity_hash("fd00:1:2:3:ffff::", "fd00::1", 2, 64));
	cr_assert_neq(affinity_hash("fd00:1:2:3::1", "fd00::1", 1, 64),
		      affinity_hash("fd00:1:2:4::1", "fd00::1", 1, 64));
	cr_assert_eq(affinity_hash("fd00:1:2:3::1", "fd00::1", 1, 49),
		     affinity_hash("fd00:1:2:7fff::", "fd00::1", 1, 49));
	cr_assert_neq(affinity_hash("fd00:1:2:3::1", "fd00::1", 1, 49),
		      affinity_hash("fd00:1:2:8000::", "fd00::1", 1, 49));
	cr_assert_neq(affinity_hash("fd00:1:2:3::1", "fd00::1", 1, 128),
		      affinity_hash("fd00:1:2:3::2", "fd00::1", 1, 128));
}

Test(choose, a_connection_sees_each_part_of_the_tuple)
{
	struct shunt_tuple base = tuple_of("fd00::1", "fd00::2", 1000);
	__u64 hash = shunt_choice_hash(key, 1, &base, SHUNT_AFFINITY_CONNECTION, 128);

	base.dport_be = htons(80);
	hash = shunt_choice_hash(key, 1, &base, SHUNT_AFFINITY_CONNECTION, 128);
	for (unsigned byte = 0; byte < offsetof(struct shunt_tuple, family); byte++) {
		struct shunt_tuple changed = base;

		((unsigned char *)&changed)[byte] ^= 1;
		cr_assert_neq(shunt_choice_hash(key, 1, &changed, SHUNT_AFFINITY_CONNECTION, 128),
			      hash, "byte %u", byte);
	}
}

/* ---- arithmetic
 * ----------------------------------------------------------------------------------------- */

Test(choose, the_integer_logarithm_is_that_of_libm)
{
	for (uint64_t u = 0; u <= UINT32_MAX;
	     u += u < 100000 || u > UINT32_MAX - 100000 ? 1 : 9973) {
		double real = -log(((double)u + 1) / 4294967296.0) * 4294967296.0;
		double ours = shunt_neg_ln(u);

		cr_assert(fabs(ours - real) <= 2 + real * 1e-6, "%llu: %f, libm %f",
			  (unsigned long long)u, ours, real);
	}
}

Test(choose, a_threshold_grows_with_the_first_weight)
{
	cr_assert_eq(shunt_threshold(0, 0), 0);
	cr_assert_eq(shunt_threshold(0, 7), 0);
	cr_assert_eq(shunt_threshold(7, 0), 1ull << 32);
	for (uint32_t w = 0; w < SHUNT_MAX_WEIGHT; w += 17)
		cr_assert_leq(shunt_threshold(w, 1000), shunt_threshold(w + 1, 1000));
}

/* ---- agents
 * ---------------------------------------------------------------------------------------------------
 */

/*
 * One agent had another service first, other variants, other backends, other weights, and a
 * restart; the other starts from nothing, with the models in another order. A million
 * tuples: the same variant names and backend addresses.
 */
static void history(struct install_lab *lab, struct lab_service *services[2])
{
	struct lab_service *swapped[2] = { services[1], services[0] };
	struct lab_service other;

	lab_service(&other, "other", 9);
	lab_variant(&other, "x", 1, 7, 9);
	lab_install_ok(lab, (struct lab_service *const[]){ &other }, 1);
	services[0]->variants[0].weight += 30;
	services[0]->variants[1].n_backends -= 2;
	services[1]->model.n_variants--;
	lab_install_ok(lab, (struct lab_service *const[]){ &other, services[0], services[1] }, 3);
	lab->now += 100 * LAB_HZ;
	services[0]->variants[0].weight -= 30;
	lab_install_ok(lab, swapped, 2);
	lab_restart(lab);
	services[0]->variants[1].n_backends += 2;
	services[1]->model.n_variants++;
	lab_install_ok(lab, swapped, 2);
	for (int i = 0; i < 4; i++) {
		lab->now += 100 * LAB_HZ;
		shunt_installer_tick(lab->installer);
	}
	lab_install_ok(lab, services, 2);
	lab_service_free(&other);
}

static void assert_agree(const struct install_lab *a, const struct install_lab *b,
			 const struct lab_service *service, unsigned number, uint32_t tuples)
{
	uint32_t id_a = lab_service_id(a, service->name), id_b = lab_service_id(b, service->name);
	uint32_t other_ids = 0;

	for (uint32_t client = 0; client < tuples; client++) {
		struct shunt_tuple tuple = lab_tuple(number, client);
		struct shunt_choice x, y;

		shunt_choose_for_service(&a->maps, id_a, &tuple, a->now, &x);
		shunt_choose_for_service(&b->maps, id_b, &tuple, b->now, &y);
		cr_assert_eq(x.reason, SHUNT_R_FORWARDED);
		cr_assert_eq(y.reason, SHUNT_R_FORWARDED);
		cr_assert_str_eq(
			SHUNT_DP_AT(a->maps.variant_names, struct shunt_variant_name, x.variant)
				->variant,
			SHUNT_DP_AT(b->maps.variant_names, struct shunt_variant_name, y.variant)
				->variant);
		cr_assert_eq(x.to.addr.word_be[3], y.to.addr.word_be[3]);
		cr_assert_eq(x.to.port_be, y.to.port_be);
		other_ids += x.backend != y.backend;
	}
	cr_assert_gt(other_ids, 0, "their histories gave other ids, or this proves little");
}

Test(choose, agents_with_other_histories_agree_on_a_million_tuples)
{
	struct lab_service web, api, *services[] = { &web, &api };
	struct install_lab a, b;

	lab_service(&web, "web", 1);
	lab_variant(&web, "blue", 60, 1, 7);
	lab_variant(&web, "green", 40, 2, 5);
	lab_service(&api, "api", 2);
	lab_variant(&api, "v1", 80, 3, 4);
	lab_variant(&api, "v2", 15, 4, 3);
	lab_variant(&api, "v3", 5, 5, 1);
	lab_open(&a, NULL);
	lab_open(&b, NULL);
	history(&a, services);
	lab_install_ok(&b, (struct lab_service *const[]){ &api, &web }, 2);
	assert_agree(&a, &b, &web, 1, MILLION / 2);
	assert_agree(&a, &b, &api, 2, MILLION / 2);
	lab_close(&a);
	lab_close(&b);
	lab_service_free(&web);
	lab_service_free(&api);
}
