# SPDX-License-Identifier: Apache-2.0
# Test targets; included by the Makefile. tests/run runs them as suites and sums them up.

PYTHON		?= /usr/bin/python3
TEST_CPPFLAGS	= -Itests/unit -Itests/bpf
TEST_LIBS	= $(shell pkg-config --libs criterion)

# One Criterion binary for each test file; whatever else lies beside them is their helpers.
test_src	= $(wildcard tests/$(1)/test_*.c)
helper_src	= $(filter-out $(call test_src,$(1)) %.bpf.c,$(wildcard tests/$(1)/*.c tests/$(1)/*/*.c))
UNIT_SRC	:= $(call test_src,unit)
BPF_TEST_SRC	:= $(call test_src,bpf)
UNIT_HELPERS	:= $(call helper_src,unit)
BPF_HELPERS	:= $(call helper_src,bpf)
UNIT_BIN	:= $(UNIT_SRC:%.c=$(BUILD)/%)
BPF_TEST_BIN	:= $(BPF_TEST_SRC:%.c=$(BUILD)/%)
E2E_BPF		:= $(patsubst tests/e2e/lab/%.c,$(BUILD)/tests/e2e/%.o,$(wildcard tests/e2e/lab/*.bpf.c))
# Load that Python is too slow for.
E2E_BIN		:= $(patsubst tests/e2e/lab/%.c,$(BUILD)/tests/e2e/%,$(filter-out %.bpf.c,$(wildcard tests/e2e/lab/*.c)))
# Programs that only tests load: stages.bpf.c becomes tests/bpf/stages.skel.h.
TEST_SKEL	:= $(patsubst %.bpf.c,$(BUILD)/%.skel.h,$(wildcard tests/bpf/*.bpf.c))

.PHONY: deps test fuzz fuzz-bins test-crd test-unit test-bpf test-e2e soak demo mutants san test-bins e2e-helpers
.PRECIOUS: $(BUILD)/tests/bpf/%.skel.h $(BUILD)/tests/%.o $(BUILD)/tests/bpf/%.bpf.o

$(BUILD)/tests/e2e/%.bpf.o: tests/e2e/lab/%.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF,$@)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@

$(E2E_BIN): $(BUILD)/tests/e2e/%: $(BUILD)/tests/e2e/lab/%.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $^ -o $@

$(BUILD)/tests/bpf/%.bpf.o: tests/bpf/%.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF,$@)
	$(Q)$(CLANG) $(BPF_CFLAGS) -Itests/bpf -MMD -MP -c $< -o $@

$(BUILD)/tests/bpf/%.skel.h: $(BUILD)/tests/bpf/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $* > $@

$(BUILD)/tests/%.o: tests/%.c | $(SKEL) $(TEST_SKEL)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(TEST_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(UNIT_BIN): $(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(call objs,$(UNIT_HELPERS)) $(BUILD)/libshunt.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $^ $(LDLIBS) $(TEST_LIBS) -o $@

$(BPF_TEST_BIN): $(BUILD)/tests/bpf/%: $(BUILD)/tests/bpf/%.o $(call objs,$(BPF_HELPERS)) $(BUILD)/libshunt.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $^ $(LDLIBS) $(TEST_LIBS) -o $@

# The upgrade test needs an agent of the other ABI: the same test, built with it.
ifneq ($(ABI_NEXT),1)
$(BUILD)/tests/unit/test_carry: | abi-next-agent
.PHONY: abi-next-agent
abi-next-agent:
	$(Q)$(MAKE) --no-print-directory ABI_NEXT=1 BUILD=$(BUILD)/abi-next \
		$(BUILD)/abi-next/tests/unit/test_carry
endif

# Parsers under mutated input: built with SAN=1, run by tests/fuzz/driver.c.
FUZZ_BIN	:= $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))

$(FUZZ_BIN): %: %.o $(BUILD)/tests/fuzz/driver.o $(BUILD)/libshunt.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

fuzz-bins: $(FUZZ_BIN)

include tests/stages/stages.mk
include tests/vm/vm.mk

test-bins: all $(UNIT_BIN) $(BPF_TEST_BIN) $(E2E_BPF) $(E2E_BIN)
e2e-helpers: $(E2E_BPF) $(E2E_BIN)

deps: ## Install what building and testing need (root, apt)
	$(Q)tools/install-deps

test: deps ## Build and run every suite (root; minutes each and one summary line)
	$(Q)$(PYTHON) tests/run --build $(BUILD)

# T="choose caps": of unit tests and data path tests those whose files are called so.
ONLY		= $(if $(T),--only "$(T)")

test-unit: deps ## Run the unit tests; T=words selects
	$(Q)$(PYTHON) tests/run --build $(BUILD) $(ONLY) unit

# Needs Go and, the first time, the module proxy; so it is no part of `make test`.
test-crd: ## Judge the CRD and its cases by the API server's own code (Go, network)
	@mkdir -p $(BUILD)/tests/crd
	$(Q)cd tests/crd && go build -o $(abspath $(BUILD))/tests/crd/crdtest .
	$(Q)$(BUILD)/tests/crd/crdtest manifests/crd/trafficpolicies.shunt.io.yaml \
		tests/unit/policy_cases.yaml

fuzz: deps ## Feed the parsers mutated input under ASan and UBSan
	$(Q)$(PYTHON) tests/run --build $(BUILD) fuzz

san: deps ## Run the unit tests under ASan and UBSan; T=words selects
	$(Q)$(PYTHON) tests/run --build $(BUILD) $(ONLY) san

test-bpf: deps ## Run the data path tests: BPF_PROG_TEST_RUN (root); T=words selects
	$(Q)$(PYTHON) tests/run --build $(BUILD) $(ONLY) bpf

test-e2e: deps ## Run the end-to-end tests in network namespaces (root); T=words selects
	$(Q)$(PYTHON) tests/run --build $(BUILD) e2e $(if $(T),-- -k "$(T)")

mutants: deps ## Show that each broken line fails a test (root; a quarter of an hour); T=words
	$(Q)$(PYTHON) tests/mutants/run --build $(BUILD) $(T)

demo: deps all ## Show a canary release and its rollback under load (root, a minute)
	$(Q)$(PYTHON) tools/demo --build $(BUILD)

soak: deps ## Run the scenarios at full length (root, some 20 minutes)
	$(Q)$(PYTHON) tests/run --build $(BUILD) soak
