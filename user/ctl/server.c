// SPDX-License-Identifier: Apache-2.0
#include "ctl/server.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ctl/line.h"
#include "ctl/listen.h"

struct peer {
	struct shunt_ctl_server *server;
	struct peer *next;
	struct shunt_ctl_peer who;
	uv_pipe_t pipe;
	uv_timer_t timer;
	int open_handles; /* of pipe and timer: freed when both have closed */
	char *buf;	  /* what came in and is not consumed */
	size_t len, size;
	struct shunt_ctl_reply *reply; /* the request that is being carried out */
	struct shunt_ctl_stream *stream;
	bool writing, following, closing;
	bool streaming; /* also when the stream has ended and its last lines are on their way */
	bool close_after_write;
};

struct shunt_ctl_stream {
	struct peer *peer; /* NULL: gone meanwhile */
	void (*over)(void *ctx);
	void *ctx;
	bool is_over;
};

struct shunt_ctl_reply {
	struct peer *peer; /* NULL: gone meanwhile */
};

struct shunt_ctl_server {
	uv_loop_t *loop;
	uv_pipe_t listener;
	struct shunt_ctl_socket socket;
	shunt_ctl_handler handler;
	void *ctx;
	uid_t *allowed;
	size_t n_allowed;
	unsigned idle_ms;
	struct peer *peers;
	unsigned n_peers;
	unsigned open_peers; /* closing ones included */
	bool stopping, listener_closed;
};

struct write {
	uv_write_t req;
	char *text; /* owned */
};

static void next_request(struct peer *peer);
static void stream_over(struct peer *peer);

/* ---- the end of peers and server ---------------------------------------------------------- */

static void server_free_if_done(struct shunt_ctl_server *server)
{
	if (!server->stopping || !server->listener_closed || server->open_peers)
		return;
	free(server->allowed);
	free(server);
}

static void on_peer_handle_closed(uv_handle_t *handle)
{
	struct peer *peer = handle->data;
	struct shunt_ctl_server *server = peer->server;

	if (--peer->open_handles)
		return;
	free(peer->buf);
	free(peer);
	server->open_peers--;
	server_free_if_done(server);
}

static void peer_close(struct peer *peer)
{
	struct peer **at = &peer->server->peers;

	if (peer->closing)
		return;
	peer->closing = true;
	if (peer->reply)
		peer->reply->peer = NULL;
	peer->reply = NULL;

	while (*at != peer)
		at = &(*at)->next;
	*at = peer->next;
	peer->server->n_peers--;
	uv_close((uv_handle_t *)&peer->pipe, on_peer_handle_closed);
	uv_close((uv_handle_t *)&peer->timer, on_peer_handle_closed);
	stream_over(peer);
}

/* ---- writing ------------------------------------------------------------------------------- */

static void on_written(uv_write_t *req, int status)
{
	struct write *write = req->data;
	struct peer *peer = req->handle->data;

	free(write->text);
	free(write);
	if (peer->closing || peer->following || peer->streaming) {
		if (status < 0)
			peer_close(peer);
		return;
	}
	peer->writing = false;
	uv_timer_stop(&peer->timer);
	if (status < 0 || peer->close_after_write)
		peer_close(peer);
	else
		next_request(peer);
}

/* Takes @text; NULL: memory was out, and all that is left is to hang up. */
static void peer_write(struct peer *peer, char *text)
{
	struct write *write = text ? calloc(1, sizeof(*write)) : NULL;
	uv_buf_t buf;

	if (!write) {
		free(text);
		peer_close(peer);
		return;
	}
	write->text = text;
	write->req.data = write;
	buf = uv_buf_init(text, strlen(text));
	if (uv_write(&write->req, (uv_stream_t *)&peer->pipe, &buf, 1, on_written) < 0) {
		free(write->text);
		free(write);
		peer_close(peer);
	}
}

static void on_idle(uv_timer_t *timer);

static void answer(struct peer *peer, char *text)
{
	peer->writing = true;
	uv_timer_start(&peer->timer, on_idle, peer->server->idle_ms, 0);
	peer_write(peer, text);
}

/* One sentence, then the end: for what we do not want to read any further. */
static void refuse_and_close(struct peer *peer, enum shunt_ctl_code code, const char *text)
{
	uv_read_stop((uv_stream_t *)&peer->pipe);
	peer->close_after_write = true;
	answer(peer, shunt_ctl_answer_fail(code, text));
}

static void on_idle(uv_timer_t *timer)
{
	struct peer *peer = timer->data;

	if (peer->writing)
		peer_close(peer);
	else
		refuse_and_close(
			peer, SHUNT_CTL_USAGE,
			"no whole request line came in time: a request ends with a newline");
}

/* ---- reading ------------------------------------------------------------------------------- */

static void dispatch(struct peer *peer, const char *line, size_t len)
{
	struct shunt_ctl_server *server = peer->server;
	struct shunt_err err = { 0 };
	const char *command;
	json_t *request, *args;
	int r;

	r = shunt_ctl_request_parse(line, len, &request, &command, &args, &err);
	if (r < 0) {
		refuse_and_close(peer, r == -ENOMEM ? SHUNT_CTL_INTERNAL : SHUNT_CTL_USAGE,
				 err.text);
		return;
	}
	peer->reply = calloc(1, sizeof(*peer->reply));
	if (!peer->reply) {
		json_decref(request);
		refuse_and_close(peer, SHUNT_CTL_INTERNAL, "out of memory");
		return;
	}
	peer->reply->peer = peer;
	uv_timer_stop(&peer->timer);
	server->handler(server->ctx, &peer->who, command, args, peer->reply);
	json_decref(request);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
	struct peer *peer = handle->data;
	size_t size;
	char *buf;

	(void)suggested;
	*ret_buf = uv_buf_init(NULL, 0);
	if (peer->following || peer->streaming)
		peer->len = 0; /* a follower has nothing to say; we read to see it leave */
	if (peer->size - peer->len < 4096) {
		size = peer->size ? peer->size * 2 : 8192;
		buf = realloc(peer->buf, size);
		if (!buf)
			return;
		peer->buf = buf;
		peer->size = size;
	}
	*ret_buf = uv_buf_init(peer->buf + peer->len, peer->size - peer->len);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct peer *peer = stream->data;

	(void)buf;
	/* Who reads a stream may say so that it wants no more, and still reads the end of it. */
	if (n == UV_EOF && peer->stream) {
		uv_read_stop(stream);
		stream_over(peer);
		return;
	}
	if (n < 0) {
		peer_close(peer);
		return;
	}
	peer->len += n;
	if (!peer->following && !peer->streaming)
		next_request(peer);
}

static void read_on(struct peer *peer)
{
	int r = uv_read_start((uv_stream_t *)&peer->pipe, on_alloc, on_read);

	if (r < 0 && r != UV_EALREADY)
		peer_close(peer);
}

/*
 * Carries out the next line if there is one. Called when something was read, which is not
 * while a request is open, and when an answer is out.
 */
static void next_request(struct peer *peer)
{
	char *newline;
	size_t len;

	newline = peer->len ? memchr(peer->buf, '\n', peer->len) : NULL;
	if (newline && newline - peer->buf <= SHUNT_CTL_MAX_REQUEST) {
		/* Nothing more is read meanwhile: the peer's socket holds the rest back. */
		uv_read_stop((uv_stream_t *)&peer->pipe);
		len = newline - peer->buf;
		dispatch(peer, peer->buf, len);
		peer->len -= len + 1;
		memmove(peer->buf, newline + 1, peer->len);
		return;
	}
	if (newline || peer->len > SHUNT_CTL_MAX_REQUEST) {
		refuse_and_close(peer, SHUNT_CTL_USAGE, "the request line is longer than 1 MiB");
		return;
	}
	/* The time runs from the beginning of the wait, so that dripping bytes gains nothing. */
	if (!uv_is_active((uv_handle_t *)&peer->timer))
		uv_timer_start(&peer->timer, on_idle, peer->server->idle_ms, 0);
	read_on(peer);
}

/* ---- new peers ----------------------------------------------------------------------------- */

static bool uid_allowed(const struct shunt_ctl_server *server, uid_t uid)
{
	if (uid == 0 || uid == geteuid())
		return true;
	for (size_t i = 0; i < server->n_allowed; i++) {
		if (server->allowed[i] == uid)
			return true;
	}
	return false;
}

static int peer_identify(struct peer *peer)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int fd, r;

	r = uv_fileno((uv_handle_t *)&peer->pipe, &fd);
	if (r < 0)
		return r;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	peer->who = (struct shunt_ctl_peer){ .uid = cred.uid, .gid = cred.gid, .pid = cred.pid };
	return 0;
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct shunt_ctl_server *server = listener->data;
	struct peer *peer = status < 0 ? NULL : calloc(1, sizeof(*peer));

	if (!peer)
		return;
	peer->server = server;
	uv_pipe_init(server->loop, &peer->pipe, 0);
	uv_timer_init(server->loop, &peer->timer);
	peer->pipe.data = peer->timer.data = peer;
	peer->open_handles = 2;
	peer->next = server->peers;
	server->peers = peer;
	server->n_peers++;
	server->open_peers++;

	if (uv_accept(listener, (uv_stream_t *)&peer->pipe) < 0 || peer_identify(peer) < 0)
		peer_close(peer);
	else if (!uid_allowed(server, peer->who.uid))
		refuse_and_close(peer, SHUNT_CTL_PERMISSION,
				 "only root and the agent's own user may use this socket");
	else if (server->n_peers > SHUNT_CTL_MAX_PEERS)
		refuse_and_close(peer, SHUNT_CTL_UNAVAILABLE,
				 "too many clients are connected to the agent: try again");
	else
		next_request(peer);
}

/* ---- start and stop ------------------------------------------------------------------------ */

static void on_listener_closed(uv_handle_t *handle)
{
	struct shunt_ctl_server *server = handle->data;

	server->listener_closed = true;
	server_free_if_done(server);
}

static int copy_opts(struct shunt_ctl_server *server, const struct shunt_ctl_server_opts *opts)
{
	server->idle_ms = opts && opts->idle_ms ? opts->idle_ms : SHUNT_CTL_IDLE_MS;
	if (!opts || !opts->n_allowed)
		return 0;
	server->allowed = calloc(opts->n_allowed, sizeof(uid_t));
	if (!server->allowed)
		return -ENOMEM;
	memcpy(server->allowed, opts->allowed, opts->n_allowed * sizeof(uid_t));
	server->n_allowed = opts->n_allowed;
	return 0;
}

int shunt_ctl_server_start(uv_loop_t *loop, const char *path, shunt_ctl_handler handler, void *ctx,
			   const struct shunt_ctl_server_opts *opts,
			   struct shunt_ctl_server **ret_server, struct shunt_err *err)
{
	struct shunt_ctl_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server || copy_opts(server, opts) < 0) {
		free(server);
		return shunt_err_set(err, -ENOMEM, "out of memory");
	}
	server->loop = loop;
	server->handler = handler;
	server->ctx = ctx;
	r = shunt_ctl_listen(path, &server->socket, err);
	if (r < 0) {
		free(server->allowed);
		free(server);
		return r;
	}

	uv_pipe_init(loop, &server->listener, 0);
	server->listener.data = server;
	r = uv_pipe_open(&server->listener, server->socket.fd);
	if (r < 0)
		close(server->socket.fd);
	else
		r = uv_listen((uv_stream_t *)&server->listener, SHUNT_CTL_MAX_PEERS, on_connection);
	if (r < 0) {
		shunt_ctl_server_stop(server);
		return shunt_err_set(err, r, "%s: %s", path, uv_strerror(r));
	}
	/* A peer that leaves before its answer must not end the agent. */
	signal(SIGPIPE, SIG_IGN);
	*ret_server = server;
	return 0;
}

void shunt_ctl_server_stop(struct shunt_ctl_server *server)
{
	if (!server || server->stopping)
		return;
	server->stopping = true;
	shunt_ctl_unlink(&server->socket);
	while (server->peers)
		peer_close(server->peers);
	uv_close((uv_handle_t *)&server->listener, on_listener_closed);
}

void shunt_ctl_server_publish(struct shunt_ctl_server *server, json_t *event)
{
	CLEANUP(freep) char *line = shunt_ctl_answer_ok(event);
	struct peer *next;

	for (struct peer *peer = server->peers; line && peer; peer = next) {
		next = peer->next;
		if (!peer->following)
			continue;
		if (uv_stream_get_write_queue_size((uv_stream_t *)&peer->pipe) > SHUNT_CTL_MAX_LAG)
			peer_close(peer);
		else
			peer_write(peer, strdup(line));
	}
	json_decref(event);
}

/* ---- answers ------------------------------------------------------------------------------- */

/* Ends the handle. Return: the peer, or NULL if it has gone. */
static struct peer *reply_end(struct shunt_ctl_reply *reply)
{
	struct peer *peer = reply->peer;

	if (peer)
		peer->reply = NULL;
	free(reply);
	return peer;
}

void shunt_ctl_reply_ok(struct shunt_ctl_reply *reply, json_t *result)
{
	struct peer *peer = reply_end(reply);

	if (peer && result)
		answer(peer, shunt_ctl_answer_ok(result));
	else if (peer)
		answer(peer, shunt_ctl_answer_fail(SHUNT_CTL_INTERNAL, "out of memory"));
	json_decref(result);
}

void shunt_ctl_reply_fail(struct shunt_ctl_reply *reply, enum shunt_ctl_code code, const char *fmt,
			  ...)
{
	struct peer *peer = reply_end(reply);
	CLEANUP(freep) char *text = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	if (peer)
		answer(peer, shunt_ctl_answer_fail(code, text ? text : "out of memory"));
}

void shunt_ctl_reply_follow(struct shunt_ctl_reply *reply, json_t *past)
{
	struct peer *peer = reply_end(reply);
	json_t *event;
	size_t i;

	if (peer) {
		peer->following = true;
		json_array_foreach (past, i, event) {
			if (!peer->closing)
				peer_write(peer, shunt_ctl_answer_ok(event));
		}
		if (!peer->closing)
			read_on(peer);
	}
	json_decref(past);
}

/* ---- streams ------------------------------------------------------------------------------- */

/* The peer wants no more: tells it to whoever sends, once. */
static void stream_over(struct peer *peer)
{
	struct shunt_ctl_stream *stream = peer->stream;
	bool is_news = stream && !stream->is_over;

	if (!stream)
		return;
	stream->is_over = true;
	if (peer->closing) {
		stream->peer = NULL;
		peer->stream = NULL;
	}
	if (is_news)
		stream->over(stream->ctx);
}

struct shunt_ctl_stream *shunt_ctl_reply_stream(struct shunt_ctl_reply *reply,
						void (*over)(void *ctx), void *ctx)
{
	struct peer *peer = reply_end(reply);
	struct shunt_ctl_stream *stream;

	if (!peer)
		return NULL;
	stream = calloc(1, sizeof(*stream));
	if (!stream) {
		peer_close(peer);
		return NULL;
	}
	*stream = (struct shunt_ctl_stream){ .peer = peer, .over = over, .ctx = ctx };
	peer->stream = stream;
	peer->streaming = true;
	read_on(peer);
	return stream;
}

bool shunt_ctl_stream_lags(const struct shunt_ctl_stream *stream)
{
	return stream->peer && uv_stream_get_write_queue_size((uv_stream_t *)&stream->peer->pipe) >
				       SHUNT_CTL_MAX_LAG;
}

bool shunt_ctl_stream_send(struct shunt_ctl_stream *stream, json_t *result)
{
	bool can = stream->peer && result && !shunt_ctl_stream_lags(stream);

	if (can)
		peer_write(stream->peer, shunt_ctl_answer_ok(result));
	json_decref(result);
	return can && stream->peer;
}

static void on_shut_down(uv_shutdown_t *req, int status)
{
	struct peer *peer = req->handle->data;

	(void)status;
	free(req);
	peer_close(peer);
}

void shunt_ctl_stream_end(struct shunt_ctl_stream *stream, json_t *last)
{
	uv_shutdown_t *req;
	struct peer *peer;

	if (stream->peer && last)
		peer_write(stream->peer, shunt_ctl_answer_ok(last));
	json_decref(last);
	peer = stream->peer;
	free(stream);
	if (!peer)
		return;
	peer->stream = NULL;
	/* Whoever does not read the end either is closed when the time for an answer is over. */
	peer->writing = true;
	uv_timer_start(&peer->timer, on_idle, peer->server->idle_ms, 0);
	req = malloc(sizeof(*req));
	if (!req || uv_shutdown(req, (uv_stream_t *)&peer->pipe, on_shut_down) < 0) {
		free(req);
		peer_close(peer);
	}
}
