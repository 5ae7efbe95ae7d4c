//! The cookie with which a browser that signed in to the dashboard sends its key. Owns its form and when it counts; does not check keys.
//!
//! Other sites must not be able to use it (CSRF). The cookie is `SameSite=Strict`, which no other site can send; requests that browsers mark
//! as sent by another site are refused by the router (`CsrfLayer`); and a write also needs a header that only scripts of the same origin can
//! add, because this API answers no preflight request.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Name of the cookie.
const NAME: &str = "jobqueue_session";
/// A write with the cookie needs this header, with any value.
pub(crate) const OF_THE_PAGE: HeaderName = HeaderName::from_static("x-jobqueue-dashboard");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Browsers drop cookies that are longer than 4 KiB.
pub(crate) const MAX_KEY_BYTES: usize = 2048;
/// Longest prefix of a proxy.
const MAX_PREFIX_BYTES: usize = 128;

/// The key in the cookie.
pub(crate) fn key(headers: &HeaderMap) -> Option<String> {
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == NAME)?;
    String::from_utf8(URL_SAFE_NO_PAD.decode(value).ok()?).ok()
}

/// Whether the dashboard may have sent this request. Browsers leave `Sec-Fetch-Site` out on plain HTTP.
pub(crate) fn is_of_the_page(method: &Method, headers: &HeaderMap) -> bool {
    let own = |site: &HeaderValue| site == "same-origin" || site == "none";
    let same_site = headers.get(SEC_FETCH_SITE).is_none_or(own);
    same_site && (method.is_safe() || headers.contains_key(OF_THE_PAGE))
}

/// The cookie for a key. It ends with the browser, is not readable by scripts, and is sent to this API only.
pub(crate) fn begin(key: &str, headers: &HeaderMap) -> Option<HeaderValue> {
    cookie(&URL_SAFE_NO_PAD.encode(key), "", headers)
}

/// Removes the cookie.
pub(crate) fn end(headers: &HeaderMap) -> Option<HeaderValue> {
    cookie("", "; Max-Age=0", headers)
}

fn cookie(value: &str, age: &str, headers: &HeaderMap) -> Option<HeaderValue> {
    let secure =
        headers.get(X_FORWARDED_PROTO).and_then(|value| value.to_str().ok()).is_some_and(|protocols| {
            // the first proxy is the one that the browser talks to
            protocols.split(',').next().is_some_and(|first| first.trim().eq_ignore_ascii_case("https"))
        });
    let (path, secure) = (path(headers), if secure { "; Secure" } else { "" });
    let text = format!("{NAME}={value}; Path={path}; HttpOnly; SameSite=Strict{secure}{age}");
    let mut cookie = HeaderValue::try_from(text).ok()?;
    cookie.set_sensitive(true);
    Some(cookie)
}

/// The path below which the browser sends the cookie: the prefix under which a proxy serves this API. A prefix that is no plain path is
/// ignored.
fn path(headers: &HeaderMap) -> &str {
    let plain = |prefix: &&str| {
        prefix.starts_with('/')
            && prefix.len() <= MAX_PREFIX_BYTES
            && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_-.~".contains(&byte))
    };
    let prefix = headers.get(X_FORWARDED_PREFIX).and_then(|value| value.to_str().ok()).filter(plain);
    prefix.map(|prefix| prefix.trim_end_matches('/')).filter(|prefix| !prefix.is_empty()).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_cookie_returns_its_key_and_cannot_be_read_by_scripts_or_sent_by_other_sites() {
        let text = begin("a;b=\"c", &headers(&[])).unwrap();
        let text = text.to_str().unwrap();
        assert!(text.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{text}");
        let pair = text.split(';').next().unwrap();
        let sent = headers(&[("cookie", &format!("theme=dark; {pair}; x=1"))]);
        assert_eq!(key(&sent).as_deref(), Some("a;b=\"c"));
        for bad in ["jobqueue_session=*", "jobqueue_session", "other=YQ", "xjobqueue_session=YQ"] {
            assert_eq!(key(&headers(&[("cookie", bad)])), None, "{bad}");
        }
    }

    #[test]
    fn behind_a_proxy_the_cookie_is_for_its_prefix_and_for_https_only() {
        for (pairs, expected) in [
            (vec![("x-forwarded-prefix", "/jobs/")], "Path=/jobs; HttpOnly; SameSite=Strict"),
            (vec![("x-forwarded-prefix", "/a;Domain=x")], "Path=/; HttpOnly; SameSite=Strict"),
            (vec![("x-forwarded-prefix", "a")], "Path=/; HttpOnly; SameSite=Strict"),
            (vec![("x-forwarded-proto", "https, http")], "Path=/; HttpOnly; SameSite=Strict; Secure"),
            (vec![("x-forwarded-proto", "http, https")], "Path=/; HttpOnly; SameSite=Strict"),
        ] {
            let cookie = begin("k", &headers(&pairs)).unwrap();
            assert_eq!(cookie.to_str().unwrap().split_once("; ").unwrap().1, expected, "{pairs:?}");
            assert!(end(&headers(&pairs)).unwrap().to_str().unwrap().ends_with("; Max-Age=0"));
        }
    }

    #[test]
    fn a_write_needs_the_header_and_other_sites_may_not_even_read() {
        for (method, pairs, allowed) in [
            (Method::GET, vec![], true),
            (Method::GET, vec![("sec-fetch-site", "same-origin")], true),
            (Method::GET, vec![("sec-fetch-site", "same-site")], false),
            (Method::GET, vec![("sec-fetch-site", "cross-site")], false),
            (Method::POST, vec![("sec-fetch-site", "same-origin")], false),
            (Method::POST, vec![("x-jobqueue-dashboard", "1")], true),
            (Method::DELETE, vec![("x-jobqueue-dashboard", "1"), ("sec-fetch-site", "same-site")], false),
        ] {
            assert_eq!(is_of_the_page(&method, &headers(&pairs)), allowed, "{method} {pairs:?}");
        }
    }
}
