use super::*;

#[test]
fn an_empty_body_is_an_empty_document() {
    for body in ["", "  ", "{}"] {
        assert!(Request::read(Operation::ListModels, body.as_bytes()).is_ok(), "{body:?}");
    }
}
