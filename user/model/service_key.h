/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_MODEL_SERVICE_KEY_H
#define SHUNT_MODEL_SERVICE_KEY_H

#include "model/model.h"

/*
 * What is remembered of a model service outlives the model: its key does too. Two model
 * services may have one name (their routes split different ports), so the ports belong to
 * the key; a port that comes or goes must not make a service a stranger, so one common port
 * is enough to match.
 */
struct shunt_service_key {
	char *namespace_; /* these three are owned */
	char *name;
	char *ports; /* "80/TCP,53/UDP", in the service's order */
};

/* Fills @ret_key from @service. Return: 0 or -ENOMEM. */
int shunt_service_key_of(const struct shunt_model_service *service,
			 struct shunt_service_key *ret_key);

/* Fills @ret_key from "namespace/name" and a list of ports. Return: 0, -EINVAL or -ENOMEM. */
int shunt_service_key_parse(const char *full_name, const char *ports,
			    struct shunt_service_key *ret_key);

/* Frees what @key owns and zeroes it. */
void shunt_service_key_free(struct shunt_service_key *key);

/* Order by namespace, name, ports; as strcmp(). */
int shunt_service_key_cmp(const struct shunt_service_key *a, const struct shunt_service_key *b);

/**
 * shunt_service_key_find - the element of a sorted array that belongs to @service
 * @array: n elements of @size bytes, each with a struct shunt_service_key as first member,
 *	   sorted with shunt_service_key_cmp()
 *
 * Same namespace and name; among several the one with the same ports, or else the first that
 * has a port in common.
 *
 * Return: the element, or NULL.
 */
void *shunt_service_key_find(const void *array, size_t n, size_t size,
			     const struct shunt_model_service *service);

#endif
