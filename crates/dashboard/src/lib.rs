//! The dashboard: the built page and the router that serves it. The page uses the REST API only, so this crate knows neither jobs nor
//! the store, and decides nothing about keys.
//!
//! The sources of the page are in `web/`, the built files in `dist/` (`scripts/dashboard-build`). `cargo build` needs the built files only.

mod files;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use files::{File, file};

/// Only own files are loaded, only the own API is called, no script or style is inline, and no other page can frame this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'self'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
/// A browser keeps files whose name has a hash, and asks each time for the page and for the other files.
const FOREVER: &str = "public, max-age=31536000, immutable";
const ASK: &str = "no-cache";
/// More levels than any screen has.
const MAX_DEPTH: usize = 8;
/// The element of `index.html` that each response replaces.
const BASE: &str = "<base href=\"./\">";

/// The page under `/ui/`, for any state. All URLs are relative, so a proxy may serve it under any prefix.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/ui", get(async || (StatusCode::PERMANENT_REDIRECT, [(LOCATION, "ui/")])))
        .route("/ui/", get(serve))
        .route("/ui/{*path}", get(serve))
        .layer(map_response(guard))
}

/// A file, or for every other path the page, which shows the screen of its URL.
async fn serve(request: Request) -> Response {
    let path = request.uri().path().strip_prefix("/ui/").unwrap_or_default();
    let missing = || StatusCode::NOT_FOUND.into_response();
    if path.starts_with("assets/") {
        return file(path).map_or_else(missing, |file| asset(file, request.headers()));
    }
    let depth = path.matches('/').count();
    match file("index.html") {
        Some(index) if depth <= MAX_DEPTH => page(index, depth, request.headers()),
        _ => missing(),
    }
}

fn asset(file: &'static File, headers: &HeaderMap) -> Response {
    let zipped = accepts_gzip(headers);
    // the two codings of a file are two representations
    let tag = format!("\"{}{}\"", file.hash, if zipped { "-gzip" } else { "" });
    let mut response = if knows(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(if zipped { file.gzip } else { file.plain }))
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.media_type));
    let kept = if has_hash(file.name) { FOREVER } else { ASK };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(kept));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(ETAG, tag);
    }
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if zipped {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// The page for a URL that is this many levels below `/ui/`: its base is `/ui/`, with the prefix of a proxy, which only the browser knows.
fn page(index: &'static File, depth: usize, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}-{depth}\"", index.hash);
    let mut response = if knows(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let up = if depth == 0 { "./".to_owned() } else { "../".repeat(depth) };
        let html = String::from_utf8_lossy(index.plain).replacen(BASE, &format!("<base href=\"{up}\">"), 1);
        Response::new(Body::from(html))
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(index.media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(ASK));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(ETAG, tag);
    }
    response
}

/// Whether the name ends in the hash of the content, as in `app-O274GDLP.js`: then the content never changes.
fn has_hash(name: &str) -> bool {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    stem.rsplit_once('-').is_some_and(|(_, hash)| {
        hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    })
}

/// Whether the browser has this version.
fn knows(headers: &HeaderMap, tag: &str) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().any(|value| {
        value.to_str().is_ok_and(|tags| tags.split(',').any(|one| one.trim().trim_start_matches("W/") == tag))
    })
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    codings.flat_map(|value| value.split(',')).any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(quality.trim(), "q=0" | "q=0.0")
    })
}

/// Adds the headers that every response of the page has.
async fn guard(mut response: Response) -> Response {
    const ALL: [(HeaderName, &str); 6] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in ALL {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
