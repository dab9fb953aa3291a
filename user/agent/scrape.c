// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "agent/breakers.h"
#include "base/cleanup.h"
#include "base/version.h"
#include "metrics/text.h"

/* The source is read at least each resync; three of them without success are a fault. */
#define MISSED_RESYNCS 3

/* ---- /metrics ----------------------------------------------------------------------------------
 */

static void list_ports(const struct shunt_model_service *service, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < service->n_ports && len < size; i++)
		len += snprintf(buf + len, size - len, "%s%u/%s", i ? "," : "",
				service->ports[i].port,
				service->ports[i].proto == IPPROTO_UDP ? "UDP" : "TCP");
}

/* Return: the weights of all variants, or NULL: out of memory. */
static struct shunt_metrics_weight *list_weights(const struct agent *agent, size_t *ret_n)
{
	const struct shunt_model *model = &agent->model;
	struct shunt_metrics_weight *weights;
	size_t n = 0;

	for (size_t i = 0; i < model->n_services; i++)
		n += model->services[i].n_variants;
	weights = calloc(n + 1, sizeof(*weights));
	n = 0;
	for (size_t i = 0; weights && i < model->n_services; i++) {
		const struct shunt_model_service *service = &model->services[i];
		uint64_t sum = 0;

		for (size_t v = 0; v < service->n_variants; v++)
			sum += service->variants[v].drained ? 0 : service->variants[v].weight;
		for (size_t v = 0; v < service->n_variants; v++) {
			struct shunt_metrics_weight *out = &weights[n++];

			out->namespace_ = service->namespace_;
			out->service = service->name;
			out->variant = service->variants[v].name;
			out->weight =
				service->variants[v].drained ? 0 : service->variants[v].weight;
			out->share = sum ? (double)out->weight / (double)sum : 0;
			list_ports(service, out->ports, sizeof(out->ports));
		}
	}
	*ret_n = n;
	return weights;
}

/* Gates, and the interfaces that should be gates and are not there. */
static struct shunt_metrics_gate *list_gates(const struct agent *agent, size_t *ret_n)
{
	const struct agent_gates *gates = &agent->gates;
	struct shunt_metrics_gate *list = calloc(gates->n + gates->n_patterns + 1, sizeof(*list));
	size_t n = 0;

	for (size_t i = 0; list && i < gates->n; i++)
		list[n++] = (struct shunt_metrics_gate){
			.interface = gates->items[i].ifname,
			.hook = gates->items[i].hook == SHUNT_HOOK_XDP ? "xdp" : "tc",
			.up = gates->items[i].attached,
		};
	for (size_t i = 0; list && i < gates->n_patterns; i++)
		if (gates->patterns[i].literal && !agent_gates_find(gates, &gates->patterns[i]))
			list[n++] = (struct shunt_metrics_gate){
				.interface = gates->patterns[i].pattern,
				.hook = gates->patterns[i].hook == SHUNT_HOOK_XDP ? "xdp" : "tc",
			};
	*ret_n = n;
	return list;
}

static struct shunt_metrics_breaker *list_breakers(const struct agent_breaker *breakers, size_t n)
{
	struct shunt_metrics_breaker *list = calloc(n + 1, sizeof(*list));

	for (size_t i = 0; list && i < n; i++)
		list[i] = (struct shunt_metrics_breaker){
			.name = &breakers[i].name,
			.backend = breakers[i].backend,
			.phase = breakers[i].state.phase,
			.opened = breakers[i].state.opened,
		};
	return list;
}

static void list_decisions(const struct agent *agent,
			   struct shunt_metrics_decision list[AGENT_N_DECISIONS])
{
	for (int i = 0; i < AGENT_N_DECISIONS; i++)
		list[i] = (struct shunt_metrics_decision){
			.reason = agent_decision_name((enum agent_decision)i),
			.n = agent->decisions.seen[i],
		};
}

static int scrape(void *ctx, char **ret_text, size_t *ret_len)
{
	const struct agent *agent = ctx;
	CLEANUP(freep) struct shunt_metrics_weight *weights = NULL;
	CLEANUP(freep) struct shunt_metrics_gate *gates = NULL;
	CLEANUP(freep) struct shunt_metrics_breaker *breakers = NULL;
	CLEANUP(freep) struct agent_breaker *all = NULL;
	struct shunt_metrics_decision decisions[AGENT_N_DECISIONS];
	CLEANUP(freep) struct shunt_metrics_probe *probes = NULL;
	CLEANUP(shunt_stats_free) struct shunt_stats stats = { 0 };
	struct shunt_metrics metrics = {
		.stats = &stats,
		.source_problems = agent_count_problems(agent),
		.installs_failed = agent->n_failed,
		.config_age_seconds = (shunt_mono_ns() - agent->confirmed_ns) / 1e9,
		.start_time_seconds = agent->started_ms / 1e3,
		.version = SHUNT_VERSION,
		.compat = agent->compat,
		.decisions = decisions,
		.n_decisions = AGENT_N_DECISIONS,
		.decisions_lost = agent->decisions.lost,
	};
	int r;

	r = shunt_stats_collect(shunt_dp_maps(agent->dp), &stats);
	if (!r)
		r = agent_breakers_read(agent, NULL, &all, &metrics.n_breakers);
	if (r < 0)
		return r;
	list_decisions(agent, decisions);
	breakers = list_breakers(all, metrics.n_breakers);
	weights = list_weights(agent, &metrics.n_weights);
	gates = list_gates(agent, &metrics.n_gates);
	probes = agent_probes_list(agent->probes, &metrics.n_probes);
	if (!weights || !gates || !breakers || !probes)
		return -ENOMEM;
	if (agent->compat) {
		r = shunt_compat_observe(agent->compat, &stats);
		if (r < 0)
			return r;
	}
	metrics.probes = probes;
	metrics.probe_sums = agent_probes_sums(agent->probes, &metrics.n_probe_sums);
	metrics.weights = weights;
	metrics.gates = gates;
	metrics.breakers = breakers;
	return shunt_metrics_text(&metrics, ret_text, ret_len);
}

int agent_compat_begin(struct agent *agent)
{
	CLEANUP(shunt_stats_free) struct shunt_stats stats = { 0 };
	int r;

	if (!agent->opts->metrics_compat)
		return 0;
	agent->compat = shunt_compat_new(agent->opts->metrics_compat);
	if (!agent->compat)
		return -ENOMEM;
	r = shunt_stats_collect_variants(shunt_dp_maps(agent->dp), &stats);
	return r < 0 ? r : shunt_compat_observe(agent->compat, &stats);
}

void agent_window_tick(struct agent *agent)
{
	int r = shunt_window_tick(agent->window, shunt_dp_maps(agent->dp), shunt_mono_ns());

	if (r < 0)
		log_error("cannot read the counters for the signals of the last minute: %s",
			  strerror(-r));
}

/* ---- probes
 * ---------------------------------------------------------------------------------------- */

/* Are the pins of maps and of attached gates where they were? Otherwise a restart mends it. */
static int check_pins(const struct agent *agent, struct shunt_err *err)
{
	int r = shunt_dp_check_pins(agent->dp, err);

	for (size_t i = 0; !r && i < agent->gates.n; i++)
		if (agent->gates.items[i].attached)
			r = shunt_dp_check_gate(agent->dp, &agent->gates.items[i].info, err);
	return r;
}

/* That there is an answer at all shows that the loop runs. */
static bool healthy(void *ctx, char *why)
{
	const struct agent *agent = ctx;
	const struct shunt_settings *settings =
		SHUNT_DP_AT(shunt_dp_maps(agent->dp)->settings, struct shunt_settings, 0);
	struct shunt_err err = { 0 };

	if (settings->abi_version != SHUNT_ABI_VERSION)
		snprintf(why, 512, "the maps are not those of this agent");
	else if (check_pins(agent, &err) < 0)
		snprintf(why, 512, "%.500s", err.text);
	else
		return true;
	return false;
}

/* Return: a gate that could not be attached, if there are gates and none could; else NULL. */
static const struct agent_gate *all_failed(const struct agent_gates *gates)
{
	for (size_t i = 0; i < gates->n; i++)
		if (gates->items[i].attached)
			return NULL;
	return gates->n ? &gates->items[0] : NULL;
}

static bool ready(void *ctx, char *why)
{
	const struct agent *agent = ctx;
	uint64_t limit_ns = (uint64_t)agent->opts->resync_ms * MISSED_RESYNCS * 1000000;
	const struct agent_gate *failed;
	const char *missing;

	if (agent->detach.reply)
		snprintf(why, 512, "the agent is detaching from this node");
	else if (!agent->installed)
		snprintf(why, 512, "not installed yet: %.400s", agent->install_problem);
	else if ((missing = agent_gates_missing(&agent->gates)))
		snprintf(why, 512, "interface %s is not guarded", missing);
	else if ((failed = all_failed(&agent->gates)))
		snprintf(why, 512, "no interface is guarded: %s: %.400s", failed->ifname,
			 failed->problem);
	else if (shunt_mono_ns() - agent->confirmed_ns > limit_ns && agent->install_problem[0])
		snprintf(why, 512, "%.500s", agent->install_problem);
	else
		return true;
	return false;
}

struct shunt_http_ops agent_http_ops(struct agent *agent)
{
	return (struct shunt_http_ops){
		.metrics = scrape, .healthy = healthy, .ready = ready, .ctx = agent
	};
}
