/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_BPF_LAB_H
#define SHUNT_TESTS_BPF_LAB_H

#include <criterion/criterion.h>
#include <netinet/in.h>

#include "base/cleanup.h"
#include "datapath/datapath.h"
#include "packet.h"

/*
 * The programs as they are built, loaded unpinned on small maps of their own, and run on
 * frames by BPF_PROG_TEST_RUN. Maps are filled by hand: no installer, no agent. Needs root.
 * A call that fails fails the test.
 */

struct bpf_map;
struct bpf_object;

enum lab_hook { LAB_XDP, LAB_TC };

/* What a test runs over: every stage must do the same for all of them. */
struct lab_kind {
	const char *name;
	enum shunt_slot_index family;
	uint8_t proto;
	enum lab_hook hook;
};

/* LAB_BOUNCE: XDP_TX, or any redirect of tc; LAB_SENT: XDP_REDIRECT. */
enum lab_verdict { LAB_PASS, LAB_DROP, LAB_BOUNCE, LAB_SENT, LAB_OTHER };

struct lab {
	struct shunt_dp_maps maps;
	struct shunt_tc *tc;
	struct shunt_xdp_frags *xdp;
	struct shunt_xdp *xdp_plain; /* NULL, or used instead */
	struct shunt_probe *probe;
	const struct lab_kind *kind; /* whose turn it is */
	uint32_t gate;		     /* ifindex that packets come in by; lab_gates[0] at first */
	uint32_t gates[2];
	int fragments_fd;
	uint32_t rings_used; /* u16 entries */
	uint32_t members_used;
};

/* What became of one packet. */
struct lab_result {
	enum lab_verdict verdict;
	enum shunt_reason reason; /* exactly one was counted, or the test fails */
	struct lab_frame frame;
	struct lab_packet packet; /* the frame parsed anew; all zero if it cannot be */
	bool sums_right;	  /* all checksums of it, computed anew */
};

/* ---- life --------------------------------------------------------------------------------- */

#define LAB_SETS 64 /* of the flow table, unless a test asks for others */

/* Set before lab_open(): the tracing objects. SHUNT_LAB_TRACED in the environment does so, too. */
extern bool lab_traced;

void lab_open(struct lab *lab, uint32_t n_flow_sets);
void lab_close(struct lab *lab);

/* Makes an object that is open, not loaded, work on the lab's maps of the same names. */
void lab_share_maps(const struct lab *lab, struct bpf_object *obj);

/* The values of a loaded array that may be mapped, until the process ends. */
void *lab_map_memory(const struct bpf_map *map);

/* From now on XDP is the program that kernels before 5.18 get. */
void lab_use_plain_xdp(struct lab *lab);

/* Empties every map and sets up @kind's turn; settings as lab_settings() describes. */
void lab_reset(struct lab *lab, const struct lab_kind *kind);

/* A bit for each property that kinds must have to take part; 0: all take part. */
enum lab_only {
	LAB_ONLY_TCP = 1 << 0,
	LAB_ONLY_UDP = 1 << 1,
	LAB_ONLY_V4 = 1 << 2,
	LAB_ONLY_V6 = 1 << 3,
	LAB_ONLY_TC = 1 << 4,
	LAB_ONLY_XDP = 1 << 5,
};

/* Opens a lab and runs @body once for each kind, on empty maps. */
void lab_each(uint32_t only, void (*body)(struct lab *lab, const struct lab_kind *k));

/* Test(suite, name), its body run for each kind that @only admits. */
#define LAB_EACH(suite, name, only)                                                                \
	static void name##_body(struct lab *lab, const struct lab_kind *k);                        \
	Test(suite, name)                                                                          \
	{                                                                                          \
		lab_each(only, name##_body);                                                       \
	}                                                                                          \
	static void name##_body(struct lab *lab, const struct lab_kind *k)

/* Which kind it was, for messages. */
extern const char *lab_what;

#define CHECK(condition) cr_expect(condition, "%s: not so: %s", lab_what, #condition)
#define CHECK_EQ(got, want)                                                                        \
	do {                                                                                       \
		long long got_ = (long long)(got), want_ = (long long)(want);                      \
		cr_expect(got_ == want_, "%s: %s is %lld, not %lld", lab_what, #got, got_, want_); \
	} while (0)
#define CHECK_REASON(got, want)                                                                    \
	do {                                                                                       \
		enum shunt_reason got_ = (got), want_ = (want);                                    \
		cr_expect(got_ == want_, "%s: %s is %s, not %s", lab_what, #got,                   \
			  lab_reason_name(got_), lab_reason_name(want_));                          \
	} while (0)

/* ---- configuration ------------------------------------------------------------------------- */

#define LAB_PORT	 80	/* of frontends */
#define LAB_BACKEND_PORT 8080	/* of backends */
#define LAB_LONG	 100000 /* jiffies: nothing times out by itself */

struct shunt_settings *lab_settings(struct lab *lab);
uint32_t lab_jiffies(struct lab *lab);

/* Runs `ip` by @format, with the address and the length of its prefix, a host's, for two %s. */
void lab_run_ip(const char *format, const struct shunt_addr *addr, int family);

/* Addresses of the kind's family; every word of an IPv6 address depends on @n. */
struct shunt_addr lab_client_addr(enum shunt_slot_index family, uint32_t n);
struct shunt_addr lab_frontend_addr(enum shunt_slot_index family, uint32_t n);
struct shunt_addr lab_backend_addr(enum shunt_slot_index family, uint32_t n);

/* Service @service (rule and split of the same number) in both slots, with frontend @service. */
void lab_service(struct lab *lab, uint32_t service, uint32_t n_variants);
struct shunt_service_slot *lab_slot(struct lab *lab, uint32_t service, int slot);
void lab_service_flags(struct lab *lab, uint32_t service, uint32_t flags);
void lab_frontend(struct lab *lab, struct shunt_addr addr, uint16_t port, uint32_t service0,
		  uint32_t service1, uint32_t is_backend);
struct shunt_split *lab_split(struct lab *lab, uint32_t split);

/* Variant number @position of @split becomes @variant; weight 1, no backends yet. */
void lab_variant(struct lab *lab, uint32_t split, uint32_t position, uint32_t variant);
void lab_weights(struct lab *lab, uint32_t split, const uint32_t *weights, uint32_t n);

/* Backend @backend of @variant at lab_backend_addr(@backend), also in shunt_frontends. */
struct shunt_backend *lab_backend(struct lab *lab, uint32_t backend, uint32_t variant);

/* A ring of @size entries over @n backends from @first on, in turn, for the kind's family. */
void lab_ring(struct lab *lab, uint32_t split, uint32_t position, uint32_t first, uint32_t n,
	      uint32_t size);

/*
 * The usual scene: service 1 at frontend 1, @n_variants variants 1.. of weight 1, each with
 * @n_backends backends: 1..n of variant 1, n+1..2n of variant 2, and so on.
 */
void lab_scene(struct lab *lab, uint32_t n_variants, uint32_t n_backends);

/* ---- packets --------------------------------------------------------------------------------- */

/* From client @client, port @port, to frontend @frontend: a SYN, or 10 bytes of UDP. */
struct lab_packet lab_from_client(const struct lab *lab, uint32_t client, uint16_t port,
				  uint32_t frontend);

/* What the receiver of @packet sends back: a SYN-ACK, or 10 bytes of UDP. */
struct lab_packet lab_answer(const struct lab_packet *packet);

/* The same packet with other TCP flags (ignored for UDP). */
struct lab_packet lab_flags(struct lab_packet packet, uint8_t flags, uint32_t seq, uint32_t ack);

/* Runs the kind's ingress program, or tc egress, on the lab's gate. */
struct lab_result lab_ingress(struct lab *lab, const struct lab_packet *packet);
struct lab_result lab_egress(struct lab *lab, const struct lab_packet *packet);
struct lab_result lab_ingress_frame(struct lab *lab, const struct lab_frame *frame);
struct lab_result lab_egress_frame(struct lab *lab, const struct lab_frame *frame);

/* tc only: the frame stands for @segments packets. */
struct lab_result lab_ingress_gso(struct lab *lab, const struct lab_frame *frame,
				  uint32_t segments);

/* Runs a program without a look at counters. Return: 0 or -errno. */
int lab_run(struct lab *lab, int prog_fd, enum lab_hook hook, const struct lab_frame *in,
	    uint32_t segments, struct lab_frame *out, uint32_t *ret_code);
enum lab_verdict lab_verdict(enum lab_hook hook, uint32_t code);
int lab_ingress_fd(const struct lab *lab);
int lab_egress_fd(const struct lab *lab);

/*
 * Whole conversations. lab_connect() makes a flow: SYN, SYN-ACK, ACK or a datagram each way and
 * one more of the client;
 * @ret_at_backend is the client's packet as the backend sees it.
 */
struct lab_packet lab_connect(struct lab *lab, const struct lab_packet *from_client);

/* ---- questions ---------------------------------------------------------------------------------
 */

const char *lab_reason_name(enum shunt_reason reason);
uint64_t lab_reason(const struct lab *lab, enum shunt_reason reason);
struct shunt_counters lab_backend_counters(const struct lab *lab, uint32_t backend);
struct shunt_counters lab_variant_counters(const struct lab *lab, uint32_t variant);
uint32_t lab_active(const struct lab *lab, uint32_t backend);

/* The one flow that @packet's tuple leads to, or NULL. */
struct shunt_flow *lab_flow(const struct lab *lab, const struct lab_packet *packet);
uint32_t lab_state(const struct lab *lab, const struct lab_packet *packet);
uint32_t lab_flows_in_use(const struct lab *lab); /* ways with a tag */
uint32_t lab_replies_in_use(const struct lab *lab);

/* Backend number that an address of lab_backend_addr() stands for; 0: none of the first 255. */
uint32_t lab_backend_of(const struct lab *lab, const struct shunt_addr *addr);

/* Is what came out @want with right checksums, and nothing else changed but that? */
void lab_check_packet(const struct lab_result *got, const struct lab_packet *want);

/* Passed on byte for byte, for this reason? */
void lab_check_untouched(const struct lab_result *got, const struct lab_frame *sent,
			 enum shunt_reason reason);

#endif
