// console.c: printf for COM1, and the four functions of a C library that the engine needs.
//
// Surprise: processors print at the same time, and one may be stopped for good in a line of its
// own. So the lock is not waited for for ever: a torn line is better than a silent kernel.
#include <stdarg.h>
#include <stdatomic.h>

#include "machine.h"

// A look at the UART takes 1 us. At 115200 baud a line of 100 characters takes 8.7 ms, and one
// character 87 us: so long, ten times.
#define LOCK_LOOKS 100000u
#define SEND_LOOKS 1000u

static atomic_flag lock = ATOMIC_FLAG_INIT;

static uint8_t line_status(void)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"((uint16_t)(COM1 + 5)));
    return value;
}

static void begin(void)
{
    for (uint32_t looks = 0; atomic_flag_test_and_set(&lock) && looks < LOCK_LOOKS; looks++)
        line_status();
}

static void put(char c)
{
    if (c == '\n')
        put('\r');
    for (uint32_t looks = 0; !(line_status() & 0x20) && looks < SEND_LOOKS; looks++) {
    }
    out8(COM1, (uint8_t)c);
}

static void put_number(uint64_t value, unsigned base)
{
    if (value >= base)
        put_number(value / base, base);
    put("0123456789abcdef"[value % base]);
}

void print(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    begin();
    for (; *format; format++) {
        if (*format != '%') {
            put(*format);
        } else if (*++format == 's') {
            for (const char *text = va_arg(values, const char *); *text;)
                put(*text++);
        } else if (*format == 'u') {
            put_number(va_arg(values, uint32_t), 10);
        } else { // %lu, %lx
            put_number(va_arg(values, uint64_t), *++format == 'x' ? 16 : 10);
        }
    }
    atomic_flag_clear(&lock);
    va_end(values);
}

void *memmove(void *to, const void *from, size_t bytes)
{
    volatile uint8_t *d = to;
    const uint8_t *s = from;
    for (size_t i = 0; i < bytes && d < s; i++)
        d[i] = s[i];
    for (size_t i = bytes; i > 0 && d > s; i--)
        d[i - 1] = s[i - 1];
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    return memmove(to, from, bytes);
}

void *memset(void *to, int value, size_t bytes)
{
    void *at = to;
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(bytes) : "a"(value) : "memory");
    return to;
}

int memcmp(const void *left, const void *right, size_t bytes)
{
    const volatile uint8_t *l = left, *r = right;
    for (; bytes > 0 && *l == *r; bytes--)
        l++, r++;
    return bytes > 0 ? *l - *r : 0;
}
