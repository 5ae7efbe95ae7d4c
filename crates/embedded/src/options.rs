//! The options of a private server. Starts nothing.

use std::path::PathBuf;

use crate::PgBin;

/// The options; created by [`named`](Self::named) or [`temporary`](Self::temporary), then adjusted.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The server binaries.
    pub bin: PgBin,
    /// The directory for `data/` and `server.log`; created if missing. `None`: a new one in the system's
    /// temporary directory.
    pub home: Option<PathBuf>,
    /// Whether to keep the directory after the end. A server whose data is not kept is stopped at once,
    /// without a checkpoint.
    pub keep: bool,
    /// Whether data survives a power failure (fsync). Off is for tests, which use temporary servers.
    pub durable: bool,
    /// Further settings, as in `postgresql.conf`; the last one of a name wins.
    pub settings: Vec<(String, String)>,
    /// The port on 127.0.0.1. `None`: a free one, the same for the life of the [`Server`](crate::Server).
    pub port: Option<u16>,
    /// The directory of the Unix socket. `None`: only TCP on 127.0.0.1.
    pub socket_dir: Option<PathBuf>,
    /// The superuser of the server.
    pub superuser: String,
}

impl ServerOptions {
    /// A durable server whose data stays in `home` (the demo).
    pub fn named(bin: PgBin, home: impl Into<PathBuf>) -> Self {
        Self { home: Some(home.into()), keep: true, durable: true, ..Self::temporary(bin) }
    }

    /// A server without durability in a new temporary directory, which is removed at its end (tests).
    pub fn temporary(bin: PgBin) -> Self {
        Self {
            bin,
            home: None,
            keep: false,
            durable: false,
            settings: Vec::new(),
            port: None,
            socket_dir: None,
            superuser: "postgres".to_owned(),
        }
    }

    /// Adds a setting, as in `postgresql.conf`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Every setting as arguments, in the order in which the server must read them.
    pub(crate) fn arguments(&self, port: u16) -> Vec<String> {
        let socket_dir = self.socket_dir.as_ref().map(|dir| dir.display().to_string()).unwrap_or_default();
        let mut settings = vec![
            ("listen_addresses".to_owned(), "127.0.0.1".to_owned()),
            ("port".to_owned(), port.to_string()),
            ("unix_socket_directories".to_owned(), socket_dir),
            ("logging_collector".to_owned(), "off".to_owned()),
        ];
        if !self.durable {
            let off = ["fsync", "synchronous_commit", "full_page_writes"];
            settings.extend(off.map(|name| (name.to_owned(), "off".to_owned())));
        }
        settings.extend(self.settings.iter().cloned());
        settings.into_iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]).collect()
    }
}
