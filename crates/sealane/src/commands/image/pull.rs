//! `sealane image pull`

mod credentials;
mod progress;
mod registries;

use std::process::ExitCode;

use sealane_image::{Pull, Reference};

use super::{Place, size};
use crate::output::Format;
use progress::Display;

/// The exit code when trying again later may help.
const UNREACHABLE: u8 = 4;

/// Pull an image from a registry.
///
/// Layers that are here are not fetched again, and a pull that was broken off goes on where it
/// was. Plain HTTP is spoken only to this machine's own addresses and to registries that are
/// listed as insecure. Proxies are taken from the environment (HTTPS_PROXY, NO_PROXY).
///
/// Exits with 4 when the registry cannot be reached or is out of order, with 1 when it refuses.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The image: NAME, NAME:TAG or NAME@DIGEST.
    #[arg(value_name = "IMAGE")]
    image: Reference,

    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    credentials: credentials::Credentials,

    #[command(flatten)]
    registries: registries::RegistryFlags,

    /// Print the image for programs.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,

    /// Print nothing but errors.
    #[arg(short, long, conflicts_with = "output")]
    quiet: bool,
}

const EXAMPLES: &str = "\
Examples:
  sealane image pull nginx:1.27
  sealane image pull 127.0.0.1:5000/web@sha256:…
  sealane image pull --registry-mirror docker.io=https://mirror.local:5000 nginx
  echo \"$PASSWORD\" | sealane image pull --username me --password-stdin registry.local/web
  kubectl get secret regcred -o jsonpath='{.data.\\.dockerconfigjson}' | base64 -d |
    sealane image pull --docker-config - registry.local/web

What holds for all pulls, also those of pods, stands in /etc/sealane/registries.yaml:
  ca: [/etc/ssl/corp.pem]
  registries:
    docker.io: {mirrors: [https://mirror.local:5000]}
    registry.local:5000: {insecure: true}";

/// Runs the command.
///
/// # Errors
/// Why the image was not pulled.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let store = args.place.store()?;
    let how = Pull {
        keyring: args.credentials.keyring(&args.image)?,
        registries: args.registries.read()?,
        ..Pull::default()
    };
    let display = Display::new(!args.quiet && args.output.is_none());
    let result = store.pull(&args.image, &how, &|progress| display.show(progress));
    display.end();
    let image = match result {
        Ok(image) => image,
        Err(error) if error.is_unreachable() => {
            eprintln!("error: {error}");
            return Ok(ExitCode::from(UNREACHABLE));
        }
        Err(error) => return Err(error.into()),
    };
    match args.output {
        // A program, such as a node, has a container to start, and settles the store when it has time.
        Some(format) => return format.print(&image).map(|()| ExitCode::SUCCESS),
        None if args.quiet => {}
        None => {
            let name = image.reference.familiar();
            println!(
                "pulled {name}  {}  {}",
                image.id.short(),
                size::bytes(image.size_bytes)
            );
        }
    }
    store.settle()?;
    Ok(ExitCode::SUCCESS)
}
