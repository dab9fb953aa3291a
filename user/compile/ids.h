/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_COMPILE_IDS_H
#define SHUNT_COMPILE_IDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"
#include "shunt/abi.h"

/*
 * Stable ids of services, variants and backends: indices into the maps. An id stays with
 * its name over recompiles and, because the agent seeds the table from the pinned maps,
 * over restarts. A released id is not given out again until shunt_ids_reclaim(): the
 * installer calls it when no flow and no packet refers to the index any more.
 */
enum shunt_id_kind {
	SHUNT_ID_SERVICE,
	SHUNT_ID_VARIANT,
	SHUNT_ID_BACKEND,
	SHUNT_ID_BUCKET,  /* of a limit */
	SHUNT_ID_ACCOUNT, /* of a Service: its ports count connections in being together */
	SHUNT_ID_BREAKER, /* an instance: of a service, of a variant or of a backend */
	SHUNT_N_ID_KINDS
};

#define SHUNT_ID_KEY_LEN 224

struct shunt_ids;

/* @limit: number of map entries per kind; ids run from 1 to limit - 1. NULL: out of memory. */
struct shunt_ids *shunt_ids_new(const uint32_t limit[SHUNT_N_ID_KINDS]);
void shunt_ids_free(struct shunt_ids *ids); /* NULL is fine */

/* The keys. @buf: SHUNT_ID_KEY_LEN bytes. Return: @buf. */
const char *shunt_id_service_key(char *buf, const char *namespace_, const char *name, uint16_t port,
				 uint8_t proto);
/* @port, @proto: the first of the service's ports that share the split. */
const char *shunt_id_variant_key(char *buf, const char *namespace_, const char *service,
				 uint16_t port, uint8_t proto, const char *variant);
const char *shunt_id_bucket_key(char *buf, const struct shunt_bucket_name *name);
const char *shunt_id_breaker_key(char *buf, const struct shunt_breaker_name *name);
const char *shunt_id_account_key(char *buf, const char *namespace_, const char *service);
const char *shunt_id_backend_key(char *buf, uint32_t variant_id, const struct shunt_ip *ip,
				 uint16_t port, uint8_t proto);

/* Return: the id of @key, given now or before, or 0 when the space is full or memory is out. */
uint32_t shunt_ids_get(struct shunt_ids *ids, enum shunt_id_kind kind, const char *key);

/* Return: the id of @key if it has one, else 0. */
uint32_t shunt_ids_find(const struct shunt_ids *ids, enum shunt_id_kind kind, const char *key);

/* Binds @key to @id, as read from the maps. Return: 0, -EEXIST, -ERANGE or -ENOMEM. */
int shunt_ids_adopt(struct shunt_ids *ids, enum shunt_id_kind kind, const char *key, uint32_t id);

/* Forgets @id's key and makes it free for others. */
void shunt_ids_reclaim(struct shunt_ids *ids, enum shunt_id_kind kind, uint32_t id);

/* Return: how many ids of @kind are bound. */
uint32_t shunt_ids_used(const struct shunt_ids *ids, enum shunt_id_kind kind);

/* Return: does @id belong to a key? */
bool shunt_ids_bound(const struct shunt_ids *ids, enum shunt_id_kind kind, uint32_t id);

/* Return: did a get fail since the last reclaim? Says which option an -ENOSPC is about. */
bool shunt_ids_ran_out(const struct shunt_ids *ids, enum shunt_id_kind kind);

#endif
