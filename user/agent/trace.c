// SPDX-License-Identifier: Apache-2.0
#include "agent/trace.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "datapath/trace.h"
#include "datapath/trace_filter.h"

#define TICK_MS	     100
#define NAMES_EVERY  10	  /* ticks: interfaces and services may have got other indices */
#define ALIVE_MS     3000 /* how long the programs tell on after the last tick */
#define READ_AT_ONCE 256  /* records between two looks at the loop */
#define READ_AT_END  8192 /* more than a ring holds */

struct agent_trace {
	struct agent *agent;
	struct shunt_trace *trace;
	struct shunt_ctl_stream *stream;
	struct shunt_trace_query query;
	char filter[SHUNT_TRACE_MAX_FILTER + 1];
	int64_t to_real_ns;
	uint64_t end_ns;
	uint64_t left;			/* packets that the reader still wants */
	uint64_t told;			/* sent to the reader */
	uint64_t unread;		/* not sent, for it does not keep up */
	struct shunt_trace_sums missed; /* what the reader knows of */
	unsigned ticks;
	bool is_over; /* the reader wants no more */
	uv_poll_t poll;
	uv_timer_t timer;
	int open_handles;
};

static void on_closed(uv_handle_t *handle)
{
	struct agent_trace *t = handle->data;

	if (!--t->open_handles)
		free(t);
}

static void on_over(void *ctx)
{
	struct agent_trace *t = ctx;

	t->is_over = true;
}

/* ---- packets
 * ------------------------------------------------------------------------------------- */

static int on_packet(void *ctx, const struct shunt_trace_event *event)
{
	struct agent_trace *t = ctx;

	if (!t->left)
		return 1;
	t->left--;
	if (shunt_ctl_stream_lags(t->stream)) {
		t->unread++;
		return 0;
	}
	t->told += shunt_ctl_stream_send(
		t->stream,
		json_pack("{s:o}", "packet", agent_trace_packet(t->agent, event, t->to_real_ns)));
	return 0;
}

static struct shunt_trace_sums missed_now(const struct agent_trace *t)
{
	struct shunt_trace_sums sums = shunt_trace_sums(t->trace);

	sums.lost += t->unread;
	return sums;
}

static void tell_missed(struct agent_trace *t)
{
	struct shunt_trace_sums now = missed_now(t);

	if (now.limited == t->missed.limited && now.lost == t->missed.lost)
		return;
	shunt_ctl_stream_send(t->stream,
			      json_pack("{s:{s:I, s:I}}", "missed", "limited",
					(json_int_t)(now.limited - t->missed.limited), "lost",
					(json_int_t)(now.lost - t->missed.lost)));
	t->missed = now;
}

/* ---- the end
 * ---------------------------------------------------------------------------------------- */

static void close_handles(struct agent_trace *t)
{
	if (!t->open_handles) {
		free(t);
		return;
	}
	uv_close((uv_handle_t *)&t->poll, on_closed);
	uv_close((uv_handle_t *)&t->timer, on_closed);
}

void agent_trace_stop(struct agent *agent, const char *why)
{
	struct agent_trace *t = agent->trace;
	struct shunt_trace_sums sums;
	struct shunt_err err = { 0 };
	int r;

	if (!t)
		return;
	agent->trace = NULL;
	uv_poll_stop(&t->poll);
	shunt_trace_filter(t->trace)->until_ns = 0;
	shunt_trace_read(t->trace, READ_AT_END, on_packet, t);
	sums = missed_now(t);
	r = shunt_trace_stop(t->trace, &err);
	if (r < 0)
		agent_event(agent, SHUNT_LOG_ERROR, "TraceNotEnded", "",
			    "%s; these gates go on with programs that tell nothing, until the next "
			    "look at them",
			    err.text);
	agent_event(agent, SHUNT_LOG_INFO, "TraceEnded", "",
		    "%llu packet%s told, %llu over the rate, %llu lost: %s",
		    (unsigned long long)t->told, t->told == 1 ? "" : "s",
		    (unsigned long long)sums.limited, (unsigned long long)sums.lost, why);
	shunt_ctl_stream_end(t->stream,
			     json_pack("{s:{s:I, s:I, s:I, s:s}}", "end", "told",
				       (json_int_t)t->told, "limited", (json_int_t)sums.limited,
				       "lost", (json_int_t)sums.lost, "why", why));
	close_handles(t);
}

/* ---- what the loop calls
 * -------------------------------------------------------------------------- */

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct agent_trace *t = poll->data;

	(void)status;
	(void)events;
	shunt_trace_read(t->trace, READ_AT_ONCE, on_packet, t);
	if (!t->left)
		agent_trace_stop(t->agent, "as many packets as were wanted");
}

/* A gate that has come back, or a service with another port, has another index. */
static void refresh_names(struct agent_trace *t)
{
	struct shunt_trace_filter *filter = shunt_trace_filter(t->trace), fresh;

	if (shunt_trace_query_resolve(&t->query, shunt_dp_maps(t->agent->dp), &fresh, NULL) < 0)
		return;
	filter->ifindex = fresh.ifindex;
	memcpy(filter->service, fresh.service, sizeof(filter->service));
	filter->n_services = fresh.n_services;
}

static void on_tick(uv_timer_t *timer)
{
	struct agent_trace *t = timer->data;
	uint64_t now_ns = shunt_mono_ns();

	if (t->is_over) {
		agent_trace_stop(t->agent, "it was interrupted");
		return;
	}
	if (now_ns >= t->end_ns) {
		agent_trace_stop(t->agent, "the time is over");
		return;
	}
	shunt_trace_filter(t->trace)->until_ns = now_ns + ALIVE_MS * 1000000ull;
	if (++t->ticks % NAMES_EVERY)
		return;
	refresh_names(t);
	tell_missed(t);
}

/* ---- the command
 * --------------------------------------------------------------------------------------- */

static int64_t real_minus_mono(void)
{
	struct timespec real, mono;

	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_MONOTONIC, &mono);
	return (real.tv_sec - mono.tv_sec) * 1000000000ll + real.tv_nsec - mono.tv_nsec;
}

static size_t count_gates(const struct agent *agent)
{
	size_t n = 0;

	for (size_t i = 0; i < agent->gates.n; i++)
		n += agent->gates.items[i].attached;
	return n;
}

/* Is the interface that the filter names one of ours? Otherwise nothing would ever be told. */
static int check_gate(const struct agent *agent, const struct shunt_trace_query *query,
		      uint32_t ifindex, struct shunt_err *err)
{
	if (!(query->conditions & SHUNT_TRACE_IF_GATE))
		return 0;
	for (size_t i = 0; i < agent->gates.n; i++)
		if (agent->gates.items[i].attached && agent->gates.items[i].ifindex == ifindex)
			return 0;
	return shunt_err_set(err, -ENOENT,
			     "filter: %s is no gate: `shunt status -o json` lists those that are",
			     query->gate);
}

/* Reads the request into @t and @filter. Answers on failure. */
static int read_request(const struct agent_request *request, struct agent_trace *t,
			struct shunt_trace_filter *filter)
{
	json_int_t for_ms = AGENT_TRACE_FOR_MS, count = 0, rate = AGENT_TRACE_RATE;
	const char *text = "";
	const struct agent_arg known[] = {
		{ "filter", AGENT_ARG_TEXT, &text, false, 0, 0 },
		{ "for_ms", AGENT_ARG_INTEGER, &for_ms, false, 1, AGENT_TRACE_MAX_FOR_MS },
		{ "count", AGENT_ARG_INTEGER, &count, false, 0, AGENT_TRACE_MAX_COUNT },
		{ "rate", AGENT_ARG_INTEGER, &rate, false, 1, AGENT_TRACE_MAX_RATE },
	};
	struct shunt_err err = { 0 };
	int r;

	if (agent_read_args(request, "trace", known, ARRAY_LEN(known)) < 0)
		return -EINVAL;
	r = shunt_trace_query_parse(text, &t->query, &err);
	if (!r)
		r = shunt_trace_query_resolve(&t->query, shunt_dp_maps(request->agent->dp), filter,
					      &err);
	if (!r)
		r = check_gate(request->agent, &t->query, filter->ifindex, &err);
	if (r < 0) {
		shunt_ctl_reply_fail(request->reply,
				     r == -ENOENT ? SHUNT_CTL_NOT_FOUND : SHUNT_CTL_USAGE, "%s",
				     err.text);
		return r;
	}
	snprintf(t->filter, sizeof(t->filter), "%s", text);
	filter->rate = (uint32_t)rate;
	filter->until_ns = shunt_mono_ns() + ALIVE_MS * 1000000ull;
	t->left = count ? (uint64_t)count : UINT64_MAX;
	t->end_ns = (uint64_t)for_ms * 1000000; /* from the start on */
	return 0;
}

static void start_handles(struct agent_trace *t)
{
	uv_poll_init(t->agent->loop, &t->poll, shunt_trace_fd(t->trace));
	uv_timer_init(t->agent->loop, &t->timer);
	t->poll.data = t->timer.data = t;
	t->open_handles = 2;
	uv_poll_start(&t->poll, UV_READABLE, on_readable);
	uv_timer_start(&t->timer, on_tick, TICK_MS, TICK_MS);
}

/* The programs tell already: answers, and begins to read. Takes @t. */
static void begin(const struct agent_request *request, struct agent_trace *t)
{
	char length[SHUNT_UNIT_STR_LEN];
	struct agent *agent = request->agent;
	uint64_t for_ms = t->end_ns / 1000000;
	size_t n_gates = count_gates(agent);

	t->to_real_ns = real_minus_mono();
	t->end_ns += shunt_mono_ns();
	agent->trace = t;
	start_handles(t);
	agent_event(agent, SHUNT_LOG_INFO, "TraceStarted", "",
		    "uid %u traces %s%s, at most %s, on %zu gate%s", (unsigned)request->peer.uid,
		    t->filter[0] ? "packets that match: " : "all packets", t->filter,
		    shunt_duration_str(for_ms, length), n_gates, n_gates == 1 ? "" : "s");
	shunt_ctl_stream_send(t->stream, json_pack("{s:{s:s, s:I, s:I}}", "begin", "filter",
						   t->filter, "for_ms", (json_int_t)for_ms, "gates",
						   (json_int_t)n_gates));
}

static bool may_trace(const struct agent_request *request)
{
	if (request->peer.uid != 0 && request->peer.uid != geteuid()) {
		shunt_ctl_reply_fail(request->reply, SHUNT_CTL_PERMISSION,
				     "only root and the agent's own user may trace");
		return false;
	}
	if (request->agent->trace) {
		shunt_ctl_reply_fail(request->reply, SHUNT_CTL_REFUSED,
				     "somebody traces already, and there is one tracing at a time: "
				     "`shunt events` says who and for how long");
		return false;
	}
	return true;
}

void agent_cmd_trace(struct agent_request *request)
{
	CLEANUP(freep) struct agent_trace *t = calloc(1, sizeof(*t));
	struct agent *agent = request->agent;
	struct shunt_trace_filter filter;
	struct shunt_err err = { 0 };

	if (!t) {
		shunt_ctl_reply_fail(request->reply, SHUNT_CTL_INTERNAL, "out of memory");
		return;
	}
	t->agent = agent;
	if (!may_trace(request) || read_request(request, t, &filter) < 0)
		return;
	if (shunt_trace_start(agent->dp, &filter, &t->trace, &err) < 0) {
		shunt_ctl_reply_fail(request->reply, SHUNT_CTL_KERNEL, "%s", err.text);
		return;
	}
	t->stream = shunt_ctl_reply_stream(request->reply, on_over, t);
	if (!t->stream) {
		shunt_trace_stop(t->trace, &err);
		return;
	}
	begin(request, TAKE_PTR(t));
}
