/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_FAKE_AGENT_H
#define TESTS_UNIT_FAKE_AGENT_H

#include "ctl/server.h"

/* The real control server with a handler of the test's own, on a loop in a thread. */
struct fake_agent;

/* Starts on a socket in a new temporary directory; fails the test if it cannot. */
struct fake_agent *fake_agent_start(shunt_ctl_handler handler, void *ctx,
				    const struct shunt_ctl_server_opts *opts);
const char *fake_agent_socket(const struct fake_agent *agent);

/* Both only from the handler: they belong to the loop's thread. */
struct shunt_ctl_server *fake_agent_server(const struct fake_agent *agent);
uv_loop_t *fake_agent_loop(struct fake_agent *agent);

/* Ends thread and server, removes the directory. */
void fake_agent_stop(struct fake_agent *agent);

#endif
