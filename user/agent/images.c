// SPDX-License-Identifier: Apache-2.0
#include "agent/images.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/policy.h"
#include "shunt/choose.h"

/* ---- the digest ------------------------------------------------------------------------ */

/* Field by field: structures have padding. */
static uint64_t mix_number(uint64_t digest, uint64_t number)
{
	return shunt_mix64(digest ^ number) * 0x9e3779b97f4a7c15ull;
}

static uint64_t mix_string(uint64_t digest, const char *string)
{
	return mix_number(digest, shunt_name_seed(string));
}

static uint64_t mix_ip(uint64_t digest, const struct shunt_ip *ip)
{
	const __be32 *word = ip->addr.word_be;

	digest = mix_number(digest, ip->family);
	digest = mix_number(digest, shunt_pair(word[0], word[1]));
	return mix_number(digest, shunt_pair(word[2], word[3]));
}

static uint64_t mix_variant(uint64_t digest, const struct shunt_model_variant *variant)
{
	digest = mix_string(digest, variant->name);
	digest = mix_number(digest, (uint64_t)variant->weight << 32 | variant->drain_deadline_s);
	digest = mix_number(digest, (uint64_t)variant->group << 1 | variant->drained);
	digest = mix_number(digest, variant->n_backends);
	for (size_t i = 0; i < variant->n_backends; i++) {
		const struct shunt_model_backend *b = &variant->backends[i];

		digest = mix_ip(digest, &b->ip);
		digest = mix_number(digest, (uint64_t)b->port << 32 | b->port_index);
		digest = mix_number(digest, (uint64_t)b->weight << 32 | b->state << 1 | b->usable);
	}
	return digest;
}

uint64_t agent_service_digest(const struct shunt_model_service *service)
{
	const struct shunt_affinity_spec *affinity = &service->affinity;
	uint64_t digest = 0xcbf29ce484222325ull;

	digest = mix_string(digest, service->namespace_);
	digest = mix_string(digest, service->name);
	digest = mix_number(digest, service->n_ports);
	for (size_t i = 0; i < service->n_ports; i++)
		digest = mix_number(digest, (uint64_t)service->ports[i].http << 24 |
						    (uint64_t)service->ports[i].port << 8 |
						    service->ports[i].proto);
	digest = mix_number(digest, service->n_frontends);
	for (size_t i = 0; i < service->n_frontends; i++) {
		digest = mix_ip(digest, &service->frontends[i].ip);
		digest =
			mix_number(digest, (uint64_t)service->frontends[i].load_balancer << 32 |
						   (uint64_t)service->frontends[i].node_port << 16 |
						   service->frontends[i].port_index);
	}
	digest = mix_number(digest, (uint64_t)service->owned << 1 | service->empty_policy << 2);
	digest = mix_number(digest, (uint64_t)affinity->kind << 32 | affinity->timeout_s);
	digest = mix_number(digest, (uint64_t)affinity->prefix_len_4 << 8 | affinity->prefix_len_6);
	digest = mix_number(digest, shunt_policy_digest(service->policy));
	digest = mix_number(digest, service->n_variants);
	for (size_t i = 0; i < service->n_variants; i++)
		digest = mix_variant(digest, &service->variants[i]);
	return shunt_mix64(digest);
}

/* ---- the cache ------------------------------------------------------------------------- */

static void image_unref(struct agent_image *image)
{
	if (!image || --image->refs)
		return;
	shunt_image_free(image->image);
	free(image);
}

static int by_digest(const void *a, const void *b)
{
	const struct agent_image *x = *(struct agent_image *const *)a;
	const struct agent_image *y = *(struct agent_image *const *)b;

	return x->digest < y->digest ? -1 : x->digest > y->digest;
}

/* Return: the image of @digest with a reference for the caller, or NULL. */
static struct agent_image *take_old(const struct agent_images *old, uint64_t digest)
{
	const struct agent_image wanted = { .digest = digest }, *key = &wanted;
	struct agent_image **found;

	if (!old->n)
		return NULL;
	found = bsearch(&key, old->by_digest, old->n, sizeof(*old->by_digest), by_digest);
	if (!found)
		return NULL;
	(*found)->refs++;
	return *found;
}

static int compile_one(const struct shunt_model_service *service, struct shunt_ids *ids,
		       uint64_t digest, struct agent_image **ret_image, struct shunt_err *err)
{
	struct agent_image *image = calloc(1, sizeof(*image));
	int r;

	if (!image)
		return shunt_err_set(err, -ENOMEM, "out of memory");

	image->refs = 1;
	image->digest = digest;
	r = shunt_compile(service, ids, &image->image);
	if (r < 0) {
		free(image);
		if (r == -ENOSPC)
			return shunt_err_set(
				err, r,
				"%s/%s: no free service, variant, backend, bucket or breaker "
				"number; raise --max-services, --max-variants, --max-backends, "
				"--max-policies or --max-breakers",
				service->namespace_, service->name);
		return shunt_err_set(err, r, "%s/%s: cannot compile: %s", service->namespace_,
				     service->name, strerror(-r));
	}
	*ret_image = image;
	return 0;
}

int agent_images_build(const struct shunt_model *model, struct shunt_ids *ids,
		       const struct agent_images *old, struct agent_images *ret_images,
		       struct shunt_err *err)
{
	CLEANUP(agent_images_free) struct agent_images images = { 0 };
	size_t room = model->n_services ? model->n_services : 1;
	uint64_t digest;
	int r;

	images.items = calloc(room, sizeof(*images.items));
	images.by_digest = calloc(room, sizeof(*images.by_digest));
	if (!images.items || !images.by_digest)
		return shunt_err_set(err, -ENOMEM, "out of memory");

	for (; images.n < model->n_services; images.n++) {
		struct agent_image **image = &images.items[images.n];

		digest = agent_service_digest(&model->services[images.n]);
		*image = take_old(old, digest);
		if (*image)
			continue;
		r = compile_one(&model->services[images.n], ids, digest, image, err);
		if (r < 0)
			return r;
		images.compiled++;
	}

	memcpy(images.by_digest, images.items, images.n * sizeof(*images.items));
	qsort(images.by_digest, images.n, sizeof(*images.by_digest), by_digest);
	*ret_images = images;
	images = (struct agent_images){ 0 };
	return 0;
}

void agent_images_free(struct agent_images *images)
{
	for (size_t i = 0; i < images->n; i++)
		image_unref(images->items[i]);
	free(images->items);
	free(images->by_digest);
	*images = (struct agent_images){ 0 };
}
