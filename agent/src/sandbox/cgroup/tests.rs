use super::*;

fn tree(version: Version) -> (tempfile::TempDir, Hierarchy) {
    let tree = tempfile::tempdir().unwrap();
    let path = tree.path().to_path_buf();
    fs::write(path.join("cpuset.mems"), "0\n").unwrap();
    fs::write(path.join("cgroup.subtree_control"), "cpu\n").unwrap();
    (tree, Hierarchy { version, directory: path.clone(), mount: path })
}

const BOTH: [Controller; 2] = [Controller::CpuSet, Controller::Memory];

fn restriction() -> Restriction<'static> {
    Restriction { cpus: &[2, 3], memory: Bytes::mib(64) }
}

fn content(group: &Group, file: &str) -> String {
    fs::read_to_string(group.directory.join(file)).unwrap()
}

/// In a plain file tree the control files keep a directory from being removed.
fn clear(group: &Group) {
    for entry in fs::read_dir(&group.directory).unwrap().flatten() {
        fs::remove_file(entry.path()).unwrap();
    }
}

#[test]
fn a_group_of_version_1_gets_nodes_processors_and_memory() {
    let (_tree, parent) = tree(Version::One);
    let (group, in_force) = Group::create(&parent, &BOTH, restriction()).unwrap();
    assert_eq!(in_force, vec![LimitInForce::CpuSetCgroup, LimitInForce::MemoryCgroup]);
    assert_eq!(content(&group, "cpuset.mems"), "0");
    assert_eq!(content(&group, "cpuset.cpus"), "2,3");
    assert_eq!(content(&group, "memory.limit_in_bytes"), "67108864");
    assert_eq!(content(&group, "memory.memsw.limit_in_bytes"), "67108864");
    fs::write(
        group.directory.join("memory.oom_control"),
        "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    )
    .unwrap();
    assert_eq!(group.oom_kills(), 2);
    clear(&group);
}

#[test]
fn a_group_of_version_2_asks_for_its_controllers_first() {
    let (_tree, parent) = tree(Version::Two);
    let (group, in_force) = Group::create(&parent, &BOTH, restriction()).unwrap();
    assert_eq!(in_force, vec![LimitInForce::CpuSetCgroup, LimitInForce::MemoryCgroup]);
    let passed = fs::read_to_string(parent.directory.join("cgroup.subtree_control")).unwrap();
    assert_eq!(passed, "+cpuset +memory");
    assert_eq!(content(&group, "cpuset.cpus"), "2,3");
    assert_eq!(content(&group, "memory.max"), "67108864");
    assert_eq!(content(&group, "memory.swap.max"), "0");
    fs::write(
        group.directory.join("memory.events"),
        "low 0\noom 4\noom_kill 1\noom_group_kill 1\n",
    )
    .unwrap();
    assert_eq!(group.oom_kills(), 1);
    clear(&group);
}

#[test]
fn one_limit_that_works_is_better_than_none() {
    let (_tree, parent) = tree(Version::One);
    // Without memory nodes to inherit there is no CPU set.
    fs::remove_file(parent.directory.join("cpuset.mems")).unwrap();
    let (group, in_force) = Group::create(&parent, &BOTH, restriction()).unwrap();
    assert_eq!(in_force, vec![LimitInForce::MemoryCgroup]);
    clear(&group);
    drop(group);
    assert!(Group::create(&parent, &[Controller::CpuSet], restriction()).is_err());
    let left: Vec<_> =
        fs::read_dir(&parent.directory).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, vec!["cgroup.subtree_control"], "a group that failed stays behind");
}

#[test]
fn groups_of_dead_agents_are_removed_and_those_of_the_living_stay() {
    let (_tree, parent) = tree(Version::One);
    let own = Owner::this();
    let dead = parent.directory.join(format!("assay-{}-{}-0", own.process, own.started + 1));
    let living = parent.directory.join(format!("assay-{}-77", own.text()));
    let foreign = parent.directory.join("assay-notes");
    for directory in [&dead, &living, &foreign] {
        fs::create_dir(directory).unwrap();
    }
    let hierarchies = Hierarchies { cpuset: None, memory: Some(parent) };
    assert_eq!(remove_leftovers(&hierarchies), 1);
    assert!(!dead.exists());
    assert!(living.exists() && foreign.exists());
}
