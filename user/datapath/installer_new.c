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

int shunt_installer_new(struct shunt_dp *dp, struct shunt_installer **ret_installer,
			struct shunt_err *err)
{
	struct shunt_installer_env env = {
		.maps = shunt_dp_maps(dp),
		.grace = grace,
		.jiffies = jiffies,
		.hz = shunt_dp_hz(dp),
		.ctx = dp,
	};

	return shunt_installer_create(&env, ret_installer, err);
}
