use proptest::prelude::*;

use super::*;

fn basis() -> Basis {
    Basis {
        model_cpus: vec![1],
        memory: Bytes::mib(1000),
        ticks_per_s: 100.0,
        process_ids_comparable: true,
    }
}

fn ticks(processes: u64, interrupts: u64, idle: u64, steal: u64) -> CpuTicks {
    CpuTicks { processes, interrupts, idle, steal }
}

/// Two seconds: processor 0 runs the agent for one second; processor 1 is the model's and runs the
/// host for 1.4 s, something else for 0.2 s, interrupts for 0.1 s, and loses 0.1 s to the hypervisor.
fn two_samples() -> [Sample; 2] {
    let host = |ticks, mib, faults| {
        Some(HostUse {
            ticks,
            resident: Bytes::mib(mib),
            process_ids: vec![7],
            minor_faults: faults,
            major_faults: faults / 100,
        })
    };
    [
        Sample {
            at_ns: 1_000_000_000,
            cpus: vec![(0, ticks(0, 0, 0, 0)), (1, ticks(50, 0, 0, 0))],
            own_ticks: Some(10),
            host: host(40, 100, 1000),
            available: Some(Bytes::mib(900)),
            swapped_pages: Some(5),
            cpu_mhz: Some(2000.0),
            runnable: Some(4),
            other_runnable: Some(-1.0),
            context_switches: Some(1000),
            host_switches: Some(100),
            cpu_stalled_us: Some(0),
            memory_stalled_us: Some(5),
            quota_throttled_us: Some(10_000),
            page_faults: Some(0),
            gpus: vec![],
        },
        Sample {
            at_ns: 3_000_000_000,
            cpus: vec![(0, ticks(100, 0, 100, 0)), (1, ticks(210, 10, 20, 10))],
            own_ticks: Some(110),
            host: host(180, 250, 3000),
            available: Some(Bytes::mib(700)),
            swapped_pages: Some(25),
            cpu_mhz: Some(3000.0),
            runnable: Some(7),
            other_runnable: Some(4.0),
            context_switches: Some(5000),
            host_switches: Some(700),
            cpu_stalled_us: Some(500_000),
            memory_stalled_us: Some(20_005),
            quota_throttled_us: Some(110_000),
            page_faults: Some(8000),
            gpus: vec![],
        },
    ]
}

fn near(value: Option<f64>, expected: f64) -> bool {
    value.is_some_and(|value| (value - expected).abs() < 1e-9)
}

#[test]
fn busy_time_is_told_apart_by_whose_it_is() {
    let figures = summarize(&two_samples(), &basis());
    assert!(near(figures.cpu_pct, 85.0), "{figures:?}");
    assert!(near(figures.steal_pct, 5.0), "{figures:?}");
    assert!(near(figures.host_cpu_pct, 70.0), "{figures:?}");
    assert!(near(figures.harness_cpu_pct, 50.0), "{figures:?}");
    assert!(near(figures.other_cpu_pct, 10.0), "{figures:?}");
    assert!(near(figures.memory_pct, 25.0), "{figures:?}");
    assert!(near(figures.swapped_pages_per_s, 10.0), "{figures:?}");
    assert!(near(figures.cpu_mhz, 2500.0), "{figures:?}");
    assert_eq!(figures.machine_available_bytes, Some(Bytes::mib(700)));
    assert_eq!(figures.per_cpu_pct.len(), 2);
    assert_eq!(figures.samples, 2);
}

#[test]
fn waiting_switching_and_faulting_are_rates_and_shares() {
    let figures = summarize(&two_samples(), &basis());
    assert!(near(figures.runnable_tasks, 5.5), "{figures:?}");
    assert!(near(figures.other_runnable_tasks, 1.5), "{figures:?}");
    assert!(near(figures.cpu_pressure_pct, 25.0), "{figures:?}");
    assert!(near(figures.memory_pressure_pct, 1.0), "{figures:?}");
    assert!(near(figures.quota_throttled_pct, 5.0), "{figures:?}");
    assert!(near(figures.context_switches_per_s, 2000.0), "{figures:?}");
    assert!(near(figures.host_context_switches_per_s, 300.0), "{figures:?}");
    assert!(near(figures.page_faults_per_s, 4000.0), "{figures:?}");
    assert!(near(figures.host_page_faults_per_s, 1010.0), "{figures:?}");
    assert!(near(figures.host_major_faults_per_s, 10.0), "{figures:?}");
}

#[test]
fn what_was_not_read_is_absent_and_never_zero() {
    let bare = [
        Sample { at_ns: 0, ..Sample::default() },
        Sample { at_ns: 1_000_000_000, ..Sample::default() },
    ];
    let figures = summarize(&bare, &basis());
    assert_eq!(figures, Utilization { samples: 2, ..Utilization::default() });
    assert_eq!(summarize(&bare[..1], &basis()), Utilization::default());
    assert_eq!(summarize(&[], &basis()), Utilization::default());
}

#[test]
fn a_host_that_came_within_the_window_counts_from_its_first_sample() {
    let [first, last] = two_samples();
    let before = Sample { at_ns: 0, host: None, own_ticks: Some(10), ..first.clone() };
    assert!(near(summarize(&[before.clone(), first, last.clone()], &basis()).host_cpu_pct, 70.0));
    assert_eq!(summarize(&[before, last], &basis()).host_cpu_pct, None);
}

#[test]
fn gpu_figures_are_means_extremes_and_differences() {
    let gpu = |power, energy, temperature, reasons: &[&'static str], ids: &[u32]| GpuSample {
        index: 0,
        power_w: Some(power),
        energy_j: Some(energy),
        temperature_c: Some(temperature),
        throttle_reasons: reasons.to_vec(),
        throttled: Some(!reasons.is_empty()),
        process_ids: Some(ids.to_vec()),
        ..GpuSample::default()
    };
    let mut samples = two_samples();
    samples[0].gpus = vec![gpu(100.0, 5000.0, 60.0, &[], &[7])];
    samples[1].gpus = vec![gpu(300.0, 5400.0, 70.0, &["sw_power_cap"], &[7])];
    let figures = summarize(&samples, &basis()).gpus;
    assert!(near(figures[0].power_w, 200.0) && near(figures[0].energy_j, 400.0), "{figures:?}");
    assert!(near(figures[0].temperature_c, 70.0), "{figures:?}");
    assert_eq!(figures[0].throttle_reasons, vec!["sw_power_cap"]);
    assert!(near(figures[0].throttled_pct, 50.0), "{figures:?}");
    assert_eq!(figures[0].shared_with_others, Some(false));
    assert_eq!(figures[0].utilization_pct, None);

    samples[1].gpus = vec![gpu(300.0, 5400.0, 70.0, &[], &[7, 99])];
    assert_eq!(summarize(&samples, &basis()).gpus[0].shared_with_others, Some(true));

    samples[1].gpus = vec![gpu(300.0, 5400.0, 70.0, &[], &[88_123])];
    let mut contained = basis();
    contained.process_ids_comparable = false;
    samples[0].gpus.clear();
    assert_eq!(summarize(&samples, &contained).gpus[0].shared_with_others, Some(false));
}

proptest! {
    #[test]
    fn shares_stay_between_0_and_100_whatever_the_counters_say(
        numbers in prop::collection::vec(any::<u64>(), 16),
        span in 0u64..5_000_000_000,
    ) {
        let sample = |n: &[u64], at_ns| Sample {
            at_ns,
            cpus: vec![(1, ticks(n[0], n[1], n[2], n[3]))],
            own_ticks: Some(n[4]),
            host: Some(HostUse { ticks: n[5], resident: Bytes::new(n[6]), ..HostUse::default() }),
            swapped_pages: Some(n[7]),
            ..Sample::default()
        };
        let figures = summarize(&[sample(&numbers[..8], 0), sample(&numbers[8..], span)], &basis());
        for share in [figures.cpu_pct, figures.steal_pct, figures.host_cpu_pct, figures.harness_cpu_pct, figures.memory_pct] {
            prop_assert!(share.is_none_or(|pct| (0.0..=100.0).contains(&pct)), "{figures:?}");
        }
    }
}
