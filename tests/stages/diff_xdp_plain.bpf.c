// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* bpf/xdp.bpf.c with the clocks scripted, to be compared with its build for user space. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "script.h"
#include "../../bpf/xdp.bpf.c"
