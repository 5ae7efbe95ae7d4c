//! An HTTP/1.1 client that generates load: keep-alive connections, one request in flight on each, no allocation per
//! response.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::process::KEY;
use crate::stats::{Latency, float_len};

/// Maximum size of a response: that of a thousand jobs.
const BUFFER: usize = 1024 * 1024;

/// One request, as bytes.
pub(crate) fn post(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// One request, as bytes.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {KEY}\r\n\r\n").into_bytes()
}

/// A kept-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER] })
    }

    /// Sends a request, reads the whole response and returns its status.
    pub(crate) async fn send(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        Ok(self.exchange(request).await?.0)
    }

    /// Sends a request and returns the status and the body of the response.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<(u16, &[u8])> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            let read =
                self.stream.read(self.buffer.get_mut(filled..).context("the answer is too long")?).await?;
            anyhow::ensure!(read > 0, "the connection was closed");
            filled += read;
            if let Some((status, body)) = complete(self.buffer.get(..filled).unwrap_or_default())? {
                return Ok((status, self.buffer.get(body..filled).unwrap_or_default()));
            }
        }
    }
}

/// The status and the position of the body, if the whole response has been read.
fn complete(answer: &[u8]) -> anyhow::Result<Option<(u16, usize)>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(answer.get(..end).unwrap_or_default())?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let whole = answer.len() >= end + 4 + length.context("no content-length")?;
    Ok(whole.then_some((status, end + 4)))
}

/// The result of a closed-loop load.
pub(crate) struct Load {
    pub(crate) per_second: f64,
    pub(crate) latency: Latency,
    pub(crate) answered: usize,
}

/// Sends the same request from many connections for a duration; every response must have the status.
pub(crate) async fn closed_loop(
    address: SocketAddr,
    request: &[u8],
    status: u16,
    connections: usize,
    span: Duration,
) -> anyhow::Result<Load> {
    let mut clients = JoinSet::new();
    let began = Instant::now();
    for _ in 0..connections {
        let request = request.to_vec();
        clients.spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut micros = Vec::new();
            while began.elapsed() < span {
                let sent = Instant::now();
                let answer = connection.send(&request).await?;
                anyhow::ensure!(answer == status, "{answer} instead of {status}");
                micros.push(u64::try_from(sent.elapsed().as_micros())?);
            }
            anyhow::Ok(micros)
        });
    }
    let mut micros = Vec::new();
    while let Some(done) = clients.join_next().await {
        micros.extend(done??);
    }
    let per_second = float_len(micros.len()) / began.elapsed().as_secs_f64();
    Ok(Load { per_second, answered: micros.len(), latency: Latency::of_micros(micros)? })
}
