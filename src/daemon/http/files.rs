//! The files of the page, which are in the program.

use axum::extract::Path;
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use embedded::FILES;
pub use embedded::HASH;

/// One of them.
pub struct File {
    name: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
}

mod embedded {
    //! What the build script wrote.
    #![allow(missing_docs, reason = "it is not read by people")]

    use super::File;

    include!(concat!(env!("OUT_DIR"), "/page.rs"));
}

/// The page itself. It names the others by the hash of their content.
pub async fn index(headers: HeaderMap) -> Response {
    serve("index.html", &headers, "no-cache")
}

/// A file of the page, at an address that has their hash: its content never changes.
pub async fn file(Path((hash, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    match hash == HASH {
        true => serve(&name, &headers, "public, max-age=31536000, immutable"),
        // Of another version. The page that asks for it has to be loaded again.
        false => StatusCode::NOT_FOUND.into_response(),
    }
}

fn serve(name: &str, headers: &HeaderMap, caching: &'static str) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let takes = headers.get(ACCEPT_ENCODING).and_then(|takes| takes.to_str().ok());
    let is_compressed = takes.is_some_and(|takes| takes.contains("gzip"));
    let mut response = match is_compressed {
        true => file.gzip.into_response(),
        false => file.plain.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(name)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if is_compressed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Code;

    #[test]
    fn the_page_says_in_each_language_what_to_do_about_each_reason() {
        let mut languages = 0;
        for file in FILES.iter().filter(|file| file.name.starts_with("texts/")) {
            languages += 1;
            let text = String::from_utf8_lossy(file.plain);
            for code in Code::ALL.map(Code::as_str) {
                let name = format!("  'todo_{code}': '");
                assert!(text.contains(&name), "{} has no todo_{code}", file.name);
            }
        }
        assert_eq!(languages, 2);
    }
}
