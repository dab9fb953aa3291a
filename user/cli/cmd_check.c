// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/print.h"
#include "cli/status.h"
#include "dialect/dialect.h"
#include "dialect/options.h"
#include "model/policy_json.h"
#include "source/yaml/yaml.h"

/* What was read from all paths, and what is wrong. */
struct check {
	const struct cli *cli;
	struct shunt_objects objects;
	struct shunt_model model;
	json_t *findings; /* array, as printed with -o json */
	json_t *known;	  /* object: "FILE:LINE TEXT" of each condition that was said */
	bool policies;	  /* are shown */
	bool other_kinds; /* are fine: a repository holds more than Shunt reads */
};

static void check_end(struct check *check)
{
	shunt_objects_free(&check->objects);
	shunt_model_free(&check->model);
	json_decref(check->findings);
	json_decref(check->known);
}

static void add_problem(struct check *check, const struct shunt_err *err)
{
	json_array_append_new(check->findings,
			      json_pack("{s:s, s:i, s:i, s:s, s:s}", "file", err->file, "line",
					(int)err->line, "column", (int)err->column, "field",
					err->field, "text", err->text));
}

static int add_shared(struct check *check, const struct shunt_objects *from)
{
	struct shunt_object **items;

	items = realloc(check->objects.items, (check->objects.n + from->n + 1) * sizeof(*items));
	if (!items)
		return -ENOMEM;
	check->objects.items = items;
	for (size_t i = 0; i < from->n; i++) {
		items[check->objects.n] = shunt_object_share(from->items[i]);
		if (!items[check->objects.n])
			return -ENOMEM;
		check->objects.n++;
	}
	return 0;
}

static void dir_closep(struct shunt_dir **dir)
{
	shunt_dir_close(*dir);
}

/* The agent's own way to read a directory: one bad file does not hide the others. */
static int load_dir(struct check *check, const char *path, struct shunt_err *err)
{
	CLEANUP(dir_closep) struct shunt_dir *dir = NULL;
	const struct shunt_dir_problem *problems;
	bool has_changed;
	size_t n;
	int r;

	r = shunt_dir_open(path, &dir, err);
	if (r == 0)
		r = shunt_dir_refresh(dir, &has_changed, err);
	if (r < 0)
		return r;
	problems = shunt_dir_problems(dir, &n);
	for (size_t i = 0; i < n; i++)
		add_problem(check, &problems[i].err);
	return add_shared(check, shunt_dir_objects(dir));
}

static void objects_freep(struct shunt_objects *objects)
{
	shunt_objects_free(objects);
}

static int load(struct check *check, const char *path, struct shunt_err *err)
{
	CLEANUP(objects_freep) struct shunt_objects objects = { 0 };
	struct stat st;
	int r;

	if (stat(path, &st) < 0)
		return shunt_err_set(err, -errno, "%s: %s", path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return load_dir(check, path, err);

	r = shunt_yaml_load(path, &objects, err);
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		add_problem(check, err);
		return 0;
	}
	return add_shared(check, &objects);
}

static void find_duplicates(struct check *check)
{
	struct shunt_err err;

	shunt_objects_sort_ids(&check->objects);
	for (size_t i = 1; i < check->objects.n; i++) {
		const struct shunt_object *a = check->objects.items[i - 1];
		const struct shunt_object *b = check->objects.items[i];

		if (!b->name[0] || shunt_object_compare_id(a, b))
			continue;
		shunt_object_err(&err, -EEXIST, b, NULL, "", "%s %s/%s is also in %s:%u", b->kind,
				 b->namespace_, b->name, a->file, a->line);
		add_problem(check, &err);
	}
	shunt_objects_sort(&check->objects);
}

/* Accepted and ResolvedRefs should be True, every other condition says what is wrong. */
static bool is_bad(const struct shunt_condition *condition)
{
	if (!strcmp(condition->type, "Accepted") || !strcmp(condition->type, "ResolvedRefs"))
		return strcmp(condition->status, "True") != 0;
	return !strcmp(condition->status, "True");
}

/* Does this object say so for the first time? Its services repeat some of what it says. */
static bool is_new(struct check *check, const struct shunt_object_ref *ref,
		   const struct shunt_condition *condition)
{
	CLEANUP(freep) char *key = NULL;

	if (asprintf(&key, "%s:%u %s", ref->file, ref->line, condition->message) < 0)
		return true;
	if (json_object_get(check->known, key))
		return false;
	json_object_set_new(check->known, key, json_true());
	return true;
}

static void add_conditions(struct check *check, const struct shunt_object_ref *ref,
			   const struct shunt_conditions *conditions)
{
	for (size_t i = 0; i < conditions->n; i++) {
		const struct shunt_condition *c = &conditions->items[i];

		if (!is_bad(c) || (check->other_kinds && !strcmp(c->reason, "UnsupportedKind")) ||
		    !is_new(check, ref, c))
			continue;
		json_array_append_new(check->findings,
				      json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s}",
						"file", ref->file, "line", (int)ref->line, "kind",
						ref->kind, "namespace", ref->namespace_, "name",
						ref->name, "type", c->type, "status", c->status,
						"reason", c->reason, "text", c->message));
	}
}

/* By place: file, line, column. */
static int by_place(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	/* As people count: v2 before v10. */
	long long order = strverscmp(cli_str(x, "file"), cli_str(y, "file"));

	if (!order)
		order = cli_int(x, "line") - cli_int(y, "line");
	if (!order)
		order = cli_int(x, "column") - cli_int(y, "column");
	if (!order)
		order = strverscmp(cli_str(x, "text"), cli_str(y, "text"));
	return order < 0 ? -1 : order > 0;
}

static int sort_findings(struct check *check)
{
	size_t n = json_array_size(check->findings), i;
	CLEANUP(freep) json_t **items = calloc(n + 1, sizeof(json_t *));
	json_t *sorted = json_array(), *finding;

	if (!items || !sorted) {
		json_decref(sorted);
		return -ENOMEM;
	}
	json_array_foreach (check->findings, i, finding)
		items[i] = finding;
	qsort(items, n, sizeof(*items), by_place);
	for (i = 0; i < n; i++)
		json_array_append(sorted, items[i]);
	json_decref(check->findings);
	check->findings = sorted;
	return 0;
}

static void find_conditions(struct check *check)
{
	for (size_t i = 0; i < check->model.n_reports; i++)
		add_conditions(check, &check->model.reports[i].ref,
			       &check->model.reports[i].conditions);
	for (size_t i = 0; i < check->model.n_services; i++)
		add_conditions(check, &check->model.services[i].source,
			       &check->model.services[i].conditions);
}

/* FILE:LINE:COLUMN: what, as compilers say it, so that editors and CI find the place. */
static void print_finding(const struct cli *cli, const json_t *finding)
{
	const char *file = cli_str(finding, "file"), *text = cli_str(finding, "text");
	const char *field = cli_str(finding, "field");
	size_t len = strlen(file);

	/* The text of a condition begins with its place, some to the column, some without line. */
	if (len && !strncmp(text, file, len) && text[len] == ':' && text[len + 1] == ' ')
		text += len + 2;
	if (len && !strncmp(text, file, len) && text[len] == ':') {
		print_text(cli, PRINT_PLAIN, "%s", text);
	} else {
		if (len)
			print_text(cli, PRINT_BOLD, "%s:%lld:", file, cli_int(finding, "line"));
		if (len && cli_int(finding, "column"))
			print_text(cli, PRINT_BOLD, "%lld:", cli_int(finding, "column"));
		print_text(cli, PRINT_PLAIN, "%s%s%s%s", len ? " " : "", field, *field ? ": " : "",
			   text);
	}
	if (*cli_str(finding, "kind") && !*cli_str(finding, "name"))
		print_text(cli, PRINT_DIM, " (%s: %s)", cli_str(finding, "kind"),
			   cli_str(finding, "reason"));
	else if (*cli_str(finding, "kind"))
		print_text(cli, PRINT_DIM, " (%s %s/%s: %s)", cli_str(finding, "kind"),
			   cli_str(finding, "namespace"), cli_str(finding, "name"),
			   cli_str(finding, "reason"));
	fputc('\n', cli->out);
}

/* What each service lets in, as `shunt status SERVICE` shows it. */
static void print_policies(const struct check *check)
{
	for (size_t i = 0; i < check->model.n_services; i++) {
		const struct shunt_model_service *service = &check->model.services[i];
		char label[SHUNT_LABEL_LEN];
		json_auto_t *policy = NULL;

		if (!service->policy)
			continue;
		policy = shunt_policy_to_json(service->policy);
		print_text(check->cli, PRINT_BOLD, "%s",
			   shunt_model_label(&check->model, service, label));
		fputc('\n', check->cli->out);
		status_print_policy(check->cli, policy);
	}
}

/* The policies, by service, for programs. */
static json_t *policies_json(const struct check *check)
{
	json_t *policies = json_object();

	for (size_t i = 0; i < check->model.n_services; i++) {
		const struct shunt_model_service *service = &check->model.services[i];
		char label[SHUNT_LABEL_LEN];

		if (service->policy)
			json_object_set_new(policies,
					    shunt_model_label(&check->model, service, label),
					    shunt_policy_to_json(service->policy));
	}
	return policies;
}

static int print_result(struct check *check)
{
	size_t n = json_array_size(check->findings), i;
	json_auto_t *result = NULL;
	const json_t *finding;
	int r;

	if (check->cli->is_json) {
		result = json_pack("{s:i, s:i, s:O}", "objects", (int)check->objects.n, "services",
				   (int)check->model.n_services, "findings", check->findings);
		if (check->policies)
			json_object_set_new(result, "policies", policies_json(check));
		r = cli_print_json(check->cli, result);
		return r ? r : n ? SHUNT_EXIT_FINDINGS : 0;
	}
	json_array_foreach (check->findings, i, finding)
		print_finding(check->cli, finding);
	if (check->policies)
		print_policies(check);
	fprintf(check->cli->out, "%zu object%s, %zu split service%s, %zu finding%s\n",
		check->objects.n, check->objects.n == 1 ? "" : "s", check->model.n_services,
		check->model.n_services == 1 ? "" : "s", n, n == 1 ? "" : "s");
	return n ? SHUNT_EXIT_FINDINGS : 0;
}

static int check_paths(struct check *check, const struct shunt_dialect_options *options)
{
	const struct cli *cli = check->cli;
	struct shunt_translate_opts opts;
	struct shunt_err err = { 0 };
	char text[1100];
	int r = 0;

	for (int i = 0; i < cli->n_args && r == 0; i++)
		r = load(check, cli->args[i], &err);
	if (r == -ENOMEM)
		return cli_fail(cli, SHUNT_CTL_INTERNAL, "out of memory");
	if (r < 0)
		return cli_fail(cli, r == -ENOENT ? SHUNT_CTL_NOT_FOUND : SHUNT_CTL_USAGE, "%s",
				shunt_err_str(&err, text, sizeof(text)));

	find_duplicates(check);
	shunt_dialect_options_get(options, &opts);
	if (shunt_translate(&check->objects, &opts, &check->model) < 0)
		return cli_fail(cli, SHUNT_CTL_INTERNAL, "out of memory");
	find_conditions(check);
	if (sort_findings(check) < 0)
		return cli_fail(cli, SHUNT_CTL_INTERNAL, "out of memory");
	return print_result(check);
}

static void options_freep(struct shunt_dialect_options *options)
{
	shunt_dialect_options_free(options);
}

static int run(struct cli *cli)
{
	CLEANUP(check_end)
	struct check check = { .cli = cli, .findings = json_array(), .known = json_object() };
	CLEANUP(options_freep) struct shunt_dialect_options options;
	struct shunt_err err = { 0 };

	shunt_dialect_options_init(&options);
	check.other_kinds = cli_flag(cli, "other-kinds") != NULL;
	check.policies = cli_flag(cli, "policies") != NULL;
	for (int i = 0; i < cli->n_set; i++) {
		if (shunt_dialect_options_set(&options, cli->set[i].name, cli->set[i].value, &err) <
		    0)
			return cli_fail(cli, SHUNT_CTL_USAGE, "%s", err.text);
	}
	return check_paths(&check, &options);
}

static const struct cli_flag flags[] = {
	{ "policies", NULL, "show what each service lets in", 0 },
	{ "other-kinds", NULL, "let objects of kinds that Shunt does not read pass", 0 },
#define TRANSLATE_FLAG(name, value, help) { name, value, help, 0 },
	SHUNT_TRANSLATE_OPTIONS(TRANSLATE_FLAG)
#undef TRANSLATE_FLAG
		{ 0 },
};

static const struct cli_example examples[] = {
	{ "shunt check manifests/", "every *.yaml, *.yml and *.json below it" },
	{ "shunt check --policies shop.yaml", "and which limits hold for which service" },
	{ "shunt check --frontend-cidr 203.0.113.0/24 shop.yaml", "as the agent would take it" },
	{ 0 },
};

const struct cli_command cli_check = {
	.name = "check",
	.args = "FILE|DIR...",
	.summary = "check manifests without an agent, for CI",
	.text = "Reads manifests as the agent would, all paths together, and prints everything "
		"that is "
		"wrong or that Shunt cannot do, one finding a line with file, line and column. "
		"Needs "
		"neither an agent nor root. Give the options that shuntd has where the manifests "
		"are "
		"used.",
	.flags = flags,
	.examples = examples,
	.min_args = 1,
	.max_args = -1,
	.exits = CLI_EXIT(SHUNT_EXIT_FINDINGS) | CLI_EXIT(SHUNT_CTL_NOT_FOUND) |
		 CLI_EXIT(SHUNT_CTL_INTERNAL),
	.complete = CLI_COMPLETE_FILES,
	.run = run,
};
