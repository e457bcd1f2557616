// RDMSR and WRMSR of a register that may not exist. The access runs on an IDT whose #GP leads here, and
// goes on behind the instruction with the answer in EAX. Surprise: the handler does not look where the
// #GP came from, since with this IDT nothing else is executed than what stands here.

// uint32_t (const struct pseudo_descriptor *idt, uint32_t msr, uint64_t *value), interrupts off.
// R8: where the handler goes back to. R9: 1 once the access has survived.
.macro access name
    .globl  \name
    .hidden \name
\name:
    mov     %rdx, %r10
    mov     %esi, %ecx
    mov     (%r10), %eax
    mov     4(%r10), %edx
    sub     $16, %rsp
    sidt    (%rsp)
    lea     1f(%rip), %r8
    xor     %r9d, %r9d
    lidt    (%rdi)
.endm

.macro finish
    inc     %r9d
1:  lidt    (%rsp)
    add     $16, %rsp
    mov     %r9d, %eax
    ret
.endm

    .text
access hw_msr_read_on
    rdmsr                               // any
    mov     %eax, (%r10)
    mov     %edx, 4(%r10)
    finish

access hw_msr_write_on
    wrmsr                               // any
    finish

// On entry: error code, RIP, CS, RFLAGS, RSP, SS on the stack.
    .globl  hw_msr_faulted
    .hidden hw_msr_faulted
hw_msr_faulted:
    add     $8, %rsp
    mov     %r8, (%rsp)
    iretq

    .section .note.GNU-stack, "", @progbits
