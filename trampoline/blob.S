// The trampoline's flat binary as bytes of the image.
#include "image_layout.h"

    .section .rodata.trampoline, "a"
    .balign 16
    .globl trampoline_blob
    .hidden trampoline_blob
trampoline_blob:
    .incbin "ap_start.bin"
trampoline_blob_end:
    .if trampoline_blob_end - trampoline_blob > PAGE_IMAGE_LIMIT
    .error "the image reaches into the marks"
    .endif
    .globl trampoline_blob_bytes
    .hidden trampoline_blob_bytes
    .balign 8
trampoline_blob_bytes:
    .quad trampoline_blob_end - trampoline_blob
    .section .note.GNU-stack, "", @progbits
