//! libtorch, as far as the host needs it and tch does not bind it: TorchScript modules that are
//! described, prepared (device, precision, graph) and called with tensors that own their memory.
//!
//! The C++ side is `torch/shim.cpp`. Together with [`crate::allocator`] this is all the unsafe code of
//! the workspace; every function here is safe to call. Queues, threads and batches are in
//! [`crate::engine`].
#![expect(unsafe_code, reason = "the boundary to C++: pointers in, pointers out")]

mod exception_text;
mod operators;
mod raw;
mod runtime;

pub(crate) mod description;
pub(crate) mod trace;

use std::{
    ffi::{CStr, CString, c_char, c_void},
    path::Path,
    ptr::{self, NonNull},
    slice,
    time::Duration,
};

use assay_measure::{
    configuration::{Device, Graph, Precision},
    input_spec::DType,
    units,
};
use bytes::Bytes;
use thiserror::Error;

pub(crate) use self::exception_text::wants_cuda;
pub(crate) use self::operators::{Missing, OperatorLibraryError, load_operator_library, missing};
pub(crate) use self::runtime::{
    cpu_capability, cuda_devices, intra_op_threads, load_cuda_library, print_to_stderr,
    set_intra_op_threads, use_one_interop_thread, use_own_stream, version,
};
use self::{
    description::{ArgumentKind, Description, type_word},
    exception_text::useful_lines,
};
use crate::tensor::WireTensor;

/// Something that libtorch says, shortened to its useful lines.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct TorchError(String);

/// Why a call has no outputs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum CallError {
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Raised(String),
    /// `forward` returned what an answer cannot hold: no tensor, or an element type that has no name on
    /// the wire.
    #[error("{0}")]
    Unsendable(String),
}

impl CallError {
    /// Whether other inputs might have run: not where the model's outputs or the device it names are wrong.
    pub(crate) fn may_be_the_inputs(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Raised(said) => !wants_cuda(said),
            Self::Unsendable(_) => false,
        }
    }
}

/// A TorchScript module, in evaluation mode. Calls may be made from several threads at once.
#[derive(Debug)]
pub struct Module {
    raw: NonNull<raw::AssayModule>,
    takes_dict: bool,
}

// SAFETY: a torch::jit::Module is a reference-counted handle with no thread affinity.
unsafe impl Send for Module {}
// SAFETY: the interpreter takes locks around what calls share (the compiled plans); everything else
// behind `&Module` only reads. Preparing needs `&mut`.
unsafe impl Sync for Module {}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the shim and is freed once.
        unsafe { raw::assay_module_free(self.raw.as_ptr()) }
    }
}

impl Module {
    /// Loads a TorchScript file onto the CPU.
    pub(crate) fn load(path: &Path) -> Result<Self, TorchError> {
        let path = c_path(path)?;
        // SAFETY: both pointers are valid for the call.
        Self::made(|module| unsafe { raw::assay_module_load(path.as_ptr(), module) })
    }

    /// Compiles a module from TorchScript source (methods), with integer attributes.
    ///
    /// # Errors
    /// What the TorchScript compiler says.
    pub fn define(name: &str, source: &str, numbers: &[(&str, i64)]) -> Result<Self, TorchError> {
        let (name, source) = (c_text(name)?, c_text(source)?);
        let names = numbers.iter().map(|(name, _)| c_text(name)).collect::<Result<Vec<_>, _>>()?;
        let name_pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let values: Vec<i64> = numbers.iter().map(|&(_, value)| value).collect();
        // SAFETY: all pointers are valid for the call, and both arrays have `values.len()` elements.
        Self::made(|module| unsafe {
            raw::assay_module_define(
                name.as_ptr(),
                source.as_ptr(),
                values.as_ptr(),
                name_pointers.as_ptr(),
                values.len(),
                module,
            )
        })
    }

    fn made(
        make: impl FnOnce(*mut *mut raw::AssayModule) -> *mut c_char,
    ) -> Result<Self, TorchError> {
        let mut module = ptr::null_mut();
        checked(make(&raw mut module))?;
        let raw = NonNull::new(module)
            .ok_or_else(|| TorchError("libtorch returned no module".to_owned()))?;
        let mut module = Self { raw, takes_dict: false };
        module.takes_dict =
            matches!(&*module.describe()?.arguments, [only] if only.kind == ArgumentKind::Dict);
        Ok(module)
    }

    /// Writes the module to a file.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn save(&self, path: &Path) -> Result<(), TorchError> {
        let path = c_path(path)?;
        // SAFETY: both pointers are valid for the call.
        checked(unsafe { raw::assay_module_save(self.raw.as_ptr(), path.as_ptr()) })
    }

    /// Moves the module to a device, converts its floating-point weights ([`Precision::Float32`] leaves
    /// them as saved) and optimizes its graph.
    pub(crate) fn prepare(
        &mut self,
        device: Device,
        precision: Precision,
        graph: Graph,
    ) -> Result<(), TorchError> {
        let how = raw::AssayPreparation {
            cuda_index: match device {
                Device::Cpu => -1,
                Device::Cuda(index) => i32::from(index),
            },
            scalar_type: match precision {
                Precision::Float32 => -1,
                Precision::Bfloat16 => scalar_type(DType::Bfloat16),
                Precision::Float16 => scalar_type(DType::Float16),
            },
            optimize: i32::from(graph == Graph::Optimized),
        };
        // SAFETY: both pointers are valid for the call, and `&mut self` excludes calls meanwhile.
        checked(unsafe { raw::assay_module_prepare(self.raw.as_ptr(), &raw const how) })
    }

    /// What the module says about itself.
    pub(crate) fn describe(&self) -> Result<Description, TorchError> {
        let mut json = ptr::null_mut();
        // SAFETY: both pointers are valid for the call.
        checked(unsafe { raw::assay_module_describe(self.raw.as_ptr(), &raw mut json) })?;
        serde_json::from_str(&taken(json)).map_err(|error| TorchError(error.to_string()))
    }

    /// Runs `forward` in inference mode. `None` leaves an argument to its default. The data of an input
    /// is shared, not copied, and may outlive the call if the module keeps it.
    pub(crate) fn call(
        &self,
        inputs: &[Option<&WireTensor>],
    ) -> Result<Vec<WireTensor>, CallError> {
        let mut outputs = ptr::null_mut();
        let mut blame = 0;
        // SAFETY: as `with_arguments` promises, all pointers are valid for the call.
        let result = self.with_arguments(inputs, |module, arguments, count| unsafe {
            raw::assay_module_call(module, arguments, count, &raw mut outputs, &raw mut blame)
        })?;
        result.map_err(|TorchError(message)| match blame {
            raw::ASSAY_INPUTS => CallError::Refused(message),
            raw::ASSAY_OUTPUTS => CallError::Unsendable(message),
            _ => CallError::Raised(message),
        })?;
        let outputs = Outputs(
            NonNull::new(outputs).ok_or_else(|| CallError::Raised("no outputs".to_owned()))?,
        );
        outputs.read()
    }

    /// Nothing but `forward` in a loop on this thread: `warm_up` runs, then as many as fit into
    /// `duration`. Returns their number and the time they took.
    pub(crate) fn run_in_a_loop(
        &self,
        inputs: &[Option<&WireTensor>],
        warm_up: u32,
        duration: Duration,
    ) -> Result<(u64, Duration), CallError> {
        let (mut forwards, mut elapsed) = (0, 0.0);
        let (seconds, forwards_out, elapsed_out) =
            (duration.as_secs_f64(), &raw mut forwards, &raw mut elapsed);
        // SAFETY: as for `call`.
        let result = self.with_arguments(inputs, |module, arguments, count| unsafe {
            raw::assay_module_loop(
                module,
                arguments,
                count,
                warm_up,
                seconds,
                forwards_out,
                elapsed_out,
            )
        })?;
        result.map_err(|TorchError(message)| CallError::Raised(message))?;
        Ok((forwards, Duration::from_secs_f64(elapsed)))
    }

    /// Whether `forward` gives outputs for these inputs, tried in a process of its own: it is ended after
    /// `within`, and may take so much more memory than this process has. A crash ends it alone. Call it
    /// while no other thread of this process is at work.
    /// [`CallError::Raised`] when the system allows no further process.
    pub(crate) fn runs(
        &self,
        inputs: &[Option<&WireTensor>],
        within: Duration,
        memory: units::Bytes,
    ) -> Result<bool, CallError> {
        // An alarm of 0 would be none.
        let seconds = u32::try_from(within.as_secs()).unwrap_or(u32::MAX).max(1);
        let mut ran = 0;
        // SAFETY: as for `call`.
        let result = self.with_arguments(inputs, |module, arguments, count| unsafe {
            let bytes = memory.count();
            raw::assay_module_try(module, arguments, count, seconds, bytes, &raw mut ran)
        })?;
        result.map(|()| ran == 1).map_err(|TorchError(message)| CallError::Raised(message))
    }

    /// Lends the inputs to a call of libtorch's: shapes and names are borrowed from what outlives it, and data
    /// is kept alive by the owners. The inner error is libtorch's.
    fn with_arguments(
        &self,
        inputs: &[Option<&WireTensor>],
        call: impl FnOnce(*mut raw::AssayModule, *mut raw::AssayInput, usize) -> *mut c_char,
    ) -> Result<Result<(), TorchError>, CallError> {
        let names = self.names(inputs);
        let mut arguments = Arguments::new(inputs, &names)?;
        let count = arguments.0.len();
        Ok(checked(call(self.raw.as_ptr(), arguments.0.as_mut_ptr(), count)))
    }

    /// Names matter, and are passed on, only where inputs go into a dict.
    fn names(&self, inputs: &[Option<&WireTensor>]) -> Vec<CString> {
        let name = |input: &Option<&WireTensor>| {
            input.and_then(|tensor| CString::new(tensor.name.as_str()).ok())
        };
        if self.takes_dict {
            inputs.iter().map(|input| name(input).unwrap_or_default()).collect()
        } else {
            Vec::new()
        }
    }
}

/// The inputs of a call; releases the owners that libtorch has not taken.
struct Arguments(Vec<raw::AssayInput>);

impl Arguments {
    /// Borrows shapes and names without the compiler's knowing: both must outlive the call.
    fn new(inputs: &[Option<&WireTensor>], names: &[CString]) -> Result<Self, CallError> {
        let mut arguments = Self(Vec::with_capacity(inputs.len()));
        for (index, input) in inputs.iter().enumerate() {
            arguments.0.push(match input {
                Some(tensor) => raw_input(tensor, names.get(index))?,
                None => absent_input(),
            });
        }
        Ok(arguments)
    }
}

impl Drop for Arguments {
    fn drop(&mut self) {
        for argument in &self.0 {
            // SAFETY: null when it was taken, ours otherwise.
            unsafe { assay_release_owner(argument.owner) };
        }
    }
}

/// The outputs of a call while they are libtorch's.
struct Outputs(NonNull<raw::AssayOutputs>);

impl Drop for Outputs {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the shim and is freed once.
        unsafe { raw::assay_outputs_free(self.0.as_ptr()) }
    }
}

impl Outputs {
    fn read(&self) -> Result<Vec<WireTensor>, CallError> {
        // SAFETY: the pointer is valid until `self` is dropped.
        let count = unsafe { raw::assay_outputs_count(self.0.as_ptr()) };
        (0..count).map(|index| self.get(index)).collect()
    }

    fn get(&self, index: usize) -> Result<WireTensor, CallError> {
        // SAFETY: `index` is below the count, and the view is valid until `self` is dropped.
        let view = unsafe { raw::assay_outputs_get(self.0.as_ptr(), index) };
        // SAFETY: a NUL-terminated string of the view.
        let name = unsafe { CStr::from_ptr(view.name) }.to_string_lossy().into_owned();
        let Some(dtype) = dtype_of(view.scalar_type) else {
            // SAFETY: a NUL-terminated string of libtorch's, which lives as long as the process.
            let type_name = unsafe { CStr::from_ptr(view.type_name) }.to_string_lossy();
            return Err(CallError::Unsendable(format!(
                "output {name:?} has the element type {}, which cannot be sent",
                type_word(&type_name)
            )));
        };
        let rank = usize::try_from(view.rank).unwrap_or(0);
        // SAFETY: the shape has `rank` elements and the data `bytes` bytes; an empty slice must not be
        // made from a null pointer, which libtorch uses for empty tensors.
        let (shape, data) = unsafe {
            (
                if rank == 0 { &[][..] } else { slice::from_raw_parts(view.shape, rank) },
                if view.bytes == 0 {
                    &[][..]
                } else {
                    slice::from_raw_parts(view.data.cast::<u8>(), view.bytes)
                },
            )
        };
        Ok(WireTensor { name, dtype, shape: shape.to_vec(), data: Bytes::copy_from_slice(data) })
    }
}

fn absent_input() -> raw::AssayInput {
    raw::AssayInput {
        name: c"".as_ptr(),
        scalar_type: 0,
        rank: -1,
        shape: ptr::null(),
        data: ptr::null_mut(),
        owner: ptr::null_mut(),
    }
}

/// Checks that the data fills the shape, and hands a share of it over.
fn raw_input(tensor: &WireTensor, name: Option<&CString>) -> Result<raw::AssayInput, CallError> {
    if !tensor.is_whole() {
        return Err(CallError::Refused(format!(
            "{} bytes do not fill {}{:?}",
            tensor.data.len(),
            tensor.dtype,
            tensor.shape
        )));
    }
    let owner = Box::new(aligned(&tensor.data, tensor.dtype.size_bytes()));
    // libtorch never writes here: inputs of a module that might are cloned in the shim.
    let data = owner.as_ptr().cast_mut().cast::<c_void>();
    Ok(raw::AssayInput {
        name: name.map_or(c"".as_ptr(), |name| name.as_ptr()),
        scalar_type: scalar_type(tensor.dtype),
        rank: i32::try_from(tensor.shape.len())
            .map_err(|_| CallError::Refused("too many dimensions".to_owned()))?,
        shape: tensor.shape.as_ptr(),
        data,
        owner: Box::into_raw(owner).cast::<c_void>(),
    })
}

/// The same bytes where their first one is aligned for the element type: a share of them, or a copy.
fn aligned(data: &Bytes, size_bytes: usize) -> Bytes {
    if data.as_ptr().addr().is_multiple_of(size_bytes) {
        return data.clone();
    }
    // malloc aligns for every element type, and Bytes keeps the vector where it is.
    let copy = Bytes::from(data.to_vec());
    debug_assert!(copy.as_ptr().addr().is_multiple_of(size_bytes));
    copy
}

/// Drops the share of an input's memory; called by libtorch with the last reference.
///
/// # Safety
/// `owner` is null or came from `Box::into_raw` of a `Bytes` and is released once.
#[unsafe(no_mangle)]
unsafe extern "C" fn assay_release_owner(owner: *mut c_void) {
    if !owner.is_null() {
        // SAFETY: as promised by the caller.
        drop(unsafe { Box::from_raw(owner.cast::<Bytes>()) });
    }
}

/// The names of a file's records as libtorch's own reader finds them, without the folder that all are in.
pub(crate) fn archive_records(path: &Path) -> Result<Vec<String>, TorchError> {
    let path = c_path(path)?;
    let mut json = ptr::null_mut();
    // SAFETY: both pointers are valid for the call.
    checked(unsafe { raw::assay_archive_records(path.as_ptr(), &raw mut json) })?;
    serde_json::from_str(&taken(json)).map_err(|error| TorchError(error.to_string()))
}

/// libtorch's number of an element type (`c10::ScalarType`).
fn scalar_type(dtype: DType) -> i32 {
    match dtype {
        DType::Uint8 => 0,
        DType::Int8 => 1,
        DType::Int16 => 2,
        DType::Int32 => 3,
        DType::Int64 => 4,
        DType::Float16 => 5,
        DType::Float32 => 6,
        DType::Float64 => 7,
        DType::Bool => 11,
        DType::Bfloat16 => 15,
    }
}

fn dtype_of(number: i32) -> Option<DType> {
    DType::ALL.iter().copied().find(|&dtype| scalar_type(dtype) == number)
}

fn c_text(text: &str) -> Result<CString, TorchError> {
    CString::new(text).map_err(|_| TorchError(format!("{text:?} contains a NUL byte")))
}

fn c_path(path: &Path) -> Result<CString, TorchError> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| TorchError(format!("{path:?} contains a NUL byte")))
}

fn checked(message: *mut c_char) -> Result<(), TorchError> {
    if message.is_null() { Ok(()) } else { Err(TorchError(useful_lines(&taken(message)))) }
}

/// Takes a text over from the shim.
fn taken(text: *mut c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the shim returns NUL-terminated texts from strdup, each freed once, here.
    unsafe {
        let copy = CStr::from_ptr(text).to_string_lossy().into_owned();
        raw::assay_free_text(text);
        copy
    }
}

#[cfg(test)]
mod tests;
