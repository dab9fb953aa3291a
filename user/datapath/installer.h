/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_INSTALLER_H
#define SHUNT_DATAPATH_INSTALLER_H

#include "compile/image.h"
#include "datapath/frontends.h"
#include "datapath/install.h"
#include "datapath/place.h"

/*
 * The inside of the installer, shared by install.c (the change), adopt.c (what the maps
 * hold), splits.c (records aside), retire.c (what goes) and the tests.
 *
 * Between calls both slots of every two-slot word are equal, unless a grace period failed:
 * then `unsettled` is set and the next call tries again first.
 */

/* Where the installer works; the grace period may be a test's. */
struct shunt_installer_env {
	const struct shunt_dp_maps *maps;
	int (*grace)(void *ctx); /* as shunt_dp_grace() */
	uint32_t (*jiffies)(void *ctx);
	uint32_t hz;
	bool loads_are_weak; /* a CPU may load the slots before the epoch: all but x86 and s390 */
	void *ctx;
};

struct shunt_service_record {
	bool live;	  /* the maps hold it */
	bool dying;	  /* its frontends are gone; the index is free after a grace period */
	uint32_t mark;	  /* of the last install that wanted it */
	uint32_t touched; /* of the last install that changed it */
	uint64_t digest;  /* of the image that the maps hold; 0: not known */
};

struct shunt_variant_record {
	bool live;
	uint32_t mark;
	bool drained; /* wanted: by all model services that name it */
	uint32_t drain_s;
	uint32_t weight;     /* wanted */
	uint32_t n_backends; /* live ones, removed ones included */
};

struct shunt_backend_record {
	bool live;
	uint32_t mark;
	uint32_t flags; /* wanted */
};

struct shunt_bucket_record {
	bool live;
	uint32_t users; /* times that policies with users name it */
};

struct shunt_instance_record {
	bool live;	/* the maps have its name */
	uint32_t mark;	/* of the last install that wanted it */
	uint32_t users; /* variants whose guards in force name it */
};

struct shunt_installer {
	struct shunt_installer_env env;
	const struct shunt_dp_maps *maps; /* = env.maps */
	struct shunt_ids *ids;
	struct shunt_service_record *services; /* these three by id */
	struct shunt_variant_record *variants;
	struct shunt_backend_record *backends;
	struct shunt_frontends frontends;
	struct shunt_place splits;
	struct shunt_place rings; /* in words of four entries */
	struct shunt_place members;
	struct shunt_place policies;
	struct shunt_bucket_record *buckets; /* by id */
	uint32_t *policy_users;		     /* by index: ports that name it */
	uint32_t *policy_sources;	     /* by index: entries in the address lists */
	struct shunt_place breakers;
	struct shunt_instance_record *instances; /* of breakers, by id */
	uint32_t *breaker_users;		 /* by index: variants that name it */
	uint32_t n_packet_policies;		 /* of those with users, that limit packets */
	bool has_stale_sources; /* entries of policies that nobody names any more */
	uint32_t mark;		/* of the running or last install */
	bool installed;		/* at least once: only then is it known what is not wanted */
	bool unsettled;
	uint32_t next_set;	  /* where the next sweep of the flow table begins */
	uint32_t n_ticks_without; /* flows that go past the stack, as far as it was looked */
};

int shunt_installer_create(const struct shunt_installer_env *env,
			   struct shunt_installer **ret_installer, struct shunt_err *err);

/* Learns what the maps hold. Return: 0, or -errno with @err. */
int shunt_installer_adopt(struct shunt_installer *installer, struct shunt_err *err);

static inline struct shunt_settings *installer_settings(const struct shunt_installer *installer)
{
	return SHUNT_DP_AT(installer->maps->settings, struct shunt_settings, 0);
}

/* The slot that packets read now. */
static inline uint32_t installer_slot(const struct shunt_installer *installer)
{
	return installer_settings(installer)->epoch & 1;
}

/* One grace period, after which retired ranges are free. Return: 0 or -errno. */
int shunt_installer_grace(struct shunt_installer *installer);

/* Return: the live service that stands at @fe for packets now, or 0. */
uint32_t shunt_installer_service_at(const struct shunt_installer *installer,
				    const struct shunt_fe *fe);

/*
 * Makes the idle slots what the active ones are; elements of shunt_frontends that stand for
 * nothing go. Nobody may be reading the idle slots. Return: 0 or -errno.
 */
int shunt_installer_sync(struct shunt_installer *installer);

/* After a flip: a grace period, then the idle slots become what the active ones are. */
int shunt_installer_settle(struct shunt_installer *installer);

/* Takes a backend into, or out of, the counts of its variant and address. -ENOMEM or 0. */
int shunt_installer_count_backend(struct shunt_installer *installer, uint32_t id, int change);

/* retire.c: gives back what nobody refers to. Return: 0 or -errno. */
int shunt_installer_retire(struct shunt_installer *installer);

/* ---- splits.c ---------------------------------------------------------------------------- */

/**
 * shunt_split_prepare - the split record of @port, written aside
 * @old:     record in use by the same service, 0: none; parts that are the same are shared
 * @ret_new: = @old when nothing differs
 *
 * Return: 0; -ENOSPC with @err; -errno.
 */
int shunt_split_prepare(struct shunt_installer *installer, const struct shunt_image_port *port,
			uint32_t old, uint32_t *ret_new, struct shunt_err *err);

/* Frees @split, which no packet has seen, but for what it shares with @old. */
void shunt_split_abandon(struct shunt_installer *installer, uint32_t split, uint32_t old);

/* Retires @split but for what it shares with @successor (0: nothing). */
void shunt_split_retire(struct shunt_installer *installer, uint32_t split, uint32_t successor);

/* ---- policies.c ---------------------------------------------------------------------------- */

/**
 * shunt_policy_prepare - the record of @policy (NULL: none), written aside with its address lists
 * @service: the first port that is to name it
 * @old:     record in use by that port, 0: none
 * @ret_new: = @old when nothing differs; 0: none. A new one is held as by one port, until
 *           shunt_policy_use() takes that back
 *
 * Return: 0; -ENOSPC with @err; -errno.
 */
int shunt_policy_prepare(struct shunt_installer *installer, const struct shunt_image_policy *policy,
			 uint32_t service, uint32_t old, uint32_t *ret_new, struct shunt_err *err);

/* Frees @policy, which no packet has seen; 0 is fine. */
void shunt_policy_abandon(struct shunt_installer *installer, uint32_t policy);

/*
 * One port more, or less, names @policy; it is retired with the last. From the first to the last
 * its buckets are held, and SHUNT_S_PACKET_LIMITS is set if it limits packets. 0 is fine.
 */
void shunt_policy_use(struct shunt_installer *installer, uint32_t policy, int by);

/* Deletes entries of address lists whose policy nobody names. After a grace period. */
void shunt_policy_sweep_sources(struct shunt_installer *installer);

/* Writes the names of @image's buckets that are new. */
void shunt_buckets_write(struct shunt_installer *installer,
			 const struct shunt_image_service *image);

/* Are there buckets that no policy in force names? And, a grace period later, away with them. 0 or
 * -errno. */
bool shunt_buckets_wait(const struct shunt_installer *installer);
int shunt_buckets_retire(struct shunt_installer *installer);

/* Learns what the maps hold; services are known already. Return: 0 or -errno. */
int shunt_policies_adopt(struct shunt_installer *installer);

/* ---- dead_men.c ---------------------------------------------------------------------------- */

/*
 * Writes the weights that @images ask for, which are marked as wanted, and clears what new ones
 * clear. Behind the change itself, which must be seen first. Return: was something tripped?
 */
bool shunt_dead_men_weigh(struct shunt_installer *installer,
			  const struct shunt_image_service *const *images, size_t n);

/* Gives a variant its weight back, with its responses forgotten. Return: was it tripped? */
bool shunt_dead_man_clear(const struct shunt_installer *installer, uint32_t id);

/* ---- breaker_rules.c ----------------------------------------------------------------------- */

/* A variant whose guard changes: its breaker, or by what its backends are ejected. */
struct shunt_guard_change {
	uint32_t variant;
	uint32_t service; /* a port that it is of; 0: of none any more */
	uint32_t old_breaker, old_instance;
	uint32_t breaker, instance;
	struct shunt_eject_rule eject;
	bool stops_ejecting; /* there was a rule, and there is none */
};

/* What an install changes of guards. */
struct shunt_guard_plan {
	struct shunt_guard_change *changes;
	size_t n_changes;
	uint32_t *new_breakers; /* held by this install */
	size_t n_new_breakers;
};

/**
 * shunt_guards_prepare - which breakers the variants of @images are to be under
 *
 * New rules are written aside. Images and variants are marked as wanted already.
 *
 * Return: 0; -ENOSPC with @err; -errno.
 */
int shunt_guards_prepare(struct shunt_installer *installer,
			 const struct shunt_image_service *const *images, size_t n,
			 struct shunt_guard_plan *plan, struct shunt_err *err);

/* Frees what no packet has seen. */
void shunt_guards_abandon(struct shunt_installer *installer, const struct shunt_guard_plan *plan);

/* Before the change is visible: instances get their names, backends their instances. */
void shunt_guards_write(struct shunt_installer *installer,
			const struct shunt_image_service *const *images, size_t n);

/* Fills the idle slot. */
void shunt_guards_store(struct shunt_installer *installer, const struct shunt_guard_plan *plan);

/* After the switch: who uses what. */
void shunt_guards_remember(struct shunt_installer *installer, const struct shunt_guard_plan *plan);

void shunt_guard_plan_done(struct shunt_guard_plan *plan);

/* Makes the idle slots what the active ones are; and: do they differ? */
void shunt_guards_sync(struct shunt_installer *installer);
bool shunt_guards_differ(const struct shunt_installer *installer);

/* A variant's or backend's index goes to another. */
void shunt_guard_forget_variant(struct shunt_installer *installer, uint32_t variant);
void shunt_guard_forget_backend(struct shunt_installer *installer, uint32_t backend);

/* Are there instances that nothing in force names? And, a grace period later, away with them. */
bool shunt_instances_wait(const struct shunt_installer *installer);
void shunt_instances_retire(struct shunt_installer *installer);

/* Learns what the maps hold; variants are known already. Return: 0 or -errno. */
int shunt_guards_adopt(struct shunt_installer *installer);

/* Takes the ranges of a split that the maps use out of the free ones. 0 or -errno. */
int shunt_split_adopt(struct shunt_installer *installer, uint32_t split);

#endif
