//! The server's arguments.

/// Printed by `--help`.
pub(super) const HELP: &str = "\
Tells who it is, where it was reached and by whom, over HTTP, TCP and UDP.

Usage: echo-server [--port PORT]...

      --port PORT   serve HTTP, TCP and UDP on this port; may be given several
                    times, or as PORT,PORT, or in the variable PORT
                    [default: 8080]

HTTP paths: /hostname (the name), /health (ok), any other: the report, as JSON
with ?format=json or `Accept: application/json`.
";

const DEFAULT_PORT: u16 = 8080;

/// What the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Ports(Vec<u16>),
    Help,
}

/// Reads the arguments; the variable `PORT` counts where they name no port.
pub(super) fn ports(args: &[String], variable: Option<String>) -> Result<Wanted, String> {
    let mut ports = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let (name, value) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (arg.as_str(), None),
        };
        match name {
            "--help" | "-h" => return Ok(Wanted::Help),
            "--port" | "-p" => {
                let value = value.or_else(|| args.next().map(String::as_str));
                parse_into(&mut ports, value.ok_or("--port needs a number")?)?;
            }
            _ => return Err(format!("unknown argument {arg:?}, see --help")),
        }
    }
    if ports.is_empty()
        && let Some(variable) = variable.filter(|text| !text.is_empty())
    {
        parse_into(&mut ports, &variable)?;
    }
    if ports.is_empty() {
        ports.push(DEFAULT_PORT);
    }
    Ok(Wanted::Ports(ports))
}

fn parse_into(ports: &mut Vec<u16>, text: &str) -> Result<(), String> {
    for word in text.split(',') {
        let port = word.trim().parse();
        let port = port.map_err(|_| format!("port {word:?} is not a number from 0 to 65535"))?;
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str], variable: Option<&str>) -> Result<Wanted, String> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        ports(&args, variable.map(String::from))
    }

    #[test]
    fn ports_come_from_arguments_then_variable_then_default() {
        let cases: [(&[&str], Option<&str>, &[u16]); 6] = [
            (&[], None, &[8080]),
            (&[], Some(""), &[8080]),
            (&[], Some("80,81"), &[80, 81]),
            (&["--port", "80", "--port=81"], Some("1"), &[80, 81]),
            (&["-p", "80,80"], None, &[80]),
            (&["--port", "0"], None, &[0]),
        ];
        for (args, variable, ports) in cases {
            assert_eq!(
                read(args, variable),
                Ok(Wanted::Ports(ports.to_vec())),
                "{args:?}"
            );
        }
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(
            read(&["--port", "x"], None),
            Err("port \"x\" is not a number from 0 to 65535".into())
        );
        assert_eq!(read(&["--port"], None), Err("--port needs a number".into()));
        assert_eq!(
            read(&["serve"], None),
            Err("unknown argument \"serve\", see --help".into())
        );
    }
}
