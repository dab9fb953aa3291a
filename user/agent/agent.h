/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_AGENT_H
#define SHUNT_AGENT_AGENT_H

#include <uv.h>

#include "agent/args.h"
#include "agent/decisions.h"
#include "agent/events.h"
#include "agent/gates.h"
#include "agent/images.h"
#include "agent/netlink.h"
#include "agent/options.h"
#include "agent/probes.h"
#include "ctl/server.h"
#include "datapath/install.h"
#include "datapath/xmit.h"
#include "metrics/compat.h"
#include "metrics/http.h"
#include "metrics/window.h"
#include "model/guard.h"
#include "model/override.h"
#include "source/yaml/yaml.h"

/*
 * The agent: one libuv loop, one thread. What the files of this directory share.
 *
 *   agent.c     start and end, the loop's handles
 *   pipeline.c  manifests -> model -> images -> maps
 *   state.c     what is remembered beside overrides: last good weights, baselines
 *   watch.c     interfaces and addresses; nexthops.c: routes and neighbours
 *   command.c   the control socket: dispatch, names
 *   change.c    weight, switch, rollback
 *   drain.c     drain
 *   status.c    status; history.c: history; doctor.c: doctor; detach.c: the way out
 *   trace.c     trace; trace_packet.c: a packet's record in JSON
 *   decisions.c what the kernel has decided; breakers.c: breakers in status; force.c: breaker
 *   probes.c    requests of its own to backends; probe.c: one of them
 *   scrape.c    metrics, health and readiness; refusals.c: are new flows refused?
 */
struct agent_detach {
	struct shunt_ctl_reply *reply; /* NULL: nobody has asked */
	bool drain;
	uint64_t since_ns, deadline_ns; /* CLOCK_MONOTONIC */
};

/* What is known of new connections that are refused for one reason. */
struct agent_refusals {
	bool is_known;	   /* @refused was read before: an agent before may have counted, too */
	uint64_t refused;  /* packets, in all */
	uint64_t last_ns;  /* CLOCK_MONOTONIC */
	bool is_on;	   /* some were refused lately */
	char problem[256]; /* what was said of it last; "" when it is over */
};

struct agent {
	const struct agent_options *opts; /* borrowed */
	uv_loop_t *loop;		  /* borrowed */
	int exit_code;
	int64_t started_ms;  /* CLOCK_REALTIME */
	uint64_t started_ns; /* CLOCK_MONOTONIC, as all _ns here */

	struct shunt_dp *dp;
	struct shunt_installer *installer;
	struct shunt_dir *dir;
	struct shunt_overrides *overrides;
	struct shunt_last_good *good;
	struct shunt_keeper *keeper;
	json_t *baselines; /* connections of each variant when its weights last changed */
	struct shunt_ctl_server *ctl;
	struct shunt_http_server *http;
	struct agent_events events;
	struct agent_gates gates;
	struct agent_detach detach;
	struct agent_refusals full;   /* for want of room in the flow table */
	struct agent_refusals greedy; /* of a client that has its share of it */
	struct agent_trace *trace;    /* NULL: nobody traces */
	struct shunt_window *window;  /* HTTP of the last minute */
	struct shunt_compat *compat;  /* series under others' names; NULL: not asked for */
	struct agent_decisions decisions;
	struct agent_probes *probes;

	/* What is in force: the maps hold these images, made from this model. */
	struct shunt_model model;
	struct agent_images images;
	uint32_t generation;
	bool installed;	       /* since this start */
	uint64_t confirmed_ns; /* when the source was last read and found in force */
	uint64_t n_failed;     /* installs */

	/* What is wrong now; "" when nothing is. */
	char source_problem[512];  /* the directory */
	char install_problem[512]; /* translate, compile, install */
	char state_problem[512];   /* the state directory */
	int state_fd;		   /* it, locked; negative if it cannot be opened */
	bool stale;		   /* the source was read, but is not in force */
	uint64_t *told;		   /* sorted digests of the conditions that had an event */
	size_t n_told;

	struct shunt_ip *node_addrs; /* sorted */
	size_t n_node_addrs;
	struct agent_source *sources; /* addresses that connections may begin from */
	size_t n_sources;
	struct shunt_xmit xmit; /* interfaces that XDP can redirect to */
	int netlink_fd;

	int routes_fd;		 /* hears of routes and neighbours */
	int asks_fd;		 /* asks for them */
	bool rules_are_new;	 /* they were not looked at since they changed */
	bool may_keep_hops;	 /* they do not look at sources */
	uint32_t next_neighbour; /* backend whose neighbour was looked after last */

	uv_poll_t dir_poll, netlink_poll, routes_poll;
	uv_timer_t debounce, resync, tick;
	uv_signal_t sigterm, sigint, sighup;
	bool handles_open;
};

/* ---- agent.c ------------------------------------------------------------------------------ */

/**
 * agent_open - everything up to the first install
 * @opts, @loop: borrowed for the agent's life
 *
 * Return: 0, or the exit code of the program with @err.
 */
int agent_open(struct agent *agent, const struct agent_options *opts, uv_loop_t *loop,
	       struct shunt_err *err);

/* Stops the loop's handles; run the loop once more, then agent_free(). */
void agent_close(struct agent *agent);
void agent_free(struct agent *agent);

/*
 * Gives up maps and pins, and with them everything of the loop that reads maps. Commands that
 * still come in are refused. For the way out only.
 */
void agent_close_kernel(struct agent *agent);

/* Ends the loop with an exit code. */
void agent_stop(struct agent *agent, int exit_code);

/* ---- told.c ------------------------------------------------------------------------------- */

/* Logs a line, remembers the event and sends it to those who follow. */
void agent_event(struct agent *agent, enum shunt_log_level level, const char *reason,
		 const char *object, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* The same of something that happened at @when_ms (CLOCK_REALTIME). */
void agent_event_at(struct agent *agent, int64_t when_ms, enum shunt_log_level level,
		    const char *reason, const char *object, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));

/* ---- pipeline.c ---------------------------------------------------------------------------- */

/**
 * agent_refresh - read the source and bring the maps to it
 * @anyway: also if no file has changed
 *
 * Failures are told as events and in status; what was in force stays so.
 */
void agent_refresh(struct agent *agent, bool anyway);

/* Some of the model's services. */
struct agent_targets {
	struct shunt_model_service **items; /* owned array; what it points to is the model's */
	size_t n;
};

/**
 * agent_reapply - from the objects that were read last to the maps, after a command
 * @changed: what the command has changed; borrowed from agent->model, which is another one
 *           afterwards
 * @cause:   borrowed
 *
 * Return: 0 or -errno with @err; a failure is tried again at the next refresh.
 */
int agent_reapply(struct agent *agent, const struct agent_targets *changed,
		  const struct shunt_cause *cause, struct shunt_err *err);

/**
 * agent_install_model - bring the maps to agent->model after a change of its weights
 *
 * Return: 0 or -errno with @err; then the caller puts the weights back.
 */
int agent_install_model(struct agent *agent, struct shunt_install_result *ret_result,
			struct shunt_err *err);

/**
 * agent_record_changes - history, events, last good weights after an install
 * @changed: by a command, with @cause; NULL: none
 */
void agent_record_changes(struct agent *agent, const struct agent_targets *changed,
			  const struct shunt_cause *cause);

/* ---- state.c --------------------------------------------------------------------------------- */

/*
 * Reads last_good.json; a damaged one is set aside and told. Without it the weights are learnt
 * from the maps of an earlier agent.
 */
void agent_state_load(struct agent *agent);

/* Writes it; a failure is kept in agent->state_problem and told once. Return: is it saved? */
bool agent_state_save(struct agent *agent);

/* What the variants of @services have counted is the start of their measured share. */
void agent_baselines_reset(struct agent *agent, const struct shunt_model_service *const *services,
			   size_t n);

/* Drops the baselines of services that are gone. */
void agent_baselines_forget(struct agent *agent);

/* Connections of a variant when the weights last changed; 0 if nothing is known. */
uint64_t agent_baseline(const struct agent *agent, const struct shunt_model_service *service,
			const char *variant);

/* Tells a problem with what is kept on disk once; "" when it is over. */
void agent_state_problem(struct agent *agent, const char *text);

/* ---- watch.c ----------------------------------------------------------------------------------
 */

/* Looks at interfaces; @verify: also at gates that are attached. */
void agent_sync_gates(struct agent *agent, bool verify);

/* What the programs are told of a gate. */
struct shunt_gate agent_gate_record(const struct agent *agent, const struct agent_gate *gate);

/* Return: have the addresses of this node changed since the last call? */
bool agent_read_addresses(struct agent *agent);

/* On the loop: something changed, or SIGHUP or the resync came. */
void agent_watch_read(struct agent *agent);

/* ---- nexthops.c ----------------------------------------------------------------------------- */

/* Begins to hear of routes; the next hops that programs keep count from now on. 0 or -errno. */
int agent_nexthops_open(struct agent *agent);

/* On the loop: routes, neighbours or rules have changed. */
void agent_nexthops_read(struct agent *agent);

/*
 * Once a second: XDP sends frames only to neighbours that the kernel knows, and makes nobody ask
 * for others. So those of backends behind uplinks are kept known.
 */
void agent_neighbours_tick(struct agent *agent);

/* ---- command.c, change.c, status.c, doctor.c, detach.c ------------------------------------------
 */

/* A request that is being carried out; ends with one of the shunt_ctl_reply_*(). */
struct agent_request {
	struct agent *agent;
	struct shunt_ctl_peer peer;
	json_t *args; /* borrowed */
	struct shunt_ctl_reply *reply;
	uint64_t since_ns;
};

void agent_handle(void *ctx, const struct shunt_ctl_peer *peer, const char *command, json_t *args,
		  struct shunt_ctl_reply *reply);

/* agent_args_read() of a request. Answers USAGE on failure. Return: 0 or -EINVAL. */
int agent_read_args(const struct agent_request *request, const char *command,
		    const struct agent_arg *known, size_t n);

/* Which of a Service's ports a request means. */
struct agent_port {
	json_int_t number;    /* 0: all */
	const char *protocol; /* "tcp" or "udp"; NULL: either */
};

/* Has a service of the model this name, "namespace/name" or "name"? */
bool agent_is_known(const struct agent *agent, const char *name);

/**
 * agent_find_services - the services that @name means: "namespace/name" or "name"
 *
 * Answers the request when there is none. Return: 0; -ENOENT: answered.
 */
int agent_find_services(const struct agent_request *request, const char *name,
			struct agent_port port, struct agent_targets *ret_targets);

void agent_cmd_weight(struct agent_request *request);
void agent_cmd_switch(struct agent_request *request);
void agent_cmd_rollback(struct agent_request *request);
void agent_cmd_drain(struct agent_request *request);
void agent_cmd_breaker(struct agent_request *request);
void agent_cmd_status(struct agent_request *request);
void agent_cmd_history(struct agent_request *request);
void agent_cmd_doctor(struct agent_request *request);
void agent_cmd_detach(struct agent_request *request);

/*
 * Each second: were new flows refused for want of room, or because their client has its share of
 * it? Told by an event when it begins and one when it is over; want of room is a problem, too.
 */
void agent_refusals_tick(struct agent *agent);

/* From here on the series under others' names count, if they are asked for. 0 or -errno. */
int agent_compat_begin(struct agent *agent);

/* Each second: a snapshot for the signals of the last minute, when it is time for one. */
void agent_window_tick(struct agent *agent);

/* Each second: is the detaching that somebody waits for done? */
void agent_detach_tick(struct agent *agent);

/* "ok", "degraded", "draining" or "starting". */
const char *agent_health(const struct agent *agent);

/* Number of files and objects that are not in force as they are written. */
size_t agent_count_problems(const struct agent *agent);

/* {"blue":5,...} of the weights in force. NULL: out of memory. */
json_t *agent_weights_json(const struct shunt_model_service *service);

/* confirm.c: weights in force by the maps, as shunt_last_good_from_json() takes them; or NULL. */
json_t *agent_read_weights(const struct agent *agent);

/* Is the image of model service @index what the maps hold? */
bool agent_confirm(const struct agent *agent, size_t index);

/* ---- scrape.c
 * -------------------------------------------------------------------------------------- */

/* What the HTTP server asks of the agent. */
struct shunt_http_ops agent_http_ops(struct agent *agent);

#endif
