// SPDX-License-Identifier: Apache-2.0
/*
 * make bench: nanoseconds per packet of the shipped XDP program, net of an empty program, and
 * beside it the floor. Rounds are interleaved over the cases; figures are medians; each case's
 * output packet is verified first.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <jansson.h>
#include <linux/in.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "bench/floor.skel.h"
#include "bench/wrap.skel.h"
#include "datapath/flowmem.h"
#include "lab.h"
#include "skel/xdp.skel.h"

#define ROUNDS_DEFAULT 9
#define REPEAT	       1000000
#define FRAME_LEN      80

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
					ROUTE("TCPRoute", "web", "80")
						ROUTE("UDPRoute", "dns", "53");

struct bench_case {
	const char *name;
	const char *dst;
	uint32_t flows; /* a power of two */
	uint8_t proto;
	uint8_t flags; /* TCP */
	uint16_t dport;
	enum { SHIPPED, FLOOR, EMPTY } program;
	bool established; /* its flows are made and established first */
	bool is_new;	  /* the table is emptied before each round, each packet makes a flow */
	/* state and results */
	uint8_t frame[FRAME_LEN];
	uint32_t len;
	bool v6;
	double ns[64];
	unsigned rounds;
	uint64_t wrong; /* verdicts other than XDP_PASS */
};

static struct bench_case cases[] = {
	{ .name = "empty",
	  .dst = "10.200.1.1",
	  .flows = 1,
	  .proto = IPPROTO_TCP,
	  .flags = TH_ACK,
	  .dport = 80,
	  .program = EMPTY },
	{ .name = "empty-65536",
	  .dst = "10.200.1.1",
	  .flows = 65536,
	  .proto = IPPROTO_TCP,
	  .flags = TH_ACK,
	  .dport = 80,
	  .program = EMPTY },
	{ .name = "empty-v6",
	  .dst = "fd00:200::1",
	  .flows = 1,
	  .proto = IPPROTO_TCP,
	  .flags = TH_ACK,
	  .dport = 80,
	  .program = EMPTY },
	{ .name = "floor-1",
	  .dst = "10.200.1.1",
	  .flows = 1,
	  .proto = IPPROTO_TCP,
	  .flags = TH_ACK,
	  .dport = 80,
	  .program = FLOOR },
	{ .name = "floor-65536",
	  .dst = "10.200.1.1",
	  .flows = 65536,
	  .proto = IPPROTO_TCP,
	  .flags = TH_ACK,
	  .dport = 80,
	  .program = FLOOR },
	{ .name = "tcp4-established-1",
	  .dst = "10.200.1.1",
	  .flows = 1,
	  .proto = IPPROTO_TCP,
	  .flags = TH_ACK,
	  .dport = 80,
	  .established = true },
	{ .name = "tcp4-established-65536",
	  .dst = "10.200.1.1",
	  .flows = 65536,
	  .proto = IPPROTO_TCP,
	  .flags = TH_ACK,
	  .dport = 80,
	  .established = true },
	{ .name = "tcp6-established-1",
	  .dst = "fd00:200::1",
	  .flows = 1,
	  .proto = IPPROTO_TCP,
	  .flags = TH_ACK,
	  .dport = 80,
	  .established = true },
	{ .name = "udp4-1",
	  .dst = "10.200.1.2",
	  .flows = 1,
	  .proto = IPPROTO_UDP,
	  .dport = 53,
	  .established = true },
	{ .name = "tcp4-new-65536",
	  .dst = "10.200.1.1",
	  .flows = 65536,
	  .proto = IPPROTO_TCP,
	  .flags = TH_SYN,
	  .dport = 80,
	  .is_new = true },
	{ .name = "foreign-1",
	  .dst = "10.99.99.99",
	  .flows = 1,
	  .proto = IPPROTO_TCP,
	  .flags = TH_ACK,
	  .dport = 80 },
};

struct bench {
	struct bench_lab lab;
	struct shunt_xdp *xdp;
	struct floor *floor;
	struct wrap *wrap;
	unsigned rounds;
	uint32_t repeat;
};

/* ---- frames ------------------------------------------------------------------------------- */

static uint32_t sum_bytes(const void *data, unsigned len, uint32_t sum)
{
	const uint8_t *b = data;

	for (unsigned i = 0; i < len; i++)
		sum += i & 1 ? b[i] : b[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint32_t l4_sum(const uint8_t *frame, bool v6, uint32_t len)
{
	const uint8_t *ip = frame + 14;
	uint32_t l3_len = v6 ? 40 : 20, l4_len = len - 14 - l3_len;
	uint32_t sum = v6 ? sum_bytes(ip + 8, 32, 0) : sum_bytes(ip + 12, 8, 0);

	sum += l4_len + (v6 ? ip[6] : ip[9]);
	return sum_bytes(ip + l3_len, l4_len, sum);
}

/* Payload fills the frame up to what the wrapper writes back: 56 or 80 bytes. */
static void build_frame(struct bench_case *c)
{
	uint8_t *ip = c->frame + 14, *l4;
	uint32_t l3_len;

	c->v6 = strchr(c->dst, ':');
	c->len = c->v6 ? 80 : 56;
	l3_len = c->v6 ? 40 : 20;
	l4 = ip + l3_len;
	memset(c->frame, 0, sizeof(c->frame));
	memcpy(c->frame, "\x02\0\0\0\0\1\x02\0\0\0\0\2", 12);
	c->frame[12] = c->v6 ? 0x86 : 0x08;
	c->frame[13] = c->v6 ? 0xdd : 0x00;
	if (c->v6) {
		ip[0] = 0x60;
		ip[5] = c->len - 54;
		ip[6] = c->proto;
		ip[7] = 64;
		inet_pton(AF_INET6, "fd00:9::1", ip + 8);
		inet_pton(AF_INET6, c->dst, ip + 24);
	} else {
		uint16_t check;

		ip[0] = 0x45;
		ip[3] = c->len - 14;
		ip[8] = 64;
		ip[9] = c->proto;
		inet_pton(AF_INET, "192.168.1.1", ip + 12);
		inet_pton(AF_INET, c->dst, ip + 16);
		check = ~sum_bytes(ip, 20, 0);
		ip[10] = check >> 8;
		ip[11] = check;
	}
	l4[0] = 1024 >> 8;
	l4[2] = c->dport >> 8;
	l4[3] = c->dport;
	if (c->proto == IPPROTO_TCP) {
		l4[12] = 0x50;
		l4[13] = c->flags;
		l4[15] = 64;
	} else {
		l4[5] = c->len - 14 - l3_len;
	}
}

static void finish_checksum(uint8_t *frame, bool v6, uint32_t len, uint8_t proto)
{
	uint8_t *check = frame + 14 + (v6 ? 40 : 20) + (proto == IPPROTO_TCP ? 16 : 6);
	uint16_t sum;

	check[0] = check[1] = 0;
	sum = ~l4_sum(frame, v6, len);
	check[0] = sum >> 8;
	check[1] = sum;
}

/* The frame of flow @flow, as the wrapper stamps it, with good checksums. */
static void stamp(struct bench_case *c, uint32_t flow, uint8_t flags, uint8_t *frame)
{
	uint32_t l3_len = c->v6 ? 40 : 20;
	uint8_t *ip = frame + 14;
	uint16_t port = 1024 + (flow & 0x7fff), check;

	memcpy(frame, c->frame, c->len);
	ip[l3_len] = port >> 8;
	ip[l3_len + 1] = port;
	if (!c->v6) {
		ip[14] += flow >> 15;
		ip[10] = ip[11] = 0;
		check = ~sum_bytes(ip, 20, 0);
		ip[10] = check >> 8;
		ip[11] = check;
	}
	if (c->proto == IPPROTO_TCP)
		ip[l3_len + 13] = flags;
	finish_checksum(frame, c->v6, c->len, c->proto);
}

/* ---- running -------------------------------------------------------------------------------- */

static int program_fd(struct bench *b, const struct bench_case *c)
{
	if (c->program == SHIPPED)
		return bpf_program__fd(b->xdp->progs.shunt_xdp_ingress);
	return bpf_program__fd(c->program == FLOOR ? b->floor->progs.floor_dnat
						   : b->floor->progs.floor_empty);
}

static int run_once(int fd, const uint8_t *in, uint32_t len, uint8_t *out)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in, .data_size_in = len, .data_out = out,
		    .data_size_out = 256, .repeat = 1);

	if (bpf_prog_test_run_opts(fd, &opts) || opts.data_size_out != len)
		bench_die("test run: %s", strerror(errno));
	return opts.retval;
}

static struct shunt_tuple tuple_of(const struct bench_case *c, const uint8_t *frame)
{
	const uint8_t *ip = frame + 14, *l4 = ip + (c->v6 ? 40 : 20);
	struct shunt_tuple t = { .proto = c->proto, .family = c->v6 ? SHUNT_V6 : SHUNT_V4 };

	memcpy(c->v6 ? &t.src.word_be[0] : &t.src.word_be[3], ip + (c->v6 ? 8 : 12),
	       c->v6 ? 16 : 4);
	memcpy(c->v6 ? &t.dst.word_be[0] : &t.dst.word_be[3], ip + (c->v6 ? 24 : 16),
	       c->v6 ? 16 : 4);
	memcpy(&t.sport_be, l4, 2);
	memcpy(&t.dport_be, l4 + 2, 2);
	return t;
}

/* Makes flow @flow by its first packet and establishes it as its answers would. */
static void make_flow(struct bench *b, struct bench_case *c, uint32_t flow)
{
	const struct shunt_settings *s = shunt_ft_settings(b->lab.maps);
	uint8_t frame[FRAME_LEN], out[256];
	struct shunt_tuple t;
	uint64_t ref;

	stamp(c, flow, TH_SYN, frame);
	if (run_once(program_fd(b, c), frame, c->len, out) != 2)
		bench_die("%s: the first packet of flow %u was not passed", c->name, flow);
	t = tuple_of(c, frame);
	ref = shunt_ft_find(b->lab.maps, &t,
			    shunt_table_hash(s->table_key, &t.src, &t.dst, t.sport_be, t.dport_be,
					     t.proto, t.family));
	if (!ref || !shunt_ft_promote(b->lab.maps, ref,
				      c->proto == IPPROTO_TCP ? SHUNT_F_ESTABLISHED : SHUNT_F_UDP))
		bench_die("%s: flow %u is not in the table", c->name, flow);
}

static void empty_table(struct bench *b)
{
	const struct shunt_dp_maps *m = b->lab.maps;

	memset(m->flow_sets.base, 0, (size_t)m->flow_sets.n * m->flow_sets.stride);
	memset(m->reply_sets.base, 0, (size_t)m->reply_sets.n * m->reply_sets.stride);
	memset(m->flows.base, 0, (size_t)m->flows.n * m->flows.stride);
	memset(m->backend_active.base, 0, (size_t)m->backend_active.n * m->backend_active.stride);
}

/* One flow's packet through the program: translated to a known backend, checksums right? */
static void verify(struct bench *b, struct bench_case *c)
{
	uint8_t frame[FRAME_LEN], out[256];
	bool translated, valid;

	stamp(c, 0, c->flags, frame);
	if (run_once(program_fd(b, c), frame, c->len, out) != 2)
		bench_die("%s: not passed", c->name);
	translated = memcmp(frame + 14, out + 14, c->len - 14) != 0;
	valid = l4_sum(out, c->v6, c->len) == 0xffff &&
		(c->v6 || sum_bytes(out + 14, 20, 0) == 0xffff);
	if (c->program == SHIPPED && translated != (strcmp(c->name, "foreign-1") != 0))
		bench_die("%s: %s", c->name, translated ? "translated" : "not translated");
	if (!valid)
		bench_die("%s: a checksum of the output is wrong", c->name);
}

static void measure(struct bench *b, struct bench_case *c, bool record)
{
	uint32_t repeat = c->is_new ? c->flows : record ? b->repeat : 20000, zero = 0;
	int fd = program_fd(b, c), wrap_fd;
	uint8_t out[256];
	double start;

	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = c->frame, .data_size_in = c->len,
		    .data_out = out, .data_size_out = sizeof(out), .repeat = repeat);
	wrap_fd = bpf_program__fd(c->v6 ? b->wrap->progs.wrap_v6 : b->wrap->progs.wrap_v4);
	if (c->is_new)
		empty_table(b);
	if (bpf_map_update_elem(bpf_map__fd(b->wrap->maps.target), &zero, &fd, BPF_ANY))
		bench_die("prog array: %s", strerror(errno));
	memcpy(b->wrap->bss->headers, c->frame, FRAME_LEN);
	memset(b->wrap->bss->verdicts, 0, sizeof(b->wrap->bss->verdicts));
	b->wrap->bss->flow_mask = c->flows - 1;
	memcpy(&b->wrap->bss->saddr_be, c->frame + 14 + (c->v6 ? 20 : 12), 4);
	b->wrap->bss->multiplier = 0x9e3779b1u;
	b->wrap->bss->count = 0;
	start = bench_cpu_ns();
	if (bpf_prog_test_run_opts(wrap_fd, &opts))
		bench_die("%s: test run: %s", c->name, strerror(errno));
	if (record)
		c->ns[c->rounds++] = (bench_cpu_ns() - start) / repeat;
	c->wrong += repeat - b->wrap->bss->verdicts[2];
}

static struct bench_case *case_named(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (!strcmp(cases[i].name, name))
			return &cases[i];
	return NULL;
}

/* ---- reporting ------------------------------------------------------------------------------- */

/* Median of the wrapper around the empty program, for cases like @c. */
static double wrapper_ns(const struct bench_case *c)
{
	struct bench_case *empty = case_named(c->v6	     ? "empty-v6"
					      : c->flows > 1 ? "empty-65536"
							     : "empty");

	return bench_quantile(empty->ns, empty->rounds, 0.5);
}

static json_t *report(struct bench *b)
{
	json_t *list = json_array();
	double floor_ns[2];

	for (int i = 0; i < 2; i++) {
		struct bench_case *f = case_named(i ? "floor-65536" : "floor-1");

		floor_ns[i] = bench_quantile(f->ns, f->rounds, 0.5) - wrapper_ns(f);
	}
	printf("%-24s %7s %8s %8s %8s %8s  %s\n", "case", "flows", "net ns", "min", "max",
	       "x floor", "verdicts");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct bench_case *c = &cases[i];
		double base = wrapper_ns(c), median = bench_quantile(c->ns, c->rounds, 0.5) - base;
		double min = c->ns[0] - base, max = c->ns[c->rounds - 1] - base;

		if (c->program == EMPTY)
			continue;
		printf("%-24s %7u %8.1f %8.1f %8.1f %8.2f  %s\n", c->name, c->flows, median, min,
		       max, median / floor_ns[c->flows > 1], c->wrong ? "WRONG" : "ok");
		json_array_append_new(
			list, json_pack("{s:s,s:i,s:f,s:f,s:f,s:i,s:i}", "name", c->name, "flows",
					(int)c->flows, "net_ns_median", median, "net_ns_min", min,
					"net_ns_max", max, "rounds", (int)c->rounds, "repeat",
					(int)(c->is_new ? c->flows : b->repeat)));
	}
	return json_pack("{s:o}", "cases", list);
}

static void load_shipped(struct bench *b)
{
	struct bpf_map *map;
	char path[160];

	b->xdp = shunt_xdp__open();
	if (!b->xdp)
		bench_die("cannot open the XDP object");
	bpf_object__for_each_map(map, b->xdp->obj)
	{
		if (strncmp(bpf_map__name(map), "shunt_", 6))
			continue;
		snprintf(path, sizeof(path), "%s/v%d/%s", b->lab.pins, SHUNT_ABI_VERSION,
			 bpf_map__name(map));
		if (bpf_map__reuse_fd(map, bpf_obj_get(path)))
			bench_die("%s: %s", path, strerror(errno));
	}
	if (shunt_xdp__load(b->xdp))
		bench_die("cannot load the XDP program");
}

/* Before the capabilities go: they are not made to be loaded by the agent. */
static void load_own_programs(struct bench *b)
{
	b->floor = floor__open_and_load();
	b->wrap = wrap__open_and_load();
	if (!b->floor || !b->wrap)
		bench_die("cannot load the bench's own programs");
}

static void fill_floor(struct bench *b)
{
	struct {
		uint8_t mac[6];
		uint16_t port_be;
		uint32_t addr_be, reserved;
	} backend = { { 2, 0, 0, 0, 0, 9 }, htons(8080), htonl(0x0a000101), 0 };

	for (uint32_t i = 0; i < 4; i++)
		bpf_map_update_elem(bpf_map__fd(b->floor->maps.floor_backends), &i, &backend,
				    BPF_ANY);
}

int main(int argc, char **argv)
{
	struct bench b = { .rounds = argc > 1 ? atoi(argv[1]) : ROUNDS_DEFAULT, .repeat = REPEAT };
	struct shunt_model model = {};
	cpu_set_t cpu;
	json_t *json;
	const char *file;
	int status = 0;

	if (b.rounds < 1 || b.rounds > 64)
		bench_die("rounds: 1 to 64");
	libbpf_set_print(NULL);
	CPU_ZERO(&cpu);
	CPU_SET(1, &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu); /* with one CPU it stays where it is */

	load_own_programs(&b);
	bench_lab_open(&b.lab, 1 << 18, 64);
	bench_lab_model(manifests, &model);
	bench_lab_install(&b.lab, &model);
	load_shipped(&b);
	fill_floor(&b);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		build_frame(&cases[i]);
	for (unsigned r = 0; r <= b.rounds; r++) { /* round 0 warms up */
		fprintf(stderr, "\rround %u of %u ", r, b.rounds);
		for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
			struct bench_case *c = &cases[i];

			if (c->established) {
				empty_table(&b);
				for (uint32_t f = 0; f < c->flows; f++)
					make_flow(&b, c, f);
			}
			if (!r && c->program != EMPTY)
				verify(&b, c);
			measure(&b, c, false);
			if (r)
				measure(&b, c, true);
		}
	}
	fputs("\r                  \r", stderr);
	json = report(&b);
	file = getenv("BENCH_JSON");
	if (file && *file && json_dump_file(json, file, JSON_INDENT(1)))
		bench_die("cannot write %s", file);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		status |= cases[i].wrong != 0;
	json_decref(json);
	shunt_model_free(&model);
	bench_lab_close(&b.lab);
	return status;
}
