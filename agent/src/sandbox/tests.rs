use super::*;

fn machine() -> Machine {
    Machine { cpus: vec![0, 2, 1, 3], memory: Bytes::mib(7800) }
}

fn shape(vcpus: u32, mebibytes: u64) -> Option<Shape> {
    Some(Shape { vcpus, memory_bytes: Bytes::mib(mebibytes) })
}

#[test]
fn an_emulated_shape_gets_whole_cores_and_leaves_the_rest_to_the_harness() {
    let allotment = Allotment::of(&machine(), shape(2, 4096)).unwrap();
    assert_eq!(allotment.model_cpus, vec![0, 2]);
    assert_eq!(allotment.spare_cpus, vec![1, 3]);
    assert_eq!(allotment.memory, Bytes::gib(4));
}

#[test]
fn a_machine_that_is_the_type_itself_is_not_limited() {
    let allotment = Allotment::of(&machine(), None).unwrap();
    assert_eq!(allotment.model_cpus, vec![0, 2, 1, 3]);
    let sandbox = Sandbox::set_up(&allotment, &Hierarchies::of_this_process());
    assert!(sandbox.limits_in_force().is_empty());
}

#[test]
fn an_instance_type_larger_than_this_machine_is_refused_with_figures() {
    let error = Allotment::of(&machine(), shape(8, 4096)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "an instance type of 8 vCPU and 4 GiB does not fit this machine of 4 vCPU and 7.6 GiB"
    );
    assert!(Allotment::of(&machine(), shape(2, 16384)).is_err());
    assert!(Allotment::of(&machine(), shape(0, 1)).is_err());
    // What is sold as 8 GiB shows less of it.
    assert!(Allotment::of(&machine(), shape(4, 8192)).is_ok());
}

#[test]
fn without_control_groups_affinity_and_watch_take_over() {
    let allotment = Allotment::of(&machine(), shape(1, 512)).unwrap();
    let sandbox = Sandbox::set_up(&allotment, &Hierarchies::default());
    assert_eq!(
        sandbox.limits_in_force(),
        [LimitInForce::CpuSetAffinity, LimitInForce::MemoryWatchdog]
    );
    assert_eq!(sandbox.watched_memory(), Some(Bytes::mib(512)));
}

#[test]
fn a_child_in_the_sandbox_of_this_machine_sees_one_processor() {
    let machine = Machine::here();
    let allotment = Allotment::of(&machine, shape(1, 256)).unwrap();
    for hierarchies in [Hierarchies::of_this_process(), Hierarchies::default()] {
        let sandbox = Sandbox::set_up(&allotment, &hierarchies);
        assert_eq!(sandbox.limits_in_force().len(), 2);
        let mut command = std::process::Command::new("cat");
        command.arg("/proc/self/status").stdout(std::process::Stdio::piped());
        crate::model_host::launch::inside(&mut command, sandbox.entry().unwrap(), None, None);
        let output = command.output().unwrap();
        let status = String::from_utf8(output.stdout).unwrap();
        let allowed = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:")).unwrap();
        assert_eq!(allowed.trim(), machine.cpus[0].to_string(), "{:?}", sandbox.limits_in_force());
        assert_eq!(sandbox.oom_kills(), 0);
    }
}
