// SPDX-License-Identifier: Apache-2.0
#include "agent/change.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "metrics/collect.h"

/* What `shunt drain` names: a variant, or the backends at an address, maybe at one port. */
struct drain {
	struct agent_change change;
	const char *target;	/* as asked */
	json_int_t deadline_ms; /* -1: as the manifest has it */
	bool undo;
	bool is_variant;
	struct shunt_ip ip;
	uint16_t port; /* of the backend; 0: all */
	uint64_t active;
};

/* ---- backends ------------------------------------------------------------------------------- */

static bool is_meant(const struct drain *drain, const struct shunt_model_backend *backend)
{
	return shunt_ip_equal(&drain->ip, &backend->ip) &&
	       (!drain->port || drain->port == backend->port);
}

/* Reads "10.0.0.1", "10.0.0.1:80", "fd00::1", "[fd00::1]:80". */
static int parse_backend(struct drain *drain)
{
	if (!shunt_addr_port_parse(drain->target, &drain->ip, &drain->port))
		return 0;
	drain->port = 0;
	return shunt_ip_parse(drain->target, &drain->ip);
}

static bool has_backend(const struct drain *drain, const struct shunt_model_service *service)
{
	for (size_t v = 0; v < service->n_variants; v++)
		for (size_t b = 0; b < service->variants[v].n_backends; b++)
			if (is_meant(drain, &service->variants[v].backends[b]))
				return true;
	return false;
}

/* Has @variant a backend for each port and family when all meant ones are out of use? */
static bool has_others(const struct drain *drain, const struct shunt_model_variant *variant)
{
	for (size_t b = 0; b < variant->n_backends; b++) {
		const struct shunt_model_backend *backend = &variant->backends[b];
		bool others = !backend->usable || !is_meant(drain, backend);

		for (size_t o = 0; o < variant->n_backends && !others; o++)
			others = variant->backends[o].usable &&
				 variant->backends[o].port_index == backend->port_index &&
				 variant->backends[o].ip.family == backend->ip.family &&
				 !is_meant(drain, &variant->backends[o]);
		if (!others)
			return false;
	}
	return true;
}

static int check_backends(const struct drain *drain, const struct shunt_model_service *service,
			  struct shunt_err *err)
{
	for (size_t v = 0; v < service->n_variants; v++) {
		const struct shunt_model_variant *variant = &service->variants[v];

		if (variant->weight && !variant->drained && !has_others(drain, variant))
			return shunt_err_set(err, -EINVAL,
					     "%s is the last usable backend of variant %s: its "
					     "share would be rejected",
					     drain->target, variant->name);
	}
	return 0;
}

/* A drain of each meant backend of @service. */
static int drain_backends(struct drain *drain, struct shunt_model_service *service,
			  uint32_t deadline_s, const struct shunt_cause *cause,
			  struct shunt_err *err)
{
	struct agent *agent = drain->change.request->agent;
	char name[SHUNT_ADDR_PORT_LEN];
	int r = 0;

	for (size_t v = 0; v < service->n_variants; v++) {
		const struct shunt_model_variant *variant = &service->variants[v];

		for (size_t b = 0; b < variant->n_backends && r >= 0; b++) {
			const struct shunt_model_backend *backend = &variant->backends[b];

			if (!is_meant(drain, backend))
				continue;
			shunt_addr_port_str(&backend->ip, backend->port, name);
			r = shunt_overrides_force_drain(agent->overrides, service, name, deadline_s,
							cause, err);
		}
	}
	return r;
}

/* Ends the drains of the meant backends; the list is asked, for the model may lack them. */
static int undrain_backends(struct drain *drain, const struct shunt_model_service *service,
			    struct shunt_err *err)
{
	struct shunt_overrides *overrides = drain->change.request->agent->overrides;
	const struct shunt_drain *drains;
	char name[SHUNT_NAME_LEN];
	size_t n = shunt_overrides_drains(overrides, service, &drains);
	int r = -ENOENT;

	for (size_t i = n; i-- > 0;) {
		struct shunt_model_backend backend = { 0 };

		if (!drains[i].is_backend ||
		    shunt_addr_port_parse(drains[i].target, &backend.ip, &backend.port) < 0 ||
		    !is_meant(drain, &backend))
			continue;
		memcpy(name, drains[i].target, sizeof(name));
		r = shunt_overrides_undrain(overrides, service, name, err);
		if (r < 0)
			return r;
		shunt_overrides_drains(overrides, service, &drains);
	}
	return r;
}

/* ---- one service --------------------------------------------------------------------------------
 */

static bool is_drained(const struct drain *drain, const struct shunt_model_service *service)
{
	const struct shunt_drain *drains;
	struct shunt_model_backend backend;
	size_t n;

	if (drain->is_variant)
		return shunt_model_variant_find(service, drain->target)->drained;
	n = shunt_overrides_drains(drain->change.request->agent->overrides, service, &drains);
	for (size_t i = 0; i < n; i++)
		if (drains[i].is_backend &&
		    !shunt_addr_port_parse(drains[i].target, &backend.ip, &backend.port) &&
		    is_meant(drain, &backend))
			return true;
	return false;
}

/* Would the guard let the drained variant's share go to the others? Answers if not. */
static bool is_allowed(struct drain *drain)
{
	bool allowed;

	if (!drain->is_variant)
		return true;
	for (size_t i = 0; i < drain->change.n; i++) {
		struct agent_change_target *target = &drain->change.targets[i];

		agent_change_save(target);
		shunt_model_variant_find(target->service, drain->target)->drained = !drain->undo;
	}
	allowed = agent_change_is_allowed(&drain->change);
	agent_change_undo(&drain->change);
	return allowed;
}

/* Remembers the drain of one service, or its end. */
static int remember(struct drain *drain, struct shunt_model_service *service,
		    const struct shunt_cause *cause, struct shunt_err *err)
{
	struct shunt_overrides *overrides = drain->change.request->agent->overrides;
	uint32_t deadline_s = 0;

	if (drain->deadline_ms >= 0)
		deadline_s = drain->deadline_ms ? (uint32_t)((drain->deadline_ms + 999) / 1000) : 1;
	if (drain->undo && drain->is_variant)
		return shunt_overrides_undrain(overrides, service, drain->target, err);
	if (drain->undo)
		return undrain_backends(drain, service, err);
	if (drain->is_variant)
		return shunt_overrides_force_drain(overrides, service, drain->target, deadline_s,
						   cause, err);
	return drain_backends(drain, service, deadline_s, cause, err);
}

static void count_active(struct drain *drain, const struct shunt_model_service *service)
{
	struct agent *agent = drain->change.request->agent;
	const struct shunt_dp_maps *maps = shunt_dp_maps(agent->dp);
	char key[SHUNT_ID_KEY_LEN];

	for (size_t v = 0; v < service->n_variants; v++) {
		const char *name = service->variants[v].name;
		uint32_t id;

		if (drain->is_variant && strcmp(name, drain->target))
			continue;
		id = shunt_ids_find(shunt_installer_ids(agent->installer), SHUNT_ID_VARIANT,
				    shunt_id_variant_key(key, service->namespace_, service->name,
							 service->ports[0].port,
							 service->ports[0].proto, name));
		if (id)
			drain->active += shunt_stats_active(
				maps, id, drain->is_variant ? NULL : &drain->ip, drain->port);
	}
}

/* ---- the command ------------------------------------------------------------------------------
 */

static void answer(struct drain *drain, bool changed)
{
	struct agent_change *change = &drain->change;
	const struct shunt_model_service *service = change->targets[0].service;
	uint32_t deadline_s = change->request->agent->opts->dialect.default_drain_s;
	const struct shunt_model_variant *variant;
	json_t *result;

	for (size_t i = 0; i < change->n; i++)
		count_active(drain, change->targets[i].service);
	variant = drain->is_variant ? shunt_model_variant_find(service, drain->target) : NULL;
	if (variant)
		deadline_s = variant->drain_deadline_s;
	if (drain->deadline_ms < 0)
		drain->deadline_ms = (json_int_t)deadline_s * 1000;
	result = json_pack("{s:s, s:s, s:I, s:s?, s:s, s:s, s:b, s:I, s:I, s:b, s:I, s:f, s:b, "
			   "s:s}",
			   "service", service->name, "namespace", service->namespace_, "port",
			   change->port.number, "protocol", change->port.protocol, "kind",
			   drain->is_variant ? "variant" : "backend", "target", drain->target,
			   "drained", !drain->undo, "deadline_ms", drain->deadline_ms,
			   "connections_active", (json_int_t)drain->active, "changed", changed,
			   "generation", (json_int_t)change->request->agent->generation, "took_ms",
			   change->took_ms, "confirmed", agent_change_is_confirmed(change),
			   "warning", change->warning);
	if (change->n > 1)
		json_object_set_new(result, "splits", agent_change_ports_json(change));
	shunt_ctl_reply_ok(change->request->reply, result);
}

static void tell(const struct drain *drain, const struct shunt_model_service *service,
		 const struct shunt_cause *cause)
{
	char object[SHUNT_LABEL_LEN];

	shunt_model_label(&drain->change.request->agent->model, service, object);
	agent_event(drain->change.request->agent, SHUNT_LOG_INFO,
		    drain->undo ? "DrainEnded" : "Drain", object, "%s %s %s, by uid %lld%s%s",
		    drain->is_variant ? "variant" : "backend", drain->target,
		    drain->undo ? "takes new connections again" : "gets nothing new",
		    (long long)cause->who_uid, *cause->reason ? ": " : "", cause->reason);
}

/* The whole pipeline: the model of a drained backend is the manifest's without it. */
static int reapply(struct drain *drain, const struct shunt_cause *cause)
{
	struct agent_change *change = &drain->change;
	struct agent *agent = change->request->agent;
	struct agent_targets services = { 0 };
	struct shunt_err err = { 0 };
	int r;

	r = agent_change_services(change, &services);
	if (!r)
		r = agent_reapply(agent, &services, cause, &err);
	free(services.items);
	if (r < 0) {
		shunt_ctl_reply_fail(change->request->reply, agent_change_code(r),
				     "%s; the change is remembered and will be tried again",
				     err.text);
		return r;
	}
	change->took_ms = (shunt_mono_ns() - change->request->since_ns) / 1e6;
	return 0;
}

static void fail_check(const struct agent_change *change, const struct shunt_model_service *service,
		       int r, struct shunt_err *err)
{
	size_t len = strlen(err->text);

	if (r != -EINVAL) {
		agent_change_fail(change, service, agent_change_code(r), err->text);
		return;
	}
	snprintf(err->text + len, sizeof(err->text) - len,
		 "; nothing is changed, --force overrides");
	agent_change_fail(change, service, SHUNT_CTL_REFUSED, err->text);
}

/* Would every target take the drain? Before any does, so that a refusal changes nothing. */
static int check_all(struct drain *drain)
{
	struct agent_change *change = &drain->change;
	struct shunt_err err = { 0 };
	int r = 0;

	for (size_t i = 0; i < change->n && !drain->undo && !change->force && !r; i++) {
		const struct shunt_model_service *service = change->targets[i].service;

		if (is_drained(drain, service) && drain->deadline_ms < 0)
			continue;
		r = drain->is_variant ? shunt_overrides_check_drain(service, drain->target, &err)
				      : check_backends(drain, service, &err);
		if (r < 0)
			fail_check(change, service, r, &err);
	}
	return r;
}

/* Return: 0 with *ret_changed, or -errno: answered. */
static int remember_all(struct drain *drain, const struct shunt_cause *cause, bool *ret_changed)
{
	struct agent_change *change = &drain->change;
	struct shunt_err err = { 0 };
	bool changed = false;
	int r;

	for (size_t i = 0; i < change->n; i++) {
		struct shunt_model_service *service = change->targets[i].service;

		if (is_drained(drain, service) == !drain->undo && drain->deadline_ms < 0)
			continue;
		r = remember(drain, service, cause, &err);
		if (r < 0) {
			agent_change_fail(change, service, agent_change_code(r),
					  err.text[0] ? err.text : strerror(-r));
			return r;
		}
		if (r == 1)
			memcpy(change->warning, err.text, sizeof(change->warning));
		changed = true;
	}
	*ret_changed = changed;
	return 0;
}

static bool has_target(const struct drain *drain, const struct shunt_model_service *service)
{
	return drain->is_variant ? shunt_model_variant_find(service, drain->target) != NULL
				 : has_backend(drain, service);
}

/* Of several splits of one Service, those that are meant. Return: are there any? */
static bool keep_only(struct drain *drain,
		      bool (*is_wanted)(const struct drain *, const struct shunt_model_service *))
{
	struct agent_change *change = &drain->change;
	size_t n = 0;

	for (size_t i = 0; i < change->n; i++)
		n += is_wanted(drain, change->targets[i].service);
	if (!n)
		return false;
	n = 0;
	for (size_t i = 0; i < change->n; i++) {
		if (is_wanted(drain, change->targets[i].service))
			change->targets[n++] = change->targets[i];
		else
			json_decref(change->targets[i].from);
	}
	change->n = n;
	return true;
}

/* Is the target a variant or a backend, and of which splits? Answers when it is of none. */
static int resolve(struct drain *drain)
{
	struct agent_change *change = &drain->change;
	struct shunt_ctl_reply *reply = change->request->reply;

	drain->is_variant = true;
	if (!keep_only(drain, has_target)) {
		drain->is_variant = false;
		if (parse_backend(drain) < 0) {
			shunt_ctl_reply_fail(reply, SHUNT_CTL_NOT_FOUND,
					     "service %s has no variant %.80s, and that is no "
					     "ADDRESS or ADDRESS:PORT",
					     change->service, drain->target);
			return -ENOENT;
		}
		if (!keep_only(drain, has_target)) {
			shunt_ctl_reply_fail(reply, SHUNT_CTL_NOT_FOUND,
					     "service %s has no variant or backend %.80s",
					     change->service, drain->target);
			return -ENOENT;
		}
	}
	if (drain->undo && !keep_only(drain, is_drained)) {
		shunt_ctl_reply_fail(reply, SHUNT_CTL_NOT_FOUND, "%s %.80s of %s is not drained",
				     drain->is_variant ? "variant" : "backend", drain->target,
				     change->service);
		return -ENOENT;
	}
	return 0;
}

static void carry_out(struct drain *drain)
{
	struct shunt_cause cause = agent_change_cause(&drain->change);
	bool changed = false;
	struct agent_change reopened;

	if (resolve(drain) < 0 || check_all(drain) < 0 || !is_allowed(drain) ||
	    remember_all(drain, &cause, &changed) < 0)
		return;
	if (changed && reapply(drain, &cause) < 0)
		return;

	/* The model is another one now. */
	reopened = drain->change;
	reopened.targets = NULL;
	reopened.n = 0;
	agent_change_close(&drain->change);
	drain->change = reopened;
	if (agent_change_open(&drain->change) < 0)
		return;
	keep_only(drain, has_target);
	answer(drain, changed);
	for (size_t i = 0; changed && i < drain->change.n; i++)
		tell(drain, drain->change.targets[i].service, &cause);
}

void agent_cmd_drain(struct agent_request *request)
{
	struct drain drain = {
		.change = { .request = request, .command = "drain", .reason = "" },
		.deadline_ms = -1,
	};
	const struct agent_arg own[] = {
		{ "target", AGENT_ARG_TEXT, &drain.target, true, 0, 0 },
		{ "deadline_ms", AGENT_ARG_INTEGER, &drain.deadline_ms, false, 0,
		  AGENT_MAX_DEADLINE_MS },
		{ "undo", AGENT_ARG_BOOL, &drain.undo, false, 0, 0 },
	};

	if (agent_change_read(&drain.change, own, ARRAY_LEN(own)) < 0)
		return;
	if (drain.undo && drain.deadline_ms >= 0) {
		shunt_ctl_reply_fail(request->reply, SHUNT_CTL_USAGE,
				     "drain: undo ends the drain: leave out deadline_ms");
		return;
	}
	if (!agent_change_open(&drain.change))
		carry_out(&drain);
	agent_change_close(&drain.change);
}
