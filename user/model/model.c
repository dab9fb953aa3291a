// SPDX-License-Identifier: Apache-2.0
#include "model/model.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "model/policy.h"

static void condition_clear(struct shunt_condition *condition)
{
	free(condition->type);
	free(condition->status);
	free(condition->reason);
	free(condition->message);
}

static void conditions_clear(struct shunt_conditions *conditions)
{
	for (size_t i = 0; i < conditions->n; i++)
		condition_clear(&conditions->items[i]);
	free(conditions->items);
}

void shunt_object_ref_clear(struct shunt_object_ref *ref)
{
	free(ref->kind);
	free(ref->namespace_);
	free(ref->name);
	free(ref->file);
	*ref = (struct shunt_object_ref){ 0 };
}

int shunt_object_ref_copy(const struct shunt_object_ref *from, struct shunt_object_ref *to)
{
	*to = *from;
	to->kind = strdup(from->kind);
	to->namespace_ = strdup(from->namespace_);
	to->name = strdup(from->name);
	to->file = strdup(from->file);
	return to->kind && to->namespace_ && to->name && to->file ? 0 : -ENOMEM;
}

static void service_clear(struct shunt_model_service *service)
{
	free(service->namespace_);
	free(service->name);
	for (size_t i = 0; i < service->n_ports; i++)
		free(service->ports[i].name);
	free(service->ports);
	free(service->frontends);
	for (size_t i = 0; i < service->n_variants; i++) {
		free(service->variants[i].name);
		free(service->variants[i].backends);
	}
	free(service->variants);
	shunt_policy_free(service->policy);
	shunt_object_ref_clear(&service->source);
	conditions_clear(&service->conditions);
}

void shunt_model_free(struct shunt_model *model)
{
	if (!model)
		return;
	for (size_t i = 0; i < model->n_services; i++)
		service_clear(&model->services[i]);
	free(model->services);
	for (size_t i = 0; i < model->n_reports; i++) {
		shunt_object_ref_clear(&model->reports[i].ref);
		conditions_clear(&model->reports[i].conditions);
	}
	free(model->reports);
	*model = (struct shunt_model){ 0 };
}

/* The place for a condition of @type: an empty one that is reused, or a new one. */
static struct shunt_condition *condition_slot(struct shunt_conditions *conditions, const char *type)
{
	for (size_t i = 0; i < conditions->n; i++)
		if (!strcmp(conditions->items[i].type, type))
			return &conditions->items[i];
	return shunt_array_add(&conditions->items, &conditions->n, sizeof(*conditions->items));
}

int shunt_conditions_set(struct shunt_conditions *conditions, const char *type, const char *status,
			 const char *reason, const char *fmt, ...)
{
	struct shunt_condition next = { .type = strdup(type),
					.status = strdup(status),
					.reason = strdup(reason) };
	struct shunt_condition *slot;
	va_list args;
	int len;

	va_start(args, fmt);
	len = vasprintf(&next.message, fmt, args);
	va_end(args);
	if (len < 0)
		next.message = NULL;

	slot = next.type && next.status && next.reason && next.message
		       ? condition_slot(conditions, type)
		       : NULL;
	if (!slot) {
		condition_clear(&next);
		return -ENOMEM;
	}
	condition_clear(slot);
	*slot = next;
	return 0;
}

const struct shunt_condition *shunt_conditions_get(const struct shunt_conditions *conditions,
						   const char *type)
{
	for (size_t i = 0; i < conditions->n; i++)
		if (!strcmp(conditions->items[i].type, type))
			return &conditions->items[i];
	return NULL;
}

static bool has_port(const struct shunt_model_service *service, uint16_t port)
{
	for (size_t i = 0; i < service->n_ports; i++)
		if (service->ports[i].port == port)
			return true;
	return false;
}

/* Index of the first service that is not before this name. */
static size_t name_place(const struct shunt_model *model, const char *namespace_, const char *name)
{
	size_t low = 0, high = model->n_services;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct shunt_model_service *service = &model->services[middle];
		int r = strcmp(service->namespace_, namespace_);

		if (!r)
			r = strcmp(service->name, name);
		if (r < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool has_name(const struct shunt_model_service *service, const char *namespace_,
		     const char *name)
{
	return !strcmp(service->namespace_, namespace_) && !strcmp(service->name, name);
}

static bool same_name(const struct shunt_model_service *a, const struct shunt_model_service *b)
{
	return has_name(a, b->namespace_, b->name);
}

struct shunt_model_service *shunt_model_find(const struct shunt_model *model,
					     const char *namespace_, const char *name,
					     uint16_t port)
{
	for (size_t i = name_place(model, namespace_, name);
	     i < model->n_services && has_name(&model->services[i], namespace_, name); i++)
		if (!port || has_port(&model->services[i], port))
			return &model->services[i];
	return NULL;
}

struct shunt_model_service *shunt_model_find_like(const struct shunt_model *model,
						  const struct shunt_model_service *service)
{
	for (size_t i = name_place(model, service->namespace_, service->name);
	     i < model->n_services && same_name(&model->services[i], service); i++) {
		struct shunt_model_service *each = &model->services[i];

		for (size_t p = 0; p < each->n_ports; p++)
			if (each->ports[p].port == service->ports[0].port &&
			    each->ports[p].proto == service->ports[0].proto)
				return each;
	}
	return NULL;
}

uint16_t shunt_model_frontend_port(const struct shunt_model_service *service,
				   const struct shunt_frontend_addr *frontend)
{
	return frontend->node_port ? frontend->node_port
				   : service->ports[frontend->port_index].port;
}

const char *shunt_model_split(const struct shunt_model *model,
			      const struct shunt_model_service *service, char *buf)
{
	const struct shunt_model_service *first = model->services;
	bool is_split =
		(service > first && same_name(service - 1, service)) ||
		(service + 1 < first + model->n_services && same_name(service + 1, service));
	size_t len = 0;

	buf[0] = '\0';
	for (size_t p = 0; is_split && p < service->n_ports; p++) {
		const struct shunt_port *port = &service->ports[p];

		if (len + sizeof(",65535/udp,...") > SHUNT_SPLIT_LEN) {
			strcpy(buf + len, ",...");
			break;
		}
		len += sprintf(buf + len, "%s%u%s", p ? "," : "", port->port,
			       port->proto == IPPROTO_UDP ? "/udp" : "");
	}
	return buf;
}

const char *shunt_model_label(const struct shunt_model *model,
			      const struct shunt_model_service *service, char *buf)
{
	char split[SHUNT_SPLIT_LEN];

	shunt_model_split(model, service, split);
	snprintf(buf, SHUNT_LABEL_LEN, "%s/%s%s%s", service->namespace_, service->name,
		 split[0] ? ":" : "", split);
	return buf;
}

struct shunt_model_variant *shunt_model_variant_find(const struct shunt_model_service *service,
						     const char *name)
{
	for (size_t i = 0; i < service->n_variants; i++)
		if (!strcmp(service->variants[i].name, name))
			return &service->variants[i];
	return NULL;
}
