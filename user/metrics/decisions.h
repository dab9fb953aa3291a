/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_METRICS_DECISIONS_H
#define SHUNT_METRICS_DECISIONS_H

#include <stdio.h>

#include "metrics/text.h"

/* Writes the series about what the kernel decides by itself: breakers, and what it told of. */
void shunt_decisions_write(const struct shunt_metrics *metrics, FILE *out);

#endif
