// SPDX-License-Identifier: Apache-2.0
#include "newflows.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "undo.h" /* before the skeleton, which has one */
#include "bench/wrap.skel.h"

#define ALL	    65536u
#define CHUNK	    4096u   /* SYNs before their handshakes go on: few sets hold 4 of them */
#define PASSES	    4	    /* over all flows, in a round */
#define ONE_REPEAT  1000000 /* of one flow, in a round */
#define BACKEND_ISN 7000

static struct frame frames[NEWFLOW_PACKETS];
static uint32_t flow_index[ALL]; /* in the table, plus 1; 0: displaced by another SYN */

static const enum rig_program programs[] = {
	[NEWFLOW_SYN] = RIG_INGRESS,
	[NEWFLOW_ANSWER] = RIG_EGRESS,
	[NEWFLOW_ACK] = RIG_INGRESS,
};

static struct shunt_flow *flow_at(const struct rig *rig, uint32_t index)
{
	return SHUNT_DP_AT(rig->lab.maps->flows, struct shunt_flow, index);
}

static __u32 *tag_at(const struct rig *rig, uint32_t index)
{
	return &SHUNT_DP_AT(rig->lab.maps->flow_sets, struct shunt_flow_set,
			    index / SHUNT_FLOW_WAYS)
			->tag[index % SHUNT_FLOW_WAYS];
}

static __u64 *reply_at(const struct rig *rig, uint32_t way)
{
	return &SHUNT_DP_AT(rig->lab.maps->reply_sets, struct shunt_reply_set,
			    way / SHUNT_REPLY_WAYS)
			->way[way % SHUNT_REPLY_WAYS];
}

static void check_passed(const struct frame *in, const struct frame *out, const char *what)
{
	if (!memcmp(in->data + 14, out->data + 14, in->len - 14))
		bench_die("new flow: %s: not translated", what);
	if (!frame_sums_right(out))
		bench_die("new flow: %s: a checksum of the output is wrong", what);
}

/* Flow 0 as far as its SYN. Return: its index. */
static uint32_t make_one(struct rig *rig, struct frame *ret_out)
{
	uint64_t ref;

	rig_empty_table(rig);
	rig_pass(rig, RIG_INGRESS, "new flow: SYN", &frames[NEWFLOW_SYN], ret_out);
	ref = rig_find(rig, &frames[NEWFLOW_SYN]);
	if (!ref)
		bench_die("new flow: no entry was made");
	return SHUNT_FT_INDEX(ref);
}

/*
 * Tells the wrapper where each flow's answers come from, once and for all: the choice is a pure
 * function of the tuple.
 */
static void note_backends(struct rig *rig)
{
	uint32_t *known = rig->wrap->bss->backend_be, n = 0;

	rig_empty_table(rig);
	for (uint32_t i = 0; i < ALL; i++) {
		struct frame syn, sent;
		uint32_t addr, b = 0;

		frame_stamp(&frames[NEWFLOW_SYN], i, TH_SYN, &syn);
		rig_pass(rig, RIG_INGRESS, "new flow: SYN", &syn, &sent);
		memcpy(&addr, sent.data + 30, sizeof(addr));
		while (b < n && known[b] != addr)
			b++;
		if (b == n && n++ == ARRAY_LEN(rig->wrap->bss->backend_be))
			bench_die("new flow: more backends than expected");
		known[b] = addr;
		rig->wrap->bss->backend_of[i] = b;
	}
}

void newflow_prepare(struct rig *rig, const char *dst, uint16_t dport)
{
	struct frame sent, out;

	frame_build(&frames[NEWFLOW_SYN], dst, IPPROTO_TCP, dport, TH_SYN);
	make_one(rig, &sent);
	check_passed(&frames[NEWFLOW_SYN], &sent, "SYN");

	frame_answer(&sent, TH_SYN | TH_ACK, BACKEND_ISN, 1, &frames[NEWFLOW_ANSWER]);
	rig_pass(rig, RIG_EGRESS, "new flow: answer", &frames[NEWFLOW_ANSWER], &out);
	check_passed(&frames[NEWFLOW_ANSWER], &out, "answer");

	frame_build(&frames[NEWFLOW_ACK], dst, IPPROTO_TCP, dport, TH_ACK);
	frame_acknowledge(&frames[NEWFLOW_ACK], BACKEND_ISN + 1);
	rig_pass(rig, RIG_INGRESS, "new flow: ACK", &frames[NEWFLOW_ACK], &out);
	check_passed(&frames[NEWFLOW_ACK], &out, "ACK");
	note_backends(rig);
	rig_empty_table(rig);
}

/* ---- one flow, taken back before each packet ------------------------------------------------ */

/* What the flow's state is before a packet, and after it. */
static const uint32_t before[] = { SHUNT_F_FREE, SHUNT_F_SYN, SHUNT_F_SYN_ACK };
static const uint32_t after[] = { SHUNT_F_SYN, SHUNT_F_SYN_ACK, SHUNT_F_ESTABLISHED };

/* Tells the wrapper to take flow @index, which is half-open now, back before each packet. */
static void set_undo(struct rig *rig, uint32_t index, enum newflow_packet p)
{
	struct undo *undo = &rig->wrap->bss->undo;
	const struct shunt_flow *flow = flow_at(rig, index);

	undo->on = 1;
	undo->flow = index;
	undo->state = before[p];
	undo->reply_way = flow->reply_way - 1;
	undo->tag = p == NEWFLOW_SYN ? 0 : *tag_at(rig, index);
	undo->reply = p == NEWFLOW_SYN ? 0 : *reply_at(rig, flow->reply_way - 1);
}

static void measure_packet(struct rig *rig, uint32_t index, enum newflow_packet p, struct figure *f,
			   bool record)
{
	struct rig_walk walk = {
		.frame = &frames[p],
		.program = programs[p],
		.flows = 1,
		.n = ONE_REPEAT,
	};
	const struct shunt_flow *flow = flow_at(rig, index);
	uint32_t made, life = flow->life;
	double gross, empty;

	set_undo(rig, index, p);
	walk.empty = true;
	empty = rig_run(rig, &walk, &f->wrong);
	walk.empty = false;
	gross = rig_run(rig, &walk, &f->wrong);
	rig->wrap->bss->undo.on = 0;

	made = (flow->life - life) >> 8;
	if (SHUNT_LIFE_STATE(flow->life) != after[p] || made != (p ? 0 : ONE_REPEAT))
		bench_die("%s: not each packet did its work: life %x, then %x", f->name, life,
			  flow->life);
	figure_add(f, gross / walk.n, empty / walk.n, record);
	f->repeat = walk.n;
}

static void measure_one(struct rig *rig, struct newflow_case *c, bool record)
{
	struct frame out;
	uint32_t index = make_one(rig, &out);

	for (int p = 0; p < NEWFLOW_PACKETS; p++)
		measure_packet(rig, index, p, &c->figure[p], record);
	rig_empty_table(rig);
}

/* ---- 65 536 flows -----------------------------------------------------------------------------
 */

/* Runs @n packets of a walk. Adds to the sums, if any. */
static void run_some(struct rig *rig, enum newflow_packet p, uint32_t first, uint32_t n,
		     struct figure *f, double *sums)
{
	struct rig_walk walk = {
		.frame = &frames[p],
		.program = programs[p],
		.flows = ALL,
		.first = first,
		.n = n,
	};
	double ns = rig_run(rig, &walk, &f->wrong);

	if (!sums)
		return;
	sums[0] += ns;
	walk.empty = true;
	sums[1] += rig_run(rig, &walk, &f->wrong);
}

/* Notes where each flow stands. Return: how many lack. */
static uint32_t find_all(struct rig *rig)
{
	uint32_t missing = 0;

	for (uint32_t i = 0; i < ALL; i++) {
		uint32_t flow = rig_flow(RIG_BETWEEN, ALL, i);
		struct frame syn;
		uint64_t ref;

		frame_stamp(&frames[NEWFLOW_SYN], flow, TH_SYN, &syn);
		ref = rig_find(rig, &syn);
		flow_index[flow] = ref ? SHUNT_FT_INDEX(ref) + 1 : 0;
		missing += !ref;
	}
	return missing;
}

/* Takes all flows back to where their SYNs left them. */
static void make_half_open(struct rig *rig)
{
	for (uint32_t i = 0; i < ALL; i++) {
		uint32_t index = flow_index[rig_flow(RIG_BETWEEN, ALL, i)];
		struct shunt_flow *flow = flow_at(rig, index - 1);

		if (!index)
			continue;
		flow->life = SHUNT_LIFE_GEN(flow->life) | SHUNT_F_SYN;
		*tag_at(rig, index - 1) |= SHUNT_FT_HALF_OPEN;
	}
}

/* Removes all flows as the agent would. They must have been through the whole handshake. */
static void remove_all(struct rig *rig)
{
	for (uint32_t i = 0; i < ALL; i++) {
		uint32_t index = flow_index[rig_flow(RIG_BETWEEN, ALL, i)], life;

		if (!index)
			continue;
		life = flow_at(rig, index - 1)->life;
		if (SHUNT_LIFE_STATE(life) != SHUNT_F_ESTABLISHED ||
		    !shunt_ft_remove(rig->lab.maps, SHUNT_FT_REF(index - 1, life)))
			bench_die("new flow: a handshake left a flow in state %u",
				  SHUNT_LIFE_STATE(life));
	}
}

/*
 * One pass over all flows: their SYNs, a chunk at a time, with the rest of the handshakes before
 * the next; then, with all flows taken back to half-open, all answers; then all ACKs; then all
 * are removed.
 */
static void pass_all(struct rig *rig, struct newflow_case *c, double sums[NEWFLOW_PACKETS][2])
{
	struct figure *f = c->figure;
	uint32_t missing;

	if (c->cold)
		rig_empty_table(rig);
	for (uint32_t first = 0; first < ALL; first += CHUNK) {
		run_some(rig, NEWFLOW_SYN, first, CHUNK, &f[NEWFLOW_SYN], sums[NEWFLOW_SYN]);
		for (int p = NEWFLOW_ANSWER; p < NEWFLOW_PACKETS; p++)
			run_some(rig, p, first, CHUNK, &f[p], NULL);
	}
	missing = find_all(rig);
	if (missing > ALL / 1000)
		bench_die("new flow: %u of %u SYNs left no entry", missing, ALL);
	make_half_open(rig);
	for (int p = NEWFLOW_ANSWER; p < NEWFLOW_PACKETS; p++)
		run_some(rig, p, 0, ALL, &f[p], sums[p]);
	remove_all(rig);
}

static void measure_all(struct rig *rig, struct newflow_case *c, bool record)
{
	double sums[NEWFLOW_PACKETS][2] = {};

	for (int i = 0; i < PASSES; i++)
		pass_all(rig, c, sums);
	for (int p = 0; p < NEWFLOW_PACKETS; p++) {
		c->figure[p].repeat = PASSES * ALL;
		figure_add(&c->figure[p], sums[p][0] / (PASSES * ALL), sums[p][1] / (PASSES * ALL),
			   record);
	}
}

void newflow_measure(struct rig *rig, struct newflow_case *c, bool record)
{
	static const char *const packets[] = { "syn", "answer", "ack" };

	for (int p = 0; p < NEWFLOW_PACKETS; p++) {
		c->figure[p].flows = c->flows;
		snprintf(c->figure[p].name, sizeof(c->figure[p].name), "%s-%s", c->name,
			 packets[p]);
	}
	if (c->flows == 1)
		measure_one(rig, c, record);
	else
		measure_all(rig, c, record);
}
