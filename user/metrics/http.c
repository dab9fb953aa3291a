// SPDX-License-Identifier: Apache-2.0
#include "metrics/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "metrics/text.h"

struct shunt_http_server {
	struct MHD_Daemon *daemon;
	struct shunt_http_ops ops;
	uv_poll_t poll;	  /* of the daemon's epoll descriptor */
	uv_timer_t timer; /* its time-outs, and work that it has left over */
	int open_handles;
};

static const char page[] = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta "
			   "charset=\"utf-8\"><title>shuntd</title></head>"
			   "<body><h1>shuntd</h1><ul>\n"
			   "<li><a href=\"/metrics\">/metrics</a>: figures for Prometheus</li>\n"
			   "<li><a href=\"/healthz\">/healthz</a>: the agent works</li>\n"
			   "<li><a href=\"/readyz\">/readyz</a>: the configuration is in the "
			   "kernel, the gates are up</li>\n"
			   "</ul></body></html>\n";

/* ---- requests ------------------------------------------------------------------------------ */

/* Queues @response, which is given up, with a status and a type. */
static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
			      struct MHD_Response *response)
{
	enum MHD_Result r;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, "Allow", "GET, HEAD");
	r = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned status,
				   const char *text)
{
	return answer(
		connection, status, "text/plain; charset=utf-8",
		MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_MUST_COPY));
}

static enum MHD_Result answer_probe(struct MHD_Connection *connection,
				    bool (*probe)(void *, char *), void *ctx)
{
	char why[514] = "";

	if (probe(ctx, why))
		return answer_text(connection, MHD_HTTP_OK, "ok\n");
	strcat(why, "\n");
	return answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, why);
}

static enum MHD_Result answer_metrics(struct shunt_http_server *http,
				      struct MHD_Connection *connection)
{
	char *text;
	size_t len;

	if (http->ops.metrics(http->ops.ctx, &text, &len) < 0)
		return answer_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR,
				   "the maps cannot be read\n");
	return answer(connection, MHD_HTTP_OK, SHUNT_METRICS_TYPE,
		      MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE));
}

static enum MHD_Result handle(void *ctx, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_size, void **state)
{
	struct shunt_http_server *http = ctx;

	(void)version;
	(void)upload;
	(void)upload_size;
	(void)state;
	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD))
		return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET only\n");
	if (!strcmp(url, "/metrics"))
		return answer_metrics(http, connection);
	if (!strcmp(url, "/healthz"))
		return answer_probe(connection, http->ops.healthy, http->ops.ctx);
	if (!strcmp(url, "/readyz"))
		return answer_probe(connection, http->ops.ready, http->ops.ctx);
	if (!strcmp(url, "/"))
		return answer(connection, MHD_HTTP_OK, "text/html; charset=utf-8",
			      MHD_create_response_from_buffer(sizeof(page) - 1, (void *)page,
							      MHD_RESPMEM_PERSISTENT));
	return answer_text(connection, MHD_HTTP_NOT_FOUND, "no such page\n");
}

/* ---- the loop ---------------------------------------------------------------------------------
 */

static void on_timer(uv_timer_t *timer);

/* Lets the daemon work, and asks to be called again when it wants to. */
static void run(struct shunt_http_server *http)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms;

	MHD_run(http->daemon);
	if (MHD_get_timeout(http->daemon, &timeout_ms) == MHD_YES)
		uv_timer_start(&http->timer, on_timer, timeout_ms, 0);
	else
		uv_timer_stop(&http->timer);
}

static void on_timer(uv_timer_t *timer)
{
	run(timer->data);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	run(poll->data);
}

static void on_closed(uv_handle_t *handle)
{
	struct shunt_http_server *http = handle->data;

	if (!--http->open_handles)
		free(http);
}

/* Puts the daemon's epoll descriptor on the loop. */
static int join_loop(struct shunt_http_server *http, uv_loop_t *loop)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	int r;

	if (!info)
		return -EINVAL;
	uv_timer_init(loop, &http->timer);
	http->timer.data = http;
	http->open_handles = 1;
	r = uv_poll_init(loop, &http->poll, info->epoll_fd);
	if (r < 0)
		return r;
	http->poll.data = http;
	http->open_handles = 2;
	return uv_poll_start(&http->poll, UV_READABLE, on_ready);
}

static void socket_address(const struct shunt_ip *ip, uint16_t port,
			   struct sockaddr_storage *ret_addr)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_addr;
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret_addr;

	memset(ret_addr, 0, sizeof(*ret_addr));
	if (ip->family == SHUNT_V6) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		memcpy(&v6->sin6_addr, ip->addr.word_be, sizeof(v6->sin6_addr));
	} else {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		v4->sin_addr.s_addr = ip->addr.word_be[3];
	}
}

int shunt_http_start(uv_loop_t *loop, const struct shunt_ip *ip, uint16_t port,
		     const struct shunt_http_ops *ops, struct shunt_http_server **ret_http,
		     struct shunt_err *err)
{
	struct sockaddr_storage addr;
	char text[SHUNT_IP_STR_LEN];
	unsigned flags = MHD_USE_EPOLL | MHD_USE_ITC;
	struct shunt_http_server *http = calloc(1, sizeof(*http));
	int r;

	if (!http)
		return shunt_err_set(err, -ENOMEM, "out of memory");
	http->ops = *ops;
	socket_address(ip, port, &addr);
	if (ip->family == SHUNT_V6)
		flags |= MHD_USE_IPv6;

	errno = 0;
	http->daemon =
		MHD_start_daemon(flags, 0, NULL, NULL, handle, http, MHD_OPTION_SOCK_ADDR,
				 (struct sockaddr *)&addr, MHD_OPTION_CONNECTION_LIMIT,
				 SHUNT_HTTP_MAX_CONNECTIONS, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
				 SHUNT_HTTP_MAX_PER_CLIENT, MHD_OPTION_CONNECTION_TIMEOUT,
				 ops->timeout_s ? ops->timeout_s : SHUNT_HTTP_TIMEOUT_S,
				 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16384, MHD_OPTION_END);
	if (!http->daemon) {
		r = errno ? -errno : -EIO;
		free(http);
		return shunt_err_set(err, r, "cannot serve metrics on %s port %u: %s",
				     shunt_ip_str(ip, text), port, strerror(-r));
	}

	r = join_loop(http, loop);
	if (r < 0) {
		shunt_http_stop(http);
		return shunt_err_set(err, r, "cannot serve metrics: %s", strerror(-r));
	}
	*ret_http = http;
	return 0;
}

void shunt_http_stop(struct shunt_http_server *http)
{
	if (!http)
		return;
	/* The handles leave the loop's epoll before the daemon closes its own. */
	if (http->open_handles > 1)
		uv_close((uv_handle_t *)&http->poll, on_closed);
	if (http->open_handles > 0)
		uv_close((uv_handle_t *)&http->timer, on_closed);
	MHD_stop_daemon(http->daemon);
	if (!http->open_handles)
		free(http);
}
