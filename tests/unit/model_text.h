/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_MODEL_TEXT_H
#define TESTS_MODEL_TEXT_H

#include "dialect/dialect.h"
#include "model/model.h"

/* A model as lines of text, for golden tests: services, then reports. Owned by the caller. */
char *model_text(const struct shunt_model *model);

/* Parses @yaml and translates it; any failure ends the test. Owned by the caller. */
void model_of_yaml(const char *yaml, const struct shunt_translate_opts *opts,
		   struct shunt_model *ret_model);

/* model_text() of model_of_yaml(). */
char *text_of_yaml(const char *yaml, const struct shunt_translate_opts *opts);

/* What some YAML becomes. */
struct text_case {
	const char *name;
	const char *yaml;
	const char *expect; /* is part of the model's text */
	const char *absent; /* is not; may be NULL */
};

/* Expects what @c says of its YAML with @more behind it. */
void expect_text(const struct text_case *c, const char *more,
		 const struct shunt_translate_opts *opts);

#endif
