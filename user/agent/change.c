// SPDX-License-Identifier: Apache-2.0
#include "agent/change.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

enum shunt_ctl_code agent_change_code(int r)
{
	switch (r) {
	case -ENOENT:
		return SHUNT_CTL_NOT_FOUND;
	case -ERANGE:
	case -EINVAL:
		return SHUNT_CTL_USAGE;
	case -EAGAIN:
		return SHUNT_CTL_UNAVAILABLE;
	case -ENOMEM:
		return SHUNT_CTL_INTERNAL;
	default:
		return SHUNT_CTL_KERNEL;
	}
}

int agent_change_read(struct agent_change *change, const struct agent_arg *own, size_t n_own)
{
	const struct agent_arg common[] = {
		{ "service", AGENT_ARG_TEXT, &change->service, true, 0, 0 },
		{ "port", AGENT_ARG_INTEGER, &change->port.number, false, 1, 65535 },
		{ "protocol", AGENT_ARG_TEXT, &change->port.protocol, false, 0, 0 },
		{ "reason", AGENT_ARG_TEXT, &change->reason, false, 0, 0 },
		{ "force", AGENT_ARG_BOOL, &change->force, false, 0, 0 },
	};
	struct agent_arg all[ARRAY_LEN(common) + AGENT_CHANGE_OWN_ARGS];
	int r;

	memcpy(all, common, sizeof(common));
	if (n_own)
		memcpy(all + ARRAY_LEN(common), own, n_own * sizeof(*own));
	r = agent_read_args(change->request, change->command, all, ARRAY_LEN(common) + n_own);
	if (r < 0)
		return r;
	if (change->port.protocol && strcmp(change->port.protocol, "tcp") &&
	    strcmp(change->port.protocol, "udp")) {
		shunt_ctl_reply_fail(change->request->reply, SHUNT_CTL_USAGE,
				     "%s: protocol must be \"tcp\" or \"udp\"", change->command);
		return -EINVAL;
	}
	if (strlen(change->reason) > AGENT_MAX_REASON) {
		shunt_ctl_reply_fail(change->request->reply, SHUNT_CTL_USAGE,
				     "%s: reason has at most %d bytes", change->command,
				     AGENT_MAX_REASON);
		return -EINVAL;
	}
	return 0;
}

void agent_change_fail(const struct agent_change *change, const struct shunt_model_service *service,
		       enum shunt_ctl_code code, const char *text)
{
	const struct shunt_model *model = &change->request->agent->model;
	char label[SHUNT_LABEL_LEN], split[SHUNT_SPLIT_LEN];

	if (shunt_model_split(model, service, split)[0])
		shunt_ctl_reply_fail(change->request->reply, code, "%s: %s",
				     shunt_model_label(model, service, label), text);
	else
		shunt_ctl_reply_fail(change->request->reply, code, "%s", text);
}

int agent_change_open(struct agent_change *change)
{
	struct agent_request *request = change->request;
	struct agent_targets found = { 0 };
	int r;

	r = agent_find_services(request, change->service, change->port, &found);
	if (r < 0)
		return r;
	change->targets = calloc(found.n, sizeof(*change->targets));
	if (!change->targets) {
		free(found.items);
		shunt_ctl_reply_fail(request->reply, SHUNT_CTL_INTERNAL, "out of memory");
		return -ENOMEM;
	}
	change->n = found.n;
	for (size_t i = 0; i < found.n; i++) {
		change->targets[i].service = found.items[i];
		change->targets[i].from = agent_weights_json(found.items[i]);
	}
	free(found.items);
	return 0;
}

void agent_change_close(struct agent_change *change)
{
	for (size_t i = 0; i < change->n; i++)
		json_decref(change->targets[i].from);
	free(change->targets);
}

void agent_change_save(struct agent_change_target *target)
{
	for (size_t v = 0; v < target->service->n_variants; v++) {
		target->old_weight[v] = target->service->variants[v].weight;
		target->old_drained[v] = target->service->variants[v].drained;
	}
}

static void undo_target(struct agent_change_target *target)
{
	for (size_t v = 0; v < target->service->n_variants; v++) {
		target->service->variants[v].weight = target->old_weight[v];
		target->service->variants[v].drained = target->old_drained[v];
	}
}

void agent_change_undo(struct agent_change *change)
{
	for (size_t i = 0; i < change->n; i++)
		undo_target(&change->targets[i]);
}

bool agent_change_is_allowed(struct agent_change *change)
{
	const struct agent *agent = change->request->agent;
	char name[2 * SHUNT_NAME_LEN + 2], label[SHUNT_LABEL_LEN];
	const char *const names[] = { name };
	const struct shunt_guard_opts opts = {
		.max_step_bp = agent->opts->max_step_bp,
		.forced = names,
		.n_forced = change->force ? 1 : 0,
		.any_step = names,
		.n_any_step = change->any_step ? 1 : 0,
	};
	struct shunt_err err = { 0 };

	for (size_t i = 0; i < change->n; i++) {
		const struct shunt_model_service *service = change->targets[i].service;

		snprintf(name, sizeof(name), "%s/%s", service->namespace_, service->name);
		if (shunt_guard_judge(service, agent->good, &opts, &err) == SHUNT_GUARD_GOOD)
			continue;
		shunt_ctl_reply_fail(change->request->reply, SHUNT_CTL_REFUSED,
				     "%s: %s; nothing is changed, --force overrides",
				     shunt_model_label(&agent->model, service, label), err.text);
		return false;
	}
	return true;
}

int agent_change_install(struct agent_change *change)
{
	struct shunt_install_result result = { 0 };
	uint64_t before_ns = shunt_mono_ns();
	struct shunt_err err = { 0 };
	int r;

	r = agent_install_model(change->request->agent, &result, &err);
	if (r < 0) {
		shunt_ctl_reply_fail(change->request->reply, agent_change_code(r), "%s", err.text);
		return r;
	}
	change->took_ms = (before_ns - change->request->since_ns + result.took_ns) / 1e6;
	return 0;
}

int agent_change_services(const struct agent_change *change, struct agent_targets *ret_services)
{
	ret_services->items = calloc(change->n + 1, sizeof(*ret_services->items));
	if (!ret_services->items)
		return -ENOMEM;
	for (size_t i = 0; i < change->n; i++)
		ret_services->items[i] = change->targets[i].service;
	ret_services->n = change->n;
	return 0;
}

struct shunt_cause agent_change_cause(const struct agent_change *change)
{
	return (struct shunt_cause){
		.when_ms = agent_now_ms(),
		.who_uid = change->request->peer.uid,
		.command = change->command,
		.reason = change->reason,
	};
}

bool agent_change_is_confirmed(const struct agent_change *change)
{
	const struct agent *agent = change->request->agent;

	for (size_t i = 0; i < change->n; i++)
		if (!agent_confirm(agent, change->targets[i].service - agent->model.services))
			return false;
	return true;
}

/* ---- weights ------------------------------------------------------------------------------------
 */

/* Puts the weights that @target asks for into its service; a weight above 0 ends a drain. */
static void apply_target(struct agent_change_target *target, bool end_drains)
{
	for (size_t i = 0; i < target->n; i++) {
		struct shunt_model_variant *variant =
			shunt_model_variant_find(target->service, target->weights[i].variant);
		bool drained = variant->drained && !end_drains && !target->weights[i].weight;

		target->changed |=
			variant->weight != target->weights[i].weight || variant->drained != drained;
		variant->weight = target->weights[i].weight;
		variant->drained = drained;
	}
}

static void apply(struct agent_change *change)
{
	for (size_t i = 0; i < change->n; i++)
		apply_target(&change->targets[i], change->from_manifest);
}

/* Checks all targets before anything is touched. Answers on failure. */
static int check(struct agent_change *change)
{
	struct shunt_err err = { 0 };
	int r;

	for (size_t i = 0; i < change->n; i++) {
		struct agent_change_target *target = &change->targets[i];

		/* What the manifest asks may be all zero; that is its business. */
		if (change->from_manifest)
			continue;
		r = shunt_overrides_check(target->service, target->weights, target->n, &err);
		if (!r)
			continue;
		if (r == -ENOENT) {
			size_t len = strlen(err.text);

			for (size_t v = 0; v < target->service->n_variants; v++) {
				snprintf(err.text + len, sizeof(err.text) - len, "%s %s",
					 v ? "," : "; it has", target->service->variants[v].name);
				len = strlen(err.text);
			}
		}
		agent_change_fail(change, target->service, agent_change_code(r), err.text);
		return r;
	}
	return 0;
}

/* After the install: the override is set, or ended, and written down. */
static void remember(struct agent_change *change, const struct shunt_cause *cause)
{
	struct shunt_overrides *overrides = change->request->agent->overrides;
	struct shunt_err err;
	int r;

	for (size_t i = 0; i < change->n; i++) {
		struct agent_change_target *target = &change->targets[i];

		memset(&err, 0, sizeof(err));
		/* The override tells from what to what, so it must see the old weights. */
		undo_target(target);
		if (change->from_manifest)
			r = shunt_overrides_clear(overrides, target->service, &err);
		else
			r = shunt_overrides_set(overrides, target->service, target->weights,
						target->n, cause, &err);
		apply_target(target, change->from_manifest);
		if (r && r != -ENOENT)
			snprintf(change->warning, sizeof(change->warning), "%s",
				 err.text[0] ? err.text : strerror(r < 0 ? -r : ENOSPC));
	}
}

/* From and to of each, when several splits were changed. */
static json_t *splits_json(const struct agent_change *change)
{
	json_t *splits = json_array();
	char split[SHUNT_SPLIT_LEN];

	for (size_t i = 0; i < change->n; i++) {
		const struct agent_change_target *target = &change->targets[i];

		json_array_append_new(splits,
				      json_pack("{s:s, s:O?, s:o}", "split",
						shunt_model_split(&change->request->agent->model,
								  target->service, split),
						"from", target->from, "to",
						agent_weights_json(target->service)));
	}
	return splits;
}

json_t *agent_change_ports_json(const struct agent_change *change)
{
	json_t *ports = json_array();
	char split[SHUNT_SPLIT_LEN];

	for (size_t i = 0; i < change->n; i++)
		json_array_append_new(
			ports, json_string(shunt_model_split(&change->request->agent->model,
							     change->targets[i].service, split)));
	return ports;
}

static void answer(struct agent_change *change, bool changed)
{
	const struct agent_change_target *first = &change->targets[0];
	json_t *result;

	result = json_pack("{s:s, s:s, s:I, s:s?, s:O?, s:o, s:b, s:I, s:f, s:b, s:s}", "service",
			   first->service->name, "namespace", first->service->namespace_, "port",
			   change->port.number, "protocol", change->port.protocol, "from",
			   first->from, "to", agent_weights_json(first->service), "changed",
			   changed, "generation", (json_int_t)change->request->agent->generation,
			   "took_ms", change->took_ms, "confirmed",
			   agent_change_is_confirmed(change), "warning", change->warning);
	if (change->n > 1)
		json_object_set_new(result, "splits", splits_json(change));
	shunt_ctl_reply_ok(change->request->reply, result);
}

/* Does an override, or a drain, stand above the manifest of one of the targets? */
static bool has_override(const struct agent_change *change)
{
	const struct shunt_overrides *overrides = change->request->agent->overrides;
	const struct shunt_drain *drains;

	for (size_t i = 0; i < change->n; i++)
		if (shunt_overrides_get(overrides, change->targets[i].service) ||
		    shunt_overrides_drains(overrides, change->targets[i].service, &drains))
			return true;
	return false;
}

/*
 * Must the manifests be read again after the change? A backend's drain may have ended with
 * the override, and a refusal of what the manifest asks may be over.
 */
static bool needs_refresh(const struct agent_change *change)
{
	for (size_t i = 0; i < change->n; i++)
		if (shunt_conditions_get(&change->targets[i].service->conditions, "WeightRefused"))
			return true;
	return change->from_manifest;
}

/* From the weights of the targets to the answer. */
static void carry_out(struct agent_change *change)
{
	struct agent *agent = change->request->agent;
	struct shunt_cause cause = agent_change_cause(change);
	struct agent_targets services = { 0 };
	bool changed = false, again = needs_refresh(change);

	if (check(change) < 0)
		return;
	for (size_t i = 0; i < change->n; i++)
		agent_change_save(&change->targets[i]);
	apply(change);
	for (size_t i = 0; i < change->n; i++)
		changed |= change->targets[i].changed;
	if (!changed && !(change->from_manifest && has_override(change))) {
		answer(change, agent_change_reset_dead_men(change));
		return;
	}

	if (!agent_change_is_allowed(change) || agent_change_install(change) < 0) {
		agent_change_undo(change);
		return;
	}
	if (agent_change_services(change, &services) < 0)
		log_error("out of memory: history does not tell who made a change");
	agent_change_reset_dead_men(change);
	remember(change, &cause);
	answer(change, true);
	agent_record_changes(agent, &services, &cause);
	free(services.items);
	if (again)
		agent_refresh(agent, true);
}

/* ---- the commands
 * --------------------------------------------------------------------------------- */

/* {"green":5,...}. Answers on failure. */
static int read_weights(struct agent_change *change, struct agent_change_target *target,
			json_t *weights)
{
	const char *name;
	json_t *value;

	json_object_foreach (weights, name, value) {
		json_int_t weight = json_integer_value(value);

		if (!json_is_integer(value) || weight < 0 || weight > SHUNT_MAX_WEIGHT) {
			shunt_ctl_reply_fail(change->request->reply, SHUNT_CTL_USAGE,
					     "the weight of %s must be an integer from 0 to %d",
					     name, SHUNT_MAX_WEIGHT);
			return -ERANGE;
		}
		if (strlen(name) >= SHUNT_NAME_LEN || target->n == SHUNT_MAX_VARIANTS) {
			shunt_ctl_reply_fail(change->request->reply, SHUNT_CTL_NOT_FOUND,
					     "service %s has no variant %.80s", change->service,
					     name);
			return -ENOENT;
		}
		strcpy(target->weights[target->n].variant, name);
		target->weights[target->n++].weight = (uint32_t)weight;
	}
	return 0;
}

static void manifest_weights(struct agent_change_target *target)
{
	for (size_t v = 0; v < target->service->n_variants; v++) {
		const struct shunt_model_variant *variant = &target->service->variants[v];

		snprintf(target->weights[v].variant, SHUNT_NAME_LEN, "%s", variant->name);
		target->weights[v].weight = variant->manifest_weight;
	}
	target->n = target->service->n_variants;
}

void agent_cmd_weight(struct agent_request *request)
{
	struct agent_change change = { .request = request, .command = "weight", .reason = "" };
	json_t *weights = NULL;
	const struct agent_arg own[] = {
		{ "weights", AGENT_ARG_OBJECT, &weights, false, 0, 0 },
		{ "from_manifest", AGENT_ARG_BOOL, &change.from_manifest, false, 0, 0 },
	};
	int r;

	if (agent_change_read(&change, own, ARRAY_LEN(own)) < 0)
		return;
	if (change.from_manifest ? weights != NULL : !json_object_size(weights)) {
		shunt_ctl_reply_fail(request->reply, SHUNT_CTL_USAGE,
				     "weight: give either weights, an object of integers, or "
				     "from_manifest");
		return;
	}

	r = agent_change_open(&change);
	for (size_t i = 0; !r && i < change.n; i++) {
		if (change.from_manifest)
			manifest_weights(&change.targets[i]);
		else
			r = read_weights(&change, &change.targets[i], weights);
	}
	if (!r)
		carry_out(&change);
	agent_change_close(&change);
}

/* All weight to @variant: the sum of the weights in force, 100 if that is 0. */
static void switch_weights(struct agent_change_target *target, const char *variant)
{
	uint64_t sum = 0;
	uint32_t all;

	for (size_t v = 0; v < target->service->n_variants; v++)
		sum += target->service->variants[v].weight;
	all = !sum ? 100 : sum > SHUNT_MAX_WEIGHT ? SHUNT_MAX_WEIGHT : (uint32_t)sum;
	for (size_t v = 0; v < target->service->n_variants; v++) {
		const char *name = target->service->variants[v].name;

		snprintf(target->weights[v].variant, SHUNT_NAME_LEN, "%s", name);
		target->weights[v].weight = strcmp(name, variant) ? 0 : all;
	}
	target->n = target->service->n_variants;
	/* For an unknown name: so that the check says which there are. */
	if (!shunt_model_variant_find(target->service, variant)) {
		snprintf(target->weights[0].variant, SHUNT_NAME_LEN, "%.63s", variant);
		target->n = 1;
	}
}

void agent_cmd_switch(struct agent_request *request)
{
	struct agent_change change = { .request = request, .command = "switch", .reason = "" };
	const char *variant;
	const struct agent_arg own[] = { { "variant", AGENT_ARG_TEXT, &variant, true, 0, 0 } };
	int r;

	if (agent_change_read(&change, own, ARRAY_LEN(own)) < 0)
		return;
	r = agent_change_open(&change);
	for (size_t i = 0; !r && i < change.n; i++)
		switch_weights(&change.targets[i], variant);
	if (!r)
		carry_out(&change);
	agent_change_close(&change);
}

void agent_cmd_rollback(struct agent_request *request)
{
	struct agent_change change = {
		.request = request, .command = "rollback", .reason = "", .any_step = true
	};
	int r;

	if (agent_change_read(&change, NULL, 0) < 0)
		return;
	r = agent_change_open(&change);
	for (size_t i = 0; !r && i < change.n; i++) {
		struct agent_change_target *target = &change.targets[i];
		char label[SHUNT_LABEL_LEN];

		r = shunt_history_previous(request->agent->overrides, target->service,
					   target->weights, &target->n);
		if (r < 0)
			shunt_ctl_reply_fail(
				request->reply, SHUNT_CTL_NOT_FOUND,
				"%s has no earlier weights to return to",
				shunt_model_label(&request->agent->model, target->service, label));
	}
	if (!r)
		carry_out(&change);
	agent_change_close(&change);
}
