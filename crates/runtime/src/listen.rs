//! Listening sockets. Owns how an address is bound and the error message if that fails; never accepts a
//! connection.

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpListener;

/// Maximum number of connections that wait in the operating system to be accepted.
const BACKLOG: i32 = 1024;

/// The system asks a client that has been silent for this time whether it is still there,
const KEEPALIVE_AFTER: Duration = Duration::from_secs(10);
/// and again at this interval,
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
/// and closes the connection after this number of questions without an answer. A host that vanished without closing
/// its connections would otherwise keep its place until its request ends, which is long for one that waits for a job.
const KEEPALIVE_TRIES: u32 = 3;
/// How long sent bytes may stay unacknowledged before the system closes the connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Opens a listening socket on the address that `variable` set. `[::]` accepts IPv4 as well; on a host without IPv6 it becomes
/// `0.0.0.0`. Must be called inside a tokio runtime.
///
/// # Errors
/// The address is in use, or not one of this host. The message names the variable and says what to do.
pub fn listen(address: SocketAddr, variable: &str) -> io::Result<TcpListener> {
    let opened = match open(address) {
        // a kernel without IPv6 has no such sockets
        Err(error) if is_unspecified_v6(address) && is_without_ipv6(&error) => {
            open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        opened => opened,
    };
    opened.map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "is used by another process; stop it, or set another address".to_owned()
            }
            io::ErrorKind::AddrNotAvailable => "is not an address of this host; set one that is".to_owned(),
            io::ErrorKind::PermissionDenied => "needs privileges; set a port from 1024 on".to_owned(),
            _ => format!("cannot be used: {error}"),
        };
        io::Error::new(error.kind(), format!("{variable}: {address} {reason}"))
    })
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if is_unspecified_v6(address) {
        socket.set_only_v6(false)?;
    }
    // a restart must not wait until the connections of the previous process are closed
    socket.set_reuse_address(true)?;
    // accepted connections inherit these
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
    socket.set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_TRIES))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn is_unspecified_v6(address: SocketAddr) -> bool {
    address.ip() == Ipv6Addr::UNSPECIFIED
}

fn is_without_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[tokio::test]
    async fn every_address_means_both_families() {
        let listener = listen("[::]:0".parse().unwrap(), "API_ADDR").unwrap();
        let port = listener.local_addr().unwrap().port();
        for address in
            [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))]
        {
            TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_client_that_vanishes_is_noticed_by_the_system() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), "API_ADDR").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let socket = socket2::SockRef::from(&accepted);
        assert!(socket.keepalive().unwrap());
        let silence = socket.tcp_keepalive_time().unwrap()
            + socket.tcp_keepalive_interval().unwrap() * socket.tcp_keepalive_retries().unwrap();
        assert_eq!(silence, Duration::from_secs(25));
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(30)));
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_used_is_named_with_its_variable() {
        let taken = listen("127.0.0.1:0".parse().unwrap(), "API_ADDR").unwrap();
        let address = taken.local_addr().unwrap();
        let error = listen(address, "API_ADDR").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(
            error.to_string().starts_with(&format!("API_ADDR: {address} is used by another process")),
            "{error}"
        );
        let foreign = listen("192.0.2.1:0".parse().unwrap(), "ADMIN_ADDR").unwrap_err();
        assert!(foreign.to_string().contains("not an address of this host"), "{foreign}");
    }
}
