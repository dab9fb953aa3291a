// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include "install_lab.h"

/*
 * One thread installs, another reads as a packet does. The reader's passes are what the
 * kernel's RCU sections are to the programs: a grace period waits for the one under way.
 */
#define SERVICES 50

struct reader {
	struct install_lab *lab;
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
	uint32_t second = SHUNT_READ_ONCE(split->variant[1].weight);

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
	generation = __atomic_load_n(&settings->generation, __ATOMIC_ACQUIRE);
	weight = read_rule(reader, reader->rules[0], generation & 1);
	for (int i = 1; i < SERVICES; i++)
		if (read_rule(reader, reader->rules[i], generation & 1) != weight)
			reader->mixes++;
	atomic_store(&reader->in_section, false);
	atomic_fetch_add(&reader->passes, 1);
	reader->generations += generation != *last_generation;
	*last_generation = generation;
}

static void *read_all_the_time(void *arg)
{
	struct reader *reader = arg;
	uint32_t last_generation = 0;

	while (!atomic_load(&reader->stop))
		read_once(reader, &last_generation);
	return NULL;
}

static void set_weight(struct lab_service *service, uint32_t weight)
{
	service->variants[0].weight = weight;
	service->variants[1].weight = 100 - weight;
}

/* @change: one install among many, given its number. Runs @n of them beside a reader. */
static void race(struct install_lab *lab, struct reader *reader, struct lab_service **services,
		 void (*change)(struct install_lab *lab, struct lab_service **services, int i),
		 int n)
{
	pthread_t thread;

	lab_install_ok(lab, services, SERVICES);
	for (int i = 0; i < SERVICES; i++)
		reader->rules[i] = lab_service_id(lab, services[i]->name);
	reader->lab = lab;
	lab->on_grace = wait_for_reader;
	lab->grace_arg = reader;
	cr_assert_eq(pthread_create(&thread, NULL, read_all_the_time, reader), 0);
	for (int i = 0; i < n; i++)
		change(lab, services, i);
	atomic_store(&reader->stop, true);
	pthread_join(thread, NULL);
	cr_log_info("%lu passes, %lu generations seen", atomic_load(&reader->passes),
		    reader->generations);
}

static void
with_services(struct reader *reader,
	      void (*change)(struct install_lab *lab, struct lab_service **services, int i), int n)
{
	static struct lab_service made[SERVICES];
	struct lab_service *services[SERVICES];
	struct install_lab lab;
	char name[16];

	for (int i = 0; i < SERVICES; i++) {
		snprintf(name, sizeof(name), "web-%02d", i);
		services[i] = &made[i];
		lab_service(services[i], name, i);
		lab_variant(services[i], "blue", 50, 1, 2);
		lab_variant(services[i], "green", 50, 2, 2);
	}
	lab_open(&lab, NULL);
	race(&lab, reader, services, change, n);
	lab_close(&lab);
	for (int i = 0; i < SERVICES; i++)
		lab_service_free(services[i]);
}

static void switch_all(struct install_lab *lab, struct lab_service **services, int i)
{
	for (int s = 0; s < SERVICES; s++)
		set_weight(services[s], 1 + i % 99);
	cr_assert(!lab_install_ok(lab, services, SERVICES).single_store);
}

Test(install_race, a_switch_of_fifty_services_is_never_seen_half_done)
{
	static struct reader reader;

	with_services(&reader, switch_all, 2000);
	cr_assert_eq(reader.mixes, 0, "%lu mixes", reader.mixes);
	cr_assert_eq(reader.torn, 0, "%lu torn records", reader.torn);
	cr_assert_gt(reader.generations, 100, "the two ran at the same time");
}

static void change_one(struct install_lab *lab, struct lab_service **services, int i)
{
	set_weight(services[7], 1 + i % 99);
	cr_assert(lab_install_ok(lab, services, SERVICES).single_store || i % 99 == 49);
	if (i % 40 == 0)
		shunt_installer_tick(lab->installer);
}

Test(install_race, a_single_store_never_shows_a_torn_record)
{
	static struct reader reader;

	with_services(&reader, change_one, 4000);
	cr_assert_eq(reader.torn, 0, "%lu torn records", reader.torn);
}
