/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_OPTIONS_H
#define SHUNT_AGENT_OPTIONS_H

#include <stdio.h>
#include <sys/types.h>

#include "agent/gates.h"
#include "base/err.h"
#include "base/log.h"
#include "datapath/datapath.h"
#include "dialect/options.h"

/* Everything that the command line says, with the defaults filled in. */
struct agent_options {
	const char *source_dir; /* borrows from argv; required */
	const char *socket_path;
	struct shunt_dp_opts dp;
	struct shunt_dialect_options dialect;
	struct agent_gate_pattern *gates; /* owned */
	size_t n_gates;
	struct shunt_addr nat_source[SHUNT_N_FAMILIES];
	bool has_nat_source[SHUNT_N_FAMILIES];
	uid_t *allowed_uids; /* owned */
	size_t n_allowed_uids;
	struct shunt_ip metrics_ip;
	uint16_t metrics_port;	 /* host order; 0: no HTTP */
	unsigned metrics_compat; /* enum shunt_compat_series */
	uint32_t max_step_bp;
	uint32_t debounce_ms;
	uint32_t resync_ms;
	int log_level; /* enum shunt_log_level */
};

enum agent_options_action {
	AGENT_RUN,
	AGENT_SHOW_HELP,
	AGENT_SHOW_MAN,
	AGENT_SHOW_VERSION,
};

/**
 * agent_options_parse - read the command line
 * @ret_options: freed with agent_options_free(), also after a failure
 *
 * Prints nothing. Return: enum agent_options_action, or -EINVAL with a sentence in @err,
 * or -ENOMEM.
 */
int agent_options_parse(int argc, char **argv, struct agent_options *ret_options,
			struct shunt_err *err);
void agent_options_free(struct agent_options *options);

/* `--help` and the man page (roff), both from the table that parses. */
void agent_options_help(FILE *out);
void agent_options_man(FILE *out);

#endif
