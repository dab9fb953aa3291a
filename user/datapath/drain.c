// SPDX-License-Identifier: Apache-2.0
#include "datapath/drain.h"

#include <errno.h>
#include <time.h>

#include "base/cleanup.h"
#include "datapath/flowmem.h"
#include "datapath/internal.h"
#include "datapath/read.h"
#include "datapath/sweep.h"

#define LOOK_EVERY_MS 200

static void dp_closep(struct shunt_dp **dp)
{
	shunt_dp_close(*dp);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t shunt_dp_live_flows(const struct shunt_dp_maps *maps)
{
	uint64_t states[SHUNT_N_FLOW_STATES] = { 0 }, live = 0;

	if (shunt_read_flow_states(maps, states) < 0)
		return 0;
	for (int i = SHUNT_F_SYN; i < SHUNT_N_FLOW_STATES; i++) {
		if (shunt_ft_is_counted(i))
			live += states[i];
	}
	return live;
}

int shunt_dp_drain(const char *bpffs, uint64_t deadline_ms, uint64_t *ret_left,
		   struct shunt_err *err)
{
	struct timespec pause = { .tv_nsec = LOOK_EVERY_MS * 1000000 };
	CLEANUP(dp_closep) struct shunt_dp *dp = NULL;
	CLEANUP(fd_closep) int lock_fd = -EBADF;
	uint64_t until = now_ms() + deadline_ms, left;
	const struct shunt_dp_maps *maps;
	struct shunt_settings *settings;
	int r;

	r = shunt_dp_open_maps(bpffs, true, &dp, err);
	if (r < 0)
		return r;
	lock_fd = shunt_pins_lock(bpffs, err);
	if (lock_fd < 0)
		return lock_fd;

	maps = shunt_dp_maps(dp);
	settings = SHUNT_DP_AT(maps->settings, struct shunt_settings, 0);
	__atomic_fetch_or(&settings->flags, SHUNT_S_DRAIN, __ATOMIC_SEQ_CST);
	/* Without an agent and without new flows nobody else ends those that are idle. */
	for (;;) {
		shunt_flowtab_sweep(maps, 0, maps->flow_sets.n, shunt_dp_jiffies(dp));
		left = shunt_dp_live_flows(maps);
		if (!left || now_ms() >= until)
			break;
		nanosleep(&pause, NULL);
	}
	*ret_left = left;
	return 0;
}
