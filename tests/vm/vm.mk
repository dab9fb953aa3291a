# SPDX-License-Identifier: Apache-2.0
# Other kernels, in machines emulated by qemu.

.PHONY: vmtest floor
$(BUILD)/tests/vm/talk: tests/vm/talk.c
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $< -o $@

test-bins: $(BUILD)/tests/vm/talk

floor: $(BPF_OBJ) ## Check that no BPF object needs a kernel newer than 5.15
	$(Q)$(PYTHON) tests/vm/floor $^

vmtest: deps ## Test on Debian's 6.1, 6.12 and newest kernel under qemu (no KVM needed)
	$(Q)$(PYTHON) tests/run --build $(BUILD) vm $(if $(VM),-- $(VM))
