/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_CHANGE_H
#define SHUNT_AGENT_CHANGE_H

#include "agent/agent.h"
#include "agent/args.h"

/*
 * A change by an operator, carried out the fast way: the weights are changed in the model
 * that is in force, judged, compiled and installed; only then remembered. So a refusal
 * leaves no trace. For change.c and drain.c.
 */
struct agent_change_target {
	struct shunt_model_service *service;		 /* borrowed from agent->model */
	struct shunt_weight weights[SHUNT_MAX_VARIANTS]; /* asked for */
	size_t n;
	json_t *from; /* weights in force before; owned */
	/* To put back: */
	uint32_t old_weight[SHUNT_MAX_VARIANTS];
	bool old_drained[SHUNT_MAX_VARIANTS];
	bool changed;
};

struct agent_change {
	struct agent_request *request;
	struct agent_change_target *targets; /* owned */
	size_t n;
	const char *service; /* as asked; these borrow from the request */
	const char *reason;
	const char *command;
	struct agent_port port;
	bool force;
	bool any_step;	    /* rollback must not be slow */
	bool from_manifest; /* the override ends */
	char warning[512];
	double took_ms;
};

/**
 * agent_change_open - find the services of a change
 * @change: command, service, port, reason and force are set
 *
 * Answers the request on failure. Return: 0 or -errno; agent_change_close() in either case.
 */
int agent_change_open(struct agent_change *change);
void agent_change_close(struct agent_change *change);

#define AGENT_CHANGE_OWN_ARGS 4 /* at most */
#define AGENT_MAX_REASON      255

/*
 * Reads the arguments of a change: @own, and service, port, reason and force, which every change
 * takes. Answers USAGE on failure. Return: 0 or -EINVAL.
 */
int agent_change_read(struct agent_change *change, const struct agent_arg *own, size_t n_own);

/* Answers about one target: names it before @text if its name alone does not tell which. */
void agent_change_fail(const struct agent_change *change, const struct shunt_model_service *service,
		       enum shunt_ctl_code code, const char *text);

/* Takes note of what may have to be put back; call before a target's service is changed. */
void agent_change_save(struct agent_change_target *target);

/* Puts back the weights and drains of all targets. */
void agent_change_undo(struct agent_change *change);

/* Is every target let in by the guard? Otherwise answers REFUSED. */
bool agent_change_is_allowed(struct agent_change *change);

/* Installs agent->model and measures. Answers KERNEL on failure. Return: 0 or -errno. */
int agent_change_install(struct agent_change *change);

/* The services of all targets. Return: 0 or -ENOMEM; free(ret_services->items). */
int agent_change_services(const struct agent_change *change, struct agent_targets *ret_services);

/* Of several splits of one Service, which were changed: ["80","53/udp"]. */
json_t *agent_change_ports_json(const struct agent_change *change);

/* Who asks, when and why. */
struct shunt_cause agent_change_cause(const struct agent_change *change);

/*
 * dead_men.c: an operator who names a variant gives it its weight back if its dead-man switch has
 * tripped, also where the weight is what it was. Return: has one?
 */
bool agent_change_reset_dead_men(const struct agent_change *change);

/* Have all targets been read back from the maps? */
bool agent_change_is_confirmed(const struct agent_change *change);

/* A reason with a NUL, or a name that is too long, cannot come in: what -errno means here. */
enum shunt_ctl_code agent_change_code(int r);

#endif
