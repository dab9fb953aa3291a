// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "install_lab.h"

/*
 * One weight change among a thousand services must not cost what all of them do. `make bench` has
 * the times; here a change is compared with the first install of the same run.
 */
#define SERVICES 1000
#define CHANGES	 200

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

static struct lab_service services[SERVICES];
static struct shunt_image_service *images[SERVICES];

static void install(struct install_lab *lab, struct shunt_install_result *ret_result)
{
	struct shunt_err err = { 0 };
	int r = shunt_install(lab->installer, (const struct shunt_image_service *const *)images,
			      SERVICES, ret_result, &err);

	cr_assert_eq(r, 0, "%s", err.text);
}

/* Five ready backends that no other service has. */
static void add_variant(struct lab_service *service, const char *name, unsigned number,
			unsigned from)
{
	struct shunt_model_variant *variant = lab_variant(service, name, 50, 0, 0);
	char text[32];

	for (unsigned b = 0; b < 5; b++) {
		snprintf(text, sizeof(text), "10.%u.%u.%u", number / 250, number % 250, from + b);
		lab_backend(variant, text);
	}
}

/* Return: ns from nothing to all services installed. */
static uint64_t first_install(struct install_lab *lab)
{
	struct shunt_install_result result;
	uint64_t began = now_ns(), compiled, done;
	char name[16];

	for (unsigned i = 0; i < SERVICES; i++) {
		snprintf(name, sizeof(name), "web-%04u", i);
		lab_service(&services[i], name, i);
		add_variant(&services[i], "blue", i, 1);
		add_variant(&services[i], "green", i, 101);
		images[i] = lab_compile(lab, &services[i]);
	}
	compiled = now_ns();
	install(lab, &result);
	done = now_ns();
	cr_log_info("1000 services: compiled in %.1f ms, visible after %.1f ms, done after %.1f ms",
		    (compiled - began) / 1e6, result.took_ns / 1e6, (done - compiled) / 1e6);
	return done - began;
}

Test(install_speed, one_weight_among_a_thousand_services)
{
	struct shunt_dp_sizes sizes = lab_sizes();
	struct shunt_install_result result;
	uint64_t took[CHANGES], whole;
	struct install_lab lab;

	sizes.services = 4096;
	sizes.variants = 8192;
	sizes.backends = 32768;
	sizes.frontends = 65536;
	sizes.ring_entries = 8388608;
	lab_open(&lab, &sizes);
	whole = first_install(&lab);
	for (unsigned i = 0; i < CHANGES; i++) {
		unsigned s = i * 37 % SERVICES;
		uint64_t began = now_ns();

		services[s].variants[0].weight = 51 + i;
		shunt_image_free(images[s]);
		images[s] = lab_compile(&lab, &services[s]);
		install(&lab, &result);
		took[i] = now_ns() - began;
		cr_assert(result.single_store);
	}
	qsort(took, CHANGES, sizeof(took[0]), by_size);
	cr_log_info("one weight: p50 %.3f ms, p99 %.3f ms, most %.3f ms", took[CHANGES / 2] / 1e6,
		    took[CHANGES * 99 / 100] / 1e6, took[CHANGES - 1] / 1e6);
	cr_expect_leq(took[CHANGES / 2] * 10, whole, "a change takes a tenth of all or more");
	for (unsigned i = 0; i < SERVICES; i++) {
		shunt_image_free(images[i]);
		lab_service_free(&services[i]);
	}
	lab_close(&lab);
}
