// SPDX-License-Identifier: Apache-2.0
#include "agent/probe.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"

#define REQUEST_LEN 1024
#define STATUS_LEN  12 /* "HTTP/1.1 200" */

struct agent_probe {
	uv_tcp_t tcp;
	uv_connect_t connect;
	uv_write_t write;
	agent_probe_fn done;
	void *ctx;
	uint64_t since_ns;
	char request[REQUEST_LEN];
	char answer[64];
	size_t n_answer;
};

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void finish(struct agent_probe *probe, unsigned class)
{
	uint64_t us = (uv_hrtime() - probe->since_ns) / 1000;

	if (uv_is_closing((uv_handle_t *)&probe->tcp))
		return;
	uv_close((uv_handle_t *)&probe->tcp, on_closed);
	probe->done(probe->ctx, class, us < UINT32_MAX ? us : UINT32_MAX);
}

/* "HTTP/1.x NNN": the class of NNN, or 0. */
static unsigned class_of(const char *answer)
{
	const char *code = answer + strlen("HTTP/1.1 ");

	if (memcmp(answer, "HTTP/1.", 7) || answer[8] != ' ')
		return 0;
	for (int i = 0; i < 3; i++)
		if (code[i] < '0' || code[i] > '9')
			return 0;
	return code[0] >= '1' && code[0] <= '5' ? (unsigned)(code[0] - '0') : 0;
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct agent_probe *probe = handle->data;

	(void)suggested;
	*buf = uv_buf_init(probe->answer + probe->n_answer,
			   (unsigned)(sizeof(probe->answer) - probe->n_answer));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct agent_probe *probe = stream->data;

	(void)buf;
	if (n > 0)
		probe->n_answer += (size_t)n;
	if (probe->n_answer >= STATUS_LEN)
		finish(probe, class_of(probe->answer));
	else if (n < 0)
		finish(probe, 0);
}

static void on_written(uv_write_t *write, int status)
{
	if (status < 0)
		finish(write->data, 0);
}

static void on_connected(uv_connect_t *connect, int status)
{
	struct agent_probe *probe = connect->data;
	uv_stream_t *stream = (uv_stream_t *)&probe->tcp;
	uv_buf_t buf = uv_buf_init(probe->request, (unsigned)strlen(probe->request));

	/* Cancelled ones come here, too. */
	if (status == UV_ECANCELED)
		return;
	probe->write.data = probe;
	if (status < 0 || uv_write(&probe->write, stream, &buf, 1, on_written) < 0 ||
	    uv_read_start(stream, give_room, on_read) < 0)
		finish(probe, 0);
}

static int connect_to(struct agent_probe *probe, const struct shunt_ip *ip, uint16_t port)
{
	char text[SHUNT_IP_STR_LEN];
	struct sockaddr_in6 six;
	struct sockaddr_in four;

	shunt_ip_str(ip, text);
	probe->connect.data = probe;
	if (ip->family == SHUNT_V4) {
		uv_ip4_addr(text, port, &four);
		return uv_tcp_connect(&probe->connect, &probe->tcp, (struct sockaddr *)&four,
				      on_connected);
	}
	uv_ip6_addr(text, port, &six);
	return uv_tcp_connect(&probe->connect, &probe->tcp, (struct sockaddr *)&six, on_connected);
}

struct agent_probe *agent_probe_send(uv_loop_t *loop, const struct shunt_ip *ip, uint16_t port,
				     const char *host, const char *path, agent_probe_fn done,
				     void *ctx)
{
	struct agent_probe *probe = calloc(1, sizeof(*probe));

	if (!probe)
		return NULL;
	probe->done = done;
	probe->ctx = ctx;
	probe->since_ns = uv_hrtime();
	snprintf(probe->request, sizeof(probe->request),
		 "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: shunt-probe/%s\r\nShunt-Probe: 1\r\n"
		 "Accept: */*\r\nConnection: close\r\n\r\n",
		 path, host, SHUNT_VERSION);
	if (uv_tcp_init(loop, &probe->tcp) < 0) {
		free(probe);
		return NULL;
	}
	probe->tcp.data = probe;
	if (!connect_to(probe, ip, port))
		return probe;
	uv_close((uv_handle_t *)&probe->tcp, on_closed);
	return NULL;
}

uint64_t agent_probe_since(const struct agent_probe *probe)
{
	return probe->since_ns;
}

void agent_probe_hand_over(struct agent_probe *probe, void *ctx)
{
	probe->ctx = ctx;
}

void agent_probe_expire(struct agent_probe *probe)
{
	finish(probe, 0);
}

void agent_probe_cancel(struct agent_probe *probe)
{
	if (!uv_is_closing((uv_handle_t *)&probe->tcp))
		uv_close((uv_handle_t *)&probe->tcp, on_closed);
}
