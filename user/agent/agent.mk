# SPDX-License-Identifier: Apache-2.0
# The tests of the agent's parts; included by the Makefile behind tests/tests.mk. The library
# comes once more behind its objects, because the linker reads from left to right.
AGENT_TESTS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_agent_*.c))
$(AGENT_TESTS): $(patsubst %.c,$(BUILD)/%.o,$(filter-out user/agent/main.c,$(AGENT_SRC)))
$(AGENT_TESTS): LDLIBS := $(BUILD)/libshunt.a $(LDLIBS)
