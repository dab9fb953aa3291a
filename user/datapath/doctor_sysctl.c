// SPDX-License-Identifier: Apache-2.0
#include "datapath/doctor_internal.h"

/*
 * Settings of the host that meet with what the gates do. Those about bridges matter only
 * where a gate is a port of one.
 */

/* Frames that cross a bridge past netfilter: it would see one half of a flow only. */
static void check_bridge(struct doctor *doctor)
{
	long value = 0;

	if (!doctor->has_bridge_port)
		return;
	doctor_read_number("/proc/sys/net/bridge/bridge-nf-call-iptables", &value);
	doctor_add(
		doctor, value ? SHUNT_CHECK_OK : SHUNT_CHECK_WARN, "bridge netfilter",
		"where netfilter drops INVALID, answers between pods of one bridge die: modprobe "
		"br_netfilter; sysctl -w net.bridge.bridge-nf-call-iptables=1",
		"%s",
		value ? "bridged frames pass netfilter"
		      : "bridged frames pass by netfilter (bridge-nf-call-iptables=0)");
}

static void check_redirects(struct doctor *doctor)
{
	long value;

	if (!doctor->has_bridge_port ||
	    doctor_read_number("/proc/sys/net/ipv4/conf/all/send_redirects", &value) < 0)
		return;
	doctor_add(doctor, value ? SHUNT_CHECK_WARN : SHUNT_CHECK_OK, "redirects",
		   "harmless but noisy between pods of one bridge: sysctl -w "
		   "net.ipv4.conf.all.send_redirects=0",
		   "net.ipv4.conf.all.send_redirects=%ld", value);
}

static void check_rp_filter(struct doctor *doctor)
{
	long value;

	if (doctor_read_number("/proc/sys/net/ipv4/conf/all/rp_filter", &value) < 0)
		return;
	doctor_add(doctor, value == 1 ? SHUNT_CHECK_WARN : SHUNT_CHECK_OK, "rp_filter",
		   "packets of clients that are reached through another interface are dropped: "
		   "sysctl -w net.ipv4.conf.all.rp_filter=2 where that happens",
		   "net.ipv4.conf.all.rp_filter=%ld%s", value, value == 1 ? " (strict)" : "");
}

static void check_forwarding(struct doctor *doctor)
{
	long value;

	if (doctor_read_number("/proc/sys/net/ipv4/ip_forward", &value) < 0)
		return;
	doctor_add(doctor, value ? SHUNT_CHECK_OK : SHUNT_CHECK_WARN, "forwarding",
		   "translated packets reach no other host or pod: sysctl -w net.ipv4.ip_forward=1",
		   "net.ipv4.ip_forward=%ld", value);
}

void doctor_check_sysctl(struct doctor *doctor)
{
	check_forwarding(doctor);
	check_rp_filter(doctor);
	check_bridge(doctor);
	check_redirects(doctor);
}
