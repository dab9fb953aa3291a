// SPDX-License-Identifier: Apache-2.0
#include "compile/digest.h"

#include <string.h>

#include "shunt/choose.h"

/* No secret: a digest tells two images apart that one agent made; it is not kept. */
static const __u64 digest_key[2] = { 0x73687566666c6521ull, 0x6d61676c65763a29ull };

static void add_pair(struct shunt_sip *sip, uint32_t a, uint32_t b)
{
	shunt_sip_word(sip, (uint64_t)a << 32 | b);
}

static void add_bytes(struct shunt_sip *sip, const void *bytes, size_t n)
{
	const char *at = bytes;
	uint64_t word;

	/* The length goes first, so that neighbours cannot trade bytes. */
	shunt_sip_word(sip, n);
	for (; n >= sizeof(word); n -= sizeof(word), at += sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		shunt_sip_word(sip, word);
	}
	if (!n)
		return;
	word = 0;
	memcpy(&word, at, n);
	shunt_sip_word(sip, word);
}

static void add_ip(struct shunt_sip *sip, const struct shunt_ip *ip)
{
	add_bytes(sip, &ip->addr, sizeof(ip->addr));
	shunt_sip_word(sip, ip->family);
}

static void add_variant(struct shunt_sip *sip, const struct shunt_image_variant *variant)
{
	add_bytes(sip, variant->name, strlen(variant->name));
	add_pair(sip, variant->id, variant->weight);
	add_pair(sip, (uint32_t)variant->drained << 31 | variant->asked, variant->drain_deadline_s);
	add_bytes(sip, &variant->eject, sizeof(variant->eject));
	for (int family = 0; family < SHUNT_N_FAMILIES; family++) {
		const struct shunt_image_ring *ring = &variant->ring[family];

		add_bytes(sip, ring->entry, ring->size * sizeof(*ring->entry));
		add_bytes(sip, ring->member, ring->n_members * sizeof(*ring->member));
	}
}

static void add_frontend(struct shunt_sip *sip, const struct shunt_image_frontend *frontend)
{
	add_ip(sip, &frontend->ip);
	add_pair(sip, frontend->port, frontend->is_balancer);
}

static void add_port(struct shunt_sip *sip, const struct shunt_image_port *port)
{
	add_pair(sip, port->id, (uint32_t)port->port << 8 | port->proto);
	add_pair(sip, port->flags, 0);
	shunt_sip_word(sip, port->threshold);
	shunt_sip_word(sip, port->n_frontends);
	for (size_t i = 0; i < port->n_frontends; i++)
		add_frontend(sip, &port->frontends[i]);
	shunt_sip_word(sip, port->n_variants);
	for (size_t i = 0; i < port->n_variants; i++)
		add_variant(sip, &port->variants[i]);
	shunt_sip_word(sip, port->n_backends);
	for (size_t i = 0; i < port->n_backends; i++) {
		const struct shunt_image_backend *backend = &port->backends[i];

		add_ip(sip, &backend->ip);
		add_pair(sip, backend->id, (uint32_t)backend->port << 8 | backend->proto);
		add_pair(sip, backend->variant, backend->flags);
	}
}

static void add_policy(struct shunt_sip *sip, const struct shunt_image_policy *policy)
{
	if (!policy)
		return;
	add_bytes(sip, &policy->record, sizeof(policy->record));
	shunt_sip_word(sip, policy->n_sources);
	for (size_t i = 0; i < policy->n_sources; i++) {
		add_ip(sip, &policy->sources[i].cidr.net);
		add_pair(sip, policy->sources[i].cidr.prefix_len,
			 policy->sources[i].is_balancer << 1 | policy->sources[i].is_denied);
	}
}

static void add_breaker(struct shunt_sip *sip, const struct shunt_image_breaker *breaker)
{
	if (!breaker)
		return;
	add_bytes(sip, &breaker->rule, sizeof(breaker->rule));
	shunt_sip_word(sip, breaker->n_instances);
	for (size_t i = 0; i < breaker->n_instances; i++)
		shunt_sip_word(sip, breaker->instances[i].id);
}

uint64_t shunt_image_digest(const struct shunt_image_service *image)
{
	const struct shunt_affinity_spec *affinity = &image->affinity;
	struct shunt_sip sip;

	shunt_sip_init(&sip, digest_key);
	add_bytes(&sip, image->namespace_, strlen(image->namespace_));
	add_bytes(&sip, image->name, strlen(image->name));
	shunt_sip_word(&sip, image->seed);
	add_pair(&sip, image->flags, affinity->kind);
	add_pair(&sip, affinity->timeout_s, affinity->prefix_len_4 << 8 | affinity->prefix_len_6);
	add_policy(&sip, image->policy);
	add_breaker(&sip, image->breaker);
	shunt_sip_word(&sip, image->n_ports);
	for (size_t i = 0; i < image->n_ports; i++)
		add_port(&sip, &image->ports[i]);
	return shunt_sip_final(&sip, 0);
}
