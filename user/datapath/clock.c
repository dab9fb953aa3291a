// SPDX-License-Identifier: Apache-2.0
#include "datapath/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"

/*
 * Jiffies and CLOCK_MONOTONIC_COARSE are moved by the same tick, so that one reading of both
 * gives all later ones without a system call. Read again from time to time: in periodic
 * tick mode the two may drift.
 */
#define CALIBRATE_NS (10ull * 1000000000ull)

struct shunt_clock {
	struct bpf_object *obj;
	int prog_fd;
	uint64_t tick_ns;
	uint64_t base_ns;
	uint32_t base_jiffies;
};

static uint64_t coarse_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static int calibrate(struct shunt_clock *clock)
{
	unsigned char frame[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = 1);
	uint64_t before, after;
	int r, tries = 8;

	do {
		before = coarse_ns();
		r = bpf_prog_test_run_opts(clock->prog_fd, &opts);
		if (r < 0)
			return r;
		after = coarse_ns();
	} while (before != after && --tries > 0); /* a tick fell in between */

	clock->base_ns = after;
	clock->base_jiffies = opts.retval;
	return 0;
}

int shunt_clock_new(struct shunt_clock **ret_clock, struct shunt_err *err)
{
	struct shunt_clock *clock = calloc(1, sizeof(*clock));
	struct timespec tick;
	int r;

	if (!clock)
		return shunt_err_set(err, -ENOMEM, "out of memory");
	clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
	clock->tick_ns = (uint64_t)tick.tv_nsec;

	r = shunt_object_open(SHUNT_OBJ_PROBE, &clock->obj, err);
	if (!r)
		r = shunt_object_load(clock->obj, err);
	if (!r) {
		clock->prog_fd = shunt_object_prog(clock->obj, "shunt_jiffies", NULL);
		r = calibrate(clock);
		if (r < 0)
			shunt_err_set(err, r, "cannot read the kernel's jiffies: %s", strerror(-r));
	}
	if (r < 0) {
		shunt_clock_free(clock);
		return r;
	}
	*ret_clock = clock;
	return 0;
}

void shunt_clock_free(struct shunt_clock *clock)
{
	if (!clock)
		return;
	bpf_object__close(clock->obj);
	free(clock);
}

uint32_t shunt_clock_jiffies(struct shunt_clock *clock)
{
	uint64_t now = coarse_ns();

	/* Should the second reading fail, the first one is still a good guess. */
	if (now - clock->base_ns > CALIBRATE_NS && !calibrate(clock))
		now = clock->base_ns;
	return clock->base_jiffies + (uint32_t)((now - clock->base_ns) / clock->tick_ns);
}

uint32_t shunt_clock_hz(const struct shunt_clock *clock)
{
	return (uint32_t)((1000000000ull + clock->tick_ns / 2) / clock->tick_ns);
}
