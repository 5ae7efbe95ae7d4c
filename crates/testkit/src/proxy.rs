//! A TCP proxy that misbehaves on command. It counts and holds bytes; it never understands or changes them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What is wrong with the line, for every connection at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: bytes pass.
    Pass,
    /// Every connection ends now, and new ones end as soon as they are made.
    Cut,
    /// Connections are made and stay open, but nothing passes. Held bytes pass when the fault is lifted.
    Blackhole,
    /// Every piece of the conversation is this late, in both directions.
    Delay(Duration),
    /// Requests pass. On each connection, so many more bytes of answers pass; the first one beyond ends the
    /// connection. By then the server has done what it was asked to do.
    LoseAnswersAfter(u64),
}

/// A proxy in front of one address. It ends, and ends its connections, when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    target: SocketAddr,
    fault: watch::Sender<Fault>,
    _accepting: JoinSet<()>,
}

impl FaultProxy {
    /// A proxy on a free port of 127.0.0.1 that passes everything to `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (fault, seen) = watch::channel(Fault::Pass);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, target, seen));
        Self { address, target, fault, _accepting: accepting }
    }

    /// A proxy in front of the server of a database address such as `postgres://postgres@127.0.0.1:5432/name`.
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

    /// Breaks or mends the line from now on, for old connections and new ones.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, fault: watch::Receiver<Fault>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        if *fault.borrow() != Fault::Cut {
            connections.spawn(relay(client, target, fault.clone()));
        }
    }
}

/// Ends both connections by dropping them, as soon as one direction breaks or both have reached their end.
async fn relay(client: TcpStream, target: SocketAddr, fault: watch::Receiver<Fault>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    // Without this a delayed acknowledgement would show up as a fault that nobody asked for.
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let requests = Pump { from: from_client, to: to_server, answers: false, fault: fault.clone() };
    let answers = Pump { from: from_server, to: to_client, answers: true, fault };
    // A broken direction is an error, which ends the other one too; there is nobody to report it to.
    let _ = tokio::try_join!(requests.run(), answers.run());
}

/// The line is broken.
struct Broken;

/// One direction of one connection.
struct Pump {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    answers: bool,
    fault: watch::Receiver<Fault>,
}

impl Pump {
    async fn run(mut self) -> Result<(), Broken> {
        let mut buffer = vec![0; 16 * 1024];
        let mut passed = 0;
        loop {
            let count = tokio::select! {
                changed = self.fault.changed() => {
                    changed.map_err(|_| Broken)?;
                    passed = 0;
                    if *self.fault.borrow() == Fault::Cut { return Err(Broken) }
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

    /// Passes one piece on, when and if the fault of the moment lets it.
    async fn forward(&mut self, piece: &[u8], passed: &mut u64) -> Result<(), Broken> {
        loop {
            // a piece may come before the news of a fault; bytes count from the fault on
            if self.fault.has_changed().unwrap_or(true) {
                *passed = 0;
            }
            let fault = *self.fault.borrow_and_update();
            match fault {
                Fault::Cut => return Err(Broken),
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
