//! Compiles the `.proto` files with protox: no `protoc` is needed on the machine.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 3] =
    ["assay/v1/agent.proto", "assay/v1/jobs.proto", "inference/inference.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out_dir.join("assay_descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".inference.ModelInferRequest.raw_input_contents")
        .bytes(".inference.ModelInferResponse.raw_output_contents")
        .bytes(".assay.v1.ArtifactChunk.data")
        .bytes(".assay.v1.UploadArtifactRequest.data")
        .bytes(".assay.v1.ExportJobResponse.data")
        .bytes(".assay.v1.ImportJobRequest.data")
        .compile_fds(descriptors)?;
    Ok(())
}
