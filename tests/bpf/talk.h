/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_BPF_TALK_H
#define SHUNT_TESTS_BPF_TALK_H

#include <string.h>

#include "lab.h"

/* A connection to service 1 through the gate. */
struct talk {
	struct lab *lab;
	struct lab_packet client;     /* its packets, as it sends them */
	struct lab_packet at_backend; /* what the backend sees of them */
	uint32_t seq[2];	      /* of the client, of the backend */
};

#define CLIENT	0
#define BACKEND 1

static inline struct talk talk_begin(struct lab *lab, uint16_t port)
{
	struct talk talk = { .lab = lab, .client = lab_from_client(lab, 1, port, 1) };

	talk.at_backend = lab_connect(lab, &talk.client);
	talk.seq[CLIENT] = 1001;
	talk.seq[BACKEND] = 5001;
	return talk;
}

/* A segment with @len bytes; a sequence number of its own if @again is not 0. */
static inline void say_bytes(struct talk *talk, int who, const void *bytes, uint32_t len,
			     uint32_t again)
{
	struct lab_packet packet = who == CLIENT ? talk->client : lab_answer(&talk->at_backend);
	struct lab_result result;
	struct lab_frame frame;
	uint32_t seq = again ? again : talk->seq[who];

	packet = lab_flags(packet, TH_ACK_ | TH_PSH_, seq, talk->seq[!who]);
	packet.payload = (uint16_t)len;
	packet_build(&packet, &frame);
	memcpy(frame.data + frame.len - len, bytes, len);
	packet_fix(&frame);
	result = who == CLIENT ? lab_ingress_frame(talk->lab, &frame)
			       : lab_egress_frame(talk->lab, &frame);
	CHECK_EQ(result.reason, who == CLIENT ? SHUNT_R_FORWARDED : SHUNT_R_RESTORED);
	CHECK(!memcmp(result.frame.data + result.frame.len - len, bytes, len));
	if (!again)
		talk->seq[who] += len;
}

static inline void say(struct talk *talk, int who, const char *text)
{
	say_bytes(talk, who, text, (uint32_t)strlen(text), 0);
}

#endif
