// SPDX-License-Identifier: Apache-2.0
/*
 * make bench: nanoseconds per packet of the shipped programs, net of an empty program, and
 * beside them the floor. Rounds are interleaved over the cases; figures are medians; each
 * case's output packet is verified first.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "newflows.h"

#define ROUNDS_DEFAULT 9
#define WARM_UP	       20000
#define REPEAT	       1000000

static const char manifests[] =
	"apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: bench}\n"
	"spec: {clusterIP: 10.200.1.1, clusterIPs: [10.200.1.1, 'fd00:200::1'],\n"
	"  ports: [{name: tcp, port: 80, protocol: TCP}]}\n---\n"
	"apiVersion: v1\nkind: Service\nmetadata: {name: dns, namespace: bench}\n"
	"spec: {clusterIP: 10.200.1.2, ports: [{name: udp, port: 53, protocol: UDP}]}\n---\n"
	"apiVersion: v1\nkind: Service\nmetadata: {name: web-blue, namespace: bench}\n"
	"spec: {ports: [{name: tcp, port: 80, protocol: TCP}, {name: udp, port: 53, protocol: "
	"UDP}]}\n"
	"---\n"
	"apiVersion: v1\nkind: Service\nmetadata: {name: web-green, namespace: bench}\n"
	"spec: {ports: [{name: tcp, port: 80, protocol: TCP}, {name: udp, port: 53, protocol: "
	"UDP}]}\n"
	"---\n"
#define SLICE(name, family, addresses)                                                             \
	"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"                                   \
	"metadata: {name: web-" name "-" family ", namespace: bench,\n"                            \
	"  labels: {kubernetes.io/service-name: web-" name "}}\n"                                  \
	"addressType: " family "\n"                                                                \
	"ports: [{name: tcp, port: 8080, protocol: TCP}, {name: udp, port: 53, protocol: UDP}]\n"  \
	"endpoints:\n" addresses "---\n"
	SLICE("blue", "IPv4", "- addresses: [10.0.1.1]\n- addresses: [10.0.1.2]\n")
		SLICE("green", "IPv4", "- addresses: [10.0.2.1]\n- addresses: [10.0.2.2]\n")
			SLICE("blue", "IPv6", "- addresses: ['fd00:1::1']\n")
				SLICE("green", "IPv6", "- addresses: ['fd00:2::1']\n")
#define ROUTE(kind, service, port)                                                                 \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: " kind "\n"                               \
	"metadata: {name: " service ", namespace: bench}\n"                                        \
	"spec:\n  parentRefs: [{group: '', kind: Service, name: " service "}]\n"                   \
	"  rules:\n  - backendRefs:\n"                                                             \
	"    - {name: web-blue, port: " port ", weight: 95}\n"                                     \
	"    - {name: web-green, port: " port ", weight: 5}\n---\n"
#define PLAIN(name, address, port)                                                                 \
	"apiVersion: v1\nkind: Service\nmetadata: {name: " name ", namespace: bench}\n"            \
	"spec: {clusterIP: " address ", ports: [{name: " port                                      \
	", port: 80}]}\n---\n" ROUTE("TCPRoute", name, "80")
					ROUTE("TCPRoute", "web", "80")
						PLAIN("pages", "10.200.1.6", "http")
#define LIMITED(name, address, limit)                                                              \
	"apiVersion: shunt.io/v1alpha1\nkind: TrafficPolicy\n"                                     \
	"metadata: {name: " name ", namespace: bench}\n"                                           \
	"spec:\n  targetRefs: [{group: '', kind: Service, name: " name "}]\n"                      \
	"  rateLimits: [{" limit "}]\n---\n" PLAIN(name, address, "tcp")
	/* Neither is ever reached, and the third at once. */
	LIMITED("packets", "10.200.1.3",
		"unit: packets, average: 1000000000, "
		"burst: 1000000000") LIMITED("client", "10.200.1.4",
					     "unit: packets, scope: client, average: "
					     "1000000000, burst: 1000000000")
		LIMITED("shut", "10.200.1.5", "average: 1, period: 24h, answer: drop")
			ROUTE("UDPRoute", "dns", "53");

/* Packets of flows that are there already, or of nobody's. */
struct bench_case {
	const char *name;
	const char *dst;
	uint32_t flows; /* a power of two */
	uint8_t proto;
	uint16_t dport;
	enum rig_program program;
	bool foreign; /* not ours: neither translated nor tracked */
	bool limited; /* some service limits packets */
	bool refused; /* a new flow that its service's limit drops */
	bool bare;    /* without payload */
	struct frame frame;
	struct figure figure;
};

static struct bench_case cases[] = {
	{ "floor-1", "10.200.1.1", 1, IPPROTO_TCP, 80, RIG_FLOOR, .foreign = false },
	{ "floor-65536", "10.200.1.1", 65536, IPPROTO_TCP, 80, RIG_FLOOR, .foreign = false },
	{ "tcp4-established-1", "10.200.1.1", 1, IPPROTO_TCP, 80, RIG_INGRESS, .foreign = false },
	{ "tcp4-established-65536", "10.200.1.1", 65536, IPPROTO_TCP, 80, RIG_INGRESS,
	  .foreign = false },
	{ "tcp6-established-1", "fd00:200::1", 1, IPPROTO_TCP, 80, RIG_INGRESS, .foreign = false },
	{ "udp4-1", "10.200.1.2", 1, IPPROTO_UDP, 53, RIG_INGRESS, .foreign = false },
	{ "foreign-1", "10.99.99.99", 1, IPPROTO_TCP, 80, RIG_INGRESS, .foreign = true },
	{ "beside-limited-1", "10.200.1.1", 1, IPPROTO_TCP, 80, RIG_INGRESS, .limited = true },
	{ "packets-limited-1", "10.200.1.3", 1, IPPROTO_TCP, 80, RIG_INGRESS, .limited = true },
	{ "client-limited-1", "10.200.1.4", 1, IPPROTO_TCP, 80, RIG_INGRESS, .limited = true },
	{ "bare-1", "10.200.1.1", 1, IPPROTO_TCP, 80, RIG_INGRESS, .bare = true },
	{ "bare-http-1", "10.200.1.6", 1, IPPROTO_TCP, 80, RIG_INGRESS, .bare = true },
	{ "refused-1", "10.200.1.5", 1, IPPROTO_TCP, 80, RIG_INGRESS, .refused = true },
};

static struct newflow_case new_cases[] = {
	{ .name = "tcp4-new-1", .flows = 1 },
	{ .name = "tcp4-new-65536", .flows = 65536 },
	{ .name = "overwritten-65536", .flows = 65536, .cold = true },
};

/* ---- flows that are there already ----------------------------------------------------------- */

/* Makes flow @flow by its first packet and establishes it as its answers would. */
static void make_flow(struct rig *rig, const struct bench_case *c, uint32_t flow)
{
	const bool is_tcp = c->proto == IPPROTO_TCP;
	struct frame frame, out;
	uint64_t ref;

	frame_stamp(&c->frame, flow, TH_SYN, &frame);
	rig_pass(rig, c->program, c->name, &frame, &out);
	ref = rig_find(rig, &frame);
	if (!ref ||
	    !shunt_ft_promote(rig->lab.maps, ref, is_tcp ? SHUNT_F_ESTABLISHED : SHUNT_F_UDP))
		bench_die("%s: flow %u is not in the table", c->name, flow);
}

/* Everything that one policy makes the other cases pay for is switched off with it. */
static void set_limited(struct rig *rig, bool limited)
{
	struct shunt_settings *settings =
		SHUNT_DP_AT(rig->lab.maps->settings, struct shunt_settings, 0);

	if (limited)
		settings->flags |= SHUNT_S_PACKET_LIMITS;
	else
		settings->flags &= ~(uint32_t)SHUNT_S_PACKET_LIMITS;
}

/* One flow's packet through the program: translated or not, checksums right? */
static void verify(struct rig *rig, const struct bench_case *c)
{
	struct frame out;
	bool translated;

	if (c->refused) { /* the first takes the burst */
		rig_try(rig, c->program, c->name, &c->frame, &out);
		rig_empty_table(rig);
		if (rig_try(rig, c->program, c->name, &c->frame, &out))
			bench_die("%s: not refused", c->name);
		return;
	}

	rig_pass(rig, c->program, c->name, &c->frame, &out);
	translated = memcmp(c->frame.data + 14, out.data + 14, out.len - 14) != 0;
	if (translated == c->foreign)
		bench_die("%s: %s", c->name, translated ? "translated" : "not translated");
	if (!frame_sums_right(&out))
		bench_die("%s: a checksum of the output is wrong", c->name);
}

static void measure(struct rig *rig, struct bench_case *c, bool record)
{
	struct rig_walk walk = { .frame = &c->frame, .program = c->program, .flows = c->flows };
	double gross, empty;

	rig_empty_table(rig);
	walk.drops = c->refused;
	for (uint32_t f = 0;
	     c->program == RIG_INGRESS && !c->foreign && !c->refused && f < c->flows; f++)
		make_flow(rig, c, f);
	set_limited(rig, c->limited);
	if (!record)
		verify(rig, c);
	walk.n = WARM_UP;
	rig_run(rig, &walk, &c->figure.wrong);
	walk.n = REPEAT;
	gross = rig_run(rig, &walk, &c->figure.wrong);
	walk.empty = true;
	empty = rig_run(rig, &walk, &c->figure.wrong);
	figure_add(&c->figure, gross / REPEAT, empty / REPEAT, record);
}

/* ---- reporting ------------------------------------------------------------------------------- */

static double floor_ns(uint32_t flows)
{
	return figure_net(&cases[flows > 1].figure);
}

/* The dearest packet of a new flow stands for the case; the others are shown beside. */
static const struct figure *dearest(const struct newflow_case *c)
{
	const struct figure *most = &c->figure[0];

	for (int p = 1; p < NEWFLOW_PACKETS; p++)
		if (figure_net(&c->figure[p]) > figure_net(most))
			most = &c->figure[p];
	return most;
}

/* BENCH_ONLY=WORD leaves out what has not got it in its name, but for the floor. */
static bool is_wanted(const char *name)
{
	const char *only = getenv("BENCH_ONLY");

	return !only || !*only || strstr(name, only) || strstr(name, "floor");
}

static json_t *report(void)
{
	json_t *list = json_array();

	printf("%-26s %7s %8s %8s %8s %8s  %s\n", "case", "flows", "net ns", "min", "max",
	       "x floor", "verdicts");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct figure *f = &cases[i].figure;

		if (!f->rounds)
			continue;
		figure_print(f, cases[i].name, floor_ns(f->flows));
		json_array_append_new(list, figure_json(f, cases[i].name));
	}
	for (size_t i = 0; i < ARRAY_LEN(new_cases); i++) {
		const struct newflow_case *c = &new_cases[i];

		if (!c->figure[0].rounds)
			continue;
		for (int p = 0; p < NEWFLOW_PACKETS; p++)
			figure_print(&c->figure[p], c->figure[p].name, floor_ns(c->flows));
		if (c->cold)
			continue;
		figure_print(dearest(c), c->name, floor_ns(c->flows));
		json_array_append_new(list, figure_json(dearest(c), c->name));
	}
	return json_pack("{s:o}", "cases", list);
}

static bool all_right(void)
{
	uint64_t wrong = 0;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		wrong += cases[i].figure.wrong;
	for (size_t i = 0; i < ARRAY_LEN(new_cases); i++)
		for (int p = 0; p < NEWFLOW_PACKETS; p++)
			wrong += new_cases[i].figure[p].wrong;
	return !wrong;
}

static void prepare(struct rig *rig)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct bench_case *c = &cases[i];

		frame_build(&c->frame, c->dst, c->proto, c->dport,
			    c->refused		      ? TH_SYN
			    : c->proto == IPPROTO_TCP ? TH_ACK
						      : 0);
		if (c->bare)
			frame_bare(&c->frame);
		c->figure.flows = c->flows;
		c->figure.repeat = REPEAT;
	}
	newflow_prepare(rig, "10.200.1.1", 80);
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? atoi(argv[1]) : ROUNDS_DEFAULT;
	const char *file = getenv("BENCH_JSON");
	struct rig rig;
	cpu_set_t cpu;
	json_t *json;

	if (rounds < 1 || rounds > FIGURE_ROUNDS)
		bench_die("rounds: 1 to %d", FIGURE_ROUNDS);
	CPU_ZERO(&cpu);
	CPU_SET(1, &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu); /* with one CPU it stays where it is */

	rig_open(&rig, manifests, &(struct shunt_dp_sizes){ 0 });
	prepare(&rig);
	set_limited(&rig, false);
	for (unsigned r = 0; r <= rounds; r++) { /* round 0 warms up */
		fprintf(stderr, "\rround %u of %u ", r, rounds);
		for (size_t i = 0; i < ARRAY_LEN(cases); i++)
			if (is_wanted(cases[i].name))
				measure(&rig, &cases[i], r);
		set_limited(&rig, false);
		for (size_t i = 0; i < ARRAY_LEN(new_cases); i++)
			if (is_wanted(new_cases[i].name))
				newflow_measure(&rig, &new_cases[i], r);
	}
	fputs("\r                  \r", stderr);
	json = report();
	if (file && *file && json_dump_file(json, file, JSON_INDENT(1)))
		bench_die("cannot write %s", file);
	json_decref(json);
	rig_close(&rig);
	return !all_right();
}
