//! The cluster's certificate authority.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;

use super::inspect::{self, Verdict};
use super::{AUTHORITY, Pair, PkiError, Request, Usage, file};
use crate::layout::Layout;
use crate::owner::Owner;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const AUTHORITY_LIFETIME: Duration = DAY.saturating_mul(3650);
const LIFETIME: Duration = DAY.saturating_mul(365);
/// Certificates count from a while ago, for clients whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// A certificate authority that can sign.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The authority on disk, unless it is missing, broken or near its end.
    pub fn load(layout: &Layout, now: OffsetDateTime) -> Result<Option<Self>, PkiError> {
        let Some(pair) = Pair::read(layout, AUTHORITY)? else {
            return Ok(None);
        };
        match inspect::authority(&pair, now) {
            Verdict::Good => {}
            Verdict::Bad(why) => {
                tracing::info!("certificate authority is made anew: {why}");
                return Ok(None);
            }
        }
        let issuer = KeyPair::from_pem(&pair.key)
            .and_then(|key| Issuer::from_ca_cert_pem(&pair.certificate, key));
        Ok(issuer.ok().map(|issuer| Self {
            pem: pair.certificate,
            issuer,
        }))
    }

    /// A new authority, written to disk.
    pub fn make(layout: &Layout, now: OffsetDateTime) -> Result<Self, PkiError> {
        let failed = |source| PkiError::Make {
            name: AUTHORITY.to_owned(),
            source,
        };
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(&format!("sealane-{}", layout.name), None);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (now - BACKDATED, now + AUTHORITY_LIFETIME);
        let pem = params.self_signed(&key).map_err(failed)?.pem();
        file::write(
            &layout.key(AUTHORITY),
            &key.serialize_pem(),
            0o600,
            Owner::Root,
        )?;
        // The certificate is public: every role verifies its peers with it.
        file::write(&layout.certificate(AUTHORITY), &pem, 0o644, Owner::Root)?;
        Ok(Self {
            pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority's certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The certificate on disk, if it still serves the request.
    pub fn load_pair(
        &self,
        layout: &Layout,
        request: &Request,
        now: OffsetDateTime,
    ) -> Result<Option<Pair>, PkiError> {
        let Some(pair) = Pair::read(layout, &request.file)? else {
            return Ok(None);
        };
        match inspect::leaf(&pair, request, &self.pem, now) {
            Verdict::Good => Ok(Some(pair)),
            Verdict::Bad(why) => {
                tracing::info!("certificate {} is made anew: {why}", request.file);
                Ok(None)
            }
        }
    }

    /// A new certificate, written to disk.
    pub fn issue(
        &self,
        layout: &Layout,
        request: &Request,
        now: OffsetDateTime,
    ) -> Result<Pair, PkiError> {
        let failed = |source| PkiError::Make {
            name: request.file.clone(),
            source,
        };
        let key = KeyPair::generate().map_err(failed)?;
        let params = leaf_params(request, now).map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?.pem();
        let pair = Pair {
            certificate,
            key: key.serialize_pem(),
        };
        pair.write(layout, &request.file, request.owner)?;
        Ok(pair)
    }
}

fn leaf_params(request: &Request, now: OffsetDateTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(&request.common_name, request.organisation);
    for name in &request.names {
        params
            .subject_alt_names
            .push(SanType::DnsName(name.as_str().try_into()?));
    }
    params
        .subject_alt_names
        .extend(request.addresses.iter().copied().map(SanType::IpAddress));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match request.usage {
        Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
        Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (now - BACKDATED, now + LIFETIME);
    Ok(params)
}

fn subject(common_name: &str, organisation: Option<&str>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    if let Some(organisation) = organisation {
        subject.push(DnType::OrganizationName, organisation);
    }
    subject.push(DnType::CommonName, common_name);
    subject
}
