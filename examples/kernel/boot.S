// boot.S: from GRUB's 32-bit protected mode to main() in the higher half.
//
// The page tables map the first 4 GiB of physical memory at 0xffff800000000000, and the first GiB
// once more at KERNEL, where this image is linked. Surprise: SSE is switched on for the sake of
// examples/kernel-rust, whose core library uses it; C is built without.
#define KERNEL 0xffffffff80000000
#define PHYS(symbol) (symbol - KERNEL)
#define TABLE 0x003 // present, writable
#define LARGE 0x083 // the same, and a page of 2 MiB
#define UNCACHED 0x18 // PCD, PWT

    .section .multiboot, "a"
    .long 0xe85250d6, 0, 24, 0x17adaf12 // multiboot2; 24 bytes; what makes the sum 0
    .long 0, 8                          // the last of the header's tags, and the only one

    .text
    .code32
    .globl start
start:
    mov %ebx, %edi // what GRUB knows: main()'s argument
    mov $PHYS(root), %eax
    mov %eax, %cr3
    mov $0x620, %eax // PAE, OSFXSR, OSXMMEXCPT
    mov %eax, %cr4
    mov $0xc0000080, %ecx // EFER
    rdmsr
    or $0x100, %eax // LME
    wrmsr
    mov $0x80010033, %eax // PG, WP, NE, ET, MP, PE
    mov %eax, %cr0
    lgdt PHYS(gdt_low)
    mov $16, %eax
    mov %eax, %ss
    ljmp $8, $PHYS(start64)

    .code64
start64:
    movabs $higher_half, %rax
    jmp *%rax
higher_half:
    lgdt gdt_high(%rip)
    lidt idt_pointer(%rip)
    lea stack_top(%rip), %rsp
    movq $0, root(%rip) // nothing is left below
    mov %cr3, %rax
    mov %rax, %cr3
    mov %edi, %edi // 32-bit code leaves the upper half undefined
    call main // which does not return

    .data
gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff // code of 64 bits, data
gdt_low:
    .short gdt_low - gdt - 1
    .long PHYS(gdt)
gdt_high:
    .short gdt_low - gdt - 1
    .quad gdt
idt_pointer: // of no gates: an exception in this kernel resets the machine
    .short 511
    .quad idt

    .balign 4096
root:
    .quad PHYS(first_gibs) + TABLE // until the higher half is reached
    .fill 255, 8, 0
    .quad PHYS(first_gibs) + TABLE
    .fill 254, 8, 0
    .quad PHYS(last_gibs) + TABLE
last_gibs:
    .fill 510, 8, 0
    .quad PHYS(directories) + TABLE, 0
first_gibs:
    .quad PHYS(directories) + 0x0000 + TABLE, PHYS(directories) + 0x1000 + TABLE
    .quad PHYS(directories) + 0x2000 + TABLE, PHYS(directories) + 0x3000 + TABLE
    .fill 508, 8, 0
directories:
    .rept 2032
    .quad (. - directories) / 8 * 0x200000 + LARGE
    .endr
    .rept 16 // the last 32 MiB are devices', the local APIC among them
    .quad (. - directories) / 8 * 0x200000 + LARGE + UNCACHED
    .endr

    .bss
    .balign 16
idt: .skip 512 + 32768
stack_top:
