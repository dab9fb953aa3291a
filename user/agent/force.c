// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/breakers.h"
#include "agent/change.h"
#include "base/cleanup.h"
#include "model/policy_json.h"

/* The command `breaker`: shows the circuit breakers of a service, and forces them. */

struct force {
	struct agent_change change;
	const char *action;  /* NULL: only shows */
	const char *variant; /* NULL: of all */
	enum shunt_breaker_force how;
	size_t n_changed;
};

static const char *const actions[] = {
	[SHUNT_FORCE_AUTO] = "auto",
	[SHUNT_FORCE_OPEN] = "open",
	[SHUNT_FORCE_CLOSED] = "close",
};

static const struct shunt_breaker *rule_of(const struct shunt_model_service *service)
{
	if (!service->policy || !service->policy->breaker.expression)
		return NULL;
	return &service->policy->breaker;
}

/* ---- what is asked ----------------------------------------------------------------------------
 */

/* Of several splits of one Service those that have a breaker are meant. Answers if none has. */
static int keep_those_with_a_breaker(struct force *force)
{
	struct agent_change *change = &force->change;
	size_t n = 0;

	for (size_t i = 0; i < change->n; i++)
		n += rule_of(change->targets[i].service) != NULL;
	if (!n) {
		shunt_ctl_reply_fail(change->request->reply, SHUNT_CTL_NOT_FOUND,
				     "service %s has no circuit breaker: a TrafficPolicy with "
				     "circuitBreaker gives it one, or a Traefik Middleware on its "
				     "route",
				     change->service);
		return -ENOENT;
	}
	n = 0;
	for (size_t i = 0; i < change->n; i++) {
		if (rule_of(change->targets[i].service))
			change->targets[n++] = change->targets[i];
		else
			json_decref(change->targets[i].from);
	}
	change->n = n;
	return 0;
}

static int check_action(struct force *force)
{
	if (!force->action)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(actions); i++)
		if (!strcmp(force->action, actions[i])) {
			force->how = (enum shunt_breaker_force)i;
			return 0;
		}
	shunt_ctl_reply_fail(force->change.request->reply, SHUNT_CTL_USAGE,
			     "breaker: action must be \"open\", \"close\" or \"auto\"");
	return -EINVAL;
}

static void fail_variant(const struct force *force, const struct shunt_model_service *service)
{
	char text[512];
	size_t len;

	len = (size_t)snprintf(text, sizeof(text), "service %s/%s has no variant %.80s; it has",
			       service->namespace_, service->name, force->variant);
	for (size_t v = 0; v < service->n_variants && len < sizeof(text); v++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s %s", v ? "," : "",
					service->variants[v].name);
	agent_change_fail(&force->change, service, SHUNT_CTL_NOT_FOUND, text);
}

/* Has each target the variant, and breakers for each? Answers if not. */
static int check_variant(const struct force *force)
{
	for (size_t i = 0; force->variant && i < force->change.n; i++) {
		const struct shunt_model_service *service = force->change.targets[i].service;

		if (!shunt_model_variant_find(service, force->variant)) {
			fail_variant(force, service);
			return -ENOENT;
		}
		if (rule_of(service)->scope == SHUNT_SCOPE_SERVICE) {
			agent_change_fail(
				&force->change, service, SHUNT_CTL_USAGE,
				"its breaker is one for the whole service, not one for "
				"each variant: leave out the variant, or give the breaker "
				"the scope \"variant\"");
			return -EINVAL;
		}
	}
	return 0;
}

/* Would something still take new connections of @service? */
static bool leaves_something(const struct force *force, const struct shunt_model_service *service)
{
	const struct shunt_breaker *rule = rule_of(service);

	if (rule->fallback[0])
		return !force->variant || strcmp(rule->fallback, force->variant) != 0;
	for (size_t v = 0; force->variant && v < service->n_variants; v++)
		if (strcmp(service->variants[v].name, force->variant) &&
		    service->variants[v].weight && !service->variants[v].drained)
			return true;
	return false;
}

/* Answers if the guard refuses. */
static int check_guard(const struct force *force)
{
	if (!force->action || force->how != SHUNT_FORCE_OPEN || force->change.force)
		return 0;
	for (size_t i = 0; i < force->change.n; i++) {
		const struct shunt_model_service *service = force->change.targets[i].service;

		if (leaves_something(force, service))
			continue;
		agent_change_fail(&force->change, service, SHUNT_CTL_REFUSED,
				  "an open breaker would refuse every new connection of the "
				  "service: nothing else takes them; nothing is changed, --force "
				  "overrides");
		return -EPERM;
	}
	return 0;
}

/* ---- the change -------------------------------------------------------------------------------
 */

static void tell(const struct force *force, const struct shunt_model_service *service)
{
	static const char *const done[] = {
		[SHUNT_FORCE_AUTO] = "left to the kernel again",
		[SHUNT_FORCE_OPEN] = "held open",
		[SHUNT_FORCE_CLOSED] = "held closed",
	};
	const struct agent_request *request = force->change.request;
	const char *reason = force->change.reason;
	char object[SHUNT_LABEL_LEN];

	shunt_model_label(&request->agent->model, service, object);
	agent_event(request->agent,
		    force->how == SHUNT_FORCE_OPEN ? SHUNT_LOG_WARN : SHUNT_LOG_INFO,
		    force->how == SHUNT_FORCE_AUTO ? "BreakerAuto" : "BreakerForced", object,
		    "%s%s %s by uid %lld%s%s", force->variant ? "the breaker of " : "the breaker",
		    force->variant ? force->variant : "", done[force->how],
		    (long long)request->peer.uid, *reason ? ": " : "", reason);
}

/* Forces those of one service. Return: how many changed, or -errno. */
static int force_service(const struct force *force, const struct shunt_model_service *service)
{
	const struct agent *agent = force->change.request->agent;
	CLEANUP(freep) struct agent_breaker *breakers = NULL;
	int n_changed = 0, r;
	size_t n;

	r = agent_breakers_read(agent, service, &breakers, &n);
	for (size_t i = 0; r >= 0 && i < n; i++) {
		if (force->variant && strcmp(breakers[i].name.variant, force->variant))
			continue;
		r = shunt_breaker_force(shunt_dp_maps(agent->dp), breakers[i].instance, force->how);
		/* A backend that has just gone took its breaker with it. */
		if (r == -ENOENT)
			r = 0;
		if (r > 0)
			n_changed++;
	}
	return r < 0 ? r : n_changed;
}

static int carry_out(struct force *force)
{
	struct agent_change *change = &force->change;

	for (size_t i = 0; i < change->n; i++) {
		int r = force_service(force, change->targets[i].service);

		if (r < 0) {
			shunt_ctl_reply_fail(change->request->reply, agent_change_code(r), "%s",
					     strerror(-r));
			return r;
		}
		if (r)
			tell(force, change->targets[i].service);
		force->n_changed += (size_t)r;
	}
	change->took_ms = (double)(shunt_mono_ns() - change->request->since_ns) / 1e6;
	return 0;
}

/* ---- the answer -------------------------------------------------------------------------------
 */

static json_t *breaker_json(const struct agent *agent, const struct shunt_model_service *service)
{
	json_t *policy = shunt_policy_to_json(service->policy);
	json_t *json = json_incref(json_object_get(policy, "circuit_breaker"));
	char split[SHUNT_SPLIT_LEN];

	json_decref(policy);
	json_object_set_new(json, "split",
			    json_string(shunt_model_split(&agent->model, service, split)));
	json_object_set_new(json, "instances", agent_breakers_json(agent, service));
	return json;
}

static void answer(const struct force *force)
{
	const struct agent_change *change = &force->change;
	json_t *breakers = json_array(), *result;

	for (size_t i = 0; i < change->n; i++)
		json_array_append_new(
			breakers, breaker_json(change->request->agent, change->targets[i].service));
	result = json_pack("{s:s, s:s, s:I, s:s?, s:o}", "service",
			   change->targets[0].service->name, "namespace",
			   change->targets[0].service->namespace_, "port", change->port.number,
			   "protocol", change->port.protocol, "breakers", breakers);
	if (force->action) {
		json_object_set_new(result, "changed", json_boolean(force->n_changed != 0));
		json_object_set_new(result, "took_ms", json_real(change->took_ms));
	}
	shunt_ctl_reply_ok(change->request->reply, result);
}

void agent_cmd_breaker(struct agent_request *request)
{
	struct force force = {
		.change = { .request = request, .command = "breaker", .reason = "" },
	};
	const struct agent_arg own[] = {
		{ "action", AGENT_ARG_TEXT, &force.action, false, 0, 0 },
		{ "variant", AGENT_ARG_TEXT, &force.variant, false, 0, 0 },
	};

	if (agent_change_read(&force.change, own, ARRAY_LEN(own)) < 0 || check_action(&force) < 0)
		return;
	if (force.action && request->agent->detach.reply) {
		shunt_ctl_reply_fail(request->reply, SHUNT_CTL_UNAVAILABLE,
				     "the agent is detaching from this node");
		return;
	}
	if (!agent_change_open(&force.change) && !keep_those_with_a_breaker(&force) &&
	    !check_variant(&force) && !check_guard(&force) && (!force.action || !carry_out(&force)))
		answer(&force);
	agent_change_close(&force.change);
}
