//! Failures with curl's exit codes (curl(1), EXIT CODES).

/// A failure as it is reported.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: u8,
    pub(super) text: String,
}

pub(super) const UNSUPPORTED_PROTOCOL: u8 = 1;
pub(super) const USAGE: u8 = 2;
pub(super) const BAD_URL: u8 = 3;
pub(super) const NO_SUCH_HOST: u8 = 6;
pub(super) const NO_CONNECTION: u8 = 7;
pub(super) const NOT_HTTP: u8 = 8;
pub(super) const PARTIAL: u8 = 18;
pub(super) const HTTP_ERROR: u8 = 22;
pub(super) const WRITE: u8 = 23;
pub(super) const READ: u8 = 26;
pub(super) const TIMEOUT: u8 = 28;
pub(super) const EMPTY_REPLY: u8 = 52;
pub(super) const SEND: u8 = 55;
pub(super) const RECEIVE: u8 = 56;

/// A failure with this code.
pub(super) fn failure(code: u8, text: impl Into<String>) -> Failure {
    Failure {
        code,
        text: text.into(),
    }
}
