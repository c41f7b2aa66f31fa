//! The connection to a server: its settings, a budget of requests, and what its address keeps secret.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::{
    ClientConfigKey, ClientOptions, HeaderMap, HeaderValue, ObjectStore, ObjectStoreScheme,
    RetryConfig,
};
use percent_encoding::percent_decode_str;
use url::Url;

use super::{client, redirect};
use crate::OpenOptions;

/// The most bytes that are read of what a server says when it refuses.
const MOST_ERROR: usize = 64 << 10;

/// How many requests were sent, and how many may be.
///
/// Each attempt counts: retries, redirections, pages of listings, deletions, parts of uploads, and requests for
/// credentials.
#[derive(Debug, Default)]
pub(super) struct Budget {
    state: AtomicU64,
    limit: Option<u64>,
}

/// The source of the error of a request that was not sent.
#[derive(Debug)]
pub(super) struct UsedUp;

impl fmt::Display for UsedUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the budget of requests is used up")
    }
}

impl StdError for UsedUp {}

impl Budget {
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self {
            state: AtomicU64::new(0),
            limit,
        }
    }

    pub(super) fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// How many requests were sent or are kept.
    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.state.load(Ordering::Relaxed)
    }

    /// Takes `n` requests out of the budget; none when it does not hold so many.
    pub(super) fn take(&self, n: u64) -> bool {
        let limit = self.limit.unwrap_or(u64::MAX);
        let taken = self
            .state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(n).filter(|used| *used <= limit)
            });
        taken.is_ok()
    }

    /// Takes one request, of what was kept where it belongs to a change that was begun.
    pub(super) fn take_one(&self) -> bool {
        let kept = KEPT.try_with(|kept| kept.as_ref().map(|kept| kept.spend()));
        kept.ok().flatten().is_some() || self.take(1)
    }

    /// Puts back what was taken and not needed.
    fn put_back(&self, n: u64) {
        self.state.fetch_sub(n, Ordering::Relaxed);
    }
}

tokio::task_local! {
    /// What was kept for the change that the request belongs to.
    static KEPT: Option<Arc<Kept>>;
}

/// Requests that are kept for a change, which would be bad to end in the middle.
///
/// What a change that was begun needs beyond them, since requests had to be repeated or it took long, is counted and never
/// refused.
#[derive(Debug)]
pub(crate) struct Kept {
    budget: Arc<Budget>,
    left: AtomicU64,
}

impl Kept {
    /// Keeps `n` requests; none when the budget does not hold so many.
    pub(super) fn of(budget: &Arc<Budget>, n: u64) -> Option<Self> {
        budget.take(n).then(|| Self {
            budget: Arc::clone(budget),
            left: AtomicU64::new(n),
        })
    }

    /// Keeps `n` requests more; none when the budget does not hold so many.
    pub(super) fn more(&self, n: u64) -> bool {
        let taken = self.budget.take(n);
        if taken {
            self.left.fetch_add(n, Ordering::Relaxed);
        }
        taken
    }

    fn spend(&self) {
        let left = |left: u64| left.checked_sub(1);
        let spent = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        if spent.is_err() {
            self.budget.state.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Does something whose requests are taken from what was kept, or from the budget.
    pub(super) async fn spent_by<T>(kept: Option<Arc<Self>>, work: impl Future<Output = T>) -> T {
        KEPT.scope(kept, work).await
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.budget.put_back(self.left.load(Ordering::Relaxed));
    }
}

/// Whether an error goes back to one of a type.
pub(super) fn is_caused_by<T: StdError + 'static>(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<T>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Connects as `object_store` does, and counts what is sent.
#[derive(Debug)]
struct Counting {
    budget: Arc<Budget>,
    /// What each address of plain HTTP ends in, such as `token=…`.
    query: Option<Query>,
}

/// A query, which may be secret.
#[derive(Clone)]
struct Query(String);

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl HttpConnector for Counting {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(CountingClient {
            client: client::client(options)?,
            headers: options.get_default_headers().cloned().unwrap_or_default(),
            budget: Arc::clone(&self.budget),
            query: self.query.clone(),
        }))
    }
}

#[derive(Debug)]
struct CountingClient {
    client: HttpClient,
    /// What each request has.
    headers: HeaderMap,
    budget: Arc<Budget>,
    query: Option<Query>,
}

impl CountingClient {
    /// Sends a request, where the server says so to another place too; each counts.
    async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Some(Query(query)) = &self.query {
            let separator = if request.uri().query().is_some() {
                '&'
            } else {
                '?'
            };
            let uri = format!("{}{separator}{query}", request.uri());
            *request.uri_mut() = uri
                .parse()
                .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        }
        for (name, value) in &self.headers {
            let entry = request.headers_mut().entry(name);
            entry.or_insert_with(|| value.clone());
        }
        for _ in 0..=redirect::MOST {
            if !self.budget.take_one() {
                return Err(HttpError::new(HttpErrorKind::Unknown, UsedUp));
            }
            let response = self.client.execute(request.clone()).await?;
            match redirect::follow(request, &response)? {
                Some(next) => request = next,
                None => return bounded(response).await,
            }
        }
        Err(HttpError::new(
            HttpErrorKind::Unknown,
            redirect::TooManyRedirections,
        ))
    }
}

/// The response, with the beginning of what it says where it is an error: `object_store` reads that as a whole.
async fn bounded(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    if response.status().is_success() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let (mut bytes, mut sent) = (Vec::new(), body.bytes_stream());
    while let Some(part) = sent.try_next().await? {
        let room = MOST_ERROR - bytes.len();
        bytes.extend_from_slice(&part[..part.len().min(room)]);
        if bytes.len() == MOST_ERROR {
            break;
        }
    }
    // What is cut within a letter would be none.
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(HttpResponse::from_parts(parts, text.into()))
}

impl HttpService for CountingClient {
    fn call<'life0, 'async_trait>(
        &'life0 self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.send(request))
    }
}

/// How many files one request removes.
///
/// What `object_store` packs into one: S3's `DeleteObjects`, unless it is not to be used, and Azure's batches.
pub(super) fn removed_at_once(scheme: &ObjectStoreScheme, options: &OpenOptions) -> u64 {
    let one_by_one = options.storage_options.iter().any(|(name, _)| {
        name.eq_ignore_ascii_case("aws_disable_bulk_delete")
            || name.eq_ignore_ascii_case("disable_bulk_delete")
    });
    match scheme {
        ObjectStoreScheme::AmazonS3 if !one_by_one => 1000,
        ObjectStoreScheme::MicrosoftAzure => 256,
        _ => 1,
    }
}

/// Connects to the server at an address.
pub(super) fn build(
    url: &Url,
    scheme: ObjectStoreScheme,
    options: &OpenOptions,
    budget: &Arc<Budget>,
) -> object_store::Result<Arc<dyn ObjectStore>> {
    let retry = RetryConfig {
        max_retries: options.max_retries,
        retry_timeout: options.request_timeout.saturating_mul(2),
        ..RetryConfig::default()
    };
    let client = ClientOptions::new()
        .with_timeout(options.request_timeout)
        .with_connect_timeout(options.request_timeout.min(Duration::from_secs(10)));
    let is_http = scheme == ObjectStoreScheme::Http;
    let has_secrets = url.password().is_some() || url.query().is_some();
    if has_secrets && !is_http {
        return Err(object_store::Error::NotSupported {
            source: "an address with a password or a query: pass credentials as storage options"
                .into(),
        });
    }
    let query = url.query().filter(|_| is_http);
    let connector = Counting {
        budget: Arc::clone(budget),
        query: query.map(|query| Query(query.to_owned())),
    };
    let settings = options.storage_options.iter();
    let settings = settings.map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    macro_rules! configured {
        ($builder:expr) => {{
            let mut builder = $builder
                .with_url(url.to_string())
                .with_client_options(client)
                .with_http_connector(connector)
                .with_retry(retry);
            for (name, value) in settings {
                builder = builder.with_config(name.parse()?, value);
            }
            Arc::new(builder.build()?) as Arc<dyn ObjectStore>
        }};
    }
    Ok(match scheme {
        ObjectStoreScheme::AmazonS3 => configured!(AmazonS3Builder::from_env()),
        ObjectStoreScheme::GoogleCloudStorage => configured!(GoogleCloudStorageBuilder::from_env()),
        ObjectStoreScheme::MicrosoftAzure => configured!(MicrosoftAzureBuilder::from_env()),
        ObjectStoreScheme::Http => {
            let host = &url[url::Position::BeforeHost..url::Position::BeforePath];
            let root = format!("{}://{host}", url.scheme());
            let plain = url.scheme() == "http";
            let mut client = client.with_config(ClientConfigKey::AllowHttp, plain.to_string());
            if let Some(headers) = authorization(url) {
                client = client.with_default_headers(headers);
            }
            let mut builder = HttpBuilder::new()
                .with_url(root)
                .with_client_options(client)
                .with_http_connector(connector)
                .with_retry(retry);
            for (name, value) in settings {
                builder = builder.with_config(name.parse()?, value);
            }
            Arc::new(builder.build()?)
        }
        _ => {
            return Err(object_store::Error::NotSupported {
                source: "only s3, gs, az, http and https addresses are read".into(),
            });
        }
    })
}

/// The header that says who asks, where the address does.
fn authorization(url: &Url) -> Option<HeaderMap> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut who: Vec<u8> = percent_decode_str(url.username()).collect();
    who.push(b':');
    who.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(who))).ok()?;
    value.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert("authorization", value);
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_never_exceeded_but_for_a_change_that_was_begun() {
        let budget = Arc::new(Budget::new(Some(5)));
        let kept = Arc::new(Kept::of(&budget, 2).unwrap());
        assert!(kept.more(1) && !kept.more(3) && Kept::of(&budget, 3).is_none());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let ask = |kept: Option<&Arc<Kept>>| {
            let work = async { budget.take_one() };
            runtime.block_on(Kept::spent_by(kept.cloned(), work))
        };
        // Others do not take what is kept.
        assert!(ask(None) && budget.take_one() && !ask(None) && !budget.take_one());
        assert!((0..4).all(|_| ask(Some(&kept))));
        assert_eq!(budget.used(), 6);
        drop(kept);
        assert!(!budget.take_one());
        // What was not needed is given back.
        let budget = Arc::new(Budget::new(Some(3)));
        drop(Kept::of(&budget, 3).unwrap());
        assert!(budget.take(3) && !budget.take(1));
        assert!(Budget::new(None).take(1 << 60));
    }

    #[test]
    fn who_asks_is_told_in_a_header() {
        let header = |address: &str| authorization(&Url::parse(address).unwrap());
        assert_eq!(header("https://host/a"), None);
        // `Aladdin:open sesame`, the example of RFC 7617.
        let headers = header("https://Aladdin:open%20sesame@host/a").unwrap();
        assert_eq!(
            headers["authorization"],
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
    }
}
