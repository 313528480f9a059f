//! Snapshots of each text, and what hostile names come to in them.

use std::num::NonZeroU32;

use assay_measure::{
    configuration::{Allocator, Device, Graph, Precision},
    hardware::HostFacts,
    search::Mode,
    units::Bytes,
};
use insta::assert_snapshot;

use super::*;
use crate::testing::{self, measurement};

const HOSTILE: &str = "it's \"a\" $(reboot) `x` $HOME\n- &a *b: #c\u{1b}[201~\u{202e}模型.pt";

fn count(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

fn entry(instance_type: &str, configuration: Configuration) -> Entry {
    Entry {
        configuration: Some(configuration),
        emulated: true,
        ..Entry::new(instance_type.parse().unwrap(), Mode::Quick, 7)
    }
}

fn plain() -> Entry {
    entry("ml.c5.large", Configuration::cpu(count(2), count(1)))
}

/// No setting is the default.
fn tuned() -> Entry {
    let mut configuration = Configuration {
        workers: count(1),
        intra_op_threads: count(4),
        max_batch: count(8),
        max_batch_delay_us: 500,
        device: Device::Cuda(1),
        dtype: Precision::Float16,
        graph: Graph::Optimized,
        allocator: Allocator::Default,
        ..Configuration::cpu(count(1), count(1))
    };
    for (name, value) in [
        ("KMP_BLOCKTIME", "0"),
        ("TS_DEFAULT_WORKERS_PER_MODEL", "1"),
        ("LABELS", "cat,dog"),
        ("no name", "x"),
    ] {
        configuration.environment.insert(name.to_owned(), value.to_owned());
    }
    entry("ml.g4dn.xlarge", configuration)
}

fn sizing(instance_count: u64) -> Sizing {
    Sizing {
        demand_per_min: 40_000.0,
        headroom: 0.7,
        instance_count,
        usd_per_month: None,
        cost_per_million_usd: None,
    }
}

fn of<'a>(entry: &'a Entry, model: &'a str) -> Recommended<'a> {
    Recommended { entry, model, inputs: &[], sizing: None }
}

#[test]
fn a_recommendation_for_a_processor() {
    let entry = plain();
    let sizing = sizing(22);
    let recommended = Recommended { sizing: Some(&sizing), ..of(&entry, "models/resnet18.pt") };
    assert_snapshot!("cpu-boto3", boto3(recommended).unwrap());
    assert_snapshot!("cpu-kubernetes", kubernetes(recommended).unwrap());
    assert_snapshot!("cpu-command-line", command_line(recommended).unwrap());
}

#[test]
fn a_recommendation_for_a_gpu_with_every_setting() {
    let entry = tuned();
    let inputs = ["tokens=int64[1,128]".parse().unwrap(), "float32[1,3]".parse().unwrap()];
    let recommended = Recommended { inputs: &inputs, ..of(&entry, "bert.tar.gz") };
    assert_snapshot!("gpu-boto3", boto3(recommended).unwrap());
    assert_snapshot!("gpu-kubernetes", kubernetes(recommended).unwrap());
    assert_snapshot!("gpu-command-line", command_line(recommended).unwrap());
}

#[test]
fn hostile_names_stay_names() {
    let mut entry = plain();
    let environment = &mut entry.configuration.as_mut().unwrap().environment;
    environment.insert("KMP_AFFINITY".to_owned(), HOSTILE.to_owned());
    environment.insert("LABELS".to_owned(), HOSTILE.to_owned());
    let recommended = of(&entry, HOSTILE);
    assert_snapshot!("hostile-boto3", boto3(recommended).unwrap());
    assert_snapshot!("hostile-kubernetes", kubernetes(recommended).unwrap());
    assert_snapshot!("hostile-command-line", command_line(recommended).unwrap());
}

#[test]
fn a_path_that_looks_like_a_flag_is_no_flag() {
    let command = command_line(of(&plain(), "-rf.pt")).unwrap();
    assert!(command.contains("assay-host serve ./-rf.pt "), "{command}");
}

#[test]
fn a_running_server_has_nothing_to_set_up() {
    let mut entry = Entry::new("ml.c5.large".parse().unwrap(), Mode::Quick, 7);
    let missing = boto3(of(&entry, "a.pt")).unwrap_err();
    assert_eq!(missing.to_string(), "ml.c5.large was not measured with any configuration");
    entry.endpoint = Some("mine".parse().unwrap());
    for refused in [boto3, kubernetes, command_line].map(|snippet| snippet(of(&entry, "a.pt"))) {
        assert_eq!(
            refused.unwrap_err().to_string(),
            "endpoint mine runs already: there is nothing to set up"
        );
    }
}

#[test]
fn a_type_of_ones_own_is_not_on_sagemaker_and_selects_no_node() {
    let own = entry("onprem.small", Configuration::cpu(count(1), count(1)));
    let refused = boto3(of(&own, "a.pt")).unwrap_err();
    assert_eq!(refused.to_string(), "SageMaker has no instance type onprem.small");
    let manifest = kubernetes(of(&own, "a.pt")).unwrap();
    assert!(!manifest.contains("nodeSelector") && !manifest.contains("resources"), "{manifest}");
    let mut measurement = measurement(600.0, 5.0);
    measurement.host = HostFacts { vcpus: 6, ..testing::host(6, Bytes::gib(24)) };
    let itself = Entry { result: Some(Box::new(measurement)), emulated: false, ..own };
    let manifest = kubernetes(of(&itself, "a.pt")).unwrap();
    assert!(manifest.contains("cpu: 6\n") && manifest.contains("memory: 24576Mi\n"), "{manifest}");
}

#[test]
fn a_type_that_the_catalogue_does_not_know_has_no_made_up_resources() {
    let new = entry(
        "ml.z99.huge",
        Configuration { device: Device::Cuda(0), ..Configuration::cpu(count(1), count(1)) },
    );
    let manifest = kubernetes(of(&new, "a.pt")).unwrap();
    assert!(manifest.contains("instance-type: \"z99.huge\""), "{manifest}");
    assert!(
        manifest.contains("nvidia.com/gpu: 1\n") && !manifest.contains("memory:"),
        "{manifest}"
    );
}
