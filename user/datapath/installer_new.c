// SPDX-License-Identifier: Apache-2.0
#include "datapath/installer.h"

/* What binds the installer to the loader; all else works on maps alone. */

static int grace(void *ctx)
{
	return shunt_dp_grace(ctx);
}

static uint32_t jiffies(void *ctx)
{
	return shunt_dp_jiffies(ctx);
}

#if defined(__x86_64__) || defined(__i386__) || defined(__s390x__)
#define LOADS_ARE_WEAK false
#else
#define LOADS_ARE_WEAK true
#endif

int shunt_installer_new(struct shunt_dp *dp, struct shunt_installer **ret_installer,
			struct shunt_err *err)
{
	struct shunt_installer_env env = {
		.maps = shunt_dp_maps(dp),
		.grace = grace,
		.jiffies = jiffies,
		.hz = shunt_dp_hz(dp),
		.loads_are_weak = LOADS_ARE_WEAK,
		.ctx = dp,
	};

	return shunt_installer_create(&env, ret_installer, err);
}
