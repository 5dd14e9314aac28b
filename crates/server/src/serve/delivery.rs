//! Files of the web client on their way: compressed to who takes that, and not sent again to who
//! has them (RFC 9110 §12.5.3, §13.1.2).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Marks a response as an embedded file, by its path and what is in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Embedded {
    pub(super) path: &'static str,
    pub(super) contents: &'static [u8],
}

/// What is worked out once for each file.
#[derive(Debug)]
struct Packed {
    tag: HeaderValue,
    /// `None` where compression gains nothing.
    gzip: Option<Bytes>,
}

/// Looks at every response, and changes those that are embedded files.
pub(super) async fn deliver(request: Request, next: Next) -> Response {
    let asked = Asked::of(request.headers());
    let response = next.run(request).await;
    match response.extensions().get::<Embedded>().copied() {
        Some(file) => asked.answered(response, file),
        None => response,
    }
}

/// What a request says about the form of the answer.
#[derive(Debug)]
struct Asked {
    gzip: bool,
    known: Vec<HeaderValue>,
}

impl Asked {
    fn of(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(header::ACCEPT_ENCODING);
        let mut texts = accepted.iter().filter_map(|value| value.to_str().ok());
        Self {
            gzip: texts.any(accepts_gzip),
            known: headers
                .get_all(header::IF_NONE_MATCH)
                .iter()
                .cloned()
                .collect(),
        }
    }

    fn answered(&self, mut response: Response, file: Embedded) -> Response {
        let packed = packed(file);
        let headers = response.headers_mut();
        headers.insert(header::ETAG, packed.tag.clone());
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if self.knows(&packed.tag) {
            headers.remove(header::CONTENT_TYPE);
            headers.remove(header::CONTENT_LENGTH);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = Body::empty();
        } else if let Some(gzip) = packed.gzip.as_ref().filter(|_| self.gzip) {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            // That of the file; the new one follows from the body.
            headers.remove(header::CONTENT_LENGTH);
            *response.body_mut() = Body::from(gzip.clone());
        }
        response
    }

    /// Weak comparison, as this condition has it.
    fn knows(&self, tag: &HeaderValue) -> bool {
        let texts = self.known.iter().filter_map(|value| value.to_str().ok());
        let mut known = texts.flat_map(|text| text.split(',').map(str::trim));
        known.any(|known| known == "*" || known.as_bytes() == tag.as_bytes())
    }
}

/// Whether an Accept-Encoding has gzip in it, and not at a quality of zero.
fn accepts_gzip(text: &str) -> bool {
    text.split(',').any(|each| {
        let (name, parameters) = each.split_once(';').unwrap_or((each, ""));
        let quality = parameters.trim().strip_prefix("q=");
        let refused = quality.is_some_and(|own| own.trim().parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

fn packed(file: Embedded) -> Arc<Packed> {
    static ALL: OnceLock<Mutex<BTreeMap<&str, Arc<Packed>>>> = OnceLock::new();
    let all = ALL.get_or_init(Mutex::default);
    // What is in there is whole whenever the lock is free.
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    let packed = all
        .entry(file.path)
        .or_insert_with(|| Arc::new(Packed::new(file.contents)));
    Arc::clone(packed)
}

impl Packed {
    fn new(contents: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        contents.hash(&mut hasher);
        // Weak: it is the same for both encodings.
        let tag = format!("W/\"{:016x}\"", hasher.finish());
        let gzip = compressed(contents).ok();
        Self {
            tag: HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("W/\"\"")),
            gzip: gzip.filter(|gzip| gzip.len() < contents.len()),
        }
    }
}

fn compressed(contents: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(contents)?;
    Ok(encoder.finish()?.into())
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use flate2::read::GzDecoder;
    use http_body_util::BodyExt;
    use std::io::Read;

    use super::*;

    const FILE: Embedded = Embedded {
        path: "a.js",
        contents:
            b"export const a = 1; export const b = 1; export const c = 1; export const d = 1;",
    };

    fn asked(fields: &[(header::HeaderName, &'static str)]) -> Response {
        let fields = fields.iter().cloned();
        let headers = fields.map(|(name, value)| (name, HeaderValue::from_static(value)));
        // As the router hands them on: it has counted already.
        let own = [
            (header::CONTENT_TYPE, "text/javascript".to_owned()),
            (header::CONTENT_LENGTH, FILE.contents.len().to_string()),
        ];
        Asked::of(&headers.collect()).answered((own, FILE.contents).into_response(), FILE)
    }

    async fn body(response: Response) -> Vec<u8> {
        let body = response.into_body().collect().await;
        body.unwrap().to_bytes().to_vec()
    }

    #[tokio::test]
    async fn who_takes_gzip_gets_it_and_others_the_file() {
        let plain = asked(&[]);
        assert_eq!(plain.headers().get(header::CONTENT_ENCODING), None);
        assert_eq!(body(plain).await, FILE.contents);
        let small = asked(&[(header::ACCEPT_ENCODING, "br, gzip;q=0.5")]);
        assert_eq!(small.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(small.headers()[header::VARY], "accept-encoding");
        assert_eq!(small.headers().get(header::CONTENT_LENGTH), None);
        let small = body(small).await;
        assert!(small.len() < FILE.contents.len());
        let mut text = Vec::new();
        GzDecoder::new(&small[..]).read_to_end(&mut text).unwrap();
        assert_eq!(text, FILE.contents);
    }

    #[tokio::test]
    async fn who_has_the_file_is_told_so() {
        let tag = asked(&[]).headers()[header::ETAG].clone();
        let tag: &'static str = String::from(tag.to_str().unwrap()).leak();
        let again = asked(&[
            (header::IF_NONE_MATCH, tag),
            (header::ACCEPT_ENCODING, "gzip"),
        ]);
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(again.headers()[header::ETAG], tag);
        assert_eq!(again.headers().get(header::CONTENT_LENGTH), None);
        assert_eq!(again.headers().get(header::CONTENT_ENCODING), None);
        assert!(body(again).await.is_empty());
        let other = asked(&[(header::IF_NONE_MATCH, "\"a\", W/\"b\"")]);
        assert_eq!(other.status(), StatusCode::OK);
    }

    #[test]
    fn what_is_accepted_is_read_with_its_quality() {
        for text in ["gzip", "deflate, GZIP", "gzip; q=0.1", "gzip;q=1"] {
            assert!(accepts_gzip(text), "{text}");
        }
        for text in ["", "identity", "gzip;q=0", "gzip; q=0.000, br", "xgzip"] {
            assert!(!accepts_gzip(text), "{text}");
        }
    }
}
