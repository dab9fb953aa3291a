# SPDX-License-Identifier: Apache-2.0
# The stages of bpf/ as an ordinary program: under libFuzzer, and against the kernel's run.

.PHONY: fuzz-stages fuzz-diff fuzz-diff-bin
STAGES_CPPFLAGS	= $(CPPFLAGS) -Itests/stages -I$(BUILD)/tests
STAGES_SRC	:= $(wildcard tests/stages/stages_*.c)
STAGES_SKEL	:= $(patsubst %.bpf.c,$(BUILD)/%.skel.h,$(wildcard tests/stages/*.bpf.c))
STAGES_HELPERS	:= $(addprefix tests/stages/,shim.c shim_maps.c objects.c policies.c scene.c steps.c)
DIFF_SRC	:= tests/stages/diff.c tests/stages/mutate.c
TIME		?= 60
N		?= 10000000

STAGES_BPF	:= $(STAGES_SKEL:.skel.h=.bpf.o)
stages_objs	= $(patsubst tests/stages/%.c,$(BUILD)/tests/stages/$(1)%.o,$(2))

# All rules name their targets: the pattern of tests.mk fits these files, too.
$(STAGES_BPF): $(BUILD)/tests/stages/%.bpf.o: tests/stages/%.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF,$@)
	$(Q)$(CLANG) $(BPF_CFLAGS) -Itests/stages -MMD -MP -c $< -o $@

$(STAGES_SKEL): $(BUILD)/tests/stages/%.skel.h: $(BUILD)/tests/stages/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $* > $@

# Both hooks have functions of the same names: each object keeps its own to itself.
define STAGES_RULES
$(call stages_objs,$(1),$(STAGES_SRC)): $(BUILD)/tests/stages/$(1)%.o: tests/stages/%.c
	@mkdir -p $$(@D)
	$$(call say,CC,$$@)
	$$(Q)$(2) -include tests/stages/shim.h -DSHIM_STAGES -Ibpf $$(STAGES_CPPFLAGS) $$(STAGES_CFLAGS) \
		-Wno-unused-function -Wno-unknown-pragmas -MMD -MP -MT $$@ -MF $$(@:.o=.d) -c $$< -o $$@.all
	$$(Q)objcopy --localize-hidden $$@.all $$@

$(call stages_objs,$(1),$(STAGES_HELPERS) $(3)): $(BUILD)/tests/stages/$(1)%.o: tests/stages/%.c | $(STAGES_SKEL)
	@mkdir -p $$(@D)
	$$(call say,CC,$$@)
	$$(Q)$(2) $$(STAGES_CPPFLAGS) $$(STAGES_CFLAGS) -MMD -MP -c $$< -o $$@
endef
STAGES_CFLAGS	= -std=gnu11 $(WARN) $(CFLAGS) -fsanitize=address,undefined \
		  -fno-sanitize-recover=all -fno-omit-frame-pointer
$(eval $(call STAGES_RULES,,$$(CC),$(DIFF_SRC)))
$(eval $(call STAGES_RULES,fuzz/,$$(CLANG) -fsanitize=fuzzer-no-link,tests/stages/fuzz_stages.c))

$(BUILD)/tests/stages/diff: $(call stages_objs,,$(STAGES_SRC) $(STAGES_HELPERS) $(DIFF_SRC)) $(BUILD)/libshunt.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(STAGES_CFLAGS) $(LDFLAGS) $^ -lbpf -lelf -lz -o $@

$(BUILD)/tests/stages/fuzz_stages: $(call stages_objs,fuzz/,$(STAGES_SRC) $(STAGES_HELPERS) \
		tests/stages/fuzz_stages.c) $(BUILD)/libshunt.a
	$(call say,LINK,$@)
	$(Q)$(CLANG) $(STAGES_CFLAGS) -fsanitize=fuzzer $(LDFLAGS) $^ -lbpf -lelf -lz -o $@

fuzz-diff-bin: $(BUILD)/tests/stages/diff

fuzz-diff: deps ## Compare the kernel's run of the stages with ours on N=10000000 packets (root)
	$(Q)$(MAKE) --no-print-directory fuzz-diff-bin
	$(Q)$(BUILD)/tests/stages/diff tests/stages/corpus $(N)

fuzz-stages: ## Run libFuzzer over the stages for TIME=60 seconds
	$(Q)tools/install-deps fuzz
	$(Q)$(MAKE) --no-print-directory $(BUILD)/tests/stages/fuzz_stages
	@mkdir -p $(BUILD)/fuzz-found
	$(Q)cd $(BUILD)/tests/stages && ./fuzz_stages -max_total_time=$(TIME) -timeout=10 -max_len=4096 \
		-print_final_stats=1 -close_fd_mask=1 $(abspath $(BUILD))/fuzz-found $(abspath tests/stages/corpus)
