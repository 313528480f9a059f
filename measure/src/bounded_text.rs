//! Text that a model or a server chose, cut to what can be sent, stored and read; what was cut says so.

/// The beginning of a text, in `most_bytes` at most (the remark included).
#[must_use]
pub fn beginning(text: String, most_bytes: usize) -> String {
    if text.len() <= most_bytes {
        return text;
    }
    let remark = format!(" … (cut, {} bytes in all)", text.len());
    let room = most_bytes.saturating_sub(remark.len());
    format!("{}{remark}", &text[..text.floor_char_boundary(room)])
}

/// The end of a text, in `most_bytes` at most (the remark included).
#[must_use]
pub fn end(text: String, most_bytes: usize) -> String {
    if text.len() <= most_bytes {
        return text;
    }
    let remark = format!("(cut, {} bytes in all) … ", text.len());
    let room = most_bytes.saturating_sub(remark.len());
    format!("{remark}{}", &text[text.ceil_char_boundary(text.len() - room)..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_and_what_does_not_is_cut_between_characters_and_says_so() {
        assert_eq!(beginning("short".to_owned(), 64), "short");
        assert_eq!(end("short".to_owned(), 64), "short");
        let long = "é".repeat(1000);
        for most in 40..60 {
            let (first, last) = (beginning(long.clone(), most), end(long.clone(), most));
            assert!(first.len() <= most && last.len() <= most, "{first} {last}");
            assert!(first.starts_with("éé") && first.ends_with(" … (cut, 2000 bytes in all)"));
            assert!(last.starts_with("(cut, 2000 bytes in all) … é") && last.ends_with("éé"));
            assert_eq!(beginning(first.clone(), most), first, "cut once");
        }
    }
}
