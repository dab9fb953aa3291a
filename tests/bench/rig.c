// SPDX-License-Identifier: Apache-2.0
#include "rig.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <sched.h>
#include <string.h>

#include "base/cleanup.h"
#include "bench/floor.skel.h"
#include "undo.h" /* before the skeleton, which has one */
#include "bench/wrap.skel.h"
#include "skel/tc.skel.h"
#include "skel/xdp_frags.skel.h"

/* Makes an object that is open work on the lab's maps of the same names. */
static void use_maps(const struct rig *rig, struct bpf_object *obj)
{
	struct bpf_map *map;
	char path[160];

	bpf_object__for_each_map(map, obj)
	{
		if (strncmp(bpf_map__name(map), "shunt_", 6))
			continue;
		snprintf(path, sizeof(path), "%s/v%d/%s", rig->lab.pins, SHUNT_ABI_VERSION,
			 bpf_map__name(map));
		if (bpf_map__reuse_fd(map, bpf_obj_get(path)))
			bench_die("%s: %s", path, strerror(errno));
	}
}

/* As the agent would: with its capabilities, if the bench was asked for that. */
static void load_shipped(struct rig *rig)
{
	rig->xdp = shunt_xdp_frags__open();
	rig->tc = shunt_tc__open();
	if (!rig->xdp || !rig->tc)
		bench_die("cannot open the shipped objects");
	use_maps(rig, rig->xdp->obj);
	use_maps(rig, rig->tc->obj);
	bench_lab_as_agent(true);
	if (shunt_xdp_frags__load(rig->xdp) || shunt_tc__load(rig->tc))
		bench_die("cannot load the shipped programs");
	bench_lab_as_agent(false);
}

static void load_own(struct rig *rig)
{
	struct {
		uint8_t mac[6];
		uint16_t port_be;
		uint32_t addr_be, reserved;
	} backend = { { 2, 0, 0, 0, 0, 9 }, htons(8080), htonl(0x0a000101), 0 };

	rig->floor = floor__open_and_load();
	rig->wrap = wrap__open();
	if (rig->wrap)
		use_maps(rig, rig->wrap->obj);
	if (!rig->floor || !rig->wrap || wrap__load(rig->wrap))
		bench_die("cannot load the bench's own programs");
	for (uint32_t i = 0; i < 4; i++)
		bpf_map_update_elem(bpf_map__fd(rig->floor->maps.floor_backends), &i, &backend,
				    BPF_ANY);
}

/*
 * Attaches the wrapper to a loopback that nobody uses, in a network namespace of its own. A test
 * run of more than one packet enters its program into the kernel's XDP dispatcher and takes it out
 * again, unless it is there already: 300 us, and cold TLBs and caches for what is timed.
 */
static void enter_dispatcher(struct rig *rig)
{
	if (bpf_xdp_attach(1, bpf_program__fd(rig->wrap->progs.wrap_v4), XDP_FLAGS_SKB_MODE, NULL))
		bench_die("cannot attach the wrapper to a loopback");
}

/*
 * Flows are spread, and backends chosen, by secrets of each run. With 65 536 flows in the agent's
 * default table one run in ten has a set that they do not fit into: a flow is refused, or its
 * source port translated. With these secrets none is.
 */
static void set_secrets(struct shunt_settings *settings)
{
	settings->table_key = 0x5368756e74ull;
	settings->choice_key[0] = 1;
	settings->choice_key[1] = 2;
}

void rig_open(struct rig *rig, const char *manifests, const struct shunt_dp_sizes *sizes)
{
	struct shunt_model model = {};

	*rig = (struct rig){};
	libbpf_set_print(NULL);
	if (unshare(CLONE_NEWNET))
		bench_die("cannot make a network namespace: run as root");
	bench_lab_open(&rig->lab, sizes);
	bench_lab_model(manifests, &model);
	bench_lab_install(&rig->lab, &model);
	set_secrets(SHUNT_DP_AT(rig->lab.maps->settings, struct shunt_settings, 0));
	shunt_model_free(&model);
	load_shipped(rig);
	load_own(rig);
	enter_dispatcher(rig);
}

void rig_close(struct rig *rig)
{
	wrap__destroy(rig->wrap);
	floor__destroy(rig->floor);
	shunt_tc__destroy(rig->tc);
	shunt_xdp_frags__destroy(rig->xdp);
	bench_lab_close(&rig->lab);
}

static const uint32_t multipliers[] = { [RIG_TIMED] = 0x9e3779b1u, [RIG_BETWEEN] = 0x85ebca6bu };

uint32_t rig_flow(enum rig_order order, uint32_t flows, uint32_t n)
{
	return n * multipliers[order] & (flows - 1);
}

static int program_fd(const struct rig *rig, enum rig_program program)
{
	switch (program) {
	case RIG_INGRESS:
		return bpf_program__fd(rig->xdp->progs.shunt_xdp_ingress);
	case RIG_EGRESS:
		return bpf_program__fd(rig->tc->progs.shunt_tc_egress);
	default:
		return bpf_program__fd(rig->floor->progs.floor_dnat);
	}
}

static void aim(struct rig *rig, const struct rig_walk *walk)
{
	const bool answers = walk->program == RIG_EGRESS;
	struct bpf_map *target = answers ? rig->wrap->maps.target_tc : rig->wrap->maps.target;
	uint32_t zero = 0;
	int fd = program_fd(rig, walk->program);

	if (walk->empty)
		fd = bpf_program__fd(answers ? rig->floor->progs.floor_empty_tc
					     : rig->floor->progs.floor_empty);
	if (bpf_map_update_elem(bpf_map__fd(target), &zero, &fd, BPF_ANY))
		bench_die("prog array: %s", strerror(errno));
	memcpy(rig->wrap->bss->headers, walk->frame->data, FRAME_LEN);
	memset(rig->wrap->bss->verdicts, 0, sizeof(rig->wrap->bss->verdicts));
	rig->wrap->bss->flow_mask = walk->flows - 1;
	memcpy(&rig->wrap->bss->client_be, walk->frame->data + (answers ? 30 : 26), 4);
	rig->wrap->bss->services = walk->services;
	rig->wrap->bss->service_first = walk->service_first;
	rig->wrap->bss->multiplier = multipliers[RIG_TIMED];
	rig->wrap->bss->count = walk->first;
}

double rig_run(struct rig *rig, const struct rig_walk *walk, uint64_t *wrong)
{
	const bool answers = walk->program == RIG_EGRESS;
	struct bpf_program *wrap = answers	     ? rig->wrap->progs.wrap_answer
				   : walk->frame->v6 ? rig->wrap->progs.wrap_v6
						     : rig->wrap->progs.wrap_v4;
	uint8_t out[256];
	double start, ns;

	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = walk->frame->data,
		    .data_size_in = walk->frame->len, .data_out = out, .data_size_out = sizeof(out),
		    .repeat = walk->n);

	aim(rig, walk);
	start = bench_cpu_ns();
	if (bpf_prog_test_run_opts(bpf_program__fd(wrap), &opts))
		bench_die("test run: %s", strerror(errno));
	ns = bench_cpu_ns() - start;
	*wrong += walk->n - rig->wrap->bss->verdicts[answers			   ? 7
						     : walk->drops && !walk->empty ? 1
										   : 2];
	return ns;
}

bool rig_try(struct rig *rig, enum rig_program program, const char *what, const struct frame *in,
	     struct frame *ret)
{
	const uint32_t pass = program == RIG_EGRESS ? (uint32_t)-1 : 2;
	uint8_t out[256];

	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->data, .data_size_in = in->len,
		    .data_out = out, .data_size_out = sizeof(out), .repeat = 1);

	if (bpf_prog_test_run_opts(program_fd(rig, program), &opts))
		bench_die("%s: test run: %s", what, strerror(errno));
	if (opts.retval != pass || opts.data_size_out != in->len)
		return false;
	*ret = *in;
	memcpy(ret->data, out, in->len);
	return true;
}

void rig_pass(struct rig *rig, enum rig_program program, const char *what, const struct frame *in,
	      struct frame *ret)
{
	if (!rig_try(rig, program, what, in, ret))
		bench_die("%s: not passed", what);
}

void rig_empty_table(struct rig *rig)
{
	const struct shunt_dp_maps *m = rig->lab.maps;

	memset(m->flow_sets.base, 0, (size_t)m->flow_sets.n * m->flow_sets.stride);
	memset(m->reply_sets.base, 0, (size_t)m->reply_sets.n * m->reply_sets.stride);
	memset(m->flows.base, 0, (size_t)m->flows.n * m->flows.stride);
	memset(m->backend_active.base, 0, (size_t)m->backend_active.n * m->backend_active.stride);
	/* Or the few clients of the bench would soon have more than one may. */
	memset(m->clients.base, 0, (size_t)m->clients.n * m->clients.stride);
}

uint64_t rig_find(const struct rig *rig, const struct frame *frame)
{
	const struct shunt_settings *s = shunt_ft_settings(rig->lab.maps);
	struct shunt_tuple t = frame_tuple(frame);

	return shunt_ft_find(rig->lab.maps, &t,
			     shunt_table_hash(s->table_key, &t.src, &t.dst, t.sport_be, t.dport_be,
					      t.proto, t.family));
}
