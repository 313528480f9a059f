//! Which variables are set for a model host, and which of them are worth varying.
//!
//! An allow-list: a name stands here because a library inside the host documents it, or the container contract
//! does, and because all that it does is tune or print. Every name was looked at by itself, for the families hold
//! others: some load code (`INTEL_JIT_PROFILER64`, `OMP_TOOL_LIBRARIES`, `CUDA_INJECTION64_PATH`), start a program
//! (`TORCH_ADDR2LINE_BINARY`), or read or write a file of anybody's choice (`ONEDNN_JIT_DUMP`, `MKL_VERBOSE_OUTPUT_FILE`,
//! `CUDA_CACHE_PATH`, `KINETO_CONFIG`, `KMP_CPUINFO_FILE`, `MALLOC_TRACE`). So there is no prefix, and what is
//! new in a family is not set until somebody has looked at it.

use std::collections::BTreeMap;

use super::is_known;

/// Read by the libraries inside the host: each of its values may be another measurement.
const TUNING: &[&[&str]] =
    &[LIBTORCH, OPENMP, GNU_OPENMP, LLVM_OPENMP, MKL, ONEDNN, GLIBC_MALLOC, CUDA];

/// libtorch 2.11. <https://docs.pytorch.org/docs/2.11/torch_environment_variables.html>,
/// <https://docs.pytorch.org/docs/2.11/notes/cuda.html>, and `getenv` in its sources for those that only these
/// tell of.
const LIBTORCH: &[&str] = &[
    // The instruction set of ATen's kernels (aten/src/ATen/native/DispatchStub.cpp).
    "ATEN_CPU_CAPABILITY",
    // When the fuser of TorchScript fuses and what it does with it (torch/csrc/jit/passes/tensorexpr_fuser.cpp).
    "PYTORCH_TENSOREXPR",
    "PYTORCH_TENSOREXPR_DONT_FUSE",
    "PYTORCH_TENSOREXPR_FALLBACK",
    // How large a product has to be for oneDNN (aten/src/ATen/native/mkldnn/Matmul.cpp).
    "TORCH_MKLDNN_MATMUL_MIN_DIM",
    "TORCH_MKLDNN_MATMUL_MIN_SIZE",
    "TORCH_LINEAR_FLATTEN_3D",
    // Which of CUDA's libraries computes, and how exactly.
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_BLAS_PREFER_CUBLASLT",
    "TORCH_LINALG_PREFER_CUSOLVER",
    "TORCH_CUDNN_V8_API_DISABLED",
    "TORCH_CUDNN_V8_API_LRU_CACHE_LIMIT",
    "TORCH_CUDNN_USE_HEURISTIC_MODE_B",
    // The allocators: sizes, thresholds and strategies; no option of theirs names a file.
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_NO_CUDA_MEMORY_CACHING",
    // What it prints on standard error.
    "TORCH_CPP_LOG_LEVEL",
    "TORCH_SHOW_CPP_STACKTRACES",
    "PYTORCH_JIT_LOG_LEVEL",
];

/// OpenMP 5.2, chapter 21, but for its tools (`OMP_TOOL`, `OMP_TOOL_LIBRARIES`, `OMP_TOOL_VERBOSE_INIT`, `OMP_DEBUG`),
/// which are code or serve a debugger. <https://www.openmp.org/spec-html/5.2/openmpch21.html>
const OPENMP: &[&str] = &[
    "OMP_AFFINITY_FORMAT",
    "OMP_CANCELLATION",
    "OMP_DISPLAY_AFFINITY",
    "OMP_DISPLAY_ENV",
    "OMP_DYNAMIC",
    "OMP_MAX_ACTIVE_LEVELS",
    "OMP_MAX_TASK_PRIORITY",
    "OMP_NESTED",
    "OMP_PLACES",
    "OMP_PROC_BIND",
    "OMP_SCHEDULE",
    "OMP_STACKSIZE",
    "OMP_THREAD_LIMIT",
    "OMP_WAIT_POLICY",
];

/// GCC's runtime, which libtorch brings along, but for `GOMP_DEBUG`.
/// <https://gcc.gnu.org/onlinedocs/libgomp/Environment-Variables.html>
const GNU_OPENMP: &[&str] = &["GOMP_CPU_AFFINITY", "GOMP_SPINCOUNT", "GOMP_STACKSIZE"];

/// LLVM's and Intel's runtime, which another build of libtorch may bring along, but for those that name files
/// (`KMP_CPUINFO_FILE`), open a door to tools or other processes, or take over signals.
/// <https://openmp.llvm.org/design/Runtimes.html#environment-variables>
const LLVM_OPENMP: &[&str] = &[
    "KMP_AFFINITY",
    "KMP_ALL_THREADS",
    "KMP_BLOCKTIME",
    "KMP_DETERMINISTIC_REDUCTION",
    "KMP_DYNAMIC_MODE",
    "KMP_FORCE_REDUCTION",
    "KMP_HW_SUBSET",
    "KMP_LIBRARY",
    "KMP_SETTINGS",
    "KMP_STACKSIZE",
    "KMP_TOPOLOGY_METHOD",
];

/// Intel's MKL, which is linked into libtorch, but for `MKL_VERBOSE_OUTPUT_FILE`. `MKL_NUM_THREADS` is missing on
/// purpose: the agent sets it to the threads of the configuration, as it does `OMP_NUM_THREADS`.
/// <https://www.intel.com/content/www/us/en/docs/onemkl/developer-guide-linux/2025-2/environment-variables.html>
const MKL: &[&str] = &[
    "MKL_CBWR",
    "MKL_DISABLE_FAST_MM",
    "MKL_DOMAIN_NUM_THREADS",
    "MKL_DYNAMIC",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_FAST_MEMORY_LIMIT",
    "MKL_NUM_STRIPES",
    "MKL_VERBOSE",
];

/// oneDNN 3, which is linked into libtorch, under its name and the older `DNNL_`, but for those of its profiler
/// and its dumps (`ONEDNN_JIT_DUMP`, `ONEDNN_JIT_PROFILE`, `ONEDNN_ITT_TASK_LEVEL`, `ONEDNN_GRAPH_DUMP`).
/// <https://uxlfoundation.github.io/oneDNN/dev_guide_performance_settings.html>
const ONEDNN: &[&str] = &[
    "ONEDNN_CPU_ISA_HINTS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY",
    "ONEDNN_VERBOSE",
    "ONEDNN_VERBOSE_TIMESTAMP",
    "DNNL_CPU_ISA_HINTS",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_GRAPH_COMPILED_PARTITION_CACHE_CAPACITY",
    "DNNL_MAX_CPU_ISA",
    "DNNL_PRIMITIVE_CACHE_CAPACITY",
    "DNNL_VERBOSE",
    "DNNL_VERBOSE_TIMESTAMP",
];

/// glibc's malloc, which is the host's allocator (`allocator=tuned` sets three of these itself, and wins).
/// mallopt(3), section *Environment variables*, but for those that look for mistakes.
const GLIBC_MALLOC: &[&str] = &[
    "MALLOC_ARENA_MAX",
    "MALLOC_ARENA_TEST",
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "MALLOC_TRIM_THRESHOLD_",
];

/// CUDA and its libraries, as far as they only tune: which device is used is the configuration's to say
/// (`CUDA_VISIBLE_DEVICES`, `CUDA_DEVICE_ORDER`, `NVIDIA_VISIBLE_DEVICES`), and caches, logs, dumps and injected code
/// name files. <https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#env-vars>,
/// <https://docs.nvidia.com/cuda/cublas/index.html#results-reproducibility>
const CUDA: &[&str] = &[
    "CUDA_AUTO_BOOST",
    "CUDA_CACHE_DISABLE",
    "CUDA_CACHE_MAXSIZE",
    "CUDA_DEVICE_DEFAULT_PERSISTING_L2_CACHE_PERCENTAGE_LIMIT",
    "CUDA_DEVICE_MAX_CONNECTIONS",
    "CUDA_DEVICE_MAX_COPY_CONNECTIONS",
    "CUDA_DISABLE_PTX_JIT",
    "CUDA_FORCE_PTX_JIT",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING",
    "CUDA_MODULE_DATA_LOADING",
    "CUDA_SCALE_LAUNCH_QUEUES",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUBLASLT_WORKSPACE_SIZE",
    "NVIDIA_TF32_OVERRIDE",
];

/// Documented by the container contract and read by nothing inside the host: set as the contract says, since a
/// model may be packed with them, and never worth varying. The serving of our host is set by the five known names.
/// SageMaker's inference toolkits (`parameters.py`, `ts_parameters.py`), and `TorchServe`'s `TS_` form of its properties
/// (<https://docs.pytorch.org/serve/configuration.html>) without those that name files or code.
const CONTAINER_CONTRACT: &[&str] = &[
    "SAGEMAKER_CONTAINER_LOG_LEVEL",
    "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT",
    "SAGEMAKER_MODEL_SERVER_TIMEOUT",
    "SAGEMAKER_PROGRAM",
    "SAGEMAKER_REGION",
    "SAGEMAKER_SUBMIT_DIRECTORY",
    "SAGEMAKER_TS_BATCH_SIZE",
    "SAGEMAKER_TS_MAX_BATCH_DELAY",
    "SAGEMAKER_TS_MAX_WORKERS",
    "SAGEMAKER_TS_MIN_WORKERS",
    "SAGEMAKER_TS_RESPONSE_TIMEOUT",
    "TS_ASYNC_LOGGING",
    "TS_DECODE_INPUT_REQUEST",
    "TS_DEFAULT_RESPONSE_TIMEOUT",
    "TS_JOB_QUEUE_SIZE",
    "TS_MAX_REQUEST_SIZE",
    "TS_MAX_RESPONSE_SIZE",
    "TS_NETTY_CLIENT_THREADS",
    "TS_NUMBER_OF_GPU",
    "TS_NUMBER_OF_NETTY_THREADS",
    "TS_PREFER_DIRECT_BUFFER",
];

/// Whether a variable of this name is set for a model host. Every other one is recorded with the configuration and
/// left out when the host is started: an agent sets nothing else, whoever sent it.
#[must_use]
pub fn reaches_host(name: &str) -> bool {
    can_be_varied(name) || CONTAINER_CONTRACT.contains(&name)
}

/// Whether two values of this variable may serve a model in two ways. What nothing in the host reads would measure
/// the same thing twice.
#[must_use]
pub fn can_be_varied(name: &str) -> bool {
    is_known(name) || TUNING.iter().any(|family| family.contains(&name))
}

/// The variables that are set for a model host, and the names of those that are not.
#[must_use]
pub fn split(variables: &BTreeMap<String, String>) -> (BTreeMap<&str, &str>, Vec<&str>) {
    let all = variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let (set, left_out): (BTreeMap<&str, &str>, BTreeMap<&str, &str>) =
        all.partition(|(name, _)| reaches_host(name));
    (set, left_out.into_keys().collect())
}

/// What people should know about the variables that [`split`] leaves out.
#[must_use]
pub fn describe_left_out(left_out: &[&str]) -> String {
    let (variables, are) = match left_out {
        [_] => ("variable", "is"),
        _ => ("variables", "are"),
    };
    format!(
        "the environment {variables} {} {are} recorded and not set for the model host, in which nothing reads such a name",
        left_out.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::KNOWN_NAMES;

    #[test]
    fn what_loads_code_writes_files_or_opens_a_door_never_reaches_the_host() {
        let doors = "LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT GLIBC_TUNABLES GCONV_PATH LOCPATH MALLOC_TRACE PATH HOME \
             TMPDIR PYTHONPATH PYTHONSTARTUP INTEL_JIT_PROFILER64 INTEL_LIBITTNOTIFY64 INTEL_ITTNOTIFY_GROUPS \
             ITT_TASK_LEVEL OMP_TOOL OMP_TOOL_LIBRARIES OMP_TOOL_VERBOSE_INIT OMP_DEBUG GOMP_DEBUG KMP_CPUINFO_FILE \
             KMP_HANDLE_SIGNALS MKL_VERBOSE_OUTPUT_FILE MKL_NUM_THREADS ONEDNN_JIT_DUMP ONEDNN_JIT_PROFILE \
             ONEDNN_ITT_TASK_LEVEL DNNL_JIT_DUMP DNNL_JIT_PROFILE JITDUMPDIR ONEDNN_GRAPH_DUMP \
             TORCH_ADDR2LINE_BINARY TORCH_LOGS TORCH_LOGS_OUT TORCH_TRACE TORCH_FR_DUMP_TEMP_FILE \
             TORCH_CUSTOM_TERMINATE FBGEMM_STATS_LOGPATH KINETO_CONFIG KINETO_IPC_SOCKET_DIR KINETO_USE_DAEMON \
             CUDA_INJECTION64_PATH CUDA_CACHE_PATH CUDA_VISIBLE_DEVICES CUDA_DEVBLOB_PATH \
             CUDA_COREDUMP_FILE CUDA_ENABLE_COREDUMP_ON_EXCEPTION CUBLAS_LOGDEST_DBG CUDNN_LOGDEST_DBG \
             CUBLASLT_LOG_FILE NVTX_INJECTION64_PATH NVIDIA_VISIBLE_DEVICES TS_CONFIG_FILE ASSAY_LOG ASSAY_OUTPUT \
             ASSAY_TOKEN AWS_ACCESS_KEY_ID http_proxy omp_schedule OMP_ KMP_ MY_LABELS";
        for name in doors.split_whitespace() {
            assert!(!reaches_host(name) && !can_be_varied(name), "{name}");
        }
    }

    #[test]
    fn what_tunes_the_libraries_reaches_it_and_can_be_varied() {
        for name in
            "OMP_PROC_BIND OMP_WAIT_POLICY GOMP_CPU_AFFINITY KMP_BLOCKTIME KMP_AFFINITY MKL_CBWR \
             ONEDNN_MAX_CPU_ISA ONEDNN_VERBOSE DNNL_PRIMITIVE_CACHE_CAPACITY ATEN_CPU_CAPABILITY \
             MALLOC_ARENA_MAX PYTORCH_CUDA_ALLOC_CONF NVIDIA_TF32_OVERRIDE CUDA_MODULE_LOADING"
                .split_whitespace()
                .chain(KNOWN_NAMES)
        {
            assert!(reaches_host(name) && can_be_varied(name), "{name}");
        }
    }

    #[test]
    fn what_the_container_contract_documents_is_set_and_not_worth_varying() {
        for name in ["SAGEMAKER_PROGRAM", "SAGEMAKER_TS_BATCH_SIZE", "TS_JOB_QUEUE_SIZE"] {
            assert!(reaches_host(name) && !can_be_varied(name), "{name}");
        }
    }

    #[test]
    fn a_map_is_split_into_what_is_set_and_the_names_of_the_rest() {
        let variables: BTreeMap<String, String> =
            [("LABELS", "cat,dog"), ("KMP_BLOCKTIME", "0"), ("LD_PRELOAD", "/tmp/x.so")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        let (set, left_out) = split(&variables);
        assert_eq!(set, [("KMP_BLOCKTIME", "0")].into());
        assert_eq!(left_out, ["LABELS", "LD_PRELOAD"]);
        let told = describe_left_out(&left_out);
        assert!(
            told.starts_with("the environment variables LABELS, LD_PRELOAD are recorded"),
            "{told}"
        );
    }
}
