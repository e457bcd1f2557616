# Reveille: every command. `make help` is made from the comments that start with "##".
# Variables of a run: SMP= CPU= MEM= OPTIONS="wake=broadcast ..." OVMF= ACCEL= MACHINE=, or EMULATOR=bochs MODEL=

VERSION := 0.1.0
export SOURCE_DATE_EPOCH ?= 1767225600

# V=1 shows the commands.
Q := $(if $(V),,@)

# A word for the shell, whatever stands in it: the tree may lie in a folder of any name.
quote = '$(subst ','\'',$(1))'

CC      := gcc
LD      := ld
OBJCOPY := objcopy
HOSTCC  := gcc
CLANG   := clang
PYTHON  := /usr/bin/python3
B       := build

# The tree may lie anywhere, since a path in here begins at its root; but B stands in targets, where make has no
# quotes.
UNFIT := , ' " ` & ; ( ) [ ] { } < > | * ? ! ~ $$ % : = \ \#
ifneq ($(words $(B))$(strip $(foreach c,$(UNFIT),$(findstring $(c),$(B)))),1)
$(error B=$(B): make cannot build in a folder of that name: choose one without blanks and $(UNFIT))
endif

# Empty: the default in tools/guest.py, qemu.py or bochs.py.
EMULATOR ?= qemu
MODEL    ?=
SMP      ?=
CPU      ?=
MEM      ?=
MACHINE  ?=
ACCEL    ?=
OPTIONS  ?=
OVMF     ?=
KERNEL   ?= c
export EMULATOR MODEL SMP CPU MEM MACHINE ACCEL OPTIONS OVMF KERNEL SUITES ONLY

# The rooms, each with its sub-rooms; a header's name is its own throughout the tree. Only efi/ has UEFI's headers.
PURE_ROOMS := hw hw/lib machine smp trampoline engine trial trial/options report report/console report/screen
EFI_ROOMS  := efi efi/firmware efi/keep efi/mp
INCLUDES   := -Iinclude $(PURE_ROOMS:%=-I%)

# WERROR=1: a warning stops the build, as it does in `make test`. Not by default, so that what only a newer
# compiler or linker warns of stops nobody who wants to try the image.
WERROR   ?=
WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef \
            -Wvla -Wpointer-arith -Wcast-qual -Wwrite-strings $(if $(WERROR),-Werror)

# The image. Freestanding, no SSE (an AP has not set it up), no red zone (exceptions use the stack).
IMAGE_CFLAGS := -std=gnu17 -Oz -g -ffreestanding -fpic -fvisibility=hidden -fshort-wchar \
                -fno-stack-protector -mno-red-zone -mgeneral-regs-only -fcf-protection=none \
                -fno-asynchronous-unwind-tables -fno-ident -ffunction-sections -fdata-sections \
                $(call quote,-ffile-prefix-map=$(CURDIR)=.) $(WARNINGS) $(INCLUDES) -DVERSION='"$(VERSION)"'
EFI_CFLAGS   := $(EFI_ROOMS:%=-I%) -isystem /usr/include/efi -isystem /usr/include/efi/x86_64 -DGNU_EFI_USE_MS_ABI
LDFLAGS      := -nostdlib -shared -Bsymbolic -znocombreloc -zpack-relative-relocs -zmax-page-size=4096 --no-undefined \
                --gc-sections --build-id=none $(if $(WERROR),--fatal-warnings) --orphan-handling=error -ztext -T efi/firmware/image.lds

IMAGE_C   := $(wildcard $(patsubst %,%/*.c,$(EFI_ROOMS) $(PURE_ROOMS)))
IMAGE_S   := $(wildcard smp/*.S trial/*.S)
HW_S      := $(wildcard hw/*.S)
FONTS     := $(wildcard $(foreach size,8x16 12x24 16x32,/usr/share/consolefonts/spleen-$(size).psfu.gz))
IMAGE_OBJ := $(B)/image/report/screen/font_data.o $(IMAGE_C:%.c=$(B)/image/%.o) $(IMAGE_S:%.S=$(B)/image/%.o) $(HW_S:%.S=$(B)/image/%.o) $(B)/image/trampoline/blob.o

# Firmware that does not forgive, for the boot tests: an application that starts the image.
PRELOAD_OBJ := $(patsubst %.c,$(B)/image/%.o,$(wildcard tests/firmware/*.c)) \
               $(patsubst %,$(B)/image/%.o,efi/firmware/relocate efi/firmware/sbat efi/mp/mp_services hw/lib/mem)

# And an application that is a kernel to build/engine/example.c.
EXAMPLE_OBJ := $(B)/image/tests/firmware/example/host.o $(B)/engine-objects/reveille.o $(B)/engine-objects/example.o \
               $(patsubst %,$(B)/image/%.o,efi/firmware/relocate efi/firmware/sbat hw/lib/mem)
$(B)/image/tests/firmware/example/host.o: IMAGE_CFLAGS += -I$(B)/engine
$(B)/image/tests/firmware/example/host.o: $(B)/engine/reveille.c

# The host: the same sources under ASan and UBSan, with a fake machine behind the seam; of efi/ all but the entry.
# cmocka 2 would have asserts by names that cmocka 1 does not know, and warns of those that both do.
HOST_CFLAGS := -std=gnu17 -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
               -fno-sanitize-recover=all -fshort-wchar $(WARNINGS) $(INCLUDES) -Itests/fake \
               -DVERSION='"$(VERSION)"' -DCMOCKA_DISABLE_DEPRECATION_WARNINGS
HOST_EFI_C  := $(filter-out efi/main.c efi/firmware/relocate.c efi/firmware/sbat.c,$(wildcard $(EFI_ROOMS:%=%/*.c)))
PURE_C      := $(filter-out hw/hw.c hw/lib/mem.c,$(wildcard $(PURE_ROOMS:%=%/*.c)))
FAKE_C      := $(wildcard tests/fake/*.c)
HOST_LIB    := $(B)/host/libreveille.a
HOST_OBJ    := $(patsubst %.c,$(B)/host/%.o,$(PURE_C) $(FAKE_C) $(HOST_EFI_C)) \
               $(IMAGE_S:%.S=$(B)/host/%.o) $(B)/host/report/screen/font_data.o $(B)/image/trampoline/blob.o
UNIT        := $(patsubst tests/unit/%.c,$(B)/host/unit/%,$(wildcard tests/unit/*/test_*.c)) \
               $(B)/host/unit/smp/test_threads_clang $(B)/host/unit/smp/test_calls_clang
FUZZ        := $(patsubst tests/fuzz/%.c,$(B)/host/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SECONDS ?= 20

# COVERAGE=1: whatever runs on the host notes which lines ran, as tools/coverage.py has it built, all by clang.
COVERAGE ?=
HOST_CFLAGS += $(if $(COVERAGE),-fprofile-instr-generate -fcoverage-mapping)
COVERAGE_SECONDS ?= 10
export COVERAGE_SECONDS

# For recipes that build after the set-up, on all of the machine's cores.
BUILD := $(MAKE) --no-print-directory -j$(shell nproc)

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all engine example kernels run test quick boot-test hostile mutants bench proofs distributions image firmware stick iso usb secure-image signed debug host explain memtest help setup unit fuzz coverage clang clean

## make            build/BOOTX64.EFI, its symbols, build/esp/ and build/trampoline.lst
all: $(B)/BOOTX64.EFI $(B)/BOOTX64.debug $(B)/trampoline.lst $(B)/esp/EFI/BOOT/BOOTX64.EFI

## make example    a kernel of its own around that engine, from a BIOS; KERNEL=rust EMULATOR=bochs OPTIONS="hang=2"
example:
	@case $(call quote,$(KERNEL)) in c|clang|rust) ;; *) echo "make example: KERNEL= is one of c clang rust" >&2; exit 1 ;; esac
	@tools/setup build example $(if $(filter bochs,$(EMULATOR)),bochs) $(if $(filter rust,$(KERNEL)),rust)
	@$(BUILD) $(B)/kernel/$(KERNEL)/kernel
	@$(PYTHON) tools/example.py

## make run        install what is missing, boot QEMU and OVMF, show the lines; 0 only if all came
##                 EMULATOR=bochs MODEL=ryzen: the same on Bochs, a second x86; docs/bochs.md
run:
	@tools/setup build $(if $(filter bochs,$(EMULATOR)),bochs,run)
	@$(BUILD) all
	@$(PYTHON) tools/run.py

## make test       install what is missing, run every test there is; the last line counts them
test:
	@tools/setup build run test iso sign coverage
	@tools/setup bochs || echo "test: no Bochs to be had here: its tests are skipped"
	@tools/setup example || echo "test: no GRUB for a BIOS to be had here: its tests are skipped"
	@tools/setup rust bindings || echo "test: no Rust or no bindgen to be had here: their tests are skipped"
	@$(BUILD) all image firmware kernels
	@$(PYTHON) tools/test.py

## make quick      what has changed is built, the unit tests, and one boot: for the hour's work
quick:
	@tools/setup build run test
	@$(PYTHON) tools/test.py quick

## make boot-test  the boot tests of a name, with the serial port on the terminal: T=sparse_ids; docs/tests.md
boot-test:
	@test -n $(call quote,$(T)) || { echo "usage: make boot-test T=name" >&2; exit 1; }
	@tools/setup build run test iso sign
	@$(BUILD) all image firmware kernels
	@$(PYTHON) -B -m pytest -p no:cacheprovider tests/boot -k $(call quote,$(T)) --serial -s --tb=short -v

## make hostile    firmware, machines and tables that do not forgive: a line for each row of docs/hostile.md
hostile:
	@tools/setup build run test example rust
	@$(BUILD) all host image firmware kernels
	@$(PYTHON) tools/hostile.py

## make mutants    the product broken in some forty ways, one at a time: which tests notice? ONLY=name for one
mutants:
	@tools/setup build run bochs test iso sign
	@$(PYTHON) tools/mutants.py

## make bench      wakes side by side: null, Reveille, firmware, Linux; SIZES= RUNS= BENCH=long/calls BASE= RESUME=1
bench:
	@tools/setup build bench
	@$(BUILD) all $(B)/host/unit/smp/test_scale
	@$(PYTHON) tools/bench.py

## make proofs     every firmware and emulator in every way of running: the table of docs/proofs.md; ONLY=
proofs:
	@tools/setup build run bochs test
	@$(BUILD) all firmware
	@$(PYTHON) tools/proofs.py

## make distributions   `make run` as a new user, in chroots of Debian 13, 12 and testing; as root; SUITES= TEST=yes
distributions:
	@tools/setup build distributions
	@$(PYTHON) tools/distributions.py

## make image      build/reveille.img: GPT with a FAT ESP, ready for dd
image: $(B)/reveille.img

## make stick      boots the image from a USB port without a serial port, and shows what then stands on it
stick:
	@tools/setup build run
	@$(BUILD) $(B)/reveille.img
	@$(PYTHON) tools/stick.py

## make iso        build/reveille.iso: the same as a hybrid ISO, for a CD or a stick
iso:
	@tools/setup build iso
	@$(BUILD) $(B)/reveille.iso

## make usb        writes the image to DEV=/dev/sdX: a removable disk, not in use, and only after a yes
##                 SECURE_BOOT=shim: that of make secure-image
usb:
	@case $(call quote,$(SECURE_BOOT)) in ''|shim) ;; *) echo "make usb: SECURE_BOOT= is nothing or shim" >&2; exit 1 ;; esac
	@tools/setup build
	@$(BUILD) $(if $(SECURE_BOOT),secure-image,$(B)/reveille.img)
	@$(PYTHON) tools/usb.py $(B)/reveille$(if $(SECURE_BOOT),-secure).img $(call quote,$(DEV))

## make secure-image   build/reveille-secure.img: Secure Boot stays on, by shim and your own key; KEY= CERT= another
secure-image:
	@tools/setup build sign
	@$(BUILD) all
	@$(PYTHON) tools/secure.py $(B)/esp $(B)/secure $(call quote,$(KEY)) $(call quote,$(CERT))
	$(Q)$(PYTHON) tools/image.py $(B)/secure $(B)/reveille-secure.img

## make signed     build/signed/ and build/reveille-signed.img for Secure Boot, by KEY=file.key CERT=file.crt
signed:
	@test -r $(call quote,$(KEY)) -a -r $(call quote,$(CERT)) || { echo "usage: make signed KEY=file.key CERT=file.crt" >&2; exit 1; }
	@tools/setup build sign
	@$(BUILD) all
	$(Q)rm -rf $(B)/signed && cp -r $(B)/esp $(B)/signed
	$(Q)sbsign --key $(call quote,$(KEY)) --cert $(call quote,$(CERT)) --output $(B)/signed/EFI/BOOT/BOOTX64.EFI $(B)/BOOTX64.EFI
	$(Q)$(PYTHON) tools/image.py $(B)/signed $(B)/reveille-signed.img

## make debug      make run, stopped at the first stage, with GDB attached and symbols loaded
debug:
	@tools/setup build run debug
	@$(BUILD) all
	@$(PYTHON) tools/debug.py

## make host       build/host/madt FILE, fadt FILE: what Reveille reads of a dumped table; build/host/render
host: $(B)/host/madt $(B)/host/fadt $(B)/host/explain $(B)/host/render

## make explain    what a cause means, and what to look at next; CAUSE=never-fetched for one
explain: $(B)/host/explain
	@$< $(CAUSE)

## make engine     build/engine/: the engine for other kernels, as one header and one C file; docs/engine.md
engine:
	@tools/setup build
	@$(BUILD) $(B)/engine/reveille.c
	@wc -l -c $(B)/engine/reveille.h $(B)/engine/reveille.c

## make memtest    memtest86+ with the engine in it, beside its own self, in QEMU: pictures in build/memtest/; SMP= MEM=
memtest:
	@tools/setup build run
	@$(BUILD) $(B)/engine/reveille.c firmware
	@$(PYTHON) tools/memtest.py

## make fuzz       every fuzzer for FUZZ_SECONDS each (20)
fuzz: $(FUZZ)
	@for f in $(FUZZ); do tests/fuzz/run "$$f" $(FUZZ_SECONDS) || exit 1; done

## make coverage   which lines of each parser the fuzzers reach: a page, build/coverage/index.html; COVERAGE_SECONDS=
coverage:
	@tools/setup build test coverage
	@$(PYTHON) tools/coverage.py

## make unit       the unit tests alone
unit: $(UNIT)
	@for t in $(UNIT); do "$$t" || exit 1; done

## make clang      the whole image built by clang as well
clang:
	@$(BUILD) CC=$(CLANG) B=build/clang all

## make setup      install what the other commands need
setup:
	@tools/setup build run bochs test example rust bindings debug iso sign bench distributions coverage

## make clean      remove build/
clean:
	rm -rf build

## make help       this list
help:
	@sed -n 's/^## //p' Makefile

# ---- the trampoline: assembled alone, linked flat at 0, proved to be plain bytes ----

$(B)/trampoline/ap_start.o: trampoline/ap_start.S trampoline/handoff.h trampoline/image_layout.h
	@mkdir -p $(@D)
	$(Q)$(CC) -c -g -Iinclude -Itrampoline -o $@ $<
	$(Q)$(PYTHON) tools/check_trampoline.py $@

$(B)/trampoline/ap_start.elf: $(B)/trampoline/ap_start.o
	$(Q)$(LD) -m elf_x86_64 -Ttext=0 -e 0 --build-id=none -o $@ $<

$(B)/trampoline/ap_start.bin: $(B)/trampoline/ap_start.elf
	$(Q)$(OBJCOPY) -O binary -j .text $< $@

$(B)/trampoline.lst: $(B)/trampoline/ap_start.elf
	$(Q)objdump -d -M addr32,data32 $< > $@ && nm -n $< >> $@

$(B)/image/trampoline/blob.o: trampoline/blob.S trampoline/image_layout.h $(B)/trampoline/ap_start.bin
	@mkdir -p $(@D)
	$(Q)$(CC) -c -g -Itrampoline -Wa,-I$(B)/trampoline -o $@ $<

# ---- the engine for other kernels, of the very same sources ----

ENGINE_SOURCES := $(wildcard include/*.h hw/*.[chS] hw/lib/*.[ch] machine/*.[ch] smp/*.[chS] trampoline/*.[ch] engine/*.[ch])

$(B)/engine/reveille.c: tools/engine.py tools/check_rooms.py $(wildcard tools/engine/*) LICENSE Makefile $(ENGINE_SOURCES) \
                        $(B)/trampoline/ap_start.bin
	$(Q)$(PYTHON) tools/engine.py $(VERSION) $(B)/trampoline/ap_start.bin $(B)/trampoline/ap_start.elf $(@D)

# Compiled as by whoever takes the folder, but for the position that an EFI application has not.
$(B)/engine/example.c: $(B)/engine/reveille.c ;
$(B)/engine-objects/%.o: $(B)/engine/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -ffreestanding -mno-red-zone -mgeneral-regs-only -fno-stack-protector -fPIE -O2 -g \
	    -Wall -Wextra -Wpedantic $(if $(WERROR),-Werror) $(call quote,-ffile-prefix-map=$(CURDIR)=.) -c -o $@ $<

# ---- a kernel around that engine: examples/kernel/, by both compilers ----

KERNEL_CFLAGS := -std=c11 -O2 -g -ffreestanding -fno-pic -mcmodel=kernel -mno-red-zone -mgeneral-regs-only \
                 -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -fno-ident \
                 $(call quote,-ffile-prefix-map=$(CURDIR)=.)
KERNEL_WARNINGS := $(filter-out -Wmissing-prototypes -Wcast-qual,$(WARNINGS)) -Wpedantic -Wno-unused-parameter
KERNEL_LD := -m elf_x86_64 -nostdlib -static -T examples/kernel/kernel.ld -z noexecstack --build-id=none \
             --no-warn-rwx-segments $(if $(WERROR),--fatal-warnings)

# FOLDER, COMPILER: each has a kernel of its own below build/kernel/.
define KERNEL_BY
$(B)/kernel/$(1)/%.o: examples/kernel/%.c examples/kernel/machine.h $(B)/engine/reveille.c Makefile
	@mkdir -p $$(@D)
	$$(Q)$(2) $$(KERNEL_CFLAGS) $$(KERNEL_WARNINGS) -isystem $(B)/engine -c -o $$@ $$<

$(B)/kernel/$(1)/boot.o: examples/kernel/boot.S
	@mkdir -p $$(@D)
	$$(Q)$(2) -g -c -o $$@ $$<

$(B)/kernel/$(1)/reveille.o: $(B)/engine/reveille.c Makefile
	@mkdir -p $$(@D)
	$$(Q)$(2) $$(KERNEL_CFLAGS) -Wall -Wextra -Wpedantic $$(if $$(WERROR),-Werror) -c -o $$@ $$<

$(B)/kernel/$(1)/kernel: $(patsubst %,$(B)/kernel/$(1)/%.o,boot main machine console reveille) examples/kernel/kernel.ld
	$$(Q)$$(LD) $$(KERNEL_LD) -o $$@ $$(filter %.o,$$^)
endef
$(eval $(call KERNEL_BY,c,$(CC)))
$(eval $(call KERNEL_BY,clang,$(CLANG)))

# The same with its main() in Rust. Debian's libcore is for a program: it uses a red zone, which nothing steps into, since
# interrupts are off and the engine's handlers have stacks of their own, and SSE, which boot.S and reveille.rs switch on.
RUSTC      := /usr/bin/rustc
RUST_FLAGS := --edition 2021 --crate-name kernel --crate-type staticlib -g -C opt-level=2 -C panic=abort \
              -C relocation-model=static -C code-model=kernel -C no-redzone=yes $(if $(WERROR),-D warnings) \
              --remap-path-prefix $(call quote,$(CURDIR)=.)

$(B)/kernel/rust/main.a: $(wildcard examples/kernel-rust/*.rs) Makefile
	@mkdir -p $(@D)
	$(Q)$(RUSTC) $(RUST_FLAGS) -o $@ examples/kernel-rust/main.rs

$(B)/kernel/rust/kernel: $(patsubst %,$(B)/kernel/c/%.o,boot machine console reveille) $(B)/kernel/rust/main.a examples/kernel/kernel.ld
	$(Q)$(LD) $(KERNEL_LD) --gc-sections -o $@ $(filter %.o %.a,$^)

kernels: $(B)/kernel/c/kernel $(B)/kernel/clang/kernel $(if $(wildcard $(RUSTC)),$(B)/kernel/rust/kernel)

# ---- the font ----

$(B)/font_data.c: tools/font.py Makefile
	@mkdir -p $(@D)
	$(Q)$(PYTHON) tools/font.py $(FONTS) > $@

$(B)/image/report/screen/font_data.o: $(B)/font_data.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(IMAGE_CFLAGS) -c -o $@ $<

$(B)/host/report/screen/font_data.o: $(B)/font_data.c
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) $(HOST_CFLAGS) -c -o $@ $<

# ---- the image ----

$(B)/image/efi/%.o: efi/%.c Makefile
	@mkdir -p $(@D)
	$(Q)$(CC) $(IMAGE_CFLAGS) $(EFI_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/image/tests/firmware/%.o: tests/firmware/%.c Makefile
	@mkdir -p $(@D)
	$(Q)$(CC) $(IMAGE_CFLAGS) $(EFI_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/image/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(Q)$(CC) $(IMAGE_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/image/%.o: %.S
	@mkdir -p $(@D)
	$(Q)$(CC) -c -g -Iinclude -Itrampoline -Itrial -MMD -MP -o $@ $<

$(B)/msrs.checked: tools/check_msrs.py $(IMAGE_C) $(IMAGE_S) $(HW_S) trampoline/ap_start.S $(wildcard */*.h */*/*.h)
	@mkdir -p $(@D)
	$(Q)$(PYTHON) tools/check_msrs.py
	@touch $@

# The rooms: by what the sources include, and by what the objects call.
$(B)/rooms.checked: tools/check_rooms.py Makefile $(IMAGE_OBJ) $(wildcard */*.[chS] */*/*.[chS] tests/unit/*/*.c)
	@mkdir -p $(@D)
	$(Q)$(PYTHON) tools/check_rooms.py $(B)/image $(IMAGE_OBJ:$(B)/image/%=%)
	@touch $@

# Machine instructions: in the sources, and in what the compiler made of all C but hw/.
$(B)/instructions.checked: tools/check_instructions.py tools/check_rooms.py $(IMAGE_OBJ) $(wildcard */*.[hS] */*/*.[hS])
	@mkdir -p $(@D)
	$(Q)$(PYTHON) tools/check_instructions.py $(patsubst %.c,$(B)/image/%.o,$(filter-out hw/%,$(IMAGE_C)))
	@touch $@

$(B)/BOOTX64.so: $(B)/msrs.checked $(B)/rooms.checked $(B)/instructions.checked

# An EFI application: the ELF file that keeps its symbols, of the objects it depends on, and the image.
$(B)/%.so: efi/firmware/image.lds
	@mkdir -p $(@D)
	$(Q)$(LD) $(LDFLAGS) -o $@ $(filter %.o,$^)

$(B)/%.EFI: $(B)/%.so tools/finish_image.py
	$(Q)$(OBJCOPY) -S -j .text -j .rodata -j .data -j .dynamic -j .relr -j .dynsym -j .bss -j .reloc -j .sbat \
	    --output-target=efi-app-x86_64 --section-alignment=4096 $< $@
	$(Q)$(PYTHON) tools/finish_image.py $@

$(B)/BOOTX64.so: $(IMAGE_OBJ)
$(B)/firmware/preload.so: $(PRELOAD_OBJ)
$(B)/firmware/example.so: $(EXAMPLE_OBJ)

$(B)/BOOTX64.debug: $(B)/BOOTX64.so
	$(Q)$(OBJCOPY) --only-keep-debug $< $@

$(B)/esp/EFI/BOOT/BOOTX64.EFI: $(B)/BOOTX64.EFI $(wildcard esp/*)
	@mkdir -p $(@D)
	$(Q)cp $< $@
	$(Q)cp -r esp/. $(B)/esp/

$(B)/reveille.img: $(B)/esp/EFI/BOOT/BOOTX64.EFI tools/image.py
	$(Q)$(PYTHON) tools/image.py $(B)/esp $@

# One small volume is the CD's El Torito image and the stick's ESP.
$(B)/reveille.iso: $(B)/esp/EFI/BOOT/BOOTX64.EFI tools/image.py
	$(Q)rm -rf $(B)/iso && mkdir -p $(B)/iso && cp -r $(B)/esp/. $(B)/iso/
	$(Q)$(PYTHON) tools/image.py --cd $(B)/esp $(B)/efi.fat
	$(Q)find $(B)/iso -exec touch -d @$(SOURCE_DATE_EPOCH) {} +
	$(Q)xorriso -report_about WARNING -as mkisofs -o $@ -V REVEILLE -r -append_partition 2 0xef $(B)/efi.fat \
	    -appended_part_as_gpt -e --interval:appended_partition_2:all:: -no-emul-boot -graft-points /=$(B)/iso

# What the boot tests start in place of the image: to change firmware's behaviour first, or to run build/engine/example.c.
firmware: $(B)/firmware/preload.EFI $(B)/firmware/example.EFI

# ---- the host ----

$(B)/host/efi/%.o: HOST_CFLAGS += $(EFI_CFLAGS)
$(B)/host/tests/unit/%.o: HOST_CFLAGS += $(EFI_CFLAGS)

$(B)/host/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) $(HOST_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/host/%.o: %.S
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) -c -g -Iinclude -Itrampoline -Itrial -MMD -MP -o $@ $<

$(HOST_LIB): $(HOST_OBJ)
	$(Q)rm -f $@
	$(Q)ar rcs $@ $^

# Apart from the others: ThreadSanitizer does not go with ASan.
RACES_C := tests/unit/report/test_races.c report/console/journal.c hw/lib/crc32.c
$(B)/host/unit/report/test_races: $(RACES_C) report/console/journal.h hw/lib/crc32.h hw/hw.h Makefile
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) $(filter-out -fsanitize=% -fno-sanitize-recover=%,$(HOST_CFLAGS)) -fsanitize=thread -no-pie -o $@ $(RACES_C) -lcmocka

# The engine with threads of the host as its processors, by both compilers, since each has a ThreadSanitizer of its
# own. Where basic blocks are counted, a thread may be stopped as INIT stops a processor; so not in the fake machine.
THREADS_C := $(wildcard smp/*.c) trampoline/trampoline.c $(wildcard report/console/*.c) report/hello.c trial/inject.c trial/drill.c \
             machine/topology.c machine/processor.c $(patsubst %,hw/lib/%.c,clock crc32 line sort tell watch) \
             tests/unit/smp/threads_walk.c
THREADS_PLAIN_C := tests/unit/smp/threads.c
THREADS_TESTS   := test_threads test_calls test_drill
THREADS_CFLAGS  := $(filter-out -fsanitize=% -fno-sanitize-recover=%,$(HOST_CFLAGS)) -fsanitize=thread \
                   -fno-inline -fno-pie -ffunction-sections
THREADS_OBJ     := $(THREADS_C:.c=.o) $(THREADS_PLAIN_C:.c=.o)
THREADS_LIB     := $(B)/host/smp/fault_entry.o $(B)/image/trampoline/blob.o

$(THREADS_C:%.c=$(B)/threads/gcc/%.o): THREADS_BLOCKS := -fsanitize-coverage=trace-pc
$(THREADS_C:%.c=$(B)/threads/clang/%.o): THREADS_BLOCKS := -fsanitize-coverage=bb,trace-pc

$(B)/threads/gcc/tests/unit/smp/threads.o $(B)/threads/clang/tests/unit/smp/threads.o: tests/unit/smp/threads.supp

$(B)/threads/gcc/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) $(THREADS_CFLAGS) $(THREADS_BLOCKS) -MMD -MP -c -o $@ $<

$(B)/threads/clang/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(THREADS_CFLAGS) $(THREADS_BLOCKS) -MMD -MP -c -o $@ $<

$(THREADS_TESTS:%=$(B)/host/unit/smp/%): $(B)/host/unit/smp/%: $(B)/threads/gcc/tests/unit/smp/%.o $(THREADS_OBJ:%=$(B)/threads/gcc/%) $(THREADS_LIB)
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) -fsanitize=thread -no-pie -Wl,--gc-sections -o $@ $^ -lcmocka

$(THREADS_TESTS:%=$(B)/host/unit/smp/%_clang): $(B)/host/unit/smp/%_clang: $(B)/threads/clang/tests/unit/smp/%.o $(THREADS_OBJ:%=$(B)/threads/clang/%) $(THREADS_LIB)
	@mkdir -p $(@D)
	$(Q)$(CLANG) -fsanitize=thread -no-pie -Wl,--gc-sections -o $@ $^ -lcmocka

$(B)/host/unit/%: $(B)/host/tests/unit/%.o $(HOST_LIB)
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) $(HOST_CFLAGS) -no-pie -o $@ $^ -lcmocka

$(B)/host/madt $(B)/host/fadt: $(B)/host/%: $(B)/host/tools/%.o $(B)/host/tools/table_file.o $(HOST_LIB)
	$(Q)$(HOSTCC) $(HOST_CFLAGS) -no-pie -o $@ $^

$(B)/host/explain: $(B)/host/tools/explain.o $(HOST_LIB)
	$(Q)$(HOSTCC) $(HOST_CFLAGS) -no-pie -o $@ $^

$(B)/host/render: $(B)/host/tools/render.o $(HOST_LIB)
	$(Q)$(HOSTCC) $(HOST_CFLAGS) -no-pie -o $@ $^

# The fuzzers: the same sources once more, by clang, with the counters that libFuzzer looks at.
FUZZ_CFLAGS := -g -O1 -std=gnu17 -fshort-wchar -fsanitize=fuzzer-no-link,address,undefined \
               -fno-sanitize-recover=all $(INCLUDES) $(EFI_CFLAGS) -Itests/fake -DVERSION='"$(VERSION)"' \
               $(if $(COVERAGE),-fprofile-instr-generate -fcoverage-mapping)
FUZZ_LIB    := $(B)/fuzz-objects/libreveille.a
FUZZ_OBJ    := $(patsubst %.c,$(B)/fuzz-objects/%.o,$(PURE_C) $(FAKE_C) $(HOST_EFI_C)) \
               $(IMAGE_S:%.S=$(B)/host/%.o) $(B)/fuzz-objects/font_data.o $(B)/image/trampoline/blob.o

$(B)/fuzz-objects/font_data.o: $(B)/font_data.c
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_CFLAGS) -c -o $@ $<

# A checksum leads a fuzzer nowhere, and it would look at every bit of it.
$(B)/fuzz-objects/hw/lib/crc32.o: FUZZ_CFLAGS += -fno-sanitize=fuzzer-no-link

$(B)/fuzz-objects/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_CFLAGS) -MMD -MP -c -o $@ $<

$(FUZZ_LIB): $(FUZZ_OBJ)
	$(Q)rm -f $@
	$(Q)ar rcs $@ $^

$(B)/host/fuzz/%: $(B)/fuzz-objects/tests/fuzz/%.o $(FUZZ_LIB)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_CFLAGS) -fsanitize=fuzzer -no-pie -o $@ $^

.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
