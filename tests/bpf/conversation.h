/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_BPF_CONVERSATION_H
#define SHUNT_TESTS_BPF_CONVERSATION_H

#include "lab.h"

/* One connection of client 1 to service 1 with one backend, as far as a test has taken it. */
struct conversation {
	struct lab_packet client; /* the first packet, as the client sends it */
	struct lab_packet answer; /* the first answer, as the backend sends it */
};

static inline struct conversation begin(struct lab *lab)
{
	struct conversation c;
	struct lab_result there;

	lab_scene(lab, 1, 1);
	c.client = lab_from_client(lab, 1, 4000, 1);
	there = lab_ingress(lab, &c.client);
	cr_assert_eq(there.reason, SHUNT_R_FORWARDED);
	c.answer = lab_answer(&there.packet);
	return c;
}

static inline struct conversation established(struct lab *lab)
{
	struct conversation c;

	lab_scene(lab, 1, 1);
	c.client = lab_from_client(lab, 1, 4000, 1);
	c.answer = lab_connect(lab, &c.client);
	c.answer = lab_answer(&c.answer);
	return c;
}

static inline struct lab_result from_client(struct lab *lab, const struct conversation *c,
					    uint8_t flags, uint32_t seq, uint32_t ack)
{
	struct lab_packet packet = lab_flags(c->client, flags, seq, ack);

	return lab_ingress(lab, &packet);
}

static inline struct lab_result from_backend(struct lab *lab, const struct conversation *c,
					     uint8_t flags, uint32_t seq, uint32_t ack)
{
	struct lab_packet packet = lab_flags(c->answer, flags, seq, ack);

	return lab_egress(lab, &packet);
}

#endif
