/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_MODEL_OVERRIDE_H
#define SHUNT_MODEL_OVERRIDE_H

#include "base/err.h"
#include "model/model.h"

/*
 * What an operator has set by `shunt weight|switch|rollback|drain`: it stands above the
 * manifest until the manifest's own weights of that service change (source.digest differs)
 * or until `--from-manifest`. Kept in the state directory, with who, when and why; every
 * change, by operator or manifest, also goes to the history.
 *
 * All of it is found again by namespace, name and a common port of the model service (two
 * model services may have one name). Times are CLOCK_REALTIME in milliseconds, given by the
 * caller: nothing here reads a clock.
 */
struct shunt_weight {
	char variant[SHUNT_NAME_LEN];
	uint32_t weight;
};

/* Who asks for a change, when and why. */
struct shunt_cause {
	int64_t when_ms;
	int64_t who_uid;     /* -1: the manifest */
	const char *command; /* "weight", "switch", "rollback", "drain", "manifest" */
	const char *reason;  /* --reason; cut off at 255 bytes; NULL: "" */
};

struct shunt_change {
	int64_t when_ms;	   /* CLOCK_REALTIME */
	int64_t who_uid;	   /* -1: the manifest */
	char command[16];	   /* "weight", "switch", "rollback", "drain", "manifest" */
	char reason[256];	   /* --reason; may be "" */
	struct shunt_weight *from; /* before; owned */
	size_t n_from;
	struct shunt_weight *to; /* after; owned */
	size_t n_to;
};

/* A variant, or one backend, that gets nothing new. */
struct shunt_drain {
	char target[SHUNT_NAME_LEN]; /* variant, or "10.0.0.1:8080", "[fd00::1]:8080" */
	bool is_backend;
	uint32_t deadline_s; /* of a variant: how long its sessions stay */
	int64_t when_ms;
	int64_t who_uid;
	char reason[256];
};

#define SHUNT_HISTORY_MAX 100 /* changes kept of one service */

struct shunt_overrides; /* overrides, drains and history of all services */

/**
 * shunt_overrides_open - read <state_dir>/overrides.json and history.jsonl
 * @state_dir: created (0700) if missing; NULL: nothing is kept
 *
 * A damaged file is moved aside as NAME.broken and said in @err with the return 1; of the
 * history, all that is readable is kept.
 *
 * Return: 0, 1, or -errno.
 */
int shunt_overrides_open(const char *state_dir, struct shunt_overrides **ret_overrides,
			 struct shunt_err *err);
void shunt_overrides_close(struct shunt_overrides *overrides); /* NULL is fine */

/**
 * shunt_overrides_check - would shunt_overrides_set() take these weights?
 *
 * Return: 0, -ENOENT: no such variant, -ERANGE: above SHUNT_MAX_WEIGHT, -EINVAL: no weight
 * would remain above 0, or a variant is named twice.
 */
int shunt_overrides_check(const struct shunt_model_service *service,
			  const struct shunt_weight *weights, size_t n, struct shunt_err *err);

/**
 * shunt_overrides_set - remember operator weights of a service
 * @service: borrowed; variants not named keep the weight that they have in it
 * @cause:   borrowed
 *
 * Ends the drain of each variant that is named with a weight above 0. Writes the file
 * (temporary file, fsync, rename) before it returns; on -ENOSPC and the like the override
 * holds in memory and @err says that it will not survive a restart.
 *
 * Return: 0; 1: in force but not saved; as shunt_overrides_check(), or -ENOMEM.
 */
int shunt_overrides_set(struct shunt_overrides *overrides,
			const struct shunt_model_service *service,
			const struct shunt_weight *weights, size_t n,
			const struct shunt_cause *cause, struct shunt_err *err);

/**
 * shunt_overrides_drain - let a variant or a backend get nothing new
 * @target:     name of a variant, else ADDRESS:PORT of a backend ([ADDRESS]:PORT for IPv6)
 * @deadline_s: how long a variant's sessions stay; 0: as the manifest has it
 *
 * A drained variant comes back when the manifest's weights change, like any override; a
 * drained backend stays out until it is gone from the model: pod addresses are used again.
 *
 * Return: 0, 1 as above, -ENOENT: no such target, -EINVAL: nothing above weight 0 would
 * remain, or -ENOMEM.
 */
int shunt_overrides_drain(struct shunt_overrides *overrides,
			  const struct shunt_model_service *service, const char *target,
			  uint32_t deadline_s, const struct shunt_cause *cause,
			  struct shunt_err *err);

/* The same without the check of what would remain. Return: as above, but for -EINVAL. */
int shunt_overrides_force_drain(struct shunt_overrides *overrides,
				const struct shunt_model_service *service, const char *target,
				uint32_t deadline_s, const struct shunt_cause *cause,
				struct shunt_err *err);

/* Would shunt_overrides_drain() take it? Return: 0, -ENOENT or -EINVAL. */
int shunt_overrides_check_drain(const struct shunt_model_service *service, const char *target,
				struct shunt_err *err);

/**
 * shunt_overrides_undrain - end one drain
 * @target: as struct shunt_drain has it
 *
 * Return: 0, 1 as above, or -ENOENT: there is no such drain.
 */
int shunt_overrides_undrain(struct shunt_overrides *overrides,
			    const struct shunt_model_service *service, const char *target,
			    struct shunt_err *err);

/* Is anything of any service drained? */
bool shunt_overrides_any_drain(const struct shunt_overrides *overrides);

/* The drains in force of a service, borrowed until the next change. Return: number. */
size_t shunt_overrides_drains(const struct shunt_overrides *overrides,
			      const struct shunt_model_service *service,
			      const struct shunt_drain **ret_drains);

/* Ends the override and all drains of a service. Return: 0, -ENOENT if there was none, 1 as
 * above. */
int shunt_overrides_clear(struct shunt_overrides *overrides,
			  const struct shunt_model_service *service, struct shunt_err *err);

/**
 * shunt_overrides_apply - put overrides into @model (weights, drained), end those that are over
 *
 * Over are those whose manifest digest changed, and drains of backends that are gone. What
 * belongs to services that @model lacks is kept: they may come back.
 *
 * Return: 0, or 1 as above.
 */
int shunt_overrides_apply(struct shunt_overrides *overrides, struct shunt_model *model,
			  struct shunt_err *err);

/* The override in force of a service, borrowed until the next change, or NULL: for status. */
const struct shunt_change *shunt_overrides_get(const struct shunt_overrides *overrides,
					       const struct shunt_model_service *service);

/**
 * shunt_history_record - note which weights in force have changed since the last call
 * @model: after overrides and guard; a drained variant counts as weight 0
 * @changed: those of @model that a command has just changed; borrowed
 * @cause: why those; NULL if there are none
 *
 * Whatever else differs came from an override that is newer than the last noted change, or
 * from the manifest. A service that is seen for the first time gets a first change with
 * n_from = 0. One write and one sync for all.
 *
 * Return: 0; 1: noted but not saved (it is tried again with the next change); or -ENOMEM.
 */
int shunt_history_record(struct shunt_overrides *overrides, const struct shunt_model *model,
			 struct shunt_model_service *const *changed, size_t n_changed,
			 const struct shunt_cause *cause, int64_t now_ms, struct shunt_err *err);

/* Newest first, borrowed until the next record, at most SHUNT_HISTORY_MAX. Return: number. */
size_t shunt_history_get(const struct shunt_overrides *overrides,
			 const struct shunt_model_service *service,
			 const struct shunt_change *const **ret_changes);

/* What is remembered of one service, in the model or gone; all borrowed. */
struct shunt_history_of {
	const char *namespace_, *name, *ports;	   /* "80/TCP,53/UDP" */
	const struct shunt_change *const *changes; /* newest first */
	size_t n;
};

/* Calls @fn for each service named @name, "namespace/name" or "name", that has a history. */
void shunt_history_each(const struct shunt_overrides *overrides, const char *name,
			void (*fn)(void *ctx, const struct shunt_history_of *of), void *ctx);

/**
 * shunt_history_previous - the weights to which `rollback` returns: before the last change
 * @ret_weights: one for each variant that @service has now; one that had none then gets 0
 *
 * Two rollbacks in a row swing between the two.
 *
 * Return: 0; -ENOENT: no earlier weights are known, or all their variants are gone.
 */
int shunt_history_previous(const struct shunt_overrides *overrides,
			   const struct shunt_model_service *service,
			   struct shunt_weight ret_weights[SHUNT_MAX_VARIANTS], size_t *ret_n);

#endif
