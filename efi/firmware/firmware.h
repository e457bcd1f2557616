// Firmware, as one handle that this room passes around: the only place with UEFI types.
#pragma once

#include <efi.h>
#include <efipciio.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "census.h"
#include "console.h"
#include "hw.h"
#include "journal.h"
#include "machine.h"
#include "note.h"
#include "options.h"
#include "phys.h"
#include "problem.h"
#include "report.h"
#include "status.h"

struct firmware {
    EFI_HANDLE handle;
    EFI_SYSTEM_TABLE *system;
    EFI_BOOT_SERVICES *boot;
    EFI_LOADED_IMAGE *loaded;
    // The memory map's buffer: allocated once, with room to grow, before the first use.
    uint8_t *map;
    UINTN map_capacity, map_bytes, map_key, descriptor_bytes;
    // The firmware's own address space and tables, to go back to for runtime services.
    uint64_t cr0, cr3, cr4, efer;
    uint64_t pat; // 0: there is none
    struct hw_tables tables;
    uint64_t stack_top; // of the firmware's stack that we run on, as efi_main found it
};

// The option line as somebody left it who edited it before the exit.
struct typed {
    char text[OPTION_WORDS_BYTES];
    size_t length;
    bool given; // in place of the file and the load options
};

// configure.c: the texts that options come from, into options. Problems go to `problems`.
enum status configure(const struct firmware *firmware, const struct typed *typed,
                      const struct problems *problems, struct options *options);

// tables.c: the address of a configuration table, and of the RSDP; 0 if firmware has none.
uint64_t table_find(const struct firmware *firmware, const EFI_GUID *guid);
uint64_t table_rsdp(const struct firmware *firmware);

// device_path.c: the first node that is wanted, by its type, subtype and content; NULL: none.
const uint8_t *device_path_find(const EFI_DEVICE_PATH_PROTOCOL *path,
                                bool (*wanted)(const uint8_t *node, size_t bytes));

// The port that is ours, and what has to be given back of the way to it.
struct serial_port {
    struct uart *uart; // the console's
    struct serial_switch {
        EFI_PCI_IO_PROTOCOL *device; // NULL: nothing was switched on
        UINT16 command;              // its command register before
    } on;
};

// serial.c: opens the port that the options name, or else the first that answers: the SPCR's, those
// of firmware's own serial drivers, COM1 to COM4, PCI serial controllers with I/O ports, and under
// QEMU its debug console. port->uart says where. Reads the memory map. A port that is not taken is
// left as it was.
struct serial_found serial_open(struct firmware *firmware, const struct options *options,
                                bool under_qemu, uint64_t ticks_per_us, struct serial_port *port);

// While firmware lives: gives the port back, as it was in every register. What is said after that
// is not heard there. Nothing where none was opened, or twice.
void serial_close(struct serial_port *port);

// screen_text.c: firmware's text screens as a console sink until the exit. With `everywhere` the
// whole ConOut, else only screens, since a serial terminal would show each line twice.
struct text_screens {
    const struct firmware *firmware;
    bool pause; // wait for a key after each page
    size_t row; // of the page, written so far
    SIMPLE_TEXT_OUTPUT_INTERFACE *outputs[8];
    size_t count;
};
void text_screens_open(const struct firmware *firmware, bool everywhere,
                       struct text_screens *screens);
void text_screens_write(void *screens, const char *text);

// memory.c. All memory is allocated here, before the exit: `pages` of 4 KiB below 4 GiB, NULL where
// there are none.
void *memory_allocate(const struct firmware *firmware, size_t pages);
void memory_free(const struct firmware *firmware, void *memory, size_t pages);
// Reads the memory map into the buffer, allocating or growing the buffer where needed.
enum status memory_read_map(struct firmware *firmware);
// Fills machine->ram: everything that the map calls memory, merged and ascending.
enum status memory_collect_ram(struct firmware *firmware, struct machine *machine);
// Can these bytes be read without a fault, as far as the map knows? For phys.h.
const void *memory_view(const void *firmware, uint64_t address, uint64_t bytes);
// Is this address memory, as the map says?
bool memory_is_ram(const struct firmware *firmware, uint64_t address);
// How many pages below `limit` are free.
uint32_t memory_count_free(const struct firmware *firmware, uint64_t limit);
// The page for the trampoline. Returns STATUS_OK with *page set, or with *page = 0 and *after_exit
// set to a boot-services page that is ours after the exit; STATUS_NOT_FOUND after telling every
// descriptor below 1 MiB.
enum status memory_take_low_page(struct firmware *firmware, const struct problems *problems,
                                 uint32_t *page, uint32_t *after_exit);
// A boot-services page below 0xa0000 that will be ours after the exit, and holds nothing vital
// until then.
enum status memory_find_late_page(struct firmware *firmware, const struct problems *problems,
                                  uint32_t *page);
// Writes two patterns and reads them back; the bytes are restored.
bool memory_is_writable(uint64_t phys);

// gather.c: every fact, into machine.
enum status gather(struct firmware *firmware, const struct options *options,
                   const struct problems *problems, struct machine *machine);
// Before the console is opened: who firmware, processor and machine are. Reads the memory map.
void gather_identity(struct firmware *firmware, struct machine *machine);

// processors.c: who is there, by the MADT, or by MP Services where there is none to be used, into
// machine->inventory; and how many MP Services counts. machine->bsp_apic_id must have been read.
// Returns STATUS_OK, or after telling why what acpi_find_table and inventory_read return, and
// STATUS_NO_SPACE.
enum status processors_gather(const struct firmware *firmware, const struct phys *phys,
                              uint64_t rsdp, const struct options *options,
                              const struct problems *problems, struct machine *machine);
// MP Services' table of `count` processors, as far as it answers, into memory of its own.
void processors_read_census(const struct firmware *firmware, uint32_t count, struct census *census);

// platform.c: SMBIOS's names, and all else, into machine->platform. The memory map must have been
// read.
void platform_read_names(const struct firmware *firmware, struct platform *platform);
void platform_gather(const struct firmware *firmware, struct machine *machine);

// time.c: the TSC's rate, measured against Stall().
enum status time_calibrate(const struct firmware *firmware, uint16_t pm_timer_port,
                           const struct problems *problems, struct machine *machine);

// Date and time as one number that grows; 0 where firmware has no clock.
uint64_t time_of_day(const struct firmware *firmware);

// compare.c: StartupAllAPs of an empty procedure, cold and warm. False where MP Services is absent
// or refuses.
bool compare_firmware(const struct firmware *firmware, const struct machine *machine,
                      struct firmware_times *times);

// leave.c: ExitBootServices by the strict rule. After the first attempt only GetMemoryMap and
// ExitBootServices are called, and since UEFI 2.9 those that allocate a longer buffer for the map.
// Returns STATUS_OK, or STATUS_INVALID when firmware refused every time; boot services must not be
// used in either case.
enum status leave_firmware(struct firmware *firmware);

// bsp.c. What the BSP's address spaces differ in, firmware's and ours.
struct bsp_registers {
    uint64_t cr0, cr3, cr4, efer;
    uint64_t pat; // 0: is left alone
    struct hw_tables tables;
};
// As they are; `has_pat`: there is one, and it is to be kept too. The task register is left out.
void bsp_read_registers(bool has_pat, struct bsp_registers *registers);
// To our address space, or back to it. Interrupts are off, here and below.
void bsp_enter_ours(const struct bsp_registers *ours);
// To firmware's, as it was when it started us, for runtime services. Its shadow stack stays off.
void return_to_firmware_tables(const struct firmware *firmware);

// end.c: how a run ends once firmware is left, and how it is refused before. Does not return.
enum exit_code { EXIT_OK = 0x10, EXIT_FAILED = 0x11, EXIT_REFUSED = 0x12 };
// `waiting` is the journal in which the result waits for the start that a reset brings; NULL: none.
_Noreturn void end_run(struct firmware *firmware, const struct machine *machine,
                       const struct options *options, struct journal *waiting,
                       struct console *console, enum exit_code code);
// Is a reset after linger= the only end that this machine can come to, since it hears nobody?
bool end_resets_itself(const struct machine *machine, const struct options *options);
// Does the end wait for a person?
bool end_waits(const struct machine *machine, const struct options *options);
// With exit=no or check=yes: tells QEMU's debug port if end=debug-exit asks for it; returns.
void end_inside(const struct options *options, enum exit_code code);
// After a start that only fetched the previous run's result: leaves QEMU, or powers off where
// end=poweroff; else it returns, and firmware goes on.
void end_fetched(const struct firmware *firmware, const struct machine *machine,
                 const struct options *options, enum exit_code code);
// Before the exit: tells QEMU's debug port, where one is to be used; returns where there is none.
void end_refused(const struct machine *machine, const struct options *options);
