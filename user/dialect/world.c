// SPDX-License-Identifier: Apache-2.0
#include "dialect/world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "dialect/world_decode.h"

bool shunt_world_group_is(const char *api_version, const char *group)
{
	size_t len = shunt_api_group_len(api_version);

	return len == strlen(group) && !memcmp(api_version, group, len);
}

static int compare_names(const char *a_namespace, const char *a, const char *b_namespace,
			 const char *b)
{
	int r = strcmp(a_namespace, b_namespace);

	return r ? r : strcmp(a, b);
}

static int compare_services(const void *a, const void *b)
{
	const struct shunt_world_service *left = a, *right = b;

	return compare_names(left->namespace_, left->name, right->namespace_, right->name);
}

static int compare_slices(const void *a, const void *b)
{
	const struct shunt_world_slice *left = a, *right = b;
	int r = compare_names(left->namespace_, left->service, right->namespace_, right->service);

	return r ? r : strcmp(left->object->name, right->object->name);
}

static void slice_clear(struct shunt_world_slice *slice)
{
	free(slice->ports);
	free(slice->endpoints);
}

static int add_service(struct shunt_world *world, struct shunt_reports *reports,
		       const struct shunt_object *object)
{
	struct shunt_world_service *service;
	struct shunt_err err = { 0 };
	int r;

	service = shunt_array_add(&world->services, &world->n_services, sizeof(*service));
	if (!service)
		return -ENOMEM;
	service->object = object;
	service->namespace_ = object->namespace_;
	service->name = object->name;
	r = shunt_object_check_names(object, &err);
	if (!r && !object->name[0])
		r = shunt_object_err(&err, -EINVAL, object, NULL, "metadata.name", "is required");
	if (!r)
		r = shunt_world_decode_service(object, &err, service);
	if (!r || r == -ENOMEM)
		return r;
	service->refused = true;
	return shunt_report_refuse(reports, object, r, &err);
}

static int add_slice(struct shunt_world *world, struct shunt_reports *reports,
		     const struct shunt_object *object)
{
	struct shunt_world_slice *slice;
	struct shunt_err err = { 0 };
	int r;

	slice = shunt_array_add(&world->slices, &world->n_slices, sizeof(*slice));
	if (!slice)
		return -ENOMEM;
	slice->object = object;
	slice->namespace_ = object->namespace_;
	slice->service = "";
	r = shunt_object_check_names(object, &err);
	if (!r)
		r = shunt_world_decode_slice(object, &err, slice);
	if (!r || r == -ENOMEM)
		return r;
	slice_clear(slice);
	world->n_slices--;
	return r > 0 ? 0 : shunt_report_refuse(reports, object, r, &err);
}

int shunt_world_build(const struct shunt_objects *objects, struct shunt_reports *reports,
		      struct shunt_world *ret_world)
{
	struct shunt_world *world = ret_world;
	int r = 0;

	*world = (struct shunt_world){ .objects = objects };
	for (size_t i = 0; i < objects->n && !r; i++) {
		const struct shunt_object *object = objects->items[i];

		if (!strcmp(object->kind, "Service") && !strcmp(object->api_version, "v1"))
			r = add_service(world, reports, object);
		else if (!strcmp(object->kind, "EndpointSlice") &&
			 !strcmp(object->api_version, "discovery.k8s.io/v1"))
			r = add_slice(world, reports, object);
	}
	if (world->n_services)
		qsort(world->services, world->n_services, sizeof(*world->services),
		      compare_services);
	if (world->n_slices)
		qsort(world->slices, world->n_slices, sizeof(*world->slices), compare_slices);
	return r;
}

void shunt_world_free(struct shunt_world *world)
{
	for (size_t i = 0; i < world->n_services; i++) {
		free(world->services[i].cluster_ips);
		free(world->services[i].addresses);
		free(world->services[i].ports);
		free(world->services[i].source_ranges.items);
	}
	free(world->services);
	for (size_t i = 0; i < world->n_slices; i++)
		slice_clear(&world->slices[i]);
	free(world->slices);
	*world = (struct shunt_world){ 0 };
}

const struct shunt_world_service *shunt_world_service(const struct shunt_world *world,
						      const char *namespace_, const char *name)
{
	const struct shunt_world_service key = { .namespace_ = namespace_, .name = name };

	return world->n_services ? bsearch(&key, world->services, world->n_services, sizeof(key),
					   compare_services)
				 : NULL;
}

const struct shunt_world_slice *shunt_world_slices(const struct shunt_world *world,
						   const char *namespace_, const char *service,
						   size_t *ret_n)
{
	size_t low = 0, high = world->n_slices, end;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct shunt_world_slice *slice = &world->slices[middle];

		if (compare_names(slice->namespace_, slice->service, namespace_, service) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (end = low; end < world->n_slices; end++)
		if (compare_names(world->slices[end].namespace_, world->slices[end].service,
				  namespace_, service))
			break;
	*ret_n = end - low;
	return end > low ? &world->slices[low] : NULL;
}

/* Index of the first object that is not before @key. */
static size_t object_place(const struct shunt_objects *objects, const struct shunt_object *key)
{
	size_t low = 0, high = objects->n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (shunt_object_compare(objects->items[middle], key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct shunt_object *shunt_world_object(const struct shunt_world *world, const char *group,
					      const char *kind, const char *namespace_,
					      const char *name)
{
	const struct shunt_objects *objects = world->objects;

	/* From one apiVersion to the next: there are few. \xff sorts behind all kinds. */
	for (size_t i = 0; i < objects->n;) {
		struct shunt_object key = { .api_version = objects->items[i]->api_version,
					    .kind = kind,
					    .namespace_ = namespace_,
					    .name = name };

		if (shunt_world_group_is(key.api_version, group)) {
			size_t place = object_place(objects, &key);

			if (place < objects->n &&
			    !shunt_object_compare(objects->items[place], &key))
				return objects->items[place];
		}
		key.kind = "\xff";
		i = object_place(objects, &key);
	}
	return NULL;
}

const struct shunt_object *shunt_world_next(const struct shunt_world *world, const char *group,
					    const char *kind, size_t *pos)
{
	const struct shunt_objects *objects = world->objects;

	while (*pos < objects->n) {
		const struct shunt_object *object = objects->items[*pos];
		struct shunt_object key = { .api_version = object->api_version,
					    .kind = kind,
					    .namespace_ = "",
					    .name = "" };
		bool is_group = shunt_world_group_is(object->api_version, group);
		int order = strcmp(object->kind, kind);

		if (is_group && !order) {
			(*pos)++;
			return object;
		}
		/* To the first one of the kind, or past this apiVersion. */
		if (!is_group || order > 0)
			key.kind = "\xff";
		*pos = object_place(objects, &key);
	}
	return NULL;
}

const json_t *shunt_world_pod_labels(const struct shunt_world *world, const char *namespace_,
				     const char *pod)
{
	const struct shunt_object *object = shunt_world_object(world, "", "Pod", namespace_, pod);

	return object ? json_object_get(json_object_get(object->json, "metadata"), "labels") : NULL;
}
