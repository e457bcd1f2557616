// Three short ways from the engine into the rooms above it. Surprise: the line about a fault may be
// what faults next, so each further fault of the same processor says less.

#include "host.h"

static bool run(void *context, const struct smp_self *self)
{
    const struct host *host = context;
    return hello_say((void *)(uintptr_t)&host->hellos, self);
}

static bool filter(void *context, struct smp_message *message)
{
    struct host *host = context;
    return inject_filter(&host->injector, message);
}

static void say(struct console *console, const struct smp_fault_report *report)
{
    console_record_text(console, report->self.cpu, report->text, report->length);
}

// An AP says its line, and never a second one: the first fault's is the account's. The BSP has the
// account to give. Its second fault was in the line about the first one or behind it: the serial
// port alone is left, then. Its third costs that, too.
static void fault(void *context, const struct smp_fault_report *report)
{
    struct host *host = context;
    struct console *console = host->console;

    if (report->self.slot != 0) {
        if (report->before == 0)
            say(console, report);
        else
            console_let_go(console, report->self.cpu);
        return;
    }
    if (report->before > 0)
        console_drop_sinks(console);
    if (report->before > 1)
        console->uart.present = false;
    else
        say(console, report);
    ending_after_fault(host->ending);
}

struct smp_host host_callbacks(struct host *host, const struct problems *problems)
{
    return (struct smp_host){
        .context = host,
        .run = run,
        .filter = inject_has_messages(&host->injector) ? filter : NULL,
        .fault = fault,
        .problems = *problems,
    };
}
