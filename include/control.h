// Bits of the control registers and of EFER that more than one room names. (SDM vol. 3A, "Control
// Registers", "Extended Feature Enable Register".)
#pragma once

#define CR4_PAE  (1u << 5)
#define CR4_MCE  (1u << 6)
#define CR4_LA57 (1u << 12)
#define CR4_CET  (1u << 23)

#define CR0_WP (1u << 16)

#define EFER_LME (1u << 8)
#define EFER_NXE (1u << 11)
