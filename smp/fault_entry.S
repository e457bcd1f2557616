// Entry stubs for vectors 0 to 31. Each pushes what the processor did not, so that every frame
// looks alike (struct fault_frame), and goes on in C, which returns from no other than an NMI that
// was sent on purpose.
// Surprise: all stubs have the same size, so that C can compute an address from a vector.

#include "handoff.h"

    .text
    .balign FAULT_STUB_BYTES
    .globl  fault_stubs
    .hidden fault_stubs
fault_stubs:
    .set    vector, 0
    .rept   32
    .balign FAULT_STUB_BYTES
    // These push an error code themselves (SDM vol. 3A, "Exception and Interrupt Reference").
    .if     vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30
    .else
    pushq   $0
    .endif
    pushq   $vector
    .if     vector == VECTOR_NMI
    jmp     nmi
    .else
    jmp     fault_common
    .endif
    .set    vector, vector + 1
    .endr

    .balign FAULT_STUB_BYTES
// An NMI that is to end a wait returns; any other is a fault. With nine registers on it the stack is
// aligned as for a call.
nmi:
    push    %rax
    push    %rcx
    push    %rdx
    push    %rsi
    push    %rdi
    push    %r8
    push    %r9
    push    %r10
    push    %r11
    cld
    lea     9 * 8(%rsp), %rdi
    call    fault_is_nudge
    test    %al, %al
    pop     %r11
    pop     %r10
    pop     %r9
    pop     %r8
    pop     %rdi
    pop     %rsi
    pop     %rdx
    pop     %rcx
    pop     %rax
    jz      fault_common
    add     $16, %rsp
    iretq

fault_common:
    cld
    mov     %rsp, %rdi
    and     $-16, %rsp
    xor     %ebp, %ebp
    call    fault_report
    ud2

    .section .note.GNU-stack, "", @progbits
