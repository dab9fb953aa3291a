// SPDX-License-Identifier: Apache-2.0
#include "cli/explain.h"

#include "base/mono.h"
#include "base/units.h"
#include "cli/print.h"
#include "datapath/breakers.h"
#include "datapath/guards.h"

/* What the circuit breaker of a choice would do with a new connection now. */

struct verdict {
	const struct shunt_breaker_rule *rule; /* NULL: no breaker */
	struct shunt_guard_state state;
	uint64_t requests; /* in its window */
	double admits;	   /* share of new connections, 0 to 1 */
};

static struct verdict judge(const struct explain *e, uint32_t variant, uint32_t backend)
{
	struct shunt_guard_found found = shunt_guard_find(e->maps, variant, backend);
	struct verdict verdict = { .admits = 1 };
	uint64_t now_ns = shunt_mono_ns();

	if (!found.breaker || found.breaker >= e->maps->breakers.n)
		return verdict;
	verdict.rule = SHUNT_DP_AT(e->maps->breakers, struct shunt_breaker_rule, found.breaker);
	verdict.state = shunt_guard_state(e->maps, found.breaker, found.instance, now_ns);
	verdict.requests = shunt_guard_requests(e->maps, found.breaker, found.instance, now_ns);
	if (verdict.state.phase == SHUNT_BREAKER_OPEN ||
	    verdict.state.phase == SHUNT_BREAKER_FORCED_OPEN)
		verdict.admits = 0;
	else if (verdict.state.phase == SHUNT_BREAKER_RECOVERING && verdict.rule->recovery_ns)
		verdict.admits =
			1 - (double)verdict.state.left_ns / (double)verdict.rule->recovery_ns;
	return verdict;
}

/* What the breaker of the fallback itself refuses goes nowhere. */
static const char *fallback_name(const struct explain *e, const struct shunt_breaker_rule *rule,
				 uint32_t variant)
{
	if (!rule->fallback || rule->fallback == variant ||
	    rule->fallback >= e->maps->variant_names.n)
		return "";
	return SHUNT_DP_AT(e->maps->variant_names, struct shunt_variant_name, rule->fallback)
		->variant;
}

/* @whose: "" or a variant's name */
static void print_verdict(const struct explain *e, uint32_t variant, const char *whose,
			  const struct verdict *verdict)
{
	const char *fallback = fallback_name(e, verdict->rule, variant);
	enum shunt_breaker_phase phase = verdict->state.phase;
	char left[SHUNT_UNIT_STR_LEN], share[SHUNT_UNIT_STR_LEN];

	print_text(e->cli, PRINT_DIM, "  %-9s ", "breaker");
	print_text(e->cli, verdict->admits < 1 ? PRINT_WARN : PRINT_PLAIN, "%s%s%s", whose,
		   *whose ? ": " : "", shunt_breaker_phase_name(phase));
	if (phase == SHUNT_BREAKER_OPEN || phase == SHUNT_BREAKER_RECOVERING)
		print_text(e->cli, PRINT_PLAIN, " for another %s",
			   shunt_duration_str(verdict->state.left_ns / 1000000, left));
	if (verdict->admits >= 1)
		print_text(e->cli, PRINT_PLAIN, ", %llu requests in its window",
			   (unsigned long long)verdict->requests);
	else if (verdict->admits > 0)
		print_text(e->cli, PRINT_PLAIN,
			   ": %s of new connections are let in now, others %s%s",
			   shunt_share_str(verdict->admits, share),
			   *fallback ? "go to " : "are refused", fallback);
	else
		print_text(e->cli, PRINT_PLAIN, ": a new connection %s%s",
			   *fallback ? "goes to " : "is refused", fallback);
	fputc('\n', e->cli->out);
}

static const char *name_of(const struct explain *e, uint32_t variant)
{
	if (variant >= e->maps->variant_names.n)
		return "?";
	return SHUNT_DP_AT(e->maps->variant_names, struct shunt_variant_name, variant)->variant;
}

void explain_print_breaker(const struct explain *e, bool of_all)
{
	const struct shunt_split *split = &e->choice.record;
	struct verdict verdict;

	if (!of_all) {
		verdict = judge(e, e->choice.variant, e->choice.backend);
		if (verdict.rule)
			print_verdict(e, e->choice.variant, "", &verdict);
		return;
	}
	for (uint32_t i = 0; i < split->n_variants && i < SHUNT_MAX_VARIANTS; i++) {
		uint32_t variant = split->variant[i].variant;

		verdict = judge(e, variant, 0);
		if (verdict.rule)
			print_verdict(e, variant, name_of(e, variant), &verdict);
	}
}

json_t *explain_breaker_json(const struct explain *e)
{
	struct verdict verdict = judge(e, e->choice.variant, e->choice.backend);
	bool has_end = verdict.state.phase == SHUNT_BREAKER_OPEN ||
		       verdict.state.phase == SHUNT_BREAKER_RECOVERING;

	if (!verdict.rule)
		return json_null();
	return json_pack("{s:s, s:o, s:f, s:s, s:I}", "phase",
			 shunt_breaker_phase_name(verdict.state.phase), "left_ms",
			 has_end ? json_integer((json_int_t)(verdict.state.left_ns / 1000000))
				 : json_null(),
			 "admits", verdict.admits, "fallback",
			 fallback_name(e, verdict.rule, e->choice.variant), "requests",
			 (json_int_t)verdict.requests);
}
