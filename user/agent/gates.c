// SPDX-License-Identifier: Apache-2.0
#include "agent/gates.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

/* Does every '[' of a glob close? fnmatch() would take an open one for a literal. */
static bool brackets_close(const char *glob)
{
	for (const char *p = glob; *p; p++) {
		if (*p != '[')
			continue;
		p++;
		if (*p == '!' || *p == '^')
			p++;
		if (!*p)
			return false;
		p = strchr(p + 1, ']');
		if (!p)
			return false;
	}
	return true;
}

static bool word_is(const char *word, size_t len, const char *what)
{
	return len == strlen(what) && !memcmp(word, what, len);
}

/* Reads ":tc:uplink" and the like into @pattern. */
static int parse_words(const char *text, const char *colon, struct agent_gate_pattern *pattern,
		       struct shunt_err *err)
{
	bool has_hook = false;

	while (*colon) {
		const char *word = colon + 1;
		size_t len = strcspn(word, ":");
		bool is_xdp = word_is(word, len, "xdp");

		if (is_xdp || word_is(word, len, "tc")) {
			if (has_hook)
				return shunt_err_set(err, -EINVAL, "gate \"%s\": two hooks", text);
			has_hook = true;
			pattern->hook = is_xdp ? SHUNT_HOOK_XDP : SHUNT_HOOK_TC;
		} else if (word_is(word, len, "uplink")) {
			pattern->roles |= SHUNT_GATE_UPLINK;
		} else if (word_is(word, len, "external")) {
			pattern->roles |= SHUNT_GATE_EXTERNAL;
		} else {
			return shunt_err_set(err, -EINVAL,
					     "gate \"%s\": tc, xdp, uplink or external, not "
					     "\"%.*s\"",
					     text, (int)len, word);
		}
		colon = word + len;
	}
	return 0;
}

int agent_gate_parse(const char *text, struct agent_gate_pattern *ret_pattern,
		     struct shunt_err *err)
{
	struct agent_gate_pattern pattern = { .hook = SHUNT_HOOK_TC };
	size_t len = strcspn(text, ":");
	int r = parse_words(text, text + len, &pattern, err);

	if (r < 0)
		return r;
	if (!len)
		return shunt_err_set(err, -EINVAL,
				     "gate \"%s\": the name of the interface is missing", text);
	if (len >= sizeof(pattern.pattern))
		return shunt_err_set(err, -EINVAL, "gate \"%.32s...\": the pattern is too long",
				     text);

	memcpy(pattern.pattern, text, len);
	if (strpbrk(pattern.pattern, "/ \t\n"))
		return shunt_err_set(err, -EINVAL,
				     "gate \"%s\": no interface name has a slash or a blank", text);
	if (!brackets_close(pattern.pattern))
		return shunt_err_set(err, -EINVAL, "gate \"%s\": the bracket is not closed", text);

	pattern.literal = !strpbrk(pattern.pattern, "*?[\\");
	if (pattern.literal && len >= AGENT_IFNAME_LEN)
		return shunt_err_set(err, -EINVAL,
				     "gate \"%s\": interface names have at most %d characters",
				     text, AGENT_IFNAME_LEN - 1);

	*ret_pattern = pattern;
	return 0;
}

const struct agent_gate_pattern *agent_gate_match(const struct agent_gate_pattern *patterns,
						  size_t n, const char *ifname)
{
	for (size_t i = 0; i < n; i++)
		if (!fnmatch(patterns[i].pattern, ifname, 0))
			return &patterns[i];
	return NULL;
}

static struct agent_gate *find(const struct agent_gates *gates, uint32_t ifindex)
{
	for (size_t i = 0; i < gates->n; i++)
		if (gates->items[i].ifindex == ifindex)
			return &gates->items[i];
	return NULL;
}

static struct agent_gate *add(struct agent_gates *gates, uint32_t ifindex)
{
	struct agent_gate *items;

	items = realloc(gates->items, (gates->n + 1) * sizeof(*items));
	if (!items)
		return NULL;

	gates->items = items;
	items[gates->n] = (struct agent_gate){ .ifindex = ifindex };
	return &items[gates->n++];
}

/* Detaches @gate and takes it out of the table; the last one moves into its place. */
static void drop(struct agent_gates *gates, struct agent_gate *gate)
{
	struct agent_gate copy = *gate;

	*gate = gates->items[--gates->n];
	gates->ops.detach(gates->ops.ctx, copy.ifindex);
	gates->ops.changed(gates->ops.ctx, AGENT_GATE_GONE, &copy);
}

static void attach(struct agent_gates *gates, struct agent_gate *gate)
{
	struct shunt_err err = { 0 };
	struct shunt_dp_gate info = { 0 };
	bool was_attached = gate->attached;
	int r;

	r = gates->ops.attach(gates->ops.ctx, gate, &info, &err);
	if (r >= 0) {
		gate->attached = true;
		gate->info = info;
		gate->problem[0] = '\0';
		if (!was_attached)
			gates->ops.changed(gates->ops.ctx, AGENT_GATE_ATTACHED, gate);
		return;
	}

	gate->attached = false;
	if (!strcmp(gate->problem, err.text))
		return;
	memcpy(gate->problem, err.text, sizeof(gate->problem));
	gates->ops.changed(gates->ops.ctx, AGENT_GATE_FAILED, gate);
}

/* Brings one interface that matches @pattern to what the pattern asks. */
static int sync_link(struct agent_gates *gates, const struct agent_link *link,
		     const struct agent_gate_pattern *pattern, bool verify)
{
	struct agent_gate *gate = find(gates, link->ifindex);

	/* Renamed from one pattern's interface to another's, with another hook. */
	if (gate && gate->hook != pattern->hook) {
		drop(gates, gate);
		gate = NULL;
	}
	if (!gate)
		gate = add(gates, link->ifindex);
	if (!gate)
		return -ENOMEM;

	gate->seen = true;
	gate->hook = pattern->hook;
	gate->roles = pattern->roles;
	gate->master = link->master;
	gate->is_pod = link->is_pod;
	gate->is_hardware = link->is_hardware;
	gate->macs = link->macs;
	memcpy(gate->ifname, link->ifname, sizeof(gate->ifname));
	if (!gate->attached || verify)
		attach(gates, gate);
	return 0;
}

int agent_gates_sync(struct agent_gates *gates, const struct agent_link *links, size_t n,
		     bool verify)
{
	const struct agent_gate_pattern *pattern;
	int r;

	for (size_t i = 0; i < gates->n; i++)
		gates->items[i].seen = false;

	for (size_t i = 0; i < n; i++) {
		pattern = agent_gate_match(gates->patterns, gates->n_patterns, links[i].ifname);
		if (!pattern)
			continue;
		r = sync_link(gates, &links[i], pattern, verify);
		if (r < 0)
			return r;
	}

	for (size_t i = gates->n; i-- > 0;)
		if (!gates->items[i].seen)
			drop(gates, &gates->items[i]);
	return 0;
}

void agent_gates_forget(struct agent_gates *gates, uint32_t ifindex)
{
	struct agent_gate *gate = find(gates, ifindex);

	if (gate)
		drop(gates, gate);
}

const struct agent_gate *agent_gates_find(const struct agent_gates *gates,
					  const struct agent_gate_pattern *pattern)
{
	for (size_t i = 0; i < gates->n; i++)
		if (!strcmp(gates->items[i].ifname, pattern->pattern))
			return &gates->items[i];
	return NULL;
}

const char *agent_gates_missing(const struct agent_gates *gates)
{
	const struct agent_gate *gate;

	for (size_t i = 0; i < gates->n_patterns; i++) {
		if (!gates->patterns[i].literal)
			continue;
		gate = agent_gates_find(gates, &gates->patterns[i]);
		if (!gate || !gate->attached)
			return gates->patterns[i].pattern;
	}
	return NULL;
}

void agent_gates_free(struct agent_gates *gates)
{
	free(gates->items);
	gates->items = NULL;
	gates->n = 0;
}
