//! Requests become complete jobs, or say what is wrong with them.

use std::fs;

use assay_measure::search::Mode;

use super::*;

fn request(model: &Path) -> JobRequest {
    JobRequest {
        op_libraries: Vec::new(),
        model: Some(model.to_owned()),
        endpoint: None,
        inputs: vec!["float32[1,4]".parse().unwrap()],
        payload: None,
        content_type: None,
        instance_types: vec!["ml.c5.large".parse().unwrap()],
        sweep: vec!["workers=1,2".to_owned()],
        slos: Vec::new(),
        goal: None,
        quick: true,
        seed: 3,
        soak: None,
        load: None,
        region: "us-east-1".to_owned(),
        demand: None,
        headroom: 70,
        max_duration: Duration::from_secs(60),
        ready_timeout: None,
        prices: None,
        price_per_hour: None,
        name: None,
        emulate: true,
    }
}

fn model_in(dir: &Path) -> PathBuf {
    let path = dir.join("resnet18.pt");
    fs::write(&path, b"not really a model").unwrap();
    path
}

#[test]
fn a_request_becomes_a_whole_job() {
    let dir = tempfile::tempdir().unwrap();
    let prepared = request(&model_in(dir.path())).prepare(dir.path()).unwrap();
    assert_eq!(prepared.spec.mode, Mode::Quick);
    assert_eq!(prepared.spec.payload.content_type, "application/x-npy");
    assert_eq!(prepared.spec.payload.artifact, prepared.payload.reference());
    assert!(prepared.spec.name.as_str().starts_with("resnet18-"), "{}", prepared.spec.name);
    assert_eq!(prepared.spec.sweep.workers.len(), 2);
}

#[test]
fn a_job_as_text_asks_for_the_same_job_again() {
    let dir = tempfile::tempdir().unwrap();
    let asked = JobRequest {
        inputs: vec!["a=float32[1,4]".parse().unwrap(), "b=int64[2]".parse().unwrap()],
        instance_types: ["ml.c5.large", "own.a=2x1536MiB@0.125"]
            .map(|one| one.parse().unwrap())
            .into(),
        sweep: ["workers=1,2", "max-batch-delay-us=0,500", "dtype=bfloat16"]
            .map(str::to_owned)
            .into(),
        slos: ["p95<=50ms", "p99<=1s"].map(|slo| slo.parse().unwrap()).into(),
        goal: "cost=high,latency=low".parse().ok(),
        soak: Some(Duration::from_secs(90)),
        region: "eu-west-1".to_owned(),
        demand: "40000/min".parse().ok(),
        headroom: 60,
        ready_timeout: Some(Duration::from_secs(300)),
        price_per_hour: "0.25".parse().ok(),
        name: "again".parse().ok(),
        ..request(&model_in(dir.path()))
    };
    let spec = asked.prepare(dir.path()).unwrap().spec;
    let file = dir.path().join("job.toml");
    fs::write(&file, assay_planning::repeat::job_file(&spec).unwrap()).unwrap();
    let again = JobRequest { name: "again".parse().ok(), ..read_job_file(&file).unwrap() };
    assert_eq!(again.prepare(dir.path()).unwrap().spec, spec);
    let line = assay_planning::repeat::command_line(&spec).unwrap();
    for part in [
        "assay recommend",
        "resnet18.pt",
        "--input 'a=float32[1,4]'",
        "--slo 'p95<=50ms'",
        "--quick",
    ] {
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let model = model_in(dir.path());
    let error = |change: &dyn Fn(&mut JobRequest)| {
        let mut request = request(&model);
        change(&mut request);
        request.prepare(dir.path()).unwrap_err().to_string()
    };
    assert!(error(&|r| r.model = Some(dir.path().join("gone.pt"))).contains("cannot read"));
    assert!(error(&|r| r.model = None).contains("nothing to measure"));
    assert!(error(&|r| r.inputs.clear()).contains("nothing says what the model takes"));
    assert!(error(&|r| r.sweep = vec!["wrkers=2".to_owned()]).contains("wrkers"));
    assert!(error(&|r| r.load = Some("users:none".to_owned())).contains("users:none"));
    assert!(error(&|r| r.payload = Some(dir.path().join("gone.npy"))).contains("cannot read"));
    let gone = error(&|r| r.payload = Some(dir.path().join("gone")));
    assert!(gone.contains("No such file") && !gone.contains("Content-Type"), "{gone}");
    assert!(error(&|r| r.model = Some(dir.path().to_owned())).contains("is a directory"));
    assert!(error(&|r| r.prices = Some(dir.path().join("gone.csv"))).contains("price file"));
    fs::write(dir.path().join("blob"), b"x").unwrap();
    assert!(error(&|r| r.payload = Some(dir.path().join("blob"))).contains("--content-type"));
}

#[test]
fn a_job_may_be_on_a_model_on_an_endpoint_or_on_both() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("job.toml");
    fs::write(&path, "endpoint = \"prod\"\ninput = [\"float32[1,4]\"]\n").unwrap();
    let alone = read_job_file(&path).unwrap().prepare(dir.path()).unwrap();
    assert_eq!(alone.spec.subject, JobSubject::Endpoint { endpoint: "prod".parse().unwrap() });
    assert!(alone.model.is_none());
    assert!(alone.spec.name.as_str().starts_with("prod-"), "{}", alone.spec.name);
    let mut both = request(&model_in(dir.path()));
    both.endpoint = Some("prod".parse().unwrap());
    let both = both.prepare(dir.path()).unwrap();
    assert_eq!(both.spec.about(), "resnet18.pt and endpoint prod");
}

#[test]
fn a_directory_of_payloads_travels_as_one_archive() {
    let dir = tempfile::tempdir().unwrap();
    let payloads = dir.path().join("payloads");
    fs::create_dir(&payloads).unwrap();
    let mut request = request(&model_in(dir.path()));
    request.payload = Some(payloads.clone());
    let empty = request.clone().prepare(dir.path()).unwrap_err().to_string();
    assert!(empty.contains("holds no files"), "{empty}");
    fs::write(payloads.join("a.json"), b"[1]").unwrap();
    fs::write(payloads.join("b.json"), b"[2]").unwrap();
    let prepared = request.clone().prepare(dir.path()).unwrap();
    assert!(prepared.spec.payload.is_archive);
    assert_eq!(prepared.spec.payload.content_type, "application/json");
    assert!(prepared.passed_over.is_empty());
    fs::write(payloads.join("c.npy"), b"x").unwrap();
    let refused = request.prepare(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("--content-type") && refused.contains("c.npy"), "{refused}");
}

#[test]
fn hidden_files_beside_payloads_are_passed_over_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let payloads = dir.path().join("payloads");
    fs::create_dir(&payloads).unwrap();
    for name in ["a.json", ".DS_Store", "._a.json", "Thumbs.db"] {
        fs::write(payloads.join(name), b"[1]").unwrap();
    }
    let mut request = request(&model_in(dir.path()));
    request.payload = Some(payloads.clone());
    let prepared = request.clone().prepare(dir.path()).unwrap();
    assert_eq!(prepared.spec.payload.content_type, "application/json");
    assert_eq!(prepared.passed_over.to_string(), "passed over .DS_Store, ._a.json, Thumbs.db");
    let content = assay_server::archives::check_payload(&prepared.payload.path).unwrap();
    assert_eq!(content.bodies, 1);
    fs::remove_file(payloads.join("a.json")).unwrap();
    let nothing = request.prepare(dir.path()).unwrap_err().to_string();
    assert!(nothing.contains("holds no files (passed over .DS_Store"), "{nothing}");
}

#[test]
fn a_body_beyond_the_limit_is_refused_with_its_size_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(&model_in(dir.path()));
    request.payload = None;
    request.inputs = vec!["float32[512,3,224,224]".parse().unwrap()];
    let made_up = request.clone().prepare(dir.path()).unwrap_err().to_string();
    assert!(made_up.contains("308281472 bytes") && made_up.contains("256 MiB"), "{made_up}");
    let payloads = dir.path().join("payloads");
    fs::create_dir(&payloads).unwrap();
    let large = payloads.join("large.npy");
    fs::File::create(&large).unwrap().set_len((256 << 20) + 1).unwrap();
    for path in [large, payloads] {
        request.payload = Some(path);
        let refused = request.clone().prepare(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("large.npy") && refused.contains("268435457 bytes"), "{refused}");
    }
}

#[test]
fn a_trace_must_ascend() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace.txt");
    fs::write(&path, "# seconds\n0\n0.5\n0.5\n1.25\n").unwrap();
    let (recording, file) = read_trace(&path).unwrap();
    assert_eq!((recording.arrivals, recording.duration), (4, Duration::from_micros(1_250_001)));
    assert_eq!(recording.artifact, file.reference());
    for bad in ["", "1\n0.5\n", "x\n", "-1\n", "NaN\n"] {
        fs::write(&path, bad).unwrap();
        assert!(read_trace(&path).is_err(), "{bad:?} was accepted");
    }
}

#[test]
fn a_job_file_reads_like_the_flags_and_refuses_unknown_keys() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("job.toml");
    fs::write(
        &path,
        "model = \"resnet18.pt\"\ninput = [\"float32[1,4]\"]\nslo = [\"p95<=50ms\"]\nquick = true\n\
         instance-types = [\"ml.c5.large\"]\ndemand = \"40000/min\"\nmax-duration = \"10m\"\n\
         ready-timeout = \"5m\"\n",
    )
    .unwrap();
    let request = read_job_file(&path).unwrap();
    assert_eq!(request.model, Some(dir.path().join("resnet18.pt")));
    assert_eq!(request.max_duration, Duration::from_secs(600));
    assert_eq!(request.ready_timeout, Some(Duration::from_secs(300)));
    fs::write(&path, "model = \"x\"\nready-timeout = \"0s\"\n").unwrap();
    let error = read_job_file(&path).unwrap_err().to_string();
    assert!(error.contains("0s") && error.contains("no time"), "{error}");
    fs::write(&path, "model = \"x\"\nslos = []\n").unwrap();
    let error = read_job_file(&path).unwrap_err().to_string();
    assert!(error.contains("slos") && error.contains('^'), "{error}");
}

#[test]
fn a_job_file_takes_the_same_figures_as_the_flags_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("job.toml");
    let read = |line: &str| {
        fs::write(&path, format!("model = \"x\"\n{line}\n")).unwrap();
        read_job_file(&path).map_err(|failure| failure.to_string())
    };
    for (line, headroom) in [("", 70), ("headroom = 55", 55), ("headroom = \"55%\"", 55)] {
        assert_eq!(read(line).unwrap().headroom, headroom, "{line}");
    }
    for wrong in ["0", "250", "-1", "0.7", "\"0%\"", "nan"] {
        let error = read(&format!("headroom = {wrong}")).unwrap_err();
        assert!(error.contains("between 1% and 100%"), "{wrong}: {error}");
    }
    assert!(read("price-per-hour = 0.5").unwrap().price_per_hour.is_some());
    assert_eq!(
        read("price-per-hour = \"0.5\"").unwrap().price_per_hour,
        read("price-per-hour = 0.5").unwrap().price_per_hour
    );
    let trace = read("load = \"trace:calls.txt\"").unwrap().load.unwrap();
    assert_eq!(trace, format!("trace:{}", dir.path().join("calls.txt").display()));
    let nothing = read("demand = \"0/s\"").unwrap().prepare(dir.path()).unwrap_err();
    assert!(nothing.to_string().contains("demand"), "{nothing}");
}
