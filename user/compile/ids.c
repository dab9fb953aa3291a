// SPDX-License-Identifier: Apache-2.0
#include "compile/ids.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shunt/choose.h"

/*
 * One id space: a table from key to id, chained through arrays that are indexed by id, so
 * that nothing is allocated per key but the key itself.
 */
struct space {
	uint32_t limit;
	uint32_t used;
	uint32_t lowest;  /* no free id lies below */
	uint32_t mask;	  /* of bucket */
	uint32_t *bucket; /* first id of a chain, 0: empty */
	uint32_t *next;	  /* by id */
	char **key;	  /* by id; NULL: free */
	bool ran_out;
};

struct shunt_ids {
	struct space space[SHUNT_N_ID_KINDS];
};

static int space_init(struct space *space, uint32_t limit)
{
	uint32_t buckets = 16;

	while (buckets < limit)
		buckets <<= 1;
	space->limit = limit;
	space->lowest = 1;
	space->mask = buckets - 1;
	space->bucket = calloc(buckets, sizeof(*space->bucket));
	space->next = calloc(limit, sizeof(*space->next));
	space->key = calloc(limit, sizeof(*space->key));
	return space->bucket && space->next && space->key ? 0 : -ENOMEM;
}

struct shunt_ids *shunt_ids_new(const uint32_t limit[SHUNT_N_ID_KINDS])
{
	struct shunt_ids *ids = calloc(1, sizeof(*ids));

	if (!ids)
		return NULL;
	for (int kind = 0; kind < SHUNT_N_ID_KINDS; kind++) {
		if (space_init(&ids->space[kind], limit[kind] ? limit[kind] : 1) < 0) {
			shunt_ids_free(ids);
			return NULL;
		}
	}
	return ids;
}

void shunt_ids_free(struct shunt_ids *ids)
{
	if (!ids)
		return;
	for (int kind = 0; kind < SHUNT_N_ID_KINDS; kind++) {
		struct space *space = &ids->space[kind];

		for (uint32_t id = 0; space->key && id < space->limit; id++)
			free(space->key[id]);
		free(space->key);
		free(space->next);
		free(space->bucket);
	}
	free(ids);
}

/* '/' and '|' occur in no Kubernetes name, so the parts cannot run into each other. */
const char *shunt_id_service_key(char *buf, const char *namespace_, const char *name, uint16_t port,
				 uint8_t proto)
{
	snprintf(buf, SHUNT_ID_KEY_LEN, "%s/%s|%u|%u", namespace_, name, port, proto);
	return buf;
}

const char *shunt_id_variant_key(char *buf, const char *namespace_, const char *service,
				 uint16_t port, uint8_t proto, const char *variant)
{
	snprintf(buf, SHUNT_ID_KEY_LEN, "%s/%s|%u|%u|%s", namespace_, service, port, proto,
		 variant);
	return buf;
}

const char *shunt_id_backend_key(char *buf, uint32_t variant_id, const struct shunt_ip *ip,
				 uint16_t port, uint8_t proto)
{
	const __be32 *word = ip->addr.word_be;

	snprintf(buf, SHUNT_ID_KEY_LEN, "%u|%u|%x:%x:%x:%x|%u|%u", variant_id, ip->family, word[0],
		 word[1], word[2], word[3], port, proto);
	return buf;
}

const char *shunt_id_bucket_key(char *buf, const struct shunt_bucket_name *name)
{
	snprintf(buf, SHUNT_ID_KEY_LEN, "%s/%s|%u|%u|%llx|%u|%u", name->namespace_, name->service,
		 ntohs(name->port_be), name->proto, (unsigned long long)name->limit,
		 name->is_at_once, name->variant_index);
	return buf;
}

const char *shunt_id_breaker_key(char *buf, const struct shunt_breaker_name *name)
{
	snprintf(buf, SHUNT_ID_KEY_LEN, "%s/%s|%u|%u|%u|%u|%u", name->namespace_, name->service,
		 ntohs(name->port_be), name->proto, name->scope, name->variant_index,
		 name->backend_index);
	return buf;
}

const char *shunt_id_account_key(char *buf, const char *namespace_, const char *service)
{
	snprintf(buf, SHUNT_ID_KEY_LEN, "%s/%s", namespace_, service);
	return buf;
}

static uint32_t *chain(const struct space *space, const char *key)
{
	return &space->bucket[shunt_name_seed(key) & space->mask];
}

static uint32_t space_find(const struct space *space, const char *key)
{
	for (uint32_t id = *chain(space, key); id; id = space->next[id])
		if (!strcmp(space->key[id], key))
			return id;
	return 0;
}

static int space_bind(struct space *space, const char *key, uint32_t id)
{
	uint32_t *head = chain(space, key);

	space->key[id] = strdup(key);
	if (!space->key[id])
		return -ENOMEM;
	space->next[id] = *head;
	*head = id;
	space->used++;
	return 0;
}

uint32_t shunt_ids_get(struct shunt_ids *ids, enum shunt_id_kind kind, const char *key)
{
	struct space *space = &ids->space[kind];
	uint32_t id = space_find(space, key);

	if (id)
		return id;
	for (id = space->lowest; id < space->limit && space->key[id]; id++)
		;
	space->lowest = id;
	if (id >= space->limit) {
		space->ran_out = true;
		return 0;
	}
	return space_bind(space, key, id) < 0 ? 0 : id;
}

uint32_t shunt_ids_find(const struct shunt_ids *ids, enum shunt_id_kind kind, const char *key)
{
	return space_find(&ids->space[kind], key);
}

int shunt_ids_adopt(struct shunt_ids *ids, enum shunt_id_kind kind, const char *key, uint32_t id)
{
	struct space *space = &ids->space[kind];

	if (!id || id >= space->limit)
		return -ERANGE;
	if (space->key[id] || space_find(space, key))
		return -EEXIST;
	return space_bind(space, key, id);
}

void shunt_ids_reclaim(struct shunt_ids *ids, enum shunt_id_kind kind, uint32_t id)
{
	struct space *space = &ids->space[kind];
	uint32_t *link;

	if (!id || id >= space->limit || !space->key[id])
		return;
	for (link = chain(space, space->key[id]); *link != id; link = &space->next[*link])
		;
	*link = space->next[id];
	free(space->key[id]);
	space->key[id] = NULL;
	space->used--;
	if (id < space->lowest)
		space->lowest = id;
	space->ran_out = false;
}

uint32_t shunt_ids_used(const struct shunt_ids *ids, enum shunt_id_kind kind)
{
	return ids->space[kind].used;
}

bool shunt_ids_bound(const struct shunt_ids *ids, enum shunt_id_kind kind, uint32_t id)
{
	return id && id < ids->space[kind].limit && ids->space[kind].key[id];
}

bool shunt_ids_ran_out(const struct shunt_ids *ids, enum shunt_id_kind kind)
{
	return ids->space[kind].ran_out;
}
