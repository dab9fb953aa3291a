// SPDX-License-Identifier: Apache-2.0
/*
 * growth FILE SERVICES FLOWS [ROUNDS]: what a packet costs when there are so many of everything.
 *
 * FILE holds manifests of as many services, at 10.200.0.0 and on, port 80 (tests/bench/scale.py
 * writes it). FLOWS (a power of two) clients' flows are spread over them, in a table of four
 * times the room, and walked in an order that no prefetcher knows. Prints one JSON object:
 * nanoseconds per packet of the shipped XDP program, net of an empty program in the same wrapper.
 */
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "figure.h"
#include "rig.h"

#define FIRST_SERVICE 0x0ac80000u /* 10.200.0.0 */
#define ROUNDS	      5
#define REPEAT	      1000000

static char *read_file(const char *path)
{
	CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *text;

	if (fd < 0 || fstat(fd, &st) < 0)
		bench_die("%s: %s", path, "cannot be read");
	text = calloc(st.st_size + 1, 1);
	if (!text || read(fd, text, st.st_size) != st.st_size)
		bench_die("%s: %s", path, "cannot be read");
	return text;
}

/* The first packet of flow @flow, to its service. */
static void build_syn(uint32_t flow, uint32_t services, struct frame *ret)
{
	uint32_t service = FIRST_SERVICE + flow % services;
	struct frame first;
	char dst[16];

	snprintf(dst, sizeof(dst), "%u.%u.%u.%u", service >> 24, service >> 16 & 255,
		 service >> 8 & 255, service & 255);
	frame_build(&first, dst, IPPROTO_TCP, 80, TH_SYN);
	frame_stamp(&first, flow, TH_SYN, ret);
}

/* Some sets of a million overflow, even when a quarter of all is in use. */
static void make_flows(struct rig *rig, uint32_t services, uint32_t flows)
{
	uint32_t missing = 0;

	rig_empty_table(rig);
	for (uint32_t flow = 0; flow < flows; flow++) {
		struct frame syn, out;
		uint64_t ref;

		build_syn(flow, services, &syn);
		ref = rig_try(rig, RIG_INGRESS, "first packet", &syn, &out) ? rig_find(rig, &syn)
									    : 0;
		missing += !ref || !shunt_ft_promote(rig->lab.maps, ref, SHUNT_F_ESTABLISHED);
	}
	if (missing > flows / 10000)
		bench_die("%u of %u flows are not in the table", missing, flows);
}

static void measure(struct rig *rig, struct rig_walk *walk, struct figure *f, bool record)
{
	double empty, gross;

	walk->empty = true;
	empty = rig_run(rig, walk, &f->wrong) / walk->n;
	walk->empty = false;
	gross = rig_run(rig, walk, &f->wrong) / walk->n;
	figure_add(f, gross, empty, record);
	f->flows = walk->flows;
	f->repeat = walk->n;
}

/* SYNs of new clients only. */
static void measure_new(struct rig *rig, const struct rig_walk *like, struct figure *f, bool record)
{
	struct rig_walk walk = *like;
	struct frame syn;

	build_syn(0, 1, &syn);
	walk.frame = &syn;
	walk.flows = walk.n = 65536;
	rig_empty_table(rig);
	measure(rig, &walk, f, record);
}

int main(int argc, char **argv)
{
	uint32_t services = argc > 3 ? atoi(argv[2]) : 0, flows = argc > 3 ? atoi(argv[3]) : 0;
	struct shunt_dp_sizes sizes = { .flows = flows > 1 << 16 ? 4 * flows : 0,
					.services = 16384,
					.variants = 32768,
					.backends = 131072,
					.frontends = 262144,
					.ring_entries = 1 << 24 };
	struct figure established = { .name = "established" }, fresh = { .name = "new" };
	CLEANUP(freep) char *manifests = NULL;
	unsigned rounds = argc > 4 ? atoi(argv[4]) : ROUNDS;
	struct rig_walk walk;
	struct frame ack;
	cpu_set_t cpu;
	struct rig rig;

	if (!services || !flows || flows & (flows - 1))
		bench_die("usage: growth FILE SERVICES FLOWS [ROUNDS], FLOWS a power of two");
	CPU_ZERO(&cpu);
	CPU_SET(1, &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu); /* with one CPU it stays where it is */
	manifests = read_file(argv[1]);
	rig_open(&rig, manifests, &sizes);

	frame_build(&ack, "10.200.0.0", IPPROTO_TCP, 80, TH_ACK);
	walk = (struct rig_walk){ .frame = &ack,
				  .program = RIG_INGRESS,
				  .flows = flows,
				  .n = REPEAT,
				  .services = services,
				  .service_first = FIRST_SERVICE };
	for (unsigned round = 0; round <= rounds; round++) /* round 0 warms up */
		measure_new(&rig, &walk, &fresh, round);
	make_flows(&rig, services, flows);
	for (unsigned round = 0; round <= rounds; round++)
		measure(&rig, &walk, &established, round);
	if (established.wrong)
		bench_die("%llu packets were not passed", (unsigned long long)established.wrong);

	json_dumpf(json_pack("{s:i,s:i,s:f,s:f}", "services", (int)services, "flows", (int)flows,
			     "established_ns", figure_net(&established), "new_ns",
			     figure_net(&fresh)),
		   stdout, 0);
	putchar('\n');
	rig_close(&rig);
	return 0;
}
