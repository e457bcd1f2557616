// machine.h: what a kernel has beside its main(): a console, memory, ACPI, and an end. The kernel
// with its main() in Rust, examples/kernel-rust, has the same.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Takes what GRUB says, before anything else is called. False: there is no memory map in it.
bool machine_begin(uint32_t multiboot_phys);

// On COM1, from any processor, by %s and %u.
void console_begin(void);
__attribute__((format(printf, 1, 2))) void print(const char *format, ...);

// The number behind `name=` in the kernel's command line; 0: there is none.
uint32_t machine_option(const char *name);

// Whole pages of free memory below an address, as high as can be; NULL: there are none.
void *machine_take(uint64_t bytes, uint64_t below, uint64_t *phys);
// Where the kernel sees the first 4 GiB of physical memory, of which the last 32 MiB are uncached.
void *machine_view(uint64_t phys);

// The ACPI table of this signature, and its length; NULL: there is none whose sum is right.
const void *machine_table(const char *signature, size_t *bytes);

// Ends QEMU with this exit status; any other machine stops.
_Noreturn void machine_end(uint32_t status);

void out8(uint16_t port, uint8_t value);
int memcmp(const void *left, const void *right, size_t bytes);

#define KERNEL 0xffffffff80000000ull
extern uint8_t kernel_begin[], text_end[], rodata_end[], kernel_end[]; // kernel.ld
