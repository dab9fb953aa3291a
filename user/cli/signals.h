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

/* "0.73 ms", "21 ms", "3.2 s". @buf: SHUNT_UNIT_STR_LEN. Return: @buf. */
const char *cli_ms_str(double ms, char *buf);

#endif
