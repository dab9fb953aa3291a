/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_PARSE_ANY_H
#define SHUNT_BPF_PARSE_ANY_H

#include "scratch.h"

/* rare_parse(): a frame into the scratch, of all the forms that the kernel lets us read. */
#ifdef HOOK_ANY_OFFSET
#include "rare_parse.h"
#else
static __always_inline void rare_parse(hook_ctx *ctx)
{
	struct scratch *s = scratch_get();
	__u32 family = parse_family(ctx);

	if (!s)
		return;
	__builtin_memset(&s->pkt, 0, sizeof(s->pkt));
	if (family == SHUNT_V4)
		parse_linear(ctx, SHUNT_V4, &s->pkt);
	else if (family == SHUNT_V6)
		parse_linear(ctx, SHUNT_V6, &s->pkt);
}
#endif

#endif
