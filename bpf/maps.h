/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_MAPS_H
#define SHUNT_BPF_MAPS_H

#include <linux/bpf.h>

#include "shunt/abi.h"
#include "shunt/compat.h"
#include "shunt/histogram.h"
#include "shunt/http.h"
#include "shunt/tuple.h"

/*
 * Every map, a block each. Sizes here are the smallest that make sense; the loader sets
 * them before the load from the agent's options (user/datapath/loader.c), except where a
 * pinned map of the same ABI is adopted, which keeps its size.
 *
 * Array maps are mmapable: the agent changes single words of them by one aligned store,
 * and ends flows by the same compare-and-swap code as the programs (shunt/flowtab.h).
 */
#define SHUNT_ARRAY(name_, value_, entries_)                                                       \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                  \
		__uint(map_flags, BPF_F_MMAPABLE);                                                 \
		__uint(max_entries, entries_);                                                     \
		__type(key, __u32);                                                                \
		__type(value, value_);                                                             \
	} name_ SEC(".maps")

#define SHUNT_PERCPU_ARRAY(name_, value_, entries_)                                                \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                           \
		__uint(max_entries, entries_);                                                     \
		__type(key, __u32);                                                                \
		__type(value, value_);                                                             \
	} name_ SEC(".maps")

/*
 * shunt_settings - epoch, secrets, time-outs
 *
 * Key:    0
 * Value:  struct shunt_settings
 * Writer: agent, user/datapath/: whole at load, single words afterwards
 * Reader: every program, once per packet
 * Miss:   cannot happen (array)
 * Size:   1
 */
SHUNT_ARRAY(shunt_settings, struct shunt_settings, 1);

/*
 * shunt_frontends - what stands at this address and port?
 *
 * Key:    struct shunt_frontend_key
 * Value:  struct shunt_frontend: service by slot, and whether a backend stands there
 * Writer: agent, user/datapath/install.c: an element is replaced as a whole
 * Reader: bpf/lookup.h, one lookup per packet at ingress
 * Miss:   SHUNT_R_NO_SERVICE: passed
 * Size:   frontends + backends; --max-frontends
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct shunt_frontend_key);
	__type(value, struct shunt_frontend);
} shunt_frontends SEC(".maps");

/*
 * shunt_services - how to treat new flows to a service port
 *
 * Key:    service index, 1..
 * Value:  struct shunt_service, two slots
 * Writer: agent, install.c: the idle slot, then the epoch
 * Reader: bpf/lookup.h, new flows only
 * Miss:   SHUNT_R_BAD_CONFIG: passed
 * Size:   --max-services
 */
SHUNT_ARRAY(shunt_services, struct shunt_service, 1024);

/*
 * shunt_service_names - for people: namespace, name and port of a service index
 *
 * Key, Size: as shunt_services
 * Value:  struct shunt_service_name
 * Writer: agent, install.c, before the index is used
 * Reader: user space only
 */
SHUNT_ARRAY(shunt_service_names, struct shunt_service_name, 1024);

/*
 * shunt_rules - selector -> split
 *
 * Key:    rule index, 1..; a service's rules are contiguous
 * Value:  struct shunt_rule; split[slot] is switched by one aligned store
 * Writer: agent, install.c
 * Reader: bpf/lookup.h, new flows only
 * Miss:   SHUNT_R_BAD_CONFIG: passed
 * Size:   --max-services
 */
SHUNT_ARRAY(shunt_rules, struct shunt_rule, 1024);

/*
 * shunt_splits - variants and weights, immutable while a rule points at it
 *
 * Key:    split index, 1..
 * Value:  struct shunt_split
 * Writer: agent, install.c: written aside; a freed record is reused after a grace period
 * Reader: bpf/variant.h, new flows only
 * Miss:   SHUNT_R_BAD_CONFIG: passed
 * Size:   2 x --max-services: each rule may change all at once
 */
SHUNT_ARRAY(shunt_splits, struct shunt_split, 2048);

/*
 * shunt_rings - the Maglev tables, one after the other
 *
 * Key:    ring position / 4
 * Value:  struct shunt_ring_word, four u16: which member of the variant
 * Writer: agent, install.c: a range is written before a split names it
 * Reader: bpf/backend.h, new flows only
 * Miss:   SHUNT_R_BAD_CONFIG: passed
 * Size:   --max-ring-entries / 4
 */
SHUNT_ARRAY(shunt_rings, struct shunt_ring_word, 65536);

/*
 * shunt_members - which backend is a variant's n-th member?
 *
 * Key:    shunt_split_variant.member_first + ring entry
 * Value:  struct shunt_member: a backend's index
 * Writer, Reader, Miss: as shunt_rings
 * Size:   4 x --max-backends: old and new ranges live side by side
 */
SHUNT_ARRAY(shunt_members, struct shunt_member, 4096);

/*
 * shunt_variants - drain state of a variant, and the weight that is asked for it
 *
 * Key:    variant index, 1..
 * Value:  struct shunt_variant
 * Writer: agent, install.c
 * Reader: bpf/affinity.h, new flows with session affinity; bpf/dead_man.h
 * Miss:   the session does not count
 * Size:   --max-variants
 */
SHUNT_ARRAY(shunt_variants, struct shunt_variant, 2048);

/*
 * shunt_variant_names - for people: namespace, service and name of a variant index
 *
 * Key, Size: as shunt_variants
 * Value:  struct shunt_variant_name
 * Writer: agent, install.c, before the index is used
 * Reader: user space only; a new agent learns the indices from here
 */
SHUNT_ARRAY(shunt_variant_names, struct shunt_variant_name, 2048);

/*
 * shunt_overlay - what the kernel itself decided about a variant
 *
 * Key, Size: as shunt_variants
 * Value:  struct shunt_overlay
 * Writer: bpf/dead_man.h; the agent clears it for a new weight or by an operator's word
 * Reader: bpf/variant.h, new flows only
 * Miss:   nothing decided
 */
SHUNT_ARRAY(shunt_overlay, struct shunt_overlay, 2048);

/*
 * shunt_backends - address and state of a backend
 *
 * Key:    backend index, 1..
 * Value:  struct shunt_backend; address and port never change while the index lives
 * Writer: agent, install.c; flags and deadline by single stores
 * Reader: bpf/backend.h for new flows; bpf/conntrack.h when an entry's time is refreshed
 * Miss:   SHUNT_R_BAD_CONFIG: passed
 * Size:   --max-backends
 */
SHUNT_ARRAY(shunt_backends, struct shunt_backend, 4096);

/*
 * shunt_backend_active - connections in being, by backend
 *
 * Key, Size: as shunt_backends
 * Value:  struct shunt_active
 * Writer: shunt/flowtab.h: up when a flow is made, down when it ends; atomic
 * Reader: agent
 */
SHUNT_ARRAY(shunt_backend_active, struct shunt_active, 4096);

/*
 * shunt_clients - connections in being, by client
 *
 * Key:    hash of the client's IPv4 address or IPv6 /64 & shunt_settings.flow_set_mask
 * Value:  struct shunt_client
 * Writer: shunt/flowtab.h, with shunt_backend_active; atomic
 * Reader: bpf/newflow.h, so that no client takes more than --client-share of the table
 * Size:   --max-flows / SHUNT_FLOW_WAYS: clients that share an entry add some 16 flows each
 */
SHUNT_ARRAY(shunt_clients, struct shunt_client, 64);

/*
 * shunt_policies - what a service lets in
 *
 * Key:    policy index, 1..
 * Value:  struct shunt_policy_record
 * Writer: agent, policies.c: written aside; a freed record is reused after a grace period
 * Reader: bpf/limit.h, new flows of services with a policy; known ones where packets are limited
 * Miss:   no limits
 * Size:   --max-policies
 */
SHUNT_ARRAY(shunt_policies, struct shunt_policy_record, 64);

/*
 * shunt_buckets - the token buckets of limits that are one for all
 *
 * Key:    bucket index, 1..
 * Value:  struct shunt_bucket
 * Writer: bpf/limit.h, by compare-and-swap; agent, policies.c, zeroes it for its next owner
 * Reader: bpf/limit.h
 * Size:   4 x --max-policies
 */
SHUNT_ARRAY(shunt_buckets, struct shunt_bucket, 256);

/*
 * shunt_bucket_names - for people: the limit that a bucket belongs to
 *
 * Key, Size: as shunt_buckets
 * Value:  struct shunt_bucket_name
 * Writer: agent, policies.c, before the index is used
 * Reader: user space only; a new agent learns the indices from here
 */
SHUNT_ARRAY(shunt_bucket_names, struct shunt_bucket_name, 256);

/*
 * shunt_limit_counters - how many each limit admitted and refused
 *
 * Key, Size: as shunt_buckets
 * Value:  struct shunt_limit_counters, per CPU
 * Writer: bpf/limit.h
 * Reader: agent
 */
SHUNT_PERCPU_ARRAY(shunt_limit_counters, struct shunt_limit_counters, 256);

/*
 * shunt_client_sets - the token buckets of limits that each client has one of
 *
 * Key:    hash of limit and client & shunt_settings.limit_set_mask
 * Value:  struct shunt_client_set
 * Writer: shunt/clients.h, by compare-and-swap
 * Reader: shunt/clients.h
 * Miss:   no room: the client passes, counted as untracked
 * Size:   --max-limit-clients / SHUNT_LIMIT_WAYS, a power of two
 */
SHUNT_ARRAY(shunt_client_sets, struct shunt_client_set, 64);

/*
 * shunt_client_active - connections in being of each client, for limits that ask for them
 *
 * Key:    set * SHUNT_LIMIT_WAYS + way; sets as those of shunt_client_sets
 * Size:   --max-limit-clients, a power of two
 * Miss:   as shunt_client_sets
 * Value:  struct shunt_client_active
 * Writer: shunt/clients.h: up when a limited flow is made, down when it ends; atomic
 * Reader: shunt/clients.h
 */
SHUNT_ARRAY(shunt_client_active, struct shunt_client_active, 512);

/*
 * shunt_service_active - connections in being and requests in flight of services that limit them
 *
 * Key:    shunt_service.account
 * Value:  struct shunt_active
 * Writer: shunt/flowtab.h and bpf/limit.h: flows with SHUNT_FLOW_IN_FLIGHT; bpf/in_flight.h: those
 *	   with SHUNT_FLOW_REQUESTS; atomic
 * Reader: bpf/limit.h, bpf/in_flight.h, agent
 * Size:   --max-services
 */
SHUNT_ARRAY(shunt_service_active, struct shunt_active, 1024);

/*
 * shunt_variant_active - the same of variants
 *
 * Key, Size: as shunt_variants
 * Value, Writer, Reader: as shunt_service_active
 */
SHUNT_ARRAY(shunt_variant_active, struct shunt_active, 2048);

/*
 * shunt_sources_v4, shunt_sources_v6 - may this address connect?
 *
 * Key:    struct shunt_source_key_v4, _v6: policy and prefix
 * Value:  struct shunt_source
 * Writer: agent, policies.c: written before a service names the policy, deleted afterwards
 * Reader: bpf/limit.h, new flows of services whose policy has one of SHUNT_POLICY_LISTS
 * Miss:   shunt_policy_record.flags says
 * Size:   --max-sources
 */
#define SHUNT_TRIE(name_, key_)                                                                    \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_LPM_TRIE);                                               \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                              \
		__uint(max_entries, 1024);                                                         \
		__type(key, key_);                                                                 \
		__type(value, struct shunt_source);                                                \
	} name_ SEC(".maps")

SHUNT_TRIE(shunt_sources_v4, struct shunt_source_key_v4);
SHUNT_TRIE(shunt_sources_v6, struct shunt_source_key_v6);

/*
 * shunt_backend_counters - traffic by backend
 *
 * Key, Size: as shunt_backends
 * Value:  struct shunt_counters, per CPU
 * Writer: bpf/action.h, per packet; agent, when it retires an index
 * Reader: agent
 */
SHUNT_PERCPU_ARRAY(shunt_backend_counters, struct shunt_counters, 4096);

/*
 * shunt_variant_counters - rejects by variant, and the totals of its retired backends
 *
 * Key, Size: as shunt_variants
 * Value:  struct shunt_counters, per CPU
 * Writer: bpf/action.h, per rejected flow; agent, when it retires a backend
 * Reader: agent
 */
SHUNT_PERCPU_ARRAY(shunt_variant_counters, struct shunt_counters, 2048);

/*
 * shunt_http - what is known of a connection of plaintext HTTP
 *
 * Key:    flow index, as shunt_flows
 * Value:  struct shunt_http: how far both sides have come, and whose turn it is
 * Writer: bpf/signals.h; its last member: bpf/in_flight.h, shunt/flowtab.h
 * Reader: bpf/signals.h
 * Miss:   nothing is counted
 * Size:   --max-flows
 */
SHUNT_ARRAY(shunt_http, struct shunt_http, 1024);

/*
 * shunt_response_times - a histogram for each variant, of plaintext HTTP
 *
 * Key:    variant index * SHUNT_TIME_BUCKETS + bucket (shunt/histogram.h)
 * Value:  struct shunt_response_time
 * Writer: bpf/signals.h, per response whose time is taken; atomic
 * Reader: agent
 * Size:   --max-variants * SHUNT_TIME_BUCKETS
 */
SHUNT_ARRAY(shunt_response_times, struct shunt_response_time, 262144);

/*
 * shunt_connect_times - likewise, of TCP connections: from SYN to SYN-ACK
 *
 * Key, Size: as shunt_response_times
 * Value:  struct shunt_connect_time
 * Writer: bpf/connections.h, per connection that is timed; atomic
 * Reader: agent
 */
SHUNT_ARRAY(shunt_connect_times, struct shunt_connect_time, 262144);

/*
 * shunt_reasons - how often each verdict reason was given
 *
 * Key:    enum shunt_reason
 * Value:  struct shunt_reason_count, per CPU
 * Writer: bpf/action.h, per packet
 * Reader: agent
 * Size:   as many as there are reasons
 */
SHUNT_PERCPU_ARRAY(shunt_reasons, struct shunt_reason_count, SHUNT_R_MAX);

/*
 * shunt_answer_limits - how far ahead of its rate of answers is this CPU?
 *
 * Key:    enum shunt_answer
 * Value:  struct shunt_answer_limit, per CPU
 * Writer: bpf/reject.h, per packet that is rejected, where there is a limit
 * Reader: bpf/reject.h
 * Size:   as many as there are kinds of answers
 */
SHUNT_PERCPU_ARRAY(shunt_answer_limits, struct shunt_answer_limit, SHUNT_N_ANSWERS);

/*
 * shunt_flow_sets - tags of the flow table: one line tells if and where a flow is
 *
 * Key:    table hash of the client's tuple & shunt_settings.flow_set_mask
 * Value:  struct shunt_flow_set
 * Writer: shunt/flowtab.h, by compare-and-swap
 * Reader: shunt/flowtab.h
 * Size:   --max-flows / SHUNT_FLOW_WAYS, a power of two
 */
SHUNT_ARRAY(shunt_flow_sets, struct shunt_flow_set, 64);

/*
 * shunt_flows - the flows
 *
 * Key:    set * SHUNT_FLOW_WAYS + way
 * Value:  struct shunt_flow
 * Writer: shunt/flowtab.h
 * Reader: shunt/flowtab.h, agent
 * Size:   --max-flows, a power of two
 */
SHUNT_ARRAY(shunt_flows, struct shunt_flow, 1024);

/*
 * shunt_reply_sets - which flow does an answer belong to?
 *
 * Key:    table hash of the answer's tuple & shunt_settings.reply_set_mask
 * Value:  struct shunt_reply_set
 * Writer: shunt/flowtab.h, by compare-and-swap
 * Reader: shunt/flowtab.h
 * Size:   --max-flows / 4: at most half full
 */
SHUNT_ARRAY(shunt_reply_sets, struct shunt_reply_set, 256);

/*
 * shunt_fragments - which flow do the later fragments of a packet belong to?
 *
 * Key:    struct shunt_fragment_key
 * Value:  struct shunt_fragment
 * Writer: bpf/fragment.h, when the first fragment is translated
 * Reader: bpf/fragment.h, for each later one
 * Miss:   SHUNT_R_FRAGMENT_UNKNOWN: passed
 * Size:   --max-fragments; the least recently used entry is forgotten first
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct shunt_fragment_key);
	__type(value, struct shunt_fragment);
} shunt_fragments SEC(".maps");

/*
 * shunt_sessions - which variant and backend a client keeps (affinity session)
 *
 * Key:    struct shunt_session_key
 * Value:  struct shunt_session
 * Writer: bpf/affinity.h, when a flow has proved itself
 * Reader: bpf/affinity.h, for new flows; agent
 * Miss:   a new client: the choice decides
 * Size:   --max-sessions; the least recently used client is forgotten first
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct shunt_session_key);
	__type(value, struct shunt_session);
} shunt_sessions SEC(".maps");

/*
 * shunt_gates - what is behind an interface that is guarded?
 *
 * Key:    ifindex
 * Value:  struct shunt_gate
 * Writer: agent, user/datapath/gates.c: an element is there before the programs are
 * Reader: bpf/gate.h, new flows, rejects, and packets that come by another gate than their flow
 * Miss:   no gate
 * Size:   4096
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct shunt_gate);
} shunt_gates SEC(".maps");

/*
 * shunt_placed - the way back for answers of flows without an entry
 *
 * Key:    struct shunt_tuple of the answer
 * Value:  struct shunt_flow, its reply_way being a mark of the whole
 * Writer: bpf/placed.h: mid-stream packets to owned frontends, new flows that find no room
 * Reader: bpf/placed.h, for what leaves and is no answer of an entry
 * Miss:   SHUNT_R_NO_REPLY: passed
 * Size:   16384, 4 MiB: a flood of 1 M spoofed packets a second leaves each note 16 ms, and
 *         a backend answers within a millisecond
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct shunt_tuple);
	__type(value, struct shunt_flow);
} shunt_placed SEC(".maps");

/*
 * shunt_placed_clock - may there be anything in shunt_placed?
 *
 * Key:    0
 * Value:  struct shunt_placed_clock
 * Writer: bpf/placed.h, once a jiffy at most
 * Reader: bpf/placed.h, so that packets that are not ours need no second lookup
 * Size:   1
 */
SHUNT_ARRAY(shunt_placed_clock, struct shunt_placed_clock, 1);

/*
 * shunt_layout - the BTF of all maps here, as it is in the object file
 *
 * Key:    0
 * Value:  struct shunt_layout
 * Writer: agent, user/datapath/carry.c, when it makes the maps
 * Reader: an agent of another ABI, which copies the maps field by field
 * Size:   1
 */
SHUNT_ARRAY(shunt_layout, struct shunt_layout, 1);

#include "maps_guard.h"

#endif
