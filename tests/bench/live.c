// SPDX-License-Identifier: Apache-2.0
/*
 * live GATE_CLIENT BARE_CLIENT REDIRECT_CLIENT NODE POD REDIRECT_POD VIP POD_ADDRESS SCHEDSTAT
 * FLOWS PORT ROUNDS: packets through XDP.
 *
 * The first six are paths of network namespaces, wired as tests/bench/live.py does it: the
 * clients' eth0 lead to vc0, which Shunt guards at XDP, to vc1, which is free, and to vc2, guarded
 * by an agent with --forward redirect; the pod's eth0 to vp0, and that of the last client's to
 * vp1, which is a gate, too. Live frames (BPF_F_TEST_XDP_LIVE_FRAMES) are sent out of a client's
 * device as fast as it goes, and counted in the pods at XDP. They belong to FLOWS connections (a
 * power of two) from PORT on, which the caller has opened through the gate. SCHEDSTAT is that of
 * CPU 1's ksoftirqd. Prints one JSON object: packets a second of CPU by way, a list of rounds.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "bench/live.skel.h"
#include "lab.h"

#define SECONDS	  1.0
#define AT_A_TIME (1 << 19) /* each call sets up a page pool and waits for its end */
#define FRAME	  56

#ifndef BPF_F_TEST_XDP_LIVE_FRAMES
#define BPF_F_TEST_XDP_LIVE_FRAMES (1U << 1)
#endif

enum space { GATE_CLIENT, BARE_CLIENT, REDIRECT_CLIENT, NODE, POD, REDIRECT_POD, N_SPACES };

struct bench {
	struct live *skel;
	const char *space[N_SPACES];
	const char *vip, *pod;
	struct bpf_program *gate_redirect; /* the one that suits the gate's program */
	uint32_t flows, first_port;
	int cpus;
	const char *softirq; /* schedstat of CPU 1's ksoftirqd */
};

/* The ways that are compared. @program: on vc1; NULL: the gate itself. */
struct way {
	const char *name;
	enum space from;
	const char *program;
	bool to_pod; /* addressed to the pod, for who does not translate */
};

static const struct way ways[] = {
	{ "bare pass", BARE_CLIENT, "bare_pass", true },
	{ "gate, passes up", GATE_CLIENT, NULL, false },
	{ "bare redirect", BARE_CLIENT, "bare_redirect", true },
	{ "empty, then redirect", BARE_CLIENT, "empty_redirect", true },
	{ "gate, then redirect", BARE_CLIENT, "gate_redirect", false },
	{ "gate redirects", REDIRECT_CLIENT, NULL, false },
};

static void enter(const struct bench *bench, enum space space)
{
	CLEANUP(fd_closep) int fd = open(bench->space[space], O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		bench_die("%s: %s", bench->space[space], strerror(errno));
}

static uint32_t index_of(const char *name)
{
	uint32_t index = if_nametoindex(name);

	if (!index)
		bench_die("there is no %s", name);
	return index;
}

static void attach(const char *device, const struct bpf_program *program)
{
	int fd = program ? bpf_program__fd(program) : -1;

	if (bpf_xdp_attach(index_of(device), fd, XDP_FLAGS_DRV_MODE, NULL) < 0)
		bench_die("cannot attach to %s: %s", device, strerror(errno));
}

/* Puts the program of Shunt's gate into the array that takes it, and an empty one into its own. */
static void find_gate(struct bench *bench)
{
	struct bpf_map *const targets[] = { bench->skel->maps.gate_frags, bench->skel->maps.gate };
	CLEANUP(fd_closep) int fd = -EBADF;
	int empty_fd = bpf_program__fd(bench->skel->progs.bare_pass);
	uint32_t zero = 0, id;

	if (bpf_map_update_elem(bpf_map__fd(bench->skel->maps.empty), &zero, &empty_fd, BPF_ANY))
		bench_die("prog array: %s", strerror(errno));
	enter(bench, NODE);
	if (bpf_xdp_query_id(index_of("vc0"), XDP_FLAGS_DRV_MODE, &id) < 0 || !id)
		bench_die("vc0 is no XDP gate");
	fd = bpf_prog_get_fd_by_id(id);
	for (int i = 0; i < 2; i++) {
		if (bpf_map_update_elem(bpf_map__fd(targets[i]), &zero, &fd, BPF_ANY))
			continue;
		bench->gate_redirect = i ? bench->skel->progs.gate_redirect
					 : bench->skel->progs.gate_redirect_frags;
		return;
	}
	bench_die("the gate's program cannot be called: %s", strerror(errno));
}

static void place_ends(struct bench *bench)
{
	uint32_t zero = 0, device;

	enter(bench, POD);
	attach("eth0", bench->skel->progs.arrive);
	enter(bench, REDIRECT_POD);
	attach("eth0", bench->skel->progs.arrive);
	enter(bench, NODE);
	device = index_of("vp0");
	if (bpf_map_update_elem(bpf_map__fd(bench->skel->maps.device), &zero, &device, BPF_ANY) ||
	    bpf_map_update_elem(bpf_map__fd(bench->skel->maps.device_frags), &zero, &device,
				BPF_ANY))
		bench_die("devmap: %s", strerror(errno));
}

static uint16_t ip_check(const uint8_t *ip)
{
	uint32_t sum = 0;

	for (int i = 0; i < 20; i += 2)
		sum += i == 10 ? 0 : ip[i] << 8 | ip[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* A segment of client @index to @dst. Its checksum is wrong: nobody on the way looks. */
static void build(struct bench *bench, int index, const char *dst, uint16_t dport)
{
	uint8_t frame[FRAME] = { 2, 0, 1, 0, index, 2, 2, 0, 1, 0, index, 1, 8, 0, 0x45, 0, 0 };
	uint8_t *ip = frame + 14, *tcp = ip + 20;
	char src[16];
	uint16_t check;

	snprintf(src, sizeof(src), "10.1.%d.2", index);
	ip[3] = FRAME - 14;
	ip[8] = 64;
	ip[9] = IPPROTO_TCP;
	inet_pton(AF_INET, src, ip + 12);
	inet_pton(AF_INET, dst, ip + 16);
	check = ip_check(ip);
	ip[10] = check >> 8;
	ip[11] = check;
	tcp[2] = dport >> 8;
	tcp[3] = dport & 255;
	tcp[12] = 0x50;
	tcp[13] = TH_ACK;
	memcpy(bench->skel->bss->headers, frame, FRAME);
}

static uint64_t arrived(const struct bench *bench)
{
	CLEANUP(freep) uint64_t *cells = calloc(bench->cpus, sizeof(*cells));
	uint32_t zero = 0;
	uint64_t sum = 0;

	if (!cells || bpf_map_lookup_elem(bpf_map__fd(bench->skel->maps.arrived), &zero, cells))
		bench_die("cannot count");
	for (int cpu = 0; cpu < bench->cpus; cpu++)
		sum += cells[cpu];
	return sum;
}

static void send_some(const struct bench *bench)
{
	uint8_t frame[FRAME] = { 0 };
	struct xdp_md ctx = { .data_end = FRAME, .ingress_ifindex = 1 }; /* lo */
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = FRAME,
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = AT_A_TIME,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = 64);

	if (bpf_prog_test_run_opts(bpf_program__fd(bench->skel->progs.generate), &opts))
		bench_die("live frames: %s", strerror(errno));
}

/*
 * CPU time of this thread, which the packets of a veth are handled in, and of the ksoftirqd
 * that takes over when it has had enough. Wall time would tell of the machine's other load.
 */
static double spent_ns(const struct bench *bench)
{
	CLEANUP(file_closep) FILE *f = fopen(bench->softirq, "re");
	unsigned long long softirq_ns = 0;

	if (f && fscanf(f, "%llu", &softirq_ns) != 1)
		bench_die("%s: not as expected", bench->softirq);
	return bench_cpu_ns() + softirq_ns;
}

/* Return: packets that arrive in a second of CPU. */
static double measure(struct bench *bench, const struct way *way)
{
	const struct bpf_program *program =
		!way->program ? NULL
		: !strcmp(way->program, "gate_redirect")
			? bench->gate_redirect
			: bpf_object__find_program_by_name(bench->skel->obj, way->program);
	uint64_t before;
	double start, spent;

	enter(bench, NODE);
	if (program)
		attach("vc1", program);
	enter(bench, way->from);
	bench->skel->bss->out_ifindex = index_of("eth0");
	bench->skel->bss->flow_mask = bench->flows - 1;
	bench->skel->bss->first_port = bench->first_port;
	build(bench, way->from, way->to_pod ? bench->pod : bench->vip, way->to_pod ? 8080 : 80);
	send_some(bench); /* warms up */
	before = arrived(bench);
	spent = spent_ns(bench);
	start = bench_cpu_ns();
	do
		send_some(bench);
	while (bench_cpu_ns() - start < SECONDS * 1e9);
	usleep(10000);
	before = arrived(bench) - before;
	if (!before)
		bench_die("%s: nothing arrived", way->name);
	return before / (spent_ns(bench) - spent) * 1e9;
}

int main(int argc, char **argv)
{
	int rounds = argc > 12 ? atoi(argv[12]) : 0;
	json_t *result = json_object();
	struct bench bench = { .cpus = libbpf_num_possible_cpus() };
	cpu_set_t cpu;

	if (rounds < 1)
		bench_die("run by tests/bench/live.py");
	for (int i = 0; i < N_SPACES; i++)
		bench.space[i] = argv[1 + i];
	bench.vip = argv[7];
	bench.pod = argv[8];
	bench.softirq = argv[9];
	bench.flows = atoi(argv[10]);
	bench.first_port = atoi(argv[11]);
	CPU_ZERO(&cpu);
	CPU_SET(1, &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu); /* with one CPU it stays where it is */

	libbpf_set_print(NULL);
	bench.skel = live__open_and_load();
	if (!bench.skel)
		bench_die("cannot load the bench's own programs");
	find_gate(&bench);
	place_ends(&bench);

	for (size_t w = 0; w < ARRAY_LEN(ways); w++)
		json_object_set_new(result, ways[w].name, json_array());
	for (int round = 0; round <= rounds; round++) /* round 0 warms up */
		for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
			double rate = measure(&bench, &ways[w]);

			if (round)
				json_array_append_new(json_object_get(result, ways[w].name),
						      json_real(rate));
		}
	json_dumpf(result, stdout, 0);
	putchar('\n');
	json_decref(result);
	live__destroy(bench.skel);
	return 0;
}
