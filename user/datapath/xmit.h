/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_XMIT_H
#define SHUNT_DATAPATH_XMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Which interfaces take frames that XDP redirects to them? What does not drops them. A veth takes
 * them if its other end has an XDP program or GRO; other drivers often need a program of
 * their own.
 */
struct shunt_xmit {
	uint32_t *ifindexes; /* owned */
	size_t n;
	bool is_known; /* the kernel tells, from 6.3 on */
};

/* Asks the kernel. The caller frees with shunt_xmit_free(). Return: 0 or -errno. */
int shunt_xmit_read(struct shunt_xmit *ret_xmit);
void shunt_xmit_free(struct shunt_xmit *xmit);

/* Takes one message of the dump apart, adding to @xmit; public for the tests. */
struct nlmsghdr;
int shunt_xmit_parse(const struct nlmsghdr *hdr, struct shunt_xmit *xmit);

/*
 * Does the interface? @is_hardware, @has_xdp: where the kernel does not tell, only a card that
 * has an XDP program is taken for one that does.
 */
bool shunt_xmit_has(const struct shunt_xmit *xmit, uint32_t ifindex, bool is_hardware,
		    bool has_xdp);

#endif
