//! What is sent must come back the same, and what breaks a rule must be refused.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use assay_measure::{
    configuration::Configuration,
    hardware::{GpuUtilization, HostFacts, LimitInForce, Shape, Utilization},
    latency::Latency,
    load_profile::{LoadProfile, Recording},
    outcome::{HarnessFigures, OutputDeviation, TrialOutcome, TrialResult},
    schedule::{Arrivals, Load, Phase},
    search::{Answer, Confirmation, Drift, Estimate, LimitedBy, Mode, SearchPlan},
    stepped_load::{FlatInvocations, SteppedLoad, StopCause, StoppingConditions},
    trial::{ArtifactRef, Payload, ServedModel, TrialSpec, TrialSubject, Work},
    units::{Bytes, Rate},
    validity::{Finding, FindingName, Validity, Verdict},
};

use crate::v1;

fn artifact(name: &str) -> ArtifactRef {
    ArtifactRef {
        name: name.to_owned(),
        sha256: "a".repeat(64).parse().unwrap(),
        size_bytes: Bytes::mib(45),
    }
}

fn spec(work: Work) -> TrialSpec {
    let mut configuration = Configuration::cpu(NonZeroU32::new(2).unwrap(), NonZeroU32::MIN);
    configuration.environment = BTreeMap::from([("OMP_PROC_BIND".to_owned(), "true".to_owned())]);
    TrialSpec {
        id: "demo/0".parse().unwrap(),
        instance_type: "ml.c5.large".parse().unwrap(),
        subject: TrialSubject::Served(ServedModel {
            emulated: Some(Shape { vcpus: 2, memory_bytes: Bytes::gib(4) }),
            configuration,
            model: artifact("resnet18.pt"),
            ready_within: Duration::from_secs(60),
        }),
        payload: Payload {
            artifact: artifact("input.npy"),
            is_archive: false,
            content_type: "application/x-npy".to_owned(),
        },
        inputs: vec!["float32[1,3,224,224]".parse().unwrap()],
        work,
        request_timeout: Duration::from_secs(30),
    }
}

fn of_endpoint() -> TrialSpec {
    let subject = TrialSubject::Endpoint { endpoint: "mine".parse().unwrap() };
    TrialSpec { subject, ..spec(search()) }
}

#[test]
fn a_trial_of_an_endpoint_survives_the_wire_without_a_model() {
    let wire = v1::TrialSpec::from(of_endpoint());
    assert!(wire.model.is_none() && wire.configuration.is_none() && wire.emulated.is_none());
    assert_eq!(TrialSpec::try_from(wire).unwrap(), of_endpoint());
    let measured = TrialResult { configuration: None, ..measurement() };
    let wire = v1::TrialResult::from(measured.clone());
    assert_eq!(TrialResult::try_from(wire).unwrap(), measured);
}

fn search() -> Work {
    Work::Search(SearchPlan {
        constraints: vec!["p95<=50ms".parse().unwrap()],
        mode: Mode::Quick,
        seed: 7,
        max_duration: Duration::from_secs(75),
        soak: None,
        skip_thermal_check: true,
        max_error_share: 0.01,
    })
}

#[test]
fn a_trial_spec_survives_the_wire() {
    let rate = Rate::per_second(12.5).unwrap();
    let fixed = Work::Load(LoadProfile::Phases(vec![
        Phase { load: Load::Closed { users: 3 }, duration: Duration::from_secs(5) },
        Phase {
            load: Load::Open { rate, arrivals: Arrivals::Constant, seed: 1 },
            duration: Duration::from_secs(5),
        },
        Phase { load: Load::Replay { at_us: vec![0, 5, 5, 9] }, duration: Duration::from_secs(1) },
    ]));
    let stopping = StoppingConditions {
        max_invocations: Some(rate),
        latency: vec!["p99<=80ms".parse().unwrap()],
        flat_invocations: FlatInvocations::Continue,
        max_error_share: 0.02,
    };
    let users = Phase { load: Load::Closed { users: 3 }, duration: Duration::from_secs(5) };
    let stepped =
        Work::Load(LoadProfile::Stepped(SteppedLoad::new(vec![users], stopping).unwrap()));
    let recorded = Work::Load(LoadProfile::Recorded(Recording {
        artifact: artifact("arrivals.txt"),
        arrivals: 10_000_000,
        duration: Duration::from_secs(600),
    }));
    for work in [search(), fixed, stepped, recorded] {
        let spec = spec(work);
        assert_eq!(TrialSpec::try_from(v1::TrialSpec::from(spec.clone())).unwrap(), spec);
    }
}

#[test]
fn broken_specs_are_refused_with_the_field() {
    let good = v1::TrialSpec::from(spec(search()));
    let break_it = |change: &dyn Fn(&mut v1::TrialSpec)| {
        let mut wire = good.clone();
        change(&mut wire);
        TrialSpec::try_from(wire).unwrap_err().to_string()
    };
    assert!(break_it(&|w| w.work = None).contains("work"));
    assert!(break_it(&|w| w.id = "x".to_owned()).contains("id"));
    assert!(break_it(&|w| w.ready_within_us = u64::MAX).contains("ready_within_us"));
    assert!(break_it(&|w| w.inputs = vec!["float8[1]".to_owned()]).contains("inputs"));
    let set_model = |name: &'static str| {
        move |w: &mut v1::TrialSpec| w.model.as_mut().unwrap().name = name.to_owned()
    };
    assert!(break_it(&set_model("../etc/passwd")).contains("plain file name"));
    assert!(break_it(&set_model("")).contains("plain file name"));
    let workers = |w: &mut v1::TrialSpec| w.configuration.as_mut().unwrap().workers = 0;
    assert!(break_it(&workers).contains("workers"));
    let users = Phase { load: Load::Closed { users: 3 }, duration: Duration::from_secs(5) };
    let stepped = SteppedLoad::new(vec![users], StoppingConditions::default()).unwrap();
    let stepped = v1::SteppedLoad::from(stepped);
    let stepped_with = |change: fn(&mut v1::SteppedLoad)| {
        let mut stepped = stepped.clone();
        change(&mut stepped);
        break_it(&|w| w.work = Some(v1::trial_spec::Work::Stepped(stepped.clone())))
    };
    assert!(stepped_with(|w| w.phases.clear()).contains("at least one phase"));
    assert!(stepped_with(|w| w.stopping = None).contains("stopping"));
    let flat = |w: &mut v1::SteppedLoad| {
        w.stopping.as_mut().unwrap().flat_invocations = "rest".to_owned();
    };
    assert!(stepped_with(flat).contains("flat_invocations"));
    let no_name = |w: &mut v1::TrialSpec| {
        let environment = &mut w.configuration.as_mut().unwrap().environment;
        environment.insert("A=B".to_owned(), "1".to_owned());
    };
    assert!(break_it(&no_name).contains("\"A=B\" is not a name"));
    let both = |w: &mut v1::TrialSpec| w.endpoint = Some("mine".to_owned());
    assert!(break_it(&both).contains("together with a model"));
    let hostile = |w: &mut v1::TrialSpec| {
        *w = v1::TrialSpec::from(of_endpoint());
        w.endpoint = Some("http://10.0.0.1/".to_owned());
    };
    assert!(break_it(&hostile).contains("not a valid endpoint name"));
    assert!(break_it(&|w| w.model = None).contains("model"));
}

fn latency() -> Latency {
    Latency {
        count: 9,
        mean_us: 1.5,
        p50_us: 2,
        p90_us: 3,
        p95_us: 4,
        p99_us: 5,
        p999_us: 6,
        max_us: 7,
    }
}

fn measurement() -> TrialResult {
    let estimate = Estimate {
        value: Rate::per_second(40.0).unwrap(),
        low: Rate::per_second(39.0).unwrap(),
        high: Rate::per_second(41.0).unwrap(),
    };
    let gpu = GpuUtilization {
        power_w: Some(250.5),
        throttled_pct: Some(12.5),
        other_processes: Some(2),
        mig: Some(true),
        lost: true,
        ..GpuUtilization::default()
    };
    TrialResult {
        answer: Some(Answer {
            capacity: estimate,
            plateau: estimate,
            plateau_users: 2,
            limited_by: LimitedBy::Slo,
            confirmation: Confirmation::Held,
            answer_steps: vec![4, 5],
            drift: Some(Drift { relative_change: -0.02 }),
            precise: true,
            samples: 3000,
            out_of_time: false,
        }),
        stopped_by: Some(StopCause::Latency),
        latency: Some(latency()),
        utilization: Utilization {
            cpu_pct: Some(97.5),
            gpus: vec![gpu],
            runnable_tasks: Some(1.5),
            other_runnable_tasks: Some(2.5),
            cpu_pressure_pct: Some(3.5),
            memory_pressure_pct: Some(4.5),
            quota_throttled_pct: Some(5.5),
            context_switches_per_s: Some(6.5),
            host_context_switches_per_s: Some(7.5),
            page_faults_per_s: Some(8.5),
            host_page_faults_per_s: Some(9.5),
            host_major_faults_per_s: Some(10.5),
            ..Utilization::default()
        },
        idle: None,
        validity: Validity::from_findings(vec![Finding {
            name: FindingName::CpuSteal,
            value: 1.5,
            threshold: 1.0,
            severity: Verdict::Suspect,
        }]),
        host: HostFacts {
            cpu_model: "EPYC".to_owned(),
            vcpus: 2,
            memory_bytes: Bytes::gib(4),
            ..HostFacts::default()
        },
        limits_in_force: LimitInForce::ALL.to_vec(),
        configuration: Some(Configuration::cpu(NonZeroU32::MIN, NonZeroU32::MIN)),
        harness: HarnessFigures {
            cpu_share_pct: 1.0,
            lag_p50_us: 5,
            lag_p99_us: 50,
            sampler_cpu_s: 0.1,
        },
        energy_j_per_inference: Some(0.7),
        output_deviation: Some(OutputDeviation { max: 8e-3, mean: 5e-4 }),
        comparison_failure: Some("no time".to_owned()),
        remarks: vec!["passed over .DS_Store".to_owned()],
        nan_outputs: 1,
        calls: 10,
        failed_calls: 1,
        first_error: Some("500".to_owned()),
        ready_after: Duration::from_millis(900),
        took: Duration::from_secs(60),
    }
}

#[test]
fn every_ending_survives_the_wire() {
    let failed = assay_measure::outcome::FailureKind::ALL.iter().map(|&kind| {
        TrialOutcome::Failed(assay_measure::outcome::Failure {
            validity: Some(measurement().validity),
            took: Duration::from_secs(9),
            ..assay_measure::outcome::Failure::new(kind, "m".to_owned(), "d".to_owned())
        })
    });
    let others = [
        TrialOutcome::Measured(Box::new(measurement())),
        TrialOutcome::Cancelled { by: "jobs stop".to_owned() },
    ];
    for outcome in failed.chain(others) {
        assert_eq!(
            TrialOutcome::try_from(v1::TrialOutcome::from(outcome.clone())).unwrap(),
            outcome
        );
    }
}

#[test]
fn figures_that_are_no_numbers_are_refused() {
    let mut wire = v1::TrialResult::from(measurement());
    wire.utilization.as_mut().unwrap().cpu_pct = Some(f64::NAN);
    assert!(TrialResult::try_from(wire).unwrap_err().to_string().contains("cpu_pct"));
}
