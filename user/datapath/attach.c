// SPDX-License-Identifier: Apache-2.0
#include "datapath/datapath.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "datapath/internal.h"

static void nameindex_freep(struct if_nameindex **list)
{
	if (*list)
		if_freenameindex(*list);
}

int shunt_gate_pin(char *buf, const char *dir, uint32_t ifindex, const char *what)
{
	int n = snprintf(buf, SHUNT_PATH_LEN, "%s/links/%u-%s", dir, ifindex, what);

	return n < SHUNT_PATH_LEN ? 0 : -ENAMETOOLONG;
}

int shunt_link_info(int link_fd, uint32_t *ret_ifindex, uint32_t *ret_prog_id)
{
	struct bpf_link_info info = { 0 };
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(link_fd, &info, &len) < 0)
		return -errno;
	/* tcx.ifindex, which older headers lack, lies at the same place as xdp's. */
	*ret_ifindex = info.xdp.ifindex;
	*ret_prog_id = info.prog_id;
	return 0;
}

static int drop_pin(struct shunt_dp *dp, uint32_t ifindex, const char *what)
{
	char pin[SHUNT_PATH_LEN];
	int r = shunt_gate_pin(pin, dp->dir, ifindex, what);

	return r < 0 ? r : shunt_link_drop(pin);
}

/* ---- attach --------------------------------------------------------------------------------- */

static int attach_clsact(struct shunt_dp *dp, uint32_t ifindex, const char *ifname,
			 enum shunt_direction direction, struct shunt_err *err)
{
	int r = shunt_clsact_attach(dp, ifindex, ifname, direction, err);

	/* What an earlier agent may have left at tcx goes only now: never none. */
	return r < 0 ? r : drop_pin(dp, ifindex, direction == SHUNT_INGRESS ? "ingress" : "egress");
}

/* Whether tcx is there is known by trial only; @mode becomes what is in use. */
static int attach_tc(struct shunt_dp *dp, uint32_t ifindex, const char *ifname,
		     enum shunt_direction direction, enum shunt_tc_mode *mode,
		     struct shunt_err *err)
{
	int r;

	if (*mode != SHUNT_TC_CLSACT) {
		r = shunt_tcx_attach(dp, ifindex, ifname, direction, err);
		if (!r) {
			*mode = SHUNT_TC_TCX;
			return shunt_clsact_detach(dp->bpffs, ifindex, direction);
		}
		if (r != -EOPNOTSUPP || *mode == SHUNT_TC_TCX)
			return r;
	}
	*mode = SHUNT_TC_CLSACT;
	return attach_clsact(dp, ifindex, ifname, direction, err);
}

static int attach_ingress(struct shunt_dp *dp, struct shunt_dp_gate *gate, struct shunt_err *err)
{
	int r;

	if (gate->hook == SHUNT_HOOK_TC) {
		r = attach_tc(dp, gate->ifindex, gate->ifname, SHUNT_INGRESS, &gate->tc_mode, err);
		return r < 0 ? r : drop_pin(dp, gate->ifindex, "xdp");
	}
	r = shunt_xdp_attach(dp, gate->ifindex, gate->ifname, err);
	if (r < 0)
		return r;
	gate->xdp_native = true;
	r = drop_pin(dp, gate->ifindex, "ingress");
	return r < 0 ? r : shunt_clsact_detach(dp->bpffs, gate->ifindex, SHUNT_INGRESS);
}

int shunt_dp_attach(struct shunt_dp *dp, uint32_t ifindex, const char *ifname, enum shunt_hook hook,
		    struct shunt_dp_gate *ret_gate, struct shunt_err *err)
{
	struct shunt_dp_gate gate = { .ifindex = ifindex, .hook = hook, .tc_mode = dp->tc_mode };
	int r = shunt_dp_gate_add(dp, ifindex);

	if (r < 0)
		return shunt_err_set(err, r, "%s: cannot enter it into shunt_gates: %s", ifname,
				     strerror(-r));
	snprintf(gate.ifname, sizeof(gate.ifname), "%s", ifname);
	/* Egress first: a flow that ingress makes must find its way back. */
	r = attach_tc(dp, ifindex, gate.ifname, SHUNT_EGRESS, &gate.tc_mode, err);
	if (!r)
		r = attach_ingress(dp, &gate, err);
	if (r < 0)
		return r;
	*ret_gate = gate;
	return 0;
}

static int check_pin(const struct shunt_dp *dp, const struct shunt_dp_gate *gate, const char *what,
		     struct shunt_err *err)
{
	char pin[SHUNT_PATH_LEN];
	int r = shunt_gate_pin(pin, dp->dir, gate->ifindex, what);

	if (!r && access(pin, F_OK) < 0)
		r = -errno;
	return r < 0 ? shunt_err_set(err, r, "%s is not guarded: its pin %s is gone", gate->ifname,
				     pin)
		     : 0;
}

int shunt_dp_check_gate(const struct shunt_dp *dp, const struct shunt_dp_gate *gate,
			struct shunt_err *err)
{
	bool is_tcx = gate->tc_mode == SHUNT_TC_TCX;
	int r = is_tcx ? check_pin(dp, gate, "egress", err) : 0;

	if (!r && gate->hook == SHUNT_HOOK_XDP)
		r = check_pin(dp, gate, "xdp", err);
	else if (!r && is_tcx)
		r = check_pin(dp, gate, "ingress", err);
	return r;
}

int shunt_dp_detach(struct shunt_dp *dp, uint32_t ifindex)
{
	static const char *const pins[] = { "xdp", "ingress", "egress" };
	int r, first = 0;

	/* Ingress first, for the same reason; one failure does not keep the others. */
	for (size_t i = 0; i < ARRAY_LEN(pins); i++) {
		r = drop_pin(dp, ifindex, pins[i]);
		first = first ? first : r;
	}
	r = shunt_clsact_detach(dp->bpffs, ifindex, SHUNT_INGRESS);
	first = first ? first : r;
	r = shunt_clsact_detach(dp->bpffs, ifindex, SHUNT_EGRESS);
	first = first ? first : r;
	r = shunt_dp_gate_del(dp, ifindex);
	return first ? first : r;
}

/* ---- adopt and remove ----------------------------------------------------------------------- */

/* Brings one pinned link to the new programs; that of a vanished interface is unpinned. */
static int adopt_link(const char *dir, const char *name, void *arg)
{
	CLEANUP(fd_closep) int link_fd = -EBADF;
	uint32_t ifindex = 0, prog_id;
	struct shunt_dp *dp = arg;
	char path[SHUNT_PATH_LEN];
	const char *what = strchr(name, '-');
	int prog_fd, r;

	r = shunt_pins_path(path, dir, name);
	if (r < 0)
		return r;
	link_fd = bpf_obj_get(path);
	if (link_fd < 0)
		return -errno;
	r = shunt_link_info(link_fd, &ifindex, &prog_id);
	if (r < 0)
		return r;
	if (!what || !ifindex || !strcmp(what, "-new"))
		return unlink(path) < 0 ? -errno : 0;
	if (!strcmp(what, "-xdp"))
		prog_fd = shunt_object_prog(dp->xdp, SHUNT_PROG_XDP, NULL);
	else
		prog_fd = shunt_object_prog(
			dp->tc,
			shunt_tc_prog(strcmp(what, "-ingress") ? SHUNT_EGRESS : SHUNT_INGRESS),
			NULL);
	return bpf_link_update(link_fd, prog_fd, NULL);
}

/* Calls @fn for every interface and direction where our clsact filter is. */
static int each_clsact(const char *bpffs,
		       int (*fn)(uint32_t ifindex, const char *ifname,
				 enum shunt_direction direction, void *arg),
		       void *arg)
{
	CLEANUP(nameindex_freep) struct if_nameindex *list = if_nameindex();

	if (!list)
		return -errno;
	for (struct if_nameindex *at = list; at->if_index; at++) {
		for (int d = SHUNT_INGRESS; d <= SHUNT_EGRESS; d++) {
			int r = shunt_clsact_is_ours(bpffs, at->if_index, d, 0);

			if (r > 0)
				r = fn(at->if_index, at->if_name, d, arg);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

struct adoption {
	struct shunt_dp *dp;
	struct shunt_err *err;
};

static int adopt_clsact(uint32_t ifindex, const char *ifname, enum shunt_direction direction,
			void *arg)
{
	struct adoption *adoption = arg;
	int r = shunt_clsact_attach(adoption->dp, ifindex, ifname, direction, adoption->err);

	return r == -EBUSY ? 0 : r; /* a rival at our side: shunt_dp_attach() will tell */
}

int shunt_gates_adopt(struct shunt_dp *dp, struct shunt_err *err)
{
	struct adoption adoption = { dp, err };
	char links[SHUNT_PATH_LEN];
	int r;

	r = shunt_pins_path(links, dp->dir, "links");
	if (!r)
		r = shunt_pins_each(links, adopt_link, dp);
	if (r < 0)
		return shunt_err_set(err, r, "cannot replace the programs in %s: %s", links,
				     strerror(-r));
	shunt_err_set(err, 0, "%s", "");
	r = each_clsact(dp->bpffs, adopt_clsact, &adoption);
	if (r < 0 && err && !err->text[0])
		shunt_err_set(err, r, "cannot list the tc filters: %s", strerror(-r));
	return r;
}

static int remove_clsact(uint32_t ifindex, const char *ifname, enum shunt_direction direction,
			 void *arg)
{
	(void)ifname;
	return shunt_clsact_detach(arg, ifindex, direction);
}

int shunt_dp_remove(const char *bpffs, struct shunt_err *err)
{
	CLEANUP(fd_closep) int lock_fd = -EBADF;
	char dir[SHUNT_PATH_LEN], version[16];
	int r;

	r = shunt_pins_check_mount(bpffs, err);
	if (r < 0)
		return r;
	lock_fd = shunt_pins_lock(bpffs, err);
	if (lock_fd < 0)
		return lock_fd;
	snprintf(version, sizeof(version), "v%d", SHUNT_ABI_VERSION);
	r = shunt_pins_path(dir, bpffs, version);
	if (!r)
		r = shunt_pins_unlink_all(dir, true);
	if (!r)
		r = each_clsact(bpffs, remove_clsact, (void *)bpffs);
	if (r < 0)
		return shunt_err_set(err, r, "cannot remove all of %s: %s", dir, strerror(-r));
	if (rmdir(bpffs) < 0 && errno != ENOTEMPTY && errno != EBUSY)
		return shunt_err_set(err, -errno, "cannot remove %s: %s", bpffs, strerror(errno));
	return 0;
}
