//! What reveille.h says, as far as reveille.rs needs it, in the words that Debian's bindgen has for it.
//!
//! Surprise: nothing makes this file, so that the kernel is built without bindgen. A test has bindgen
//! read the header and compares, item by item.
#![allow(dead_code, non_camel_case_types)]

use core::ffi::c_void;

pub type c_char = i8;

pub const RV_STATUS_OK: rv_status = 0;
pub const RV_STATUS_INVALID: rv_status = 1;
pub const RV_STATUS_TRUNCATED: rv_status = 2;
pub const RV_STATUS_NOT_FOUND: rv_status = 3;
pub const RV_STATUS_NO_SPACE: rv_status = 4;
pub const RV_STATUS_TIMEOUT: rv_status = 5;
pub const RV_STATUS_UNSUPPORTED: rv_status = 6;
pub const RV_STATUS_BUSY: rv_status = 7;
pub const RV_STATUS_WRONG_CPU: rv_status = 8;
pub type rv_status = u32;
pub const RV_SEVERITY_WARNING: rv_severity = 0;
pub const RV_SEVERITY_ERROR: rv_severity = 1;
pub type rv_severity = u32;
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_problems {
    pub tell: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            severity: rv_severity,
            what: *const c_char,
            detail: *const c_char,
        ),
    >,
    pub context: *mut c_void,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_memory {
    pub phys: u64,
    pub view: *mut c_void,
    pub bytes: u64,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_cpu {
    pub cpu: u32,
    pub apic_id: u32,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_features {
    pub phys_bits: u32,
    pub id_leaf: u32,
    pub five_levels: bool,
    pub gib_pages: bool,
    pub no_execute: bool,
    pub machine_check: bool,
    pub misc_enable: bool,
}
pub const RV_XAPIC: rv_apic_mode = 0;
pub const RV_X2APIC: rv_apic_mode = 1;
pub type rv_apic_mode = u32;
pub const RV_READ: rv_rights = 0;
pub const RV_WRITE: rv_rights = 1;
pub const RV_EXECUTE: rv_rights = 2;
pub const RV_UNCACHED: rv_rights = 4;
pub const RV_COMBINING: rv_rights = 8;
pub const RV_FILL: rv_rights = 16;
pub const RV_NEEDED: rv_rights = 32;
pub type rv_rights = u32;
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_region {
    pub name: *const c_char,
    pub virt: u64,
    pub phys: u64,
    pub bytes: u64,
    pub rights: u32,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_self {
    pub slot: u32,
    pub cpu: u32,
    pub apic_id: u32,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_message {
    pub slot: u32,
    pub round: u32,
    pub attempt: u32,
    pub command: u32,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_fault_report {
    pub self_: rv_self,
    pub before: u32,
    pub text: *const c_char,
    pub length: usize,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_host {
    pub context: *mut c_void,
    pub run: Option<unsafe extern "C" fn(context: *mut c_void, self_: *const rv_self) -> bool>,
    pub filter: Option<unsafe extern "C" fn(context: *mut c_void, message: *mut rv_message) -> bool>,
    pub fault: Option<unsafe extern "C" fn(context: *mut c_void, report: *const rv_fault_report)>,
    pub problems: rv_problems,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_setup {
    pub memory: rv_memory,
    pub cpus: *const rv_cpu,
    pub count: usize,
    pub features: rv_features,
    pub apic_mode: rv_apic_mode,
    pub apic_phys: u64,
    pub apic_view: u64,
    pub tsc_hz: u64,
    pub pat: u64,
    pub regions: *const rv_region,
    pub region_count: usize,
    pub host: rv_host,
}
pub const RV_PARALLEL: rv_strategy = 0;
pub const RV_ONE_BY_ONE: rv_strategy = 1;
pub const RV_BROADCAST: rv_strategy = 2;
pub const RV_FIRMWARE: rv_strategy = 3;
pub type rv_strategy = u32;
pub const RV_PARK_INIT: rv_parking = 0;
pub const RV_PARK_NMI: rv_parking = 1;
pub const RV_PARK_MWAIT: rv_parking = 2;
pub const RV_PARK_PAUSE: rv_parking = 3;
pub const RV_PARKINGS: rv_parking = 4;
pub type rv_parking = u32;
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_plan {
    pub strategy: rv_strategy,
    pub init_us: u32,
    pub init_retry_us: u32,
    pub sipi_us: u32,
    pub sipis: u32,
    pub timeout_us: u32,
    pub retries: u32,
    pub turn_us: u32,
    pub parking: rv_parking,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_round {
    pub round: u32,
    pub arrived: u32,
    pub icr_writes: u64,
    pub first_us: u64,
    pub median_us: u64,
    pub last_us: u64,
    pub send_us: u64,
    pub retried: u32,
    pub helped: u32,
    pub unsent: u32,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_calls {
    pub called: u32,
    pub returned: u32,
    pub missing: u32,
    pub first_missing: u32,
    pub ticks: u64,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_loop {
    pub count: u64,
    pub grain: u32,
    pub body: Option<unsafe extern "C" fn(context: *mut c_void, first: u64, end: u64, self_: *const rv_self)>,
    pub context: *mut c_void,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_loop_result {
    pub calls: rv_calls,
    pub done: u64,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_barrier {
    pub state: u64,
    pub ticks_per_us: u64,
    pub count: u32,
}
pub const RV_STAGE_NONE: rv_stage = 0;
pub const RV_STAGE_REAL: rv_stage = 1;
pub const RV_STAGE_PROTECTED: rv_stage = 2;
pub const RV_STAGE_LONG: rv_stage = 3;
pub const RV_STAGE_C: rv_stage = 4;
pub const RV_STAGE_READY: rv_stage = 5;
pub const RV_STAGE_DONE: rv_stage = 6;
pub type rv_stage = u32;
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_fault {
    pub valid: bool,
    pub mode: rv_stage,
    pub vector: u32,
    pub error: u32,
    pub ip: u64,
    pub cr2: u64,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_account {
    pub slot: u32,
    pub cpu: u32,
    pub apic_id: u32,
    pub entry: u64,
    pub stack: u64,
    pub stage: rv_stage,
    pub mark: rv_stage,
    pub mark_shared: bool,
    pub arrived: bool,
    pub done: bool,
    pub lost: u32,
    pub page_damaged: bool,
    pub by_firmware: bool,
    pub stray: bool,
    pub no_nx: bool,
    pub in_call: bool,
    pub fault: rv_fault,
    pub tries: u32,
    pub startup_helped: bool,
    pub us: u64,
    pub started: u64,
    pub tsc_real: u64,
    pub tsc_protected: u64,
    pub tsc_long: u64,
    pub tsc_c: u64,
    pub bist: u32,
    pub signature: u32,
    pub cr0: u32,
    pub cr4: u32,
    pub efer: u64,
    pub apic_base: u64,
}
pub const RV_CAUSE_NONE: rv_cause = 0;
pub const RV_CAUSE_NEVER_FETCHED: rv_cause = 1;
pub const RV_CAUSE_DAMAGED_PAGE: rv_cause = 2;
pub const RV_CAUSE_STOPPED_IN_REAL: rv_cause = 3;
pub const RV_CAUSE_STOPPED_IN_PROTECTED: rv_cause = 4;
pub const RV_CAUSE_STOPPED_IN_LONG: rv_cause = 5;
pub const RV_CAUSE_STOPPED_IN_C: rv_cause = 6;
pub const RV_CAUSE_FAULT: rv_cause = 7;
pub const RV_CAUSE_WRONG_ID: rv_cause = 8;
pub const RV_CAUSE_LATE: rv_cause = 9;
pub const RV_CAUSE_SILENT: rv_cause = 10;
pub const RV_CAUSE_INTERMITTENT: rv_cause = 11;
pub const RV_CAUSE_NOT_RUN_BY_FIRMWARE: rv_cause = 12;
pub const RV_CAUSE_NO_NX: rv_cause = 13;
pub const RV_CAUSE_NO_RETURN: rv_cause = 14;
pub const RV_CAUSE_UNKNOWN: rv_cause = 15;
pub const RV_CAUSES: rv_cause = 16;
pub type rv_cause = u32;
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_processor {
    pub features: rv_features,
    pub apic_mode: rv_apic_mode,
    pub has_x2apic: bool,
    pub apic_phys: u64,
    pub init_us: u32,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_madt {
    pub table: *const c_void,
    pub bytes: usize,
    pub own_apic_id: u32,
    pub apic_mode: rv_apic_mode,
    pub room: *mut c_void,
    pub room_bytes: usize,
    pub problems: rv_problems,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rv_list {
    pub cpus: *mut rv_cpu,
    pub count: usize,
    pub disabled: u32,
    pub duplicate: u32,
    pub impossible: u32,
    pub unreachable: u32,
    pub own_listed: bool,
    pub wakeup_mailbox: bool,
}

extern "C" {
    pub fn rv_memory_bytes(setup: *const rv_setup) -> u64;
    pub fn rv_open(setup: *const rv_setup, rv: *mut *mut rv) -> rv_status;
    pub fn rv_map_page(rv: *mut rv, page_phys: u32) -> rv_status;
    pub fn rv_fill_page(rv: *mut rv, view: *mut u8) -> rv_status;
    pub fn rv_plan_by_the_manual(strategy: rv_strategy) -> rv_plan;
    pub fn rv_apic_word(mode: rv_apic_mode) -> *const c_char;
    pub fn rv_start(rv: *mut rv, plan: *const rv_plan) -> rv_status;
    pub fn rv_wake(rv: *mut rv, round: *mut rv_round);
    pub fn rv_take_turns(rv: *mut rv) -> u32;
    pub fn rv_close_turns(rv: *mut rv);
    pub fn rv_call(
        rv: *mut rv,
        slot: u32,
        work: Option<unsafe extern "C" fn(context: *mut c_void, self_: *const rv_self)>,
        context: *mut c_void,
    ) -> rv_status;
    pub fn rv_wait(rv: *mut rv, timeout_us: u64, calls: *mut rv_calls) -> rv_status;
    pub fn rv_for(
        rv: *mut rv,
        loop_: *const rv_loop,
        timeout_us: u64,
        result: *mut rv_loop_result,
    ) -> rv_status;
    pub fn rv_barrier_open(rv: *const rv, count: u32, barrier: *mut rv_barrier);
    pub fn rv_barrier_wait(barrier: *mut rv_barrier, timeout_us: u64) -> rv_status;
    pub fn rv_examine(rv: *const rv, slot: u32) -> rv_account;
    pub fn rv_count(rv: *const rv) -> usize;
    pub fn rv_verdict(account: *const rv_account) -> rv_cause;
    pub fn rv_status_story(status: rv_status) -> *const c_char;
    pub fn rv_sentence(account: *const rv_account, buffer: *mut c_char, bytes: usize) -> usize;
    pub fn rv_describe_processor(problems: *const rv_problems, processor: *mut rv_processor) -> rv_status;
    pub fn rv_own_apic_id(apic_view: u64) -> u32;
    pub fn rv_room_bytes(madt: *const rv_madt) -> usize;
    pub fn rv_read_madt(madt: *const rv_madt, list: *mut rv_list) -> rv_status;
    pub fn rv_measure_tsc(problems: *const rv_problems, tsc_hz: *mut u64) -> rv_status;
}
