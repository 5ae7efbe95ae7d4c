//! Sign-in through a proxy that knows people, such as an OIDC proxy: it sends their names and groups in headers. Only headers from the proxies
//! that the configuration names count.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use jobqueue_core::{Grant, Scope};

use super::Caller;

/// Longest name of a person, in bytes.
const MAX_USER_BYTES: usize = 255;

/// The scopes of the people in a group. `*` stands for everyone whom the proxy lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyGrant {
    /// Name of the group, as the proxy sends it.
    pub group: String,
    /// Their scopes.
    pub scopes: Vec<Scope>,
}

impl std::str::FromStr for ProxyGrant {
    type Err = String;

    /// Reads `group=scope+scope`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (group, scopes) = text.trim().rsplit_once('=').ok_or("must be GROUP=SCOPE+SCOPE")?;
        let scope = |name: &str| Scope::named(name).ok_or_else(|| format!("`{name}` is not a scope"));
        let scopes = scopes.split('+').map(scope).collect::<Result<_, _>>()?;
        if group.is_empty() {
            Err("the name of the group is empty".to_owned())
        } else {
            Ok(Self { group: group.to_owned(), scopes })
        }
    }
}

/// Which proxies are trusted, and what their headers mean.
#[derive(Clone, Debug)]
pub struct ProxySettings {
    /// Addresses of the proxies. With none, headers mean nothing.
    pub proxies: Vec<IpNet>,
    /// The header with the name of the person.
    pub user_header: HeaderName,
    /// The header with the groups of the person, separated by commas.
    pub groups_header: HeaderName,
    /// What groups may do.
    pub grants: Vec<ProxyGrant>,
}

impl Default for ProxySettings {
    fn default() -> Self {
        Self {
            proxies: vec![],
            user_header: HeaderName::from_static("x-auth-request-user"),
            groups_header: HeaderName::from_static("x-auth-request-groups"),
            grants: vec![],
        }
    }
}

impl ProxySettings {
    /// The person that a trusted proxy names. `None`: it names none, or the headers come from somewhere else.
    pub(super) fn caller(&self, headers: &HeaderMap, peer: IpAddr) -> Option<Caller> {
        let peer = peer.to_canonical();
        if !self.proxies.iter().any(|proxy| proxy.contains(&peer)) {
            return None;
        }
        let user = only(headers, &self.user_header)?;
        let is_name =
            (1..=MAX_USER_BYTES).contains(&user.len()) && user.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_name {
            tracing::warn!(client.address = %peer, "a trusted proxy sent a name that is not 1 to 255 visible ASCII characters");
            return None;
        }
        let groups: Vec<&str> = only(headers, &self.groups_header)
            .map(|groups| groups.split(',').map(str::trim).collect())
            .unwrap_or_default();
        let is_in = |grant: &&ProxyGrant| grant.group == "*" || groups.contains(&grant.group.as_str());
        let mut scopes: Vec<Scope> =
            self.grants.iter().filter(is_in).flat_map(|grant| grant.scopes.clone()).collect();
        scopes.sort_unstable();
        scopes.dedup();
        Some(Caller::of_user(&format!("user:{user}"), user, Grant { scopes, ..Grant::everything() }))
    }
}

/// The value of a header that was sent once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let (first, more) = (values.next()?, values.next());
    first.to_str().ok().filter(|_| more.is_none())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn settings() -> ProxySettings {
        let grants =
            ["sre=read+write+admin", "dev=read", "*=read"].map(|text| text.parse().unwrap()).to_vec();
        ProxySettings { proxies: vec!["10.1.0.0/16".parse().unwrap()], grants, ..ProxySettings::default() }
    }

    fn caller(settings: &ProxySettings, peer: &str, headers: &[(&'static str, &str)]) -> Option<Caller> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        settings.caller(&map, peer.parse().unwrap())
    }

    #[test]
    fn only_a_named_proxy_can_say_who_a_person_is() {
        let headers = [("x-auth-request-user", "ada"), ("x-auth-request-groups", "dev, sre")];
        let ada = caller(&settings(), "::ffff:10.1.2.3", &headers).unwrap();
        assert_eq!(ada.identity(), "user:ada");
        assert_eq!(ada.grant().scopes, [Scope::Read, Scope::Write, Scope::Admin]);
        assert!(caller(&settings(), "10.2.0.1", &headers).is_none());
        assert!(caller(&ProxySettings::default(), "10.1.2.3", &headers).is_none());
        assert!(caller(&settings(), "10.1.2.3", &[headers[0], ("x-auth-request-user", "eve")]).is_none());
        for bad in ["", "a b", "é", &"x".repeat(256)] {
            assert!(caller(&settings(), "10.1.2.3", &[("x-auth-request-user", bad)]).is_none());
        }
        let other = [("x-auth-request-user", "bob"), ("x-auth-request-groups", "sales")];
        assert_eq!(caller(&settings(), "10.1.2.3", &other).unwrap().grant().scopes, [Scope::Read]);
    }

    #[test]
    fn a_grant_names_a_group_and_its_scopes() {
        let grant: ProxyGrant = "cn=ops,o=x=read+worker".parse().unwrap();
        assert_eq!((grant.group.as_str(), grant.scopes), ("cn=ops,o=x", vec![Scope::Read, Scope::Worker]));
        for bad in ["sre", "=read", "sre=", "sre=root", "sre=read,write"] {
            assert!(bad.parse::<ProxyGrant>().is_err(), "{bad}");
        }
    }
}
