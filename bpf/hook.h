/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_HOOK_H
#define SHUNT_BPF_HOOK_H

/* The stages are written once; a program says by SHUNT_HOOK_XDP which hook it is for. */
#ifdef SHUNT_HOOK_XDP
#include "hook_xdp.h"
#else
#include "hook_tc.h"
#endif

#endif
