// SPDX-License-Identifier: Apache-2.0
#include "conversation.h"

TestSuite(handshake, .timeout = 60);

LAB_EACH(handshake, only_the_clients_acknowledgement_of_the_backends_sequence_establishes,
	 LAB_ONLY_TCP)
{
	struct conversation c = begin(lab);

	(void)k;
	/* Before the backend has answered no acknowledgement counts. */
	from_client(lab, &c, TH_ACK_, 1001, 5001);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_SYN);
	from_backend(lab, &c, TH_ACK_, 5000, 1001); /* a backend's ACK without SYN neither */
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_SYN);
	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1001);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_SYN_ACK);

	from_client(lab, &c, TH_SYN_, 1000, 0); /* a retransmitted SYN */
	from_client(lab, &c, 0, 1001, 5001);
	from_client(lab, &c, TH_SYN_ | TH_ACK_, 1000, 5001);
	from_client(lab, &c, TH_ACK_, 1001, 5000); /* guessed too low */
	from_client(lab, &c, TH_ACK_, 1001, 5001 - 0x70000000);
	from_client(lab, &c, TH_ACK_, 1001, 5001 + 65536); /* more than the SYN allowed */
	from_client(lab, &c, TH_ACK_, 1001, 5001 + 0x70000000);
	from_backend(lab, &c, TH_ACK_, 5001, 1001);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_SYN_ACK);

	from_client(lab, &c, TH_ACK_, 1001, 5001);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_ESTABLISHED);
	CHECK_EQ(lab_active(lab, 1), 1);
}

LAB_EACH(handshake, the_acknowledged_sequence_may_wrap, LAB_ONLY_TCP)
{
	struct conversation c = begin(lab);

	(void)k;
	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 0xffffffff, 1001);
	from_client(lab, &c, TH_ACK_, 1001, 0xffffffff);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_SYN_ACK);
	from_client(lab, &c, TH_ACK_, 1001, 0);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_ESTABLISHED);
}

LAB_EACH(handshake, the_first_acknowledgement_may_cover_a_whole_window, LAB_ONLY_TCP)
{
	struct conversation c = begin(lab);

	(void)k;
	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1001);
	from_client(lab, &c, TH_ACK_, 1001, 5001 + 65535);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_ESTABLISHED);
}

/* A SYN cookie that is made again later has another number. */
LAB_EACH(handshake, the_last_syn_ack_is_the_one_to_acknowledge, LAB_ONLY_TCP)
{
	struct conversation c = begin(lab);

	(void)k;
	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1001);
	from_client(lab, &c, TH_SYN_, 1000, 0);
	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 0x90000000, 1001);
	from_client(lab, &c, TH_ACK_, 1001, 5001);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_SYN_ACK);
	from_client(lab, &c, TH_ACK_, 1001, 0x90000001);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_ESTABLISHED);
}

LAB_EACH(handshake, a_connection_on_the_ports_of_one_that_died_silently_is_tracked, LAB_ONLY_TCP)
{
	struct conversation c = begin(lab);

	(void)k;
	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1001);
	from_client(lab, &c, TH_ACK_, 1001, 5001);
	from_backend(lab, &c, TH_FIN_ | TH_ACK_, 5001, 1001);
	from_client(lab, &c, TH_SYN_, 70000, 0);
	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1001); /* a late one of the old */
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_FIN_SEEN);
	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 90000, 70001);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_SYN_ACK);
	from_client(lab, &c, TH_ACK_, 70001, 90001);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_ESTABLISHED);
	CHECK_EQ(lab_active(lab, 1), 1);
}
