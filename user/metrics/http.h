/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_METRICS_HTTP_H
#define SHUNT_METRICS_HTTP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/ip.h"

/*
 * The small HTTP server for Prometheus and for probes, on the agent's loop: no thread, so
 * that answers come from the loop itself and prove that it runs. GET and HEAD only.
 */
#define SHUNT_HTTP_MAX_CONNECTIONS 64
#define SHUNT_HTTP_MAX_PER_CLIENT  16
#define SHUNT_HTTP_TIMEOUT_S	   10

struct shunt_http_server;

struct shunt_http_ops {
	/* The body of /metrics, freed with free(). Return: 0 or -errno. */
	int (*metrics)(void *ctx, char **ret_text, size_t *ret_len);
	/* Why not healthy or ready, in one sentence; @why is 512 bytes. Return: is it? */
	bool (*healthy)(void *ctx, char *why);
	bool (*ready)(void *ctx, char *why);
	void *ctx;
	unsigned timeout_s; /* of a connection on which nothing moves; 0: SHUNT_HTTP_TIMEOUT_S */
};

/**
 * shunt_http_start - serve /metrics, /healthz, /readyz and a page that links them
 * @loop: borrowed for the server's life
 * @ip, @port: where to listen; @port in host order
 * @ops:  copied; called from the loop
 * @ret_http: written on 0 only; ended with shunt_http_stop()
 *
 * Return: 0; -EADDRINUSE, -EACCES and the like with @err.
 */
int shunt_http_start(uv_loop_t *loop, const struct shunt_ip *ip, uint16_t port,
		     const struct shunt_http_ops *ops, struct shunt_http_server **ret_http,
		     struct shunt_err *err);

/* Closes all; freed when the loop has run its close callbacks. NULL is fine. */
void shunt_http_stop(struct shunt_http_server *http);

#endif
