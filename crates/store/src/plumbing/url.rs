//! The connection URL of the database: where it comes from, and what it may contain. All checks of a URL are here. Never puts a user
//! name, a password or the value of a parameter into an error or a log line.

mod error;
mod parameters;

use std::fmt;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sqlx::postgres::PgConnectOptions;

use error::ESCAPES;
pub use error::UrlError;

/// Maximum size of a file with a URL. A longer file is probably the wrong one.
const MAX_FILE_BYTES: u64 = 16 * 1024;

/// An example for error messages.
const EXAMPLE: &str = "postgresql://user:password@host:5432/database";

/// Where the connection URL comes from. The operator sets it. Its `Debug` output never contains the URL.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// The URL itself. It does not change while the process runs.
    Text(String),
    /// A file with the URL. It is read again for new connections, so its password can change while the process runs.
    File(PathBuf),
}

impl DatabaseUrl {
    /// The file if there is one, otherwise the URL.
    pub fn new(url: String, file: Option<PathBuf>) -> Self {
        file.map_or(Self::Text(url), Self::File)
    }

    /// The URL with its password, and the options to connect with. The error begins with the name of the variable.
    pub(crate) fn resolve(&self) -> Result<(String, PgConnectOptions), UrlError> {
        let resolved = self.read().and_then(|text| connect_options(&text).map(|options| (text, options)));
        let variable = match self {
            Self::Text(_) => "DATABASE_URL",
            Self::File(_) => "DATABASE_URL_FILE",
        };
        resolved.map_err(|UrlError(reason)| UrlError(format!("{variable}: {reason}")))
    }

    /// The URL with its password, unchecked.
    pub(crate) fn read(&self) -> Result<String, UrlError> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => read_file(path),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl From<String> for DatabaseUrl {
    fn from(url: String) -> Self {
        Self::Text(url)
    }
}

impl From<&String> for DatabaseUrl {
    fn from(url: &String) -> Self {
        Self::Text(url.clone())
    }
}

impl From<&str> for DatabaseUrl {
    fn from(url: &str) -> Self {
        Self::Text(url.to_owned())
    }
}

/// Checks the URL and returns the driver's options.
///
/// The driver gets a new URL with the checked parts. It would log the names and values of parameters that it does not know, and it
/// does not find a socket directory if the host is empty. The driver takes what the URL does not contain from `PGUSER`,
/// `PGPASSWORD`, `~/.pgpass` and similar places.
pub(crate) fn connect_options(text: &str) -> Result<PgConnectOptions, UrlError> {
    let url = ConnectUrl::parse(text)?;
    for (name, path) in url.parameters.iter().filter(|(name, _)| parameters::FILES.contains(name)) {
        std::fs::metadata(path)
            .map_err(|error| UrlError(format!("the file that `{name}` names cannot be read: {error}")))?;
    }
    let encoded =
        |(name, value): (&str, String)| format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC));
    let pairs: Vec<_> = url.pairs().into_iter().map(encoded).collect();
    let options = PgConnectOptions::from_str(&format!("postgresql:///?{}", pairs.join("&")))
        .map_err(|_| UrlError(format!("it must look like {EXAMPLE}")))?;
    // Poolers refuse the start-up parameter `extra_float_digits`. Postgres 12 and newer send floats exactly without it.
    Ok(options.extra_float_digits(None))
}

/// A checked URL, decoded.
#[derive(Debug, Default, PartialEq, Eq)]
struct ConnectUrl {
    /// A name, an address without brackets, or the directory of a Unix socket.
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<String>,
    database: String,
    /// What else the driver understands, by libpq's names.
    parameters: Vec<(&'static str, String)>,
}

impl ConnectUrl {
    fn parse(text: &str) -> Result<Self, UrlError> {
        let rest = after_scheme(text.trim())?;
        check_characters(rest)?;
        let (before_query, query) =
            rest.split_once('?').map_or((rest, ""), |(before, query)| (before, query));
        let (authority, path) = before_query.split_once('/').unwrap_or((before_query, ""));
        if query.contains('@') || path.contains(['@', '/']) {
            return Err(UrlError::unescaped("`/`, `?` or `@`"));
        }
        let (credentials, server) = match authority.rsplit_once('@') {
            Some((credentials, server)) => (credentials, server),
            None => ("", authority),
        };
        if credentials.contains('@') {
            return Err(UrlError::unescaped("`@`"));
        }
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (user, Some(decoded(password)?)),
            None => (credentials, None),
        };
        let (host, port) = server_of(server)?;
        let mut url = Self {
            host,
            port,
            user: Some(decoded(user)?).filter(|user| !user.is_empty()),
            password,
            database: decoded(path)?,
            parameters: Vec::new(),
        };
        url.take_parameters(query)?;
        if url.database.is_empty() {
            return Err(UrlError(format!("it names no database; add one at the end, as in {EXAMPLE}")));
        }
        Ok(url)
    }

    /// Parameters override the parts before them, as in libpq.
    fn take_parameters(&mut self, query: &str) -> Result<(), UrlError> {
        let mut seen = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = parameters::supported(name, value)?;
            if seen.contains(&name) {
                return Err(UrlError(format!("the parameter `{name}` is given twice; give it once")));
            }
            seen.push(name);
            let value = decoded(value)?;
            match name {
                "host" => self.host = Some(host(&value)?).filter(|host| !host.is_empty()),
                "port" => self.port = Some(port(&value)?),
                "user" => self.user = Some(value),
                "password" => self.password = Some(value),
                "dbname" => self.database = value,
                "sslmode" => self.parameters.push((name, parameters::ssl_mode(&value)?)),
                _ => self.parameters.push((name, value)),
            }
        }
        Ok(())
    }

    /// All parts as parameters.
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let named = [
            ("host", self.host.clone()),
            ("port", self.port.map(|port| port.to_string())),
            ("user", self.user.clone()),
            ("password", self.password.clone()),
            ("dbname", Some(self.database.clone())),
        ];
        let named = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
        named.chain(self.parameters.iter().cloned()).collect()
    }
}

fn read_file(path: &Path) -> Result<String, UrlError> {
    let unreadable = |error: std::io::Error| UrlError(format!("{} cannot be read: {error}", path.display()));
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE_BYTES {
        return Err(UrlError(format!(
            "{} is longer than a URL can be; name the file with the URL",
            path.display()
        )));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

/// The part after `postgresql://`. An SQLAlchemy driver suffix (`postgresql+asyncpg://`) is allowed.
fn after_scheme(text: &str) -> Result<&str, UrlError> {
    if text.is_empty() {
        return Err(UrlError(format!("it is empty; set it to a URL like {EXAMPLE}")));
    }
    if text.starts_with(['"', '\'']) {
        return Err(UrlError::new("remove the quotation marks around the URL"));
    }
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let dialect = scheme.split_once('+').map_or(scheme, |(dialect, _driver)| dialect);
    let is_postgres = ["postgresql", "postgres"].iter().any(|name| dialect.eq_ignore_ascii_case(name));
    if is_postgres && !rest.is_empty() {
        return Ok(rest);
    }
    Err(UrlError(format!(
        "it must look like {EXAMPLE} (its value is not shown, because it may hold a password)"
    )))
}

/// Refuses characters that no part of a URL may contain.
fn check_characters(rest: &str) -> Result<(), UrlError> {
    if rest.contains('#') {
        return Err(UrlError::unescaped("`#`"));
    }
    if rest.contains(char::is_whitespace) {
        return Err(UrlError::unescaped("space or line break"));
    }
    if rest.contains(char::is_control) {
        return Err(UrlError::unescaped("control character"));
    }
    let is_escape =
        |after: &str| after.len() >= 2 && after.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if rest.split('%').skip(1).any(|after| !is_escape(after)) {
        return Err(UrlError::unescaped("`%`"));
    }
    Ok(())
}

/// Host and port. The error says what was probably meant.
fn server_of(server: &str) -> Result<(Option<String>, Option<u16>), UrlError> {
    let (name, digits) = match server.strip_prefix('[') {
        Some(inside) => {
            let (address, after) = inside.split_once(']').unwrap_or((inside, "no bracket"));
            let digits = if after.is_empty() { Some("") } else { after.strip_prefix(':') };
            (address, digits.ok_or_else(|| UrlError::new("write an IPv6 address as [address]:port"))?)
        }
        None if server.contains(',') => return Err(parameters::several_hosts()),
        None => match server.rsplit_once(':') {
            Some((name, digits)) => (name, digits),
            None => (server, ""),
        },
    };
    let port = if digits.is_empty() { None } else { Some(port(digits)?) };
    Ok((Some(host(&decoded(name)?)?).filter(|host| !host.is_empty()), port))
}

fn port(digits: &str) -> Result<u16, UrlError> {
    let number =
        digits.parse().ok().filter(|port| *port != 0 && digits.bytes().all(|byte| byte.is_ascii_digit()));
    number.ok_or_else(|| {
        UrlError(format!(
            "the port must be a number from 1 to 65535; if a password stands where the port should, {ESCAPES}"
        ))
    })
}

/// A name, an IPv4 address, an IPv6 address, or the absolute path of a socket's directory.
fn host(text: &str) -> Result<String, UrlError> {
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    if text.contains(',') {
        return Err(parameters::several_hosts());
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let (address, zone) = bare.split_once('%').unwrap_or((bare, "0"));
    let in_names = |c: char| c.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&c);
    let is_address = address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty() && zone.chars().all(in_names);
    if is_address || bare.chars().all(in_names) {
        return Ok(bare.to_owned());
    }
    Err(UrlError(format!(
        "the host must be a name, an address (IPv6 in brackets) or the directory of a Unix socket; if a password stands where the host should, {ESCAPES}"
    )))
}

fn decoded(text: &str) -> Result<String, UrlError> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| {
        UrlError::new("its percent-encoded parts must be UTF-8; encode special characters as UTF-8 bytes")
    })?;
    if text.contains('\0') {
        return Err(UrlError::new("it contains %00, which Postgres does not accept; remove it"));
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests;
