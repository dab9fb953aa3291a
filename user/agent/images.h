/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_IMAGES_H
#define SHUNT_AGENT_IMAGES_H

#include "base/err.h"
#include "compile/image.h"
#include "model/model.h"

/*
 * The images of a model. A service whose digest was there before shares the image that was
 * compiled then, so one change among a thousand services compiles one service.
 */
struct agent_image {
	unsigned refs;			   /* number of struct agent_images that hold it */
	uint64_t digest;		   /* of the model service */
	struct shunt_image_service *image; /* owned */
};

struct agent_images {
	struct agent_image **items;	/* in the order of the model */
	struct agent_image **by_digest; /* the same, sorted */
	size_t n;
	size_t compiled; /* how many the build had to compile */
};

/* Digest of all that shunt_compile() reads of @service: not conditions, not where it is from. */
uint64_t agent_service_digest(const struct shunt_model_service *service);

/**
 * agent_images_build - the images of @model
 * @old:        images of an earlier model, or empty; borrowed
 * @ret_images: written on 0 only; freed with agent_images_free()
 *
 * Return: 0, -ENOMEM, or -ENOSPC with @err: an id space is full, and which option sizes it.
 */
int agent_images_build(const struct shunt_model *model, struct shunt_ids *ids,
		       const struct agent_images *old, struct agent_images *ret_images,
		       struct shunt_err *err);

void agent_images_free(struct agent_images *images);

#endif
