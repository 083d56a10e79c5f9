//! Whom a registry is told that we are.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use sealane_image::{Keyring, Reference};

/// Where credentials come from. Never from the command line, which everybody can read.
#[derive(Debug, clap::Args)]
pub struct Credentials {
    /// Credentials as Docker keeps them, or `-` for the standard input, one document on each line;
    /// the content of a Secret will do [default: $DOCKER_CONFIG/config.json or
    /// ~/.docker/config.json, if there is one].
    #[arg(long, value_name = "FILE")]
    docker_config: Option<PathBuf>,

    /// Name for this registry.
    #[arg(long, value_name = "USER", requires = "password_stdin")]
    username: Option<String>,

    /// Read the password from the standard input.
    #[arg(long, requires = "username", conflicts_with = "docker_config")]
    password_stdin: bool,
}

impl Credentials {
    /// All that we know.
    pub fn keyring(&self, image: &Reference) -> anyhow::Result<Keyring> {
        let mut keyring = Keyring::default();
        match &self.docker_config {
            Some(dash) if dash == Path::new("-") => {
                for document in standard_input()?
                    .lines()
                    .filter(|line| !line.trim().is_empty())
                {
                    keyring
                        .add(document.as_bytes())
                        .context("read credentials from the standard input")?;
                }
            }
            Some(path) => add(&mut keyring, path)?,
            None => {
                if let Some(path) = default_file().filter(|path| path.exists()) {
                    add(&mut keyring, &path)?;
                }
            }
        }
        if let Some(user) = &self.username {
            let password = standard_input()?;
            let password = password.trim_end_matches(['\n', '\r']);
            ensure!(
                !password.is_empty(),
                "read the password: the standard input is empty"
            );
            keyring.add_password(image.registry(), user, password);
        }
        Ok(keyring)
    }
}

fn add(keyring: &mut Keyring, path: &Path) -> anyhow::Result<()> {
    let bytes = fs::read(path).with_context(|| format!("read credentials {}", path.display()))?;
    keyring
        .add(&bytes)
        .with_context(|| format!("read credentials {}", path.display()))
}

fn standard_input() -> anyhow::Result<String> {
    let mut text = String::new();
    io::stdin()
        .read_to_string(&mut text)
        .context("read the standard input")?;
    Ok(text)
}

fn default_file() -> Option<PathBuf> {
    let dir = match std::env::var_os("DOCKER_CONFIG") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".docker"),
    };
    Some(dir.join("config.json"))
}
