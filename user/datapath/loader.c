// SPDX-License-Identifier: Apache-2.0
#include "datapath/datapath.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "datapath/carry.h"
#include "datapath/internal.h"

#define DEFAULT_BPFFS	  "/sys/fs/bpf/shunt"
#define DEFAULT_STATE_DIR "/var/lib/shunt"

/* Capabilities that older headers do not have. */
#ifndef CAP_BPF
#define CAP_BPF 39
#endif

static void dp_closep(struct shunt_dp **dp)
{
	shunt_dp_close(*dp);
}

static bool has_capability(unsigned capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	if (syscall(SYS_capget, &header, data) < 0)
		return true; /* then the kernel will say it later */
	return data[capability / 32].effective & (1u << (capability % 32));
}

static int check_rights(struct shunt_err *err)
{
	const char *missing = NULL;

	if (!has_capability(CAP_BPF) && !has_capability(CAP_SYS_ADMIN))
		missing = "CAP_BPF";
	else if (!has_capability(CAP_NET_ADMIN))
		missing = "CAP_NET_ADMIN";
	if (!missing)
		return 0;
	return shunt_err_set(err, -EPERM,
			     "%s is missing; run as root, or give the program its rights: setcap "
			     "cap_bpf,cap_net_admin+ep FILE",
			     missing);
}

static int dp_new(const char *bpffs, struct shunt_dp **ret_dp, struct shunt_err *err)
{
	CLEANUP(dp_closep) struct shunt_dp *dp = calloc(1, sizeof(*dp));
	int r;

	if (!dp)
		return shunt_err_set(err, -ENOMEM, "out of memory");
	dp->lock_fd = dp->grace_outer_fd = dp->grace_inner_fd = -EBADF;
	dp->maps.frontends_fd = dp->maps.sessions_fd = dp->maps.reasons_fd = -EBADF;
	dp->maps.gates_fd = -EBADF;
	dp->maps.backend_counters_fd = dp->maps.variant_counters_fd = -EBADF;
#define ARRAY_UNOPENED(name) dp->maps.name.fd = -EBADF;
	SHUNT_DP_ARRAYS(ARRAY_UNOPENED)
#undef ARRAY_UNOPENED

	bpffs = bpffs ? bpffs : DEFAULT_BPFFS;
	r = shunt_pins_check_mount(bpffs, err);
	if (r < 0)
		return r;
	snprintf(dp->bpffs, sizeof(dp->bpffs), "%s", bpffs);
	snprintf(dp->dir, sizeof(dp->dir), "%s/v%d", bpffs, SHUNT_ABI_VERSION);
	*ret_dp = TAKE_PTR(dp);
	return 0;
}

static void carry_closep(struct shunt_carry **carry)
{
	shunt_carry_free(*carry);
}

static int lock_pins(struct shunt_dp *dp, struct shunt_err *err)
{
	int r;

	r = shunt_pins_mkdir(dp->bpffs, err);
	if (r < 0)
		return r;
	r = shunt_pins_lock(dp->bpffs, err);
	if (r < 0)
		return r;
	dp->lock_fd = r;
	return 0;
}

/* Makes the directories. Maps without settings are the rest of a broken start. */
static int prepare_pins(struct shunt_dp *dp, struct shunt_err *err)
{
	struct shunt_settings settings;
	char path[SHUNT_PATH_LEN];
	int r;

	r = shunt_pins_mkdir(dp->dir, err);
	if (!r)
		r = shunt_settings_read(dp->dir, &settings, err);
	if (r < 0)
		return r;
	if (!r) {
		r = shunt_pins_unlink_all(dp->dir, false);
		if (r < 0)
			return shunt_err_set(err, r, "cannot clear %s: %s", dp->dir, strerror(-r));
		r = shunt_pins_mkdir(dp->dir, err);
		if (r < 0)
			return r;
	}
	r = shunt_pins_path(path, dp->dir, "links");
	return r < 0 ? r : shunt_pins_mkdir(path, err);
}

static int make_grace(struct shunt_dp *dp, struct shunt_err *err)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts);

	dp->grace_inner_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "shunt_grace_in", 4, 4, 1, NULL);
	if (dp->grace_inner_fd < 0)
		return shunt_err_set(err, dp->grace_inner_fd, "cannot create a map: %s",
				     strerror(-dp->grace_inner_fd));
	opts.inner_map_fd = (uint32_t)dp->grace_inner_fd;
	dp->grace_outer_fd =
		bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "shunt_grace", 4, 4, 1, &opts);
	if (dp->grace_outer_fd < 0)
		return shunt_err_set(err, dp->grace_outer_fd, "cannot create a map of maps: %s",
				     strerror(-dp->grace_outer_fd));
	return 0;
}

/* XDP: whether the kernel has what all forms of packets take is known by trial only. */
static int load_xdp(struct shunt_dp *dp, struct shunt_err *err)
{
	int r = shunt_object_load_on(SHUNT_OBJ_XDP_FRAGS, dp->dir, &dp->xdp, NULL);

	dp->has_xdp_frags = r == 0;
	return r < 0 ? shunt_object_load_on(SHUNT_OBJ_XDP, dp->dir, &dp->xdp, err) : r;
}

static int load_programs(struct shunt_dp *dp, struct shunt_err *err)
{
	int r;

	r = shunt_object_load_on(SHUNT_OBJ_TC, dp->dir, &dp->tc, err);
	return r < 0 ? r : load_xdp(dp, err);
}

/* Settings that an agent of this ABI filled are adopted; a hold that it left is over. */
static int fill_settings(struct shunt_dp *dp, const struct shunt_dp_opts *opts,
			 struct shunt_carry *carry, struct shunt_err *err)
{
	struct shunt_settings *settings = dp->maps.settings.base;
	int r = 0;

	if (carry)
		r = shunt_carry_copy(carry, err);
	else
		__atomic_and_fetch(&settings->flags, ~(uint32_t)SHUNT_S_HOLD, __ATOMIC_SEQ_CST);
	dp->adopted = settings->abi_version != 0;
	return r < 0 ? r : shunt_settings_fill(dp, opts, err);
}

/* Everything from the first map to the last gate; @carry is NULL or what is carried over. */
static int bring_up(struct shunt_dp *dp, const struct shunt_dp_opts *opts,
		    struct shunt_carry *carry, struct shunt_err *err)
{
	int r;

	r = shunt_maps_create(dp, &opts->sizes, carry, err);
	if (!r)
		r = shunt_maps_open(dp, true, err);
	if (!r)
		r = load_programs(dp, err);
	if (!r)
		r = shunt_carry_describe(dp, err);
	if (!r)
		r = fill_settings(dp, opts, carry, err);
	if (!r && carry)
		r = shunt_carry_links(carry, err);
	if (!r)
		r = shunt_gates_adopt(dp, err);
	if (!r && carry)
		r = shunt_carry_finish(carry, err);
	return r;
}

int shunt_dp_open(const struct shunt_dp_opts *user_opts, struct shunt_dp **ret_dp,
		  struct shunt_err *err)
{
	CLEANUP(carry_closep) struct shunt_carry *carry = NULL;
	CLEANUP(dp_closep) struct shunt_dp *dp = NULL;
	struct shunt_dp_opts opts = *user_opts;
	int r;

	if (!opts.state_dir)
		opts.state_dir = DEFAULT_STATE_DIR;
	r = check_rights(err);
	if (!r)
		r = dp_new(opts.bpffs, &dp, err);
	if (r < 0)
		return r;
	dp->tc_mode = opts.tc_mode;

	r = lock_pins(dp, err);
	if (!r)
		r = shunt_carry_begin(dp, &carry, err);
	if (!r)
		r = prepare_pins(dp, err);
	if (!r)
		r = shunt_clock_new(&dp->clock, err);
	if (!r)
		r = make_grace(dp, err);
	if (!r)
		r = bring_up(dp, &opts, carry, err);
	if (r < 0)
		return r;
	*ret_dp = TAKE_PTR(dp);
	return 0;
}

void shunt_dp_close(struct shunt_dp *dp)
{
	if (!dp)
		return;
	bpf_object__close(dp->xdp);
	bpf_object__close(dp->tc);
	shunt_maps_close(&dp->maps);
	shunt_clock_free(dp->clock);
	fd_closep(&dp->grace_outer_fd);
	fd_closep(&dp->grace_inner_fd);
	fd_closep(&dp->lock_fd);
	free(dp);
}

/* The version directories below @bpffs, for a message: "v2". Empty: none. */
static int remember_version(const char *dir, const char *name, void *arg)
{
	(void)dir;
	if (name[0] == 'v')
		snprintf(arg, 16, "%s", name);
	return 0;
}

static int no_settings(const struct shunt_dp *dp, struct shunt_err *err)
{
	char other[16] = "";

	shunt_pins_each(dp->bpffs, remember_version, other);
	if (other[0])
		return shunt_err_set(err, -ENOENT,
				     "%s holds maps of %s, this program reads v%d; use the shunt "
				     "of that version",
				     dp->bpffs, other, SHUNT_ABI_VERSION);
	return shunt_err_set(err, -ENOENT, "no maps in %s: is shuntd running?", dp->bpffs);
}

int shunt_dp_open_maps(const char *bpffs, bool writable, struct shunt_dp **ret_dp,
		       struct shunt_err *err)
{
	CLEANUP(dp_closep) struct shunt_dp *dp = NULL;
	const struct shunt_settings *settings;
	char path[SHUNT_PATH_LEN];
	int r;

	r = dp_new(bpffs, &dp, err);
	if (r < 0)
		return r;
	r = shunt_pins_path(path, dp->dir, "shunt_settings");
	if (!r && access(path, F_OK) < 0 && errno == ENOENT)
		return no_settings(dp, err);
	r = shunt_maps_open(dp, writable, err);
	if (r < 0)
		return r;
	settings = dp->maps.settings.base;
	if (settings->abi_version != SHUNT_ABI_VERSION)
		return no_settings(dp, err);
	dp->adopted = true;
	r = shunt_clock_new(&dp->clock, err);
	if (!r)
		r = make_grace(dp, err);
	if (r < 0)
		return r;
	*ret_dp = TAKE_PTR(dp);
	return 0;
}

const struct shunt_dp_maps *shunt_dp_maps(const struct shunt_dp *dp)
{
	return &dp->maps;
}

bool shunt_dp_adopted(const struct shunt_dp *dp)
{
	return dp->adopted;
}

const char *shunt_dp_notes(const struct shunt_dp *dp)
{
	return dp->notes;
}

uint32_t shunt_dp_jiffies(const struct shunt_dp *dp)
{
	return shunt_clock_jiffies(dp->clock);
}

uint32_t shunt_dp_hz(const struct shunt_dp *dp)
{
	return shunt_clock_hz(dp->clock);
}

int shunt_dp_grace(struct shunt_dp *dp)
{
	uint32_t key = 0;
	int fd = dp->grace_inner_fd;

	return bpf_map_update_elem(dp->grace_outer_fd, &key, &fd, BPF_ANY);
}
