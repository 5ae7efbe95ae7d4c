//! Which addresses requests may call. Owns the refused address ranges. The guard runs between name resolution
//! and connecting, so changing a name's addresses later does not bypass it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use reqwest::Url;
use tower::Service;

/// IPv4 ranges that are not the public internet: (network, prefix length).
const REFUSED_V4: [([u8; 4], u32); 18] = [
    ([0, 0, 0, 0], 8),        // this network
    ([10, 0, 0, 0], 8),       // private
    ([100, 64, 0, 0], 10),    // carrier-grade NAT
    ([127, 0, 0, 0], 8),      // loopback
    ([168, 63, 129, 16], 32), // platform services of a cloud
    ([169, 254, 0, 0], 16),   // link-local, metadata services
    ([172, 16, 0, 0], 12),    // private
    ([192, 0, 0, 0], 24),     // protocol assignments
    ([192, 0, 2, 0], 24),     // documentation
    ([192, 31, 196, 0], 24),  // AS112
    ([192, 52, 193, 0], 24),  // AMT
    ([192, 88, 99, 0], 24),   // 6to4 relays
    ([192, 168, 0, 0], 16),   // private
    ([192, 175, 48, 0], 24),  // AS112
    ([198, 18, 0, 0], 15),    // benchmarks
    ([198, 51, 100, 0], 24),  // documentation
    ([203, 0, 113, 0], 24),   // documentation
    ([224, 0, 0, 0], 3),      // multicast, reserved, broadcast
];

/// The public range of IPv6, 2000::/3, and the ranges inside it that are refused.
const GLOBAL_V6: (u128, u32) = (0x2000 << 112, 3);
const REFUSED_V6: [(u128, u32); 6] = [
    (0x2001 << 112, 23),          // protocol assignments: Teredo, ORCHID, benchmarks
    (0x2001_0db8 << 96, 32),      // documentation
    (0x2002 << 112, 16),          // 6to4: embeds an IPv4 address
    (0x2620_004f_8000 << 80, 48), // AS112
    (0x3fff << 112, 20),          // documentation
    (0x2001_0004_0112 << 80, 48), // AS112
];

/// The guard of one endpoint.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    /// The endpoint's host is allowed by name: its addresses are not checked.
    allowed: bool,
}

/// The endpoint has no public address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} resolves to no public address; to call it anyway, add it to `allow`")]
pub(super) struct Refused(String);

impl Guard {
    /// The guard for `url`. A literal address is never resolved, so it is checked here.
    pub(super) fn new(url: &Url, allow: &[String]) -> Result<Self, String> {
        // the URL parser has normalised every spelling of an IPv4 address
        let host = url.host_str().ok_or("url must have a host")?;
        let port = url.port_or_known_default().ok_or("url must have a port")?;
        let with_port = format!("{host}:{port}");
        let allowed = allow
            .iter()
            .any(|entry| entry.eq_ignore_ascii_case(host) || entry.eq_ignore_ascii_case(&with_port));
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match literal {
            Ok(address) if !allowed && !is_public(address) => Err(format!(
                "url: {address} is not a public address: to call it anyway, write `allow = [\"{with_port}\"]`"
            )),
            _ => Ok(Self { allowed }),
        }
    }

    fn filter(
        &self,
        name: &str,
        found: impl Iterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Refused> {
        let fine: Vec<_> = found.filter(|address| self.allowed || is_public(address.ip())).collect();
        if fine.is_empty() { Err(Refused(name.to_owned())) } else { Ok(fine) }
    }
}

impl Service<Name> for Guard {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Resolves the name to the addresses that may be called. The connection uses one of these.
    fn call(&mut self, name: Name) -> Self::Future {
        let guard = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let fine = guard.filter(name.as_str(), found).map_err(io::Error::other)?;
            Ok(fine.into_iter())
        })
    }
}

/// Whether the address is in the public range.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        // addresses that embed an IPv4 address: mapped, compatible and NAT64 ones lie outside 2000::/3; 6to4
        // and Teredo ones lie inside it and are refused by range
        IpAddr::V6(v6) => {
            let bits = u128::from(v6);
            is_in(bits, GLOBAL_V6) && !REFUSED_V6.iter().any(|range| is_in(bits, *range))
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let bits = u32::from(address);
    !REFUSED_V4.iter().any(|(network, prefix)| (bits ^ u32::from_be_bytes(*network)) >> (32 - prefix) == 0)
}

fn is_in(bits: u128, (network, prefix): (u128, u32)) -> bool {
    (bits ^ network) >> (128 - prefix) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every spelling of an address that must not be called.
    const REFUSED: [&str; 66] = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "127.255.255.254",
        "0x7F.0x0.0x0.0x1",
        "１２７.０.０.１",
        "①②⑦.⓪.⓪.①",
        "0",
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "0xa000001",
        "172.16.0.1",
        "172.31.255.254",
        "192.168.0.1",
        "192.168.1",
        "3232235521",
        "100.64.0.1",
        "100.127.255.255",
        "169.254.169.254",
        "0xa9fea9fe",
        "2852039166",
        "169.254.1",
        "168.63.129.16",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:8.8.8.8]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b::169.254.169.254]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[2001:db8::1]",
        "[3fff::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[febf::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[100::1]",
        "[5f00::1]",
        "[2001:20::1]",
        "[2001:2::1]",
    ];

    #[test]
    fn every_spelling_of_a_private_address_is_refused() {
        for host in REFUSED {
            let url =
                Url::parse(&format!("http://{host}/hook")).unwrap_or_else(|error| panic!("{host}: {error}"));
            let refused = Guard::new(&url, &[]).expect_err(host);
            assert!(refused.contains("not a public address"), "{host}: {refused}");
        }
    }

    #[test]
    fn public_addresses_pass() {
        for host in [
            "8.8.8.8",
            "1.1.1.1",
            "172.15.255.255",
            "172.32.0.1",
            "100.63.255.255",
            "[2606:4700::1111]",
            "[2a00:1450::1]",
        ] {
            let url = Url::parse(&format!("https://{host}/")).unwrap();
            Guard::new(&url, &[]).unwrap_or_else(|refused| panic!("{refused}"));
        }
    }

    #[test]
    fn allowing_is_by_name_and_by_port() {
        let allowed = |url: &str, entry: &str| Guard::new(&Url::parse(url).unwrap(), &[entry.to_owned()]);
        assert!(allowed("http://127.0.0.1:9999/", "127.0.0.1:9999").is_ok());
        assert!(allowed("http://127.0.0.1:9998/", "127.0.0.1:9999").is_err());
        assert!(allowed("http://127.0.0.1:9998/", "127.0.0.1").is_ok());
        assert!(allowed("https://[::1]/", "[::1]:443").is_ok());
        assert!(allowed("https://hooks.internal/", "HOOKS.internal:443").unwrap().allowed);
        assert!(!allowed("https://hooks.internal/", "internal").unwrap().allowed);
    }

    #[test]
    fn resolved_addresses_are_filtered_and_an_empty_rest_is_refused() {
        let guard = Guard { allowed: false };
        let private: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let public: SocketAddr = "8.8.8.8:0".parse().unwrap();
        assert_eq!(guard.filter("rebound", [private, public].into_iter()), Ok(vec![public]));
        assert_eq!(guard.filter("rebound", [private].into_iter()), Err(Refused("rebound".to_owned())));
        assert_eq!(Guard { allowed: true }.filter("meant", [private].into_iter()), Ok(vec![private]));
    }

    #[tokio::test]
    async fn the_resolver_refuses_every_spelling_of_localhost() {
        for name in ["localhost", "LOCALHOST", "localhost."] {
            let Ok(found) = tokio::net::lookup_host((name, 0)).await else { continue };
            assert!(Guard { allowed: false }.filter(name, found).is_err(), "{name}");
        }
        let refused = Guard { allowed: false }.call("localhost".parse().unwrap()).await.err().unwrap();
        assert!(refused.get_ref().and_then(|cause| cause.downcast_ref::<Refused>()).is_some(), "{refused}");
    }
}
