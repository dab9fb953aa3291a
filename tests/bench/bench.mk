# SPDX-License-Identifier: Apache-2.0
# make bench: figures, never a test on an absolute time. docs/BENCHMARKS.md keeps them.

BENCH_SKEL := $(patsubst tests/bench/%.bpf.c,$(BUILD)/bench/%.skel.h,$(wildcard tests/bench/*.bpf.c))
BENCH_BIN  := $(BUILD)/tests/bench/packets $(BUILD)/tests/bench/changes

$(BUILD)/bench/%.bpf.o: tests/bench/%.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF,$@)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/bench/%.skel.h: $(BUILD)/bench/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $* > $@

PACKETS_OBJ := $(patsubst %,$(BUILD)/tests/bench/%.o,rig newflows frames figure)

$(BUILD)/tests/bench/packets.o $(PACKETS_OBJ): $(BENCH_SKEL)

$(BUILD)/tests/bench/packets: $(PACKETS_OBJ)
$(BENCH_BIN): %: %.o $(BUILD)/tests/bench/lab.o $(BUILD)/libshunt.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(filter %.o,$^) $(BUILD)/libshunt.a $(LDLIBS) -o $@

.PHONY: bench
.PRECIOUS: $(BUILD)/bench/%.bpf.o $(BUILD)/bench/%.skel.h
bench: deps $(BENCH_BIN) ## Measure ns per packet and a weight change's time (root; BENCH_JSON=FILE)
	$(Q)$(if $(BENCH_JSON),BENCH_JSON=$(abspath $(BENCH_JSON))) $(BUILD)/tests/bench/packets $(ROUNDS)
	@echo 'As the agent loads them, with CAP_BPF and CAP_NET_ADMIN alone:'
	$(Q)BENCH_AS_AGENT=1 BENCH_JSON= $(BUILD)/tests/bench/packets $(ROUNDS)
	$(Q)$(BUILD)/tests/bench/changes
