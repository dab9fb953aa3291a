/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bpf/xdp.bpf.c, for kernels before 5.18, as an ordinary program with a name of its own. */
#pragma GCC visibility push(hidden)
#define shunt_xdp_ingress shunt_xdp_plain_ingress
#include "../../bpf/xdp.bpf.c"
#pragma GCC visibility pop
