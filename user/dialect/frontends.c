// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "dialect/resolve.h"
#include "model/policy.h"

/*
 * @node_port: 0 for the port itself. An address that is written down twice is a load balancer's if
 * either says so. Return: 0 or -ENOMEM.
 */
static int add_frontend(struct shunt_model_service *service, const struct shunt_ip *ip,
			uint16_t port_index, uint16_t node_port, bool load_balancer)
{
	struct shunt_frontend_addr *frontend;

	for (size_t i = 0; i < service->n_frontends; i++) {
		frontend = &service->frontends[i];
		if (frontend->port_index == port_index && frontend->node_port == node_port &&
		    shunt_ip_equal(&frontend->ip, ip)) {
			frontend->load_balancer |= load_balancer;
			return 0;
		}
	}
	frontend = shunt_array_add(&service->frontends, &service->n_frontends, sizeof(*frontend));
	if (!frontend)
		return -ENOMEM;
	frontend->ip = *ip;
	frontend->port_index = port_index;
	frontend->node_port = node_port;
	frontend->load_balancer = load_balancer;
	return 0;
}

static int add_on_all_ports(struct shunt_model_service *service, const struct shunt_ip *ip,
			    bool load_balancer)
{
	for (size_t i = 0; i < service->n_ports; i++)
		if (add_frontend(service, ip, i, 0, load_balancer) < 0)
			return -ENOMEM;
	return 0;
}

static bool in_cidrs(const struct shunt_cidr *cidrs, size_t n, const struct shunt_ip *ip)
{
	for (size_t i = 0; i < n; i++)
		if (shunt_cidr_contains(&cidrs[i], ip))
			return true;
	return false;
}

/* Why an external or load-balancer address is not taken, or NULL. */
static const char *why_refused(const struct shunt_translate_opts *opts,
			       const struct shunt_world_service *service,
			       const struct shunt_world_address *address, const char **ret_reason)
{
	const struct shunt_ip *ip = &address->ip;

	*ret_reason = "AddressNotAllowed";
	if (shunt_ip_is_loopback(ip) || shunt_ip_is_link_local(ip) || shunt_ip_is_unspecified(ip) ||
	    shunt_ip_is_multicast(ip))
		return "is no address that a Service can have";
	if (!in_cidrs(opts->frontend_cidrs, opts->n_frontend_cidrs, ip))
		return "lies outside of every --frontend-cidr";
	*ret_reason = "UnsupportedValue";
	if (service->external_local)
		return "has spec.externalTrafficPolicy Local, which Shunt cannot do yet";
	return NULL;
}

/* ---- NodePorts --------------------------------------------------------------------------- */

/*
 * Does a NodePort stand at this address of the node? IPv6 link-local ones need an interface
 * to mean anything, which frontends do not have.
 */
static bool takes_node_ports(const struct shunt_translate_opts *opts, const struct shunt_ip *ip)
{
	if (shunt_ip_is_loopback(ip) || shunt_ip_is_unspecified(ip) || shunt_ip_is_multicast(ip) ||
	    (ip->family == SHUNT_V6 && shunt_ip_is_link_local(ip)))
		return false;
	return !opts->n_node_port_cidrs ||
	       in_cidrs(opts->node_port_cidrs, opts->n_node_port_cidrs, ip);
}

/* Families that the Service has: those of its cluster addresses; both if none are written. */
static bool has_family(const struct shunt_world_service *service, uint8_t family)
{
	for (size_t i = 0; i < service->n_cluster_ips; i++)
		if (service->cluster_ips[i].family == family)
			return true;
	return !service->n_cluster_ips;
}

static uint16_t node_port_of(const struct shunt_world_service *world_service,
			     const struct shunt_port *port)
{
	for (size_t i = 0; i < world_service->n_ports; i++)
		if (world_service->ports[i].port == port->port &&
		    world_service->ports[i].proto == port->proto)
			return world_service->ports[i].node_port;
	return 0;
}

/* Port @p's NodePort on every address of the node that takes it. Return: 0 or -ENOMEM. */
static int add_node_port(const struct shunt_translate_opts *opts,
			 const struct shunt_world_service *world_service,
			 struct shunt_model_service *service, size_t p, uint16_t node_port)
{
	for (size_t i = 0; i < opts->n_node_addrs; i++) {
		const struct shunt_ip *ip = &opts->node_addrs[i];

		if (has_family(world_service, ip->family) && takes_node_ports(opts, ip) &&
		    add_frontend(service, ip, p, node_port, false) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int add_node_ports(const struct shunt_translate_opts *opts,
			  const struct shunt_world_service *world_service,
			  struct shunt_model_service *service, struct shunt_notes *refused)
{
	if (!world_service->has_node_ports || opts->no_node_ports)
		return 0;
	for (size_t p = 0; p < service->n_ports; p++) {
		uint16_t node_port = node_port_of(world_service, &service->ports[p]);

		if (!node_port)
			continue;
		if (world_service->external_local)
			shunt_notes_add(refused, "UnsupportedValue", world_service->object, NULL,
					"spec.externalTrafficPolicy",
					"Local, which Shunt cannot do yet: NodePort %u stays with "
					"the cluster's proxy",
					node_port);
		else if (add_node_port(opts, world_service, service, p, node_port) < 0)
			return -ENOMEM;
	}
	return 0;
}

int shunt_resolve_frontends(const struct shunt_translate_opts *opts,
			    const struct shunt_world_service *world_service,
			    struct shunt_model_service *service)
{
	struct shunt_notes refused = { 0 };
	char text[SHUNT_IP_STR_LEN];
	const char *why, *reason;

	for (size_t i = 0; i < world_service->n_cluster_ips; i++)
		if (add_on_all_ports(service, &world_service->cluster_ips[i], false) < 0)
			return -ENOMEM;
	for (size_t i = 0; i < world_service->n_addresses; i++) {
		const struct shunt_world_address *address = &world_service->addresses[i];

		why = why_refused(opts, world_service, address, &reason);
		if (why)
			shunt_notes_add(&refused, reason, world_service->object, address->json,
					address->path, "%s %s", shunt_ip_str(&address->ip, text),
					why);
		else if (add_on_all_ports(service, &address->ip, address->load_balancer) < 0)
			return -ENOMEM;
	}
	if (add_node_ports(opts, world_service, service, &refused) < 0)
		return -ENOMEM;
	return shunt_notes_set(&refused, &service->conditions, "FrontendRefused", "True");
}

int shunt_resolve_addrs(const struct shunt_request *request, struct shunt_model_service *service)
{
	for (size_t a = 0; a < request->n_addrs; a++)
		for (size_t p = 0; p < service->n_ports; p++)
			if (service->ports[p].port == request->addrs[a].port &&
			    service->ports[p].proto == request->proto &&
			    add_frontend(service, &request->addrs[a].ip, p, 0, false) < 0)
				return -ENOMEM;
	return 0;
}

/* ---- one address, two services ----------------------------------------------------------- */

struct claim {
	struct shunt_ip ip;
	uint16_t port;
	uint8_t proto;
	int rank;	/* the higher one stays */
	size_t service; /* index in the model */
	size_t frontend;
};

static int compare_addresses(const struct claim *x, const struct claim *y)
{
	int r = x->ip.family - y->ip.family;

	if (!r)
		r = memcmp(&x->ip.addr, &y->ip.addr, sizeof(x->ip.addr));
	if (!r)
		r = x->port - y->port;
	return r ? r : x->proto - y->proto;
}

static int compare_claims(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int r = compare_addresses(x, y);

	if (!r)
		r = y->rank - x->rank;
	return r ? r : (x->service > y->service) - (x->service < y->service);
}

static bool is_cluster_ip(const struct shunt_world_service *service, const struct shunt_ip *ip)
{
	for (size_t i = 0; service && i < service->n_cluster_ips; i++)
		if (shunt_ip_equal(&service->cluster_ips[i], ip))
			return true;
	return false;
}

/* A cluster address is the Service's own, an address is somebody's word, a NodePort a number. */
static int claim_rank(const struct shunt_world_service *service,
		      const struct shunt_frontend_addr *frontend)
{
	if (frontend->node_port)
		return 0;
	return is_cluster_ip(service, &frontend->ip) ? 2 : 1;
}

static int collect_claims(const struct shunt_world *world, const struct shunt_model *model,
			  struct claim **claims, size_t *n)
{
	for (size_t s = 0; s < model->n_services; s++) {
		const struct shunt_model_service *service = &model->services[s];
		const struct shunt_world_service *world_service =
			shunt_world_service(world, service->namespace_, service->name);

		for (size_t f = 0; f < service->n_frontends; f++) {
			const struct shunt_frontend_addr *frontend = &service->frontends[f];
			struct claim *claim = shunt_array_add(claims, n, sizeof(*claim));

			if (!claim)
				return -ENOMEM;
			claim->ip = frontend->ip;
			claim->port = shunt_model_frontend_port(service, frontend);
			claim->proto = service->ports[frontend->port_index].proto;
			claim->rank = claim_rank(world_service, frontend);
			claim->service = s;
			claim->frontend = f;
		}
	}
	return 0;
}

/* Marks the frontend of a losing claim for removal and says so. */
static int drop_claim(struct shunt_model *model, const struct claim *winner,
		      const struct claim *loser)
{
	const struct shunt_model_service *keeper = &model->services[winner->service];
	struct shunt_model_service *service = &model->services[loser->service];
	char text[SHUNT_IP_STR_LEN];

	service->frontends[loser->frontend].port_index = UINT16_MAX;
	return shunt_conditions_set(&service->conditions, "FrontendRefused", "True", "Conflicted",
				    "%s port %u already belongs to %s/%s",
				    shunt_ip_str(&loser->ip, text), loser->port, keeper->namespace_,
				    keeper->name);
}

static void remove_marked(struct shunt_model_service *service)
{
	size_t kept = 0;

	for (size_t i = 0; i < service->n_frontends; i++)
		if (service->frontends[i].port_index != UINT16_MAX)
			service->frontends[kept++] = service->frontends[i];
	service->n_frontends = kept;
}

int shunt_resolve_conflicts(const struct shunt_world *world, struct shunt_model *model)
{
	CLEANUP(freep) struct claim *claims = NULL;
	size_t n = 0, winner = 0;

	if (collect_claims(world, model, &claims, &n) < 0)
		return -ENOMEM;
	if (n)
		qsort(claims, n, sizeof(*claims), compare_claims);
	for (size_t i = 1; i < n; i++) {
		if (compare_addresses(&claims[winner], &claims[i]))
			winner = i;
		else if (drop_claim(model, &claims[winner], &claims[i]) < 0)
			return -ENOMEM;
	}
	for (size_t s = 0; s < model->n_services; s++)
		remove_marked(&model->services[s]);
	return 0;
}
