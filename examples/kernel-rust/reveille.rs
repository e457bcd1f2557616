//! The engine for safe Rust: a thin layer over reveille.h, and all that is unsafe about it.
//!
//! What runs on another processor is a `fn(Cpu)`: it has no environment, so it borrows nothing that its
//! caller could take away, however late it is. A call that is under way borrows the engine for itself,
//! and what is said of a processor borrows it, too: no call, no wake and no new owner in between.
//! Surprise: an AP comes without SSE, and Debian's libcore is built with it; so `enter` switches it on.

use crate::bindings as raw;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::fmt;
use core::marker::PhantomData;
use core::mem::{transmute, zeroed, MaybeUninit};
use core::ops::Range;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicU8, Ordering};

// ---- what a kernel brings ----

/// Physical pages, and where the kernel sees them.
pub struct Pages {
    pub phys: u64,
    pub view: *mut u8,
}

#[derive(Clone, Copy)]
pub enum Rights {
    Read,
    Write,
    Execute,
}

/// A part of the kernel that the other processors may use, at the address at which the kernel has it.
pub struct Region {
    pub name: &'static str, // ends with \0
    pub virt: u64,
    pub phys: u64,
    pub bytes: u64,
    pub rights: Rights,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Warning,
    Error,
}

/// A kernel around the engine.
///
/// # Safety
///
/// It promises: pages that `take` gives are mapped, and nobody else's, for ever; `view` is where a device's
/// page is seen, uncached; the regions are the kernel's code, constants and data, all of them, mapped as they
/// are here; it runs on the processor that is to wake the others, in 64-bit mode, with interrupts off, on
/// tables of its own for segments and for exceptions.
pub unsafe trait Kernel {
    fn take(bytes: u64, below: u64) -> Option<Pages>;
    fn view(phys: u64) -> u64;
    fn madt() -> &'static [u8];
    fn regions() -> [Region; 3];
    fn tell(severity: Severity, what: &str, detail: &str);
}

// ---- a processor ----

/// The processor that runs this. Only the engine makes one, and it cannot go elsewhere.
pub struct Cpu {
    number: u32,
    apic_id: u32,
    stays: PhantomData<*const ()>,
}

impl Cpu {
    pub fn number(&self) -> u32 {
        self.number
    }

    pub fn apic_id(&self) -> u32 {
        self.apic_id
    }

    /// # Safety
    /// Of the engine, on the processor that it is about.
    unsafe fn of(own: *const raw::rv_self) -> Cpu {
        Cpu { number: (*own).cpu, apic_id: (*own).apic_id, stays: PhantomData }
    }
}

/// Switches SSE on: CR0.EM off and MP on; CR4.OSFXSR and OSXMMEXCPT; its state as after a reset, which an
/// INIT does not make. (SDM vol. 3A, "Initialization of the SSE Extensions".)
unsafe fn enter(own: *const raw::rv_self) -> Cpu {
    asm!("mov {0}, cr0", "and {0}, -13", "or {0}, 2", "mov cr0, {0}",
         "mov {0}, cr4", "or {0}, 0x600", "mov cr4, {0}", "ldmxcsr [{1}]",
         out(reg) _, in(reg) &0x1f80_u32, options(nostack));
    Cpu::of(own)
}

unsafe extern "C" fn run_turn(context: *mut c_void, own: *const raw::rv_self) -> bool {
    run_work(context, own);
    true
}

/// The context is the function itself.
unsafe extern "C" fn run_work(context: *mut c_void, own: *const raw::rv_self) {
    let cpu = enter(own);
    transmute::<*mut c_void, fn(Cpu)>(context)(cpu);
}

unsafe extern "C" fn run_chunk(context: *mut c_void, first: u64, end: u64, own: *const raw::rv_self) {
    let cpu = enter(own);
    transmute::<*mut c_void, fn(Cpu, Range<u64>)>(context)(cpu, first..end);
}

unsafe extern "C" fn tell<K: Kernel>(
    _: *mut c_void,
    severity: raw::rv_severity,
    what: *const raw::c_char,
    detail: *const raw::c_char,
) {
    let severity = if severity == raw::RV_SEVERITY_ERROR { Severity::Error } else { Severity::Warning };
    K::tell(severity, text(what), text(detail));
}

/// The engine's own words, which are ASCII.
unsafe fn text<'a>(from: *const raw::c_char) -> &'a str {
    let mut length = 0;
    while *from.add(length) != 0 {
        length += 1;
    }
    core::str::from_utf8(core::slice::from_raw_parts(from.cast(), length)).unwrap_or("?")
}

// ---- the engine ----

/// Why something was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error(raw::rv_status);

impl fmt::Display for Error {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        to.write_str(unsafe { text(raw::rv_status_story(self.0)) })
    }
}

fn checked(status: raw::rv_status) -> Result<(), Error> {
    if status == raw::RV_STATUS_OK {
        Ok(())
    } else {
        Err(Error(status))
    }
}

/// What the engine has found before it sends anything.
pub struct Found {
    pub processors: usize,
    pub apic_mode: &'static str,
    pub tsc_hz: u64,
}

/// An engine before its wake.
#[must_use = "nobody is awake yet"]
pub struct Asleep {
    rv: *mut raw::rv,
}

/// One engine, on the processor that opened it: neither sent to another nor shared with it.
pub struct Engine {
    rv: *mut raw::rv,
}

/// What came of calls. Of who is missing the engine tells more.
pub struct Calls<'e> {
    pub called: u32,
    pub returned: u32,
    pub missing: u32,
    engine: PhantomData<&'e Engine>,
}

pub struct Loop<'e> {
    pub done: u64,
    pub calls: Calls<'e>,
}

impl Asleep {
    /// Asks the machine, takes memory, and proves all; nothing is sent. `hello` is what each processor runs
    /// first.
    pub fn open<K: Kernel>(hello: fn(Cpu), found: fn(&Found)) -> Result<Asleep, Error> {
        let problems = raw::rv_problems { tell: Some(tell::<K>), context: null_mut() };
        let mut processor = MaybeUninit::uninit();
        let mut tsc_hz = 0;
        let processor: raw::rv_processor = unsafe {
            checked(raw::rv_describe_processor(&problems, processor.as_mut_ptr()))?;
            checked(raw::rv_measure_tsc(&problems, &mut tsc_hz))?;
            processor.assume_init()
        };
        let apic_view = K::view(processor.apic_phys);
        let apic_mode = if processor.has_x2apic { raw::RV_X2APIC } else { processor.apic_mode };
        let list = read_madt::<K>(problems, apic_view, apic_mode)?;
        found(&Found {
            processors: list.count,
            apic_mode: unsafe { text(raw::rv_apic_word(apic_mode)) },
            tsc_hz,
        });
        let regions = K::regions().map(|region| region.for_engine());
        let mut setup = raw::rv_setup {
            cpus: list.cpus,
            count: list.count,
            features: processor.features,
            apic_mode,
            apic_phys: processor.apic_phys,
            apic_view,
            tsc_hz,
            regions: regions.as_ptr(),
            region_count: regions.len(),
            host: raw::rv_host {
                context: hello as *mut c_void,
                run: Some(run_turn),
                filter: None,
                fault: None,
                problems,
            },
            ..unsafe { zeroed() }
        };
        open::<K>(&mut setup)
    }

    /// Wakes all, and lets each say hello in its turn; who has is counted, and waits for calls.
    pub fn wake(self) -> Result<(Engine, u32), Error> {
        unsafe {
            let mut round: raw::rv_round = zeroed();
            let mut plan = raw::rv_plan_by_the_manual(raw::RV_PARALLEL);
            plan.parking = raw::RV_PARK_MWAIT;
            checked(raw::rv_start(self.rv, &plan))?;
            raw::rv_wake(self.rv, &mut round);
            let greeted = raw::rv_take_turns(self.rv);
            raw::rv_close_turns(self.rv);
            Ok((Engine { rv: self.rv }, greeted))
        }
    }
}

impl Engine {
    /// Has every processor that waits run this; the engine is the call's until somebody has waited for it.
    pub fn call(&mut self, work: fn(Cpu)) -> Result<Call<'_>, Error> {
        checked(unsafe { raw::rv_call(self.rv, 0, Some(run_work), work as *mut c_void) })?;
        Ok(Call { engine: self })
    }

    /// The items 0 to count-1 in chunks, by all who wait and this processor.
    pub fn for_each(
        &mut self,
        count: u64,
        body: fn(Cpu, Range<u64>),
        timeout_us: u64,
    ) -> Result<Loop<'_>, Error> {
        let what = raw::rv_loop { count, grain: 0, body: Some(run_chunk), context: body as *mut c_void };
        let mut result: raw::rv_loop_result = unsafe { zeroed() };
        let status = unsafe { raw::rv_for(self.rv, &what, timeout_us, &mut result) };
        if status != raw::RV_STATUS_TIMEOUT {
            checked(status)?;
        }
        Ok(Loop { done: result.done, calls: Calls::of(&result.calls) })
    }

    /// How many processors there are, this one included.
    pub fn count(&self) -> usize {
        unsafe { raw::rv_count(self.rv) }
    }

    /// What became of each of the others.
    pub fn accounts(&self) -> impl Iterator<Item = Account<'_>> {
        (1..self.count() as u32)
            .map(move |slot| Account { raw: unsafe { raw::rv_examine(self.rv, slot) }, engine: PhantomData })
    }
}

fn read_madt<K: Kernel>(
    problems: raw::rv_problems,
    apic_view: u64,
    apic_mode: raw::rv_apic_mode,
) -> Result<raw::rv_list, Error> {
    let table = K::madt();
    let mut madt = raw::rv_madt {
        table: table.as_ptr().cast(),
        bytes: table.len(),
        own_apic_id: unsafe { raw::rv_own_apic_id(apic_view) },
        apic_mode,
        room: null_mut(),
        room_bytes: 0,
        problems,
    };
    madt.room_bytes = unsafe { raw::rv_room_bytes(&madt) };
    let room = K::take(madt.room_bytes as u64, u64::MAX).ok_or(Error(raw::RV_STATUS_NO_SPACE))?;
    madt.room = room.view.cast();
    let mut list = MaybeUninit::uninit();
    unsafe {
        raw::rv_read_madt(&madt, list.as_mut_ptr()); // what could be read is kept; an empty list is refused
        Ok(list.assume_init())
    }
}

fn open<K: Kernel>(setup: &mut raw::rv_setup) -> Result<Asleep, Error> {
    const NO_SPACE: Error = Error(raw::RV_STATUS_NO_SPACE);
    let mut rv = null_mut();
    let bytes = unsafe { raw::rv_memory_bytes(setup) };
    let memory = K::take(bytes, 1 << 32).ok_or(NO_SPACE)?;
    let page = K::take(4096, 0x10_0000).ok_or(NO_SPACE)?;
    setup.memory = raw::rv_memory { phys: memory.phys, view: memory.view.cast(), bytes };
    unsafe {
        checked(raw::rv_open(setup, &mut rv))?;
        checked(raw::rv_map_page(rv, page.phys as u32))?;
        checked(raw::rv_fill_page(rv, page.view))?;
    }
    Ok(Asleep { rv })
}

impl Region {
    fn for_engine(&self) -> raw::rv_region {
        let rights = match self.rights {
            Rights::Read => raw::RV_READ,
            Rights::Write => raw::RV_WRITE,
            Rights::Execute => raw::RV_EXECUTE,
        };
        let name = if self.name.ends_with('\0') { self.name } else { "region\0" }.as_ptr().cast();
        let Region { virt, phys, bytes, .. } = *self;
        raw::rv_region { name, virt, phys, bytes, rights: rights | raw::RV_NEEDED }
    }
}

// ---- calls ----

/// A call that is under way.
#[must_use = "nobody knows what came of a call until it is waited for"]
pub struct Call<'e> {
    engine: &'e mut Engine,
}

impl<'e> Call<'e> {
    pub fn wait(self, timeout_us: u64) -> Calls<'e> {
        let mut calls: raw::rv_calls = unsafe { zeroed() };
        unsafe { raw::rv_wait(self.engine.rv, timeout_us, &mut calls) }; // TIMEOUT: some are missing
        Calls::of(&calls)
    }
}

impl<'e> Calls<'e> {
    fn of(calls: &raw::rv_calls) -> Calls<'e> {
        let raw::rv_calls { called, returned, missing, .. } = *calls;
        Calls { called, returned, missing, engine: PhantomData }
    }
}

/// What became of a processor, at the moment at which this was made. As text: the engine's sentence.
pub struct Account<'e> {
    raw: raw::rv_account,
    engine: PhantomData<&'e Engine>,
}

impl Account<'_> {
    pub fn works(&self) -> bool {
        unsafe { raw::rv_verdict(&self.raw) == raw::RV_CAUSE_NONE }
    }
}

impl fmt::Display for Account<'_> {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        let mut sentence: [raw::c_char; 256] = [0; 256]; // RV_SENTENCE_BYTES
        unsafe { raw::rv_sentence(&self.raw, sentence.as_mut_ptr(), sentence.len()) };
        to.write_str(unsafe { text(sentence.as_ptr()) })
    }
}

// ---- a barrier ----

/// Opened once in its life, so that a processor that comes late, however late, meets no other barrier in it.
pub struct Barrier {
    raw: UnsafeCell<MaybeUninit<raw::rv_barrier>>,
    state: AtomicU8,
}

const CLOSED: u8 = 0;
const OPENING: u8 = 1;
const OPEN: u8 = 2;

// What is written is written by who moved the state from CLOSED to OPENING, and looked at when it is OPEN.
unsafe impl Sync for Barrier {}

impl Barrier {
    #[allow(clippy::declare_interior_mutable_const)]
    pub const NEW: Barrier =
        Barrier { raw: UnsafeCell::new(MaybeUninit::uninit()), state: AtomicU8::new(CLOSED) };

    /// For so many processors. An error: it was opened before.
    pub fn open(&self, engine: &Engine, count: u32) -> Result<(), Error> {
        self.state
            .compare_exchange(CLOSED, OPENING, Ordering::Acquire, Ordering::Relaxed)
            .map_err(|_| Error(raw::RV_STATUS_BUSY))?;
        unsafe { raw::rv_barrier_open(engine.rv, count, (*self.raw.get()).as_mut_ptr()) };
        self.state.store(OPEN, Ordering::Release);
        Ok(())
    }

    /// Waits for the others. An error: it is broken, since somebody did not come, or it is not open.
    pub fn wait(&self, timeout_us: u64) -> Result<(), Error> {
        if self.state.load(Ordering::Acquire) != OPEN {
            return Err(Error(raw::RV_STATUS_INVALID));
        }
        checked(unsafe { raw::rv_barrier_wait((*self.raw.get()).as_mut_ptr(), timeout_us) })
    }
}
