/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_TRACE_FILTER_H
#define SHUNT_DATAPATH_TRACE_FILTER_H

#include "base/err.h"
#include "datapath/datapath.h"
#include "shunt/trace.h"

#define SHUNT_TRACE_MAX_FILTER 1000 /* bytes of text */

/* A filter as it was written: what has names is not looked up yet. */
struct shunt_trace_query {
	uint32_t conditions; /* enum shunt_trace_conditions */
	struct shunt_trace_tuple_filter tuple;
	enum shunt_reason reason;
	char gate[16];
	char namespace_[SHUNT_NAME_LEN]; /* "": any */
	char service[SHUNT_NAME_LEN];
	uint16_t port; /* of the service; 0: all */
	uint8_t proto; /* of that port; 0: either */
};

/**
 * shunt_trace_query_parse - read a filter
 * @text: words, all of which must hold; "" is everything:
 *	  tcp, udp, ip, ip6, host NET, src NET, dst NET, port N, src port N, dst port N,
 *	  service [NAMESPACE/]NAME[:PORT[/tcp|/udp]], reason NAME, gate DEV, new; "and" may stand
 *between
 * @err:  which word at which position, and what was expected there
 *
 * Pure: interfaces and services need not exist. Return: 0 or -EINVAL.
 */
int shunt_trace_query_parse(const char *text, struct shunt_trace_query *ret_query,
			    struct shunt_err *err);

/**
 * shunt_trace_query_resolve - look up what has a name
 * @ret_filter: written on 0 only; rate and until_ns are 0
 *
 * Return: 0; -ENOENT: no such interface or service, @err names it; -E2BIG: the service has more
 * than SHUNT_TRACE_SERVICES ports; -errno.
 */
int shunt_trace_query_resolve(const struct shunt_trace_query *query,
			      const struct shunt_dp_maps *maps,
			      struct shunt_trace_filter *ret_filter, struct shunt_err *err);

#endif
