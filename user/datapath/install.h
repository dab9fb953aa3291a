/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_INSTALL_H
#define SHUNT_DATAPATH_INSTALL_H

#include "compile/image.h"
#include "datapath/datapath.h"

/*
 * The installer brings the maps to a set of images. It is the only writer of services,
 * rules, splits, rings, members, variants, backends, frontends, the epoch and the generation.
 */
struct shunt_installer;

/* Learns what the maps hold (after adoption). @dp is borrowed for the installer's life. */
int shunt_installer_new(struct shunt_dp *dp, struct shunt_installer **ret_installer,
			struct shunt_err *err);
void shunt_installer_free(struct shunt_installer *installer);

/* The ids in use, seeded from the maps: pass to shunt_compile(). Borrowed. */
struct shunt_ids *shunt_installer_ids(struct shunt_installer *installer);

struct shunt_install_result {
	uint32_t generation; /* after the change: one more for each that packets see */
	uint32_t services_changed;
	bool single_store; /* one rule: one aligned store of a split index */
	uint64_t took_ns;  /* until packets see it */
};

/**
 * shunt_install - make @images the whole desired state
 * @images: one per model service; borrowed; unchanged ones (same digest) cost nothing
 *
 * A service that is not in @images any more is released: its entries serve until they close.
 * A backend that is gone is marked removed with a deadline of its variant's drain_deadline_s.
 * One changed split: one store. Otherwise all changes become visible by one store of the
 * epoch. On failure nothing that packets can see has changed.
 *
 * Return: 0, or -ENOSPC (a map is full: which one and the option that sizes it), -errno.
 */
int shunt_install(struct shunt_installer *installer,
		  const struct shunt_image_service *const *images, size_t n,
		  struct shunt_install_result *ret_result, struct shunt_err *err);

/**
 * shunt_installer_reset_dead_man - an operator gives a tripped variant its weight back
 * @name: as in shunt_variant_names, what is unused zero
 *
 * Return: was it tripped? Then it is one more change that packets see.
 */
bool shunt_installer_reset_dead_man(struct shunt_installer *installer,
				    const struct shunt_variant_name *name);

/**
 * shunt_installer_tick - give back what nobody refers to any more
 *
 * Retires removed backends without flows (their counters move to the variant's), released
 * services without flows, old split records after a grace period. Call about once a second.
 * Also sweeps a part of the flow table with the programs' own code, so that idle entries end
 * even where no new flow comes.
 */
int shunt_installer_tick(struct shunt_installer *installer);

#endif
