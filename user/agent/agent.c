// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "agent/netlink.h"
#include "agent/trace.h"
#include "base/cleanup.h"
#include "base/version.h"
#include "dialect/keep.h"
#include "shunt/compat.h"

#define EXIT_SOURCE   3
#define EXIT_BUSY     5
#define EXIT_KERNEL   6
#define EXIT_PLACE    7
#define EXIT_INTERNAL 8

void agent_stop(struct agent *agent, int exit_code)
{
	agent->exit_code = exit_code;
	uv_stop(agent->loop);
}

/* ---- what the loop calls ------------------------------------------------------------------------
 */

static void on_debounced(uv_timer_t *timer);

/* Files come in bunches: the first change starts a short wait, then all are read at once. */
static void on_dir(uv_poll_t *poll, int status, int events)
{
	struct agent *agent = poll->data;

	(void)status;
	(void)events;
	uv_poll_stop(poll);
	uv_timer_start(&agent->debounce, on_debounced, agent->opts->debounce_ms, 0);
}

static void on_debounced(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	agent_refresh(agent, false);
	uv_poll_start(&agent->dir_poll, UV_READABLE, on_dir);
}

static void on_netlink(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	agent_watch_read(poll->data);
}

static void on_routes(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	agent_nexthops_read(poll->data);
}

static void look_again(struct agent *agent, bool anyway)
{
	bool moved = agent_read_addresses(agent);

	agent_refresh(agent, anyway || moved);
	agent_sync_gates(agent, true);
}

static void on_resync(uv_timer_t *timer)
{
	look_again(timer->data, false);
}

static void on_sighup(uv_signal_t *signal, int signum)
{
	(void)signum;
	log_info("SIGHUP: everything is read again");
	look_again(signal->data, true);
}

static void on_terminate(uv_signal_t *signal, int signum)
{
	log_info("%s: the agent ends, what it has installed goes on working", strsignal(signum));
	agent_stop(signal->data, 0);
}

/* A handover that died half-way must not hold new connections back for ever. */
static void release_hold(struct agent *agent)
{
	struct shunt_settings *settings =
		SHUNT_DP_AT(shunt_dp_maps(agent->dp)->settings, struct shunt_settings, 0);

	if (!(SHUNT_READ_ONCE(settings->flags) & SHUNT_S_HOLD))
		return;
	__sync_fetch_and_and(&settings->flags, ~SHUNT_S_HOLD);
	agent_event(agent, SHUNT_LOG_WARN, "HoldReleased", "",
		    "new connections were held back without a handover; they pass again");
}

static void on_tick(uv_timer_t *timer)
{
	struct agent *agent = timer->data;
	int r;

	release_hold(agent);
	r = shunt_installer_tick(agent->installer);
	if (r < 0)
		log_error("cannot give back what is not used any more: %s", strerror(-r));
	agent_refusals_tick(agent);
	agent_window_tick(agent);
	agent_decisions_tick(agent);
	agent_neighbours_tick(agent);
	agent_detach_tick(agent);
}

/* ---- gates
 * ------------------------------------------------------------------------------------------ */

static int attach_gate(void *ctx, const struct agent_gate *gate, struct shunt_dp_gate *ret_gate,
		       struct shunt_err *err)
{
	struct agent *agent = ctx;
	struct shunt_gate record = agent_gate_record(agent, gate);
	int r = shunt_dp_gate_put(agent->dp, gate->ifindex, &record);

	if (r < 0)
		return shunt_err_set(err, r, "cannot enter it into shunt_gates: %s", strerror(-r));
	return shunt_dp_attach(agent->dp, gate->ifindex, gate->ifname, gate->hook, ret_gate, err);
}

static int detach_gate(void *ctx, uint32_t ifindex)
{
	struct agent *agent = ctx;

	return shunt_dp_detach(agent->dp, ifindex);
}

static void gate_changed(void *ctx, enum agent_gate_change change, const struct agent_gate *gate)
{
	const char *hook = gate->hook == SHUNT_HOOK_XDP ? "xdp" : "tc";
	struct agent *agent = ctx;

	switch (change) {
	case AGENT_GATE_ATTACHED:
		agent_event(agent, SHUNT_LOG_INFO, "GateAttached", gate->ifname,
			    "guarded at %s, interface index %u", hook, gate->ifindex);
		break;
	case AGENT_GATE_GONE:
		agent_event(agent, SHUNT_LOG_INFO, "GateGone", gate->ifname,
			    "not guarded any more, interface index %u", gate->ifindex);
		break;
	case AGENT_GATE_FAILED:
		agent_event(agent, SHUNT_LOG_ERROR, "GateFailed", gate->ifname, "%s",
			    gate->problem);
		break;
	}
}

/* Gates of an earlier agent that no pattern names any more; detaching others does nothing. */
static void drop_foreign_gates(struct agent *agent)
{
	CLEANUP(freep) struct agent_link *links = NULL;
	size_t n;

	if (!shunt_dp_adopted(agent->dp) || agent_links(&links, &n) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		if (!agent_gate_match(agent->opts->gates, agent->opts->n_gates, links[i].ifname))
			shunt_dp_detach(agent->dp, links[i].ifindex);
}

static void start_gates(struct agent *agent)
{
	agent->gates = (struct agent_gates){
		.patterns = agent->opts->gates,
		.n_patterns = agent->opts->n_gates,
		.ops = { .attach = attach_gate,
			 .detach = detach_gate,
			 .changed = gate_changed,
			 .ctx = agent },
	};
	drop_foreign_gates(agent);
	agent_sync_gates(agent, false);
	for (size_t i = 0; i < agent->gates.n_patterns; i++) {
		const struct agent_gate_pattern *pattern = &agent->gates.patterns[i];

		if (pattern->literal && !agent_gates_find(&agent->gates, pattern))
			agent_event(agent, SHUNT_LOG_WARN, "GateWaiting", pattern->pattern,
				    "no such interface yet; it is guarded when it appears");
	}
	if (!agent->gates.n_patterns)
		log_warn("no --gate: no interface is guarded, so nothing is split");
}

/* ---- the start
 * --------------------------------------------------------------------------------------- */

static int open_source(struct agent *agent, struct shunt_err *err)
{
	const char *path = agent->opts->source_dir;
	struct stat st;
	int r;

	if (stat(path, &st) < 0) {
		shunt_err_set(err, -errno, "cannot read the source %s: %s", path, strerror(errno));
		return EXIT_SOURCE;
	}
	if (!S_ISDIR(st.st_mode)) {
		shunt_err_set(err, -ENOTDIR, "the source %s is not a directory", path);
		return EXIT_SOURCE;
	}
	r = shunt_dir_open(path, &agent->dir, err);
	return r < 0 ? EXIT_SOURCE : 0;
}

/* Without a state directory there is no secret, and no override that survives. */
/*
 * Two agents would overwrite each other's files. One that cannot even open the directory does
 * not write there either. Return: is it ours?
 */
static bool lock_state(struct agent *agent)
{
	const char *path = agent->opts->dp.state_dir;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return true;
	agent->state_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return agent->state_fd < 0 || !flock(agent->state_fd, LOCK_EX | LOCK_NB) ||
	       errno != EWOULDBLOCK;
}

static int open_state(struct agent *agent, struct shunt_err *err)
{
	struct shunt_err note = { 0 };
	int r;

	agent->good = shunt_last_good_new();
	agent->keeper = shunt_keeper_new();
	agent->baselines = json_object();
	agent->window = shunt_window_new();
	if (!agent->good || !agent->keeper || !agent->baselines || !agent->window) {
		shunt_err_set(err, -ENOMEM, "out of memory");
		return EXIT_INTERNAL;
	}
	if (!lock_state(agent)) {
		shunt_err_set(err, -EBUSY,
			      "another agent uses the state directory %s: give this one its own "
			      "--state-dir",
			      agent->opts->dp.state_dir);
		return EXIT_BUSY;
	}
	r = shunt_overrides_open(agent->opts->dp.state_dir, &agent->overrides, &note);
	if (r < 0) {
		shunt_err_set(err, r, "cannot use the state directory %s: %.300s",
			      agent->opts->dp.state_dir, note.text[0] ? note.text : strerror(-r));
		return EXIT_PLACE;
	}
	if (r)
		agent_event(agent, SHUNT_LOG_WARN, "StateDamaged", "", "%s", note.text);
	if (access(agent->opts->dp.state_dir, W_OK) < 0) {
		shunt_err_set(&note, 0, "%s cannot be written: %s; overrides hold until a restart",
			      agent->opts->dp.state_dir, strerror(errno));
		agent_state_problem(agent, note.text);
	}
	return 0;
}

static int open_kernel(struct agent *agent, struct shunt_err *err)
{
	struct shunt_settings *settings;
	int r;

	r = shunt_dp_open(&agent->opts->dp, &agent->dp, err);
	if (!r)
		r = shunt_installer_new(agent->dp, &agent->installer, err);
	if (r == -EBUSY)
		return EXIT_BUSY;
	if (r == -ENOMEM)
		return EXIT_INTERNAL;
	/* The secret could not be kept. */
	if (r == -EROFS || r == -ENOSPC || r == -EDQUOT)
		return EXIT_PLACE;
	if (r < 0)
		return EXIT_KERNEL;

	/* Who starts an agent wants it to split, even if the last one was told to leave. */
	settings = SHUNT_DP_AT(shunt_dp_maps(agent->dp)->settings, struct shunt_settings, 0);
	__sync_fetch_and_and(&settings->flags, ~(SHUNT_S_DRAIN | SHUNT_S_HOLD));
	agent->generation = SHUNT_READ_ONCE(settings->generation);
	agent_state_load(agent);
	if (shunt_dp_notes(agent->dp)[0])
		log_warn("%s", shunt_dp_notes(agent->dp));
	return 0;
}

static int open_socket(struct agent *agent, struct shunt_err *err)
{
	const struct shunt_ctl_server_opts opts = {
		.allowed = agent->opts->allowed_uids,
		.n_allowed = agent->opts->n_allowed_uids,
	};
	int r;

	r = shunt_ctl_server_start(agent->loop, agent->opts->socket_path, agent_handle, agent,
				   &opts, &agent->ctl, err);
	return r == -EADDRINUSE ? EXIT_BUSY : r < 0 ? EXIT_PLACE : 0;
}

static int open_http(struct agent *agent, struct shunt_err *err)
{
	struct shunt_http_ops ops = agent_http_ops(agent);
	int r;

	if (!agent->opts->metrics_port)
		return 0;
	r = shunt_http_start(agent->loop, &agent->opts->metrics_ip, agent->opts->metrics_port, &ops,
			     &agent->http, err);
	return r < 0 ? EXIT_PLACE : 0;
}

static void start_poll(struct agent *agent, uv_poll_t *poll, int fd, uv_poll_cb callback)
{
	uv_poll_init(agent->loop, poll, fd);
	poll->data = agent;
	uv_poll_start(poll, UV_READABLE, callback);
}

static void start_timer(struct agent *agent, uv_timer_t *timer, uv_timer_cb callback,
			uint64_t every_ms)
{
	uv_timer_init(agent->loop, timer);
	timer->data = agent;
	if (every_ms)
		uv_timer_start(timer, callback, every_ms, every_ms);
}

static void start_signal(struct agent *agent, uv_signal_t *signal, int signum,
			 uv_signal_cb callback)
{
	uv_signal_init(agent->loop, signal);
	signal->data = agent;
	uv_signal_start(signal, callback, signum);
}

static void start_handles(struct agent *agent)
{
	start_poll(agent, &agent->dir_poll, shunt_dir_fd(agent->dir), on_dir);
	start_poll(agent, &agent->netlink_poll, agent->netlink_fd, on_netlink);
	start_poll(agent, &agent->routes_poll, agent->routes_fd, on_routes);
	start_timer(agent, &agent->debounce, NULL, 0);
	start_timer(agent, &agent->resync, on_resync, agent->opts->resync_ms);
	start_timer(agent, &agent->tick, on_tick, 1000);
	start_signal(agent, &agent->sigterm, SIGTERM, on_terminate);
	start_signal(agent, &agent->sigint, SIGINT, on_terminate);
	start_signal(agent, &agent->sighup, SIGHUP, on_sighup);
	agent->handles_open = true;
}

int agent_open(struct agent *agent, const struct agent_options *opts, uv_loop_t *loop,
	       struct shunt_err *err)
{
	int r;

	*agent = (struct agent){
		.opts = opts,
		.loop = loop,
		.netlink_fd = -EBADF,
		.routes_fd = -EBADF,
		.asks_fd = -EBADF,
		.state_fd = -EBADF,
		.started_ms = agent_now_ms(),
		.started_ns = shunt_mono_ns(),
		.confirmed_ns = shunt_mono_ns(),
	};
	/* The kernel last; nobody is answered before the loop runs. An agent that is one too many
	 * leaves no pins behind. */
	r = open_source(agent, err);
	if (!r)
		r = open_state(agent, err);
	if (!r)
		r = open_socket(agent, err);
	if (!r)
		r = open_http(agent, err);
	if (!r)
		r = open_kernel(agent, err);
	if (r)
		return r;

	agent->probes = agent_probes_new(loop);
	if (!agent->probes) {
		shunt_err_set(err, -ENOMEM, "out of memory");
		return EXIT_INTERNAL;
	}
	agent->netlink_fd = agent_netlink_open();
	if (agent->netlink_fd < 0) {
		shunt_err_set(err, agent->netlink_fd, "cannot hear of interfaces: %s",
			      strerror(-agent->netlink_fd));
		return EXIT_KERNEL;
	}
	r = agent_nexthops_open(agent);
	if (r < 0) {
		shunt_err_set(err, r, "cannot hear of routes: %s", strerror(-r));
		return EXIT_KERNEL;
	}
	agent_read_addresses(agent);
	agent_refresh(agent, true);
	agent_refusals_tick(agent); /* what was counted before is not new */
	agent_window_tick(agent);
	r = agent_compat_begin(agent);
	if (r < 0) {
		shunt_err_set(err, r, "cannot begin with --metrics-compat: %s", strerror(-r));
		return EXIT_INTERNAL;
	}
	agent_decisions_open(agent);
	start_gates(agent);
	agent_neighbours_tick(agent);
	start_handles(agent);
	log_info("shuntd %s, ABI %d, process %d: ready", SHUNT_VERSION, SHUNT_ABI_VERSION,
		 getpid());
	return 0;
}

/* ---- the end
 * ---------------------------------------------------------------------------------------------- */

static void close_handles(struct agent *agent)
{
	uv_handle_t *const handles[] = {
		(uv_handle_t *)&agent->dir_poll,    (uv_handle_t *)&agent->netlink_poll,
		(uv_handle_t *)&agent->routes_poll, (uv_handle_t *)&agent->debounce,
		(uv_handle_t *)&agent->resync,	    (uv_handle_t *)&agent->tick,
		(uv_handle_t *)&agent->sigterm,	    (uv_handle_t *)&agent->sigint,
		(uv_handle_t *)&agent->sighup,
	};

	for (size_t i = 0; agent->handles_open && i < ARRAY_LEN(handles); i++)
		uv_close(handles[i], NULL);
	agent->handles_open = false;
	agent_decisions_close(agent);
	agent_probes_close(agent->probes);
	shunt_http_stop(agent->http);
	agent->http = NULL;
}

void agent_close_kernel(struct agent *agent)
{
	agent_trace_stop(agent, "the agent ends");
	close_handles(agent);
	shunt_installer_free(agent->installer);
	shunt_dp_close(agent->dp);
	agent->installer = NULL;
	agent->dp = NULL;
}

void agent_close(struct agent *agent)
{
	agent_trace_stop(agent, "the agent ends");
	close_handles(agent);
	shunt_ctl_server_stop(agent->ctl);
	agent->ctl = NULL;
}

void agent_free(struct agent *agent)
{
	agent_gates_free(&agent->gates);
	agent_images_free(&agent->images);
	shunt_model_free(&agent->model);
	shunt_installer_free(agent->installer);
	shunt_dp_close(agent->dp);
	shunt_dir_close(agent->dir);
	shunt_overrides_close(agent->overrides);
	shunt_last_good_free(agent->good);
	shunt_keeper_free(agent->keeper);
	json_decref(agent->baselines);
	shunt_window_free(agent->window);
	shunt_compat_free(agent->compat);
	agent_probes_free(agent->probes);
	agent_events_clear(&agent->events);
	free(agent->told);
	free(agent->node_addrs);
	free(agent->sources);
	shunt_xmit_free(&agent->xmit);
	fd_closep(&agent->netlink_fd);
	fd_closep(&agent->routes_fd);
	fd_closep(&agent->asks_fd);
	fd_closep(&agent->state_fd);
}
