/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_DATAPATH_H
#define SHUNT_DATAPATH_DATAPATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "compile/ids.h"
#include "shunt/abi.h"

/*
 * The maps and programs of one installation: created, or adopted from the pins below
 * <bpffs>/v<SHUNT_ABI_VERSION>/. Array maps are mapped into memory, so that reading a
 * counter or switching a split is a load or a store.
 */

enum shunt_tc_mode { SHUNT_TC_AUTO, SHUNT_TC_TCX, SHUNT_TC_CLSACT };
enum shunt_hook { SHUNT_HOOK_TC, SHUNT_HOOK_XDP };
enum shunt_forward { SHUNT_FORWARD_STACK, SHUNT_FORWARD_REDIRECT };

struct shunt_dp_sizes {		/* entries; rounded up to powers of two */
	uint32_t flows;		/* default 262144 */
	uint32_t frontends;	/* default 65536: frontends and backends together */
	uint32_t services;	/* default 4096 */
	uint32_t variants;	/* default 8192 */
	uint32_t backends;	/* default 32768 */
	uint32_t ring_entries;	/* default 8388608 u16 = 16 MiB */
	uint32_t sessions;	/* default 65536 */
	uint32_t fragments;	/* default 8192 */
	uint32_t policies;	/* default 1024; four buckets each */
	uint32_t limit_clients; /* default 65536 */
	uint32_t sources;	/* default 65536 */
	uint32_t breakers;	/* default 1024: instances */
};

struct shunt_dp_opts {
	const char *bpffs;     /* default /sys/fs/bpf/shunt */
	const char *state_dir; /* holds "secret" (0600); created if missing */
	struct shunt_dp_sizes sizes;
	uint32_t timeout_ms[SHUNT_N_TIMEOUTS];	/* 0: the default */
	uint16_t nat_port_first, nat_port_last; /* default 61000..65535 */
	uint32_t icmp_rate, rst_rate;		/* answers per second and CPU; 0: no limit */
	uint32_t client_share_bp;		/* of the flow table, for one client; 0: all */
	enum shunt_tc_mode tc_mode;
	enum shunt_forward forward; /* of new flows */
};

/* One mmaped array map. */
struct shunt_dp_array {
	int fd;
	uint32_t n;	 /* entries */
	uint32_t stride; /* bytes between entries */
	void *base;
};

/* The array maps by name; the order is that of SHUNT_DP_ARRAYS. */
#define SHUNT_DP_ARRAYS(X)                                                                         \
	X(settings)                                                                                \
	X(services)                                                                                \
	X(service_names)                                                                           \
	X(rules)                                                                                   \
	X(splits)                                                                                  \
	X(rings)                                                                                   \
	X(members)                                                                                 \
	X(variants)                                                                                \
	X(variant_names)                                                                           \
	X(overlay)                                                                                 \
	X(dead_man_counts)                                                                         \
	X(backends)                                                                                \
	X(backend_active)                                                                          \
	X(clients)                                                                                 \
	X(policies)                                                                                \
	X(buckets)                                                                                 \
	X(bucket_names)                                                                            \
	X(client_sets)                                                                             \
	X(client_active)                                                                           \
	X(service_active)                                                                          \
	X(variant_active)                                                                          \
	X(breakers)                                                                                \
	X(breaker_states)                                                                          \
	X(breaker_words)                                                                           \
	X(breaker_names)                                                                           \
	X(variant_guards)                                                                          \
	X(backend_guards)                                                                          \
	X(eject_states)                                                                            \
	X(eject_places)                                                                            \
	X(http)                                                                                    \
	X(response_times)                                                                          \
	X(connect_times)                                                                           \
	X(flow_sets)                                                                               \
	X(flows)                                                                                   \
	X(reply_sets)

/* What everyone above the loader works with. Borrowed from a struct shunt_dp. */
struct shunt_dp_maps {
#define SHUNT_DP_ARRAY_FIELD(name) struct shunt_dp_array name;
	SHUNT_DP_ARRAYS(SHUNT_DP_ARRAY_FIELD)
#undef SHUNT_DP_ARRAY_FIELD
	int frontends_fd;
	int sessions_fd;
	int gates_fd;
	int backend_counters_fd; /* per CPU */
	int variant_counters_fd; /* per CPU */
	int reasons_fd;		 /* per CPU */
	int limit_counters_fd;	 /* per CPU */
	int event_counters_fd;	 /* per CPU */
	int events_fd;		 /* ring buffer */
	int sources_fd[SHUNT_N_FAMILIES];
};

/* Entry @index of a mapped array, typed. The caller has checked the bound. */
#define SHUNT_DP_AT(array, type, index)                                                            \
	((type *)((char *)(array).base + (size_t)(array).stride * (index)))

struct shunt_dp;

/**
 * shunt_dp_open - load the programs and create or adopt the maps
 * @opts: borrowed
 * @ret_dp: written on 0 only; closed with shunt_dp_close()
 * @err: which right, mount or feature is missing and what to do
 *
 * Programs already attached by an earlier agent of the same ABI are replaced in place.
 * Another ABI's flows and counters are carried over (datapath/carry.h).
 *
 * Return: 0; -EBUSY: another agent holds these pins; -EPERM; -ENOENT: no bpffs; -errno.
 */
int shunt_dp_open(const struct shunt_dp_opts *opts, struct shunt_dp **ret_dp,
		  struct shunt_err *err);

/* Closes descriptors; what is pinned goes on working. NULL is fine. */
void shunt_dp_close(struct shunt_dp *dp);

/* Opens the pinned maps of a running installation read-write without programs: for the CLI. */
int shunt_dp_open_maps(const char *bpffs, bool writable, struct shunt_dp **ret_dp,
		       struct shunt_err *err);

const struct shunt_dp_maps *shunt_dp_maps(const struct shunt_dp *dp);

/* Is every map still pinned? Return: 0, or -errno with @err naming the first that is not. */
int shunt_dp_check_pins(const struct shunt_dp *dp, struct shunt_err *err);

/* Return: was anything adopted from an earlier agent? */
bool shunt_dp_adopted(const struct shunt_dp *dp);

/* What a person should know about the opening, such as sizes that were kept; "" if nothing. */
const char *shunt_dp_notes(const struct shunt_dp *dp);

/* Jiffies as the programs read them, low 32 bits; and how many make a second. */
uint32_t shunt_dp_jiffies(const struct shunt_dp *dp);
uint32_t shunt_dp_hz(const struct shunt_dp *dp);

/**
 * shunt_dp_grace - wait until no packet in flight can still use what it read before
 *
 * Return: 0 or -errno. Costs some 16 ms here.
 */
int shunt_dp_grace(struct shunt_dp *dp);

/* ---- gates: user/datapath/attach.c -------------------------------------------------- */

struct shunt_dp_gate {
	uint32_t ifindex;
	char ifname[16];
	enum shunt_hook hook;
	enum shunt_tc_mode tc_mode; /* what is in use: TCX or CLSACT */
	bool xdp_native;
};

/**
 * shunt_dp_attach - make an interface a gate, or adopt or repair one
 *
 * Ingress splits (XDP or tc), egress restores (always tc). Idempotent: what is attached is
 * replaced in place, first position included. Return: 0 or -errno with @err.
 */
int shunt_dp_attach(struct shunt_dp *dp, uint32_t ifindex, const char *ifname, enum shunt_hook hook,
		    struct shunt_dp_gate *ret_gate, struct shunt_err *err);

/*
 * Are the links of an attached gate still pinned? Without its pin a link ends at once; filters of
 * clsact have none. Return: 0, or -errno with @err.
 */
int shunt_dp_check_gate(const struct shunt_dp *dp, const struct shunt_dp_gate *gate,
			struct shunt_err *err);

/* Removes hooks and pins of a gate; of a vanished interface only the pins. */
int shunt_dp_detach(struct shunt_dp *dp, uint32_t ifindex);

/* ---- what the programs know of gates: user/datapath/gates.c ------------------------- */

struct shunt_dp_gate_record {
	uint32_t ifindex;
	struct shunt_gate gate;
};

/* Tells the programs of one gate; before it is attached. Return: 0 or -errno. */
int shunt_dp_gate_put(struct shunt_dp *dp, uint32_t ifindex, const struct shunt_gate *gate);

/**
 * shunt_dp_gates_replace - these are all gates, and no others
 *
 * What is as it should be is not written. Return: 0 or the first -errno; the rest is done.
 */
int shunt_dp_gates_replace(struct shunt_dp *dp, const struct shunt_dp_gate_record *records,
			   size_t n);

/*
 * Routes, neighbours or gates have changed: the next hops that the programs keep count no more.
 * @may_keep: they may keep any, for no rule of the host looks at more than the destination and
 *	      where a packet comes in
 */
void shunt_dp_routes_changed(struct shunt_dp *dp, bool may_keep);

/*
 * Detaches every gate and unpins everything of this ABI. The explicit way out. The agent
 * closes its own struct shunt_dp before; -EBUSY with @err: an agent holds the pins.
 */
int shunt_dp_remove(const char *bpffs, struct shunt_err *err);

#endif
