//! What a hostile host can do: native code that tries everything, under each of the means that keep it in.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    num::NonZeroU32,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use assay_agent::{
    confinement::means::Means,
    hardware::facts::Machine,
    model_host::{ModelHost, Serving, Surroundings},
    sandbox::{Allotment, Sandbox, mounts::Hierarchies},
};
use assay_measure::{configuration::Configuration, hardware::LimitInForce};

use crate::support::{PATIENCE, Place, example, fake_host, until_gone};

/// Names a folder of programs, for a test that runs itself as another user.
const PROGRAMS: &str = "ASSAY_TEST_PROGRAMS";
const ORDINARY_USER: u32 = 54_321;

/// Files of the agent's, and a model that tells the attacker where they are.
struct Scene {
    folder: tempfile::TempDir,
    model: PathBuf,
    listener: TcpListener,
}

impl Scene {
    /// With a model that is told more; `mode` is that of the folder in which it lies.
    fn new(mode: u32, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        let token = folder.path().join("token");
        fs::write(&token, "secret").unwrap();
        let outside = folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("other-model.pt"), "x").unwrap();
        // As little as a careful agent would grant, and as much as a careless one does.
        for path in [&token, &outside] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let model = folder.path().join("model.pt");
        let told = format!(
            "secret /etc/passwd\nsecret {}\nsecret {}\noutside {}\noutside /tmp\nport {}\n{more}\n",
            token.display(),
            outside.join("other-model.pt").display(),
            outside.display(),
            listener.local_addr().unwrap().port(),
        );
        fs::write(&model, told).unwrap();
        Self { folder, model, listener }
    }

    fn start(&self, means: Means) -> ModelHost {
        let machine = Machine::here();
        let allotment = Allotment::of(&machine, None).unwrap();
        let sandbox = Sandbox::set_up(&allotment, &Hierarchies::default());
        let configuration = Configuration::cpu(NonZeroU32::MIN, NonZeroU32::MIN);
        let serving = Serving { model: &self.model, configuration: &configuration, inputs: &[] };
        let program = attacker();
        let around =
            Surroundings { program: &program, sandbox: &sandbox, means, operator_libraries: &[] };
        ModelHost::start(&around, &serving).unwrap()
    }

    /// What the attacker said of its attempts, and what held.
    async fn attack(&self, means: Means) -> (String, Vec<LimitInForce>) {
        let mut host = self.start(means);
        let in_force = host.in_force().to_vec();
        // One that the attacker may accept, and turn against others.
        let call = TcpStream::connect(host.address().unwrap()).unwrap();
        host.exited().await;
        drop(call);
        host.finish_reading().await;
        (host.last_words(), in_force)
    }
}

fn attacker() -> PathBuf {
    env::var_os(PROGRAMS).map_or_else(|| example("attacker"), |at| Path::new(&at).join("attacker"))
}

/// Nothing worked but what may; `allowed` are exceptions where a protection is missing.
fn nothing_worked(said: &str, allowed: &[&str]) {
    let done: Vec<&str> = said
        .lines()
        .filter(|line| line.ends_with(": DONE") && !allowed.iter().any(|word| line.contains(word)))
        .collect();
    assert!(done.is_empty(), "{done:?}\n{said}");
    assert!(said.contains("the model can be read: true"), "{said}");
    assert!(said.contains("its own folder can be written: Ok"), "{said}");
    assert!(said.contains("the agent called: true"), "{said}");
    assert!(said.contains("a runtime can wake itself up: true"), "{said}");
    let tried = said.lines().filter(|line| line.ends_with(": refused")).count();
    assert!(tried > 20, "only {tried} attempts: {said}");
}

fn has_only_its_own(said: &str) {
    let names = said.lines().find_map(|line| line.strip_prefix("environment: ")).unwrap();
    let known = ["ASSAY_LOG", "HOME", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "TMPDIR"];
    let passed_on = ["LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "TZ"];
    for name in names.split(' ') {
        assert!(
            known.contains(&name) || passed_on.contains(&name),
            "{name} is the agent's: {said}"
        );
    }
    // Three streams, the socket, the status, and the folder that is being listed.
    let open: usize =
        said.lines().find_map(|line| line.strip_prefix("descriptors: ")).unwrap().parse().unwrap();
    assert!(open <= 6, "{said}");
    assert!(said.contains("CapEff: 0000000000000000") && said.contains("NoNewPrivs: 1"), "{said}");
}

#[tokio::test]
async fn native_code_in_a_host_gets_at_nothing_but_its_own() {
    let means = Means::of_this_process();
    let ordinary = !rustix::process::geteuid().is_root();
    let scene = Scene::new(0o700, "");
    let (said, in_force) = scene.attack(means).await;
    nothing_worked(&said, &[]);
    has_only_its_own(&said);
    assert!(in_force.contains(&LimitInForce::NoPrivileges), "{in_force:?}");
    if means.keep_files() {
        let files = [LimitInForce::Landlock, LimitInForce::MountNamespace];
        assert!(files.iter().any(|limit| in_force.contains(limit)), "{in_force:?}");
    }
    // Below a folder that others may enter, so that a user of its own gets there without a namespace.
    let open = Scene::new(0o755, "");
    let (said, in_force) = open.attack(Means { namespace: None, ..means }).await;
    nothing_worked(&said, &[]);
    assert!(!in_force.contains(&LimitInForce::MountNamespace));
    // A user of its own cannot signal the agent, and a view of the processes can be mounted that hides others;
    // without these, only Landlock keeps a host from that.
    let (said, _) = scene.attack(Means { landlock: false, ..means }).await;
    let allowed: &[&str] =
        if ordinary { &["signal the agent", "see other processes"] } else { &[] };
    nothing_worked(&said, allowed);
    let (said, in_force) = scene.attack(Means { user: None, ..means }).await;
    nothing_worked(&said, &[]);
    assert!(!in_force.contains(&LimitInForce::OwnUser));
    drop((scene.listener, open.listener));
}

/// Where no namespace can be made, and the model lies where another user cannot go.
#[tokio::test]
async fn a_host_whose_user_cannot_reach_the_model_runs_as_the_agents_and_says_so() {
    let means = Means::of_this_process();
    let scene = Scene::new(0o700, "");
    let (said, in_force) = scene.attack(Means { namespace: None, ..means }).await;
    assert!(!in_force.contains(&LimitInForce::OwnUser), "{in_force:?}");
    nothing_worked(&said, &[]);
}

#[tokio::test]
async fn an_ordinary_user_keeps_hosts_in_as_well() {
    if !rustix::process::geteuid().is_root() {
        // Then the tests above have shown it.
        return;
    }
    let programs = tempfile::tempdir().unwrap();
    fs::set_permissions(programs.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let own = programs.path().join("tests");
    fs::copy(env::current_exe().unwrap(), &own).unwrap();
    fs::copy(attacker(), programs.path().join("attacker")).unwrap();
    let mut command = Command::new(&own);
    command
        .args(["--exact", "confinement::native_code_in_a_host_gets_at_nothing_but_its_own"])
        .arg("--nocapture")
        .env(PROGRAMS, programs.path())
        .current_dir("/")
        .uid(ORDINARY_USER)
        .gid(ORDINARY_USER);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Without a filter of system calls a host can start processes: those go with its trial, too.
#[tokio::test]
async fn nothing_outlives_a_host_whatever_it_started() {
    let means = Means::of_this_process();
    for means in [means, Means { filter: false, ..means }] {
        let scene = Scene::new(0o755, "linger");
        let mut host = scene.start(means);
        let _call = TcpStream::connect(host.address().unwrap()).unwrap();
        let process = rustix::process::Pid::from_raw(i32::try_from(host.process_id()).unwrap());
        while !host.last_words().contains("descriptors:") {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        host.kill().await;
        until_gone(process.unwrap()).await;
        let program = attacker();
        let left = || {
            let all = fs::read_dir("/proc").unwrap().flatten();
            all.filter(|entry| {
                fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == program)
            })
            .filter(|entry| {
                let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(&*scene.model.to_string_lossy())
            })
            .count()
        };
        assert_eq!(left(), 0, "a process outlives its host");
        drop(host);
        assert!(scene.folder.path().exists());
    }
}

fn limits(means: Means) -> String {
    let words: Vec<&str> = means.protections().into_iter().map(LimitInForce::word).collect();
    format!("limits {}", words.join(", "))
}

/// What benchmarks compare: the same host with and without protections, in no trial.
#[tokio::test]
async fn a_host_without_a_trial_is_kept_in_as_in_one_and_ends_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.pt");
    fs::write(&model, Place::model(&[("host", "serve")])).unwrap();
    for (flags, means) in
        [(&[][..], Means::of_this_process()), (&["--unconfined"], Means::default())]
    {
        let mut command = Command::new(example("confined_host"));
        command.arg(&model).args(["--input", "float32[1,3]", "--host-binary"]).arg(fake_host());
        command.args(flags).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = command.spawn().unwrap();
        let said = BufReader::new(running.stdout.take().unwrap()).lines();
        let said: Vec<String> = said.take(3).map_while(Result::ok).collect();
        // Without a namespace the programs may lie where no other user gets.
        assert!([means, Means { user: None, ..means }].map(limits).contains(&said[0]), "{said:?}");
        assert!(said[1].strip_prefix("ready_us ").unwrap().parse::<u64>().unwrap() > 0);
        let address = said[2].strip_prefix("listening http://").unwrap();
        assert!(TcpStream::connect(address).is_ok());
        drop(running.stdin.take());
        let status = tokio::task::spawn_blocking(move || running.wait().unwrap());
        let status = tokio::time::timeout(PATIENCE, status).await.expect("it does not end");
        assert!(status.unwrap().success());
        assert!(TcpStream::connect(address).is_err(), "its host still listens");
    }
}
