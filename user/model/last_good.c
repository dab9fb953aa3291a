// SPDX-License-Identifier: Apache-2.0
#include "model/last_good.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static void service_free(struct shunt_good_service *service)
{
	for (size_t i = 0; i < service->n_variants; i++)
		free(service->variants[i].name);
	free(service->variants);
	shunt_service_key_free(&service->key);
}

static void clear(struct shunt_last_good *good)
{
	for (size_t i = 0; i < good->n_services; i++)
		service_free(&good->services[i]);
	free(good->services);
	memset(good, 0, sizeof(*good));
}

struct shunt_last_good *shunt_last_good_new(void)
{
	return calloc(1, sizeof(struct shunt_last_good));
}

void shunt_last_good_free(struct shunt_last_good *good)
{
	if (!good)
		return;
	clear(good);
	free(good);
}

static void freep_good(struct shunt_last_good **good)
{
	shunt_last_good_free(*good);
}

static int cmp(const void *a, const void *b)
{
	return shunt_service_key_cmp(a, b);
}

static void sort(struct shunt_last_good *good)
{
	if (good->n_services)
		qsort(good->services, good->n_services, sizeof(*good->services), cmp);
}

const struct shunt_good_service *shunt_last_good_find(const struct shunt_last_good *good,
						      const struct shunt_model_service *service)
{
	return shunt_service_key_find(good->services, good->n_services, sizeof(*good->services),
				      service);
}

const struct shunt_good_variant *shunt_good_variant_find(const struct shunt_good_service *service,
							 const char *name)
{
	for (size_t i = 0; i < service->n_variants; i++)
		if (!strcmp(service->variants[i].name, name))
			return &service->variants[i];
	return NULL;
}

/* Makes room for @n variants; service_free() is right after each variant_add(). */
static int variants_alloc(struct shunt_good_service *service, size_t n)
{
	service->variants = calloc(n ? n : 1, sizeof(*service->variants));
	return service->variants ? 0 : -ENOMEM;
}

static int variant_add(struct shunt_good_service *service, const char *name, uint32_t weight,
		       bool drained)
{
	struct shunt_good_variant *variant = &service->variants[service->n_variants];

	variant->name = strdup(name);
	if (!variant->name)
		return -ENOMEM;
	variant->weight = weight;
	variant->drained = drained;
	service->n_variants++;
	return 0;
}

static int remember(struct shunt_last_good *good, const struct shunt_model_service *service)
{
	struct shunt_good_service *entry = &good->services[good->n_services];
	int r = shunt_service_key_of(service, &entry->key);

	if (r < 0)
		return r;
	good->n_services++;
	r = variants_alloc(entry, service->n_variants);
	for (size_t i = 0; !r && i < service->n_variants; i++)
		r = variant_add(entry, service->variants[i].name, service->variants[i].weight,
				service->variants[i].drained);
	return r;
}

int shunt_last_good_replace(struct shunt_last_good *good, const struct shunt_model *model)
{
	struct shunt_last_good next = { 0 };
	int r = 0;

	next.services = calloc(model->n_services + 1, sizeof(*next.services));
	if (!next.services)
		return -ENOMEM;
	for (size_t i = 0; !r && i < model->n_services; i++)
		r = remember(&next, &model->services[i]);
	if (r < 0) {
		clear(&next);
		return r;
	}
	sort(&next);
	clear(good);
	*good = next;
	return 0;
}

static json_t *service_to_json(const struct shunt_good_service *service)
{
	json_t *weights = json_object(), *drained = json_array();
	int r = weights && drained ? 0 : -1;

	for (size_t i = 0; !r && i < service->n_variants; i++) {
		const struct shunt_good_variant *variant = &service->variants[i];

		r = json_object_set_new(weights, variant->name, json_integer(variant->weight));
		if (!r && variant->drained)
			r = json_array_append_new(drained, json_string(variant->name));
	}
	if (r) {
		json_decref(weights);
		json_decref(drained);
		return NULL;
	}
	return json_pack("{s:s, s:o, s:o}", "ports", service->key.ports, "weights", weights,
			 "drained", drained);
}

static int json_add_service(json_t *json, const struct shunt_good_service *service)
{
	size_t size = strlen(service->key.namespace_) + strlen(service->key.name) + 2;
	CLEANUP(freep) char *name = malloc(size);
	json_t *list;

	if (!name)
		return -ENOMEM;
	snprintf(name, size, "%s/%s", service->key.namespace_, service->key.name);
	list = json_object_get(json, name);
	if (!list) {
		list = json_array();
		if (json_object_set_new(json, name, list))
			return -ENOMEM;
	}
	return json_array_append_new(list, service_to_json(service)) ? -ENOMEM : 0;
}

int shunt_last_good_to_json(const struct shunt_last_good *good, json_t **ret_json)
{
	json_t *json = json_object();
	int r = json ? 0 : -ENOMEM;

	for (size_t i = 0; !r && i < good->n_services; i++)
		r = json_add_service(json, &good->services[i]);
	if (r < 0) {
		json_decref(json);
		return r;
	}
	*ret_json = json;
	return 0;
}

static bool list_has(const json_t *list, const char *name)
{
	size_t i;
	json_t *item;

	json_array_foreach (list, i, item)
		if (json_is_string(item) && !strcmp(json_string_value(item), name))
			return true;
	return false;
}

static int weights_from_json(json_t *weights, const json_t *drained,
			     struct shunt_good_service *service)
{
	int r = variants_alloc(service, json_object_size(weights));
	const char *name;
	json_t *weight;

	if (r < 0)
		return r;
	json_object_foreach (weights, name, weight) {
		json_int_t value = json_integer_value(weight);

		if (!json_is_integer(weight) || value < 0 || value > SHUNT_MAX_WEIGHT)
			return -EINVAL;
		r = variant_add(service, name, value, list_has(drained, name));
		if (r < 0)
			return r;
	}
	return 0;
}

static int service_from_json(const char *full_name, json_t *json, struct shunt_last_good *good)
{
	struct shunt_good_service *services, *service;
	json_t *weights = json_object_get(json, "weights");
	const char *ports = json_string_value(json_object_get(json, "ports"));
	int r;

	if (!ports || !json_is_object(weights))
		return -EINVAL;
	services = reallocarray(good->services, good->n_services + 1, sizeof(*services));
	if (!services)
		return -ENOMEM;
	good->services = services;
	service = &services[good->n_services];
	memset(service, 0, sizeof(*service));
	r = shunt_service_key_parse(full_name, ports, &service->key);
	if (r < 0)
		return r;
	good->n_services++;
	return weights_from_json(weights, json_object_get(json, "drained"), service);
}

int shunt_last_good_from_json(json_t *json, struct shunt_last_good **ret_good)
{
	CLEANUP(freep_good) struct shunt_last_good *good = shunt_last_good_new();
	const char *name;
	json_t *list, *item;
	size_t i;
	int r;

	if (!good)
		return -ENOMEM;
	if (!json_is_object(json))
		return -EINVAL;
	json_object_foreach (json, name, list) {
		if (!json_is_array(list))
			return -EINVAL;
		json_array_foreach (list, i, item) {
			r = service_from_json(name, item, good);
			if (r < 0)
				return r;
		}
	}
	sort(good);
	*ret_good = TAKE_PTR(good);
	return 0;
}
