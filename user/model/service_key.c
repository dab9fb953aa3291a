// SPDX-License-Identifier: Apache-2.0
#include "model/service_key.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define PORT_TEXT_LEN sizeof("65535/TCP")

static void port_text(const struct shunt_port *port, char text[PORT_TEXT_LEN])
{
	snprintf(text, PORT_TEXT_LEN, "%u/%s", port->port,
		 port->proto == IPPROTO_UDP ? "UDP" : "TCP");
}

static char *ports_text(const struct shunt_model_service *service)
{
	char *text = calloc(service->n_ports + 1, PORT_TEXT_LEN + 1);
	char *end = text;

	for (size_t i = 0; text && i < service->n_ports; i++) {
		if (i)
			*end++ = ',';
		port_text(&service->ports[i], end);
		end += strlen(end);
	}
	return text;
}

int shunt_service_key_of(const struct shunt_model_service *service,
			 struct shunt_service_key *ret_key)
{
	struct shunt_service_key key = {
		.namespace_ = strdup(service->namespace_),
		.name = strdup(service->name),
		.ports = ports_text(service),
	};

	if (!key.namespace_ || !key.name || !key.ports) {
		shunt_service_key_free(&key);
		return -ENOMEM;
	}
	*ret_key = key;
	return 0;
}

int shunt_service_key_parse(const char *full_name, const char *ports,
			    struct shunt_service_key *ret_key)
{
	const char *slash = strchr(full_name, '/');
	struct shunt_service_key key;

	if (!slash || slash == full_name || !slash[1] || strchr(slash + 1, '/'))
		return -EINVAL;
	key.namespace_ = strndup(full_name, slash - full_name);
	key.name = strdup(slash + 1);
	key.ports = strdup(ports);
	if (!key.namespace_ || !key.name || !key.ports) {
		shunt_service_key_free(&key);
		return -ENOMEM;
	}
	*ret_key = key;
	return 0;
}

void shunt_service_key_free(struct shunt_service_key *key)
{
	free(key->namespace_);
	free(key->name);
	free(key->ports);
	memset(key, 0, sizeof(*key));
}

static int name_cmp(const struct shunt_service_key *key, const char *namespace_, const char *name)
{
	int order = strcmp(key->namespace_, namespace_);

	return order ? order : strcmp(key->name, name);
}

int shunt_service_key_cmp(const struct shunt_service_key *a, const struct shunt_service_key *b)
{
	int order = name_cmp(a, b->namespace_, b->name);

	return order ? order : strcmp(a->ports, b->ports);
}

/* Does a list like "80/TCP,53/UDP" hold @port? */
static bool list_has_port(const char *list, const struct shunt_port *port)
{
	char text[PORT_TEXT_LEN];
	size_t len;

	port_text(port, text);
	len = strlen(text);
	while (list) {
		if (!strncmp(list, text, len) && (list[len] == ',' || !list[len]))
			return true;
		list = strchr(list, ',');
		if (list)
			list++;
	}
	return false;
}

/* How well the ports fit: all of them, in order: 2; one of them: 1; none: 0. */
static int ports_fit(const struct shunt_service_key *key, const struct shunt_model_service *service)
{
	const char *rest = key->ports;
	size_t i, n_common = 0, n_listed = *rest ? 1 : 0;

	for (; *rest; rest++)
		n_listed += *rest == ',';
	for (i = 0; i < service->n_ports; i++)
		n_common += list_has_port(key->ports, &service->ports[i]);
	if (n_common == service->n_ports && n_common == n_listed)
		return 2;
	return n_common > 0;
}

void *shunt_service_key_find(const void *array, size_t n, size_t size,
			     const struct shunt_model_service *service)
{
	const char *base = array;
	size_t low = 0, high = n;
	void *found = NULL;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (name_cmp((const void *)(base + mid * size), service->namespace_,
			     service->name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < n; low++) {
		const struct shunt_service_key *key = (const void *)(base + low * size);
		int fit;

		if (name_cmp(key, service->namespace_, service->name))
			break;
		fit = ports_fit(key, service);
		if (fit == 2)
			return (void *)key;
		if (fit && !found)
			found = (void *)key;
	}
	return found;
}
