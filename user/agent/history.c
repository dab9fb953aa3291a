// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"

static json_t *weights_json(const struct shunt_weight *weights, size_t n)
{
	json_t *json = json_object();

	for (size_t i = 0; i < n; i++)
		json_object_set_new(json, weights[i].variant, json_integer(weights[i].weight));
	return json;
}

/* @split: which ports, if those of the Service are split differently. */
static json_t *change_json(const struct shunt_change *change, const char *split)
{
	char when[SHUNT_UNIT_STR_LEN];
	json_t *json;

	json = json_pack("{s:s, s:I, s:I, s:s, s:s, s:o, s:o}", "when",
			 shunt_time_str(change->when_ms, when), "when_ms",
			 (json_int_t)change->when_ms, "who_uid", (json_int_t)change->who_uid,
			 "command", change->command, "reason", change->reason, "from",
			 weights_json(change->from, change->n_from), "to",
			 weights_json(change->to, change->n_to));
	if (split[0])
		json_object_set_new(json, "split", json_string(split));
	return json;
}

struct told_change {
	const struct shunt_change *change;
	const struct shunt_model_service *service;
};

static int newest_first(const void *a, const void *b)
{
	const struct shunt_change *x = ((const struct told_change *)a)->change;
	const struct shunt_change *y = ((const struct told_change *)b)->change;

	return x->when_ms > y->when_ms ? -1 : x->when_ms < y->when_ms;
}

/* The changes of all model services of one name, newest first. NULL: out of memory. */
static json_t *history_json(const struct agent *agent, const struct agent_targets *targets,
			    size_t last)
{
	CLEANUP(freep) struct told_change *all = NULL;
	const struct shunt_change *const *changes;
	json_t *array = json_array();
	char split[SHUNT_SPLIT_LEN];
	size_t n = 0, more;

	all = calloc(targets->n * SHUNT_HISTORY_MAX + 1, sizeof(*all));
	for (size_t i = 0; all && i < targets->n; i++) {
		more = shunt_history_get(agent->overrides, targets->items[i], &changes);
		for (size_t c = 0; c < more; c++)
			all[n++] = (struct told_change){ changes[c], targets->items[i] };
	}
	if (targets->n > 1 && all)
		qsort(all, n, sizeof(*all), newest_first);
	for (size_t i = 0; i < n && i < last; i++)
		json_array_append_new(array, change_json(all[i].change,
							 shunt_model_split(&agent->model,
									   all[i].service, split)));
	return array;
}

/* ---- services that have no split any more ---------------------------------------------------- */

struct past {
	const char *namespace_; /* borrowed; NULL: none found */
	const char *name;
	bool is_ambiguous; /* found in several namespaces */
	json_t *changes;
	size_t last;
};

/* "80/TCP,53/UDP" as `split` has it elsewhere: "80,53/udp". */
static void split_text(const char *ports, char buf[SHUNT_SPLIT_LEN])
{
	size_t len = 0;

	for (; *ports && len + sizeof("65535/udp,") < SHUNT_SPLIT_LEN; ports += *ports == ',') {
		size_t n = strcspn(ports, ","), digits = strspn(ports, "0123456789");
		bool is_udp = n > digits && !strncmp(ports + digits, "/UDP", 4);

		len += (size_t)snprintf(buf + len, SHUNT_SPLIT_LEN - len, "%s%.*s%s",
					len ? "," : "", (int)digits, ports, is_udp ? "/udp" : "");
		ports += n;
	}
	buf[len] = '\0';
}

static void add_past(void *ctx, const struct shunt_history_of *of)
{
	char split[SHUNT_SPLIT_LEN];
	struct past *past = ctx;

	past->is_ambiguous |= past->namespace_ && strcmp(past->namespace_, of->namespace_) != 0;
	past->namespace_ = of->namespace_;
	past->name = of->name;
	split_text(of->ports, split);
	for (size_t i = 0; i < of->n && json_array_size(past->changes) < past->last; i++)
		json_array_append_new(past->changes, change_json(of->changes[i], split));
}

/* Is there a history of @name, though no service has it now? Then it is answered. */
static bool answer_past(const struct agent_request *request, const char *name, size_t last)
{
	struct past past = { .changes = json_array(), .last = last };

	shunt_history_each(request->agent->overrides, name, add_past, &past);
	if (!past.namespace_ || past.is_ambiguous) {
		json_decref(past.changes);
		return false;
	}
	shunt_ctl_reply_ok(request->reply,
			   json_pack("{s:s, s:s, s:b, s:o}", "service", past.name, "namespace",
				     past.namespace_, "gone", true, "changes", past.changes));
	return true;
}

/* ---- the command --------------------------------------------------------------------------- */

void agent_cmd_history(struct agent_request *request)
{
	json_int_t last = SHUNT_HISTORY_MAX;
	struct agent_targets targets;
	const char *name;
	const struct agent_arg known[] = {
		{ "service", AGENT_ARG_TEXT, &name, true, 0, 0 },
		{ "last", AGENT_ARG_INTEGER, &last, false, 0, AGENT_MAX_LAST },
	};

	if (agent_read_args(request, "history", known, ARRAY_LEN(known)) < 0)
		return;
	if (!agent_is_known(request->agent, name) && answer_past(request, name, (size_t)last))
		return;
	if (agent_find_services(request, name, (struct agent_port){ 0 }, &targets) < 0)
		return;
	shunt_ctl_reply_ok(request->reply,
			   json_pack("{s:s, s:s, s:b, s:o}", "service", targets.items[0]->name,
				     "namespace", targets.items[0]->namespace_, "gone", false,
				     "changes",
				     history_json(request->agent, &targets, (size_t)last)));
	free(targets.items);
}
