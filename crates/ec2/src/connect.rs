use std::time::{Duration, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::imds;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use tokio::sync::Mutex;

use crate::Error;

/// Credentials are asked for again this long before they expire.
const BEFORE_EXPIRY: Duration = Duration::from_secs(300);
const INSTANCE_ID: &str = "/latest/meta-data/instance-id";

/// Where this machine is; what is not given is found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Such as `eu-central-1`.
    pub region: Option<String>,
    /// `i-…`
    pub instance: Option<String>,
    /// Where EC2 is asked, `https://ec2.REGION.amazonaws.com` without it.
    pub endpoint: Option<String>,
    /// Where the machine's metadata are asked, `http://169.254.169.254` without it.
    pub metadata: Option<String>,
}

/// A client of EC2, for one machine.
#[derive(Debug)]
pub struct Ec2 {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) instance: String,
    pub(crate) connector: SharedHttpConnector,
    credentials: SharedCredentialsProvider,
    cached: Mutex<Option<Credentials>>,
}

impl Ec2 {
    /// Finds out where this machine is. EC2 is not asked yet.
    ///
    /// # Errors
    /// [`Error::Place`] when region or instance id is neither given nor told by IMDS.
    pub async fn connect(place: &Place) -> Result<Self, Error> {
        // One provider of cryptography for all of this program.
        let tls = || Provider::Rustls(CryptoMode::Ring);
        let config = ProviderConfig::without_region()
            .with_http_client(Builder::new().tls_provider(tls()).build_https());
        let metadata = metadata(place, &config)?;
        let region = region(place, &metadata).await?;
        let config = config.with_region(Some(aws_config::Region::new(region.clone())));
        let chain = DefaultCredentialsChain::builder()
            .configure(config)
            .imds_client(metadata.clone());
        Ok(Self {
            endpoint: place.endpoint.clone().unwrap_or_else(|| endpoint(&region)),
            region,
            instance: instance(place, &metadata).await?,
            connector: SharedHttpConnector::new(Connector::builder().tls_provider(tls()).build()),
            credentials: SharedCredentialsProvider::new(chain.build().await),
            cached: Mutex::default(),
        })
    }

    /// The machine's id.
    pub fn instance_id(&self) -> &str {
        &self.instance
    }

    pub(crate) async fn credentials(&self) -> Result<Credentials, Error> {
        let mut cached = self.cached.lock().await;
        let soon = SystemTime::now() + BEFORE_EXPIRY;
        let lasts = |credentials: &&Credentials| credentials.expiry().is_none_or(|at| at > soon);
        if let Some(credentials) = cached.as_ref().filter(lasts) {
            return Ok(credentials.clone());
        }
        let found = self.credentials.provide_credentials().await;
        let found = found.map_err(|error| Error::Credentials {
            cause: explained(&error),
        })?;
        *cached = Some(found.clone());
        Ok(found)
    }
}

fn metadata(place: &Place, config: &ProviderConfig) -> Result<imds::Client, Error> {
    let builder = imds::Client::builder().configure(config);
    let Some(endpoint) = &place.metadata else {
        return Ok(builder.build());
    };
    let builder = builder.endpoint(endpoint).map_err(|error| Error::Place {
        what: "the metadata",
        cause: format!("{endpoint:?}: {error}"),
        flag: "--ec2-instance",
    })?;
    Ok(builder.build())
}

async fn region(place: &Place, metadata: &imds::Client) -> Result<String, Error> {
    if let Some(region) = &place.region {
        return Ok(region.clone());
    }
    let by_metadata = ImdsRegionProvider::builder().imds_client(metadata.clone());
    let chain = RegionProviderChain::first_try(
        aws_config::environment::region::EnvironmentVariableRegionProvider::new(),
    )
    .or_else(by_metadata.build());
    match chain.region().await {
        Some(region) => Ok(region.to_string()),
        None => Err(Error::Place {
            what: "the region",
            cause: "no answer, and neither AWS_REGION nor AWS_DEFAULT_REGION is set".into(),
            flag: "--ec2-region",
        }),
    }
}

async fn instance(place: &Place, metadata: &imds::Client) -> Result<String, Error> {
    if let Some(instance) = &place.instance {
        return Ok(instance.clone());
    }
    let told = metadata.get(INSTANCE_ID).await;
    told.map(String::from).map_err(|error| Error::Place {
        what: "the instance id",
        cause: explained(&error),
        flag: "--ec2-instance",
    })
}

fn endpoint(region: &str) -> String {
    let domain = match region.starts_with("cn-") {
        true => "amazonaws.com.cn",
        false => "amazonaws.com",
    };
    format!("https://ec2.{region}.{domain}")
}

/// An error with all that lies behind it: the crates of AWS say the cause in the source alone.
pub(crate) fn explained(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_follow_the_region() {
        assert_eq!(
            endpoint("eu-central-1"),
            "https://ec2.eu-central-1.amazonaws.com"
        );
        assert_eq!(
            endpoint("cn-north-1"),
            "https://ec2.cn-north-1.amazonaws.com.cn"
        );
    }
}
