/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_CTL_SERVER_H
#define SHUNT_CTL_SERVER_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "base/err.h"
#include "ctl/ctl.h"

/*
 * The agent's end of the control socket, on a libuv loop. Everything here runs in the loop's
 * thread. The server knows lines, limits and peers; what a command means is the handler's.
 */
#define SHUNT_CTL_MAX_PEERS 64
#define SHUNT_CTL_IDLE_MS   30000     /* for a request to arrive, and for an answer to be read */
#define SHUNT_CTL_MAX_LAG   (1 << 20) /* unread bytes after which a follower is closed */

struct shunt_ctl_server;
struct shunt_ctl_reply;

/* Who asks, by SO_PEERCRED. */
struct shunt_ctl_peer {
	uid_t uid;
	gid_t gid;
	pid_t pid;
};

/**
 * shunt_ctl_handler - carries out one request
 * @ctx:     of shunt_ctl_server_start()
 * @peer:    borrowed, for the call only
 * @command: name, not checked against anything; borrowed, for the call only
 * @args:    an object, empty if the peer sent none; borrowed, for the call only
 * @reply:   owned: finished exactly once by one of shunt_ctl_reply_*(), now or later from
 *           the same loop. The peer's next request waits for that.
 */
typedef void (*shunt_ctl_handler)(void *ctx, const struct shunt_ctl_peer *peer, const char *command,
				  json_t *args, struct shunt_ctl_reply *reply);

struct shunt_ctl_server_opts {
	const uid_t *allowed; /* besides root and the agent's own uid; borrowed for the call */
	size_t n_allowed;
	unsigned idle_ms; /* 0: SHUNT_CTL_IDLE_MS */
};

/**
 * shunt_ctl_server_start - listen on @path
 * @loop: borrowed for the server's life
 * @path: of the socket; its directory is made (0700) if missing, the socket is 0600
 * @opts: NULL: defaults
 * @ret_server: written on 0 only; ended with shunt_ctl_server_stop()
 *
 * The socket of a dead agent is replaced, a live one never.
 *
 * Return: 0; -EADDRINUSE: another agent answers on @path, or something that is no socket is
 *   there; -ENAMETOOLONG; -EACCES and the like, with @err.
 */
int shunt_ctl_server_start(uv_loop_t *loop, const char *path, shunt_ctl_handler handler, void *ctx,
			   const struct shunt_ctl_server_opts *opts,
			   struct shunt_ctl_server **ret_server, struct shunt_err *err);

/**
 * shunt_ctl_server_stop - close the listener and every peer, remove the socket
 * @server: NULL is fine; freed when the loop has run its close callbacks
 *
 * Answers that are on their way to peers that read are still delivered if the kernel takes
 * them at once. Replies that are still open stay valid and do nothing when they are finished.
 */
void shunt_ctl_server_stop(struct shunt_ctl_server *server);

/* Sends @event (stolen) to every peer that follows. */
void shunt_ctl_server_publish(struct shunt_ctl_server *server, json_t *event);

/* ---- finishing a request; each takes @reply away from the caller ---------------------------- */

/* Answers with @result (stolen; NULL: out of memory, answered as INTERNAL). */
void shunt_ctl_reply_ok(struct shunt_ctl_reply *reply, json_t *result);

/* Answers with a code and one clear sentence. */
void shunt_ctl_reply_fail(struct shunt_ctl_reply *reply, enum shunt_ctl_code code, const char *fmt,
			  ...) __attribute__((format(printf, 3, 4)));

/* Sends each of @past (an array; stolen) as an answer of its own; then the peer follows. */
void shunt_ctl_reply_follow(struct shunt_ctl_reply *reply, json_t *past);

/* ---- streams: answers to one peer until either side has enough ---------------------------------
 */

struct shunt_ctl_stream;

/**
 * shunt_ctl_reply_stream - answer with any number of lines
 * @over: called at most once, when the peer wants no more: it has closed its side, or is gone.
 *	  Maybe from within a call that sends, so it only notes that
 *
 * Return: the stream, ended by shunt_ctl_stream_end() in any case; NULL: the peer has left
 * already, or memory is out: @over is not called.
 */
struct shunt_ctl_stream *shunt_ctl_reply_stream(struct shunt_ctl_reply *reply,
						void (*over)(void *ctx), void *ctx);

/**
 * shunt_ctl_stream_send - one more answer
 * @result: stolen
 *
 * Return: true if it is on its way; false if the peer is gone, or has SHUNT_CTL_MAX_LAG to read.
 */
bool shunt_ctl_stream_send(struct shunt_ctl_stream *stream, json_t *result);

/* Is there so much to read for the peer that nothing more is sent? */
bool shunt_ctl_stream_lags(const struct shunt_ctl_stream *stream);

/*
 * Sends @last (stolen) however much there is to read, closes the connection behind it, and frees
 * the stream. @over is not called any more.
 */
void shunt_ctl_stream_end(struct shunt_ctl_stream *stream, json_t *last);

#endif
