//! What a browser gets: the page at every depth, files that it may keep, and nothing that lets another site in.

use axum::http::Request;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;
use crate::files::FILES;

/// What a first visit may load, compressed.
const MAX_BYTES: usize = 250_000;
/// The documents that say how much a browser loads, with the words before the number.
const DOCUMENTS: [(&str, &str, &str); 2] = [
    ("docs/dashboard.md", include_str!("../../../docs/dashboard.md"), "A browser loads "),
    ("ADR 26", include_str!("../../../docs/adr/0026-dashboard.md"), "all its screens has "),
];

async fn ask(path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Vec<u8>) {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router::<()>().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn each_screen_gets_the_page_with_a_base_that_leads_to_the_files() {
    for (path, base) in
        [("/ui/", "./"), ("/ui/jobs", "./"), ("/ui/jobs/1?q=kind%3Aa", "../"), ("/ui/a/b/c", "../../")]
    {
        let (status, headers, body) = ask(path, &[]).await;
        assert_eq!(status, 200, "{path}");
        let html = String::from_utf8(body).unwrap();
        assert!(html.contains(&format!("<base href=\"{base}\">")), "{path}: {html}");
        assert!(header(&headers, "content-security-policy").contains("default-src 'none'"), "{path}");
        let tag = header(&headers, "etag").to_owned();
        assert_eq!(ask(path, &[("if-none-match", &tag)]).await.0, 304, "{path}");
        for file in FILES.iter().filter(|file| file.name.starts_with("assets/app")) {
            assert!(html.contains(file.name), "{} is not loaded", file.name);
        }
        assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains("http"), "{html}");
    }
    let (status, headers, _) = ask("/ui", &[]).await;
    assert_eq!((status.as_u16(), header(&headers, "location")), (308, "ui/"));
    assert_eq!(ask(&format!("/ui/{}", "a/".repeat(20)), &[]).await.0, 404);
}

#[tokio::test]
async fn files_are_compressed_kept_by_browsers_and_small() {
    let mut total = 0;
    for file in FILES {
        // only a link leads to the licences
        if file.name != "assets/licenses.txt" {
            total += file.gzip.len();
        }
        if !file.name.starts_with("assets/") {
            continue;
        }
        let path = format!("/ui/{}", file.name);
        let (status, headers, plain) = ask(&path, &[]).await;
        assert_eq!((status.as_u16(), plain.as_slice()), (200, file.plain), "{path}");
        let named = matches!(file.name.rsplit('.').next(), Some("js" | "css"));
        let kept = if named { "public, max-age=31536000, immutable" } else { "no-cache" };
        assert_eq!(header(&headers, "cache-control"), kept, "{path}");
        let tag = header(&headers, "etag").to_owned();
        assert_eq!(ask(&path, &[("if-none-match", &tag)]).await.0, 304, "{path}");
        assert_eq!(header(&headers, "x-content-type-options"), "nosniff");
        let (_, headers, zipped) = ask(&path, &[("accept-encoding", "br, gzip;q=0.5")]).await;
        assert_eq!((header(&headers, "content-encoding"), zipped.as_slice()), ("gzip", file.gzip), "{path}");
        let (_, headers, _) = ask(&path, &[("accept-encoding", "gzip;q=0")]).await;
        assert_eq!(header(&headers, "content-encoding"), "", "{path}");
    }
    assert!(total > 1_000, "there are files");
    assert!(total <= MAX_BYTES, "a browser loads {total} bytes");
    for (page, text, before) in DOCUMENTS {
        let (_, rest) = text.split_once(before).unwrap();
        let said: usize = rest.split_once(" kB").unwrap().0.parse().unwrap();
        assert!((total / 1_000).abs_diff(said) <= 2, "{page} says {said} kB, a browser loads {total} bytes");
    }
    assert_eq!(ask("/ui/assets/none.js", &[]).await.0, 404);
    assert_eq!(ask("/ui/assets/../index.html", &[]).await.0, 404);
}
