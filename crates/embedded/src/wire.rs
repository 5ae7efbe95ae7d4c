//! The part of the Postgres protocol that runs one statement on a server without authentication. It is not a
//! driver: no results, no parameters, no TLS, no passwords.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::ServerError;

/// Time limit for one administrative statement.
const RESPONSE_LIMIT: Duration = Duration::from_mins(1);
/// Maximum length of a message from the server.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// Runs one statement as `user` in the database `postgres` and discards its rows.
pub(crate) fn run(port: u16, user: &str, statement: &str) -> Result<(), ServerError> {
    let failed =
        |source| ServerError::Io { what: format!("talk to the Postgres server on port {port}"), source };
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
    stream.set_read_timeout(Some(RESPONSE_LIMIT)).map_err(failed)?;
    // protocol 3.0, then names and values, each followed by a zero byte, and another zero byte at the end
    let hello = [&[0, 3, 0, 0][..], b"user\0", user.as_bytes(), b"\0database\0postgres\0\0"].concat();
    send(&mut stream, None, &hello).map_err(failed)?;
    until_idle(&mut stream).map_err(failed)??;
    send(&mut stream, Some(b'Q'), &[statement.as_bytes(), b"\0"].concat()).map_err(failed)?;
    until_idle(&mut stream).map_err(failed)?
}

fn send(stream: &mut TcpStream, kind: Option<u8>, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len() + 4).map_err(io::Error::other)?;
    let message = [kind.as_slice(), &length.to_be_bytes(), body].concat();
    stream.write_all(&message)
}

/// Reads until "ready for query". Returns the first error.
fn until_idle(stream: &mut TcpStream) -> io::Result<Result<(), ServerError>> {
    let mut outcome = Ok(());
    loop {
        let mut head = [0; 5];
        match stream.read_exact(&mut head) {
            // the server closes the connection after it has rejected the startup message; that error is
            // returned
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && outcome.is_err() => {
                return Ok(outcome);
            }
            other => other?,
        }
        let [kind, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
        let body_length = length.checked_sub(4).filter(|length| *length <= MAX_MESSAGE_BYTES);
        let mut body = vec![0; body_length.ok_or_else(|| io::Error::other("not a Postgres answer"))?];
        stream.read_exact(&mut body)?;
        match kind {
            b'Z' => return Ok(outcome),
            b'E' if outcome.is_ok() => outcome = Err(server_error(&body)),
            _ => {}
        }
    }
}

/// Each field of an error is a letter and a text, followed by a zero byte.
fn server_error(body: &[u8]) -> ServerError {
    let field = |letter: u8| {
        let text = body.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(&[letter]));
        text.map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
    };
    ServerError::Refused { code: field(b'C'), message: field(b'M') }
}
