//! `jobqueue-api probe`: asks the API on this host whether it is ready. A health check for images without a shell or curl.
//! It sends one request and does not use the database.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// Time limit of connecting, of sending and of each read.
const STEP_LIMIT: Duration = Duration::from_secs(4);
/// Enough for the first line of the response, which contains the status.
const ANSWER_HEAD_BYTES: usize = 256;

/// Prints the status line of `GET /ready` at this address. The exit code is 0 if the status is 200, otherwise 1.
pub fn probe(addr: SocketAddr) -> ExitCode {
    let mut answer = Err(io::ErrorKind::AddrNotAvailable.into());
    for addr in reachable(addr) {
        answer = status_line(addr);
        if answer.is_ok() {
            break;
        }
    }
    match answer {
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

/// The addresses at which a server that listens on `addr` is reached from the same host. A server on `[::]` listens on
/// `0.0.0.0` if the host has no IPv6.
fn reachable(addr: SocketAddr) -> Vec<SocketAddr> {
    let loopbacks: &[IpAddr] = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
        IpAddr::V6(ip) if ip.is_unspecified() => {
            &[IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)]
        }
        _ => return vec![addr],
    };
    loopbacks.iter().map(|ip| SocketAddr::new(*ip, addr.port())).collect()
}

fn status_line(addr: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, STEP_LIMIT)?;
    stream.set_read_timeout(Some(STEP_LIMIT))?;
    stream.set_write_timeout(Some(STEP_LIMIT))?;
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
        for (listens, asked) in [
            ("0.0.0.0:8000", &["127.0.0.1:8000"][..]),
            ("[::]:8000", &["[::1]:8000", "127.0.0.1:8000"]),
            ("10.0.0.7:80", &["10.0.0.7:80"]),
        ] {
            let asked: Vec<SocketAddr> = asked.iter().map(|asked| asked.parse().unwrap()).collect();
            assert_eq!(reachable(listens.parse().unwrap()), asked);
        }
    }
}
