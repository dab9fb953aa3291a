# SPDX-License-Identifier: Apache-2.0
# Shunt: `make help` lists the targets. Building needs no root and no network.

BUILD	?= build
V	?= 0
SAN	?= 0
CLANG	?= clang
BPFTOOL	?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)

Q	:= $(if $(filter 1,$(V)),,@)
say	= $(if $(filter 1,$(V)),,@printf '  %-8s %s\n' '$(1)' '$(2)')

PKGS	:= libbpf jansson yaml-0.1 libuv libmicrohttpd
CLI_PKGS := ncursesw
WARN	:= -Wall -Wextra -Wshadow -Werror
CFLAGS	?= -O2 -g
CPPFLAGS += -Iinclude -Iuser -I$(BUILD) $(ABI_FLAGS) -D_GNU_SOURCE $(shell pkg-config --cflags $(PKGS))
LDLIBS	+= $(shell pkg-config --libs $(PKGS)) -lelf -lz -lm -lpthread
CLI_LIBS := $(shell pkg-config --libs $(CLI_PKGS))
ALL_CFLAGS = -std=gnu11 $(WARN) $(CFLAGS) $(if $(filter 1,$(SAN)),-fsanitize=address$(comma)undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
comma	:= ,

# Another layout of the maps, for the upgrade test: make ABI_NEXT=1 BUILD=build/abi-next
ABI_FLAGS := $(if $(filter 1,$(ABI_NEXT)),-DSHUNT_ABI_NEXT)

MULTIARCH := $(shell $(CC) -print-multiarch)
# Stack slots are not shared: a spilled pointer that a 32-bit value overwrites is refused to a
# loader without CAP_PERFMON.
BPF_CFLAGS = -O2 -g -target bpf -mcpu=v3 -mllvm -no-stack-slot-sharing $(WARN) -Wno-unused-function -Iinclude -Ibpf $(ABI_FLAGS) -I/usr/include/$(MULTIARCH)

BPF_SRC	 := $(wildcard bpf/*.bpf.c)
BPF_OBJ	 := $(BPF_SRC:bpf/%.bpf.c=$(BUILD)/bpf/%.bpf.o)
SKEL	 := $(BPF_SRC:bpf/%.bpf.c=$(BUILD)/skel/%.skel.h)
LIB_SRC	 := $(filter-out user/agent/% user/cli/%,$(shell find user -name '*.c'))
AGENT_SRC := $(wildcard user/agent/*.c)
CLI_SRC	 := $(wildcard user/cli/*.c)
objs	 = $(patsubst %.c,$(BUILD)/%.o,$(1))
PROGS	 := $(if $(AGENT_SRC),$(BUILD)/shuntd) $(if $(CLI_SRC),$(BUILD)/shunt)

.DELETE_ON_ERROR:
.SECONDARY: $(BPF_OBJ) $(SKEL)
.PHONY: all help clean
all: $(PROGS) ## Build shuntd and shunt (no root, no network)

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | sort | \
		awk -F'\t' '{ printf "  %-14s %s\n", $$1, $$2 }'

$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF,$@)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/skel/%.skel.h: $(BUILD)/bpf/%.bpf.o
	@mkdir -p $(@D)
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name shunt_$* > $@

$(BUILD)/user/%.o: user/%.c | $(SKEL)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/libshunt.a: $(call objs,$(LIB_SRC))
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/shuntd: $(call objs,$(AGENT_SRC)) $(BUILD)/libshunt.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(BUILD)/shunt: $(call objs,$(CLI_SRC)) $(BUILD)/libshunt.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $^ $(CLI_LIBS) $(LDLIBS) -o $@

clean: ## Remove what was built
	rm -rf $(BUILD)

-include tests/tests.mk
-include tests/bench/bench.mk
-include user/agent/agent.mk
-include user/cli/cli.mk
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
