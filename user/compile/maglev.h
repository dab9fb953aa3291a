/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_COMPILE_MAGLEV_H
#define SHUNT_COMPILE_MAGLEV_H

#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

/*
 * Maglev hashing (Eisenbud et al., NSDI 2016, section 3.4): every backend has a permutation
 * of the table's slots of its own, and the backends take turns in claiming their next free
 * slot. Weighted: a backend takes turns in proportion to its weight.
 */
struct shunt_maglev_backend {
	struct shunt_ip ip;
	uint16_t port;	 /* host order */
	uint32_t weight; /* 1.. */
};

/**
 * shunt_maglev_size - slots of a table for @n backends
 *
 * A prime (so that each skip walks through all slots) of at least 100 a backend while
 * SHUNT_MAX_RING lasts: a backend's share is then within 1 % of what is due. One backend
 * needs no table: 1.
 *
 * Return: 0 for 0 backends, else 1 or a prime 251..SHUNT_MAX_RING.
 */
uint32_t shunt_maglev_size(size_t n);

/**
 * shunt_maglev_fill - fill a table
 * @backends: 1..SHUNT_MAX_RING; borrowed. The table depends on their order, which must
 *	      therefore be one that everybody derives from addresses and ports
 * @entry:    shunt_maglev_size(@n) indices into @backends; written on 0 only
 *
 * Addresses, ports and weights decide, nothing else.
 *
 * Return: 0, -E2BIG for more backends than slots, or -ENOMEM.
 */
int shunt_maglev_fill(const struct shunt_maglev_backend *backends, size_t n, uint16_t *entry);

#endif
