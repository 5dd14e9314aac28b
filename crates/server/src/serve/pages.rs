//! The web client, embedded.

use std::sync::Arc;

use axum::extract::RawQuery;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use include_dir::{Dir, include_dir};

use super::Shared;
use super::delivery::Embedded;

static WEB: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../web");

/// Scripts, styles, sockets and media from here alone.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; \
    media-src 'self' blob:; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; \
    worker-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// The same inside pages of any site: there is nothing to be clicked that acts in anybody's name.
const EMBEDDED_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; \
    media-src 'self' blob:; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; \
    worker-src 'self'; frame-ancestors *; base-uri 'none'; form-action 'self'";

/// The pages beside the meeting page.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/watch/{room}", get(watch))
        .route("/watch/{room}/", get(watch))
        .route("/publish/{room}", get(async || page("publish.html")))
        .route("/publish/{room}/", get(async || page("publish.html")))
        .route("/admin", get(async || page("admin.html")))
        .route("/admin/", get(async || page("admin.html")))
}

/// The meeting page.
pub(crate) fn meeting() -> Response {
    page("index.html")
}

/// The page that plays a room; `?embed` is for pages of other sites.
async fn watch(RawQuery(query): RawQuery) -> Response {
    let mut response = page("watch.html");
    if is_embedded(query.as_deref().unwrap_or_default()) {
        let policy = HeaderValue::from_static(EMBEDDED_POLICY);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn is_embedded(query: &str) -> bool {
    let mut names = query.split('&').filter_map(|pair| pair.split('=').next());
    names.any(|name| name == "embed")
}

fn page(path: &str) -> Response {
    file(path).unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
}

/// A file of the web client; `None` when there is none at `path`.
pub(crate) fn file(path: &str) -> Option<Response> {
    let kind = content_type(path)?;
    let file = WEB.get_file(path)?;
    let contents = file.contents();
    let embedded = Embedded {
        path: file.path().to_str()?,
        contents,
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)));
    Some((headers, Extension(embedded), contents).into_response())
}

/// What browsers need; anything else in the folder (package files) is not served.
fn content_type(path: &str) -> Option<&'static str> {
    let (_, extension) = path.rsplit_once('.')?;
    match extension {
        "html" => Some("text/html; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        "webmanifest" => Some("application/manifest+json"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_embed_asks_for_a_frame() {
        for query in ["embed", "embed=1", "muted&embed"] {
            assert!(is_embedded(query), "{query}");
        }
        for query in ["", "embedded", "a=embed", "room=embed&b"] {
            assert!(!is_embedded(query), "{query}");
        }
    }

    #[test]
    fn every_page_is_there() {
        for path in ["index.html", "watch.html", "publish.html", "admin.html"] {
            assert_eq!(page(path).status(), StatusCode::OK, "{path}");
        }
    }
}
