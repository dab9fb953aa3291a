// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* tc on gates: ingress splits, egress restores. */
#include "hook.h"
#include "ingress.h"
#include "egress.h"

SEC("tc")
int shunt_tc_ingress(struct __sk_buff *ctx)
{
	return ingress(ctx);
}

SEC("tc")
int shunt_tc_egress(struct __sk_buff *ctx)
{
	return egress(ctx);
}

char _license[] SEC("license") = "Dual BSD/GPL";
