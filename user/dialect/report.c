// SPDX-License-Identifier: Apache-2.0
#include "dialect/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

int shunt_report_ref(const struct shunt_object *object, struct shunt_object_ref *ref)
{
	const json_t *metadata = json_object_get(object->json, "metadata");
	const json_t *generation = json_object_get(metadata, "generation");

	ref->kind = strdup(object->kind);
	ref->namespace_ = strdup(object->namespace_);
	ref->name = strdup(object->name);
	ref->file = strdup(object->file);
	ref->line = object->line;
	ref->generation = json_is_integer(generation) ? json_integer_value(generation) : 0;
	return ref->kind && ref->namespace_ && ref->name && ref->file ? 0 : -ENOMEM;
}

struct shunt_conditions *shunt_report(struct shunt_reports *reports,
				      const struct shunt_object *object)
{
	const struct shunt_object **slot;
	struct shunt_object_report *report;

	for (size_t i = reports->n; i-- > 0;) /* most often it is the last one */
		if (reports->objects[i] == object)
			return &reports->items[i].conditions;

	slot = shunt_array_add(&reports->objects, &reports->n_objects, sizeof(*slot));
	if (!slot)
		return NULL;
	report = shunt_array_add(&reports->items, &reports->n, sizeof(*report));
	if (!report) {
		reports->n_objects--;
		return NULL;
	}
	*slot = object;
	return shunt_report_ref(object, &report->ref) < 0 ? NULL : &report->conditions;
}

int shunt_report_refuse(struct shunt_reports *reports, const struct shunt_object *object, int code,
			const struct shunt_err *err)
{
	struct shunt_conditions *conditions = shunt_report(reports, object);
	char text[1024];

	if (!conditions)
		return -ENOMEM;
	return shunt_conditions_set(conditions, "Accepted", "False",
				    code == -EOPNOTSUPP ? "UnsupportedValue" : "Invalid", "%s",
				    shunt_err_str(err, text, sizeof(text)));
}

int shunt_report_refuse_part(struct shunt_reports *reports, const struct shunt_object *object,
			     const char *reason, const struct shunt_err *err)
{
	struct shunt_conditions *conditions = shunt_report(reports, object);
	const struct shunt_condition *accepted;
	char text[1024];
	bool is_accepted;

	if (!conditions)
		return -ENOMEM;
	accepted = shunt_conditions_get(conditions, "Accepted");
	is_accepted = accepted && !strcmp(accepted->status, "True");
	return shunt_conditions_set(conditions, is_accepted ? "PartiallyInvalid" : "Accepted",
				    is_accepted ? "True" : "False", reason, "%s",
				    shunt_err_str(err, text, sizeof(text)));
}

int shunt_report_refuse_at(struct shunt_reports *reports, const struct shunt_node *at,
			   const char *reason, const char *fmt, ...)
{
	struct shunt_err err;
	char text[400];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	shunt_object_err(&err, 0, at->object, at->json, at->path, "%s", text);
	return shunt_report_refuse_part(reports, at->object, reason, &err);
}

int shunt_report_accept_part(struct shunt_reports *reports, const struct shunt_object *object,
			     const char *fmt, ...)
{
	struct shunt_conditions *conditions = shunt_report(reports, object);
	const struct shunt_condition *before;
	char text[400];
	va_list args;

	if (!conditions)
		return -ENOMEM;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	before = shunt_conditions_get(conditions, "Accepted");
	if (before && strcmp(before->status, "True") &&
	    shunt_conditions_set(conditions, "PartiallyInvalid", "True", before->reason, "%s",
				 before->message) < 0)
		return -ENOMEM;
	return shunt_conditions_set(conditions, "Accepted", "True", "Accepted", "%s", text);
}

void shunt_reports_free(struct shunt_reports *reports)
{
	struct shunt_model holder = { .reports = reports->items, .n_reports = reports->n };

	shunt_model_free(&holder);
	free(reports->objects);
	*reports = (struct shunt_reports){ 0 };
}
