//! Requests that a server sends to another place.

use std::error::Error as StdError;
use std::fmt;

use object_store::HeaderMap;
use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpResponse};
use reqwest::header::{self, HeaderName};
use reqwest::{Method, StatusCode};
use url::Url;

/// How many redirections of one request are followed.
pub(super) const MOST: usize = 10;

/// What another host is told: what is asked for, and nothing of who asks.
///
/// Beside `Authorization`, services have headers of their own for that, such as `x-amz-security-token` and the keys of
/// `x-amz-server-side-encryption-customer-key`.
const HARMLESS: [HeaderName; 10] = [
    header::ACCEPT,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
    header::USER_AGENT,
];

/// The source of the error of a request that was sent from place to place.
#[derive(Debug)]
pub(super) struct TooManyRedirections;

impl fmt::Display for TooManyRedirections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {MOST} redirections")
    }
}

impl StdError for TooManyRedirections {}

/// What is to be sent in place of a request, where the server says so.
///
/// It has the method of the request. Where the Fetch standard has a `GET` sent for another one, nothing is: that it
/// succeeds would be taken for the success of a write.
pub(super) fn follow(
    mut request: HttpRequest,
    response: &HttpResponse,
) -> Result<Option<HttpRequest>, HttpError> {
    let method = request.method();
    let is_followed = match response.status() {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => method != Method::POST,
        StatusCode::SEE_OTHER => method == Method::GET || method == Method::HEAD,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        _ => false,
    };
    if !is_followed {
        return Ok(None);
    }
    let Some(place) = response.headers().get(header::LOCATION) else {
        return Ok(None);
    };
    let from = Url::parse(&request.uri().to_string()).map_err(unknown)?;
    let place = std::str::from_utf8(place.as_bytes()).map_err(unknown)?;
    let to = from.join(place).map_err(unknown)?;
    if from.origin() != to.origin() {
        *request.headers_mut() = harmless(request.headers());
    }
    *request.uri_mut() = to.as_str().parse().map_err(unknown)?;
    Ok(Some(request))
}

fn harmless(headers: &HeaderMap) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| HARMLESS.contains(name));
    kept.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn unknown(error: impl StdError + Send + Sync + 'static) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(method: Method, status: u16, place: &str) -> Option<HttpRequest> {
        let mut request = HttpRequest::new("body".to_owned().into());
        *request.method_mut() = method;
        *request.uri_mut() = "https://host/a/b?c".parse().unwrap();
        for name in [
            "authorization",
            "range",
            "x-amz-security-token",
            "content-length",
        ] {
            request.headers_mut().insert(name, "4".parse().unwrap());
        }
        let mut response = HttpResponse::new(Vec::new().into());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        if !place.is_empty() {
            let place = place.parse().unwrap();
            response.headers_mut().insert(header::LOCATION, place);
        }
        follow(request, &response).unwrap()
    }

    #[test]
    fn the_same_host_learns_all_and_another_what_is_asked_for() {
        for (place, uri, headers) in [
            ("../d", "https://host/d", 4),
            ("https://host:443/d", "https://host/d", 4),
            ("http://host/d", "http://host/d", 2),
            ("https://host:8443/", "https://host:8443/", 2),
            ("//other/d", "https://other/d", 2),
        ] {
            let next = followed(Method::PUT, 307, place).unwrap();
            assert_eq!(next.uri().to_string(), uri);
            assert_eq!(next.method(), Method::PUT);
            assert_eq!(next.headers().len(), headers, "{place}");
            assert_eq!(next.body().content_length(), 4);
        }
    }

    #[test]
    fn a_request_is_the_same_elsewhere_or_not_sent_there() {
        for (method, status) in [
            (Method::GET, 301),
            (Method::GET, 303),
            (Method::HEAD, 303),
            (Method::PUT, 301),
            (Method::DELETE, 302),
            (Method::POST, 307),
            (Method::POST, 308),
        ] {
            let next = followed(method.clone(), status, "/d").unwrap();
            assert_eq!(next.method(), method);
            assert_eq!(next.body().content_length(), 4);
        }
        // What another method than that of the request answers says nothing of the request.
        for (method, status) in [
            (Method::PUT, 303),
            (Method::DELETE, 303),
            (Method::POST, 301),
            (Method::POST, 302),
            (Method::POST, 303),
        ] {
            assert!(followed(method, status, "/d").is_none());
        }
        for (status, place) in [(304, "/d"), (300, "/d"), (200, "/d"), (307, "")] {
            assert!(followed(Method::GET, status, place).is_none());
        }
    }
}
