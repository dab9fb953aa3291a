/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_GATES_H
#define SHUNT_AGENT_GATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "datapath/datapath.h"
#include "datapath/links.h"

/*
 * Which interfaces are gates, and which should be. Level-triggered: agent_gates_sync() looks
 * at the interfaces that are there now and attaches or forgets what differs, so a lost
 * notification costs time, never the state.
 */
#define AGENT_IFNAME_LEN 16

struct agent_gate_pattern {
	char pattern[64]; /* fnmatch(3) */
	enum shunt_hook hook;
	uint32_t roles; /* SHUNT_GATE_UPLINK, SHUNT_GATE_EXTERNAL */
	bool literal;	/* no wildcard: one interface that is expected to exist */
};

/**
 * agent_gate_parse - read "PATTERN[:tc|:xdp][:uplink][:external]", words in any order
 *
 * Return: 0, or -EINVAL with @err: empty, a name no interface can have, an open bracket,
 *   an unknown word, two hooks.
 */
int agent_gate_parse(const char *text, struct agent_gate_pattern *ret_pattern,
		     struct shunt_err *err);

/* Return: the first pattern that @ifname matches, borrowed, or NULL. */
const struct agent_gate_pattern *agent_gate_match(const struct agent_gate_pattern *patterns,
						  size_t n, const char *ifname);

enum agent_gate_change {
	AGENT_GATE_ATTACHED,
	AGENT_GATE_GONE,
	AGENT_GATE_FAILED, /* told once until it succeeds or fails for another reason */
};

/* One interface that matches a pattern. */
struct agent_gate {
	uint32_t ifindex;
	char ifname[AGENT_IFNAME_LEN];
	enum shunt_hook hook;
	uint32_t roles;	 /* of its pattern */
	uint32_t master; /* as struct agent_link has them */
	bool is_pod, is_hardware;
	struct shunt_macs macs;
	bool attached;
	bool seen;		   /* by the sync that runs */
	struct shunt_dp_gate info; /* when attached */
	char problem[512];	   /* when not attached: why */
};

/* What gates need of the rest of the agent; the tests give their own. */
struct agent_gate_ops {
	int (*attach)(void *ctx, const struct agent_gate *gate, struct shunt_dp_gate *ret_gate,
		      struct shunt_err *err);
	int (*detach)(void *ctx, uint32_t ifindex);
	void (*changed)(void *ctx, enum agent_gate_change change, const struct agent_gate *gate);
	void *ctx;
};

struct agent_gates {
	const struct agent_gate_pattern *patterns; /* borrowed */
	size_t n_patterns;
	struct agent_gate_ops ops;
	struct agent_gate *items;
	size_t n;
};

/* One interface of the host. */
struct agent_link {
	uint32_t ifindex;
	char ifname[AGENT_IFNAME_LEN];
	uint32_t master; /* the bridge or bond that it belongs to; 0: none */
	bool is_pod;	 /* a veth whose other end is in another namespace */
	bool is_hardware;
	struct shunt_macs macs;
};

/**
 * agent_gates_sync - bring the gates to @links
 * @links:  all interfaces that exist now; borrowed
 * @verify: also look again at what is attached: position, a filter that somebody removed
 *
 * Return: 0 or -ENOMEM; that a gate could not be attached is in the gate.
 */
int agent_gates_sync(struct agent_gates *gates, const struct agent_link *links, size_t n,
		     bool verify);

/* The interface was deleted: what follows under this index is another one. */
void agent_gates_forget(struct agent_gates *gates, uint32_t ifindex);

/* Return: the gate of a literal @pattern, borrowed, or NULL while the interface is not there. */
const struct agent_gate *agent_gates_find(const struct agent_gates *gates,
					  const struct agent_gate_pattern *pattern);

/* Return: the first interface that a pattern without wildcards names and that is not attached,
 * or NULL: all are. */
const char *agent_gates_missing(const struct agent_gates *gates);

/* Frees the table; what is attached stays attached. */
void agent_gates_free(struct agent_gates *gates);

#endif
