// SPDX-License-Identifier: Apache-2.0
#include "datapath/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "shunt/compat.h"

static const uint32_t default_timeout_ms[SHUNT_N_TIMEOUTS] = {
	[SHUNT_T_HALF_OPEN] = 10 * 1000, [SHUNT_T_ESTABLISHED] = 86400 * 1000,
	[SHUNT_T_CLOSING] = 60 * 1000,	 [SHUNT_T_CLOSED] = 10 * 1000,
	[SHUNT_T_UDP_NEW] = 30 * 1000,	 [SHUNT_T_UDP] = 180 * 1000,
	[SHUNT_T_FRAGMENT] = 1000,
};

#define SEEN_GRAIN_MS	       250
#define DEFAULT_NAT_PORT_FIRST 61000
#define DEFAULT_NAT_PORT_LAST  65535

/* At least one: 0 would end an entry in the very tick of its last packet. */
static uint32_t jiffies_of_ms(uint32_t ms, uint32_t hz)
{
	uint64_t jiffies = ((uint64_t)ms * hz + 999) / 1000;

	return jiffies ? (uint32_t)jiffies : 1;
}

/* What one answer costs at @rate per second. At least 1: 0 would mean no limit. */
static uint32_t answer_cost(uint32_t rate, uint32_t hz)
{
	uint64_t second = (uint64_t)hz << SHUNT_ANSWER_SHIFT;

	if (!rate)
		return 0;
	return rate < second ? (uint32_t)(second / rate) : 1;
}

/* How many flows are a share of @bp of the table. At least 1: 0 would mean no limit. */
static uint32_t client_limit(uint32_t bp, uint32_t n_flows)
{
	uint64_t flows = (uint64_t)n_flows * bp / 10000;

	return bp && !flows ? 1 : (uint32_t)flows;
}

/* Flows that are there keep their way, so their answers are looked for until none is left. */
static void set_forward(struct shunt_settings *settings, enum shunt_forward forward)
{
	if (forward == SHUNT_FORWARD_REDIRECT)
		__atomic_fetch_or(&settings->flags, SHUNT_S_REDIRECT | SHUNT_S_ANSWERS,
				  __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_and(&settings->flags, ~SHUNT_S_REDIRECT, __ATOMIC_SEQ_CST);
}

/* What follows from the options; programs may be reading, so every field is one store. */
static int apply_options(struct shunt_settings *settings, const struct shunt_dp_opts *opts,
			 uint32_t n_flows, uint32_t hz, struct shunt_err *err)
{
	uint32_t first = opts->nat_port_first ? opts->nat_port_first : DEFAULT_NAT_PORT_FIRST;
	uint32_t last = opts->nat_port_last ? opts->nat_port_last : DEFAULT_NAT_PORT_LAST;
	uint32_t shortest = UINT32_MAX;

	if (first > last || last - first + 1 > UINT16_MAX)
		return shunt_err_set(err, -EINVAL, "NAT ports %u to %u: not a range", first, last);
	for (int i = 0; i < SHUNT_N_TIMEOUTS; i++) {
		uint32_t ms = opts->timeout_ms[i] ? opts->timeout_ms[i] : default_timeout_ms[i];

		/* Signed differences of 32-bit jiffies, which may be milliseconds. */
		if (ms > INT32_MAX / 2)
			return shunt_err_set(err, -EINVAL, "a timeout of %u ms is too long", ms);
		if (ms < shortest && i != SHUNT_T_FRAGMENT)
			shortest = ms;
		SHUNT_WRITE_ONCE(settings->timeout_jiffies[i], jiffies_of_ms(ms, hz));
	}
	/* Tests shorten timeouts: staleness must stay small against the shortest. */
	if (shortest > 4 * SEEN_GRAIN_MS)
		shortest = 4 * SEEN_GRAIN_MS;
	SHUNT_WRITE_ONCE(settings->seen_grain_jiffies, jiffies_of_ms(shortest / 4, hz));
	SHUNT_WRITE_ONCE(settings->jiffy_us, 1000000 / hz);
	SHUNT_WRITE_ONCE(settings->answer_cost[SHUNT_ANSWER_ICMP],
			 answer_cost(opts->icmp_rate, hz));
	SHUNT_WRITE_ONCE(settings->answer_cost[SHUNT_ANSWER_RST], answer_cost(opts->rst_rate, hz));
	SHUNT_WRITE_ONCE(settings->answer_burst_jiffies, hz); /* a second's worth */
	SHUNT_WRITE_ONCE(settings->client_limit, client_limit(opts->client_share_bp, n_flows));
	SHUNT_WRITE_ONCE(settings->nat_port_first, (uint16_t)first);
	SHUNT_WRITE_ONCE(settings->nat_port_count, (uint16_t)(last - first + 1));
	set_forward(settings, opts->forward);
	return 0;
}

int shunt_settings_read(const char *dir, struct shunt_settings *ret_settings, struct shunt_err *err)
{
	struct shunt_settings settings;
	struct bpf_map_info info = { 0 };
	CLEANUP(fd_closep) int fd = -EBADF;
	uint32_t len = sizeof(info), key = 0;
	char path[SHUNT_PATH_LEN];
	int r = shunt_pins_path(path, dir, "shunt_settings");

	if (r < 0)
		return shunt_err_set(err, r, "%s: path too long", dir);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return errno == ENOENT ? 0
				       : shunt_err_set(err, -errno, "cannot open %s: %s", path,
						       strerror(errno));
	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return shunt_err_set(err, -errno, "%s: %s", path, strerror(errno));
	if (info.value_size != sizeof(settings))
		return shunt_err_set(err, -EPROTO, "%s is not that of ABI %d", path,
				     SHUNT_ABI_VERSION);
	if (bpf_map_lookup_elem(fd, &key, &settings) < 0)
		return shunt_err_set(err, -errno, "%s: %s", path, strerror(errno));
	*ret_settings = settings;
	return settings.abi_version != 0;
}

static void set_secret(struct shunt_settings *settings, const struct shunt_secret *secret)
{
	settings->choice_key[0] = secret->choice_key[0];
	settings->choice_key[1] = secret->choice_key[1];
	settings->table_key = secret->table_key;
}

int shunt_settings_fill(struct shunt_dp *dp, const struct shunt_dp_opts *opts,
			struct shunt_err *err)
{
	struct shunt_settings *settings = dp->maps.settings.base;
	struct shunt_secret secret;
	int r;

	r = apply_options(settings, opts, dp->maps.flows.n, shunt_clock_hz(dp->clock), err);
	if (r < 0)
		return r;
	if (dp->adopted) {
		memcpy(secret.choice_key, settings->choice_key, sizeof(secret.choice_key));
		secret.table_key = settings->table_key;
		return shunt_secret_save(opts->state_dir, &secret, err);
	}

	r = shunt_secret_load(opts->state_dir, &secret, err);
	if (r < 0)
		return r;
	set_secret(settings, &secret);
	settings->flow_set_mask = dp->maps.flow_sets.n - 1;
	settings->reply_set_mask = dp->maps.reply_sets.n - 1;
	settings->limit_set_mask = dp->maps.client_sets.n - 1;
	/* Last: settings without a version do not count as filled. */
	SHUNT_WRITE_ONCE(settings->abi_version, SHUNT_ABI_VERSION);
	return 0;
}
