/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_MODEL_OVERRIDE_STATE_H
#define SHUNT_MODEL_OVERRIDE_STATE_H

#include <jansson.h>

#include "model/override.h"
#include "model/service_key.h"

/* Inside of struct shunt_overrides; for override*.c, drain.c and history.c only. */

/* All that is remembered of one service. */
struct shunt_record {
	struct shunt_service_key key; /* first: shunt_service_key_find() */
	uint64_t digest; /* of the manifest that override and variant drains stand above */
	struct shunt_change *override; /* NULL: none */
	struct shunt_drain *drains;
	size_t n_drains;
	struct shunt_change **history; /* newest first */
	size_t n_history;
	int64_t seen_ms; /* when the model last had the service; 0: not since the start */
};

struct shunt_overrides {
	char *overrides_path; /* NULL: nothing is kept */
	char *history_path;
	struct shunt_record *records; /* sorted by key */
	size_t n_records;
	bool overrides_unsaved;
	bool history_unsaved;	/* the file lacks something: write it as a whole */
	size_t n_history_lines; /* in the file */
};

/* Return: the record of @service, borrowed, or NULL. */
struct shunt_record *shunt_record_find(const struct shunt_overrides *overrides,
				       const struct shunt_model_service *service);

/**
 * shunt_record_claim - find the record of @service and make it its alone
 * @create: make one if there is none
 *
 * A record that was found by a common port takes over the ports of @service, so that of two
 * services into which one was split, the second gets a record of its own.
 *
 * Return: 1 with *ret_record, 0: there is none, -ENOMEM.
 */
int shunt_record_claim(struct shunt_overrides *overrides, const struct shunt_model_service *service,
		       bool create, struct shunt_record **ret_record);

/* The same by key, which is taken over and emptied. */
struct shunt_record *shunt_record_get_by_key(struct shunt_overrides *overrides,
					     struct shunt_service_key *key);

void shunt_record_free(struct shunt_record *record); /* contents */
void shunt_change_free(struct shunt_change *change); /* NULL is fine */

/* A change without weights. NULL: out of memory. */
struct shunt_change *shunt_change_new(const struct shunt_cause *cause, int64_t when_ms);

/* Takes drain @i out. */
void shunt_record_end_drain(struct shunt_record *record, size_t i);

/* Ends what stood above another manifest than @digest. Return: whether anything did. */
bool shunt_record_end_outdated(struct shunt_record *record, uint64_t digest);

/* Puts a drain into @service. Return: whether its target is there. */
bool shunt_drain_apply(const struct shunt_drain *drain, struct shunt_model_service *service);

/* Writes overrides.json. Return: 0, or 1 with @err. */
int shunt_overrides_save(struct shunt_overrides *overrides, struct shunt_err *err);

/* Cuts @text off at a character's end and makes it fit for JSON. */
void shunt_reason_copy(char reason[256], const char *text);

/* {"when_ms","who_uid","command","reason","from":{variant:n},"to":{}}; NULL: out of memory. */
json_t *shunt_change_to_json(const struct shunt_change *change);

/* Return: 0, -EINVAL or -ENOMEM. */
int shunt_change_from_json(const json_t *json, struct shunt_change **ret_change);

/* Adds "namespace", "name", "ports" to @json. Return: 0 or -ENOMEM. */
int shunt_key_to_json(const struct shunt_service_key *key, json_t *json);
int shunt_key_from_json(const json_t *json, struct shunt_service_key *ret_key);

/* All of overrides.json. NULL: out of memory. */
json_t *shunt_records_to_json(const struct shunt_overrides *overrides);

/* Puts what overrides.json says into empty records. Return: 0, -EINVAL or -ENOMEM. */
int shunt_records_from_json(struct shunt_overrides *overrides, const json_t *json);

/**
 * shunt_history_load - read history.jsonl
 *
 * Return: 0; 1: some lines were damaged, the file is moved aside and said in @err; -errno.
 */
int shunt_history_load(struct shunt_overrides *overrides, struct shunt_err *err);

/* Writes the whole history. Return: 0 or -errno. */
int shunt_history_compact(struct shunt_overrides *overrides);

#endif
