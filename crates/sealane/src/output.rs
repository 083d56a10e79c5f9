//! Results, for people or for programs.

use clap::ValueEnum;
use serde::Serialize;

/// Forms of a result for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON, indented.
    Json,
    /// YAML.
    Yaml,
}

impl Format {
    /// Prints a value in this form.
    ///
    /// # Errors
    /// When the value cannot be written in it.
    pub fn print(self, value: &impl Serialize) -> anyhow::Result<()> {
        match self {
            Format::Json => println!("{}", serde_json::to_string_pretty(value)?),
            Format::Yaml => print!("{}", serde_yaml_ng::to_string(value)?),
        }
        Ok(())
    }
}
