// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>

#include "dialect/dialect.h"
#include "source/yaml/yaml.h"

/*
 * Any bytes through the YAML reader, the translators and the model. Linked with libFuzzer or
 * with driver.c.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct shunt_translate_opts opts = { .default_drain_s = 60 };
	struct shunt_objects objects = { 0 };
	struct shunt_model model = { 0 };
	struct shunt_err err;

	if (!shunt_yaml_parse("fuzz", (const char *)data, size, &objects, &err) &&
	    !shunt_translate(&objects, &opts, &model))
		shunt_model_free(&model);
	shunt_objects_free(&objects);
	return 0;
}
