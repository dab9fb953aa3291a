/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_WANT_H
#define SHUNT_DATAPATH_WANT_H

#include "datapath/installer.h"

/*
 * What a set of images wants of each service, variant, backend and address: several ports
 * and several model services may name the same variant or backend.
 */

/* Starts a new mark and marks all that @images name. -EEXIST: one address wanted twice. */
int shunt_want_images(struct shunt_installer *installer,
		      const struct shunt_image_service *const *images, size_t n,
		      struct shunt_err *err);

/*
 * Before a change is visible: takes away flags that forbid what is wanted now. Return: were
 * there any?
 */
bool shunt_want_permit(struct shunt_installer *installer);

/* After it is visible: marks what ends, with the deadline. Return: is there any? */
bool shunt_want_restrict(struct shunt_installer *installer);

/* Does a service count its connections in being there? */
bool shunt_account_is_used(const struct shunt_installer *installer, uint32_t account);

/* Gives back ids that a compilation took and no install used. */
void shunt_want_trim_ids(struct shunt_installer *installer);

#endif
