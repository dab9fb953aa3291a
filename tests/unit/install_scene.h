/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_INSTALL_SCENE_H
#define TESTS_UNIT_INSTALL_SCENE_H

#include "install_lab.h"

/*
 * What the tests of the installer have in common: two services on one lab. web: blue 90, green
 * 10, three backends each; api: v1 and v2 alike, two each.
 */
extern struct install_lab lab;
extern struct lab_service web, api;
extern struct lab_service *const only_web[1];
extern struct lab_service *const both[2];

void setup(void);
void teardown(void);

#define AT(array, type, id) SHUNT_DP_AT(lab.maps.array, type, id)

uint32_t epoch(void);
struct shunt_frontend frontend_at(const char *text, uint16_t port); /* zero: none there */
void tick(void);

/* A live flow of @service to @backend, as the programs would make it, in way @way of set 0. */
void put_flow(uint32_t way, uint32_t service, uint32_t backend, uint32_t state);
void drop_flow(uint32_t way);

#endif
