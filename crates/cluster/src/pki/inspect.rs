//! Whether a certificate on disk still serves.
//!
//! The certificate itself is asked, not a record of what was once asked for: a
//! record can be right about a file that somebody has replaced.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use rcgen::{KeyPair, PublicKeyData};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

use super::{Pair, Request, Usage};

/// A certificate with less left than this is made anew.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What an inspection found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It serves.
    Good,
    /// It does not, and why.
    Bad(&'static str),
}

/// Inspects an authority.
pub fn authority(pair: &Pair, now: OffsetDateTime) -> Verdict {
    inspect(pair, |certificate| {
        check_times(certificate, now)?;
        check_key(certificate, &pair.key)?;
        check(certificate.is_ca(), "it is no authority")
    })
}

/// Inspects a certificate below the authority.
pub fn leaf(pair: &Pair, request: &Request, authority: &str, now: OffsetDateTime) -> Verdict {
    inspect(pair, |certificate| {
        check_times(certificate, now)?;
        check_key(certificate, &pair.key)?;
        check_signature(certificate, authority)?;
        check_subject(certificate, request)?;
        check_usage(certificate, request.usage)?;
        check_names(certificate, request)
    })
}

type Finding = Result<(), &'static str>;

fn inspect(pair: &Pair, findings: impl FnOnce(&X509Certificate<'_>) -> Finding) -> Verdict {
    let Some(pem) = parse_pem(&pair.certificate) else {
        return Verdict::Bad("it is not PEM");
    };
    let Ok(certificate) = pem.parse_x509() else {
        return Verdict::Bad("it is not a certificate");
    };
    match findings(&certificate) {
        Ok(()) => Verdict::Good,
        Err(why) => Verdict::Bad(why),
    }
}

fn check(holds: bool, otherwise: &'static str) -> Finding {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn parse_pem(text: &str) -> Option<Pem> {
    Pem::iter_from_buffer(text.as_bytes()).next()?.ok()
}

fn check_times(certificate: &X509Certificate<'_>, now: OffsetDateTime) -> Finding {
    let validity = certificate.validity();
    check(
        validity.not_before.to_datetime() <= now,
        "it is not valid yet",
    )?;
    check(
        validity.not_after.to_datetime() > now + RENEW_BEFORE,
        "it ends soon",
    )
}

fn check_key(certificate: &X509Certificate<'_>, key: &str) -> Finding {
    let key = KeyPair::from_pem(key).map_err(|_| "its key cannot be read")?;
    check(
        certificate.public_key().raw == key.subject_public_key_info(),
        "its key is another's",
    )
}

fn check_signature(certificate: &X509Certificate<'_>, authority: &str) -> Finding {
    let pem = parse_pem(authority).ok_or("the authority is not PEM")?;
    let authority = pem
        .parse_x509()
        .map_err(|_| "the authority is not a certificate")?;
    check(
        certificate.issuer() == authority.subject(),
        "another authority signed it",
    )?;
    let verified = certificate.verify_signature(Some(authority.public_key()));
    verified.map_err(|_| "another authority signed it")
}

fn check_subject(certificate: &X509Certificate<'_>, request: &Request) -> Finding {
    let subject = certificate.subject();
    let name = subject
        .iter_common_name()
        .filter_map(|name| name.as_str().ok())
        .next();
    let organisation = subject
        .iter_organization()
        .filter_map(|name| name.as_str().ok())
        .next();
    let same = name == Some(&request.common_name) && organisation == request.organisation;
    check(same, "its subject is another")
}

fn check_usage(certificate: &X509Certificate<'_>, usage: Usage) -> Finding {
    let extension = certificate.extended_key_usage().ok().flatten();
    let fits = extension.is_some_and(|extension| match usage {
        Usage::Server => extension.value.server_auth,
        Usage::Client => extension.value.client_auth,
    });
    check(fits, "it is for another use")
}

fn check_names(certificate: &X509Certificate<'_>, request: &Request) -> Finding {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for name in extension
        .iter()
        .flat_map(|extension| &extension.value.general_names)
    {
        match name {
            GeneralName::DNSName(name) => _ = names.insert((*name).to_owned()),
            GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
            _ => {}
        }
    }
    let same = names == request.names.iter().cloned().collect()
        && addresses == request.addresses.iter().copied().collect();
    check(same, "it has other names")
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
