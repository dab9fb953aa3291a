// SPDX-License-Identifier: Apache-2.0
/* The limiter alone: on two CPUs at once, and against the same code in user space. */
#include "lab.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <pthread.h>
#include <sched.h>

#include "datapath/flowmem.h"
#include "policy/rate.h"
#include "tests/bpf/stages.skel.h"
#include "stages.h"

TestSuite(limit_exact, .timeout = 300);

#define POLICY 1
#define S      1000000000ull

static const struct lab_kind kind = { "IPv4 TCP tc", SHUNT_V4, IPPROTO_TCP, LAB_TC };

struct scene {
	struct lab lab;
	struct stages *stages;
	struct stage_input *input;
	struct stage_event *events;
};

static void scene_open(struct scene *s, uint32_t unit, uint32_t scope, struct shunt_rate rate)
{
	struct shunt_policy_record *policy;

	lab_open(&s->lab, LAB_SETS);
	lab_reset(&s->lab, &kind);
	s->stages = stages__open();
	cr_assert_not_null(s->stages);
	lab_share_maps(&s->lab, s->stages->obj);
	cr_assert_eq(stages__load(s->stages), 0, "%m");
	s->input = lab_map_memory(s->stages->maps.stage_input);
	s->events = lab_map_memory(s->stages->maps.stage_events);
	s->input->policy = POLICY;
	policy = SHUNT_DP_AT(s->lab.maps.policies, struct shunt_policy_record, POLICY);
	policy->n_before = 1;
	policy->rate[0] = (struct shunt_limit){
		.rate = rate,
		.bucket = 1,
		.unit = (uint8_t)unit,
		.scope = (uint8_t)scope,
		.prefix_len = { 32, 128 },
	};
}

static void scene_close(struct scene *s)
{
	stages__destroy(s->stages);
	lab_close(&s->lab);
}

static void run(const struct scene *s, uint32_t repeat)
{
	uint8_t frame[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = (int)repeat);

	cr_assert_eq(
		bpf_prog_test_run_opts(bpf_program__fd(s->stages->progs.stage_limit_tc), &opts), 0);
}

static struct shunt_rate rate_of(uint64_t average, uint64_t period_ms, uint64_t burst)
{
	struct shunt_rate rate;
	struct shunt_err err;

	cr_assert_eq(shunt_rate_make(average, period_ms, burst, &rate, &err), 0, "%s", err.text);
	return rate;
}

static uint64_t admitted(const struct scene *s)
{
	struct shunt_limit_counters cells[256];
	uint32_t bucket = 1;
	uint64_t sum = 0;

	cr_assert_eq(bpf_map_lookup_elem(s->lab.maps.limit_counters_fd, &bucket, cells), 0);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		sum += cells[i].admitted;
	return sum;
}

/* ---- two CPUs, one key --------------------------------------------------------------------- */

/*
 * Time is a counter that both CPUs move on: a real clock would go on while neither asks, for this
 * machine has others to serve, and with a burst of 1 what nobody asks for is lost.
 */
struct hammer {
	const struct scene *scene;
	int cpu;
	uint64_t until_ns;
};

static void *hammer(void *arg)
{
	const struct hammer *h = arg;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(h->cpu, &cpus);
	pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	while (SHUNT_READ_ONCE(h->scene->input->clock_ns) < h->until_ns)
		run(h->scene, 1000);
	return NULL;
}

static void check_accuracy(uint32_t scope, uint64_t average, uint32_t step_ns, uint64_t ms)
{
	struct hammer h[2];
	pthread_t threads[2];
	uint64_t got, want;
	struct scene s;

	scene_open(&s, SHUNT_LIMIT_CONNECTIONS, scope, rate_of(average, 1000, 1));
	s.input->step_ns = step_ns;
	s.input->clock_ns = 100 * S;
	s.events[0].client.word_be[3] = 7;
	run(&s, 1); /* the burst */
	for (int i = 0; i < 2; i++) {
		h[i] = (struct hammer){ &s, i, 100 * S + ms * 1000000 };
		cr_assert_eq(pthread_create(&threads[i], NULL, hammer, &h[i]), 0);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	got = admitted(&s) - 1;
	want = (s.input->clock_ns - 100 * S) * average / S;
	printf("scope %u, %llu/s: %llu admitted, not %llu\n", scope, (unsigned long long)average,
	       (unsigned long long)got, (unsigned long long)want);
	/* One may come half an interval early, as in Traefik. */
	cr_expect_leq(got, want + want / 100 + 1, "%llu/s", (unsigned long long)average);
	cr_expect_geq(got + 1 + want / 100, want, "%llu/s", (unsigned long long)average);
	scene_close(&s);
}

Test(limit_exact, two_cpus_on_one_bucket_admit_what_its_rate_says)
{
	check_accuracy(SHUNT_LIMIT_SERVICE, 1, 2000, 5000);
	check_accuracy(SHUNT_LIMIT_SERVICE, 1000, 500, 1000);
	check_accuracy(SHUNT_LIMIT_SERVICE, 100000, 100, 200);
	check_accuracy(SHUNT_LIMIT_SERVICE, 1000000, 100, 200);
}

Test(limit_exact, two_cpus_on_one_client_admit_what_its_rate_says)
{
	check_accuracy(SHUNT_LIMIT_CLIENT, 1, 2000, 5000);
	check_accuracy(SHUNT_LIMIT_CLIENT, 1000, 500, 1000);
	check_accuracy(SHUNT_LIMIT_CLIENT, 1000000, 100, 200);
}

/* ---- the kernel's run against ours --------------------------------------------------------- */

static uint64_t random_word(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15ull;
	return shunt_mix64(*state);
}

/* As limit_find() and limit_take() do it, on tables of our own. */
static uint32_t ours(const struct shunt_dp_maps *maps, const struct shunt_limit *limit,
		     const struct stage_event *e)
{
	const struct shunt_settings *settings = shunt_ft_settings(maps);
	uint64_t hash = shunt_clients_hash(settings->table_key, limit->bucket, &e->client, SHUNT_V4,
					   limit->prefix_len[0]);
	uint32_t way = shunt_clients_bucket(maps, hash, e->now_ns);

	if (way == SHUNT_CLIENTS_NO_ROOM)
		return 0;
	return shunt_gcra_take(shunt_clients_word(maps, way), &limit->rate, e->units,
			       SHUNT_GCRA_MOST_PACKETS, e->now_ns)
		       ? 1
		       : 0;
}

Test(limit_exact, a_million_random_events_end_alike_in_the_kernel_and_here)
{
	uint64_t state = 42, clock = 7 * S, refused = 0, differ = 0;
	struct shunt_dp_maps mine;
	const struct shunt_limit *limit;
	struct scene s;
	size_t bytes;

	scene_open(&s, SHUNT_LIMIT_PACKETS, SHUNT_LIMIT_CLIENT, rate_of(1000, 1000, 20));
	limit = &SHUNT_DP_AT(s.lab.maps.policies, struct shunt_policy_record, POLICY)->rate[0];
	mine = s.lab.maps;
	bytes = (size_t)mine.client_sets.n * mine.client_sets.stride;
	mine.client_sets.base = calloc(1, bytes);
	cr_assert_not_null(mine.client_sets.base);
	for (int round = 0; round < 16; round++) {
		for (uint32_t i = 0; i < STAGE_TUPLES; i++) {
			uint64_t r = random_word(&state);

			/* More clients than there is room for; at times nothing for a while. */
			clock += r % 1000 ? r >> 40 & 0x3fff : 50000000;
			s.events[i] = (struct stage_event){
				.client.word_be[3] = (uint32_t)(r >> 20 & 1 ? r % 50 : r % 3000),
				.now_ns = clock - (r >> 8 & 255),
				.units = 1 + (r >> 16 & 31),
			};
		}
		s.input->next = 0;
		run(&s, STAGE_TUPLES);
		for (uint32_t i = 0; i < STAGE_TUPLES; i++) {
			uint32_t over = ours(&mine, limit, &s.events[i]);

			differ += over != s.events[i].over;
			refused += over;
		}
	}
	cr_expect_eq(differ, 0, "%llu answers differ", (unsigned long long)differ);
	cr_expect(refused > 10000 && refused < 1000000, "%llu", (unsigned long long)refused);
	cr_expect_eq(memcmp(mine.client_sets.base, s.lab.maps.client_sets.base, bytes), 0);
	free(mine.client_sets.base);
	scene_close(&s);
}
