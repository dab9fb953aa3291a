// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "install_lab.h"

/*
 * One thread installs, another reads as a packet does. The reader's passes are what the
 * kernel's RCU sections are to the programs: a grace period waits for the one under way.
 */
#define SERVICES 50
#define SLOW	 7 /* the rule where a slow packet rests */

struct reader {
	struct install_lab *lab;
	cpu_set_t cpus; /* that the test may use */
	uint32_t rules[SERVICES];
	atomic_bool in_section, stop;
	atomic_ulong passes;
	unsigned long mixes, torn;
	unsigned long generations; /* how many the reader saw */
};

static void wait_for_reader(void *arg)
{
	struct reader *reader = arg;
	unsigned long pass = atomic_load(&reader->passes);

	while (atomic_load(&reader->in_section) && atomic_load(&reader->passes) == pass)
		sched_yield();
}

/* Return: the first variant's weight, by one rule; counts records that fit no install. */
static uint32_t read_rule(struct reader *reader, uint32_t rule, uint32_t slot)
{
	const struct shunt_dp_maps *maps = &reader->lab->maps;
	uint32_t index = __atomic_load_n(
		&SHUNT_DP_AT(maps->rules, struct shunt_rule, rule)->split[slot], __ATOMIC_ACQUIRE);
	const struct shunt_split *split = SHUNT_DP_AT(maps->splits, struct shunt_split, index);
	uint32_t first = SHUNT_READ_ONCE(split->variant[0].weight);
	uint32_t second;

	/* Now and then a slow packet, in the middle of a record. */
	if (rule == reader->rules[SLOW] && atomic_load(&reader->passes) % 16384 == 0)
		usleep(5000);
	second = SHUNT_READ_ONCE(split->variant[1].weight);
	if (!index || first + second != 100 ||
	    SHUNT_READ_ONCE(split->threshold) != shunt_threshold(first, second))
		reader->torn++;
	return first;
}

static void read_once(struct reader *reader, uint32_t *last_generation)
{
	const struct shunt_settings *settings =
		SHUNT_DP_AT(reader->lab->maps.settings, struct shunt_settings, 0);
	uint32_t generation, weight;

	atomic_store(&reader->in_section, true);
	generation = __atomic_load_n(&settings->epoch, __ATOMIC_ACQUIRE);
	weight = read_rule(reader, reader->rules[0], generation & 1);
	for (int i = 1; i < SERVICES; i++)
		if (read_rule(reader, reader->rules[i], generation & 1) != weight)
			reader->mixes++;
	atomic_store(&reader->in_section, false);
	atomic_fetch_add(&reader->passes, 1);
	reader->generations += generation != *last_generation;
	*last_generation = generation;
}

/* Each thread to a CPU of its own, or they take turns and never meet. */
static void run_on(const cpu_set_t *allowed, int which)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, allowed) || which--)
			continue;
		CPU_SET(cpu, &one);
		pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
		return;
	}
}

static void *read_all_the_time(void *arg)
{
	struct reader *reader = arg;
	uint32_t last_generation = 0;

	run_on(&reader->cpus, 1);
	while (!atomic_load(&reader->stop))
		read_once(reader, &last_generation);
	return NULL;
}

/* ---- the installing side ------------------------------------------------------------------------
 */

#define STATES 3 /* of weights; a record that is reused too early shows another state's */

struct bench {
	struct install_lab lab;
	struct lab_service services[SERVICES];
	struct shunt_image_service *images[STATES][SERVICES];
};

static void bench_open(struct bench *bench)
{
	char name[16];

	lab_open(&bench->lab, NULL);
	for (int s = 0; s < SERVICES; s++) {
		struct lab_service *service = &bench->services[s];

		snprintf(name, sizeof(name), "web-%02d", s);
		lab_service(service, name, s);
		lab_variant(service, "blue", 0, 1, 2);
		lab_variant(service, "green", 0, 2, 2);
		for (int state = 0; state < STATES; state++) {
			service->variants[0].weight = 20 + 20 * state;
			service->variants[1].weight = 80 - 20 * state;
			bench->images[state][s] = lab_compile(&bench->lab, service);
		}
	}
}

static void bench_close(struct bench *bench)
{
	for (int s = 0; s < SERVICES; s++) {
		for (int state = 0; state < STATES; state++)
			shunt_image_free(bench->images[state][s]);
		lab_service_free(&bench->services[s]);
	}
	lab_close(&bench->lab);
}

/* Return: was it a single store? */
static bool install(struct bench *bench, struct shunt_image_service *const *images)
{
	struct shunt_install_result result = { 0 };
	struct shunt_err err = { 0 };
	int r = shunt_install(bench->lab.installer,
			      (const struct shunt_image_service *const *)images, SERVICES, &result,
			      &err);

	cr_assert_eq(r, 0, "%s", err.text);
	return result.single_store;
}

static void switch_all(struct bench *bench, int i)
{
	cr_assert(!install(bench, bench->images[i % STATES]));
}

static void change_one(struct bench *bench, int i)
{
	struct shunt_image_service *images[SERVICES];

	memcpy(images, bench->images[0], sizeof(images));
	images[SLOW] = bench->images[i % STATES][SLOW];
	cr_assert(install(bench, images));
	if (i % 40 == 0)
		shunt_installer_tick(bench->lab.installer);
}

/* Runs @change @n times beside a reader. */
static void race(struct reader *reader, void (*change)(struct bench *bench, int i), int n)
{
	static struct bench bench;
	pthread_t thread;

	bench_open(&bench);
	install(&bench, bench.images[0]);
	for (int s = 0; s < SERVICES; s++)
		reader->rules[s] = lab_service_id(&bench.lab, bench.services[s].name);
	reader->lab = &bench.lab;
	bench.lab.on_grace = wait_for_reader;
	bench.lab.grace_arg = reader;
	sched_getaffinity(0, sizeof(reader->cpus), &reader->cpus);
	run_on(&reader->cpus, 0);
	cr_assert_eq(pthread_create(&thread, NULL, read_all_the_time, reader), 0);
	for (int i = 1; i <= n; i++)
		change(&bench, i);
	atomic_store(&reader->stop, true);
	pthread_join(thread, NULL);
	pthread_setaffinity_np(pthread_self(), sizeof(reader->cpus), &reader->cpus);
	cr_log_info("%lu passes, %lu generations seen", atomic_load(&reader->passes),
		    reader->generations);
	bench_close(&bench);
}

/* One test for both, or the runner would let them fight for the CPUs. */
Test(install_race, no_packet_sees_a_half_done_switch_or_a_torn_record)
{
	static struct reader switches, stores;

	race(&switches, switch_all, 10000);
	cr_assert_eq(switches.mixes, 0, "%lu mixes", switches.mixes);
	cr_assert_eq(switches.torn, 0, "%lu torn records", switches.torn);
	cr_assert_gt(switches.generations, 100, "the two ran at the same time");

	race(&stores, change_one, 10000);
	cr_assert_eq(stores.torn, 0, "%lu torn records", stores.torn);
}
