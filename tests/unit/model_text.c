// SPDX-License-Identifier: Apache-2.0
#include "model_text.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/policy.h"
#include "source/yaml/yaml.h"

static void put_conditions(FILE *out, const char *indent, const struct shunt_conditions *conditions)
{
	for (size_t i = 0; i < conditions->n; i++) {
		const struct shunt_condition *c = &conditions->items[i];

		fprintf(out, "%s%s=%s/%s: %s\n", indent, c->type, c->status, c->reason, c->message);
	}
}

static void put_backend(FILE *out, const struct shunt_model_service *service,
			const struct shunt_model_backend *backend)
{
	static const char *const states[] = { "ready", "terminating", "not-ready" };
	char text[64];

	fprintf(out, "    %s", shunt_addr_port_str(&backend->ip, backend->port, text));
	if (service->n_ports > 1)
		fprintf(out, " for %u", service->ports[backend->port_index].port);
	fprintf(out, " %s", states[backend->state]);
	if (backend->usable != (backend->state == SHUNT_BACKEND_READY))
		fprintf(out, " %s", backend->usable ? "usable" : "unusable");
	fprintf(out, "\n");
}

static void put_affinity(FILE *out, const struct shunt_affinity_spec *affinity)
{
	static const char *const kinds[] = { "connection", "hash", "session" };

	fprintf(out, " %s", kinds[affinity->kind]);
	if (affinity->kind != SHUNT_AFFINITY_CONNECTION)
		fprintf(out, "/%u/%u", affinity->prefix_len_4, affinity->prefix_len_6);
	if (affinity->kind == SHUNT_AFFINITY_SESSION)
		fprintf(out, "/%us", affinity->timeout_s);
}

static void put_key(FILE *out, const struct shunt_limit_key *key)
{
	fprintf(out, " %s of %s", shunt_unit_words[key->unit], shunt_scope_words[key->scope]);
	if (key->scope == SHUNT_SCOPE_CLIENT)
		fprintf(out, "/%u/%u", key->prefix_len[SHUNT_V4], key->prefix_len[SHUNT_V6]);
	if (key->variant[0])
		fprintf(out, " in %s", key->variant);
}

static void put_origin(FILE *out, const struct shunt_policy *policy, uint16_t origin)
{
	fprintf(out, " by %s %s\n", policy->origins[origin].kind, policy->origins[origin].name);
}

static void put_cidrs(FILE *out, const char *what, const struct shunt_cidrs *cidrs)
{
	char text[SHUNT_IP_STR_LEN];

	if (!cidrs->n)
		return;
	fprintf(out, "  %s", what);
	for (size_t i = 0; i < cidrs->n; i++)
		fprintf(out, " %s/%u", shunt_ip_str(&cidrs->items[i].net, text),
			cidrs->items[i].prefix_len);
	fprintf(out, "\n");
}

static void put_breaker(FILE *out, const struct shunt_policy *policy)
{
	const struct shunt_breaker *breaker = &policy->breaker;

	if (!breaker->expression)
		return;
	fprintf(out, "  breaker of %s: %s: check %u open %u recover %u code %u min %u",
		shunt_scope_words[breaker->scope], breaker->expression, breaker->check_ms,
		breaker->fallback_ms, breaker->recovery_ms, breaker->response_code,
		breaker->min_requests);
	fprintf(out, "%s%s", breaker->fallback[0] ? " else " : "", breaker->fallback);
	put_origin(out, policy, breaker->origin);
}

static void put_policy(FILE *out, const struct shunt_policy *policy)
{
	const struct shunt_ejection *ejection = &policy->ejection;
	const struct shunt_dead_man *dead_man = &policy->dead_man;

	if (policy->signals)
		fprintf(out, "  signals %s\n", shunt_signals_words[policy->signals]);
	for (size_t i = 0; i < policy->n_limits; i++) {
		const struct shunt_rate_limit *limit = &policy->limits[i];

		fprintf(out, "  at most %lu a %lu ms burst %u", limit->average, limit->period_ms,
			limit->burst);
		put_key(out, &limit->key);
		fprintf(out, " else %s", shunt_over_words[limit->answer]);
		put_origin(out, policy, limit->key.origin);
	}
	for (size_t i = 0; i < policy->n_in_flight; i++) {
		fprintf(out, "  at once %u", policy->in_flight[i].max);
		put_key(out, &policy->in_flight[i].key);
		fprintf(out, " else %s", shunt_over_words[policy->in_flight[i].answer]);
		put_origin(out, policy, policy->in_flight[i].key.origin);
	}
	put_cidrs(out, "allow", &policy->sources.allow);
	put_cidrs(out, "deny", &policy->sources.deny);
	put_cidrs(out, "load balancer allow", &policy->sources.load_balancer);
	put_breaker(out, policy);
	if (ejection->enabled) {
		fprintf(out, "  eject after %u or %u every %u for %u up to %u%% panic %u%%",
			ejection->consecutive_5xx, ejection->consecutive_gateway,
			ejection->interval_ms, ejection->base_ms, ejection->max_percent,
			ejection->panic_percent);
		put_origin(out, policy, ejection->origin);
	}
	if (dead_man->enabled) {
		fprintf(out, "  dead man %s against %s + %u bp, %u in %u ms", dead_man->canary,
			dead_man->stable, dead_man->margin_bp, dead_man->min_samples,
			dead_man->window_ms);
		put_origin(out, policy, dead_man->origin);
	}
	if (policy->probe.path[0]) {
		fprintf(out, "  probe %s each %u ms in %u ms", policy->probe.path,
			policy->probe.interval_ms, policy->probe.timeout_ms);
		put_origin(out, policy, policy->probe.origin);
	}
	if (policy->max_age_ms) {
		fprintf(out, "  age %u ms", policy->max_age_ms);
		put_origin(out, policy, policy->max_age_origin);
	}
}

static void put_service(FILE *out, const struct shunt_model_service *service)
{
	static const char *const groups[] = { "", " not-found", " forbidden", " invalid" };
	char text[64];

	fprintf(out, "%s/%s", service->namespace_, service->name);
	for (size_t i = 0; i < service->n_ports; i++)
		fprintf(out, " %s%s%u", service->ports[i].name, *service->ports[i].name ? ":" : "",
			service->ports[i].port);
	fprintf(out, " %s %s", service->ports[0].proto == IPPROTO_UDP ? "udp" : "tcp",
		service->owned ? "owned" : "shared");
	put_affinity(out, &service->affinity);
	fprintf(out, "%s by %s/%s\n",
		service->empty_policy == SHUNT_EMPTY_REDISTRIBUTE ? " redistribute" : "",
		service->source.namespace_, service->source.name);
	for (size_t i = 0; i < service->n_frontends; i++) {
		const struct shunt_frontend_addr *frontend = &service->frontends[i];

		fprintf(out, "  at %s",
			shunt_addr_port_str(&frontend->ip,
					    shunt_model_frontend_port(service, frontend), text));
		if (frontend->node_port)
			fprintf(out, " for %u", service->ports[frontend->port_index].port);
		fprintf(out, "\n");
	}
	for (size_t i = 0; i < service->n_variants; i++) {
		const struct shunt_model_variant *variant = &service->variants[i];

		fprintf(out, "  %s=%u%s drain %u\n", variant->name, variant->weight,
			groups[variant->group], variant->drain_deadline_s);
		for (size_t b = 0; b < variant->n_backends; b++)
			put_backend(out, service, &variant->backends[b]);
	}
	if (service->policy)
		put_policy(out, service->policy);
	put_conditions(out, "  ", &service->conditions);
}

char *model_text(const struct shunt_model *model)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	for (size_t i = 0; i < model->n_services; i++)
		put_service(out, &model->services[i]);
	for (size_t i = 0; i < model->n_reports; i++) {
		const struct shunt_object_report *report = &model->reports[i];

		fprintf(out, "report %s %s/%s\n", report->ref.kind, report->ref.namespace_,
			report->ref.name);
		put_conditions(out, "  ", &report->conditions);
	}
	fclose(out);
	return text;
}

void model_of_yaml(const char *yaml, const struct shunt_translate_opts *opts,
		   struct shunt_model *ret_model)
{
	struct shunt_objects objects = { 0 };
	struct shunt_err err = { 0 };
	char text[1024];

	if (shunt_yaml_parse("t.yaml", yaml, strlen(yaml), &objects, &err) < 0 ||
	    shunt_translate(&objects, opts, ret_model) < 0) {
		fprintf(stderr, "model_of_yaml: %s\n", shunt_err_str(&err, text, sizeof(text)));
		abort();
	}
	shunt_objects_free(&objects);
}

char *text_of_yaml(const char *yaml, const struct shunt_translate_opts *opts)
{
	struct shunt_model model;
	char *text;

	model_of_yaml(yaml, opts, &model);
	text = model_text(&model);
	shunt_model_free(&model);
	return text;
}

void expect_text(const struct text_case *c, const char *more,
		 const struct shunt_translate_opts *opts)
{
	CLEANUP(freep) char *yaml = NULL;
	CLEANUP(freep) char *text = NULL;

	cr_assert(asprintf(&yaml, "%s%s", c->yaml, more) >= 0);
	text = text_of_yaml(yaml, opts);
	cr_expect(strstr(text, c->expect), "%s: expected\n%s\nin\n%s", c->name, c->expect, text);
	cr_expect(!c->absent || !strstr(text, c->absent), "%s: did not expect\n%s\nin\n%s", c->name,
		  c->absent, text);
}
