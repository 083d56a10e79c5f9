//! Task: the pod shim, which holds a pod's namespaces and parents its containers.
#![warn(missing_docs)]

mod cgroup;
mod client;
mod error;
mod failure;
mod image;
mod init;
mod protocol;
mod secrets;
mod shim;
mod spec;
mod state;
mod sys;
mod timestamp;
mod wire;

pub use client::{Exec, ExecIo, Launcher, Shim, adopt, cleanup, create, reset};
pub use error::{Error, Result};
pub use image::{Image, ImageError, resolve_image};
pub use shim::shim_main;
pub use spec::{
    Capabilities, ContainerSpec, ExecSpec, Limits, Mount, SandboxSpec, exit_path, log_path,
};
pub use state::{ContainerState, Exit, ExitRecord, ShimEvent, ShimState, Started};
