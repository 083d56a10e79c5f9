//! `echo-client`: says something over TCP or UDP, and prints what comes back.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

const HELP: &str = "\
Says something over TCP or UDP, and prints what comes back.

Usage: echo-client [--timeout SECONDS] tcp|udp HOST:PORT [TEXT]

Without TEXT, TCP connects standard input and output, and UDP sends `hello`.
Exit code 1 when nothing came back.
";

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

struct Options {
    udp: bool,
    target: String,
    text: Option<String>,
    timeout: Duration,
}

/// Runs the client.
pub(crate) fn main(args: &[String]) -> ExitCode {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let options = match parse(args) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("echo-client: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo-client: {}: {error}", options.target);
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut timeout = DEFAULT_TIMEOUT;
    let mut words = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--timeout" || arg == "-t" {
            let seconds = args.next().and_then(|text| text.parse().ok());
            let seconds = seconds
                .filter(|s| *s > 0.0)
                .and_then(|s| Duration::try_from_secs_f64(s).ok());
            timeout = seconds.ok_or("--timeout needs a positive number of seconds")?;
        } else {
            words.push(arg.clone());
        }
    }
    let mut words = words.into_iter();
    let udp = match words.next().as_deref() {
        Some("tcp") => false,
        Some("udp") => true,
        _ => return Err("the first argument is tcp or udp, see --help".into()),
    };
    let target = words
        .next()
        .ok_or("the second argument is HOST:PORT, see --help")?;
    let text: Vec<String> = words.collect();
    Ok(Options {
        udp,
        target,
        text: (!text.is_empty()).then(|| text.join(" ")),
        timeout,
    })
}

fn run(options: &Options) -> io::Result<()> {
    let addresses: Vec<SocketAddr> = options.target.to_socket_addrs()?.collect();
    if options.udp {
        udp(options, &addresses)
    } else {
        tcp(options, &addresses)
    }
}

fn udp(options: &Options, addresses: &[SocketAddr]) -> io::Result<()> {
    let target = addresses.first().ok_or(io::ErrorKind::NotFound)?;
    let any: SocketAddr = if target.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(options.timeout))?;
    socket.send(options.text.as_deref().unwrap_or("hello").as_bytes())?;
    let mut buffer = vec![0; 64 << 10];
    let length = socket
        .recv(&mut buffer)
        .map_err(|e| silence(e, options.timeout))?;
    print_line(&buffer[..length])
}

fn tcp(options: &Options, addresses: &[SocketAddr]) -> io::Result<()> {
    let mut stream = connect(addresses, options.timeout)?;
    let Some(text) = &options.text else {
        return connect_terminal(stream);
    };
    stream.set_read_timeout(Some(options.timeout))?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .map_err(|e| silence(e, options.timeout))?;
    if answer.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "closed without an answer",
        ));
    }
    print_line(&answer)
}

fn connect(addresses: &[SocketAddr], timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect_timeout(address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Copies both ways until the server closes.
fn connect_terminal(mut stream: TcpStream) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    thread::spawn(move || {
        // Ends with standard input, or with the process.
        let _ = io::copy(&mut io::stdin(), &mut writer);
        let _ = writer.shutdown(Shutdown::Write);
    });
    let mut stdout = io::stdout().lock();
    let mut buffer = [0; 16 << 10];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        stdout.write_all(&buffer[..length])?;
        stdout.flush()?;
    }
}

fn silence(error: io::Error, timeout: Duration) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {} s", timeout.as_secs_f64()),
        ),
        _ => error,
    }
}

fn print_line(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    if !bytes.ends_with(b"\n") {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()
}
