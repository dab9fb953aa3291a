/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_STAGES_MUTATE_H
#define SHUNT_TESTS_STAGES_MUTATE_H

#include "scene.h"
#include "steps.h"

/* The corpus, and steps that are drawn from it and changed. */

#define CORPUS_MAX 2048

struct corpus_frame {
	uint16_t len;
	const uint8_t *data; /* in a file */
	bool crafted;	     /* not found by libFuzzer */
};

struct corpus {
	struct {
		char name[64];
		uint8_t *data;
		size_t len; /* at least 1 */
	} files[CORPUS_MAX];
	struct corpus_frame frames[CORPUS_MAX]; /* of all files */
	size_t n_files, n_frames;
};

/* Reads every file of a directory, in the order of their names. Return: 0 or -errno. */
int corpus_load(struct corpus *corpus, const char *directory);

/*
 * A step drawn by @rng; for a frame its bytes are in @frame, SHIM_FRAME_MAX of them: one of the
 * corpus, mostly with addresses and ports of the scene, mostly changed a little.
 */
void mutate_step(const struct corpus *corpus, struct rng *rng, uint8_t *frame,
		 struct step *ret_step);

#endif
