//! machine.h for Rust: the console, memory and ACPI of examples/kernel, and what no_std asks for.
//!
//! Surprise: a line is made whole before it is printed, so that the lock of print() holds it together;
//! what is longer than its buffer is cut.

use crate::reveille::{Kernel, Pages, Region, Rights, Severity};
use core::fmt;
use core::panic::PanicInfo;

const KERNEL: u64 = 0xffff_ffff_8000_0000;

extern "C" {
    fn machine_begin(multiboot_phys: u32) -> bool;
    fn print(format: *const u8, ...);
    fn machine_option(name: *const u8) -> u32;
    fn machine_take(bytes: u64, below: u64, phys: *mut u64) -> *mut u8;
    fn machine_view(phys: u64) -> *mut u8;
    fn machine_table(signature: *const u8, bytes: *mut usize) -> *const u8;
    fn machine_end(status: u32) -> !;
    static kernel_begin: u8;
    static text_end: u8;
    static rodata_end: u8;
    static kernel_end: u8;
}

struct Line {
    text: [u8; 320], // the longest is a sentence of the engine's: 256
    length: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.length < self.text.len() - 1 {
                self.text[self.length] = byte;
                self.length += 1;
            }
        }
        Ok(())
    }
}

pub fn say(what: fmt::Arguments) {
    let mut line = Line { text: [0; 320], length: 0 };
    let _ = fmt::Write::write_fmt(&mut line, what); // a Line takes everything
    unsafe { print(b"%s\n\0".as_ptr(), line.text.as_ptr()) };
}

#[macro_export]
macro_rules! say {
    ($($what:tt)*) => { $crate::machine::say(format_args!($($what)*)) };
}

#[panic_handler]
fn panic(why: &PanicInfo) -> ! {
    say!("{}", why);
    loop {
        unsafe { core::arch::asm!("cli", "hlt") }; // an AP that panics is one that does not come back
    }
}

pub fn end(status: u32) -> ! {
    unsafe { machine_end(status) }
}

/// The number behind `name=`; the name ends with \0. 0: there is none.
pub fn option(name: &'static [u8]) -> u32 {
    assert!(name.ends_with(b"\0"));
    unsafe { machine_option(name.as_ptr()) }
}

/// This machine, once GRUB's information was found to be of use.
pub struct Machine;

impl Machine {
    /// # Safety
    /// Called once, before anything else of this file, with what GRUB has handed over.
    pub unsafe fn begin(multiboot_phys: u32) -> bool {
        machine_begin(multiboot_phys)
    }
}

fn region(name: &'static str, rights: Rights, begin: &'static u8, end: &'static u8) -> Region {
    let virt = begin as *const u8 as u64;
    Region { name, virt, phys: virt - KERNEL, bytes: end as *const u8 as u64 - virt, rights }
}

// machine.c takes each page once and maps 4 GiB, the last 32 MiB uncached; kernel.ld's symbols part the
// image.
unsafe impl Kernel for Machine {
    fn take(bytes: u64, below: u64) -> Option<Pages> {
        let mut phys = 0;
        let view = unsafe { machine_take(bytes, below.min(1 << 32), &mut phys) };
        (!view.is_null()).then(|| Pages { phys, view })
    }

    fn view(phys: u64) -> u64 {
        unsafe { machine_view(phys) as u64 }
    }

    fn madt() -> &'static [u8] {
        let mut bytes = 0;
        let table = unsafe { machine_table(b"APIC\0".as_ptr(), &mut bytes) };
        if table.is_null() {
            return &[];
        }
        unsafe { core::slice::from_raw_parts(table, bytes) }
    }

    fn regions() -> [Region; 3] {
        unsafe {
            [
                region("code\0", Rights::Execute, &kernel_begin, &text_end),
                region("constants\0", Rights::Read, &text_end, &rodata_end),
                region("data\0", Rights::Write, &rodata_end, &kernel_end),
            ]
        }
    }

    fn tell(severity: Severity, what: &str, detail: &str) {
        let word = if severity == Severity::Error { "error" } else { "warning" };
        say!("{}: {}: {}", word, what, detail);
    }
}
