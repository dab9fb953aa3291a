// SPDX-License-Identifier: Apache-2.0
/* Floods of many times the table, and who must not notice. */
#include "lab.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "datapath/flowmem.h"

TestSuite(attack, .timeout = 60);

#define TABLE (LAB_SETS * SHUNT_FLOW_WAYS)
#define HELD  (TABLE / 4)

static struct lab_packet held_packet(struct lab *lab, uint32_t n)
{
	return lab_from_client(lab, 10000 + n, 4000, 1);
}

/* A connection with its answer and, @late packets of the flood afterwards, its last packet. */
static int begins(struct lab *lab, uint32_t client, uint32_t *flood, uint32_t late)
{
	struct lab_packet packet = lab_from_client(lab, client, 4000, 1), next;
	struct lab_result there = lab_ingress(lab, &packet), back;

	if (there.reason != SHUNT_R_FORWARDED)
		return 0;
	next = lab_answer(&there.packet);
	if (lab_egress(lab, &next).reason != SHUNT_R_RESTORED)
		return 0;
	for (uint32_t i = 0; i < late; i++) {
		next = lab_from_client(lab, (*flood)++, 4000, 1);
		lab_ingress(lab, &next);
	}
	next = lab_flags(packet, TH_ACK_ | TH_PSH_, 1001, 5001);
	there = lab_ingress(lab, &next);
	next = lab_flags(lab_answer(&there.packet), TH_ACK_, 5001, 1001);
	back = lab_egress(lab, &next);
	return back.reason == SHUNT_R_RESTORED && lab_state(lab, &packet) == SHUNT_F_ESTABLISHED;
}

LAB_EACH(attack, a_flood_of_syns_of_ten_tables_ends_no_connection_and_hinders_no_new_one,
	 LAB_ONLY_TCP)
{
	uint32_t flood = 100000, begun = 0, tried = 0, held = 0;

	(void)k;
	lab_scene(lab, 1, 1);
	lab_service_flags(lab, 1, SHUNT_SVC_OWNED);
	for (uint32_t n = 0; n < HELD; n++) {
		struct lab_packet packet = held_packet(lab, n);

		lab_connect(lab, &packet);
	}
	while (flood < 100000 + 10 * TABLE) {
		/* 100 at once: the half-open ways are a fifth of them. */
		begun += begins(lab, 50000 + tried++, &flood, 100);
	}
	for (uint32_t n = 0; n < HELD; n++) {
		struct lab_packet packet = held_packet(lab, n);

		held += lab_state(lab, &packet) == SHUNT_F_ESTABLISHED;
	}
	CHECK_EQ(held, HELD);
	CHECK(begun * 100 >= tried * 99);
}

LAB_EACH(attack, a_port_scan_of_a_backend_displaces_nothing, LAB_ONLY_TCP)
{
	uint32_t held = 0;

	lab_scene(lab, 1, 1);
	for (uint32_t n = 0; n < HELD; n++) {
		struct lab_packet packet = held_packet(lab, n);

		lab_connect(lab, &packet);
	}
	for (uint32_t n = 0; n < 10 * TABLE; n++) {
		struct lab_packet packet = lab_from_client(lab, 1, (uint16_t)(1 + n), 1);

		packet.dst = lab_backend_addr(k->family, 1);
		packet.dport = LAB_BACKEND_PORT;
		lab_ingress(lab, &packet);
	}
	for (uint32_t n = 0; n < HELD; n++) {
		struct lab_packet packet = held_packet(lab, n);

		held += lab_state(lab, &packet) == SHUNT_F_ESTABLISHED;
	}
	CHECK_EQ(held, HELD);
}

Test(attack, nobody_without_privileges_opens_the_map_of_the_secret)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	struct lab lab;
	int status;
	pid_t pid;

	lab_open(&lab, LAB_SETS);
	cr_assert_eq(bpf_obj_get_info_by_fd(lab.maps.settings.fd, &info, &len), 0);
	pid = fork();
	if (!pid) {
		if (setgid(65534) || setuid(65534))
			_exit(2);
		_exit(bpf_map_get_fd_by_id(info.id) >= 0 || errno != EPERM);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect(WIFEXITED(status) && !WEXITSTATUS(status));
	lab_close(&lab);
}
