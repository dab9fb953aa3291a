// SPDX-License-Identifier: Apache-2.0
#include "agent/told.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "shunt/choose.h"

#define LATE_MS 2000 /* what is told later than that says when it happened */

/* ---- events --------------------------------------------------------------------------------- */

/* A line of the log has the time at which it is written: what happened before says when. */
static void add_event(struct agent *agent, int64_t when_ms, enum shunt_log_level level,
		      const char *reason, const char *object, const char *text)
{
	char line[1400], stamp[SHUNT_UNIT_STR_LEN];
	bool is_late = agent_now_ms() - when_ms > LATE_MS;
	json_t *event;

	snprintf(line, sizeof(line), "%s%s%s: %s%s%s", reason, object[0] ? " " : "", object, text,
		 is_late ? "; at " : "", is_late ? shunt_time_str(when_ms, stamp) : "");
	agent_tame(line);
	shunt_log(level, "%s", line);

	event = agent_events_add(&agent->events, when_ms, level, reason, object, text);
	if (event && agent->ctl)
		shunt_ctl_server_publish(agent->ctl, json_incref(event));
}

void agent_event(struct agent *agent, enum shunt_log_level level, const char *reason,
		 const char *object, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	add_event(agent, agent_now_ms(), level, reason, object, text);
}

void agent_event_at(struct agent *agent, int64_t when_ms, enum shunt_log_level level,
		    const char *reason, const char *object, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	add_event(agent, when_ms, level, reason, object, text);
}

/* ---- conditions ------------------------------------------------------------------------------ */

bool agent_condition_is_bad(const struct shunt_condition *condition)
{
	/* These are bad when they are true, all others when they are not. */
	static const char *const bad[] = { "WeightRefused",	   "PartiallyInvalid",
					   "PartiallyHonored",	   "NotEnforced",
					   "SuspiciousExpression", "Overridden",
					   "RequestsNotSeen",	   "Http2PartlySeen",
					   "EjectsNothing" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (!strcmp(condition->type, bad[i]))
			return !strcmp(condition->status, "True");
	return !strcmp(condition->status, "False");
}

struct telling {
	struct agent *agent;
	uint64_t *digests; /* of all bad conditions that there are now */
	size_t n, room;
	size_t n_new;
};

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* @kind: "" for a split service, which other events name so, too. */
static void tell(struct telling *telling, const char *kind, const char *label,
		 const struct shunt_condition *condition)
{
	struct agent *agent = telling->agent;
	char object[SHUNT_LABEL_LEN + 64];
	uint64_t digest;

	snprintf(object, sizeof(object), "%s%s%s", kind, *kind ? " " : "", label);
	digest = shunt_name_seed(object) ^ shunt_mix64(shunt_name_seed(condition->reason)) ^
		 shunt_mix64(shunt_name_seed(condition->message) + 1);
	if (telling->n == telling->room)
		return;
	telling->digests[telling->n++] = digest;
	if (agent->n_told && bsearch(&digest, agent->told, agent->n_told, sizeof(digest), compare))
		return;
	if (telling->n_new++ < AGENT_TELL_AT_ONCE)
		agent_event(agent, SHUNT_LOG_WARN, *kind ? condition->reason : condition->type,
			    object, "%s%s%s", *kind ? "" : condition->reason, *kind ? "" : ": ",
			    condition->message);
}

static size_t count(const struct shunt_model *model)
{
	size_t n = 0;

	for (size_t i = 0; i < model->n_reports; i++)
		n += model->reports[i].conditions.n;
	for (size_t i = 0; i < model->n_services; i++)
		n += model->services[i].conditions.n;
	return n;
}

void agent_tell_conditions(struct agent *agent)
{
	const struct shunt_model *model = &agent->model;
	struct telling telling = { .agent = agent, .room = count(model) };

	telling.digests = calloc(telling.room + 1, sizeof(*telling.digests));
	if (!telling.digests)
		return;
	for (size_t i = 0; i < model->n_reports; i++) {
		const struct shunt_object_report *report = &model->reports[i];
		char label[256];

		snprintf(label, sizeof(label), "%s/%s", report->ref.namespace_, report->ref.name);
		for (size_t j = 0; j < report->conditions.n; j++)
			if (agent_condition_is_bad(&report->conditions.items[j]))
				tell(&telling, report->ref.kind, label,
				     &report->conditions.items[j]);
	}
	for (size_t i = 0; i < model->n_services; i++) {
		const struct shunt_model_service *service = &model->services[i];
		char label[SHUNT_LABEL_LEN];

		shunt_model_label(model, service, label);
		for (size_t j = 0; j < service->conditions.n; j++)
			if (!strcmp(service->conditions.items[j].type, "WeightRefused"))
				tell(&telling, "", label, &service->conditions.items[j]);
	}
	if (telling.n_new > AGENT_TELL_AT_ONCE)
		agent_event(agent, SHUNT_LOG_WARN, "MoreProblems", "",
			    "%zu more objects are not as they ask; see shunt status",
			    telling.n_new - AGENT_TELL_AT_ONCE);

	qsort(telling.digests, telling.n, sizeof(*telling.digests), compare);
	free(agent->told);
	agent->told = telling.digests;
	agent->n_told = telling.n;
}
