// The null trampolines: the shortest way from STARTUP to a halt, in real mode and in long mode.
// Copied data, reached by no jump of the image's. All they share lies in the same page, so nothing
// has to be patched.

#include "msr.h"
#include "null.h"

#define NULL_EFER_NXE (1 << (11 - 8)) // in AH
#define CR0_LONG 0x80010033 // PG WP NE ET MP PE

    .section .rodata.null, "a"
    .code16
    .globl null_real, null_real_end, null_long, null_long_end, null_long_target
    .hidden null_real, null_real_end, null_long, null_long_end, null_long_target

null_real:
    cli
    mov     %cs, %ax
    mov     %ax, %ds
    rdtsc
    mov     %eax, NULL_STAMP
    mov     %edx, NULL_STAMP + 4
    lock incl NULL_COUNT
1:  hlt
    jmp     1b
null_real_end:
    .org    null_real + NULL_PARAMETERS // or the build stops here

// From real mode to long mode in one step: PE and PG together.
null_long:
    cli
    mov     %cs, %ax
    mov     %ax, %ds
    lgdtl   NULL_GDTR
    mov     NULL_CR4, %eax
    mov     %eax, %cr4
    mov     NULL_CR3, %eax
    mov     %eax, %cr3
    mov     $0x80000001, %eax           // as the trampoline: without NX the tables are not for us
    cpuid
    mov     NULL_EFER, %eax
    test    $NULL_EFER_NXE, %ah
    jz      1f
    bt      $20, %edx
    jnc     2f
1:  xor     %edx, %edx
    mov     $MSR_EFER, %ecx
    wrmsr
    mov     NULL_WINDOW, %ebx
    mov     $CR0_LONG, %eax
    mov     %eax, %cr0
    ljmpl   *NULL_TARGET
2:  hlt
    jmp     2b
    .code64
null_long_target:
    mov     %ebx, %ebx                  // the upper half is undefined after the switch
    rdtsc
    mov     %eax, NULL_STAMP(%rbx)
    mov     %edx, NULL_STAMP + 4(%rbx)
    lock incl NULL_COUNT(%rbx)
1:  hlt
    jmp     1b
null_long_end:
    .org    null_long + NULL_PARAMETERS
    .section .note.GNU-stack, "", @progbits
