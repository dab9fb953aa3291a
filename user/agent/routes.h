/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_ROUTES_H
#define SHUNT_AGENT_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shunt/abi.h"

/*
 * Routes, neighbours and rules of the host, for the programs that keep next hops
 * (bpf/nexthop.h). What has changed is not asked: all that they keep is forgotten.
 */

/* Return: a non-blocking descriptor that hears of all that decides a next hop, or -errno. */
int agent_routes_open(void);

struct agent_routes_news {
	bool any;   /* something changed, or messages were lost */
	bool rules; /* rules, too */
};

/* Reads all that waits on @fd. Return: 0 or -errno. */
int agent_routes_read(int fd, struct agent_routes_news *ret_news);

/* Does a rule look at sources? Then next hops are not a matter of destinations. 0, 1, -errno. */
int agent_rules_ask_sources(void);

/**
 * agent_neighbour_use - make the kernel find and keep the neighbour on the way to an address
 * @uplinks: interfaces of next hops that are wanted, @n of them
 *
 * Return: 1: asked; 0: there is no way to it, or none by an uplink; -errno.
 */
int agent_neighbour_use(int fd, const struct shunt_addr *addr, int family, const uint32_t *uplinks,
			size_t n);

#endif
