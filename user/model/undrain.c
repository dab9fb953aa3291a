// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include "model/override_state.h"

int shunt_overrides_undrain(struct shunt_overrides *overrides,
			    const struct shunt_model_service *service, const char *target,
			    struct shunt_err *err)
{
	struct shunt_record *record = shunt_record_find(overrides, service);

	for (size_t i = 0; record && i < record->n_drains; i++) {
		if (strcmp(record->drains[i].target, target))
			continue;
		shunt_record_end_drain(record, i);
		return shunt_overrides_save(overrides, err);
	}
	return shunt_err_set(err, -ENOENT, "%s of %s/%s is not drained", target,
			     service->namespace_, service->name);
}
