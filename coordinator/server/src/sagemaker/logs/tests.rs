use super::*;

fn lines(count: i64) -> Vec<Line> {
    let line = |number| Line {
        at: Timestamp::from_millisecond(1_000 + number).unwrap(),
        message: format!("line {number}"),
    };
    (0..count).map(line).collect()
}

fn request(token: Option<&str>, limit: Option<i32>, from_head: bool) -> GetLogEventsRequest {
    GetLogEventsRequest {
        log_stream_name: "demo/execution".to_owned(),
        log_group_name: Some(naming::LOG_GROUP.to_owned()),
        log_group_identifier: None,
        start_time: None,
        end_time: None,
        next_token: token.map(str::to_owned),
        limit,
        start_from_head: Some(from_head),
        unmask: None,
    }
}

fn answer(request: &GetLogEventsRequest, lines: &[Line]) -> (Vec<String>, String, String) {
    let answer = Window::of(request, lines).unwrap().answer(lines);
    let messages = answer.events.unwrap().into_iter().map(|event| event.message.unwrap());
    (messages.collect(), answer.next_forward_token.unwrap(), answer.next_backward_token.unwrap())
}

#[test]
fn forward_tokens_give_every_line_once_and_then_stay_where_they_are() {
    let (mut told, mut token) = (Vec::new(), None::<String>);
    for grown in [3, 3, 3, 5, 5, 5] {
        let lines = lines(grown);
        let (more, next, _) = answer(&request(token.as_deref(), Some(2), true), &lines);
        assert!(token.as_deref().is_none_or(|before| before <= next.as_str()), "{token:?} {next}");
        told.extend(more);
        token = Some(next);
    }
    assert_eq!(told, ["line 0", "line 1", "line 2", "line 3", "line 4"]);
    let (nothing, same, _) = answer(&request(token.as_deref(), None, true), &lines(5));
    assert_eq!((nothing.len(), Some(same)), (0, token));
}

#[test]
fn without_a_token_the_end_is_shown_and_backward_tokens_lead_to_the_beginning() {
    let lines = lines(5);
    let (last, _, backward) = answer(&request(None, Some(2), false), &lines);
    assert_eq!(last, ["line 3", "line 4"]);
    let (before, _, backward) = answer(&request(Some(&backward), Some(2), false), &lines);
    assert_eq!(before, ["line 1", "line 2"]);
    let (first, _, backward) = answer(&request(Some(&backward), Some(2), false), &lines);
    assert_eq!(first, ["line 0"]);
    let (nothing, _, same) = answer(&request(Some(&backward), None, false), &lines);
    assert_eq!((nothing.len(), same), (0, backward));
}

#[test]
fn times_narrow_what_is_shown_and_empty_streams_still_have_tokens() {
    let mut narrowed = request(None, None, true);
    (narrowed.start_time, narrowed.end_time) = (Some(1_001), Some(1_003));
    assert_eq!(answer(&narrowed, &lines(5)).0, ["line 1", "line 2"]);
    let (nothing, forward, backward) = answer(&request(None, None, true), &[]);
    assert!(nothing.is_empty() && !forward.is_empty() && !backward.is_empty());
}

#[test]
fn forged_tokens_and_other_groups_are_refused() {
    for token in ["", "f", "f/", "x/1", "f/-1", "f/+1", "b/1x", "f/99999999999999999999999999"] {
        let refused = Window::of(&request(Some(token), None, true), &lines(2)).err();
        let code = refused.map(|error| error.code);
        assert_eq!(code, Some(ErrorCode::InvalidParameterException), "{token}");
    }
    // A number beyond the end is one that a longer stream would have given out.
    assert!(answer(&request(Some("f/7"), None, true), &lines(2)).0.is_empty());
    let other = "/aws/lambda/x".to_owned();
    assert!(require_group(Some(&other)).is_err() && require_group(None).is_err());
}

#[test]
fn a_line_shows_what_was_said_and_does_nothing() {
    let line = Line::new(Timestamp::UNIX_EPOCH, "failed: \u{1b}[31mno\u{9b}0m\nThe job completed.");
    assert_eq!(line.message, "failed: no The job completed.");
}
