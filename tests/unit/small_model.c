// SPDX-License-Identifier: Apache-2.0
#include "small_model.h"

#include <dirent.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *grow(void *array, size_t n, size_t size)
{
	char *grown = reallocarray(array, n + 1, size);

	if (!grown)
		abort();
	memset(grown + n * size, 0, size);
	return grown;
}

static void add_backend(struct shunt_model_variant *variant, unsigned number, bool is_ready)
{
	struct shunt_model_backend *backend;
	char ip[SHUNT_IP_STR_LEN];

	variant->backends = grow(variant->backends, variant->n_backends, sizeof(*backend));
	backend = &variant->backends[variant->n_backends++];
	snprintf(ip, sizeof(ip), "10.%u.0.%u", number, (unsigned)variant->n_backends);
	if (shunt_ip_parse(ip, &backend->ip))
		abort();
	backend->port = 8080;
	backend->weight = 1;
	backend->state = is_ready ? SHUNT_BACKEND_READY : SHUNT_BACKEND_NOT_READY;
	backend->usable = is_ready;
}

static void add_variant(struct shunt_model_service *service, const struct small_variant *small)
{
	struct shunt_model_variant *variant;

	service->variants = grow(service->variants, service->n_variants, sizeof(*variant));
	variant = &service->variants[service->n_variants++];
	variant->name = strdup(small->name);
	variant->weight = small->weight;
	variant->manifest_weight = small->weight;
	variant->drain_deadline_s = 60;
	for (unsigned i = 0; i < small->n_ready + small->n_unready; i++)
		add_backend(variant, service->n_variants, i < small->n_ready);
}

void small_port(struct shunt_model_service *service, uint16_t port, uint8_t proto)
{
	service->ports = grow(service->ports, service->n_ports, sizeof(*service->ports));
	service->ports[service->n_ports++] =
		(struct shunt_port){ .name = strdup(""), .port = port, .proto = proto };
}

struct shunt_model_service *small_service(struct shunt_model *model, const char *name,
					  uint16_t port, uint64_t digest,
					  const struct small_variant *variants, size_t n)
{
	struct shunt_model_service *service;

	model->services = grow(model->services, model->n_services, sizeof(*model->services));
	service = &model->services[model->n_services++];
	service->namespace_ = strdup("shop");
	service->name = strdup(name);
	service->source.digest = digest;
	small_port(service, port, IPPROTO_TCP);
	for (size_t i = 0; i < n; i++)
		add_variant(service, &variants[i]);
	return service;
}

long small_weight(const struct shunt_model_service *service, const char *name)
{
	const struct shunt_model_variant *variant = shunt_model_variant_find(service, name);

	return variant ? (long)variant->weight : -1;
}

char *small_dir(void)
{
	char *dir = strdup("/tmp/shunt-unit-XXXXXX");

	if (!dir || !mkdtemp(dir))
		abort();
	return dir;
}

void small_dir_remove(char *dir)
{
	DIR *list = opendir(dir);
	const struct dirent *entry;

	while (list && (entry = readdir(list)))
		unlinkat(dirfd(list), entry->d_name, 0);
	if (list)
		closedir(list);
	rmdir(dir);
	free(dir);
}
