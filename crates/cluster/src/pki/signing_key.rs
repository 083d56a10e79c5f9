//! The key that signs the tokens of service accounts: ECDSA P-256, read by the
//! API server alone. It stays as long as it can be read, for with another every
//! token in every pod would be void; a state directory of before there were
//! tokens gets one.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};

use super::{PkiError, SERVICE_ACCOUNTS, file};
use crate::layout::Layout;
use crate::owner::Owner;

/// Makes the key unless there is one; whether it was made.
pub fn ensure(layout: &Layout) -> Result<bool, PkiError> {
    let path = layout.key(SERVICE_ACCOUNTS);
    if file::read(&path)?.is_some_and(|pem| is_usable(&pem)) {
        return Ok(false);
    }
    let key = KeyPair::generate().map_err(|source| PkiError::Make {
        name: SERVICE_ACCOUNTS.to_owned(),
        source,
    })?;
    file::write(&path, &key.serialize_pem(), 0o600, Owner::Apiserver)?;
    Ok(true)
}

fn is_usable(pem: &str) -> bool {
    KeyPair::from_pem(pem).is_ok_and(|key| key.is_compatible(&PKCS_ECDSA_P256_SHA256))
}
