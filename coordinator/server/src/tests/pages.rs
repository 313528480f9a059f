//! The pages as browsers see them: over HTTP, with what guards them.

use std::fs;

use assay_proto::v1;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    http::{address_of, ask, get},
    support::{Coordinator, FakeAgent, held, job_spec, measured, within},
};
use crate::{
    server::{RunningServer, Server},
    settings::{Listen, ServerSettings},
};

#[tokio::test]
async fn a_jobs_pages_show_what_its_report_says() {
    let coordinator = Coordinator::start().await;
    let address = address_of(&coordinator);
    let empty = get(address, "/jobs").await;
    assert!(empty.body.contains("No agent is connected"), "{}", empty.body);
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    coordinator.create(job_spec("seen", &["ml.c5.large"])).await.unwrap();
    let trial = held(&agent.expect_start().await);
    agent.step(&trial, 0).await;
    let running = get(address, "/jobs/seen").await;
    assert!(running.body.contains("You can close this page; the job goes on."), "{}", running.body);
    assert!(running.body.contains("sse-connect=\"/jobs/seen/events?after="), "{}", running.body);
    agent.finish(&trial, measured()).await;
    coordinator.reaches("seen", v1::JobStatus::Completed).await;

    for (path, parts) in [
        ("/jobs", vec!["seen", "completed", "ml.c5.large"]),
        ("/jobs?q=see&status=completed", vec!["/jobs/seen"]),
        ("/jobs?q=other", vec!["No job fits this filter"]),
        (
            "/jobs/seen",
            vec!["Recommendation", "ml.c5.large", "<svg", "Cost per month against demand"],
        ),
        (
            "/jobs/seen?cost=lowest&latency=highest&throughput=lowest",
            vec!["Ranked by the goals", "Score"],
        ),
        (
            "/jobs/seen?demand=40000/min",
            vec!["Cheapest fleet for this demand", "40 000 per minute"],
        ),
        ("/jobs/seen/details", vec!["Event log", "started on a", "sha256:"]),
        ("/jobs/seen/trials/1", vec!["Steps", "staircase"]),
        ("/compare?a=seen&b=seen", vec!["unchanged", "throughput, per minute"]),
        ("/agents", vec!["idle", "vCPU"]),
        ("/prices?q=c5.large", vec!["ml.c5.large"]),
        ("/help", vec!["How candidates are ranked"]),
        ("/assets/htmx.min.js", vec!["htmx"]),
    ] {
        let answer = get(address, path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        for part in parts {
            assert!(answer.body.contains(part), "{path} lacks {part:?}:\n{}", answer.body);
        }
        assert!(!answer.body.contains("style=") || path.starts_with("/assets"), "{path}");
    }
    let root = get(address, "/").await;
    assert_eq!((root.status, root.header("location")), (303, Some("/jobs")));
    let part = get(address, "/jobs/seen/results?cost=high&latency=&throughput=low").await;
    assert!(!part.body.contains("<html"), "{}", part.body);
    assert_eq!(part.header("hx-replace-url"), Some("/jobs/seen?cost=high&throughput=low"));
}

#[tokio::test]
async fn what_is_not_there_or_not_understood_has_a_page_with_the_number_of_the_request() {
    let coordinator = Coordinator::start().await;
    let address = address_of(&coordinator);
    for (path, status) in [
        ("/jobs/nobody", 404),
        ("/jobs/nobody/details", 404),
        ("/jobs/nobody/trials/1", 404),
        ("/jobs/nobody/events", 404),
        ("/jobs/no%20name", 400),
        ("/jobs/nobody?cost=dear", 400),
        ("/jobs/nobody?demand=many", 400),
        ("/jobs/nobody?demand=1/s&headroom=0", 400),
        ("/jobs?status=odd", 400),
        ("/jobs?before=abc", 400),
        ("/jobs?q=a&q=b", 400),
        ("/jobs/%ff", 400),
        ("/jobs/nobody/events?after=x", 400),
        ("/compare?a=nobody&b=nobody", 404),
        ("/jobs/nobody/report.html", 404),
        ("/jobs/nobody/export/csv", 404),
        ("/jobs/nobody/export/pdf", 404),
        ("/jobs/nobody/export/csv?table=cells", 400),
        ("/models/nobody", 404),
        ("/models/nobody/1", 404),
        ("/models/-/nobody", 404),
        ("/agents/nobody", 404),
        ("/assets/none.js", 404),
        ("/nowhere", 404),
    ] {
        let answer = get(address, path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        let id = answer.header("x-request-id").unwrap();
        assert!(answer.body.contains(id), "{path}: {}", answer.body);
        assert!(answer.header("content-security-policy").is_some(), "{path}");
    }
}

#[tokio::test]
async fn a_page_that_another_name_leads_to_is_refused_and_says_how_to_make_it_known() {
    let scratch = tempfile::tempdir().unwrap();
    let listen = Listen::At("127.0.0.1:0".parse().unwrap());
    let public_urls = vec!["https://assay.example.org".parse().unwrap()];
    let settings = ServerSettings::new(listen, scratch.path().join("data"));
    let server = Server::start(ServerSettings { public_urls, ..settings }).await.unwrap();
    let as_host = async |host: &str| {
        ask(server.address(), "GET", "/jobs", &format!("host: {host}\r\n"), "").await
    };
    for own in ["localhost", "127.0.0.1:1", "assay.example.org"] {
        assert_eq!(as_host(own).await.status, 200, "{own}");
    }
    let refused = as_host("evil.example:80").await;
    assert_eq!(refused.status, 421);
    assert!(refused.body.contains("--public-url https://evil.example"), "{}", refused.body);
    assert!(!refused.body.contains("No agent is connected"));
    // Without tokens the other APIs would do as a hostile site's script says.
    for path in ["/", "/assay.v1.JobService/ListJobs", "/healthz"] {
        let foreign = ask(server.address(), "POST", path, "host: evil.example\r\n", "").await;
        assert_eq!(foreign.status, 421, "{path}");
    }
}

#[tokio::test]
async fn a_form_that_never_comes_does_not_keep_the_coordinator_from_ending() {
    let coordinator = Coordinator::start().await;
    let address = address_of(&coordinator);
    let mut slow = TcpStream::connect(address).await.unwrap();
    let head = "POST /login HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 9";
    let request = format!("{head}\r\nhost: {address}\r\nexpect: 100-continue\r\n\r\n");
    slow.write_all(request.as_bytes()).await.unwrap();
    // It is being read once more is asked for.
    let mut more = [0; 12];
    within("the wish for more", slow.read_exact(&mut more)).await.unwrap();
    assert_eq!(&more, b"HTTP/1.1 100");
    coordinator.shut_down(std::time::Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_form_of_another_site_or_session_stops_nothing() {
    let coordinator = Coordinator::start().await;
    let address = address_of(&coordinator);
    coordinator.create(job_spec("mine", &["ml.c5.large"])).await.unwrap();
    let page = get(address, "/jobs/mine").await;
    let (cookie, csrf) = (page.cookie(), page.csrf().to_owned());
    let stop = async |head: &str, body: &str| {
        ask(address, "POST", "/jobs/mine/stop", head, body).await.status
    };
    let own = format!("cookie: {cookie}\r\n");
    let form = format!("csrf={csrf}");
    assert_eq!(stop(&own, "").await, 403);
    assert_eq!(stop(&own, "csrf=0").await, 403);
    assert_eq!(stop("", &form).await, 403, "a token without its cookie");
    assert_eq!(stop(&format!("{own}sec-fetch-site: cross-site\r\n"), &form).await, 403);
    assert_eq!(coordinator.job("mine").await.status(), v1::JobStatus::Pending);
    assert_eq!(stop(&format!("{own}sec-fetch-site: same-origin\r\n"), &form).await, 303);
    coordinator.reaches("mine", v1::JobStatus::Stopped).await;
}

async fn with_tokens(directory: &std::path::Path) -> RunningServer {
    let token_file = directory.join("tokens");
    fs::write(&token_file, "alpha\n").unwrap();
    let listen = Listen::At("127.0.0.1:0".parse().unwrap());
    let settings = ServerSettings::new(listen, directory.join("data"));
    Server::start(ServerSettings { token_file: Some(token_file), ..settings }).await.unwrap()
}

#[tokio::test]
async fn where_tokens_are_wanted_pages_want_a_session() {
    let scratch = tempfile::tempdir().unwrap();
    let server = with_tokens(scratch.path()).await;
    let address = server.address();
    for path in ["/jobs", "/jobs/a", "/jobs/a/events", "/agents", "/prices", "/help", "/compare"] {
        let answer = get(address, path).await;
        assert_eq!(answer.status, 303, "{path}");
        assert!(answer.header("location").unwrap().starts_with("/login?next="), "{path}");
    }
    let part = ask(address, "GET", "/jobs/a/results", "hx-request: true\r\n", "").await;
    assert_eq!(part.status, 401);
    assert!(part.header("hx-redirect").unwrap().starts_with("/login"));
    assert_eq!(ask(address, "POST", "/jobs/a/stop", "", "csrf=").await.status, 303);

    let login = get(address, "/login?next=%2Fagents").await;
    assert!(!login.body.contains("Agents</a>"), "{}", login.body);
    let own = format!("cookie: {}\r\n", login.cookie());
    let sign_in = async |token: &str| {
        let form = format!("csrf={}&token={token}&next=%2Fagents", login.csrf());
        ask(address, "POST", "/login", &own, &form).await
    };
    let wrong = sign_in("beta").await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.body.contains("no access token"), "{}", wrong.body);
    let right = sign_in("alpha").await;
    assert_eq!((right.status, right.header("location")), (303, Some("/agents")));
    assert_ne!(right.cookie(), login.cookie(), "the secret from before signing in stays nobody's");
    let own = format!("cookie: {}\r\n", right.cookie());
    let agents = ask(address, "GET", "/agents", &own, "").await;
    assert_eq!(agents.status, 200);
    assert!(agents.body.contains("Sign out"), "{}", agents.body);
    // A session is for pages: the gRPC API wants the token itself.
    let form = format!("csrf={}", agents.csrf());
    assert_eq!(ask(address, "POST", "/logout", &own, &form).await.status, 303);
    assert_eq!(ask(address, "GET", "/agents", &own, "").await.status, 303);
}

#[tokio::test]
async fn events_tell_a_page_of_each_change_and_of_the_end() {
    let coordinator = Coordinator::start().await;
    let address = address_of(&coordinator);
    let mut agent = FakeAgent::attach(&coordinator, "a").await;
    coordinator.create(job_spec("live", &["ml.c5.large"])).await.unwrap();
    let trial = held(&agent.expect_start().await);
    let whole = tokio::spawn(async move { get(address, "/jobs/live/events?after=1").await });
    agent.step(&trial, 0).await;
    agent.finish(&trial, measured()).await;
    let answer = whole.await.unwrap();
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let ids: Vec<&str> = answer.body.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids.first(), Some(&"2"), "{}", answer.body);
    assert_eq!(ids.len(), coordinator.record("live").await.len() - 1);
    assert!(answer.body.contains("event: end"), "{}", answer.body);
}

#[tokio::test]
async fn a_page_that_is_followed_does_not_keep_the_coordinator_from_ending() {
    let coordinator = Coordinator::start().await;
    let address = address_of(&coordinator);
    coordinator.create(job_spec("long", &["ml.c5.large"])).await.unwrap();
    let mut open = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /jobs/long/events HTTP/1.1\r\nhost: {address}\r\n\r\n");
    open.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 15];
    within("the head of the answer", open.read_exact(&mut head)).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    coordinator.shut_down(std::time::Duration::from_secs(5)).await;
    within("the end of the stream", open.read_to_end(&mut Vec::new())).await.unwrap();
}
