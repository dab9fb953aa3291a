// SPDX-License-Identifier: Apache-2.0
#include "model/override_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static void key_freep(struct shunt_service_key *key)
{
	shunt_service_key_free(key);
}

static void change_freep(struct shunt_change **change)
{
	shunt_change_free(*change);
}

static void json_freep(json_t **json)
{
	json_decref(*json);
}

void shunt_change_free(struct shunt_change *change)
{
	if (!change)
		return;
	free(change->from);
	free(change->to);
	free(change);
}

void shunt_record_free(struct shunt_record *record)
{
	shunt_service_key_free(&record->key);
	shunt_change_free(record->override);
	free(record->drains);
	for (size_t i = 0; i < record->n_history; i++)
		shunt_change_free(record->history[i]);
	free(record->history);
	memset(record, 0, sizeof(*record));
}

struct shunt_record *shunt_record_find(const struct shunt_overrides *overrides,
				       const struct shunt_model_service *service)
{
	return shunt_service_key_find(overrides->records, overrides->n_records,
				      sizeof(*overrides->records), service);
}

/* Return: the place of the first record that is not before @key. */
static size_t lower_bound(const struct shunt_overrides *overrides,
			  const struct shunt_service_key *key)
{
	size_t low = 0, high = overrides->n_records;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (shunt_service_key_cmp(&overrides->records[mid].key, key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct shunt_record *shunt_record_get_by_key(struct shunt_overrides *overrides,
					     struct shunt_service_key *key)
{
	size_t at = lower_bound(overrides, key);
	struct shunt_record *records;

	if (at < overrides->n_records && !shunt_service_key_cmp(&overrides->records[at].key, key)) {
		shunt_service_key_free(key);
		return &overrides->records[at];
	}
	records = reallocarray(overrides->records, overrides->n_records + 1, sizeof(*records));
	if (!records)
		return NULL;
	overrides->records = records;
	memmove(&records[at + 1], &records[at], (overrides->n_records - at) * sizeof(*records));
	overrides->n_records++;
	records[at] = (struct shunt_record){ .key = *key };
	memset(key, 0, sizeof(*key));
	return &records[at];
}

static int record_cmp(const void *a, const void *b)
{
	return shunt_service_key_cmp(a, b);
}

/* Gives @record another key and puts it where it belongs. */
static struct shunt_record *rename_record(struct shunt_overrides *overrides,
					  struct shunt_record *record,
					  struct shunt_service_key *key)
{
	const struct shunt_service_key found = *key;

	shunt_service_key_free(&record->key);
	record->key = *key;
	memset(key, 0, sizeof(*key));
	qsort(overrides->records, overrides->n_records, sizeof(*record), record_cmp);
	return &overrides->records[lower_bound(overrides, &found)];
}

int shunt_record_claim(struct shunt_overrides *overrides, const struct shunt_model_service *service,
		       bool create, struct shunt_record **ret_record)
{
	CLEANUP(key_freep) struct shunt_service_key key = { 0 };
	struct shunt_record *record = shunt_record_find(overrides, service);

	if (!record && !create)
		return 0;
	if (shunt_service_key_of(service, &key) < 0)
		return -ENOMEM;
	if (!record)
		record = shunt_record_get_by_key(overrides, &key);
	else if (strcmp(record->key.ports, key.ports))
		record = rename_record(overrides, record, &key);
	if (!record)
		return -ENOMEM;
	*ret_record = record;
	return 1;
}

void shunt_reason_copy(char reason[256], const char *text)
{
	size_t len = strnlen(text, 255);
	json_t *valid;

	if (text[len])
		while (len && ((unsigned char)text[len] & 0xc0) == 0x80)
			len--;
	memset(reason, 0, 256);
	memcpy(reason, text, len);

	valid = json_string(reason);
	for (size_t i = 0; !valid && i < len; i++)
		if ((unsigned char)reason[i] >= 0x80)
			reason[i] = '?';
	json_decref(valid);
}

struct shunt_change *shunt_change_new(const struct shunt_cause *cause, int64_t when_ms)
{
	struct shunt_change *change = calloc(1, sizeof(*change));

	if (!change)
		return NULL;
	change->when_ms = when_ms;
	change->who_uid = cause->who_uid;
	snprintf(change->command, sizeof(change->command), "%s", cause->command);
	shunt_reason_copy(change->reason, cause->reason ? cause->reason : "");
	return change;
}

static json_t *weights_to_json(const struct shunt_weight *weights, size_t n)
{
	json_t *json = json_object();

	for (size_t i = 0; json && i < n; i++)
		if (json_object_set_new(json, weights[i].variant,
					json_integer(weights[i].weight))) {
			json_decref(json);
			return NULL;
		}
	return json;
}

/* {variant:n} of a file. Return: 0, -EINVAL or -ENOMEM. */
static int weights_from_json(json_t *json, struct shunt_weight **ret_weights, size_t *ret_n)
{
	CLEANUP(freep) struct shunt_weight *weights = NULL;
	const char *variant;
	json_t *weight;
	size_t n = 0;

	if (!json_is_object(json) || json_object_size(json) > SHUNT_MAX_VARIANTS)
		return -EINVAL;
	weights = calloc(json_object_size(json) + 1, sizeof(*weights));
	if (!weights)
		return -ENOMEM;
	json_object_foreach (json, variant, weight) {
		json_int_t value = json_integer_value(weight);

		if (!json_is_integer(weight) || value < 0 || value > SHUNT_MAX_WEIGHT ||
		    strlen(variant) >= sizeof(weights->variant))
			return -EINVAL;
		strcpy(weights[n].variant, variant);
		weights[n++].weight = value;
	}
	*ret_weights = TAKE_PTR(weights);
	*ret_n = n;
	return 0;
}

json_t *shunt_change_to_json(const struct shunt_change *change)
{
	return json_pack("{s:I, s:I, s:s, s:s, s:o, s:o}", "when_ms", (json_int_t)change->when_ms,
			 "who_uid", (json_int_t)change->who_uid, "command", change->command,
			 "reason", change->reason, "from",
			 weights_to_json(change->from, change->n_from), "to",
			 weights_to_json(change->to, change->n_to));
}

int shunt_change_from_json(const json_t *json, struct shunt_change **ret_change)
{
	CLEANUP(change_freep) struct shunt_change *change = NULL;
	struct shunt_cause cause = { 0 };
	json_int_t when_ms, who_uid;
	json_t *from, *to;
	int r;

	if (json_unpack((json_t *)json, "{s:I, s:I, s:s, s:s, s:o, s:o}", "when_ms", &when_ms,
			"who_uid", &who_uid, "command", &cause.command, "reason", &cause.reason,
			"from", &from, "to", &to))
		return -EINVAL;
	cause.who_uid = who_uid;
	change = shunt_change_new(&cause, when_ms);
	if (!change)
		return -ENOMEM;
	r = weights_from_json(from, &change->from, &change->n_from);
	if (!r)
		r = weights_from_json(to, &change->to, &change->n_to);
	if (r < 0)
		return r;
	*ret_change = TAKE_PTR(change);
	return 0;
}

int shunt_key_to_json(const struct shunt_service_key *key, json_t *json)
{
	if (json_object_set_new(json, "namespace", json_string(key->namespace_)) ||
	    json_object_set_new(json, "name", json_string(key->name)) ||
	    json_object_set_new(json, "ports", json_string(key->ports)))
		return -ENOMEM;
	return 0;
}

int shunt_key_from_json(const json_t *json, struct shunt_service_key *ret_key)
{
	struct shunt_service_key key;
	const char *namespace_, *name, *ports;

	if (json_unpack((json_t *)json, "{s:s, s:s, s:s}", "namespace", &namespace_, "name", &name,
			"ports", &ports))
		return -EINVAL;
	key.namespace_ = strdup(namespace_);
	key.name = strdup(name);
	key.ports = strdup(ports);
	if (!key.namespace_ || !key.name || !key.ports) {
		shunt_service_key_free(&key);
		return -ENOMEM;
	}
	*ret_key = key;
	return 0;
}

static json_t *drains_to_json(const struct shunt_record *record)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < record->n_drains; i++) {
		const struct shunt_drain *drain = &record->drains[i];
		json_t *item = json_pack("{s:s, s:b, s:I, s:I, s:I, s:s}", "target", drain->target,
					 "is_backend", drain->is_backend, "deadline_s",
					 (json_int_t)drain->deadline_s, "when_ms",
					 (json_int_t)drain->when_ms, "who_uid",
					 (json_int_t)drain->who_uid, "reason", drain->reason);

		if (json_array_append_new(list, item)) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static int drain_from_json(json_t *json, struct shunt_drain *drain)
{
	json_int_t deadline_s, when_ms, who_uid;
	const char *target, *reason;
	int is_backend;

	if (json_unpack(json, "{s:s, s:b, s:I, s:I, s:I, s:s}", "target", &target, "is_backend",
			&is_backend, "deadline_s", &deadline_s, "when_ms", &when_ms, "who_uid",
			&who_uid, "reason", &reason))
		return -EINVAL;
	if (strlen(target) >= sizeof(drain->target) || deadline_s < 0 || deadline_s > UINT32_MAX)
		return -EINVAL;
	strcpy(drain->target, target);
	shunt_reason_copy(drain->reason, reason);
	drain->is_backend = is_backend;
	drain->deadline_s = deadline_s;
	drain->when_ms = when_ms;
	drain->who_uid = who_uid;
	return 0;
}

static int drains_from_json(json_t *list, struct shunt_record *record)
{
	json_t *item;
	size_t i;
	int r;

	if (!json_is_array(list) || record->drains)
		return -EINVAL;
	record->drains = calloc(json_array_size(list) + 1, sizeof(*record->drains));
	if (!record->drains)
		return -ENOMEM;
	json_array_foreach (list, i, item) {
		r = drain_from_json(item, &record->drains[i]);
		if (r < 0)
			return r;
		record->n_drains++;
	}
	return 0;
}

/* {"namespace","name","ports","digest","drains":[..],"override":{..}}, the last if any. */
static json_t *record_to_json(const struct shunt_record *record)
{
	CLEANUP(json_freep) json_t *json = NULL;
	char digest[17];

	snprintf(digest, sizeof(digest), "%016" PRIx64, record->digest);
	json = json_pack("{s:s, s:o}", "digest", digest, "drains", drains_to_json(record));
	if (!json || shunt_key_to_json(&record->key, json) < 0)
		return NULL;
	if (record->override &&
	    json_object_set_new(json, "override", shunt_change_to_json(record->override)))
		return NULL;
	return TAKE_PTR(json);
}

json_t *shunt_records_to_json(const struct shunt_overrides *overrides)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < overrides->n_records; i++) {
		const struct shunt_record *record = &overrides->records[i];

		if (!record->override && !record->n_drains)
			continue;
		if (json_array_append_new(list, record_to_json(record))) {
			json_decref(list);
			return NULL;
		}
	}
	return json_pack("{s:i, s:o}", "version", 1, "services", list);
}

static int record_from_json(struct shunt_overrides *overrides, const json_t *json)
{
	CLEANUP(key_freep) struct shunt_service_key key = { 0 };
	json_t *drains, *override = NULL;
	struct shunt_record *record;
	const char *digest;
	char *end;
	int r;

	if (json_unpack((json_t *)json, "{s:s, s:o, s?o}", "digest", &digest, "drains", &drains,
			"override", &override))
		return -EINVAL;
	r = shunt_key_from_json(json, &key);
	if (r < 0)
		return r;
	record = shunt_record_get_by_key(overrides, &key);
	if (!record)
		return -ENOMEM;
	record->digest = strtoull(digest, &end, 16);
	if (*end || strlen(digest) != 16 || record->override)
		return -EINVAL;
	if (override)
		r = shunt_change_from_json(override, &record->override);
	return r < 0 ? r : drains_from_json(drains, record);
}

int shunt_records_from_json(struct shunt_overrides *overrides, const json_t *json)
{
	json_t *list = json_object_get(json, "services"), *item;
	size_t i;
	int r;

	if (json_integer_value(json_object_get(json, "version")) != 1 || !json_is_array(list))
		return -EINVAL;
	json_array_foreach (list, i, item) {
		r = record_from_json(overrides, item);
		if (r < 0)
			return r;
	}
	return 0;
}
