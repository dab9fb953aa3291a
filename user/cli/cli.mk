# SPDX-License-Identifier: Apache-2.0
# What is made from the table of commands; included by the Makefile behind tests/tests.mk.

.PHONY: man cli-docs
man: $(BUILD)/shunt $(BUILD)/shuntd ## Write the pages in man/ anew (tests compare them)
	$(Q)mkdir -p man
	$(Q)$(BUILD)/shunt help --man > man/shunt.8
	$(Q)$(BUILD)/shuntd --man > man/shuntd.8

cli-docs: $(BUILD)/shunt ## Write docs/cli.md anew (a test compares it)
	$(Q)$< help --markdown > docs/cli.md

# The tests of the command line call it as a function. The library comes once more behind it,
# because the linker reads from left to right.
CLI_TESTS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_cli_*.c))
$(CLI_TESTS): $(patsubst %.c,$(BUILD)/%.o,$(filter-out user/cli/main.c,$(CLI_SRC)))
$(CLI_TESTS): LDLIBS := $(BUILD)/libshunt.a $(CLI_LIBS) $(LDLIBS)
