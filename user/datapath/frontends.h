/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_FRONTENDS_H
#define SHUNT_DATAPATH_FRONTENDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

/*
 * The installer's mirror of the hash map shunt_frontends, so that comparing needs no system
 * call. Addresses of services and of backends share the map, hence the elements.
 */
struct shunt_fe {
	struct shunt_frontend_key key;
	struct shunt_frontend written; /* what the map holds, but for check; zero: no element */
	uint32_t n_backends;	       /* live backend indices at this address */
	uint32_t want;		       /* service that is to stand here, if mark is current */
	bool want_balancer;	       /* as a load balancer's address */
	uint32_t mark;		       /* of the install that set these two */
	struct shunt_fe *next;
};

struct shunt_frontends {
	int map_fd;
	struct shunt_fe **bucket;
	uint32_t mask;
};

/* Reads the map. Return: 0 or -errno. */
int shunt_frontends_init(struct shunt_frontends *frontends, int map_fd);
void shunt_frontends_done(struct shunt_frontends *frontends);

/* The key of an address; @port in host order. */
struct shunt_frontend_key shunt_frontend_key(const struct shunt_ip *ip, uint16_t port,
					     uint8_t proto);

/* Return: the element of @key, made (in the mirror only) if it is missing; NULL: no memory. */
struct shunt_fe *shunt_frontends_get(struct shunt_frontends *frontends,
				     const struct shunt_frontend_key *key);

/* Brings the map's element to @value (its check is ours to set); all zero deletes it. Return: 0,
 * -ENOSPC or -errno. */
int shunt_frontends_write(struct shunt_frontends *frontends, struct shunt_fe *fe,
			  const struct shunt_frontend *value);

/* Return: the next element after @fe (NULL: the first), or NULL. */
struct shunt_fe *shunt_frontends_next(const struct shunt_frontends *frontends,
				      const struct shunt_fe *fe);

/* Forgets elements that the map does not hold and no backend needs. */
void shunt_frontends_trim(struct shunt_frontends *frontends);

#endif
