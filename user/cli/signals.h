/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_CLI_SIGNALS_H
#define SHUNT_CLI_SIGNALS_H

#include <jansson.h>

#include "base/units.h"
#include "metrics/signals.h"

/**
 * cli_signals_read - a variant's golden signals from an answer to `status`
 * @http: its member "http", with "times"; anything else: nothing was counted
 *
 * What is malformed counts as 0: an agent does not send it.
 */
struct shunt_golden cli_signals_read(const json_t *http);

/*
 * The same of its connections, from its member "tcp": each is a request, whose answer is a good one
 * (2xx) if it is established, an error (5xx) if it is refused or not answered; times from SYN to
 * SYN-ACK.
 */
struct shunt_golden cli_connections_read(const json_t *tcp);

/* "0.73 ms", "21 ms", "3.2 s". @buf: SHUNT_UNIT_STR_LEN. Return: @buf. */
const char *cli_ms_str(double ms, char *buf);

#endif
