// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* xdp_frags.bpf.c with tracing compiled in: attached while `shunt trace` runs. */
#define SHUNT_TRACE
#include "xdp_frags.bpf.c"
