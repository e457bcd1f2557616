// Entry stubs for vectors 0 to 31. Each pushes what the processor did not, so that every frame
// looks alike (struct fault_frame), and goes on in C, which never returns: nothing is saved.
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
    jmp     fault_common
    .set    vector, vector + 1
    .endr

    .balign FAULT_STUB_BYTES
fault_common:
    cld
    mov     %rsp, %rdi
    and     $-16, %rsp
    xor     %ebp, %ebp
    call    fault_report
    ud2

    .section .note.GNU-stack, "", @progbits
