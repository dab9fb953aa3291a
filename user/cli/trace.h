/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_CLI_TRACE_H
#define SHUNT_CLI_TRACE_H

#include "cli/cli.h"

/* A traced packet, as docs/control-protocol.md has it, for people. */
void trace_print_line(const struct cli *cli, const json_t *packet);   /* one line */
void trace_print_stages(const struct cli *cli, const json_t *packet); /* a line a stage */

#endif
