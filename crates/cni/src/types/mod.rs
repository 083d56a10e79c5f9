//! The words of the CNI specification: parameters, configuration, results, errors.
//!
//! One form of the result serves all versions, since each later version only
//! adds fields (1.0.0 also takes one away); it is narrowed when it is written.

mod conf;
mod error;
mod params;
mod result;
mod version;

pub use conf::{Mode, PluginConf, Refused, ValidAttachment, is_valid_identifier};
pub use error::{CniError, code};
pub use params::{Command, Params, attachment_faults};
pub use result::{AddResult, Dns, Interface, IpConfig, Route};
pub use version::{UnsupportedVersion, Version};

/// The capability by which containerd hands a pod's annotations to plugins, and `sealane node` too.
pub const POD_ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";
