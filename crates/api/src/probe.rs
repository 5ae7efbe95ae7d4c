//! `jobqueue-api probe`: asks the API on this host whether it is ready. A health check for images without a shell or curl. Owns one
//! request; never looks at the database itself.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// For each of connecting, asking and being answered: a health check that hangs says nothing.
const PATIENCE: Duration = Duration::from_secs(4);
/// The first line of an answer is in there, with its status.
const ANSWER_HEAD_BYTES: usize = 256;

/// Prints what `GET /ready` answers at this address of the API; 0 if it is 200, otherwise 1.
pub fn probe(addr: SocketAddr) -> ExitCode {
    match status_line(reachable(addr)) {
        Ok(line) => {
            println!("{line}");
            if line.split(' ').nth(1) == Some("200") { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            println!("{addr} does not answer: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where a server that listens on this address is reached from the same host.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

fn status_line(addr: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; ANSWER_HEAD_BYTES];
    let mut filled = 0;
    while filled < head.len() && !head[..filled].contains(&b'\n') {
        match stream.read(&mut head[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    let text = String::from_utf8_lossy(&head[..filled]);
    text.lines().next().map(str::to_owned).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_every_address_is_asked_on_loopback() {
        for (listens, asked) in
            [("0.0.0.0:8000", "127.0.0.1:8000"), ("[::]:8000", "[::1]:8000"), ("10.0.0.7:80", "10.0.0.7:80")]
        {
            assert_eq!(reachable(listens.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
