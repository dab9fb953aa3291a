// SPDX-License-Identifier: Apache-2.0
#include "datapath/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <string.h>

#include "base/cleanup.h"

/* The driver's name from sysfs; virtual devices have none there, but a kind. */
static const char *driver_of(const char *ifname, char buf[64])
{
	char path[64], target[128];
	const char *slash;
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/class/net/%s/device/driver", ifname);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return "virtual device";
	target[n] = '\0';
	slash = strrchr(target, '/');
	snprintf(buf, 64, "driver %.50s", slash ? slash + 1 : target);
	return buf;
}

static int create_failed(uint32_t ifindex, const char *ifname, int code, struct shunt_err *err)
{
	char driver[64];
	__u32 prog_id = 0;

	if (code == -EBUSY || code == -EEXIST) {
		bpf_xdp_query_id((int)ifindex, 0, &prog_id);
		return shunt_err_set(err, -EBUSY,
				     "%s has an XDP program of somebody else (program id %u); "
				     "detach it, or use %s:tc",
				     ifname, prog_id, ifname);
	}
	if (code == -EOPNOTSUPP)
		return shunt_err_set(err, code, "%s (%s) has no native XDP; use %s:tc", ifname,
				     driver_of(ifname, driver), ifname);
	return shunt_err_set(err, code, "cannot attach to XDP of %s (%s): %s; %s:tc may do", ifname,
			     driver_of(ifname, driver), strerror(-code), ifname);
}

/* Return: 1 if the pinned link is live and now at our program, 0 if not, or -errno. */
static int adopt_pinned(const char *pin, uint32_t ifindex, int prog_fd)
{
	CLEANUP(fd_closep) int link_fd = bpf_obj_get(pin);
	uint32_t at = 0, prog_id;
	int r;

	if (link_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	r = shunt_link_info(link_fd, &at, &prog_id);
	if (!r && at != ifindex)
		return unlink(pin) < 0 ? -errno : 0;
	if (!r)
		r = bpf_link_update(link_fd, prog_fd, NULL);
	return r < 0 ? r : 1;
}

int shunt_xdp_attach(struct shunt_dp *dp, uint32_t ifindex, const char *ifname,
		     struct shunt_err *err)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	int prog_fd = shunt_object_prog(dp->xdp, SHUNT_PROG_XDP, NULL);
	CLEANUP(fd_closep) int link_fd = -EBADF;
	char pin[SHUNT_PATH_LEN];
	int r;

	shunt_gate_pin(pin, dp->dir, ifindex, "xdp");
	r = adopt_pinned(pin, ifindex, prog_fd);
	if (r < 0)
		return shunt_err_set(err, r, "%s: %s", pin, strerror(-r));
	if (r)
		return 0;
	link_fd = bpf_link_create(prog_fd, (int)ifindex, BPF_XDP, &opts);
	if (link_fd < 0)
		return create_failed(ifindex, ifname, link_fd, err);
	if (bpf_obj_pin(link_fd, pin) < 0)
		return shunt_err_set(err, -errno, "cannot pin %s: %s", pin, strerror(errno));
	return 0;
}
