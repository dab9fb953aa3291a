// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "datapath/doctor_internal.h"
#include "datapath/internal.h"
#include "datapath/read.h"

#define TCX_INGRESS   46
#define TCX_EGRESS    47
#define TCX_MAX_PROGS 64

static void dp_closep(struct shunt_dp **dp)
{
	shunt_dp_close(*dp);
}

/* ---- gates --------------------------------------------------------------------------------- */

/* Which place our program has among those at a tcx hook. Return: 1 for the first, 0: not there. */
static int tcx_place(uint32_t ifindex, bool is_ingress, uint32_t prog_id)
{
	uint32_t ids[TCX_MAX_PROGS] = { 0 }, n = TCX_MAX_PROGS;
	int type = is_ingress ? TCX_INGRESS : TCX_EGRESS;

	if (bpf_prog_query((int)ifindex, (enum bpf_attach_type)type, 0, NULL, ids, &n) < 0)
		return 0;
	for (uint32_t i = 0; i < n && i < TCX_MAX_PROGS; i++) {
		if (ids[i] == prog_id)
			return (int)i + 1;
	}
	return 0;
}

static void add_tcx(struct doctor *doctor, const char *name, uint32_t ifindex, const char *what,
		    uint32_t prog_id)
{
	int place = tcx_place(ifindex, !strcmp(what, "ingress"), prog_id);

	if (place == 1)
		doctor_add(doctor, SHUNT_CHECK_OK, name, "", "tcx %s, runs first", what);
	else if (place)
		doctor_add(
			doctor, SHUNT_CHECK_WARN, name,
			"a program before ours that ends the chain hides packets from it: restart "
			"shuntd, which takes the first place again",
			"tcx %s, runs as number %d", what, place);
	else
		doctor_add(doctor, SHUNT_CHECK_FAIL, name, "restart shuntd: it attaches again",
			   "tcx %s link is pinned, but our program is not at the hook", what);
}

static void add_xdp(struct doctor *doctor, const char *name, uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, opts);

	if (bpf_xdp_query((int)ifindex, 0, &opts) < 0 || !opts.prog_id)
		doctor_add(doctor, SHUNT_CHECK_FAIL, name, "restart shuntd: it attaches again",
			   "an XDP link is pinned, but no program is at the hook");
	else if (opts.attach_mode == XDP_ATTACHED_SKB)
		doctor_add(doctor, SHUNT_CHECK_WARN, name,
			   "generic XDP is slower than tc: use --gate NAME:tc here",
			   "XDP in generic mode");
	else
		doctor_add(doctor, SHUNT_CHECK_OK, name, "", "XDP in native mode");
}

/* One pin of links/: IFINDEX-ingress, -egress or -xdp. */
static int check_link(const char *dir, const char *name, void *arg)
{
	CLEANUP(fd_closep) int link_fd = -EBADF;
	char path[SHUNT_PATH_LEN], ifname[IF_NAMESIZE] = "", title[40];
	struct doctor *doctor = arg;
	uint32_t ifindex = 0, prog_id = 0;
	const char *what = strchr(name, '-');

	if (!what || shunt_pins_path(path, dir, name) < 0)
		return 0;
	link_fd = bpf_obj_get(path);
	if (link_fd < 0 || shunt_link_info(link_fd, &ifindex, &prog_id) < 0) {
		doctor_add(doctor, SHUNT_CHECK_WARN, "gates", "run as root", "%s: %s", path,
			   strerror(errno));
		return 0;
	}
	if (!ifindex || !if_indextoname(ifindex, ifname)) {
		doctor_add(
			doctor, SHUNT_CHECK_WARN, "gates",
			"it was in another network namespace or has gone: run `shunt doctor` where "
			"shuntd runs, or restart shuntd",
			"the interface of %s is not here", path);
		return 0;
	}
	doctor_note_gate(doctor, ifindex, ifname, !strcmp(what, "-xdp"));
	snprintf(title, sizeof(title), "gate %s", ifname);
	if (!strcmp(what, "-xdp"))
		add_xdp(doctor, title, ifindex);
	else
		add_tcx(doctor, title, ifindex, what + 1, prog_id);
	return 0;
}

/* clsact filters have no pins: every interface is asked for ours. */
static void check_clsact_gates(struct doctor *doctor)
{
	struct if_nameindex *list = if_nameindex();
	char title[40];

	for (struct if_nameindex *i = list; i && i->if_index; i++) {
		snprintf(title, sizeof(title), "gate %s", i->if_name);
		for (int d = SHUNT_INGRESS; d <= SHUNT_EGRESS; d++) {
			if (shunt_clsact_is_ours(doctor->bpffs, i->if_index,
						 (enum shunt_direction)d, 0) <= 0)
				continue;
			doctor_note_gate(doctor, i->if_index, i->if_name, false);
			doctor_add(doctor, SHUNT_CHECK_OK, title, "", "clsact %s, first priority",
				   d == SHUNT_INGRESS ? "ingress" : "egress");
		}
	}
	if (list)
		if_freenameindex(list);
}

/* ---- maps ---------------------------------------------------------------------------------- */

static void check_flow_table(struct doctor *doctor, const struct shunt_dp_maps *maps)
{
	uint64_t states[SHUNT_N_FLOW_STATES] = { 0 }, used = 0;
	bool is_full;

	if (shunt_read_flow_states(maps, states) < 0)
		return;
	for (int i = SHUNT_F_FREE + 1; i < SHUNT_N_FLOW_STATES; i++)
		used += states[i];
	is_full = used > maps->flows.n / 10 * 8;
	doctor_add(doctor, is_full ? SHUNT_CHECK_WARN : SHUNT_CHECK_OK, "flow table",
		   "start shuntd with a larger --max-flows after `shunt detach --drain`",
		   "%llu of %u entries are in use", (unsigned long long)used, maps->flows.n);
}

static void check_settings(struct doctor *doctor, const struct shunt_dp_maps *maps)
{
	const struct shunt_settings *settings = maps->settings.base;
	bool is_normal = !(settings->flags & (SHUNT_S_DRAIN | SHUNT_S_HOLD));

	doctor->nat_port_first = settings->nat_port_first;
	doctor->nat_port_count = settings->nat_port_count;
	doctor_add(doctor, is_normal ? SHUNT_CHECK_OK : SHUNT_CHECK_WARN, "generation",
		   "this lasts while `shunt detach --drain` or an upgrade runs; if neither does, "
		   "restart shuntd",
		   "generation %u of map ABI %d%s%s", settings->generation, SHUNT_ABI_VERSION,
		   settings->flags & SHUNT_S_DRAIN ? ", draining: new flows are passed" : "",
		   settings->flags & SHUNT_S_HOLD ? ", held: new flows are dropped" : "");
}

static void check_forward(struct doctor *doctor, const struct shunt_dp_maps *maps)
{
	const struct shunt_settings *settings = maps->settings.base;

	if (settings->flags & SHUNT_S_REDIRECT)
		doctor_add(doctor, SHUNT_CHECK_OK, "forward", "",
			   "redirect: new connections go from gate to gate; netfilter does not see "
			   "them, so its network policies, masquerading and counters do not "
			   "apply to them");
	else
		doctor_add(doctor, SHUNT_CHECK_OK, "forward", "",
			   "stack: new connections go by the host's stack and netfilter");
}

static void check_maps(struct doctor *doctor)
{
	CLEANUP(dp_closep) struct shunt_dp *dp = NULL;
	struct shunt_err err = { 0 };
	int r = shunt_dp_open_maps(doctor->bpffs, false, &dp, &err);

	if (r == -ENOENT) {
		doctor_add(doctor, SHUNT_CHECK_WARN, "pins", "start shuntd", "%s", err.text);
	} else if (r < 0) {
		doctor_add(doctor, SHUNT_CHECK_FAIL, "pins",
			   "run as root, or as the user that shuntd runs as", "%s", err.text);
	} else {
		check_settings(doctor, shunt_dp_maps(dp));
		check_forward(doctor, shunt_dp_maps(dp));
		check_flow_table(doctor, shunt_dp_maps(dp));
	}
}

/* Pins of other ABIs beside ours: an upgrade that did not end, or an older CLI. */
static int check_version(const char *dir, const char *name, void *arg)
{
	struct doctor *doctor = arg;
	unsigned abi;

	if (sscanf(name, "v%u", &abi) != 1 || abi == SHUNT_ABI_VERSION)
		return 0;
	doctor_add(
		doctor, SHUNT_CHECK_WARN, "other pins",
		"use the shunt that came with that shuntd, or restart shuntd, which carries them "
		"over",
		"%s/%s belongs to map ABI %u, this program knows %d", dir, name, abi,
		SHUNT_ABI_VERSION);
	return 0;
}

void doctor_check_pins(struct doctor *doctor)
{
	char dir[SHUNT_PATH_LEN];
	size_t before;

	check_maps(doctor);
	if (access(doctor->bpffs, F_OK) == 0)
		shunt_pins_each(doctor->bpffs, check_version, doctor);

	before = doctor->n;
	snprintf(dir, sizeof(dir), "%s/v%d/links", doctor->bpffs, SHUNT_ABI_VERSION);
	if (access(dir, F_OK) == 0)
		shunt_pins_each(dir, check_link, doctor);
	check_clsact_gates(doctor);
	if (doctor->n == before)
		doctor_add(doctor, SHUNT_CHECK_WARN, "gates",
			   "nothing is split: start shuntd with --gate, for instance --gate "
			   "'veth*:tc'",
			   "no interface is a gate");
}
