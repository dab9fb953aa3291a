/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_BASE_MONO_H
#define SHUNT_BASE_MONO_H

#include <stdint.h>

/* CLOCK_MONOTONIC in nanoseconds, which is what the programs' bpf_ktime_get_ns() reads. */
uint64_t shunt_mono_ns(void);

#endif
