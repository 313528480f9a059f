//! Requests that nobody would write, and stories that somebody might, told with slips.
//!
//! A seed decides on a round: a coordinator of its own, and some hundred requests. One round belongs to every
//! test run; `cargo xtask fuzz api` goes on with the next seeds for as long as it is told. What is answered
//! with a 5xx, in the wrong shape, or not at all is left as a file, and its round comes again with its seed.

mod dice;
mod headers;
mod hostile;
mod stories;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use assay_sagemaker::{operation::Operation, schema::Schema, validation::violations};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::{
    dice::Dice,
    headers::{Headers, spoilt},
    stories::{LISTS, Step, World},
    writer::{ARN, GROUP, Writer},
};
use super::{Answer, exchange, signed, written};
use crate::{server::RunningServer, tests::aws_jobs::Bench};

const CASES: u64 = 400;
const WORDS_KEPT: usize = 300;
const PAGES: usize = 12;
const ASKS: [&str; 6] =
    ["GET /", "PUT /", "OPTIONS /", "POST /a/../b", "POST /?Action=ListModels", "POST //"];

struct Round {
    seed: u64,
    dice: Dice,
    bench: Bench,
    /// A coordinator that wants signatures.
    guarded: RunningServer,
    _guarded_dir: TempDir,
    /// Words of answers, to be asked about.
    seen: Vec<String>,
    world: World,
    sent: usize,
    answered: BTreeMap<&'static str, usize>,
    codes: BTreeSet<String>,
}

impl Round {
    async fn begin(seed: u64) -> Self {
        let bench = Bench::start().await;
        let job = bench.measure("demo").await;
        let scaling = json!({
            "InferenceRecommendationsJobName": "demo",
            "RecommendationId": job["InferenceRecommendations"][0]["RecommendationId"],
            "TargetCpuUtilizationPerCore": 40,
        });
        let container = json!({"Image": "i", "ModelDataUrl": bench.file("model.pt")});
        let world = World {
            payload_url: bench.file("payload.tar.gz"),
            model: json!({"ModelName": "m", "PrimaryContainer": container}),
            scaling,
        };
        let guarded_dir = tempfile::tempdir().unwrap();
        let guarded = signed::start(guarded_dir.path()).await;
        Self {
            seed,
            dice: Dice(seed),
            bench,
            guarded,
            _guarded_dir: guarded_dir,
            seen: Vec::new(),
            world,
            sent: 0,
            answered: BTreeMap::new(),
            codes: BTreeSet::new(),
        }
    }

    async fn run(&mut self) {
        for case in 0..CASES {
            match self.dice.below(20) {
                0 | 1 => self.tell_a_story(case).await,
                2 => self.turn_pages().await,
                3..=6 => self.spoil_headers().await,
                7..=11 => self.send_something_hostile().await,
                _ => self.send_something_drawn().await,
            }
            if case == CASES / 2 {
                self.bench.coordinator.restart().await;
            }
        }
    }

    /// What is there is answered for, step by step; in some stories every step is said wrongly before.
    async fn tell_a_story(&mut self, case: u64) {
        let slips = self.dice.percent(50);
        let steps = stories::draw(&format!("story-{case}"), &self.world, &mut self.dice);
        // It may have been deleted, or made anew from something else.
        let model = self.world.model.to_string();
        self.ask(Operation::DeleteModel, b"{\"ModelName\": \"m\"}").await;
        self.ask(Operation::CreateModel, model.as_bytes()).await;
        for step in steps {
            if !slips {
                self.succeeds(&step).await;
                continue;
            }
            let (operation, document) = step;
            let body = hostile::body(&document, &mut self.dice);
            self.ask(operation, &body).await;
            self.ask(operation, document.to_string().as_bytes()).await;
        }
    }

    async fn succeeds(&mut self, (operation, document): &Step) -> Answer {
        let answer = self.ask(*operation, document.to_string().as_bytes()).await;
        assert_eq!(answer.status, 200, "seed {}: {operation} {document}\n{answer:?}", self.seed);
        answer
    }

    /// Follows a list to its end, and tries its tokens where they do not belong.
    async fn turn_pages(&mut self) {
        let (operation, entries) = self.dice.of(&LISTS);
        let mut request = json!({"MaxResults": 1 + self.dice.below(3)});
        if operation == Operation::ListInferenceRecommendationsJobSteps {
            request["JobName"] = json!("demo");
        }
        let mut seen = BTreeSet::new();
        for _ in 0..PAGES {
            let page = self.succeeds(&(operation, request.clone())).await.json();
            for entry in page[entries].as_array().unwrap() {
                let entry = entry.to_string();
                let once = operation == Operation::ListModelMetadata || seen.insert(entry.clone());
                assert!(once, "seed {}: {operation} tells {entry} twice", self.seed);
            }
            let Some(token) = page["NextToken"].as_str().map(str::to_owned) else { return };
            let forged = self.forged(&token);
            let mut elsewhere = request.clone();
            elsewhere["NextToken"] = json!(forged);
            self.ask(operation, elsewhere.to_string().as_bytes()).await;
            let (other, _) = self.dice.of(&LISTS);
            self.ask(other, elsewhere.to_string().as_bytes()).await;
            request["NextToken"] = json!(token);
        }
    }

    /// A token with another position inside, or one that is none.
    fn forged(&mut self, token: &str) -> String {
        let decoded = BASE64_URL_SAFE_NO_PAD.decode(token).unwrap_or_default();
        let Ok(mut inside) = serde_json::from_slice::<Value>(&decoded) else {
            return format!("{token}x");
        };
        if self.dice.percent(20) {
            return token[..self.dice.below(token.len())].to_owned();
        }
        let odd = [json!(i64::MIN), json!(-1), json!(""), json!("\u{0}'"), json!(null), json!([])];
        *hostile::somewhere(&mut inside["p"], &mut self.dice) = self.dice.of(&odd);
        BASE64_URL_SAFE_NO_PAD.encode(inside.to_string())
    }

    async fn spoil_headers(&mut self) {
        if self.dice.percent(50) {
            let url = self.guarded.url();
            let right = signed::signed(&url, signed::SECRET, SystemTime::now());
            let right = right.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let headers = spoilt(right, &mut self.dice);
            self.exchange(&url, "POST /", &headers, signed::BODY.as_bytes()).await;
            return;
        }
        let url = self.bench.coordinator.url.clone();
        let operation = self.dice.of(Operation::ALL);
        let headers = spoilt(usual_headers(operation), &mut self.dice);
        let asks = if self.dice.percent(20) { self.dice.of(&ASKS) } else { "POST /" };
        self.exchange(&url, asks, &headers, b"{}").await;
    }

    async fn send_something_hostile(&mut self) {
        let operation = self.dice.of(Operation::ALL);
        let document = self.drawn(operation, 0);
        let body = hostile::body(&document, &mut self.dice);
        self.ask(operation, &body).await;
    }

    async fn send_something_drawn(&mut self) {
        let operation = self.dice.of(Operation::ALL);
        let wildness = self.dice.of(&[0, 0, 2, 20]);
        let document = self.drawn(operation, wildness);
        self.ask(operation, document.to_string().as_bytes()).await;
    }

    fn drawn(&mut self, operation: Operation, wildness: usize) -> Value {
        let schema = Schema::get();
        let mut writer = Writer { schema, dice: &mut self.dice, seen: &self.seen, wildness };
        writer.value(schema.request(operation))
    }

    /// Any answer of the API to a request of the usual form: it has the operation's shape, or it is a refusal.
    async fn ask(&mut self, operation: Operation, body: &[u8]) -> Answer {
        let url = self.bench.coordinator.url.clone();
        let headers = usual_headers(operation);
        let answer = self.exchange(&url, "POST /", &headers, body).await;
        if answer.status != 200 {
            self.codes.insert(answer.refusal().0);
            return answer;
        }
        *self.answered.entry(operation.name()).or_default() += 1;
        match Schema::get().response(operation) {
            Some(shape) => {
                let document = answer.json();
                match violations(Schema::get(), shape, &document) {
                    Ok(wrong) if wrong.count == 0 => {}
                    Ok(wrong) => self.fail(&format!("{operation}: {wrong}"), body, &answer),
                    Err(wrong) => self.fail(&format!("{operation}: {wrong:?}"), body, &answer),
                }
                self.remember(&document);
            }
            None => assert_eq!(answer.body, "", "seed {}: {operation}", self.seed),
        }
        answer
    }

    async fn exchange(&mut self, url: &str, asks: &str, headers: &Headers, body: &[u8]) -> Answer {
        self.sent += 1;
        let told: Vec<_> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let request = written(url, asks, &told, body);
        match exchange(url, &request).await {
            Some(answer) if answer.status < 500 => answer,
            other => self.fail("not answered, or with a 5xx", &request, &other),
        }
    }

    /// Leaves the request as a file, and ends the test.
    fn fail(&self, what: &str, request: &[u8], answer: &dyn std::fmt::Debug) -> ! {
        let folder = env::var_os("ASSAY_FUZZ_FAILURES").map_or_else(env::temp_dir, PathBuf::from);
        let path = folder.join(format!("api-seed-{}-request-{}", self.seed, self.sent));
        fs::write(&path, request).unwrap();
        panic!(
            "{what}\nthe request is in {}, its seed is {}\n{answer:?}",
            path.display(),
            self.seed
        )
    }

    fn remember(&mut self, answer: &Value) {
        match answer {
            Value::Object(members) => members.values().for_each(|inner| self.remember(inner)),
            Value::Array(items) => items.iter().for_each(|inner| self.remember(inner)),
            Value::String(word) if self.seen.len() < WORDS_KEPT => self.seen.push(word.clone()),
            Value::String(word) => {
                let place = self.dice.below(WORDS_KEPT);
                self.seen[place].clone_from(word);
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

fn usual_headers(operation: Operation) -> Headers {
    vec![
        ("content-type".to_owned(), "application/x-amz-json-1.1".to_owned()),
        ("x-amz-target".to_owned(), operation.target()),
    ]
}

fn number_from(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Panics of tasks that nobody waits for are seen by this alone.
fn count_panics() -> Arc<AtomicUsize> {
    let panics = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&panics);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        counted.fetch_add(1, Ordering::SeqCst);
        usual(panic);
    }));
    panics
}

#[tokio::test]
async fn whatever_is_asked_the_answer_has_its_shape_or_the_refusal_is_a_4xx() {
    let first = number_from("ASSAY_FUZZ_SEED").unwrap_or(1);
    let goes_on_for = number_from("ASSAY_FUZZ_SECONDS").map(Duration::from_secs);
    let panics = goes_on_for.map(|_| count_panics());
    let started = Instant::now();
    let (mut sent, mut answered, mut codes) = (0, BTreeMap::new(), BTreeSet::new());
    for seed in first.. {
        let mut round = Round::begin(seed).await;
        round.run().await;
        sent += round.sent;
        for (operation, count) in round.answered {
            *answered.entry(operation).or_insert(0) += count;
        }
        codes.extend(round.codes);
        // Everything is reached in every round, or the others show little.
        let missing = Operation::ALL.iter().find(|one| !answered.contains_key(one.name()));
        assert_eq!(missing, None, "seed {seed}: {answered:?} {codes:?}");
        if goes_on_for.is_none_or(|time| started.elapsed() >= time) {
            println!("seeds {first} to {seed}: {sent} requests\n{answered:#?}\n{codes:#?}");
            break;
        }
    }
    assert!(codes.len() >= 4, "{codes:?}");
    assert_eq!(panics.map_or(0, |panics| panics.load(Ordering::SeqCst)), 0, "panics, see above");
}
