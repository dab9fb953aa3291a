// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "agent/rest.h"
#include "agent/told.h"
#include "base/cleanup.h"
#include "dialect/dialect.h"
#include "dialect/keep.h"
#include "model/last_good.h"

/* ---- telling ------------------------------------------------------------------------------- */

/* Keeps @text as the present problem of a stage; an event only when it is another one. */
static void set_problem(struct agent *agent, char problem[512], enum shunt_log_level level,
			const char *reason, const char *recovered, const char *text)
{
	if (!strcmp(problem, text))
		return;
	if (*text)
		agent_event(agent, level, reason, "", "%s", text);
	else
		agent_event(agent, SHUNT_LOG_INFO, reason, "", "%s", recovered);
	snprintf(problem, 512, "%s", text);
}

static void source_problem(struct agent *agent, const char *text)
{
	set_problem(agent, agent->source_problem, SHUNT_LOG_ERROR, "Source",
		    "the source directory can be read again", text);
}

static void install_problem(struct agent *agent, const char *text)
{
	if (*text)
		agent->n_failed++;
	set_problem(agent, agent->install_problem, SHUNT_LOG_ERROR, "Install",
		    "the configuration is in force again", text);
}

static void tell_files(struct agent *agent)
{
	const struct shunt_dir_problem *problems;
	char text[1024];
	size_t n;

	problems = shunt_dir_problems(agent->dir, &n);
	for (size_t i = 0; i < n; i++) {
		struct shunt_err err = problems[i].err;
		char place[32] = "";

		if (!problems[i].is_new)
			continue;
		/* The file is the event's object. */
		if (err.line)
			snprintf(place, sizeof(place), "line %u, column %u: ", err.line,
				 err.column);
		err.file[0] = '\0';
		err.line = err.column = 0;
		agent_event(agent, SHUNT_LOG_WARN, "FileProblem", problems[i].err.file, "%s%s",
			    place, shunt_err_str(&err, text, sizeof(text)));
	}
}

/* "blue 95 -> 0, green 5 -> 100"; variants that stay as they are are left out. */
static void describe_change(const struct shunt_change *change, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < change->n_to; i++) {
		const struct shunt_weight *to = &change->to[i];
		uint32_t from = 0;

		for (size_t j = 0; j < change->n_from; j++)
			if (!strcmp(change->from[j].variant, to->variant))
				from = change->from[j].weight;
		if ((change->n_from && from == to->weight) || len >= size)
			continue;
		len += snprintf(buf + len, size - len, "%s%s ", len ? ", " : "", to->variant);
		if (change->n_from && len < size)
			len += snprintf(buf + len, size - len, "%u -> ", from);
		if (len < size)
			len += snprintf(buf + len, size - len, "%u", to->weight);
	}
}

/* A change of a thousand services is not a thousand events. */
static void tell_more(struct agent *agent, size_t n, const char *what)
{
	if (n > AGENT_TELL_AT_ONCE)
		agent_event(agent, SHUNT_LOG_INFO, "MoreServices", "", "%zu more services %s",
			    n - AGENT_TELL_AT_ONCE, what);
}

static void tell_change(struct agent *agent, const struct shunt_model_service *service,
			const struct shunt_change *change)
{
	char object[SHUNT_LABEL_LEN], text[700], who[32] = "the manifest";

	shunt_model_label(&agent->model, service, object);
	describe_change(change, text, sizeof(text));
	if (change->who_uid >= 0)
		snprintf(who, sizeof(who), "uid %lld", (long long)change->who_uid);
	if (!change->n_from)
		agent_event(agent, SHUNT_LOG_INFO, "ServiceAdded", object, "%s", text);
	else
		agent_event(agent, SHUNT_LOG_INFO, "WeightChanged", object, "%s by %s%s%s", text,
			    who, change->reason[0] ? ": " : "", change->reason);
}

/*
 * The services that the history has a change of at @when_ms for, and an event for the first
 * ones. Return: how many, in @list (room for all).
 */
static size_t tell_changes(struct agent *agent, int64_t when_ms,
			   const struct shunt_model_service **list)
{
	const struct shunt_change *const *changes;
	bool first = !agent->installed;
	size_t n = 0, n_told = 0;

	for (size_t i = 0; i < agent->model.n_services; i++) {
		const struct shunt_model_service *each = &agent->model.services[i];

		if (!shunt_history_get(agent->overrides, each, &changes) ||
		    changes[0]->when_ms != when_ms)
			continue;
		list[n++] = each;
		/* At a start nothing has happened: one line says what was found. */
		if ((!first || changes[0]->n_from) && n_told++ < AGENT_TELL_AT_ONCE)
			tell_change(agent, each, changes[0]);
	}
	tell_more(agent, n_told, "changed");
	return n;
}

void agent_record_changes(struct agent *agent, const struct agent_targets *changed,
			  const struct shunt_cause *cause)
{
	CLEANUP(freep) const struct shunt_model_service **list = NULL;
	int64_t now_ms = cause ? cause->when_ms : agent_now_ms();
	struct shunt_err err = { 0 };
	size_t n;
	int r;

	r = shunt_history_record(agent->overrides, &agent->model, changed ? changed->items : NULL,
				 changed ? changed->n : 0, cause, now_ms, &err);
	if (r)
		agent_state_problem(agent, err.text);
	list = calloc(agent->model.n_services + 1, sizeof(*list));
	if (!list)
		return;
	n = tell_changes(agent, now_ms, list);
	if (!n)
		return;
	agent_baselines_reset(agent, list, n);
	if (agent_state_save(agent) && !r)
		agent_state_problem(agent, "");
}

/* ---- the stages ------------------------------------------------------------------------------ */

static int install(struct agent *agent, const struct agent_images *images,
		   struct shunt_install_result *ret_result, struct shunt_err *err)
{
	CLEANUP(freep) const struct shunt_image_service **list = NULL;
	int r;

	list = calloc(images->n + 1, sizeof(*list));
	if (!list)
		return shunt_err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < images->n; i++)
		list[i] = images->items[i]->image;
	r = shunt_install(agent->installer, list, images->n, ret_result, err);
	if (r < 0)
		return r;
	agent->generation = ret_result->generation;
	return 0;
}

/* Compiles and installs @model; on 0 agent->images are its images. */
static int compile_and_install(struct agent *agent, const struct shunt_model *model,
			       const struct shunt_cause *cause,
			       struct shunt_install_result *ret_result, struct shunt_err *err)
{
	CLEANUP(agent_images_free) struct agent_images images = { 0 };
	CLEANUP(agent_rest_free) struct agent_rest rest = { 0 };
	int r;

	r = agent_rest_make(agent->overrides, model, cause ? cause->when_ms : 0, &rest);
	if (r < 0)
		return shunt_err_set(err, r, "out of memory");
	r = agent_images_build(&rest.model, shunt_installer_ids(agent->installer), &agent->images,
			       &images, err);
	if (r < 0)
		return r;
	r = install(agent, &images, ret_result, err);
	if (r < 0)
		return r;
	agent_images_free(&agent->images);
	agent->images = images;
	images = (struct agent_images){ 0 };
	r = agent_probes_follow(agent->probes, model);
	if (r < 0)
		log_error("not all backends are probed: %s", strerror(-r));
	return 0;
}

int agent_install_model(struct agent *agent, struct shunt_install_result *ret_result,
			struct shunt_err *err)
{
	int r;

	/* Before the first install the model is not what the maps hold: it would release all. */
	if (!agent->installed)
		return shunt_err_set(err, -EAGAIN, "the configuration is not in force yet: %.400s",
				     agent->install_problem);
	r = compile_and_install(agent, &agent->model, NULL, ret_result, err);
	if (r < 0)
		return r;
	return shunt_last_good_replace(agent->good, &agent->model);
}

static int translate(struct agent *agent, struct shunt_model *ret_model)
{
	struct shunt_translate_opts opts;

	shunt_dialect_options_get(&agent->opts->dialect, &opts);
	opts.node_addrs = agent->node_addrs;
	opts.n_node_addrs = agent->n_node_addrs;
	return shunt_translate_keeping(agent->keeper, shunt_dir_objects(agent->dir), &opts,
				       ret_model);
}

/* A file that cannot be read, or an object that is refused, or "" when all is good. */
static const char *first_refusal(const struct agent *agent, const struct shunt_model *model)
{
	const struct shunt_dir_problem *problems;
	size_t n_problems;

	problems = shunt_dir_problems(agent->dir, &n_problems);
	if (n_problems)
		return problems[0].err.file;
	for (size_t i = 0; i < model->n_reports; i++) {
		const struct shunt_condition *accepted =
			shunt_conditions_get(&model->reports[i].conditions, "Accepted");

		if (accepted && !strcmp(accepted->status, "False") &&
		    (!strcmp(accepted->reason, "Invalid") ||
		     !strcmp(accepted->reason, "UnsupportedValue")))
			return model->reports[i].ref.file;
	}
	return "";
}

/*
 * After a restart the maps may hold a service whose file or object has been broken since.
 * What it said is not known any more, so installing the rest would release the service.
 */
static bool would_lose_adopted(const struct agent *agent, const struct shunt_model *model,
			       struct shunt_err *err)
{
	const struct shunt_dp_maps *maps = shunt_dp_maps(agent->dp);
	const struct shunt_settings *settings =
		SHUNT_DP_AT(maps->settings, struct shunt_settings, 0);
	const char *broken = first_refusal(agent, model);
	const struct shunt_service_name *name;

	if (agent->installed || !shunt_dp_adopted(agent->dp) || !*broken)
		return false;
	for (uint32_t id = 1; id < maps->services.n; id++) {
		const struct shunt_service *service =
			SHUNT_DP_AT(maps->services, struct shunt_service, id);
		uint32_t slot = settings->epoch & 1;

		name = SHUNT_DP_AT(maps->service_names, struct shunt_service_name, id);
		if (!name->name[0] || !service->slot[slot].rule_count ||
		    (service->slot[slot].flags & SHUNT_SVC_RELEASED) ||
		    shunt_model_find(model, name->namespace_, name->name, 0))
			continue;
		shunt_err_set(err, -EBUSY,
			      "%s/%s is in force from an earlier start, and %s is broken: "
			      "everything stays as it is until the file is mended",
			      name->namespace_, name->name, broken);
		return true;
	}
	return false;
}

/* Overrides, guard, compiler, installer. On failure nothing is changed. */
static int bring(struct agent *agent, struct shunt_model *model, const struct shunt_cause *cause,
		 struct shunt_install_result *ret_result, struct shunt_err *err)
{
	const struct shunt_guard_opts opts = { .max_step_bp = agent->opts->max_step_bp };
	struct shunt_err note = { 0 };
	int r;

	if (would_lose_adopted(agent, model, err))
		return -EBUSY;
	r = shunt_overrides_apply(agent->overrides, model, &note);
	if (r < 0)
		return shunt_err_set(err, r, "%.500s", note.text);
	if (r)
		agent_state_problem(agent, note.text);

	r = shunt_guard_apply(model, agent->good, &opts);
	if (r < 0)
		return shunt_err_set(err, r, "out of memory");
	r = compile_and_install(agent, model, cause, ret_result, err);
	if (r < 0) {
		/* The guard has taken note of weights that are not in force. */
		if (agent->installed)
			shunt_last_good_replace(agent->good, &agent->model);
		else
			agent_state_load(agent);
	}
	return r;
}

/* ---- a change of the source ---------------------------------------------------------------------
 */

static void tell_released(struct agent *agent, const struct shunt_model *before)
{
	char object[SHUNT_LABEL_LEN];
	size_t n_released = 0;

	for (size_t i = 0; i < before->n_services; i++) {
		const struct shunt_model_service *service = &before->services[i];

		if (shunt_model_find_like(&agent->model, service))
			continue;
		if (n_released++ >= AGENT_TELL_AT_ONCE)
			continue;
		shunt_model_label(before, service, object);
		agent_event(agent, SHUNT_LOG_INFO, "ServiceReleased", object,
			    "no split any more: its connections live on, new ones pass");
	}
	tell_more(agent, n_released, "released");
}

/* What @before of an earlier model are in this one: those that it has still. */
static int find_again(const struct agent *agent, const struct agent_targets *before,
		      struct agent_targets *ret_now)
{
	size_t n = before ? before->n : 0;

	ret_now->items = calloc(n + 1, sizeof(*ret_now->items));
	if (!ret_now->items)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		ret_now->items[ret_now->n] = shunt_model_find_like(&agent->model, before->items[i]);
		ret_now->n += ret_now->items[ret_now->n] != NULL;
	}
	return 0;
}

static void record(struct agent *agent, const struct agent_targets *before,
		   const struct shunt_cause *cause)
{
	struct agent_targets now = { 0 };

	if (before && find_again(agent, before, &now) < 0)
		agent_state_problem(agent, "out of memory: who made the change is not noted");
	agent_record_changes(agent, &now, now.n ? cause : NULL);
	free(now.items);
}

/* @changed, @cause: of a command, NULL if none; @changed is of the model that goes. */
static int apply_source(struct agent *agent, const struct agent_targets *changed,
			const struct shunt_cause *cause, struct shunt_err *err)
{
	CLEANUP(shunt_model_free) struct shunt_model model = { 0 }, before = { 0 };
	struct shunt_install_result result = { 0 };
	uint32_t generation = agent->generation;
	int r;

	r = translate(agent, &model);
	if (r < 0)
		return shunt_err_set(err, r, "out of memory");
	r = bring(agent, &model, cause, &result, err);
	if (r < 0)
		return r;

	before = agent->model;
	agent->model = model;
	model = (struct shunt_model){ 0 };
	agent_baselines_forget(agent);
	record(agent, changed, cause);
	agent_tell_conditions(agent);
	tell_released(agent, &before);
	if (!agent->installed)
		agent_event(agent, SHUNT_LOG_INFO, "Installed", "",
			    "%zu service%s in force, generation %u%s", agent->model.n_services,
			    agent->model.n_services == 1 ? " is" : "s are", agent->generation,
			    shunt_dp_adopted(agent->dp) ? ", taken over from an earlier start"
							: "");
	else if (agent->generation != generation || result.services_changed)
		log_debug("generation %u: %u of %zu services changed, %zu compiled, %.1f ms",
			  agent->generation, result.services_changed, agent->images.n,
			  agent->images.compiled, result.took_ns / 1e6);
	agent->installed = true;
	return 0;
}

int agent_reapply(struct agent *agent, const struct agent_targets *changed,
		  const struct shunt_cause *cause, struct shunt_err *err)
{
	int r = apply_source(agent, changed, cause, err);

	agent->stale = agent->stale || r < 0;
	install_problem(agent, r < 0 ? err->text : "");
	return r;
}

void agent_refresh(struct agent *agent, bool anyway)
{
	struct shunt_err err = { 0 };
	bool changed = false;
	char text[1024];
	int r;

	r = shunt_dir_refresh(agent->dir, &changed, &err);
	source_problem(agent, r < 0 ? shunt_err_str(&err, text, sizeof(text)) : "");
	tell_files(agent);
	if (r >= 0 && !changed && !anyway && !agent->stale) {
		agent->confirmed_ns = shunt_mono_ns();
		return;
	}

	agent->stale = true;
	memset(&err, 0, sizeof(err));
	if (apply_source(agent, NULL, NULL, &err) < 0) {
		install_problem(agent, shunt_err_str(&err, text, sizeof(text)));
		return;
	}
	install_problem(agent, "");
	agent->stale = false;
	/* What translation needed for a while: 16 MiB of 10 000 services. */
	malloc_trim(0);
	if (r >= 0)
		agent->confirmed_ns = shunt_mono_ns();
}
