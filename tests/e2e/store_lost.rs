//! A coordinator whose disk takes nothing more.

use std::process::Command;

use assay_tests::{binaries, wait};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::workbench::{LIMIT, Workbench, run};

#[test]
fn a_coordinator_that_can_write_nothing_more_ends_at_once_with_its_reason_and_an_exit_code() {
    let bench = Workbench::new();
    // A write beyond the limit is then an error, as on a full disk, and no signal.
    let mut command = Command::new("sh");
    command.current_dir(bench.path()).args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
    command.arg(binaries::assay());
    let (mut server, url) = bench.serve_with(command);
    let set = |name: &str, url: &str| {
        run(bench.assay().args(["--server", url, "prices", "set", name, "--per-hour", "0.05"]))
    };
    assert_eq!(set("own.kept", &url).code, 0);

    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap());
    prlimit(pid, Resource::Fsize, Rlimit { current: Some(1), maximum: None }).unwrap();
    let refused = set("own.lost", &url);
    assert_eq!(refused.code, 1, "{}\n{}", refused.stdout, refused.stderr);
    let ended = wait::until("the coordinator to end", LIMIT, || server.ended());
    let stderr = server.stderr();
    assert_eq!(ended.code(), Some(1), "{stderr}");
    for part in [
        "error: the store failed, so the coordinator cannot go on",
        "cause: cannot write",
        "hint: look for room",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }

    let (_server, url) = bench.serve();
    let known = run(bench.assay().args(["--server", &url, "prices", "list"]));
    assert!(known.stdout.contains("own.kept"), "{}\n{}", known.stdout, known.stderr);
    assert!(!known.stdout.contains("own.lost"), "{}", known.stdout);
}
