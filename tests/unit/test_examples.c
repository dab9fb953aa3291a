// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "dialect/options.h"
#include "model_text.h"
#include "source/yaml/yaml.h"

/* Each example works as it stands: run from the top of the source tree, as make does. */
static void check_example(const char *path)
{
	struct shunt_entrypoint web;
	const struct shunt_translate_opts opts = { .entrypoints = &web, .n_entrypoints = 1 };
	struct shunt_objects objects = { 0 };
	struct shunt_model model = { 0 };
	struct shunt_err err = { 0 };
	char *text;

	cr_assert_eq(shunt_entrypoint_parse("web=203.0.113.1:80", &web, NULL), 0);
	cr_assert_eq(shunt_yaml_load(path, &objects, &err), 0, "%s: %s", path, err.text);
	cr_assert_eq(shunt_translate(&objects, &opts, &model), 0);
	text = model_text(&model);
	cr_expect_gt(model.n_services, 0, "%s", path);
	cr_expect_null(strstr(text, "=False/"), "%s:\n%s", path, text);
	cr_expect_null(strstr(text, "Refused=True"), "%s:\n%s", path, text);
	for (size_t i = 0; i < model.n_services; i++) {
		const struct shunt_model_service *service = &model.services[i];

		cr_expect_gt(service->n_frontends, 0, "%s: %s", path, service->name);
		for (size_t v = 0; v < service->n_variants; v++)
			cr_expect_gt(service->variants[v].n_backends, 0, "%s: %s", path,
				     service->variants[v].name);
	}
	free(text);
	shunt_model_free(&model);
	shunt_objects_free(&objects);
}

Test(examples, each_example_is_accepted_whole)
{
	glob_t found;

	cr_assert_eq(glob("manifests/examples/*.yaml", 0, NULL, &found), 0,
		     "run from the top of the source tree");
	for (size_t i = 0; i < found.gl_pathc; i++)
		check_example(found.gl_pathv[i]);
	globfree(&found);
}
