// An AP's turn. Surprise: its line comes last. A processor that has said hello has nothing left to
// do, so a reader of the log knows that it is through.

#include "hello.h"

#include "line.h"

void hello_locate(uint32_t apic_id, struct hello *hello)
{
    topology_read(apic_id, &hello->place);
    atomic_store_explicit(&hello->known, true, memory_order_release);
}

static void say(struct console *console, const struct smp_self *self)
{
    char buffer[LINE_BYTES];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line, "Hello from CPU %u! APIC ID: %u", (uint64_t)self->cpu,
                    (uint64_t)self->apic_id);
    console_say(console, self->cpu, &line);
}

bool hello_say(void *context, const struct smp_self *self)
{
    const struct hellos *hellos = context;
    struct hello *own = &hellos->of_slot[self->slot];

    if (inject_is_mute(hellos->injector, self->slot))
        return false;
    hello_locate(self->apic_id, own);
    if (hellos->console->log == LOG_DEBUG) {
        own->microcode = processor_read_microcode();
        own->missing_msr = processor_read_missing_msr();
    }
    say(hellos->console, self);
    return true;
}
