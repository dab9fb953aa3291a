// SPDX-License-Identifier: Apache-2.0
#include "agent/probes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/probe.h"
#include "base/array.h"
#include "base/cleanup.h"
#include "metrics/signals.h"
#include "model/policy.h"
#include "shunt/choose.h"
#include "shunt/histogram.h"

#define LOOK_MS	  50 /* how late a probe, or the end of one, may be */
#define NS_PER_MS 1000000ull

/* One backend's turn. */
struct target {
	struct shunt_variant_name variant;
	struct shunt_ip ip;
	uint16_t port;
	struct shunt_probe how;
	uint64_t due_ns;
	struct agent_probe *running; /* NULL: none is under way */
	uint64_t answers[SHUNT_N_CODE_CLASSES];
	struct agent_probes *all;
};

struct agent_probes {
	uv_loop_t *loop;
	uv_timer_t timer;
	bool is_closed;
	struct target **targets; /* owned, and what it points to */
	size_t n_targets, next;	 /* whose turn is looked at first */
	/* Likewise; of variants of the model: they must not fall when a backend goes, or all of the
	 * probing ends. */
	struct shunt_probe_sum **sums;
	size_t n_sums;
	size_t n_running;
};

/* ---- what is counted ------------------------------------------------------------------------- */

static struct shunt_probe_sum *find_sum(const struct agent_probes *probes,
					const struct shunt_variant_name *variant)
{
	for (size_t i = 0; i < probes->n_sums; i++)
		if (!shunt_variant_name_compare(&probes->sums[i]->variant, variant))
			return probes->sums[i];
	return NULL;
}

static void on_answer(void *ctx, unsigned class, uint64_t us)
{
	struct target *target = ctx;
	struct shunt_probe_sum *sum = find_sum(target->all, &target->variant);

	target->running = NULL;
	target->all->n_running--;
	target->answers[class]++;
	if (!sum)
		return;
	sum->answers[class]++;
	sum->us[class] += us;
	sum->times[class][shunt_time_bucket((uint32_t)us)].responses++;
}

/* ---- turns ----------------------------------------------------------------------------------- */

static void break_off(struct target *target)
{
	if (!target->running)
		return;
	agent_probe_cancel(target->running);
	target->running = NULL;
	target->all->n_running--;
}

static void ask(struct target *target, uint64_t now_ns)
{
	char host[2 * SHUNT_NAME_LEN];

	snprintf(host, sizeof(host), "%s.%s", target->variant.service, target->variant.namespace_);
	target->due_ns += target->how.interval_ms * NS_PER_MS;
	if (target->due_ns <= now_ns) /* it was late: what was missed is not made up for */
		target->due_ns = now_ns + target->how.interval_ms * NS_PER_MS;
	target->all->n_running++;
	target->running = agent_probe_send(target->all->loop, &target->ip, target->port, host,
					   target->how.path, on_answer, target);
	if (!target->running)
		on_answer(target, 0, 0);
}

static void look_at(struct target *target, uint64_t now_ns)
{
	if (target->running &&
	    now_ns - agent_probe_since(target->running) >= target->how.timeout_ms * NS_PER_MS)
		agent_probe_expire(target->running);
	if (!target->running && now_ns >= target->due_ns &&
	    target->all->n_running < AGENT_PROBES_AT_ONCE)
		ask(target, now_ns);
}

static void on_timer(uv_timer_t *timer)
{
	struct agent_probes *probes = timer->data;
	uint64_t now_ns = uv_hrtime();
	size_t first = probes->n_targets ? probes->next++ % probes->n_targets : 0;

	/* Another is the first each time, so that none waits for ever when there are too many. */
	for (size_t i = 0; i < probes->n_targets; i++)
		look_at(probes->targets[(first + i) % probes->n_targets], now_ns);
}

/* ---- the model ------------------------------------------------------------------------------- */

/* The port whose backends are asked: the first that carries HTTP, or else the first of TCP. */
static int port_of(const struct shunt_model_service *service)
{
	int found = -1;

	for (size_t i = service->n_ports; i-- > 0;)
		if (service->ports[i].proto == IPPROTO_TCP)
			found = (int)i;
	for (size_t i = service->n_ports; i-- > 0;)
		if (shunt_policy_has_http(service->policy, &service->ports[i]))
			found = (int)i;
	return found;
}

static struct shunt_variant_name name_of(const struct shunt_model_service *service,
					 const char *variant)
{
	struct shunt_variant_name name = { .port_be = htons(service->ports[0].port),
					   .proto = service->ports[0].proto };

	snprintf(name.namespace_, sizeof(name.namespace_), "%s", service->namespace_);
	snprintf(name.service, sizeof(name.service), "%s", service->name);
	snprintf(name.variant, sizeof(name.variant), "%s", variant);
	return name;
}

/* When a target's first turn is: anywhere in its interval, but always there for one backend. */
static uint64_t phase_ns(const struct target *target)
{
	const __be32 *word = target->ip.addr.word_be;
	uint64_t hash = shunt_mix64(shunt_pair(word[0], word[1]) ^ target->port);

	hash = shunt_mix64(hash ^ shunt_pair(word[2], word[3]));
	return hash % (target->how.interval_ms * NS_PER_MS);
}

/* Takes what is known of the same backend from @before, which then has it no longer. */
static void take_over(struct target *target, struct target **before, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct target *old = before[i];

		if (!old || old->port != target->port || !shunt_ip_equal(&old->ip, &target->ip) ||
		    shunt_variant_name_compare(&old->variant, &target->variant))
			continue;
		memcpy(target->answers, old->answers, sizeof(target->answers));
		if (old->how.interval_ms == target->how.interval_ms)
			target->due_ns = old->due_ns;
		if (old->running) {
			agent_probe_hand_over(old->running, target);
			target->running = old->running;
			old->running = NULL;
		}
		return;
	}
}

static int add_target(struct agent_probes *probes, const struct shunt_variant_name *variant,
		      const struct shunt_model_backend *backend, const struct shunt_probe *how)
{
	struct target **slot = shunt_array_add(&probes->targets, &probes->n_targets, sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	*slot = calloc(1, sizeof(**slot));
	if (!*slot) {
		probes->n_targets--;
		return -ENOMEM;
	}
	**slot = (struct target){ .variant = *variant,
				  .ip = backend->ip,
				  .port = backend->port,
				  .how = *how,
				  .all = probes };
	(*slot)->due_ns = uv_hrtime() + phase_ns(*slot);
	return 0;
}

/* What was counted of a variant so far is kept, whether it is probed or not. */
static int keep_sum(struct agent_probes *probes, const struct shunt_variant_name *variant,
		    struct shunt_probe_sum **before, size_t n_before, bool is_probed)
{
	struct shunt_probe_sum *sum = NULL, **slot;

	for (size_t i = 0; i < n_before && !sum; i++)
		if (before[i] && !shunt_variant_name_compare(&before[i]->variant, variant)) {
			sum = before[i];
			before[i] = NULL;
		}
	if (!sum && is_probed)
		sum = calloc(1, sizeof(*sum));
	if (!sum)
		return is_probed ? -ENOMEM : 0;
	sum->variant = *variant;
	slot = shunt_array_add(&probes->sums, &probes->n_sums, sizeof(*slot));
	if (!slot) {
		free(sum);
		return -ENOMEM;
	}
	*slot = sum;
	return 0;
}

static int follow_variant(struct agent_probes *probes, const struct shunt_model_service *service,
			  const struct shunt_model_variant *variant, struct shunt_probe_sum **sums,
			  size_t n_sums)
{
	const struct shunt_probe *how =
		service->policy && service->policy->probe.path[0] ? &service->policy->probe : NULL;
	const struct shunt_variant_name name = name_of(service, variant->name);
	int port = port_of(service);
	int r = keep_sum(probes, &name, sums, n_sums, how && port >= 0);

	for (size_t b = 0; how && b < variant->n_backends && !r; b++)
		if (variant->backends[b].usable && variant->backends[b].port_index == port)
			r = add_target(probes, &name, &variant->backends[b], how);
	return r;
}

static void free_targets(struct target **targets, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		break_off(targets[i]);
		free(targets[i]);
	}
	free(targets);
}

static void free_sums(struct shunt_probe_sum **sums, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(sums[i]);
	free(sums);
}

int agent_probes_follow(struct agent_probes *probes, const struct shunt_model *model)
{
	struct target **targets = probes->targets;
	size_t n_targets = probes->n_targets, n_sums = probes->n_sums;
	struct shunt_probe_sum **sums = probes->sums;
	int r = 0;

	probes->targets = NULL;
	probes->sums = NULL;
	probes->n_targets = probes->n_sums = 0;
	for (size_t i = 0; i < model->n_services; i++)
		for (size_t v = 0; v < model->services[i].n_variants && !r; v++)
			r = follow_variant(probes, &model->services[i],
					   &model->services[i].variants[v], sums, n_sums);
	for (size_t i = 0; i < probes->n_targets; i++)
		take_over(probes->targets[i], targets, n_targets);
	free_targets(targets, n_targets);
	free_sums(sums, n_sums);
	if (probes->n_targets && !probes->is_closed)
		uv_timer_start(&probes->timer, on_timer, LOOK_MS, LOOK_MS);
	else
		uv_timer_stop(&probes->timer);
	return r;
}

/* ---- who asks for the counts ----------------------------------------------------------------- */

struct shunt_metrics_probe *agent_probes_list(const struct agent_probes *probes, size_t *ret_n)
{
	struct shunt_metrics_probe *list = calloc(probes->n_targets + 1, sizeof(*list));

	for (size_t i = 0; list && i < probes->n_targets; i++) {
		const struct target *target = probes->targets[i];

		list[i].variant = &target->variant;
		shunt_addr_port_str(&target->ip, target->port, list[i].backend);
		memcpy(list[i].answers, target->answers, sizeof(list[i].answers));
	}
	*ret_n = probes->n_targets;
	return list;
}

json_t *agent_probes_json(const struct agent_probes *probes,
			  const struct shunt_model_service *service, const char *variant)
{
	const struct shunt_variant_name name = name_of(service, variant);
	const struct shunt_probe_sum *sum = find_sum(probes, &name);
	json_t *json = sum ? json_object() : NULL;

	for (int c = 0; sum && c < SHUNT_N_CODE_CLASSES; c++)
		json_object_set_new(json, c ? shunt_code_classes[c] : "none",
				    json_integer((json_int_t)sum->answers[c]));
	return json;
}

const struct shunt_probe_sum *const *agent_probes_sums(const struct agent_probes *probes,
						       size_t *ret_n)
{
	*ret_n = probes->n_sums;
	return (const struct shunt_probe_sum *const *)probes->sums;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct agent_probes *agent_probes_new(uv_loop_t *loop)
{
	struct agent_probes *probes = calloc(1, sizeof(*probes));

	if (!probes)
		return NULL;
	probes->loop = loop;
	uv_timer_init(loop, &probes->timer);
	probes->timer.data = probes;
	return probes;
}

void agent_probes_close(struct agent_probes *probes)
{
	if (!probes || probes->is_closed)
		return;
	for (size_t i = 0; i < probes->n_targets; i++)
		break_off(probes->targets[i]);
	uv_close((uv_handle_t *)&probes->timer, NULL);
	probes->is_closed = true;
}

void agent_probes_free(struct agent_probes *probes)
{
	if (!probes)
		return;
	free_targets(probes->targets, probes->n_targets);
	free_sums(probes->sums, probes->n_sums);
	free(probes);
}
