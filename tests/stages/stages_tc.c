/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bpf/tc.bpf.c as an ordinary program. Only the programs are visible to the linker. */
#pragma GCC visibility push(hidden)
#include "../../bpf/tc.bpf.c"
#pragma GCC visibility pop
