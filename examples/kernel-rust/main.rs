//! The kernel of examples/kernel with its main() in Rust: every processor wakes, says hello, meets the
//! others, and takes its share of a sum.
//!
//! It says the same, and takes the same words: `hang=2`, `hang-call=2`. Surprise: nothing is unsafe in here
//! but the first call, though each line runs on bare metal, and some on all processors at once.
#![no_std]
#![no_main]

mod bindings;
mod machine;
mod reveille;

use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use machine::{end, option, Machine};
use reveille::{Asleep, Barrier, Cpu, Engine, Error};

const WAIT_US: u64 = 2_000_000; // each wait is for milliseconds of work; an emulator may be slow
const ITEMS: u64 = 1_000_000;

// The exit status of QEMU.
const ALL_CAME: u32 = 33;
const NOT_ALL: u32 = 35;
const REFUSED: u32 = 37;

static HANG: AtomicU32 = AtomicU32::new(0);
static HANG_CALL: AtomicU32 = AtomicU32::new(0);
static MET: AtomicU32 = AtomicU32::new(0);
static SUM: AtomicU64 = AtomicU64::new(0);
static BARRIERS: [Barrier; 8] = [Barrier::NEW; 8]; // one more for each processor that is lost at one
static BARRIER: AtomicUsize = AtomicUsize::new(0);

fn hang_if(cpu: &Cpu, who: &AtomicU32) {
    while cpu.number() == who.load(Relaxed) {
        core::hint::spin_loop();
    }
}

fn hello(cpu: Cpu) {
    hang_if(&cpu, &HANG);
    say!("Hello from CPU {}! APIC ID: {}", cpu.number(), cpu.apic_id());
}

fn meet(cpu: Cpu) {
    hang_if(&cpu, &HANG_CALL);
    if BARRIERS[BARRIER.load(Relaxed)].wait(WAIT_US).is_ok() {
        MET.fetch_add(1, Relaxed);
    }
}

/// With SSE's registers, as any Rust may, on whatever processor. What is below 2^53 is exact.
fn add(_: Cpu, items: Range<u64>) {
    let part: f64 = items.map(|item| item as f64).sum();
    SUM.fetch_add(part as u64, Relaxed);
}

/// Whoever hangs breaks the barrier for all, and is not called again.
fn meet_all(engine: &mut Engine, mut waiting: u32) -> Result<(), Error> {
    for place in 0..BARRIERS.len() {
        MET.store(0, Relaxed);
        BARRIER.store(place, Relaxed);
        BARRIERS[place].open(engine, waiting)?;
        let calls = engine.call(meet)?.wait(2 * WAIT_US);
        say!("Barrier: passed by {} of {}", MET.load(Relaxed), calls.called);
        if calls.missing == 0 {
            break;
        }
        waiting = calls.returned;
    }
    Ok(())
}

fn add_all(engine: &mut Engine) -> Result<bool, Error> {
    let result = engine.for_each(ITEMS, add, WAIT_US)?;
    let right = result.done == ITEMS && SUM.load(Relaxed) == ITEMS * (ITEMS - 1) / 2;
    say!("Sum: {}, by {} processors", if right { "right" } else { "wrong" }, result.calls.returned + 1);
    Ok(right)
}

/// Whether all is well.
fn run() -> Result<bool, Error> {
    let asleep = Asleep::open::<Machine>(hello, |found| {
        say!("{} processors, {}, TSC {} kHz", found.processors, found.apic_mode, found.tsc_hz / 1000)
    })?;
    let (mut engine, greeted) = asleep.wake()?;
    if greeted > 0 {
        meet_all(&mut engine, greeted)?;
    }
    let right = add_all(&mut engine)?;
    for account in engine.accounts().filter(|account| !account.works()) {
        say!("{}", account);
    }
    let (count, lost) = (engine.count(), engine.accounts().filter(|account| !account.works()).count());
    say!("The end: {} of {} processors work", count - lost, count);
    Ok(right && lost == 0)
}

#[no_mangle]
extern "C" fn main(multiboot_phys: u32) -> ! {
    if !unsafe { Machine::begin(multiboot_phys) } {
        end(REFUSED);
    }
    HANG.store(option(b"hang\0"), Relaxed);
    HANG_CALL.store(option(b"hang-call\0"), Relaxed);
    match run() {
        Ok(true) => end(ALL_CAME),
        Ok(false) => end(NOT_ALL),
        Err(why) => {
            say!("The end: nobody was woken: {}", why);
            end(REFUSED)
        }
    }
}
