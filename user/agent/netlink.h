/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_NETLINK_H
#define SHUNT_AGENT_NETLINK_H

#include <stddef.h>
#include <stdint.h>

#include "agent/gates.h"
#include "base/ip.h"

/*
 * The host's interfaces and addresses. The socket is only an alarm: what is there is read
 * anew with agent_links() and agent_addresses(), so that a lost message loses nothing.
 */

/* Return: a non-blocking descriptor that hears of interfaces and addresses, or -errno. */
int agent_netlink_open(void);

struct agent_netlink_news {
	uint32_t *deleted; /* interfaces; owned by the caller, freed with free() */
	size_t n_deleted;
	bool any; /* something changed, or messages were lost */
};

/* Reads all that waits on @fd. Return: 0 or -errno. */
int agent_netlink_read(int fd, struct agent_netlink_news *ret_news);

/* Takes one datagram apart, adding to @news; public for the tests. Return: 0 or -ENOMEM. */
int agent_netlink_parse(const void *buf, size_t len, struct agent_netlink_news *news);

struct nlmsghdr;
typedef int (*agent_message_fn)(const struct nlmsghdr *hdr, void *arg);

/* links.c: calls @fn for each object of a dump such as RTM_GETADDR. Return: 0 or -errno. */
int agent_netlink_dump(uint16_t type, agent_message_fn fn, void *arg);

/* links.c: all interfaces. The caller frees *ret_links with free(). Return: 0 or -errno. */
int agent_links(struct agent_link **ret_links, size_t *ret_n);

/* An address that may be a connection's source: of global scope, not deprecated, its own. */
struct agent_source {
	uint32_t ifindex;
	struct shunt_ip ip;
};

/* links.c: all of them, in the kernel's order. The caller frees with free(). */
int agent_sources(struct agent_source **ret_sources, size_t *ret_n);

/*
 * The addresses of this host, sorted, each once, but for IPv6 link-local ones and what IPVS keeps
 * for Services. The caller frees with free(). Return: 0 or -errno.
 */
int agent_addresses(struct shunt_ip **ret_addrs, size_t *ret_n);

#endif
