use clap::CommandFactory;

use super::*;

fn words(line: &str) -> Vec<OsString> {
    line.split(' ').map(OsString::from).collect()
}

fn run_line(line: &str) -> u8 {
    run_with(words(line), || Ok(()))
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn serve_takes_the_documented_flags() {
    let line = "assay-host serve m.pt --listen 127.0.0.1:0 --input float32[1,3,224,224] --input n=int64[1] --workers 2 \
                --intra-op-threads 3 --max-batch 8 --max-batch-delay 2ms --device cuda:1 --grpc-listen 127.0.0.1:0 \
                --model-name net --dtype bfloat16 --graph optimized --allocator default --max-payload 1MiB \
                --queue-limit 5 --image-resize 32 --image-crop 28 --image-mean 0,0,0 --image-std 1,1,1";
    let cli = Cli::try_parse_from(words(line)).unwrap();
    assert_eq!(cli.allocator, Allocator::Default);
    let Command::Serve(arguments) = cli.command else { panic!("not serve") };
    assert_eq!(arguments.model.inputs.len(), 2);
    assert_eq!((arguments.engine.workers.get(), arguments.engine.intra_op_threads.get()), (2, 3));
    assert_eq!(arguments.engine.device, Device::Cuda(1));
    assert_eq!(arguments.max_batch_delay, Duration::from_millis(2));
    assert_eq!(arguments.max_payload, units::Bytes::mib(1));
    assert_eq!(arguments.image_mean, Some(Triple([0.0; 3])));
}

#[test]
fn wrong_command_lines_end_with_the_usage_code() {
    for line in [
        "assay-host",
        "assay-host serve",
        "assay-host serve m.pt --no-such-flag",
        "assay-host serve m.pt --workers 0",
        "assay-host serve m.pt --dtype float8",
        "assay-host serve m.pt --input float32",
        "assay-host serve m.pt --listen nowhere",
        "assay-host serve m.pt --image-mean 1,2",
        "assay-host reference",
        "assay-host reference mlp",
        "assay-host reference no-such-model --out /tmp/never-written.pt",
        "assay-host serve m.pt --image-resize 100 --image-crop 200 --listen 127.0.0.1:0",
    ] {
        assert_eq!(run_line(line), 2, "{line}");
    }
    assert_eq!(run_line("assay-host --help"), 0);
}

#[test]
fn a_missing_model_ends_with_the_failure_code() {
    assert_eq!(run_line("assay-host inspect /nowhere/net.pt"), 1);
    assert_eq!(run_line("assay-host serve /nowhere/net.pt --listen 127.0.0.1:0"), 1);
}

#[test]
fn a_port_in_use_is_told_before_the_model_is_looked_at() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let line = format!("assay-host serve /nowhere/net.pt --listen {address}");
    let cli = Cli::try_parse_from(words(&line)).unwrap();
    let failure = dispatch(cli, &[], None).unwrap_err();
    assert_eq!((failure.exit_code, failure.code), (EXIT_FAILED, "listen"));
    assert_eq!(failure.message, format!("{address} is in use"));
    assert!(failure.hint.is_some());
}

#[test]
fn json_is_recognized_in_a_wrong_command_line() {
    assert!(asks_for_json(&words("assay-host serve --oops -o json")));
    assert!(asks_for_json(&words("assay-host serve --output=json")));
    assert!(!asks_for_json(&words("assay-host serve json")));
}
