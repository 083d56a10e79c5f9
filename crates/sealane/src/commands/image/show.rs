//! `sealane image show`

use std::process::ExitCode;

use sealane_image::Image;

use super::{Place, named, size};
use crate::output::Format;

/// Show what an image is and how containers of it run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names, or the beginnings of ids.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,

    #[command(flatten)]
    place: Place,

    /// Print the result for programs.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Runs the command.
///
/// # Errors
/// When an image is not here, or is damaged.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let store = args.place.store()?;
    let mut images = Vec::new();
    for text in &args.images {
        images.extend(named(&store, text)?.into_iter().next());
    }
    match args.output {
        Some(format) => format.print(&images)?,
        None => {
            let texts: Vec<String> = images.iter().map(describe).collect();
            print!("{}", texts.join("\n"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(image: &Image) -> String {
    let config = &image.config;
    let names: Vec<String> = image.names.iter().map(ToString::to_string).collect();
    let labels: Vec<String> = config
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let rows: [(&str, Vec<String>); 15] = [
        ("Name", names),
        ("Id", vec![image.id.to_string()]),
        ("Digest", vec![image.digest.to_string()]),
        ("Platform", vec![image.platform.to_string()]),
        (
            "Size",
            vec![format!(
                "{} in {} layers",
                size::bytes(image.size_bytes),
                image.layers.len()
            )],
        ),
        ("Created", image.created.clone().into_iter().collect()),
        ("Added", vec![image.added.clone()]),
        ("User", one(&config.user)),
        ("Entrypoint", words(&config.entrypoint)),
        ("Cmd", words(&config.cmd)),
        ("WorkingDir", one(&config.working_dir)),
        ("Env", config.env.clone()),
        ("Ports", config.exposed_ports.clone()),
        ("Volumes", config.volumes.clone()),
        ("Labels", labels),
    ];
    let mut text = String::new();
    for (name, values) in rows {
        for (number, value) in values.iter().enumerate() {
            let name = if number == 0 { name } else { "" };
            text.push_str(&format!("{name:<12}{value}\n"));
        }
    }
    text
}

fn one(text: &str) -> Vec<String> {
    if text.is_empty() {
        Vec::new()
    } else {
        vec![text.to_owned()]
    }
}

/// As one line of JSON: an argument may contain anything.
fn words(words: &[String]) -> Vec<String> {
    match words {
        [] => Vec::new(),
        words => serde_json::to_string(words).into_iter().collect(),
    }
}
