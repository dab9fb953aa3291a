// SPDX-License-Identifier: Apache-2.0
/* Interfaces that take frames from XDP: as the kernel tells it. */
#include <criterion/criterion.h>

#include "datapath/xmit.h"
#include "dp_lab.h"

Test(xmit, a_veth_takes_frames_when_its_other_end_has_gro)
{
	struct shunt_xmit xmit;
	struct dp_lab lab;

	dp_lab_enter(&lab);
	dp_lab_veth("plain0", "plain1");
	dp_lab_veth("gro0", "gro1");
	dp_lab_run("ethtool -K gro1 gro on");
	cr_assert_eq(shunt_xmit_read(&xmit), 0);
	if (!xmit.is_known) {
		shunt_xmit_free(&xmit);
		return; /* before 6.3 */
	}
	cr_expect(shunt_xmit_has(&xmit, dp_lab_ifindex("gro0"), false, false));
	cr_expect_not(shunt_xmit_has(&xmit, dp_lab_ifindex("plain0"), false, true));
	shunt_xmit_free(&xmit);
}

Test(xmit, where_the_kernel_does_not_tell_cards_with_a_program_do)
{
	struct shunt_xmit xmit = { 0 };

	cr_expect(shunt_xmit_has(&xmit, 1, true, true));
	cr_expect_not(shunt_xmit_has(&xmit, 1, true, false));
	cr_expect_not(shunt_xmit_has(&xmit, 1, false, true));
}

Test(xmit, messages_that_are_cut_short_say_nothing)
{
	_Alignas(4) uint8_t bytes[40] = {
		40, 0, 0, 0, 30, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* nlmsghdr */
		1,  1, 0, 0,					  /* genlmsghdr */
		8,  0, 1, 0, 7,	 0, 0, 0,			  /* ifindex */
		12, 0, 3, 0, 4,	 0, 0, 0, 0, 0, 0, 0,		  /* features */
	};
	struct shunt_xmit xmit = { .is_known = true };

	cr_assert_eq(shunt_xmit_parse((const void *)bytes, &xmit), 0);
	cr_expect(xmit.n == 1 && xmit.ifindexes[0] == 7);
	for (uint8_t len = 16; len < 40; len++) {
		bytes[0] = len;
		cr_assert_eq(shunt_xmit_parse((const void *)bytes, &xmit), 0);
		cr_expect_eq(xmit.n, 1, "%u bytes", len);
	}
	bytes[0] = 40;
	bytes[32] = 3; /* other features */
	cr_assert_eq(shunt_xmit_parse((const void *)bytes, &xmit), 0);
	cr_expect_eq(xmit.n, 1);
	shunt_xmit_free(&xmit);
}
