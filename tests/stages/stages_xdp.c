/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bpf/xdp_frags.bpf.c as an ordinary program. Only the program is visible to the linker. */
#pragma GCC visibility push(hidden)
#include "../../bpf/xdp_frags.bpf.c"
#pragma GCC visibility pop
