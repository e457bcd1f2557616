// HLT until an NMI has come and a word has changed. Whoever is interrupted anywhere from the start to the end begins
// anew (hw_after_nmi): an NMI between the look and the HLT is not lost.

// void (const _Atomic uint32_t *word, uint32_t value), interrupts off.
    .text
    .globl  hw_await_nmi
    .hidden hw_await_nmi
    .globl  hw_await_nmi_end
    .hidden hw_await_nmi_end
hw_await_nmi:
    cmp     %esi, (%rdi)
    jne     1f
    hlt
    jmp     hw_await_nmi
hw_await_nmi_end:
1:  ret

    .section .note.GNU-stack, "", @progbits
