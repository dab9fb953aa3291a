// SPDX-License-Identifier: Apache-2.0
/*
 * One choice, compiled twice: what the programs choose, and what `shunt explain` says that
 * they choose. A million random tuples over many splits, and not one may differ.
 */
#include "lab.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "datapath/explain.h"
#include "shunt/choose.h"
#include "stages.h"
#include "tests/bpf/stages.skel.h"

TestSuite(choice, .timeout = 300);

#define ROUNDS 16 /* of STAGE_TUPLES each: 2^20 tuples */

static const struct lab_kind both[] = {
	{ "IPv4", SHUNT_V4, IPPROTO_TCP, LAB_TC },
	{ "IPv6", SHUNT_V6, IPPROTO_UDP, LAB_TC },
};

struct stage {
	struct stages *obj;
	struct stage_input *input;
	struct stage_tuple *tuples;
};

static struct stage stage_open(const struct lab *lab)
{
	struct stage stage = { .obj = stages__open() };

	cr_assert_not_null(stage.obj);
	lab_share_maps(lab, stage.obj->obj);
	cr_assert_eq(stages__load(stage.obj), 0, "%m");
	stage.input = lab_map_memory(stage.obj->maps.stage_input);
	stage.tuples = lab_map_memory(stage.obj->maps.stage_tuples);
	return stage;
}

static uint64_t random_state = 20260101;

static uint64_t random64(void)
{
	random_state += 0x9e3779b97f4a7c15ull;
	return shunt_mix64(random_state);
}

/* Weights of all sizes, zero among them. */
static uint32_t random_weight(void)
{
	static const uint32_t bounds[] = { 1, 2, 100, 1000, SHUNT_MAX_WEIGHT };

	return (uint32_t)(random64() % (bounds[random64() % ARRAY_LEN(bounds)] + 1));
}

/* Service 1 with @n variants of random weights, sizes and fates, in both families. */
static void random_service(struct lab *lab, uint32_t n)
{
	uint32_t weights[SHUNT_MAX_VARIANTS], members;

	lab_service(lab, 1, n);
	for (uint32_t v = 0; v < n; v++) {
		weights[v] = random_weight();
		lab_variant(lab, 1, v, v + 1);
		lab_split(lab, 1)->variant[v].seed = random64();
		SHUNT_DP_AT(lab->maps.overlay, struct shunt_overlay, v + 1)->tripped =
			random64() % 8 == 0;
		for (int f = 0; f < SHUNT_N_FAMILIES; f++) {
			lab->kind = &both[f];
			members = (uint32_t)(random64() % 12); /* 0: none */
			if (members)
				lab_ring(lab, 1, v, 1 + v * 20, members,
					 members + (uint32_t)(random64() % 3000));
		}
	}
	lab_weights(lab, 1, weights, n);
}

/* The walk in user space goes on to the backend's address, which must be of @family. */
static void backends_of(struct lab *lab, enum shunt_slot_index family)
{
	lab->kind = &both[family];
	for (uint32_t b = 1; b < 20 * SHUNT_MAX_VARIANTS; b++)
		lab_backend(lab, b, (b - 1) / 20 + 1);
}

static struct shunt_tuple random_tuple(uint32_t family)
{
	struct shunt_tuple tuple = { .family = (uint8_t)family };

	for (int w = family == SHUNT_V6 ? 0 : 3; w < 4; w++) {
		tuple.src.word_be[w] = (uint32_t)random64();
		tuple.dst.word_be[w] = (uint32_t)random64();
	}
	tuple.sport_be = (uint16_t)random64();
	tuple.dport_be = (uint16_t)random64();
	tuple.proto = random64() % 2 ? IPPROTO_TCP : IPPROTO_UDP;
	return tuple;
}

/* The programs' choices of all tuples, into the tuples' own records. */
static void choose_by_bpf(struct stage *stage, const struct lab *lab, uint32_t family)
{
	const struct shunt_service *service =
		SHUNT_DP_AT(lab->maps.services, struct shunt_service, 1);
	uint8_t frame[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = STAGE_TUPLES);

	*stage->input = (struct stage_input){
		.split = 1,
		.seed = service->seed,
		.affinity = service->slot[0].affinity,
		.prefix_len = service->slot[0].prefix_len[family],
	};
	cr_assert_eq(
		bpf_prog_test_run_opts(bpf_program__fd(stage->obj->progs.stage_choose_tc), &opts),
		0);
	cr_assert_eq(stage->input->next, STAGE_TUPLES);
	cr_assert_eq(opts.retval, 0);
}

static bool is_same(const struct lab *lab, const struct stage_tuple *bpf)
{
	struct shunt_choice user;

	shunt_choose_for_service(&lab->maps, 1, &bpf->tuple, 0, &user);
	return bpf->hash == user.hash && bpf->reason == user.reason &&
	       (bpf->reason == SHUNT_R_NO_WEIGHT || bpf->variant == user.variant) &&
	       (bpf->reason != SHUNT_R_FORWARDED || bpf->backend == user.backend);
}

Test(choice, a_million_tuples_are_chosen_alike_in_the_kernel_and_in_user_space)
{
	static const uint32_t n_variants[] = { 1, 2, 2, 3, 5, 16, 16, 9 };
	uint32_t mismatches = 0, reasons[SHUNT_R_MAX] = { 0 };
	struct stage stage;
	struct lab lab;

	lab_open(&lab, LAB_SETS);
	stage = stage_open(&lab);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		uint32_t family = round % 2;

		lab_reset(&lab, &both[family]);
		random_service(&lab, n_variants[round / 2 % ARRAY_LEN(n_variants)]);
		backends_of(&lab, family);
		lab_slot(&lab, 1, 0)->affinity = round % 3;
		lab_slot(&lab, 1, 0)->prefix_len[SHUNT_V4] = (uint8_t)(1 + random64() % 32);
		lab_slot(&lab, 1, 0)->prefix_len[SHUNT_V6] = (uint8_t)(1 + random64() % 128);
		for (uint32_t i = 0; i < STAGE_TUPLES; i++)
			stage.tuples[i] = (struct stage_tuple){ .tuple = random_tuple(family),
								.reason = SHUNT_R_MAX };
		choose_by_bpf(&stage, &lab, family);
		for (uint32_t i = 0; i < STAGE_TUPLES; i++) {
			mismatches += !is_same(&lab, &stage.tuples[i]);
			reasons[stage.tuples[i].reason]++;
		}
	}
	cr_expect_eq(mismatches, 0, "%u of %u tuples", mismatches, ROUNDS * STAGE_TUPLES);
	/* And it was about something: most of them were given a backend. */
	cr_expect_gt(reasons[SHUNT_R_FORWARDED], ROUNDS * STAGE_TUPLES / 2);
	cr_expect_gt(reasons[SHUNT_R_NO_BACKEND], 0);
	printf("%u tuples: %u forwarded, %u without backend, %u without weight\n",
	       ROUNDS * STAGE_TUPLES, reasons[SHUNT_R_FORWARDED], reasons[SHUNT_R_NO_BACKEND],
	       reasons[SHUNT_R_NO_WEIGHT]);
	stages__destroy(stage.obj);
	lab_close(&lab);
}
