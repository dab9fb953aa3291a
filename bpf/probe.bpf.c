// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

/* The clock of the data path, for user space: run by BPF_PROG_TEST_RUN, never attached. */
SEC("socket")
int shunt_jiffies(struct __sk_buff *skb)
{
	(void)skb;
	return bpf_jiffies64();
}

char _license[] SEC("license") = "GPL";
