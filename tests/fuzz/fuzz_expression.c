// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/expression.h"

/* What is compiled ends, by jumps forward into the program or out of it. */
static void check(const struct shunt_predicate *p)
{
	char buf[256];

	if (!p->n_tests || p->n_tests > SHUNT_MAX_TESTS)
		abort();
	for (uint32_t i = 0; i < p->n_tests; i++)
		for (int way = 0; way < 2; way++) {
			uint8_t to = way ? p->test[i].on_true : p->test[i].on_false;

			if (to < SHUNT_TEST_TRUE && (to <= i || to >= p->n_tests))
				abort();
		}
	if (!p->n_watches || p->n_watches > SHUNT_MAX_WATCHES)
		abort();
	for (uint32_t i = 0; i < p->n_tests; i++)
		for (int n = 0; n < SHUNT_TEST_WATCHES; n++)
			if (p->test[i].watch[n] != SHUNT_WATCH_NONE &&
			    p->test[i].watch[n] >= p->n_watches)
				abort();
	shunt_expression_warn(p, buf, sizeof(buf));
}

/* Any text through the compiler of breaker expressions. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct shunt_predicate predicate;
	char *text = malloc(size + 1);
	struct shunt_err err;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (!shunt_expression_compile(text, &predicate, &err))
		check(&predicate);
	else if (!err.column || err.column > strlen(text) + 1)
		abort();
	free(text);
	return 0;
}
