//! The declarations of `shim.h`, one to one.

use std::ffi::{c_char, c_void};

#[repr(C)]
pub(super) struct AssayModule {
    _opaque: [u8; 0],
}

#[repr(C)]
pub(super) struct AssayOutputs {
    _opaque: [u8; 0],
}

#[repr(C)]
pub(super) struct AssayInput {
    pub(super) name: *const c_char,
    pub(super) scalar_type: i32,
    pub(super) rank: i32,
    pub(super) shape: *const i64,
    pub(super) data: *mut c_void,
    pub(super) owner: *mut c_void,
}

#[repr(C)]
pub(super) struct AssayOutput {
    pub(super) name: *const c_char,
    pub(super) scalar_type: i32,
    pub(super) type_name: *const c_char,
    pub(super) rank: i32,
    pub(super) shape: *const i64,
    pub(super) data: *const c_void,
    pub(super) bytes: usize,
}

#[repr(C)]
pub(super) struct AssayPreparation {
    pub(super) cuda_index: i32,
    pub(super) scalar_type: i32,
    pub(super) optimize: i32,
}

#[repr(C)]
pub(super) struct AssayWeight {
    pub(super) name: *const c_char,
    pub(super) tensor: *const c_void,
    pub(super) is_buffer: i32,
}

/// [`assay_module_call`] failed for the inputs.
pub(super) const ASSAY_INPUTS: i32 = 1;
/// [`assay_module_call`] failed for what came out.
pub(super) const ASSAY_OUTPUTS: i32 = 2;

unsafe extern "C" {
    pub(super) fn assay_free_text(text: *mut c_char);
    pub(super) safe fn assay_version() -> *mut c_char;
    pub(super) safe fn assay_set_interop_threads(threads: i32);
    pub(super) safe fn assay_set_intra_op_threads(threads: i32);
    pub(super) safe fn assay_intra_op_threads() -> i32;
    pub(super) safe fn assay_cuda_devices() -> i32;
    pub(super) safe fn assay_cpu_capability() -> *mut c_char;
    pub(super) safe fn assay_use_own_stream(cuda_index: i32) -> *mut c_char;
    pub(super) fn assay_archive_records(path: *const c_char, json: *mut *mut c_char)
    -> *mut c_char;
    pub(super) safe fn assay_print_to_stderr();
    pub(super) fn assay_load_library(path: *const c_char) -> *mut c_char;
    pub(super) fn assay_module_load(
        path: *const c_char,
        module: *mut *mut AssayModule,
    ) -> *mut c_char;
    pub(super) fn assay_module_define(
        name: *const c_char,
        source: *const c_char,
        numbers: *const i64,
        number_names: *const *const c_char,
        count: usize,
        module: *mut *mut AssayModule,
    ) -> *mut c_char;
    pub(super) fn assay_module_trace(
        name: *const c_char,
        weights: *const AssayWeight,
        count: usize,
        input: *const c_void,
        input_name: *const c_char,
        run: unsafe extern "C" fn(*mut c_void, *const c_void) -> *mut c_void,
        context: *mut c_void,
        module: *mut *mut AssayModule,
    ) -> *mut c_char;
    pub(super) fn assay_module_save(module: *const AssayModule, path: *const c_char)
    -> *mut c_char;
    pub(super) fn assay_module_prepare(
        module: *mut AssayModule,
        how: *const AssayPreparation,
    ) -> *mut c_char;
    pub(super) fn assay_module_describe(
        module: *const AssayModule,
        json: *mut *mut c_char,
    ) -> *mut c_char;
    pub(super) fn assay_module_free(module: *mut AssayModule);
    pub(super) fn assay_module_call(
        module: *mut AssayModule,
        inputs: *mut AssayInput,
        count: usize,
        outputs: *mut *mut AssayOutputs,
        blame: *mut i32,
    ) -> *mut c_char;
    pub(super) fn assay_module_try(
        module: *mut AssayModule,
        inputs: *mut AssayInput,
        count: usize,
        seconds: u32,
        bytes: u64,
        ran: *mut i32,
    ) -> *mut c_char;
    pub(super) fn assay_module_loop(
        module: *mut AssayModule,
        inputs: *mut AssayInput,
        count: usize,
        warm_up: u32,
        seconds: f64,
        forwards: *mut u64,
        elapsed_seconds: *mut f64,
    ) -> *mut c_char;
    pub(super) fn assay_outputs_count(outputs: *const AssayOutputs) -> usize;
    pub(super) fn assay_outputs_get(outputs: *const AssayOutputs, index: usize) -> AssayOutput;
    pub(super) fn assay_outputs_free(outputs: *mut AssayOutputs);
}
