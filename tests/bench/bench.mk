# SPDX-License-Identifier: Apache-2.0
# make bench: figures, never a test on an absolute time. docs/BENCHMARKS.md keeps them.

BENCH_SKEL := $(patsubst tests/bench/%.bpf.c,$(BUILD)/bench/%.skel.h,$(wildcard tests/bench/*.bpf.c))
BENCH_BIN  := $(patsubst %,$(BUILD)/tests/bench/%,packets changes growth live)

$(BUILD)/bench/%.bpf.o: tests/bench/%.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF,$@)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/bench/%.skel.h: $(BUILD)/bench/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $* > $@

PACKETS_OBJ := $(patsubst %,$(BUILD)/tests/bench/%.o,rig newflows frames figure)

$(BUILD)/tests/bench/packets.o $(BUILD)/tests/bench/growth.o $(BUILD)/tests/bench/live.o $(PACKETS_OBJ): $(BENCH_SKEL)

$(BUILD)/tests/bench/packets $(BUILD)/tests/bench/growth: $(PACKETS_OBJ)
$(BENCH_BIN): %: %.o $(BUILD)/tests/bench/lab.o $(BUILD)/libshunt.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(filter %.o,$^) $(BUILD)/libshunt.a $(LDLIBS) -o $@

.PHONY: bench
.PRECIOUS: $(BUILD)/bench/%.bpf.o $(BUILD)/bench/%.skel.h
bench: deps $(filter %packets %changes,$(BENCH_BIN)) ## Measure ns per packet and a weight change's time (root; BENCH_JSON=FILE)
	$(Q)$(if $(BENCH_JSON),BENCH_JSON=$(abspath $(BENCH_JSON))) $(BUILD)/tests/bench/packets $(ROUNDS)
	@echo 'As the agent loads them, with CAP_BPF and CAP_NET_ADMIN alone:'
	$(Q)BENCH_AS_AGENT=1 BENCH_JSON= $(BUILD)/tests/bench/packets $(ROUNDS)
	$(Q)$(BUILD)/tests/bench/changes

# These also need real proxies and load generators: they have a group of their own.
.PHONY: bench-deps bench-paths bench-live bench-scale
bench-deps: deps
	$(Q)tools/install-deps bench

bench-paths: bench-deps all e2e-helpers $(BUILD)/tests/bench/httpd ## Compare the ways to a pod (root; ROUNDS=n, BENCH_JSON=FILE)
	$(Q)$(PYTHON) tests/bench/paths.py --build $(BUILD) $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(BENCH_JSON),--json $(BENCH_JSON))

bench-live: deps all e2e-helpers $(BUILD)/tests/bench/live ## Measure an XDP gate by live frames (root; ROUNDS=n, BENCH_JSON=FILE)
	$(Q)$(PYTHON) tests/bench/live.py --build $(BUILD) $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(BENCH_JSON),--json $(BENCH_JSON))

bench-scale: bench-deps all $(BUILD)/tests/bench/growth ## Measure and plot what grows with services, backends, flows (root)
	$(Q)$(PYTHON) tests/bench/scale.py --build $(BUILD) $(if $(ROUNDS),--rounds $(ROUNDS)) \
		--json $(or $(BENCH_JSON),$(BUILD)/scale.json)
	$(Q)$(PYTHON) tests/bench/scale_plot.py $(or $(BENCH_JSON),$(BUILD)/scale.json) docs/scale.svg

$(BUILD)/tests/bench/httpd: $(BUILD)/tests/bench/httpd.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $^ -o $@
