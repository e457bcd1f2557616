// console.c: printf for COM1, and the four functions of a C library that the engine needs.
//
// Surprise: processors print at the same time, and one may be stopped for good in a line of its
// own. So the lock is not waited for for ever: a torn line is better than a silent kernel.
#include <stdarg.h>
#include <stdatomic.h>

#include "machine.h"

#define COM1 0x3f8 // 115200 baud, 8 bits

// A look at the UART takes 1 us. At 115200 baud a line of 100 characters takes 8.7 ms, and one
// character 87 us: so long, ten times.
#define LOCK_LOOKS 100000u
#define SEND_LOOKS 1000u

static atomic_flag lock = ATOMIC_FLAG_INIT;

void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "d"(port));
}

static bool is_sent(void)
{
    uint8_t line_status;
    __asm__ volatile("inb %1, %0" : "=a"(line_status) : "d"((uint16_t)(COM1 + 5)));
    return line_status & 0x20;
}

void console_begin(void)
{
    static const uint8_t bytes[][2] = {{3, 0x80}, {0, 1}, {1, 0}, {3, 3}, {1, 0}}; // no interrupts
    for (size_t i = 0; i < sizeof(bytes) / 2; i++)
        out8(COM1 + bytes[i][0], bytes[i][1]);
}

static void put(char c)
{
    if (c == '\n')
        put('\r');
    for (uint32_t looks = 0; !is_sent() && looks < SEND_LOOKS; looks++) {
    }
    out8(COM1, (uint8_t)c);
}

static void put_number(uint32_t value)
{
    if (value >= 10)
        put_number(value / 10);
    put((char)('0' + value % 10));
}

void print(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    for (uint32_t looks = 0; atomic_flag_test_and_set(&lock) && looks < LOCK_LOOKS; looks++)
        is_sent();
    for (; *format; format++) {
        if (*format != '%')
            put(*format);
        else if (*++format == 's')
            for (const char *text = va_arg(values, const char *); *text; text++)
                put(*text);
        else
            put_number(va_arg(values, uint32_t)); // %u
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

void *memcpy(void *to, const void *from, size_t bytes) __attribute__((alias("memmove")));

void *memset(void *to, int value, size_t bytes)
{
    for (volatile uint8_t *at = to; bytes > 0; bytes--)
        *at++ = (uint8_t)value;
    return to;
}

int memcmp(const void *left, const void *right, size_t bytes)
{
    const volatile uint8_t *l = left, *r = right;
    for (; bytes > 0 && *l == *r; bytes--)
        l++, r++;
    return bytes > 0 ? *l - *r : 0;
}
