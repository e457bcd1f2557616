// The AP's way from STARTUP to C: real mode, protected mode, long mode. Copied data, not linked
// code: this file is assembled alone at origin 0, and what depends on the page's address is listed
// in a table inside the image (patch_tail) that trampoline.c walks after the copy. Surprise: no
// stack and no lock here. Any number of APs walk through at the same time.

#include "handoff.h"
#include "image_layout.h"
#include "msr.h"

#define OFF(label) (label - x86_start16_begin)

#define APIC_BASE_EXTD     (1 << 10)
#define APIC_BASE_EN       (1 << 11)
#define XAPIC_ID           0x20
#define TSS_BUSY           2
#define MISC_ENABLE_XD_DISABLE (1 << 2) // of the high half
#define CPUID_EXTENDED_FEATURES 0x80000001
#define CPUID_NX           20           // EDX
#define EFER_NXE_OF_AH     (1 << (11 - 8))
#define CR0_PE             (1 << 0)
#define CR0_MP             (1 << 1)
#define CR0_ET             (1 << 4)
#define CR0_NE             (1 << 5)
#define CR0_WP             (1 << 16)
#define CR0_PG             (1 << 31)

// Lists, for the last instruction, the operand that ends `before` bytes before its end, four bytes
// wide, as one that must hold page + target.
.macro patch_tail target, before=0
    .pushsection .text, 1
    .word patched_\@ - x86_start16_begin
    .word 4
    .word \target - x86_start16_begin
    .popsection
    .set patched_\@, . - 4 - \before
.endm

// Subsection 1 collects the relocation table behind everything else; 2 marks the end.
    .text   1
    .balign 2
patches:

    .text
    .code16

// Real mode.
// On entry:  CS = page >> 4, IP = 0, EAX = BIST, EDX = CPUID signature, interrupts off, caches as firmware
//            left them, all else as INIT left it (SDM vol. 3A, "Processor State After Reset").
// On exit:   protected mode, ESI = BIST, EDI = signature, EBP = low half of the TSC, EBX = index of the mark,
//            SP = a stack for one trap in a cell of the page, the mark's index its first word.
    .globl x86_start16_begin
x86_start16_begin:
    jmp     start16
    .org    IMAGE_MAGIC_OFFSET
    .long   IMAGE_MAGIC
    .word   OFF(image_end)
    .word   OFF(patches)
    .word   (image_end - patches) / PATCH_BYTES
    .word   OFF(parameters)
    .word   OFF(traps_real)
    .word   OFF(traps_protected)

code_begin:
start16:
    cli
    cld
    mov     %eax, %esi
    mov     %edx, %edi
    rdtsc
    mov     %eax, %ebp
    mov     %cs, %ax
    mov     %ax, %ds                    // page-relative from here on: nothing to patch
    mov     OFF(id_leaf), %eax
    xor     %ecx, %ecx
    cpuid                               // needs no MSR, so it works before the APIC's mode is settled
    cmpb    $1, OFF(id_leaf)
    jne     1f
    mov     %ebx, %edx
    shr     $24, %edx
1:  and     $(MARK_COUNT - 1), %dx
    movzwl  %dx, %ebx
    mov     PAGE_MARKS(%bx), %al        // nobody writes here before us, but for an injected fault
    movb    $STAGE_REAL, PAGE_MARKS(%bx)

    mov     %cs, %dx
    mov     %dx, %ss
    mov     %bx, %sp
    and     $(CELL_COUNT - 1), %sp
    shl     $6, %sp
    add     $(PAGE_CELLS + CELL_BYTES), %sp
    push    %bx
    lidtl   OFF(traps_real_pointer)

    cmp     $DEFECT_HANG_REAL, %al
2:  je      2b
    jb      3f
    ud2
3:  lgdtl   OFF(gdt_pointer)
    mov     %cr0, %eax
    or      $CR0_PE, %al
    lidtl   OFF(traps_protected_pointer) // one instruction before the mode it is for
    mov     %eax, %cr0
    ljmpl   $SELECTOR_CODE32, $OFF(lcpu_start32)
    patch_tail lcpu_start32, 2
    .globl x86_start16_end
x86_start16_end:

// Protected mode, no paging.
// On entry:  as above; CS flat.
// On exit:   long mode with our page tables, EBX = physical address of this processor's struct lcpu, in which
//            the way so far and what INIT left are written; its own GDT, stack and early IDT.
// An APIC ID that stands in no table ends in `unlisted`.
    .code32
    .globl lcpu_start32
lcpu_start32:
    mov     $SELECTOR_DATA, %eax
    mov     %eax, %ds
    mov     %eax, %ss
    movzwl  %sp, %esp
    .byte   0x81, 0xc4                  // add imm32, %esp: the assembler would take one byte for 0
    .long   OFF(x86_start16_begin)
    patch_tail x86_start16_begin
    movb    $STAGE_PROTECTED, PAGE_MARKS(%ebx)
    patch_tail x86_start16_begin + PAGE_MARKS, 1

    // EXTD is each processor's own: set it before any 0x8xx register is touched, the ID's included.
    // Where firmware left it on, it stays on, whatever the BSP uses.
    mov     $MSR_IA32_APIC_BASE, %ecx
    rdmsr
    mov     %eax, %ebx
    test    $APIC_BASE_EXTD, %eax
    jnz     2f
    mov     OFF(x2apic), %ecx
    patch_tail x2apic
    jecxz   3f
    mov     $MSR_IA32_APIC_BASE, %cl         // ECX was 1
    or      $(APIC_BASE_EXTD | APIC_BASE_EN), %eax
    wrmsr
2:  mov     $MSR_X2APIC(XAPIC_ID), %ecx
    rdmsr
    jmp     4f
3:  and     $0xfffff000, %eax
    mov     XAPIC_ID(%eax), %eax
    shr     $24, %eax
4:
    // EAX = our APIC ID. Binary search by halving steps: the table is sorted and padded to a power
    // of two, so at most 32 steps whatever it holds.
    mov     OFF(lcpus), %ecx
    patch_tail lcpus
    mov     OFF(lcpus_half), %edx
    patch_tail lcpus_half
    jmp     7f
5:  cmp     %eax, LCPU_ID_APIC_ID(%ecx,%edx)
    ja      6f
    add     %edx, %ecx
6:  shr     $1, %edx
7:  cmp     $LCPU_ID_BYTES, %edx
    jae     5b
    cmp     %eax, LCPU_ID_APIC_ID(%ecx)
    jne     unlisted
    mov     LCPU_ID_LCPU(%ecx), %ecx
    test    %ecx, %ecx                  // padding bears an ID too
    jz      unlisted

    lea     LCPU_TRAP_TOP(%ecx), %esp
    mov     %ebx, LCPU_APIC_BASE(%ecx)
    mov     %ecx, %ebx
    mov     LCPU_ROUND(%ecx), %eax
    shl     $STATE_STAGE_BITS, %eax
    mov     $STAGE_PROTECTED, %al
    mov     %eax, LCPU_STATE(%ebx)
    rdtsc
    mov     %eax, LCPU_TSC_PROTECTED(%ebx)
    mov     %edx, LCPU_TSC_PROTECTED + 4(%ebx)
    cmp     %ebp, %eax                  // the real-mode stamp's high half: one less if the low half wrapped
    sbb     $0, %edx
    mov     %ebp, LCPU_TSC_REAL(%ebx)
    mov     %edx, LCPU_TSC_REAL + 4(%ebx)
    mov     %esi, LCPU_BIST(%ebx)
    mov     %edi, LCPU_SIGNATURE(%ebx)
    mov     %cr0, %eax
    and     $~CR0_PE, %eax              // the only bit of CR0 changed so far
    mov     %eax, LCPU_CR0(%ebx)
    mov     %cr4, %eax
    mov     %eax, LCPU_CR4(%ebx)
    mov     $MSR_EFER, %ecx
    rdmsr
    mov     %eax, LCPU_EFER(%ebx)
    mov     %edx, LCPU_EFER + 4(%ebx)

    mov     LCPU_DEFECT(%ebx), %al
    dec     %al                         // DEFECT_HANG_PROTECTED
8:  jz      8b
    dec     %al                         // DEFECT_UD_PROTECTED
    jnz     9f
    ud2
9:
    // LA57 and PAE must be as deep as the tables, and PAE before LME (SDM vol. 3A, "Initializing IA-32e
    // Mode"); MCE, or a broadcast machine check shuts the machine down.
    mov     OFF(cr4), %ecx
    patch_tail cr4
    mov     %ecx, %cr4
    // NXE before PG, or the tables' NX bits are reserved bits, and no handler can be reached. A processor
    // may lack NX although the BSP has it: on some, firmware can switch it off, and then so can we on.
    mov     %ebx, %edi
    mov     OFF(misc_enable), %esi
    patch_tail misc_enable
10: mov     $CPUID_EXTENDED_FEATURES, %eax
    cpuid
    mov     OFF(efer), %eax
    patch_tail efer
    test    $EFER_NXE_OF_AH, %ah        // wanted?
    jz      11f
    bt      $CPUID_NX, %edx
    jc      11f
    mov     %esi, %ecx
    jecxz   no_nx
    xor     %esi, %esi                  // once
    rdmsr                               // MSR_IA32_MISC_ENABLE
    and     $~MISC_ENABLE_XD_DISABLE, %edx
    wrmsr                               // MSR_IA32_MISC_ENABLE
    jmp     10b
11: mov     %edi, %ebx
    xor     %edx, %edx
    mov     $MSR_EFER, %ecx
    wrmsr
    mov     OFF(x86_bpt_pml4_addr), %ecx
    patch_tail x86_bpt_pml4_addr
    add     LCPU_CR3_ERROR(%ebx), %ecx
    mov     %ecx, %cr3
    lgdt    LCPU_GDTR(%ebx)
    mov     LCPU_STACK(%ebx), %esp
    mov     $(CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE), %eax // CD and NW survive INIT: clear
    lidt    LCPU_EARLY_IDTR(%ebx)       // one instruction before the mode it is for
    mov     %eax, %cr0
    ljmpl   $SELECTOR_CODE64, $OFF(lcpu_start64)
    patch_tail lcpu_start64, 2

// A processor without NX, which the tables need: told in its record, parked. EDI = struct lcpu.
no_nx:
    movb    $1, LCPU_NO_NX(%edi)
    jmp     8f

// A processor that no table lists: counted, named, parked. EAX = its APIC ID.
unlisted:
    mov     OFF(rally), %ecx
    patch_tail rally
    mov     $1, %edx
    lock xadd %edx, RALLY_UNLISTED_COUNT(%ecx)
    cmp     $RALLY_UNLISTED_MAX, %edx
    jae     8f
    mov     %eax, RALLY_UNLISTED_IDS(%ecx,%edx,4)
8:  cli
    hlt
    jmp     8b

// Long mode.
// On entry:  EBX = struct lcpu, paging as the BSP's, the processor's own stack, GDT and early IDT.
// On exit:   lcpu.entry(lcpu), TSS and IDT loaded; whoever returns from there is done and parks here, in
//            memory that is never given away while a processor may be in it.
    .code64
    .globl lcpu_start64
lcpu_start64:
    mov     %ebx, %ebx                  // the upper half is undefined after the switch
    movb    $STAGE_LONG, LCPU_STATE(%rbx)
    andb    $~TSS_BUSY, LCPU_TSS_TYPE(%rbx) // LTR set it when this processor came the last time
    mov     $SELECTOR_TSS, %eax
    ltr     %ax
    lidt    LCPU_IDTR(%rbx)
    rdtsc
    mov     %eax, LCPU_TSC_LONG(%rbx)
    mov     %edx, LCPU_TSC_LONG + 4(%rbx)
    mov     LCPU_DEFECT(%rbx), %al
    sub     $DEFECT_HANG_LONG, %al
1:  je      1b
    dec     %al                         // DEFECT_UD_LONG
    jnz     2f
    ud2
2:  mov     LCPU_STACK(%rbx), %rsp
    mov     %rbx, %rdi
    xor     %ebp, %ebp                  // the end of every back trace
    call    *LCPU_ENTRY(%rbx)
3:  cli
    hlt
    jmp     3b
code_end:

// Traps before long mode: stubs that the page's tables name, filled in by C. A stub's call leaves
// an address that tells the vector, on top of what the processor pushed; the magic word behind it
// says that the frame is whole. Nobody returns from here.
    .code16
traps_real:
    .rept   TRAP_VECTORS
    .byte   0xe8                        // call rel16: the assembler would be free to choose another size
    .word   trap_real - . - 2
    .endr
trap_real:
    pushw   $TRAP_MAGIC_REAL
1:  hlt
    jmp     1b

    .code32
traps_protected:
    .rept   TRAP_VECTORS
    .byte   0xe8                        // call rel32
    .long   trap_protected - . - 4
    .endr
trap_protected:
    push    $TRAP_MAGIC_PROTECTED
1:  hlt
    jmp     1b

    .balign 8
#define PARAMETER_LABEL(name) name: .long 0;
parameters:
    TRAMPOLINE_PARAMETERS(PARAMETER_LABEL)

// Flat descriptors with the accessed bit set: no processor writes here under paging.
    .balign 8
gdt:
    .quad   0
    .quad   0x00cf9b000000ffff          // SELECTOR_CODE32
    .quad   0x00cf93000000ffff          // SELECTOR_DATA
    .quad   0x00af9b000000ffff          // SELECTOR_CODE64
gdt_end:
    .word   0
gdt_pointer:
    .word   gdt_end - gdt - 1
    .long   OFF(gdt)
    patch_tail gdt
traps_real_pointer:
    .word   TRAP_VECTORS * 4 - 1
    .long   PAGE_TRAPS_REAL
    patch_tail x86_start16_begin + PAGE_TRAPS_REAL
traps_protected_pointer:
    .word   TRAP_VECTORS * 8 - 1
    .long   PAGE_TRAPS_PROTECTED
    patch_tail x86_start16_begin + PAGE_TRAPS_PROTECTED

    .text   2
image_end:
