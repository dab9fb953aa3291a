// SPDX-License-Identifier: Apache-2.0
/* One CPU switches, the other sends packets: none may see half of the one and half of the other. */
#include "lab.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "shunt/compat.h"

TestSuite(switching, .timeout = 60);

#define PACKETS 20000
#define OF_EACH (PACKETS / 50) /* what each of the two gets at least */
#define AT_MOST (20 * PACKETS) /* on a host whose scheduler gives long slices to either thread */

static atomic_bool stop;

struct flipper {
	uint32_t *word;
	uint32_t values[2];
	atomic_ullong flips;
};

/* What the agent does when all is filled aside: one aligned store. */
static void *flip(void *arg)
{
	struct flipper *f = arg;

	while (!atomic_load(&stop)) {
		SHUNT_WRITE_ONCE(*f->word, f->values[atomic_fetch_add(&f->flips, 1) & 1]);
		for (int i = 0; i < 200; i++)
			__asm__ volatile("" : : : "memory");
	}
	return NULL;
}

/* Sends new flows while @f flips, until each of the backends 1 and 2 has got its part. */
static void send_meanwhile(struct lab *lab, struct flipper *f)
{
	uint32_t to[3] = { 0 }, code, n = 0;
	struct lab_packet packet;
	struct lab_frame in, out;
	pthread_t thread;
	bool sums_right;

	atomic_store(&stop, false);
	cr_assert_eq(pthread_create(&thread, NULL, flip, f), 0);
	while (!atomic_load(&f->flips))
		sched_yield();
	for (; n < PACKETS || (n < AT_MOST && (to[1] < OF_EACH || to[2] < OF_EACH)); n++) {
		packet = lab_from_client(lab, n, (uint16_t)(1024 + n % 50000), 1);
		packet_build(&packet, &in);
		cr_assert_eq(
			lab_run(lab, lab_ingress_fd(lab), lab->kind->hook, &in, 0, &out, &code), 0);
		packet_parse(&out, &packet, &sums_right);
		to[lab_backend_of(lab, &packet.dst) % 3]++;
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	CHECK_EQ(lab_reason(lab, SHUNT_R_FORWARDED), n);
	CHECK_EQ(to[1] + to[2], n);
	CHECK(to[1] >= OF_EACH && to[2] >= OF_EACH);
}

/* Service @service is whole in slot @slot only; in the other one it leads nowhere. */
static void half_service(struct lab *lab, uint32_t service, int slot)
{
	lab_service(lab, service, 1);
	lab_variant(lab, service, 0, service);
	lab_ring(lab, service, 0, service, 1, 1);
	lab_backend(lab, service, service);
	lab_slot(lab, service, !slot)->rule_first = 0;
	SHUNT_DP_AT(lab->maps.rules, struct shunt_rule, service)->split[!slot] = 0;
}

LAB_EACH(switching, no_packet_sees_a_mix_of_two_epochs, LAB_ONLY_UDP)
{
	struct flipper f = { &lab_settings(lab)->epoch, { 0, 1 }, 0 };

	half_service(lab, 1, 0);
	half_service(lab, 2, 1);
	lab_frontend(lab, lab_frontend_addr(k->family, 1), LAB_PORT, 1, 2, 0);
	send_meanwhile(lab, &f);
}

LAB_EACH(switching, no_packet_sees_a_mix_of_two_splits, LAB_ONLY_UDP)
{
	static const uint32_t none_but_last[] = { 0, 0, 1 };
	struct shunt_rule *rule = SHUNT_DP_AT(lab->maps.rules, struct shunt_rule, 1);
	struct flipper f = { &rule->split[0], { 1, 2 }, 0 };

	(void)k;
	/* The one has a variant, the other three, of which only the last has a weight and a ring.
	 */
	lab_scene(lab, 1, 1);
	*lab_split(lab, 2) = (struct shunt_split){ .service = 1, .n_variants = 3 };
	for (uint32_t v = 0; v < 3; v++)
		lab_variant(lab, 2, v, v + 2);
	lab_weights(lab, 2, none_but_last, 3);
	lab_ring(lab, 2, 2, 2, 1, 1);
	lab_backend(lab, 2, 4);
	send_meanwhile(lab, &f);
}
