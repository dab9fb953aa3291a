/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_STAGES_SCENE_H
#define SHUNT_TESTS_STAGES_SCENE_H

#include <stdint.h>

#include "shim.h"
#include "shunt/abi.h"

/* What an installer would have written, of every kind, in the maps in memory. */

/* xorshift64*: rand() differs between C libraries. */
struct rng {
	uint64_t state; /* never 0 */
};

uint32_t rng_draw(struct rng *rng, uint32_t bound); /* 0..bound-1 */

#define SCENE_CLIENTS	   4 /* addresses, 0.. */
#define SCENE_CLIENT_PORTS 8 /* from SCENE_CLIENT_PORT */
#define SCENE_CLIENT_PORT  4000
#define SCENE_FRONTENDS	   4 /* of each family and protocol */
#define SCENE_BACKENDS	   6
#define SCENE_VARIANTS	   3 /* of each frontend */
#define SCENE_PORT	   80
#define SCENE_BACKEND_PORT 8080

/* 10.NET.0.N, fd00:NET::N in network order: what corpus frames are made with. */
enum scene_net { SCENE_CLIENT = 1, SCENE_BACKEND = 2, SCENE_NODE = 3, SCENE_FRONTEND = 96 };
struct shunt_addr scene_addr(enum shunt_slot_index family, enum scene_net net, uint32_t n);

/* The index of variant @n of service @service. */
uint32_t scene_variant(uint32_t service, uint32_t n);

/*
 * Empties all maps and writes a scene, settings, flags and routes drawn by @rng: for each family
 * and protocol a plain owned service, a shared one with sessions over the same backends, one with
 * flags drawn, and one that the configuration leaves half done. Half of
 * the scenes have policies (policies.h).
 */
void scene_make(struct rng *rng);

/* Changes something, as an installer or the passing of time might. Return: the map. */
const struct shim_map *scene_edit(uint8_t what, uint8_t value);

#endif
