//! Which wheels make up libtorch for the CPU, with the sum of each.
//!
//! `libtorch_cpu.so` of the official wheel is linked against two CUDA libraries, so their wheels are
//! needed even on a machine without a GPU. The other CUDA wheels (some 3 GB) are not.

use anyhow::{Result, bail};

use crate::failure::Hinted;

/// One wheel as the index publishes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wheel {
    /// What pip is asked for.
    pub(crate) requirement: &'static str,
    /// The file that pip answers with.
    pub(crate) file: &'static str,
    /// SHA-256 of that file.
    pub(crate) sha256: &'static str,
    /// The folders that are unpacked; the rest is Python.
    pub(crate) folders: &'static [&'static str],
    /// pip's platform tags, one exact tag each because old pips expand none.
    pub(crate) platform: &'static str,
}

const TORCH: &str = "torch==2.11.0";
const TORCH_FOLDERS: &[&str] = &["torch/lib/", "torch/include/"];
const CUDA_RUNTIME: &str = "nvidia-cuda-runtime==13.0.96";
const CUPTI: &str = "nvidia-cuda-cupti==13.0.85";
const NVIDIA_FOLDERS: &[&str] = &["nvidia/"];

const X86_64: [Wheel; 3] = [
    Wheel {
        requirement: TORCH,
        file: "torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        sha256: "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a",
        folders: TORCH_FOLDERS,
        platform: "manylinux_2_28_x86_64",
    },
    Wheel {
        requirement: CUDA_RUNTIME,
        file: "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
        folders: NVIDIA_FOLDERS,
        platform: "manylinux_2_17_x86_64",
    },
    Wheel {
        requirement: CUPTI,
        file: "nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl",
        sha256: "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
        folders: NVIDIA_FOLDERS,
        platform: "manylinux_2_25_x86_64",
    },
];

const AARCH64: [Wheel; 3] = [
    Wheel {
        requirement: TORCH,
        file: "torch-2.11.0-cp311-cp311-manylinux_2_28_aarch64.whl",
        sha256: "d91aac77f24082809d2c5a93f52a5f085032740a1ebc9252a7b052ef5a4fddc6",
        folders: TORCH_FOLDERS,
        platform: "manylinux_2_28_aarch64",
    },
    Wheel {
        requirement: CUDA_RUNTIME,
        file: "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_aarch64.manylinux_2_17_aarch64.whl",
        sha256: "ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55",
        folders: NVIDIA_FOLDERS,
        platform: "manylinux_2_17_aarch64",
    },
    Wheel {
        requirement: CUPTI,
        file: "nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_aarch64.whl",
        sha256: "796bd679890ee55fb14a94629b698b6db54bcfd833d391d5e94017dd9d7d3151",
        folders: NVIDIA_FOLDERS,
        platform: "manylinux_2_25_aarch64",
    },
];

/// The wheels for a machine like this one.
pub(crate) fn for_architecture(architecture: &str) -> Result<&'static [Wheel]> {
    match architecture {
        "x86_64" => Ok(&X86_64),
        "aarch64" => Ok(&AARCH64),
        other => bail!(Hinted::new(
            format!("there is no libtorch wheel for {other} that Assay was tried with"),
            "build libtorch 2.11.0 yourself and point LIBTORCH at the folder with its lib and include",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sum_is_a_whole_sha_256_and_every_file_is_for_its_platform() {
        for architecture in ["x86_64", "aarch64"] {
            for wheel in for_architecture(architecture).unwrap() {
                assert_eq!(hex::decode(wheel.sha256).unwrap().len(), 32, "{}", wheel.file);
                assert!(
                    wheel.file.contains(wheel.platform) && wheel.platform.ends_with(architecture),
                    "{}",
                    wheel.file
                );
            }
        }
    }

    #[test]
    fn an_unknown_architecture_is_an_error_with_a_hint() {
        let text = crate::failure::describe(&for_architecture("riscv64").unwrap_err());
        assert!(text.contains("riscv64") && text.contains("hint: build libtorch"), "{text}");
    }
}
