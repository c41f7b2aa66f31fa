//! What sends requests: as `object_store` would, but for redirections, which are followed and counted elsewhere.
//!
//! `object_store` keeps what it makes of its settings to itself; a client with settings of our own has to read them.

use std::str::FromStr;
use std::time::Duration;

use object_store::client::HttpClient;
use object_store::{ClientConfigKey as Key, ClientOptions};
use reqwest::redirect::Policy;
use reqwest::tls::Certificate;
use reqwest::{ClientBuilder, NoProxy, Proxy};

/// Makes a client of the settings of `object_store`, but for `randomize_addresses`, which changes nothing, and headers
/// that each request is to have.
pub(super) fn client(options: &ClientOptions) -> object_store::Result<HttpClient> {
    let settings = Settings(options);
    let agent = settings.text(Key::UserAgent);
    let own = concat!("phenocoder-io/", env!("CARGO_PKG_VERSION"));
    let mut builder = ClientBuilder::new()
        .redirect(Policy::none())
        .user_agent(agent.unwrap_or_else(|| own.to_owned()))
        .https_only(!settings.flag(Key::AllowHttp)?)
        // What is packed has another length than the server tells.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate();
    if let Some(proxy) = settings.text(Key::ProxyUrl) {
        let mut proxy = Proxy::all(proxy).map_err(failed)?;
        if let Some(certificate) = settings.text(Key::ProxyCaCertificate) {
            let certificate = Certificate::from_pem(certificate.as_bytes()).map_err(failed)?;
            builder = builder.tls_certs_merge([certificate]);
        }
        if let Some(direct) = settings.text(Key::ProxyExcludes) {
            proxy = proxy.no_proxy(NoProxy::from_string(&direct));
        }
        builder = builder.proxy(proxy);
    }
    if settings.flag(Key::NoSystemCertificates)? {
        builder = builder.tls_certs_only([]);
    }
    if settings.flag(Key::AllowInvalidCertificates)? {
        builder = builder.danger_accept_invalid_certs(true);
    }
    if let Some(time) = settings.time(Key::Timeout)? {
        builder = builder.timeout(time);
    }
    if let Some(time) = settings.time(Key::ConnectTimeout)? {
        builder = builder.connect_timeout(time);
    }
    if let Some(time) = settings.time(Key::ReadTimeout)? {
        builder = builder.read_timeout(time);
    }
    if let Some(time) = settings.time(Key::PoolIdleTimeout)? {
        builder = builder.pool_idle_timeout(time);
    }
    if let Some(most) = settings.number(Key::PoolMaxIdlePerHost)? {
        builder = builder.pool_max_idle_per_host(most);
    }
    if let Some(time) = settings.time(Key::Http2KeepAliveInterval)? {
        builder = builder.http2_keep_alive_interval(time);
    }
    if let Some(time) = settings.time(Key::Http2KeepAliveTimeout)? {
        builder = builder.http2_keep_alive_timeout(time);
    }
    if settings.flag(Key::Http2KeepAliveWhileIdle)? {
        builder = builder.http2_keep_alive_while_idle(true);
    }
    if let Some(size) = settings.number::<u32>(Key::Http2MaxFrameSize)? {
        builder = builder.http2_max_frame_size(size);
    }
    if settings.flag(Key::Http1Only)? {
        builder = builder.http1_only();
    }
    if settings.flag(Key::Http2Only)? {
        builder = builder.http2_prior_knowledge();
    }
    Ok(HttpClient::new(builder.build().map_err(failed)?))
}

fn failed(error: reqwest::Error) -> object_store::Error {
    object_store::Error::Generic {
        store: "HTTP client",
        source: error.without_url().into(),
    }
}

/// Settings as text, which is how they can be read.
struct Settings<'a>(&'a ClientOptions);

impl Settings<'_> {
    fn text(&self, key: Key) -> Option<String> {
        self.0.get_config_value(&key)
    }

    fn parsed<T>(
        &self,
        key: Key,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> object_store::Result<Option<T>> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        match parse(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(object_store::Error::Generic {
                store: "HTTP client",
                source: format!("the setting `{}` cannot be `{text}`", key.as_ref()).into(),
            }),
        }
    }

    fn flag(&self, key: Key) -> object_store::Result<bool> {
        let flag = self.parsed(key, |text| match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "on" | "yes" | "y" => Some(true),
            "0" | "false" | "off" | "no" | "n" => Some(false),
            _ => None,
        })?;
        Ok(flag.unwrap_or_default())
    }

    fn time(&self, key: Key) -> object_store::Result<Option<Duration>> {
        self.parsed(key, |text| humantime::parse_duration(text).ok())
    }

    fn number<T: FromStr>(&self, key: Key) -> object_store::Result<Option<T>> {
        self.parsed(key, |text| text.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_they_were_given() {
        let options = ClientOptions::new()
            .with_timeout(Duration::from_millis(1500))
            .with_config(Key::ConnectTimeout, "2m")
            .with_config(Key::AllowHttp, "on")
            .with_config(Key::Http2MaxFrameSize, "65536");
        let settings = Settings(&options);
        let time = |key| settings.time(key).unwrap();
        assert_eq!(time(Key::Timeout), Some(Duration::from_millis(1500)));
        assert_eq!(time(Key::ConnectTimeout), Some(Duration::from_secs(120)));
        assert_eq!(time(Key::ReadTimeout), None);
        assert!(settings.flag(Key::AllowHttp).unwrap());
        assert!(!settings.flag(Key::Http2Only).unwrap());
        assert_eq!(
            settings.number::<u32>(Key::Http2MaxFrameSize).unwrap(),
            Some(65536)
        );
        client(&options).unwrap();
        for (key, bad) in [
            (Key::Timeout, "soon"),
            (Key::AllowHttp, "perhaps"),
            (Key::PoolMaxIdlePerHost, "-1"),
        ] {
            let options = ClientOptions::new().with_config(key, bad);
            let refused = client(&options).unwrap_err().to_string();
            assert!(
                refused.contains(key.as_ref()) && refused.contains(bad),
                "{refused}"
            );
        }
    }
}
