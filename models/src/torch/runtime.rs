//! libtorch as a whole: its version, threads and devices, and where models print.

use super::{TorchError, checked, raw, taken};

/// From now on, what models print goes to the standard error.
pub(crate) fn print_to_stderr() {
    raw::assay_print_to_stderr();
}

pub(crate) fn version() -> String {
    taken(raw::assay_version())
}

/// The vector instructions that libtorch's kernels use here, such as `AVX512`.
pub(crate) fn cpu_capability() -> String {
    taken(raw::assay_cpu_capability())
}

/// Sets the threads between operators to one for the process: workers are the parallelism here.
pub(crate) fn use_one_interop_thread() {
    raw::assay_set_interop_threads(1);
}

/// Sets the OpenMP threads of operators called from *this* thread.
pub(crate) fn set_intra_op_threads(threads: u32) {
    raw::assay_set_intra_op_threads(i32::try_from(threads).unwrap_or(i32::MAX));
}

/// The OpenMP threads of operators called from this thread.
pub(crate) fn intra_op_threads() -> u32 {
    u32::try_from(raw::assay_intra_op_threads()).unwrap_or(1)
}

/// Loads libtorch's CUDA half into the process; must come before anything else asks libtorch about CUDA.
pub(crate) fn load_cuda_library() -> Result<(), TorchError> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: libtorch_cuda's initializers only register kernels, and it is never unloaded.
    let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
    library.map(std::mem::forget).map_err(|error| TorchError(error.to_string()))
}

/// How many CUDA devices libtorch can use; 0 until [`load_cuda_library`] was called.
pub(crate) fn cuda_devices() -> u32 {
    u32::try_from(raw::assay_cuda_devices()).unwrap_or(0)
}

/// Gives this thread a CUDA stream of its own, so that workers do not wait for each other.
pub(crate) fn use_own_stream(cuda_index: u8) -> Result<(), TorchError> {
    checked(raw::assay_use_own_stream(i32::from(cuda_index)))
}
