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
 */
struct shunt_weight {
	char variant[SHUNT_NAME_LEN];
	uint32_t weight;
};

struct shunt_change {
	int64_t when_ms;  /* CLOCK_REALTIME */
	int64_t who_uid;  /* -1: the manifest */
	char command[16]; /* "weight", "switch", "rollback", "drain", "manifest" */
	char reason[256]; /* --reason; may be "" */
	struct shunt_weight *from; /* before; owned */
	size_t n_from;
	struct shunt_weight *to; /* after; owned */
	size_t n_to;
};

struct shunt_overrides; /* overrides, drains and history of all services */

/**
 * shunt_overrides_open - read <state_dir>/overrides.json and history.jsonl
 * @state_dir: created (0700) if missing; NULL: nothing is kept
 *
 * A damaged file is moved aside as NAME.broken and said in @err with the return 1.
 *
 * Return: 0, 1, or -errno.
 */
int shunt_overrides_open(const char *state_dir, struct shunt_overrides **ret_overrides,
			 struct shunt_err *err);
void shunt_overrides_close(struct shunt_overrides *overrides);

/**
 * shunt_overrides_set - remember operator weights of a service
 * @service: borrowed; variants not named keep their present weight
 *
 * Checks names (-ENOENT) and ranges (-ERANGE), all zero (-EINVAL). Writes the file (temporary
 * file, fsync, rename) before it returns; on -ENOSPC and the like the override holds in
 * memory and @err says that it will not survive a restart.
 *
 * Return: 0, or -errno; 1: in force but not saved.
 */
int shunt_overrides_set(struct shunt_overrides *overrides, const struct shunt_model_service *service,
			const struct shunt_weight *weights, size_t n, const char *command,
			int64_t who_uid, const char *reason, struct shunt_err *err);

/* Ends the override of a service. Return: 0, -ENOENT if there was none, 1 as above. */
int shunt_overrides_clear(struct shunt_overrides *overrides, const char *namespace_,
			  const char *name, struct shunt_err *err);

/* Puts overrides into @model (weights, drained); drops those whose manifest digest changed. */
int shunt_overrides_apply(struct shunt_overrides *overrides, struct shunt_model *model);

/* The override in force of a service, borrowed, or NULL: for status. */
const struct shunt_change *shunt_overrides_get(const struct shunt_overrides *overrides,
					       const char *namespace_, const char *name);

/* Adds a change to the history: call when the weights in force of a service have changed. */
int shunt_history_add(struct shunt_overrides *overrides, const char *namespace_, const char *name,
		      const struct shunt_change *change, struct shunt_err *err);

/* Newest first, borrowed, at most 100 a service are kept. Return: number. */
size_t shunt_history_get(const struct shunt_overrides *overrides, const char *namespace_,
			 const char *name, const struct shunt_change *const **ret_changes);

/* The weights to which `rollback` returns: those before the last change. -ENOENT: none. */
int shunt_history_previous(const struct shunt_overrides *overrides, const char *namespace_,
			   const char *name, const struct shunt_weight **ret_weights, size_t *ret_n);

#endif
