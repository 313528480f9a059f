//! Who looks at a page. Where tokens are wanted, a token gives a session, kept in a cookie that scripts cannot read and
//! other sites do not send; sessions end by themselves. Every visitor has a token for forms, bound to that cookie.

use std::{collections::HashMap, convert::Infallible, sync::Mutex, time::Duration};

use assay_pages::frame::{Frame, Section};
use axum::extract::FromRequestParts;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue, header, request::Parts};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::{random, tokens::Tokens};

const SESSION: Duration = Duration::from_secs(12 * 3600);
/// So many of the name are looked at.
const MOST_COOKIES: usize = 8;
/// The oldest goes when another comes.
const MOST_SESSIONS: usize = 1000;

/// Everybody who looks at pages.
#[derive(Debug)]
pub(super) struct Visitors {
    tokens: Option<Tokens>,
    /// Checksums of their secrets, and when they end.
    sessions: Mutex<HashMap<[u8; 32], Timestamp>>,
    /// What form tokens are made with; another after each start.
    key: String,
    /// Cookies are shared by all ports of a host.
    cookie: String,
    secure: bool,
}

/// Somebody who looks at a page.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) may_enter: bool,
    pub(super) signed_in: bool,
    pub(super) new_cookie: Option<HeaderValue>,
    secret: String,
    csrf: String,
}

impl Visitors {
    pub(super) fn new(tokens: Option<Tokens>, port: u16, secure: bool) -> Self {
        Self {
            tokens,
            sessions: Mutex::default(),
            key: format!("{}{}", random::token(), random::token()),
            cookie: format!("assay_session_{port}"),
            secure,
        }
    }

    /// Whoever sends these headers.
    pub(super) fn of(&self, headers: &HeaderMap, now: Timestamp) -> Visitor {
        // Another service of the same host may plant one of the name before the visitor's own.
        let secrets = self.secrets_in(headers);
        let live = secrets.iter().find(|secret| self.tokens.is_some() && self.is_live(secret, now));
        let signed_in = live.is_some();
        let known = live.or(secrets.first()).cloned();
        let (secret, new_cookie) = match known {
            Some(secret) => (secret, None),
            None => {
                let secret = new_secret();
                let cookie = self.set_cookie(&secret);
                (secret, Some(cookie))
            }
        };
        let csrf = self.form_token(&secret);
        Visitor {
            may_enter: self.tokens.is_none() || signed_in,
            signed_in,
            new_cookie,
            secret,
            csrf,
        }
    }

    /// Opens a session for whoever shows a token; the cookie to answer with.
    pub(super) fn sign_in(&self, token: &str, now: Timestamp) -> Option<HeaderValue> {
        if !self.tokens.as_ref()?.accepts(token.as_bytes()) {
            return None;
        }
        // A secret that was known before is nobody's session.
        let secret = new_secret();
        let mut sessions = self.locked();
        sessions.retain(|_, ends| *ends > now);
        if sessions.len() >= MOST_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, ends)| **ends).map(|(digest, _)| *digest);
            oldest.and_then(|digest| sessions.remove(&digest));
        }
        sessions.insert(digest(&secret), now + SESSION);
        Some(self.set_cookie(&secret))
    }

    /// Ends the visitor's session; the cookie to answer with.
    pub(super) fn sign_out(&self, visitor: &Visitor) -> HeaderValue {
        self.locked().remove(&digest(&visitor.secret));
        self.set_cookie(&new_secret())
    }

    fn is_live(&self, secret: &str, now: Timestamp) -> bool {
        self.locked().get(&digest(secret)).is_some_and(|ends| *ends > now)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Timestamp>> {
        // Whoever panicked left whole entries.
        self.sessions.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// All that might be one of ours, in the order in which they were sent.
    fn secrets_in(&self, headers: &HeaderMap) -> Vec<String> {
        let cookies =
            headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs =
            cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.split_once('='));
        let named = pairs.filter(|(name, _)| name.trim() == self.cookie);
        let is_ours = |secret: &&str| {
            secret.len() == 32 && secret.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        let secrets = named.map(|(_, secret)| secret).filter(is_ours).take(MOST_COOKIES);
        secrets.map(str::to_owned).collect()
    }

    fn set_cookie(&self, secret: &str) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let cookie = format!("{}={secret}; Path=/; HttpOnly; SameSite=Strict{secure}", self.cookie);
        HeaderValue::from_str(&cookie).expect("a name and hexadecimal digits are a header value")
    }

    fn form_token(&self, secret: &str) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key.as_bytes()).expect("any length is a key");
        mac.update(secret.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }
}

impl Visitor {
    /// What a page of that section shows of them.
    pub(super) fn frame(&self, section: Option<Section>) -> Frame {
        Frame {
            section,
            shows_navigation: self.may_enter,
            signed_in: self.signed_in,
            csrf: self.csrf.clone(),
        }
    }

    /// Whether a form is theirs.
    pub(super) fn sent(&self, csrf: &str) -> bool {
        use subtle::ConstantTimeEq;
        csrf.as_bytes().ct_eq(self.csrf.as_bytes()).into()
    }
}

/// The guard knows them before any handler runs.
impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().expect("the guard puts the visitor there"))
    }
}

fn new_secret() -> String {
    random::token()
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn with_tokens() -> Visitors {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("tokens");
        std::fs::write(&path, "alpha\n").unwrap();
        Visitors::new(Some(Tokens::read(&path).unwrap()), 7707, true)
    }

    fn sending(cookie: &HeaderValue) -> HeaderMap {
        let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(&pair).unwrap())])
    }

    #[test]
    fn a_token_opens_a_session_that_ends_by_itself_and_by_signing_out() {
        let visitors = with_tokens();
        let start = at("2026-11-30T12:00:00Z");
        let stranger = visitors.of(&HeaderMap::new(), start);
        assert!(!stranger.may_enter);
        assert_eq!(visitors.sign_in("beta", start), None);
        let cookie = visitors.sign_in("alpha", start).unwrap();
        for part in ["HttpOnly", "SameSite=Strict", "Secure"] {
            assert!(cookie.to_str().unwrap().contains(part), "{cookie:?}");
        }
        let visitor = visitors.of(&sending(&cookie), start);
        assert!(visitor.may_enter && visitor.new_cookie.is_none());
        assert!(!visitors.of(&sending(&cookie), at("2026-12-01T00:00:00Z")).may_enter);
        assert!(visitors.of(&sending(&cookie), at("2026-11-30T23:59:59Z")).may_enter);
        visitors.sign_out(&visitor);
        assert!(!visitors.of(&sending(&cookie), start).may_enter);
    }

    #[test]
    fn a_cookie_that_was_planted_is_nobodys_session_and_gives_no_form_token() {
        let visitors = with_tokens();
        let now = at("2026-11-30T12:00:00Z");
        let planted =
            HeaderValue::from_static("assay_session_7707=0123456789abcdef0123456789abcdef");
        let before = visitors.of(&sending(&planted), now);
        assert!(!before.may_enter);
        let cookie = visitors.sign_in("alpha", now).unwrap();
        assert!(!visitors.of(&sending(&planted), now).may_enter);
        let visitor = visitors.of(&sending(&cookie), now);
        assert!(visitor.sent(&visitor.csrf));
        // Planted before the visitor's own, it does not lock them out.
        let own = cookie.to_str().unwrap().split(';').next().unwrap();
        for before in ["assay_session_7707=zz", planted.to_str().unwrap()] {
            let both = HeaderValue::from_str(&format!("{before}; {own}")).unwrap();
            let both = HeaderMap::from_iter([(header::COOKIE, both)]);
            assert!(visitors.of(&both, now).may_enter, "{before}");
        }
        for wrong in ["", &before.csrf, &visitor.secret, &visitor.csrf[1..]] {
            assert!(!visitor.sent(wrong), "{wrong:?}");
        }
        assert!(!Visitors::new(None, 7707, true).of(&sending(&cookie), now).sent(&visitor.csrf));
    }

    #[test]
    fn no_more_sessions_are_kept_than_the_limit() {
        let visitors = with_tokens();
        let mut now = at("2026-11-30T12:00:00Z");
        let first = visitors.sign_in("alpha", now).unwrap();
        for _ in 0..MOST_SESSIONS {
            now += Duration::from_secs(1);
            visitors.sign_in("alpha", now).unwrap();
        }
        assert_eq!(visitors.locked().len(), MOST_SESSIONS);
        assert!(!visitors.of(&sending(&first), now).may_enter);
    }
}
