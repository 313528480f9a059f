use proptest::prelude::*;

use super::*;

const STAT: &str = "cpu  68995 0 17283 216388 1030 0 162 134 0 0\n\
    cpu0 33909 10 8038 109609 313 5 29 63 0 0\n\
    cpu1 35085 0 9245 106779 717 0 132 70 0 0\n\
    intr 529332 0 0\nctxt 607223\nbtime 1795354800\nprocs_running 3\n";

#[test]
fn processor_times_are_read_per_processor_without_the_line_of_sums() {
    let cpus = cpu_ticks(STAT);
    assert_eq!(cpus.len(), 2);
    assert_eq!(
        cpus[0],
        (0, CpuTicks { processes: 41_957, interrupts: 34, idle: 109_922, steal: 63 })
    );
    assert_eq!(cpus[1].0, 1);
}

#[test]
fn an_old_kernel_without_steal_is_understood() {
    assert_eq!(
        cpu_ticks("cpu0 1 2 3 4"),
        vec![(0, CpuTicks { processes: 6, interrupts: 0, idle: 4, steal: 0 })]
    );
    assert_eq!(cpu_ticks("cpu0 1 2 3"), vec![]);
}

#[test]
fn a_process_may_be_called_anything() {
    let stat = "4711 (a) b (c) R 1 4711 4711 0 -1 4194560 1200 0 7 0 250 50 0 0 20 0 9 0 8812 1048576 321 18446744073709551615";
    assert_eq!(
        process_stat(stat),
        Some(ProcessStat {
            parent: 1,
            ticks: 300,
            started: 8812,
            resident_pages: 321,
            minor_faults: 1200,
            major_faults: 7,
        })
    );
    assert_eq!(process_stat("4711 (short) R 1"), None);
}

#[test]
fn memory_is_read_in_bytes_and_absent_when_not_given() {
    let memory =
        machine_memory("MemTotal:       24684092 kB\nMemFree: 1 kB\nMemAvailable:   24162372 kB\n");
    assert_eq!(memory.total, Some(Bytes::new(24_684_092 * 1024)));
    assert_eq!(memory.available, Some(Bytes::new(24_162_372 * 1024)));
    assert_eq!(machine_memory("MemTotalish: 5 kB\n"), MachineMemory::default());
}

#[test]
fn swapping_and_kills_are_read_by_their_whole_name() {
    let events = memory_events(
        "pgfault_x 1\npgfault 90\npswpin 3\npswpout 4\noom_kill_disable 9\noom_kill 2\n",
    );
    let expected =
        MemoryEvents { swapped_pages: Some(7), page_faults: Some(90), oom_kills: Some(2) };
    assert_eq!(events, expected);
    assert_eq!(memory_events("pswpin 3\n"), MemoryEvents::default());
}

#[test]
fn clocks_and_names_come_from_cpuinfo_on_both_architectures() {
    let x86 = "processor\t: 0\nmodel name\t: AMD EPYC\ncpu MHz\t\t: 2596.122\n\nprocessor\t: 1\ncpu MHz\t\t: 0\n";
    assert_eq!(cpu_clocks(x86), vec![(0, 2596.122)]);
    assert_eq!(cpu_model(x86).as_deref(), Some("AMD EPYC"));
    let arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n";
    assert_eq!(cpu_clocks(arm), vec![]);
    assert_eq!(cpu_model(arm).as_deref(), Some("Arm Neoverse-V1"));
}

#[test]
fn run_queue_and_switches_are_the_machines_own_lines() {
    let expected = Scheduling { runnable: Some(3), context_switches: Some(607_223) };
    assert_eq!(scheduling(STAT), expected);
    assert_eq!(scheduling("procs_running_x 3\n"), Scheduling::default());
}

#[test]
fn waiting_time_is_the_total_of_some_tasks_and_not_of_all() {
    let pressure = "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\nsome avg10=1.50 avg60=0.00 avg300=1.76 total=630969\n";
    assert_eq!(stalled_us(pressure), Some(630_969));
    assert_eq!(stalled_us("full avg10=0.00 total=7\n"), None);
}

#[test]
fn throttled_time_is_in_microseconds_for_both_versions() {
    let second = "usage_usec 90\nnr_periods 4\nnr_throttled 2\nthrottled_usec 1500\n";
    assert_eq!(throttled_us(second), Some(1500));
    let first = "nr_periods 4\nnr_throttled 2\nthrottled_time 1500000\n";
    assert_eq!(throttled_us(first), Some(1500));
    assert_eq!(throttled_us("usage_usec 90\n"), None);
}

#[test]
fn a_thread_tells_its_switches_and_whether_it_would_run() {
    let status = "Name:\tx\nState:\tR (running)\nvoluntary_ctxt_switches:\t40\nnonvoluntary_ctxt_switches:\t2\n";
    assert_eq!(thread_switches(status), Some(42));
    assert!(is_runnable(status) && !is_runnable("Name:\tR\nState:\tS (sleeping)\n"));
}

#[test]
fn lists_of_processors_are_read_as_the_kernel_writes_them() {
    assert_eq!(cpu_list("0-3,8\n"), vec![0, 1, 2, 3, 8]);
    assert_eq!(cpu_list(""), Vec::<u32>::new());
    assert_eq!(cpu_list("3-1,2,x,0-4294967295"), vec![2]);
}

#[test]
fn the_files_of_this_machine_are_understood() {
    let read = |path| std::fs::read_to_string(path).unwrap();
    assert!(!cpu_ticks(&read("/proc/stat")).is_empty());
    assert!(machine_memory(&read("/proc/meminfo")).available.is_some());
    assert!(memory_events(&read("/proc/vmstat")).oom_kills.is_some());
    assert!(cpu_model(&read("/proc/cpuinfo")).is_some());
    let own = process_stat(&read("/proc/self/stat")).unwrap();
    assert!(own.resident_pages > 100 && own.started > 0);
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_fail(text in "[ -~\n\t]{0,400}", cut in 0usize..200) {
        let _ = process_stat(&text);
        let _ = cpu_list(&text);
        for whole in [STAT, text.as_str()] {
            let part = whole.get(..cut.min(whole.len())).unwrap_or(whole);
            let _ = (scheduling(part), stalled_us(part), throttled_us(part), thread_switches(part));
            let _ = (cpu_ticks(part), machine_memory(part), memory_events(part), cpu_clocks(part), cpu_model(part));
        }
    }
}
