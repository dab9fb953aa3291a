// SPDX-License-Identifier: Apache-2.0
#include "datapath/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

/* Constants of kernel 6.6 that older headers and libbpf 1.1 do not have. */
#define TCX_INGRESS   46
#define TCX_EGRESS    47
#define TCX_BEFORE    (1u << 3) /* BPF_F_BEFORE; with nothing named: before all others */
#define TCX_MAX_PROGS 64

struct hook {
	struct shunt_dp *dp;
	uint32_t ifindex;
	const char *ifname;
	enum shunt_direction direction;
	char pin[SHUNT_PATH_LEN];
};

static enum bpf_attach_type attach_type(const struct hook *hook)
{
	return (enum bpf_attach_type)(hook->direction == SHUNT_INGRESS ? TCX_INGRESS : TCX_EGRESS);
}

static const char *direction_text(const struct hook *hook)
{
	return hook->direction == SHUNT_INGRESS ? "ingress" : "egress";
}

/* Return: the id of the program that runs first at the hook, 0 for none. */
static uint32_t first_program(const struct hook *hook)
{
	uint32_t ids[TCX_MAX_PROGS] = { 0 }, n = TCX_MAX_PROGS;

	if (bpf_prog_query((int)hook->ifindex, attach_type(hook), 0, NULL, ids, &n) < 0 || !n)
		return 0;
	return ids[0];
}

/* Return: link descriptor, or -errno. */
static int create_first(const struct hook *hook, int prog_fd)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = TCX_BEFORE);

	return bpf_link_create(prog_fd, (int)hook->ifindex, attach_type(hook), &opts);
}

static int create_failed(const struct hook *hook, int code, struct shunt_err *err)
{
	/* Kernels before 6.6 know neither the attach type nor the flag. */
	if (code == -EINVAL || code == -EOPNOTSUPP)
		return shunt_err_set(err, -EOPNOTSUPP, "this kernel has no tcx (6.6 has it)");
	return shunt_err_set(err, code, "cannot attach to the tcx %s hook of %s: %s",
			     direction_text(hook), hook->ifname, strerror(-code));
}

/* Pins @fd in place of what stands there: written aside, then renamed over. */
static int pin_over(const struct hook *hook, int fd, struct shunt_err *err)
{
	char aside[SHUNT_PATH_LEN];
	int r;

	shunt_gate_pin(aside, hook->dp->dir, hook->ifindex, "new");
	unlink(aside);
	if (bpf_obj_pin(fd, aside) < 0 || rename(aside, hook->pin) < 0) {
		r = -errno;
		unlink(aside);
		return shunt_err_set(err, r, "cannot pin %s: %s", hook->pin, strerror(-r));
	}
	return 0;
}

static int attach_new(const struct hook *hook, int prog_fd, struct shunt_err *err)
{
	CLEANUP(fd_closep) int link_fd = create_first(hook, prog_fd);

	if (link_fd < 0)
		return create_failed(hook, link_fd, err);
	return pin_over(hook, link_fd, err);
}

/*
 * Somebody came before us. A program stands only once at a hook, so a second load of it goes
 * to the first place before the old link leaves: no packet meets neither.
 */
static int move_to_front(const struct hook *hook, struct shunt_err *err)
{
	struct bpf_object *again;
	int r;

	r = shunt_object_load_on(SHUNT_OBJ_TC, hook->dp->dir, &again, err);
	if (r < 0)
		return r;
	r = attach_new(hook, shunt_object_prog(again, shunt_tc_prog(hook->direction), NULL), err);
	bpf_object__close(again);
	return r;
}

/* Return: 1 if the pinned link is now at our program, 0 if there is no live one, or -errno. */
static int adopt_pinned(const struct hook *hook, int prog_fd, uint32_t *ret_prog_id)
{
	CLEANUP(fd_closep) int link_fd = bpf_obj_get(hook->pin);
	uint32_t ifindex = 0;
	int r;

	if (link_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	r = shunt_link_info(link_fd, &ifindex, ret_prog_id);
	if (r < 0)
		return r;
	if (ifindex != hook->ifindex)
		return 0;
	r = bpf_link_update(link_fd, prog_fd, NULL);
	if (!r)
		r = shunt_link_info(link_fd, &ifindex, ret_prog_id);
	return r < 0 ? r : 1;
}

int shunt_tcx_attach(struct shunt_dp *dp, uint32_t ifindex, const char *ifname,
		     enum shunt_direction direction, struct shunt_err *err)
{
	struct hook hook = { dp, ifindex, ifname, direction, "" };
	int prog_fd = shunt_object_prog(dp->tc, shunt_tc_prog(direction), NULL);
	uint32_t prog_id;
	int r;

	shunt_gate_pin(hook.pin, dp->dir, ifindex, direction_text(&hook));
	r = adopt_pinned(&hook, prog_fd, &prog_id);
	if (r < 0)
		return shunt_err_set(err, r, "%s: %s", hook.pin, strerror(-r));
	if (!r)
		return attach_new(&hook, prog_fd, err);
	return first_program(&hook) == prog_id ? 0 : move_to_front(&hook, err);
}
