/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_REPORT_H
#define SHUNT_DIALECT_REPORT_H

#include <stddef.h>

#include "base/err.h"
#include "dialect/field.h"
#include "model/model.h"
#include "source/object.h"

/* Reports being collected; each belongs to one object. */
struct shunt_reports {
	struct shunt_object_report *items;
	const struct shunt_object **objects; /* of items[i] */
	size_t n;
	size_t n_objects; /* equals n */
};

/* Return: the conditions of @object's report, made on first use; NULL: out of memory. */
struct shunt_conditions *shunt_report(struct shunt_reports *reports,
				      const struct shunt_object *object);

/**
 * shunt_report_refuse - Accepted=False for @object, with the text of @err
 * @code: -EINVAL gives the reason Invalid, -EOPNOTSUPP UnsupportedValue
 *
 * Return: 0 or -ENOMEM.
 */
int shunt_report_refuse(struct shunt_reports *reports, const struct shunt_object *object, int code,
			const struct shunt_err *err);

/*
 * What became of one parent or target of @object, which may have several: all fine is Accepted,
 * none is not, and some is Accepted with PartiallyInvalid=True besides. Return: 0 or -ENOMEM.
 */
int shunt_report_refuse_part(struct shunt_reports *reports, const struct shunt_object *object,
			     const char *reason, const struct shunt_err *err);
/* The first of these, about @at; of the text 399 bytes are kept. */
int shunt_report_refuse_at(struct shunt_reports *reports, const struct shunt_node *at,
			   const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int shunt_report_accept_part(struct shunt_reports *reports, const struct shunt_object *object,
			     const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Fills an empty @ref from @object. Return: 0 or -ENOMEM. */
int shunt_report_ref(const struct shunt_object *object, struct shunt_object_ref *ref);

void shunt_reports_free(struct shunt_reports *reports);

#endif
