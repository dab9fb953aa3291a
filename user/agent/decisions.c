// SPDX-License-Identifier: Apache-2.0
#include "agent/decisions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/breakers.h"
#include "agent/ejections.h"
#include "agent/owner.h"
#include "base/cleanup.h"
#include "base/units.h"
#include "model/policy.h"

#define READ_AT_ONCE 64	  /* events between two looks at the loop */
#define READ_AT_OPEN 4096 /* more than the ring holds */
#define TELL_LATE    20	  /* of those that happened while no agent ran */

const char *agent_decision_name(enum agent_decision decision)
{
	static const char *const names[AGENT_N_DECISIONS] = {
		[AGENT_BREAKER_OPEN] = "BreakerOpen",
		[AGENT_BREAKER_RECOVERING] = "BreakerRecovering",
		[AGENT_BREAKER_CLOSED] = "BreakerClosed",
		[AGENT_DEAD_MAN_TRIPPED] = "DeadManTripped",
		[AGENT_BACKEND_EJECTED] = "BackendEjected",
		[AGENT_BACKEND_RETURNED] = "BackendReturned",
	};

	return names[decision];
}

static enum shunt_log_level level_of(enum agent_decision decision)
{
	switch (decision) {
	case AGENT_BREAKER_OPEN:
	case AGENT_DEAD_MAN_TRIPPED:
	case AGENT_BACKEND_EJECTED:
		return SHUNT_LOG_WARN;
	default:
		return SHUNT_LOG_INFO;
	}
}

/* Return: which it is, or -1: of a kind that this agent does not know. */
static int decision_of(const struct shunt_event *event)
{
	switch (event->kind) {
	case SHUNT_EVENT_BREAKER:
		return event->detail[0] == SHUNT_BREAKER_OPEN	      ? AGENT_BREAKER_OPEN
		       : event->detail[0] == SHUNT_BREAKER_RECOVERING ? AGENT_BREAKER_RECOVERING
								      : AGENT_BREAKER_CLOSED;
	case SHUNT_EVENT_TRIPPED:
		return AGENT_DEAD_MAN_TRIPPED;
	case SHUNT_EVENT_EJECTED:
		return AGENT_BACKEND_EJECTED;
	case SHUNT_EVENT_RETURNED:
		return AGENT_BACKEND_RETURNED;
	default:
		return -1;
	}
}

/* ---- sentences about breakers ------------------------------------------------------------------
 */

static void say_phase(const struct agent_breaker *breaker, enum agent_decision decision, char *buf,
		      size_t size)
{
	const struct shunt_policy *policy = breaker->service ? breaker->service->policy : NULL;
	const struct shunt_breaker *rule = policy ? &policy->breaker : NULL;
	char whose[AGENT_BREAKER_LEN], effect[AGENT_BREAKER_LEN], time[SHUNT_UNIT_STR_LEN];

	agent_breaker_whose(breaker, whose);
	agent_breaker_effect(breaker, effect);
	if (!rule || !rule->expression)
		snprintf(buf, size, "%s %s", whose,
			 decision == AGENT_BREAKER_OPEN		? "opens"
			 : decision == AGENT_BREAKER_RECOVERING ? "recovers"
								: "is closed again");
	else if (decision == AGENT_BREAKER_OPEN)
		snprintf(buf, size, "%s opens: %.300s; new connections %s for %s", whose,
			 rule->expression, effect, shunt_duration_str(rule->fallback_ms, time));
	else if (decision == AGENT_BREAKER_RECOVERING)
		snprintf(buf, size, "%s recovers: a growing share is let in for %s", whose,
			 shunt_duration_str(rule->recovery_ms, time));
	else
		snprintf(buf, size, "%s is closed again: everything is let in", whose);
}

/* ---- sentences about variants and backends -----------------------------------------------------
 */

static const struct shunt_variant_name *variant_of(const struct agent *agent, uint32_t variant)
{
	static const struct shunt_variant_name unknown = { .variant = "?" };
	const struct shunt_dp_maps *maps = shunt_dp_maps(agent->dp);

	if (variant >= maps->variant_names.n)
		return &unknown;
	return SHUNT_DP_AT(maps->variant_names, struct shunt_variant_name, variant);
}

static void say_tripped(const struct agent *agent, const struct shunt_event *event,
			const struct shunt_variant_name *name, char *buf, size_t size)
{
	const struct shunt_model_service *service = agent_owner_find(agent, AGENT_OWNER(name));
	const struct shunt_policy *policy = service ? service->policy : NULL;

	snprintf(buf, size,
		 "the dead-man switch takes %.63s out: %.2f %% of its requests fail, of those of "
		 "%s %.2f %%; it gets nothing new until an operator or a new weight says so",
		 name->variant, event->detail[0] / 100.0,
		 policy && policy->dead_man.enabled ? policy->dead_man.stable : "the other",
		 event->detail[1] / 100.0);
}

/* "for 30 s", and how manieth time it is where that makes it longer. */
static void say_backend(const struct agent *agent, const struct shunt_event *event,
			const char *variant, char *buf, size_t size)
{
	char whose[AGENT_BACKEND_LEN], time[SHUNT_UNIT_STR_LEN], more[48] = "";

	agent_backend_whose(agent, event->backend, variant, whose);
	if (event->detail[1] > 1)
		snprintf(more, sizeof(more), ", ejection %u in a row", event->detail[1]);
	if (event->kind == SHUNT_EVENT_EJECTED)
		snprintf(buf, size, "%s is ejected for its errors: it gets nothing new for %s%s",
			 whose, shunt_duration_str(event->detail[0], time), more);
	else
		snprintf(buf, size, "%s does well again: it takes new connections", whose);
}

/* ---- events -------------------------------------------------------------------------------------
 */

static void tell(struct agent *agent, const struct shunt_event *event)
{
	const struct shunt_variant_name *name = variant_of(agent, event->variant);
	char object[SHUNT_LABEL_LEN] = "", text[800];
	int decision = decision_of(event);
	struct agent_breaker breaker;

	if (decision < 0)
		return;
	agent_owner_label(agent, AGENT_OWNER(name), object);
	if (event->kind == SHUNT_EVENT_TRIPPED) {
		say_tripped(agent, event, name, text, sizeof(text));
	} else if (event->kind != SHUNT_EVENT_BREAKER) {
		say_backend(agent, event, name->variant, text, sizeof(text));
	} else if (agent_breaker_read(agent, event->instance, &breaker)) {
		agent_owner_label(agent, AGENT_OWNER(&breaker.name), object);
		say_phase(&breaker, (enum agent_decision)decision, text, sizeof(text));
	} else {
		/* One that is gone was closed, or nobody knows whose it was. */
		snprintf(text, sizeof(text), "a breaker of variant %.63s that is gone since",
			 name->variant);
	}
	agent_event_at(agent, agent_real_ms(event->now_ns), level_of((enum agent_decision)decision),
		       agent_decision_name((enum agent_decision)decision), object, "%s", text);
}

static void count(struct agent *agent, const struct shunt_event *event)
{
	int decision = decision_of(event);

	if (decision >= 0)
		agent->decisions.seen[decision]++;
}

static void on_event(void *ctx, const struct shunt_event *event)
{
	count(ctx, event);
	tell(ctx, event);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct agent *agent = poll->data;
	int r;

	(void)status;
	(void)events;
	r = shunt_events_read(agent->decisions.events, READ_AT_ONCE, on_event, agent);

	if (r < 0)
		log_error("cannot read what the kernel has decided: %s", strerror(-r));
}

void agent_decisions_tick(struct agent *agent)
{
	struct shunt_event_counters counters;
	uint64_t more;

	if (shunt_events_counters(shunt_dp_maps(agent->dp), &counters) < 0)
		return; /* status says that the maps cannot be read */
	more = counters.lost - agent->decisions.lost;
	agent->decisions.lost = counters.lost;
	if (more)
		agent_event(agent, SHUNT_LOG_WARN, "DecisionsNotTold", "",
			    "%llu decisions of the kernel could not be told, there were too many "
			    "at once: shunt status has what is in force",
			    (unsigned long long)more);
}

/* ---- the start
 * ----------------------------------------------------------------------------------- */

struct late {
	struct agent *agent;
	struct shunt_event last[TELL_LATE]; /* a ring */
	unsigned n;
};

static void keep(void *ctx, const struct shunt_event *event)
{
	struct late *late = ctx;

	count(late->agent, event);
	late->last[late->n++ % TELL_LATE] = *event;
}

/* The first of the events that are told one by one. */
static unsigned first_told(const struct late *late)
{
	return late->n > TELL_LATE ? late->n - TELL_LATE : 0;
}

/* The last of them for which @is_about says so; NULL: none. */
static const struct shunt_event *last_told(const struct late *late,
					   bool (*is_about)(const struct shunt_event *, uint32_t),
					   uint32_t id)
{
	for (unsigned i = late->n; i-- > first_told(late);)
		if (is_about(&late->last[i % TELL_LATE], id))
			return &late->last[i % TELL_LATE];
	return NULL;
}

static bool is_about_backend(const struct shunt_event *event, uint32_t backend)
{
	return event->backend == backend &&
	       (event->kind == SHUNT_EVENT_EJECTED || event->kind == SHUNT_EVENT_RETURNED);
}

static bool is_about_breaker(const struct shunt_event *event, uint32_t instance)
{
	return event->instance == instance && event->kind == SHUNT_EVENT_BREAKER;
}

/* Did what was told just now leave @backend ejected? */
static bool was_ejected(const struct late *late, uint32_t backend)
{
	const struct shunt_event *event = last_told(late, is_about_backend, backend);

	return event && event->kind == SHUNT_EVENT_EJECTED;
}

static void tell_ejected(struct agent *agent, const struct late *late)
{
	const struct shunt_dp_maps *maps = shunt_dp_maps(agent->dp);
	char object[SHUNT_LABEL_LEN], whose[AGENT_BACKEND_LEN], left[SHUNT_UNIT_STR_LEN];
	uint64_t now_ns = shunt_mono_ns();

	for (uint32_t id = 1; id < maps->backends.n; id++) {
		struct shunt_ejected ejected = shunt_ejection_read(maps, id, now_ns);
		const struct shunt_variant_name *name;

		if (!ejected.is_out || was_ejected(late, id))
			continue;
		name = variant_of(agent,
				  SHUNT_DP_AT(maps->backends, struct shunt_backend, id)->variant);
		agent_event(agent, SHUNT_LOG_WARN, "BackendEjected",
			    agent_owner_label(agent, AGENT_OWNER(name), object),
			    "at the start of the agent %s is ejected: it gets nothing new for "
			    "another %s",
			    agent_backend_whose(agent, id, name->variant, whose),
			    shunt_duration_str(ejected.left_ns / 1000000, left));
	}
}

/* Did it leave @instance in @phase? */
static bool was_told(const struct late *late, uint32_t instance, enum shunt_breaker_phase phase)
{
	const struct shunt_event *event = last_told(late, is_about_breaker, instance);

	return event && event->detail[0] == phase;
}

/* A journal that begins anew has to say what is not as usual. */
static void tell_present(struct agent *agent, const struct late *late)
{
	char object[SHUNT_LABEL_LEN], whose[AGENT_BREAKER_LEN], effect[AGENT_BREAKER_LEN];
	CLEANUP(freep) struct agent_breaker *all = NULL;
	size_t n;

	if (agent_breakers_read(agent, NULL, &all, &n) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		const struct agent_breaker *breaker = &all[i];
		bool is_open = agent_breaker_is_open(breaker);

		if (breaker->state.phase == SHUNT_BREAKER_CLOSED ||
		    was_told(late, breaker->instance, breaker->state.phase))
			continue;
		agent_event(agent, is_open ? SHUNT_LOG_WARN : SHUNT_LOG_INFO,
			    breaker->state.phase == SHUNT_BREAKER_OPEN	       ? "BreakerOpen"
			    : breaker->state.phase == SHUNT_BREAKER_RECOVERING ? "BreakerRecovering"
									       : "BreakerForced",
			    agent_owner_label(agent, AGENT_OWNER(&breaker->name), object),
			    "at the start of the agent %s is %s%s%s",
			    agent_breaker_whose(breaker, whose),
			    shunt_breaker_phase_name(breaker->state.phase),
			    is_open ? ": new connections " : "",
			    is_open ? agent_breaker_effect(breaker, effect) : "");
	}
}

static void tell_late(struct agent *agent)
{
	struct late late = { .agent = agent };

	shunt_events_read(agent->decisions.events, READ_AT_OPEN, keep, &late);
	if (late.n > TELL_LATE)
		agent_event(agent, SHUNT_LOG_INFO, "DecisionsLate", "",
			    "the kernel has decided %u times while no agent ran%s; the last %d "
			    "follow",
			    late.n, agent->decisions.lost ? ", and some could not be told" : "",
			    TELL_LATE);
	for (unsigned i = first_told(&late); i < late.n; i++)
		tell(agent, &late.last[i % TELL_LATE]);
	tell_present(agent, &late);
	tell_ejected(agent, &late);
}

void agent_decisions_open(struct agent *agent)
{
	struct shunt_event_counters counters;
	int r = shunt_events_open(shunt_dp_maps(agent->dp), &agent->decisions.events);

	if (r < 0) {
		agent_event(agent, SHUNT_LOG_ERROR, "DecisionsNotTold", "",
			    "cannot read what the kernel decides: %s; breakers work, but their "
			    "events are not told",
			    strerror(-r));
		return;
	}
	/* What was lost before is not new. */
	if (!shunt_events_counters(shunt_dp_maps(agent->dp), &counters))
		agent->decisions.lost = counters.lost;
	tell_late(agent);
	uv_poll_init(agent->loop, &agent->decisions.poll, shunt_events_fd(agent->decisions.events));
	agent->decisions.poll.data = agent;
	uv_poll_start(&agent->decisions.poll, UV_READABLE, on_readable);
}

void agent_decisions_close(struct agent *agent)
{
	if (!agent->decisions.events)
		return;
	uv_close((uv_handle_t *)&agent->decisions.poll, NULL);
	shunt_events_close(agent->decisions.events);
	agent->decisions.events = NULL;
}
