//! One file for each command.

pub mod agent;
pub mod apiserver;
pub mod completions;
pub mod controllers;
pub mod dns;
pub mod down;
pub mod image;
pub mod ipam;
pub mod kubeconfig;
pub mod node;
pub mod status;
pub mod supervise;
pub mod trace;
pub mod up;
