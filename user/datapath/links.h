/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_LINKS_H
#define SHUNT_DATAPATH_LINKS_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shunt/abi.h"

/* An interface of this network namespace, as the kernel tells it by netlink. */
struct shunt_link {
	uint32_t ifindex;
	char ifname[IF_NAMESIZE];
	char kind[16]; /* "bridge", "vlan", "macvlan", ...; "" for hardware */
	bool has_mac;
	uint8_t mac[6];
	uint32_t master;   /* index of its bridge, bond or VRF; 0: none */
	uint32_t lower;	   /* index of what it stands on, in this namespace; 0: nothing */
	bool is_elsewhere; /* its other end, or what it stands on, is in another namespace */
	uint32_t promiscuity;
};

/**
 * shunt_links_read - all interfaces of this network namespace
 * @ret_links: freed with free(); written on 0 only
 *
 * Return: 0 or -errno.
 */
int shunt_links_read(struct shunt_link **ret_links, size_t *ret_n);

/* MACs that frames to this host may carry where they come in. */
struct shunt_macs {
	uint8_t items[SHUNT_MAX_GATE_MACS][6];
	size_t n; /* 0: not known, as behind Open vSwitch, or more than that */
};

/*
 * The MACs of @link, one of @links: its own, those of the bridge or bond that it belongs to, and
 * of that one's, and those of the VLANs and macvlans on any of these.
 */
struct shunt_macs shunt_links_macs(const struct shunt_link *links, size_t n,
				   const struct shunt_link *link);

/* Takes one RTM_NEWLINK message apart; public for the tests. Return: false: not one. */
struct nlmsghdr;
bool shunt_link_parse(const struct nlmsghdr *hdr, struct shunt_link *ret_link);

/* Return: the interface of this index, borrowed, or NULL. */
const struct shunt_link *shunt_links_find(const struct shunt_link *links, size_t n,
					  uint32_t ifindex);

#endif
