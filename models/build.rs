//! Compiles the C++ shim against libtorch and makes the binaries find libtorch at run time.

use std::{env, path::PathBuf};

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-env-changed=LIBTORCH_CXX11_ABI");
    for file in ["src/torch/shim.cpp", "src/torch/shim.h", "build.rs"] {
        println!("cargo:rerun-if-changed={file}");
    }
    let libtorch =
        env::var_os("LIBTORCH").map(PathBuf::from).and_then(|path| path.canonicalize().ok());
    let Some(libtorch) = libtorch else {
        println!(
            "cargo:error=libtorch is not there: run `cargo xtask libtorch`, or set LIBTORCH to its folder"
        );
        return;
    };
    let abi = env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        // libtorch's headers bring warnings of their own; as system headers they stay quiet.
        .flag("-isystem")
        .flag(libtorch.join("include").as_os_str())
        .flag("-isystem")
        .flag(libtorch.join("include/torch/csrc/api/include").as_os_str())
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        .file("src/torch/shim.cpp")
        .compile("assay_shim");
    // The libraries that the shim's symbols come from; tch names them too, but only for its own objects.
    println!("cargo:rustc-link-search=native={}", libtorch.join("lib").display());
    for library in ["torch_cpu", "c10"] {
        println!("cargo:rustc-link-lib=dylib={library}");
    }
    // An absolute run path: binaries run from any directory with no environment variable set, and
    // dlopen("libtorch_cuda.so") finds its file the same way.
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", libtorch.join("lib").display());
    println!("cargo:rustc-env=ASSAY_LIBTORCH={}", libtorch.display());
}
