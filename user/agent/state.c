// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic_file.h"
#include "base/cleanup.h"
#include "metrics/collect.h"

#define PATH_LEN 512

static void state_path(const struct agent *agent, char *buf)
{
	snprintf(buf, PATH_LEN, "%s/last_good.json", agent->opts->dp.state_dir);
}

void agent_state_problem(struct agent *agent, const char *text)
{
	if (*text && strcmp(agent->state_problem, text))
		agent_event(agent, SHUNT_LOG_WARN, "StateNotSaved", "", "%s", text);
	snprintf(agent->state_problem, sizeof(agent->state_problem), "%s", text);
}

/* Return: 0, -ENOENT, or -errno for a file that is there and no good. */
static int load(struct agent *agent, const char *path)
{
	struct shunt_last_good *good;
	json_error_t error;
	json_t *json, *baselines;
	int r;

	if (access(path, F_OK) < 0)
		return -errno;
	json = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	if (!json)
		return -EINVAL;
	r = shunt_last_good_from_json(json_object_get(json, "weights"), &good);
	if (!r) {
		shunt_last_good_free(agent->good);
		agent->good = good;
		baselines = json_object_get(json, "baselines");
		if (json_is_object(baselines)) {
			json_decref(agent->baselines);
			agent->baselines = json_incref(baselines);
		}
	}
	json_decref(json);
	return r;
}

/* What an earlier agent has installed is in force, file or not. Return: is anything known? */
static bool learn(struct agent *agent)
{
	struct shunt_last_good *good;
	json_t *weights = NULL;
	bool is_known = false;

	if (shunt_dp_adopted(agent->dp))
		weights = agent_read_weights(agent);
	if (weights && json_object_size(weights) && !shunt_last_good_from_json(weights, &good)) {
		shunt_last_good_free(agent->good);
		agent->good = good;
		is_known = true;
	}
	json_decref(weights);
	return is_known;
}

void agent_state_load(struct agent *agent)
{
	bool is_known;
	char path[PATH_LEN];
	int r;

	state_path(agent, path);
	r = load(agent, path);
	if (!r)
		return;
	is_known = learn(agent);
	if (r == -ENOENT) {
		if (is_known)
			agent_event(agent, SHUNT_LOG_WARN, "StateLost", path,
				    "no last good weights are there; the guard takes those that "
				    "are in force");
		return;
	}
	shunt_file_set_aside(path);
	agent_event(agent, SHUNT_LOG_WARN, "StateDamaged", path,
		    "the last good weights cannot be read (%s); the file is now %s.broken, and "
		    "the guard starts from %s",
		    strerror(-r), path,
		    is_known ? "the weights that are in force" : "the manifests");
}

void agent_baselines_forget(struct agent *agent)
{
	char namespace_[SHUNT_NAME_LEN], service[SHUNT_NAME_LEN];
	const char *key;
	json_t *value;
	void *next;

	json_object_foreach_safe (agent->baselines, next, key, value) {
		if (sscanf(key, "%63[^/]/%63[^/]/", namespace_, service) != 2 ||
		    !shunt_model_find(&agent->model, namespace_, service, 0))
			json_object_del(agent->baselines, key);
	}
}

bool agent_state_save(struct agent *agent)
{
	CLEANUP(freep) char *text = NULL;
	char path[PATH_LEN], why[640];
	json_t *weights, *json;
	int r;

	r = shunt_last_good_to_json(agent->good, &weights);
	if (!r) {
		json = json_pack("{s:o, s:O}", "weights", weights, "baselines", agent->baselines);
		text = json ? json_dumps(json, JSON_COMPACT) : NULL;
		json_decref(json);
		r = text ? 0 : -ENOMEM;
	}
	state_path(agent, path);
	if (!r)
		r = shunt_file_replace(path, text, strlen(text));
	if (!r)
		return true;
	snprintf(why, sizeof(why),
		 "cannot write %s: %s; the weights in force will not be known after a restart",
		 path, strerror(-r));
	agent_state_problem(agent, why);
	return false;
}

/* ---- the start of the measured share ------------------------------------------------------ */

static void baseline_key(char *buf, size_t size, const struct shunt_model_service *service,
			 const char *variant)
{
	snprintf(buf, size, "%s/%s/%u/%u/%s", service->namespace_, service->name,
		 service->ports[0].port, service->ports[0].proto, variant);
}

/* Return: the id of @variant, 0 if it has none. */
static uint32_t variant_id(const struct agent *agent, const struct shunt_model_service *service,
			   const char *variant)
{
	char key[SHUNT_ID_KEY_LEN];

	shunt_id_variant_key(key, service->namespace_, service->name, service->ports[0].port,
			     service->ports[0].proto, variant);
	return shunt_ids_find(shunt_installer_ids(agent->installer), SHUNT_ID_VARIANT, key);
}

static void reset_one(struct agent *agent, const struct shunt_model_service *service,
		      const uint64_t *connections)
{
	char key[3 * SHUNT_NAME_LEN + 16];

	for (size_t i = 0; i < service->n_variants; i++) {
		const char *name = service->variants[i].name;
		uint32_t id = variant_id(agent, service, name);

		if (!id)
			continue;
		baseline_key(key, sizeof(key), service, name);
		json_object_set_new(agent->baselines, key,
				    json_integer((json_int_t)connections[id]));
	}
}

void agent_baselines_reset(struct agent *agent, const struct shunt_model_service *const *services,
			   size_t n)
{
	const struct shunt_dp_maps *maps = shunt_dp_maps(agent->dp);
	CLEANUP(freep) uint64_t *connections = NULL;
	CLEANUP(freep) bool *wanted = NULL;

	connections = calloc(maps->variants.n, sizeof(*connections));
	wanted = calloc(maps->variants.n, sizeof(*wanted));
	if (!connections || !wanted)
		return;
	for (size_t i = 0; i < n; i++)
		for (size_t v = 0; v < services[i]->n_variants; v++)
			wanted[variant_id(agent, services[i], services[i]->variants[v].name)] =
				true;
	wanted[0] = false; /* none has this id: it stands for those without one */
	if (shunt_stats_connections(maps, wanted, connections) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		reset_one(agent, services[i], connections);
}

uint64_t agent_baseline(const struct agent *agent, const struct shunt_model_service *service,
			const char *variant)
{
	char key[3 * SHUNT_NAME_LEN + 16];

	baseline_key(key, sizeof(key), service, variant);
	return (uint64_t)json_integer_value(json_object_get(agent->baselines, key));
}
