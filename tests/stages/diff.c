// SPDX-License-Identifier: Apache-2.0
/*
 * The stages twice: as the kernel runs them (BPF_PROG_TEST_RUN) and built for user space
 * (shim.h), on the same packets. Verdict and frame are compared after every packet, all maps
 * (flow table, counters, sessions) after every episode.
 *
 *	diff CORPUS-DIRECTORY [PACKETS [SEED]]
 *
 * First every conversation of the corpus, and every crafted frame of it cut at every byte, at every
 * hook; then mutants from a fixed seed until PACKETS have been compared. One line of figures;
 * exit status 1 after the first difference, which is printed with the frame.
 */
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mutate.h"
#include "objects.h"
#include "scene.h"
#include "script.h"
#include "shunt/reasons.h"
#include "steps.h"

#define EPISODE 10000 /* packets */

static struct {
	uint64_t packets, refused, episodes;
	uint64_t reasons[SHUNT_R_MAX];
} done;
static bool check_maps_always; /* while the packet of a difference is sought */

/* ---- one packet -------------------------------------------------------------------------------
 */

static void print_frame(const char *what, const struct shim_packet *p, int verdict)
{
	printf("%s: verdict %d, %u bytes:", what, verdict, p->len);
	for (uint32_t i = 0; i < p->len; i++)
		printf("%s%02x", i % 16 ? "" : " ", p->data[i]);
	putchar('\n');
}

/* What is dropped may be half rewritten, and hold what was in the headroom. */
static bool is_dropped(const struct shim_packet *p, int verdict)
{
	return shim_is_xdp(p) ? verdict == XDP_DROP : verdict == TC_ACT_SHOT;
}

/* Runs @packet on both sides. Return: did they agree? */
static bool compare(struct shim_packet *packet, bool egress)
{
	static const char *const hooks[] = { "tc", "XDP", "plain XDP" };
	static struct shim_packet in, theirs;
	int verdict, their_verdict;

	in = theirs = *packet;
	if (!objects_run(&theirs, egress, &their_verdict)) {
		done.refused++;
		return true;
	}
	if (!shim_is_xdp(packet))
		packet->linear = UINT32_MAX;
	verdict = shim_run(packet, egress);
	done.packets++;
	if (verdict == their_verdict && packet->len == theirs.len &&
	    (is_dropped(packet, verdict) || !memcmp(packet->data, theirs.data, packet->len)) &&
	    (!check_maps_always || objects_compare()))
		return true;
	printf("packet %llu differs: %s %s, gate %u, %u linear, %u segments, jiffies %llu\n",
	       (unsigned long long)done.packets, hooks[in.hook], egress ? "egress" : "ingress",
	       in.ifindex, in.linear, in.segments, (unsigned long long)script.jiffies);
	print_frame("in", &in, 0);
	print_frame("here", packet, verdict);
	print_frame("kernel", &theirs, their_verdict);
	return false;
}

/* One step. Return: false: a difference. */
static bool run_step(const struct step *step, struct history *history)
{
	struct shim_packet packet, sent;
	bool egress;

	if (step->op == STEP_TIME) {
		script.jiffies += step->value;
	} else if (step->op == STEP_EDIT) {
		objects_push(scene_edit(step->a, (uint8_t)step->value));
	} else if (step_packet(step, history, &packet, &egress)) {
		sent = packet;
		if (!compare(&packet, egress))
			return false;
		history_add(history, &sent, &packet, egress);
	}
	return true;
}

/* ---- episodes -----------------------------------------------------------------------------------
 */

static void episode_begin(struct rng *rng, struct history *history)
{
	history->n = 0;
	script = (struct script){ .jiffies = rng_draw(rng, 4000),
				  .random = 1,
				  .gates = { objects_gate(0), objects_gate(1) } };
	scene_make(rng);
	objects_push_all();
	done.episodes++;
}

static bool episode_end(void)
{
	for (uint32_t r = 0; r < SHUNT_R_MAX; r++)
		done.reasons[r] +=
			((struct shunt_reason_count *)shim_at("shunt_reasons", r))->packets;
	return objects_compare();
}

/* @n mutated steps. Return: false: a difference. */
static bool episode_mutants(const struct corpus *corpus, uint64_t seed, uint32_t n)
{
	struct rng rng = { .state = seed };
	static struct history history;
	uint8_t frame[SHIM_FRAME_MAX];
	struct step step;

	episode_begin(&rng, &history);
	for (uint32_t i = 0; i < n; i++) {
		mutate_step(corpus, &rng, frame, &step);
		if (!run_step(&step, &history))
			return false;
	}
	return episode_end();
}

static bool episode_file(const uint8_t *data, size_t size)
{
	struct rng rng = { .state = 1 + data[0] };
	static struct history history;
	struct step step;
	size_t at = 1;

	episode_begin(&rng, &history);
	while (step_read(data, size, &at, &step))
		if (!run_step(&step, &history))
			return false;
	return episode_end();
}

/* A frame cut at every byte, at every hook. */
static bool episode_cuts(const struct corpus_frame *frame)
{
	static const uint8_t hooks[] = { 0, STEP_EGRESS, STEP_XDP, STEP_PLAIN,
					 STEP_XDP | STEP_SPLIT };
	struct rng rng = { .state = 1 };
	static struct history history;
	struct step step = { .op = STEP_FRAME, .frame = frame->data };

	episode_begin(&rng, &history);
	for (size_t h = 0; h < sizeof(hooks); h++)
		for (step.len = 14; step.len <= frame->len; step.len++) {
			step.where = hooks[h];
			if (!run_step(&step, &history))
				return false;
		}
	return episode_end();
}

/* ---- all of it
 * ------------------------------------------------------------------------------------ */

static bool run_all(const struct corpus *corpus, uint64_t packets, uint64_t seed)
{
	uint64_t episode;

	for (size_t i = 0; i < corpus->n_files; i++)
		if (!episode_file(corpus->files[i].data, corpus->files[i].len)) {
			printf("in %s\n", corpus->files[i].name);
			return false;
		}
	for (size_t i = 0; i < corpus->n_frames; i++)
		if (corpus->frames[i].crafted && !episode_cuts(&corpus->frames[i]))
			return false;
	while (done.packets < packets) {
		episode = (seed << 40) + done.episodes + 1;
		if (episode_mutants(corpus, episode, EPISODE))
			continue;
		printf("again, all maps compared after every packet:\n");
		check_maps_always = true;
		episode_mutants(corpus, episode, EPISODE);
		return false;
	}
	return true;
}

static void print_figures(const struct corpus *corpus, bool same)
{
	static const char *const names[] = {
#define NAME(name, action, text) #name,
		SHUNT_REASONS(NAME)
#undef NAME
	};

	for (uint32_t r = 0; r < SHUNT_R_MAX; r++)
		printf("%12llu %s\n", (unsigned long long)done.reasons[r], names[r]);
	printf("%12llu frames that BPF_PROG_TEST_RUN refuses\n", (unsigned long long)done.refused);
	printf("%zu conversations, %zu frames, %llu episodes, %llu packets compared, %s\n",
	       corpus->n_files, corpus->n_frames, (unsigned long long)done.episodes,
	       (unsigned long long)done.packets, same ? "0 differences" : "1 difference");
}

int main(int argc, char **argv)
{
	uint64_t packets = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
	uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
	static struct corpus corpus;
	bool same;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 2 || argc > 4 || corpus_load(&corpus, argv[1])) {
		fprintf(stderr, "usage: diff CORPUS-DIRECTORY [PACKETS [SEED]]\n");
		return 2;
	}
	if (shim_start()) {
		perror("memory below 4 GiB");
		return 2;
	}
	objects_open();
	objects_load();
	same = run_all(&corpus, packets, seed);
	print_figures(&corpus, same);
	return !same;
}
