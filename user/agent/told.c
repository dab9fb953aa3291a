// SPDX-License-Identifier: Apache-2.0
#include "agent/told.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "shunt/choose.h"

bool agent_condition_is_bad(const struct shunt_condition *condition)
{
	/* These are bad when they are true, all others when they are not. */
	static const char *const bad[] = { "WeightRefused",	   "PartiallyInvalid",
					   "PartiallyHonored",	   "NotEnforced",
					   "SuspiciousExpression", "Overridden" };

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
