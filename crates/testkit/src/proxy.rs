//! A TCP proxy that simulates faults. It counts, delays and drops bytes; it never interprets or changes them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// The fault that the proxy simulates on all its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No fault: bytes pass.
    Pass,
    /// Open connections are closed now, and new ones as soon as they are accepted.
    Cut,
    /// Connections are accepted and stay open, but no bytes pass. Held bytes pass when the fault ends.
    Blackhole,
    /// All bytes are delayed by this time, in both directions.
    Delay(Duration),
    /// Requests pass. On each connection this many bytes of responses pass; the next byte closes the
    /// connection. At that time the server has carried out the request.
    LoseAnswersAfter(u64),
    /// Open connections are closed now. New ones get a FATAL error with this SQLSTATE, as from a database or
    /// a pooler that rejects them.
    Reject(&'static str),
}

/// A proxy in front of one address. Dropping it closes its connections.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    target: SocketAddr,
    fault: watch::Sender<Fault>,
    /// Changes when the connections of that time are lost.
    losses: watch::Sender<u32>,
    _accepting: JoinSet<()>,
}

impl FaultProxy {
    /// A proxy on a free port of 127.0.0.1 that passes everything to `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (fault, seen) = watch::channel(Fault::Pass);
        let (losses, lost) = watch::channel(0);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, target, seen, lost));
        Self { address, target, fault, losses, _accepting: accepting }
    }

    /// A proxy in front of the server of a connection URL such as `postgres://postgres@127.0.0.1:5432/name`.
    pub async fn before(database_url: &str) -> Self {
        let (_, rest) = database_url.split_once('@').expect("an address with a user");
        let (host, _) = rest.split_once('/').expect("an address with a database");
        Self::start(host.parse().expect("an address with a numeric host and a port")).await
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same address, but through this proxy.
    pub fn through(&self, url: &str) -> String {
        let (direct, detour) = (self.target.to_string(), self.address.to_string());
        assert!(url.contains(&direct), "{url} does not lead to {direct}");
        url.replace(&direct, &detour)
    }

    /// Sets the fault from now on, for open and new connections.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Loses the open connections, as if the host at the other end had vanished: from now on no bytes pass, in
    /// neither direction, and neither end learns of it. New connections pass.
    pub fn lose_connections(&self) {
        self.losses.send_modify(|losses| *losses += 1);
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    fault: watch::Receiver<Fault>,
    mut lost: watch::Receiver<u32>,
) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let now = *fault.borrow();
        match now {
            Fault::Cut => {}
            Fault::Reject(state) => {
                connections.spawn(async move {
                    // the client may have disconnected
                    let _ = reject(client, state).await;
                });
            }
            _ => {
                lost.mark_unchanged();
                connections.spawn(relay(client, target, fault.clone(), lost.clone()));
            }
        }
    }
}

/// Reads the first messages of a Postgres client and responds with an error.
async fn reject(mut client: TcpStream, state: &str) -> std::io::Result<()> {
    const SSL_REQUEST: [u8; 4] = [0x04, 0xd2, 0x16, 0x2f];
    loop {
        let mut head = [0; 8];
        client.read_exact(&mut head).await?;
        let length = usize::try_from(u32::from_be_bytes([head[0], head[1], head[2], head[3]])).unwrap_or(8);
        if head[4..] != SSL_REQUEST {
            client.read_exact(&mut vec![0; length.saturating_sub(head.len())]).await?;
            break;
        }
        client.write_all(b"N").await?;
    }
    let fields = format!("SFATAL\0VFATAL\0C{state}\0Mrefused by a test\0\0");
    let mut answer = b"E".to_vec();
    answer.extend(u32::try_from(fields.len() + 4).unwrap().to_be_bytes());
    answer.extend(fields.as_bytes());
    client.write_all(&answer).await?;
    client.shutdown().await
}

/// Copies bytes in both directions until one of them fails or both have ended; then both connections are
/// dropped. If the connections are lost, everything that arrives is dropped instead.
async fn relay(
    client: TcpStream,
    target: SocketAddr,
    fault: watch::Receiver<Fault>,
    mut lost: watch::Receiver<u32>,
) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    // without this, a delayed acknowledgement would look like a fault
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut requests = Pump { from: from_client, to: to_server, answers: false, fault: fault.clone() };
    let mut answers = Pump { from: from_server, to: to_client, answers: true, fault };
    tokio::select! {
        _ = lost.changed() => {}
        // a failed direction also ends the other one; the error itself is not needed
        _ = async { tokio::try_join!(requests.run(), answers.run()) } => return,
    }
    tokio::join!(swallow(&mut requests.from), swallow(&mut answers.from));
}

/// Drops what arrives until this end closes its connection.
async fn swallow(from: &mut OwnedReadHalf) {
    let mut buffer = vec![0; 16 * 1024];
    while from.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}

/// A connection was closed because of the fault.
struct Broken;

/// One direction of one connection.
struct Pump {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    answers: bool,
    fault: watch::Receiver<Fault>,
}

impl Pump {
    async fn run(&mut self) -> Result<(), Broken> {
        let mut buffer = vec![0; 16 * 1024];
        let mut passed = 0;
        loop {
            let count = tokio::select! {
                changed = self.fault.changed() => {
                    changed.map_err(|_| Broken)?;
                    passed = 0;
                    if matches!(*self.fault.borrow(), Fault::Cut | Fault::Reject(_)) { return Err(Broken) }
                    continue;
                }
                count = self.from.read(&mut buffer) => count.map_err(|_| Broken)?,
            };
            if count == 0 {
                return self.to.shutdown().await.map_err(|_| Broken);
            }
            self.forward(&buffer[..count], &mut passed).await?;
        }
    }

    /// Passes these bytes on if the current fault allows it, and when.
    async fn forward(&mut self, piece: &[u8], passed: &mut u64) -> Result<(), Broken> {
        loop {
            // bytes may arrive before this task sees the new fault; they are counted from the fault on
            if self.fault.has_changed().unwrap_or(true) {
                *passed = 0;
            }
            let fault = *self.fault.borrow_and_update();
            match fault {
                Fault::Cut | Fault::Reject(_) => return Err(Broken),
                Fault::Blackhole => {
                    self.fault.changed().await.map_err(|_| Broken)?;
                    *passed = 0;
                    continue;
                }
                Fault::Delay(late) => sleep(late).await,
                Fault::LoseAnswersAfter(limit) if self.answers => {
                    let room = usize::try_from(limit.saturating_sub(*passed)).unwrap_or(usize::MAX);
                    if room < piece.len() {
                        self.write(&piece[..room]).await?;
                        return Err(Broken);
                    }
                }
                Fault::Pass | Fault::LoseAnswersAfter(_) => {}
            }
            *passed += u64::try_from(piece.len()).map_err(|_| Broken)?;
            return self.write(piece).await;
        }
    }

    async fn write(&mut self, piece: &[u8]) -> Result<(), Broken> {
        self.to.write_all(piece).await.map_err(|_| Broken)
    }
}
