//! A stand-in for `libnvidia-ml.so.1`: one GPU with figures that tests can recognize.
//!
//! It exports the C functions that the agent's NVML binding calls, so the real binding is tested on
//! machines without a GPU. `ASSAY_NVML_STUB` says what the GPU is like ([`Scenario`]); the library
//! reads it anew in each call. A library without some function is a copy of this one in which the
//! function's name was blotted out.
#![expect(unsafe_code, reason = "a C library: exported names and pointers of the caller")]

use std::{
    ffi::{CStr, c_char, c_uint, c_ulonglong, c_void},
    sync::atomic::{AtomicU32, Ordering},
};

/// The variable that names the scenario.
pub const VARIABLE: &str = "ASSAY_NVML_STUB";

/// Figures of the one GPU, in the units of NVML.
pub mod figures {
    pub const NAME: &std::ffi::CStr = c"Stub GPU 80GB";
    pub const DRIVER: &std::ffi::CStr = c"580.65.06";
    /// Share of time in which a kernel ran, per cent.
    pub const UTILIZATION_PCT: u32 = 73;
    /// Memory in bytes.
    pub const MEMORY_BYTES: u64 = 80 << 30;
    /// Memory in use in bytes.
    pub const MEMORY_USED_BYTES: u64 = 10 << 30;
    pub const POWER_MW: u32 = 251_500;
    pub const TEMPERATURE_C: u32 = 64;
    pub const SM_CLOCK_MHZ: u32 = 1410;
    /// Clock of everything else in MHz.
    pub const OTHER_CLOCK_MHZ: u32 = 1593;
    /// Energy in millijoules that each question for it finds added.
    pub const ENERGY_STEP_MJ: u64 = 5_000;
    /// Processes of others in the scenario `shared`; no Linux process has such an id.
    pub const OTHER_PROCESSES: [u32; 3] = [4_194_305, 4_194_306, 4_194_307];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// `healthy`, or nothing said.
    Healthy,
    /// `throttled`: hot, and slowed for it.
    Throttled,
    /// `shared`: other processes use it.
    Shared,
    /// `lost`: off the bus from the beginning.
    Lost,
    /// `lost-later`: off the bus once it was asked for its utilization twice.
    LostLater,
    /// `no-permission`: the driver turns this user away altogether.
    NoPermission,
    /// `restricted`: power, energy and processes are for administrators.
    Restricted,
    /// `mig`: divided into instances.
    Mig,
    /// `no-driver`: the library is there, the kernel module is not.
    NoDriver,
}

impl Scenario {
    fn now() -> Self {
        match std::env::var(VARIABLE).as_deref() {
            Ok("throttled") => Self::Throttled,
            Ok("shared") => Self::Shared,
            Ok("lost") => Self::Lost,
            Ok("lost-later") => Self::LostLater,
            Ok("no-permission") => Self::NoPermission,
            Ok("restricted") => Self::Restricted,
            Ok("mig") => Self::Mig,
            Ok("no-driver") => Self::NoDriver,
            Ok(_) | Err(_) => Self::Healthy,
        }
    }

    fn is_lost(self) -> bool {
        let asked = UTILIZATION_ASKED.load(Ordering::Relaxed);
        self == Self::Lost || self == Self::LostLater && asked >= 2
    }
}

static UTILIZATION_ASKED: AtomicU32 = AtomicU32::new(0);
static ENERGY_ASKED: AtomicU32 = AtomicU32::new(0);

const SUCCESS: c_uint = 0;
const INVALID_ARGUMENT: c_uint = 2;
const NOT_SUPPORTED: c_uint = 3;
const NO_PERMISSION: c_uint = 4;
const INSUFFICIENT_SIZE: c_uint = 7;
const DRIVER_NOT_LOADED: c_uint = 9;
const GPU_IS_LOST: c_uint = 15;

const SM_CLOCK: c_uint = 1;
const HARDWARE_THERMAL_SLOWDOWN: c_ulonglong = 0x40;
const MIG_ENABLED: c_uint = 1;

/// `nvmlMemory_v2_t`.
#[repr(C)]
#[derive(Debug)]
pub struct Memory {
    version: c_uint,
    total: c_ulonglong,
    reserved: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

/// `nvmlUtilization_t`.
#[repr(C)]
#[derive(Debug)]
pub struct Rates {
    gpu: c_uint,
    memory: c_uint,
}

/// `nvmlProcessInfo_t`.
#[repr(C)]
#[derive(Debug)]
pub struct Process {
    process_id: c_uint,
    used_memory: c_ulonglong,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

/// Puts `value` where the caller wants it.
///
/// # Safety
/// `place` is null or may be written.
unsafe fn answer<T>(place: *mut T, value: T) -> c_uint {
    if place.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: not null, so it may be written, as the caller promises.
    unsafe { place.write(value) };
    SUCCESS
}

/// The same for a figure of the GPU, unless it is lost.
///
/// # Safety
/// As [`answer`].
unsafe fn figure<T>(place: *mut T, value: T) -> c_uint {
    if Scenario::now().is_lost() {
        return GPU_IS_LOST;
    }
    // SAFETY: as the caller promises.
    unsafe { answer(place, value) }
}

/// The same for a figure that administrators may keep to themselves.
///
/// # Safety
/// As [`answer`].
unsafe fn guarded<T>(place: *mut T, value: T) -> c_uint {
    if Scenario::now() == Scenario::Restricted {
        return NO_PERMISSION;
    }
    // SAFETY: as the caller promises.
    unsafe { figure(place, value) }
}

/// # Safety
/// `place` is null or has room for `length` bytes.
unsafe fn answer_text(place: *mut c_char, length: c_uint, text: &CStr) -> c_uint {
    let bytes = text.to_bytes_with_nul();
    if place.is_null() || bytes.len() > length as usize {
        return INSUFFICIENT_SIZE;
    }
    // SAFETY: there is room, and the caller's buffer does not overlap a constant.
    unsafe { place.copy_from_nonoverlapping(text.as_ptr(), bytes.len()) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> c_uint {
    match Scenario::now() {
        Scenario::NoPermission => NO_PERMISSION,
        Scenario::NoDriver => DRIVER_NOT_LOADED,
        Scenario::Healthy
        | Scenario::Throttled
        | Scenario::Shared
        | Scenario::Lost
        | Scenario::LostLater
        | Scenario::Restricted
        | Scenario::Mig => SUCCESS,
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> c_uint {
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlErrorString(_code: c_uint) -> *const c_char {
    c"an answer of the stub".as_ptr()
}

/// The driver's version.
///
/// # Safety
/// `place` is null or has room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetDriverVersion(place: *mut c_char, length: c_uint) -> c_uint {
    // SAFETY: as the caller promises.
    unsafe { answer_text(place, length, figures::DRIVER) }
}

/// How many GPUs there are.
///
/// # Safety
/// `count` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> c_uint {
    // SAFETY: as the caller promises.
    unsafe { answer(count, 1) }
}

/// The GPU of this index. Found even when lost, as a driver has it that enumerated it at start.
///
/// # Safety
/// `device` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(
    index: c_uint,
    device: *mut *mut c_void,
) -> c_uint {
    if index != 0 {
        return INVALID_ARGUMENT;
    }
    // SAFETY: as the caller promises. The handle is never followed.
    unsafe { answer(device, std::ptr::without_provenance_mut(0x1000)) }
}

/// Its name.
///
/// # Safety
/// `place` is null or has room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetName(
    _device: *mut c_void,
    place: *mut c_char,
    length: c_uint,
) -> c_uint {
    if Scenario::now().is_lost() {
        return GPU_IS_LOST;
    }
    // SAFETY: as the caller promises.
    unsafe { answer_text(place, length, figures::NAME) }
}

/// How busy it is. A divided GPU has no such figure.
///
/// # Safety
/// `rates` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUtilizationRates(
    _device: *mut c_void,
    rates: *mut Rates,
) -> c_uint {
    if Scenario::now() == Scenario::Mig {
        return NOT_SUPPORTED;
    }
    let rates_now = Rates { gpu: figures::UTILIZATION_PCT, memory: 21 };
    // SAFETY: as the caller promises.
    let code = unsafe { figure(rates, rates_now) };
    UTILIZATION_ASKED.fetch_add(1, Ordering::Relaxed);
    code
}

/// Its memory.
///
/// # Safety
/// `memory` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(
    _device: *mut c_void,
    memory: *mut Memory,
) -> c_uint {
    let now = Memory {
        version: 0x0200_0028,
        total: figures::MEMORY_BYTES,
        reserved: 0,
        free: figures::MEMORY_BYTES - figures::MEMORY_USED_BYTES,
        used: figures::MEMORY_USED_BYTES,
    };
    // SAFETY: as the caller promises.
    unsafe { figure(memory, now) }
}

/// Its power in milliwatts.
///
/// # Safety
/// `power` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPowerUsage(
    _device: *mut c_void,
    power: *mut c_uint,
) -> c_uint {
    // SAFETY: as the caller promises.
    unsafe { guarded(power, figures::POWER_MW) }
}

/// Energy since the driver was loaded in millijoules.
///
/// # Safety
/// `energy` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTotalEnergyConsumption(
    _device: *mut c_void,
    energy: *mut c_ulonglong,
) -> c_uint {
    let asked = u64::from(ENERGY_ASKED.fetch_add(1, Ordering::Relaxed));
    // SAFETY: as the caller promises.
    unsafe { guarded(energy, 1_000_000 + asked * figures::ENERGY_STEP_MJ) }
}

/// Its temperature.
///
/// # Safety
/// `temperature` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTemperature(
    _device: *mut c_void,
    _sensor: c_uint,
    temperature: *mut c_uint,
) -> c_uint {
    // SAFETY: as the caller promises.
    unsafe { figure(temperature, figures::TEMPERATURE_C) }
}

/// One of its clocks.
///
/// # Safety
/// `clock` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetClockInfo(
    _device: *mut c_void,
    kind: c_uint,
    clock: *mut c_uint,
) -> c_uint {
    let mhz = if kind == SM_CLOCK { figures::SM_CLOCK_MHZ } else { figures::OTHER_CLOCK_MHZ };
    // SAFETY: as the caller promises.
    unsafe { figure(clock, mhz) }
}

/// Why it is slower than it could be.
///
/// # Safety
/// `reasons` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCurrentClocksThrottleReasons(
    _device: *mut c_void,
    reasons: *mut c_ulonglong,
) -> c_uint {
    let hot = Scenario::now() == Scenario::Throttled;
    // SAFETY: as the caller promises.
    unsafe { figure(reasons, if hot { HARDWARE_THERMAL_SLOWDOWN } else { 0 }) }
}

/// Whether it is divided.
///
/// # Safety
/// Both are null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigMode(
    _device: *mut c_void,
    current: *mut c_uint,
    pending: *mut c_uint,
) -> c_uint {
    let mode = if Scenario::now() == Scenario::Mig { MIG_ENABLED } else { 0 };
    // SAFETY: as the caller promises.
    unsafe { figure(current, mode).max(figure(pending, mode)) }
}

/// Who computes on it.
///
/// # Safety
/// `count` is null or says for how many entries `list` has room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    _device: *mut c_void,
    count: *mut c_uint,
    list: *mut Process,
) -> c_uint {
    let others: &[u32] =
        if Scenario::now() == Scenario::Shared { &figures::OTHER_PROCESSES } else { &[] };
    if count.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: not null, so it may be read and written, as the caller promises.
    let room = unsafe { count.read() } as usize;
    let number = c_uint::try_from(others.len()).unwrap_or(0);
    // SAFETY: as before.
    let code = unsafe { guarded(count, number) };
    if code != SUCCESS || others.is_empty() {
        return code;
    }
    if room < others.len() || list.is_null() {
        return INSUFFICIENT_SIZE;
    }
    for (index, &process_id) in others.iter().enumerate() {
        let process =
            Process { process_id, used_memory: 1 << 30, gpu_instance: 0, compute_instance: 0 };
        // SAFETY: the list has room for all of them.
        unsafe { list.add(index).write(process) };
    }
    SUCCESS
}

/// Who draws on it: nobody.
///
/// # Safety
/// `count` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v3(
    _device: *mut c_void,
    count: *mut c_uint,
    _list: *mut Process,
) -> c_uint {
    // SAFETY: as the caller promises.
    unsafe { guarded(count, 0) }
}
