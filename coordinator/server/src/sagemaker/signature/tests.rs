use http::{HeaderValue, Request};

use super::*;

const ID: &str = "AKIAEXAMPLE000000001";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const BODY: &[u8] = br#"{"NameContains": "resnet", "MaxResults": 5}"#;

/// What boto3 1.44.5 sent, with the credentials above, for `list_models(NameContains="resnet", MaxResults=5)`.
const OF_BOTO3: [(&str, &str); 9] = [
    ("host", "127.0.0.1:7440"),
    ("x-amz-target", "SageMaker.ListModels"),
    ("content-type", "application/x-amz-json-1.1"),
    ("user-agent", "Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux#6.18.44 lang/python#3.11.7"),
    ("x-amz-date", "20261122T213510Z"),
    (
        "authorization",
        "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE000000001/20261122/us-east-1/sagemaker/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date;x-amz-target, \
         Signature=8dd1e6492dd7f778cae90ac068a2da0099e36cddcbe15849442d75136fe0dba7",
    ),
    ("amz-sdk-invocation-id", "199098ba-4e91-4848-9a64-2021e46d751f"),
    ("amz-sdk-request", "attempt=1; max=3"),
    ("content-length", "43"),
];

fn gate() -> Gate {
    let file = format!("[ci]\naccess_key_id = \"{ID}\"\nsecret_access_key = \"{SECRET}\"\n");
    Gate::Signed { keys: Keys::parse(&file).unwrap(), region: "us-east-1".to_owned() }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn of_boto3() -> Parts {
    let mut request = Request::post("/");
    for (name, value) in OF_BOTO3 {
        request = request.header(name, value);
    }
    request.body(()).unwrap().into_parts().0
}

fn checked(parts: &Parts, body: &[u8], now: &str) -> Result<(), ApiError> {
    let gate = gate();
    gate.claim(parts, at(now))?.verify(parts, body)
}

fn set(parts: &mut Parts, name: &'static str, value: &str) {
    parts.headers.insert(name, HeaderValue::from_str(value).unwrap());
}

fn replace(parts: &mut Parts, from: &str, to: &str) {
    let old = parts.headers["authorization"].to_str().unwrap().replace(from, to);
    set(parts, "authorization", &old);
}

#[test]
fn what_boto3_signs_is_accepted_for_five_minutes_around_its_date() {
    for now in ["2026-11-22T21:30:10Z", "2026-11-22T21:35:10Z", "2026-11-22T21:40:10Z"] {
        checked(&of_boto3(), BODY, now).unwrap();
    }
    let late = checked(&of_boto3(), BODY, "2026-11-22T21:40:11Z").unwrap_err();
    assert_eq!(late.code, ErrorCode::InvalidSignatureException);
    assert_eq!(
        late.message,
        "Signature expired: 20261122T213510Z is now earlier than 20261122T213511Z \
         (20261122T214011Z - 5 min.)"
    );
    let early = checked(&of_boto3(), BODY, "2026-11-22T21:30:09Z").unwrap_err();
    assert!(early.message.starts_with("Signature not yet current: 20261122T213510Z"), "{early}");
}

#[test]
fn a_request_for_the_logs_is_signed_for_the_logs() {
    let mut parts = of_boto3();
    set(&mut parts, "x-amz-target", "Logs_20140328.GetLogEvents");
    replace(&mut parts, "/sagemaker/", "/logs/");
    replace(
        &mut parts,
        "8dd1e6492dd7f778cae90ac068a2da0099e36cddcbe15849442d75136fe0dba7",
        "777fd3933a355b26f7cadc471c6fc2d515814a2a410fc0bcd555580bf5fba92e",
    );
    let body = br#"{"logGroupName": "/aws/sagemaker/InferenceRecommendationsJobs", "logStreamName": "demo/execution"}"#;
    checked(&parts, body, "2026-11-22T21:35:10Z").unwrap();
}

#[test]
fn a_header_that_is_not_signed_counts_for_nothing() {
    let mut parts = of_boto3();
    set(&mut parts, "user-agent", "curl");
    set(&mut parts, "amz-sdk-request", "attempt=2; max=3");
    checked(&parts, BODY, "2026-11-22T21:35:10Z").unwrap();
}

#[test]
fn whatever_is_changed_on_the_way_is_noticed() {
    let wrong = |change: fn(&mut Parts), body: &[u8]| {
        let mut parts = of_boto3();
        change(&mut parts);
        checked(&parts, body, "2026-11-22T21:35:10Z").unwrap_err()
    };
    let does_not_match = "The request signature we calculated does not match";
    for (what, refused) in [
        ("body", wrong(|_| {}, br#"{"NameContains": "resnet", "MaxResults": 9}"#)),
        ("no body", wrong(|_| {}, b"")),
        ("target", wrong(|parts| set(parts, "x-amz-target", "SageMaker.DeleteModel"), BODY)),
        ("host", wrong(|parts| set(parts, "host", "elsewhere:7440"), BODY)),
        ("type", wrong(|parts| set(parts, "content-type", "application/json"), BODY)),
        ("date", wrong(|parts| set(parts, "x-amz-date", "20261122T213511Z"), BODY)),
        ("method", wrong(|parts| parts.method = http::Method::PUT, BODY)),
        ("query", wrong(|parts| parts.uri = "/?a=b".parse().unwrap(), BODY)),
        ("signature", wrong(|parts| replace(parts, "Signature=8d", "Signature=8e"), BODY)),
        ("no signature", wrong(|parts| replace(parts, "Signature=8", "Signature="), BODY)),
        ("headers", wrong(|parts| replace(parts, "content-type;", ""), BODY)),
        ("more headers", wrong(|parts| replace(parts, ";host", ";host;user-agent"), BODY)),
        ("twice", wrong(|parts| replace(parts, ";host", ";host;host"), BODY)),
    ] {
        assert_eq!(refused.code, ErrorCode::InvalidSignatureException, "{what}");
        assert!(refused.message.starts_with(does_not_match), "{what}: {refused}");
    }
}

#[test]
fn another_secret_is_noticed() {
    let file = format!("[ci]\naccess_key_id = \"{ID}\"\nsecret_access_key = \"{SECRET}x\"\n");
    let keys = Keys::parse(&file).unwrap();
    let gate = Gate::Signed { keys, region: "us-east-1".to_owned() };
    let parts = of_boto3();
    let claim = gate.claim(&parts, at("2026-11-22T21:35:10Z")).unwrap();
    assert_eq!(claim.verify(&parts, BODY).unwrap_err().code, ErrorCode::InvalidSignatureException);
}

#[test]
fn what_is_missing_or_means_another_is_told_with_the_code_of_aws() {
    use ErrorCode::{
        IncompleteSignatureException as Incomplete, InvalidSignatureException as Invalid,
        MissingAuthenticationTokenException as Missing,
        UnrecognizedClientException as Unrecognized,
    };
    type Change = fn(&mut Parts);
    let table: &[(Change, ErrorCode, &str)] = &[
        (|parts| drop(parts.headers.remove("authorization")), Missing, "Missing Authentication"),
        (|parts| set(parts, "authorization", "Bearer alpha"), Incomplete, "'Bearer'"),
        (|parts| set(parts, "authorization", ""), Incomplete, "Unsupported AWS 'algorithm'"),
        (
            |parts| set(parts, "authorization", "AWS4-HMAC-SHA256 Credential=a"),
            Incomplete,
            "requires 'Signature' parameter. Authorization header requires 'SignedHeaders'",
        ),
        (|parts| replace(parts, "Credential=", "Kredential="), Incomplete, "requires 'Credential'"),
        (|parts| with_signature(parts, ""), Incomplete, "requires 'Signature'"),
        (
            |parts| replace(parts, "aws4_request", "aws4_request, Signature=1"),
            Incomplete,
            "more than once",
        ),
        (
            |parts| again(parts, "authorization"),
            Incomplete,
            "'authorization' stands more than once",
        ),
        (|parts| again(parts, "x-amz-date"), Incomplete, "'x-amz-date' stands more than once"),
        (|parts| again(parts, "x-amz-target"), Incomplete, "'x-amz-target' stands more than once"),
        (|parts| replace(parts, "/us-east-1/", "/"), Incomplete, "exactly 5 slash-delimited"),
        (|parts| drop(parts.headers.remove("x-amz-date")), Incomplete, "'X-Amz-Date' header"),
        (|parts| set(parts, "x-amz-date", "2026-11-22"), Incomplete, "Got '2026-11-22'"),
        (|parts| set(parts, "x-amz-date", "20261122T993510Z"), Incomplete, "ISO-8601"),
        (|parts| replace(parts, ID, "AKIAEXAMPLE000000002"), Unrecognized, "is invalid"),
        (|parts| set(parts, "x-amz-security-token", "abc"), Unrecognized, "is invalid"),
        (|parts| replace(parts, "/20261122/", "/20261121/"), Invalid, "'20261121' != '20261122'"),
        (|parts| replace(parts, "/us-east-1/", "/eu-west-1/"), Invalid, "not 'eu-west-1'"),
        (|parts| replace(parts, "/sagemaker/", "/s3/"), Invalid, "correct service: 'sagemaker'"),
        (|parts| replace(parts, "/aws4_request", "/aws3_request"), Invalid, "valid terminator"),
        (|parts| replace(parts, ";x-amz-target", ""), Invalid, "'x-amz-target' must be"),
        (|parts| replace(parts, ";host", ""), Invalid, "'host' must be a 'SignedHeader'"),
        (|parts| replace(parts, ";x-amz-date", ""), Invalid, "'x-amz-date' must be"),
    ];
    for (change, code, message) in table {
        let mut parts = of_boto3();
        change(&mut parts);
        let refused = checked(&parts, BODY, "2026-11-22T21:35:10Z").unwrap_err();
        assert_eq!(refused.code, *code, "{refused}");
        assert!(refused.message.contains(message), "{refused}");
    }
}

fn again(parts: &mut Parts, name: &'static str) {
    let same = parts.headers[name].clone();
    parts.headers.append(name, same);
}

fn with_signature(parts: &mut Parts, signature: &str) {
    let old = parts.headers["authorization"].to_str().unwrap();
    let kept = old.split_once("Signature=").unwrap().0;
    let new = format!("{kept}Signature={signature}");
    set(parts, "authorization", &new);
}

fn bytes(parts: &mut Parts, name: &'static str, value: &[u8]) {
    parts.headers.insert(name, HeaderValue::from_bytes(value).unwrap());
}

#[test]
fn only_64_lower_case_digits_are_a_signature() {
    let right = "8dd1e6492dd7f778cae90ac068a2da0099e36cddcbe15849442d75136fe0dba7";
    let of = |signature: &str| {
        let mut parts = of_boto3();
        with_signature(&mut parts, signature);
        checked(&parts, BODY, "2026-11-22T21:35:10Z")
    };
    of(right).unwrap();
    for wrong in [
        right.to_uppercase(),
        right[1..].to_owned(),
        format!("{right}0"),
        format!("{right} x"),
        format!("0x{}", &right[2..]),
        "0".repeat(64),
        "g".repeat(64),
        right.repeat(1000),
    ] {
        let Err(refused) = of(&wrong) else { panic!("{wrong:?} was let in") };
        let codes = [ErrorCode::InvalidSignatureException, ErrorCode::IncompleteSignatureException];
        assert!(codes.contains(&refused.code), "{wrong:?}: {refused}");
    }
}

#[test]
fn a_request_that_cannot_be_signed_again_is_refused_whatever_its_signature() {
    type Change = fn(&mut Parts);
    let table: &[(Change, &str)] = &[
        (
            |parts| {
                replace(parts, ";x-amz-target", ";x-amz-target;x-junk");
                bytes(parts, "x-junk", b"\xff");
            },
            "'x-junk' has bytes beyond ASCII",
        ),
        (
            |parts| {
                replace(parts, ";x-amz-target", ";x-amz-target;x-junk");
                bytes(parts, "x-junk", "é".as_bytes());
            },
            "'x-junk' has bytes beyond ASCII",
        ),
        (|parts| bytes(parts, "content-type", b"a\xffb"), "'content-type' has bytes beyond ASCII"),
        (|parts| bytes(parts, "host", b"\xff"), "'host' has bytes beyond ASCII"),
        (|parts| bytes(parts, "x-amz-date", b"\xff"), "'x-amz-date' has bytes beyond ASCII"),
        (|parts| bytes(parts, "x-amz-target", b"\xff"), "'x-amz-target' has bytes beyond ASCII"),
        (|parts| bytes(parts, "authorization", b"\xff"), "'authorization' has bytes beyond ASCII"),
        (|parts| replace(parts, ";host", ";host;x-absent"), "'x-absent' is not in the request"),
        (|parts| replace(parts, ";host", ";host;;"), "does not match"),
        (|parts| replace(parts, ";host", ";host;a b"), "'a b' is not in the request"),
        (|parts| drop(parts.headers.remove("host")), "'host' is not in the request"),
        (
            |parts| drop(parts.headers.remove("x-amz-target")),
            "'x-amz-target' is not in the request",
        ),
        (|parts| parts.uri = "/?a=%ff".parse().unwrap(), "query of the request is not UTF-8"),
        (
            |parts| {
                let named = "host;".repeat(10_000);
                replace(parts, "host;", &named);
            },
            "does not match",
        ),
        (
            |parts| {
                replace(parts, ";x-amz-target", ";x-amz-target;x-large");
                set(parts, "x-large", &"x".repeat(1 << 20));
            },
            "does not match",
        ),
    ];
    for (number, (change, message)) in table.iter().enumerate() {
        let right = "8dd1e6492dd7f778cae90ac068a2da0099e36cddcbe15849442d75136fe0dba7";
        for signature in [right, "", &"0".repeat(64)] {
            let mut parts = of_boto3();
            with_signature(&mut parts, signature);
            change(&mut parts);
            let refused = checked(&parts, BODY, "2026-11-22T21:35:10Z").unwrap_err();
            assert!(matches!(refused.http_status(), 400 | 403), "{number}: {refused}");
            if signature == right {
                assert!(refused.message.contains(message), "{number}: {refused}");
            }
        }
    }
}

#[test]
fn what_is_signed_in_the_url_is_not_signed() {
    let mut parts = of_boto3();
    parts.headers.remove("authorization");
    let presigned = "/?X-Amz-Algorithm=AWS4-HMAC-SHA256\
         &X-Amz-Credential=AKIAEXAMPLE000000001%2F20261122%2Fus-east-1%2Fsagemaker%2Faws4_request\
         &X-Amz-Date=20261122T213510Z&X-Amz-Expires=300&X-Amz-SignedHeaders=host&X-Amz-Signature=";
    parts.uri = presigned.parse().unwrap();
    let refused = checked(&parts, BODY, "2026-11-22T21:35:10Z").unwrap_err();
    assert_eq!(refused.code, ErrorCode::MissingAuthenticationTokenException);
}

#[test]
fn a_replayed_request_is_refused_once_its_date_is_old() {
    let refused = checked(&of_boto3(), BODY, "2026-11-23T08:00:00Z").unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidSignatureException);
    assert!(refused.message.starts_with("Signature expired"), "{refused}");
}

#[test]
fn over_http_2_the_host_stands_in_the_uri() {
    let mut parts = of_boto3();
    parts.headers.remove("host");
    parts.uri = "http://127.0.0.1:7440/".parse().unwrap();
    checked(&parts, BODY, "2026-11-22T21:35:10Z").unwrap();
    parts.uri = "http://127.0.0.1:7441/".parse().unwrap();
    checked(&parts, BODY, "2026-11-22T21:35:10Z").unwrap_err();
}

#[test]
fn nobody_is_let_in_where_the_operator_did_not_say_who() {
    let refused = Gate::Closed.claim(&of_boto3(), at("2026-11-22T21:35:10Z")).unwrap_err();
    assert_eq!(refused.code, ErrorCode::AccessDeniedException);
    assert!(refused.message.contains("--aws-auth sigv4"), "{refused}");
}
