// SPDX-License-Identifier: Apache-2.0
/*
 * libFuzzer over the stages: a scene and a conversation (steps.h), run twice under ASan and
 * UBSan: once as it is, once with every tc packet linear. What is linear must not
 * matter there; an XDP frame in several buffers cannot be made longer.
 *
 *	fuzz_stages [-max_total_time=60] corpus/
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "scene.h"
#include "script.h"
#include "steps.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a run did: its last packet and verdict, and a sum over all maps. */
struct outcome {
	uint64_t sum;
	struct history history;
};

static uint64_t mix(uint64_t sum, const void *data, size_t len)
{
	const uint8_t *d = data;
	uint64_t word;

	for (; len >= 8; len -= 8, d += 8) {
		memcpy(&word, d, 8);
		sum = (sum ^ word) * 0x9e3779b97f4a7c15ull;
	}
	for (; len; len--, d++)
		sum = (sum ^ *d) * 0x9e3779b97f4a7c15ull;
	return sum;
}

static void run(const uint8_t *data, size_t size, bool all_linear, struct outcome *out)
{
	struct rng rng = { .state = 1 + data[0] };
	struct shim_packet packet, sent;
	size_t at = 1;
	struct step step;
	bool egress;
	int verdict;

	out->sum = 0;
	out->history.n = out->history.untouched = 0;
	script = (struct script){ .jiffies = 1000,
				  .random = 1,
				  .gates = { objects_gate(0), objects_gate(1) } };
	scene_make(&rng);
	while (step_read(data, size, &at, &step)) {
		if (step.op == STEP_TIME)
			script.jiffies += step.value;
		else if (step.op == STEP_EDIT)
			scene_edit(step.a, (uint8_t)step.value);
		else if (step_packet(&step, &out->history, &packet, &egress)) {
			if (all_linear && !shim_is_xdp(&packet))
				packet.linear = UINT32_MAX;
			sent = packet;
			verdict = shim_run(&packet, egress);
			history_add(&out->history, &sent, &packet, egress);
			out->sum = mix(out->sum ^ (uint32_t)verdict, packet.data, packet.len);
		}
	}
	for (size_t i = 0; i < shim_n_maps; i++)
		if (strcmp(shim_maps[i].name, "shunt_scratch"))
			out->sum = mix(out->sum, shim_maps[i].values,
				       (size_t)shim_maps[i].n * shim_maps[i].stride);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	if (shim_start()) {
		perror("memory below 4 GiB");
		exit(2);
	}
	objects_open();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct outcome split, linear;

	if (!size)
		return 0;
	run(data, size, false, &split);
	run(data, size, true, &linear);
	if (split.sum != linear.sum) {
		fprintf(stderr, "another outcome when every packet is linear\n");
		abort();
	}
	return 0;
}
