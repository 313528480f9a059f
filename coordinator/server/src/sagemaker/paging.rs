//! Pages of lists: how many entries, and the opaque token that says where the next page begins.
//!
//! A token holds the position itself, so it outlives a restart; it belongs to one query and is refused by
//! any other. Nothing secret is in it, and a forged one reads nothing that its sender may not read.

use assay_sagemaker::error::ApiError;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

/// Entries on a page when the request does not say.
pub(crate) const DEFAULT_PAGE: usize = 100;

/// How many entries a request wants on a page.
pub(crate) fn page_size(max_results: Option<i32>) -> usize {
    max_results.and_then(|wanted| usize::try_from(wanted).ok()).unwrap_or(DEFAULT_PAGE).max(1)
}

#[derive(Serialize, Deserialize)]
struct Token<P> {
    #[serde(rename = "q")]
    query: String,
    #[serde(rename = "p")]
    position: P,
}

/// The token for what follows `position`. `query` is everything that decides on the list and its order,
/// without token and page size.
pub(crate) fn next_token<P: Serialize>(query: &impl Serialize, position: P) -> String {
    let token = Token { query: fingerprint(query), position };
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
}

/// Cuts a list, which was read one entry further, to its page; the token when there is another one.
pub(crate) fn cut<T, P: Serialize>(
    list: &mut Vec<T>,
    page: usize,
    query: &impl Serialize,
    position: impl FnOnce(&T) -> P,
) -> Option<String> {
    let more = list.len() > page;
    list.truncate(page);
    list.last().filter(|_| more).map(|last| next_token(query, position(last)))
}

/// Where the page that a token asks for begins.
pub(crate) fn position<P: DeserializeOwned>(
    query: &impl Serialize,
    token: Option<&str>,
) -> Result<Option<P>, ApiError> {
    let Some(token) = token else {
        return Ok(None);
    };
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).unwrap_or_default();
    match serde_json::from_slice::<Token<P>>(&bytes) {
        Ok(read) if read.query == fingerprint(query) => Ok(Some(read.position)),
        Ok(_) => {
            Err(ApiError::validation("The NextToken belongs to a request with other filters."))
        }
        Err(_) => Err(ApiError::validation("The NextToken is not one that this server gave out.")),
    }
}

fn fingerprint(query: &impl Serialize) -> String {
    let text = serde_json::to_vec(query).unwrap_or_default();
    hex::encode(&Sha256::digest(text)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gives_its_position_back_to_the_same_query_only() {
        let token = next_token(&"newest first", ("name".to_owned(), 7));
        let read = position::<(String, i64)>(&"newest first", Some(&token)).unwrap();
        assert_eq!(read, Some(("name".to_owned(), 7)));
        assert_eq!(position::<(String, i64)>(&"any", None).unwrap(), None);
        let other = position::<(String, i64)>(&"oldest first", Some(&token)).unwrap_err();
        assert!(other.message.contains("other filters"), "{other}");
        for forged in ["", "x", "e30", "\u{e9}", &token[1..], "bnVsbA"] {
            let refused = position::<(String, i64)>(&"newest first", Some(forged)).unwrap_err();
            assert!(refused.message.contains("not one that this server gave"), "{forged}");
        }
    }

    #[test]
    fn a_page_has_at_least_one_entry() {
        assert_eq!(page_size(None), DEFAULT_PAGE);
        assert_eq!(page_size(Some(3)), 3);
        for wrong in [0, -1] {
            assert!(page_size(Some(wrong)) >= 1);
        }
    }
}
