// The entry: what has no bytes in the file is cleared, and each pointer of the data gets the base.
// Surprise: it includes the source, and stands in for what the linker would have made: the data,
// the table of the pointers in it, and the memory behind them.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define _DYNAMIC our_dynamic // the test program has one itself
#include "../../../efi/firmware/relocate.c"
#undef _DYNAMIC

// A word, two maps of 63 behind it, and one more.
#define WORDS    128u
#define TABLE_AT 1024u // behind them
#define ENTRIES  4u
#define BSS_AT   1056u
#define BSS_END  1080u

__asm__("    .data\n"
        "    .balign 8\n"
        "image_start:\n"
        "    .fill   1056, 1, 0\n"
        "image_bss_start:\n"
        "    .fill   24, 1, 0xa5\n"
        "image_bss_end:\n"
        "    .fill   8, 1, 0x5a\n"
        "    .text\n");

HIDDEN const Elf64_Dyn our_dynamic[] = {
    {.d_tag = DT_RELASZ, .d_un.d_val = 0},
    {.d_tag = DT_RELRSZ, .d_un.d_val = ENTRIES * sizeof(Elf64_Relr)},
    {.d_tag = DT_RELR, .d_un.d_ptr = TABLE_AT},
    {.d_tag = DT_NULL},
};

static uint8_t *image(size_t at)
{
    return image_start + at;
}

static struct {
    uint32_t entries;
    bool is_clear;
} main_saw;

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system)
{
    assert_ptr_equal(handle, image(1));
    assert_ptr_equal(system, image(2));
    main_saw.entries++;
    main_saw.is_clear = true;
    for (size_t at = BSS_AT; at < BSS_END; at++)
        main_saw.is_clear = main_saw.is_clear && *image(at) == 0;
    return EFI_NOT_READY;
}

static bool is_pointer(size_t word)
{
    return word < 64 || word == WORDS - 1 || word % 3 == 0;
}

static void test_the_entry(void **state)
{
    uint64_t *const words = (uint64_t *)(void *)image(0);
    Elf64_Relr *const table = (Elf64_Relr *)(void *)image(TABLE_AT);

    (void)state;
    table[0] = 0;          // word 0
    table[1] = UINT64_MAX; // and all of 1 to 63
    table[2] = 1;          // of 64 to 126 every third
    table[3] = (WORDS - 1) * sizeof(uint64_t);
    for (size_t word = 0; word < WORDS; word++) {
        words[word] = 0x1000 * word;
        if (word >= 64 && word < WORDS - 1 && is_pointer(word))
            table[2] |= 1ull << (word - 64 + 1);
    }
    assert_int_equal(image_entry(image(1), (EFI_SYSTEM_TABLE *)(void *)image(2)), EFI_NOT_READY);
    assert_int_equal(main_saw.entries, 1);
    assert_true(main_saw.is_clear);
    for (size_t word = 0; word < WORDS; word++)
        assert_int_equal(words[word], 0x1000 * word + (is_pointer(word) ? (uintptr_t)image(0) : 0));
    assert_int_equal(table[1], UINT64_MAX);
    assert_int_equal(*image(BSS_END), 0x5a); // and nothing behind it
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
