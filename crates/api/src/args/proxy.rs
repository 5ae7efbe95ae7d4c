//! The options of the sign-in through a proxy.

use std::net::IpAddr;

use axum::http::HeaderName;
use clap::Args;
use ipnet::IpNet;
use jobqueue_runtime::ConfigError;

use crate::keys::{ProxyGrant, ProxySettings};

/// Which proxies may say who a person is.
#[derive(Args, Clone, Debug, Default)]
pub struct ProxyArgs {
    /// Addresses of proxies, such as an OIDC proxy, whose headers say who a person is: networks such as
    /// `10.1.0.0/16`, separated by commas. Nothing else may reach the API from these addresses. Default: no
    /// proxy.
    #[arg(
        long,
        env = "API_TRUSTED_PROXIES",
        value_name = "CIDR,…",
        value_delimiter = ',',
        value_parser = network,
        help_heading = "Sign-in through a proxy"
    )]
    pub api_trusted_proxies: Vec<Option<IpNet>>,

    /// Header in which a trusted proxy sends the name of the person.
    #[arg(
        long,
        env = "API_PROXY_USER_HEADER",
        default_value = "x-auth-request-user",
        value_name = "HEADER",
        help_heading = "Sign-in through a proxy"
    )]
    pub api_proxy_user_header: Option<HeaderName>,

    /// Header in which a trusted proxy sends the groups of the person, separated by commas.
    #[arg(
        long,
        env = "API_PROXY_GROUPS_HEADER",
        default_value = "x-auth-request-groups",
        value_name = "HEADER",
        help_heading = "Sign-in through a proxy"
    )]
    pub api_proxy_groups_header: Option<HeaderName>,

    /// What the people of a group may do, such as `sre=read+write+admin;dev=read`. `*` stands for everyone whom
    /// the proxy lets through. Needed with API_TRUSTED_PROXIES.
    #[arg(
        long,
        env = "API_PROXY_GRANTS",
        value_name = "GROUP=SCOPE+SCOPE;…",
        value_delimiter = ';',
        value_parser = grant,
        help_heading = "Sign-in through a proxy"
    )]
    pub api_proxy_grants: Vec<Option<ProxyGrant>>,
}

impl ProxyArgs {
    /// Checks what must fit together.
    pub(super) fn settings(&self) -> Result<ProxySettings, ConfigError> {
        let proxies: Vec<IpNet> = self.api_trusted_proxies.iter().copied().flatten().collect();
        let grants: Vec<ProxyGrant> = self.api_proxy_grants.iter().flatten().cloned().collect();
        if proxies.is_empty() != grants.is_empty() {
            let sentence = "set API_TRUSTED_PROXIES and API_PROXY_GRANTS, or neither: the one says which proxies are trusted, the other what the people may do";
            return Err(ConfigError(sentence.to_owned()));
        }
        let defaults = ProxySettings::default();
        Ok(ProxySettings {
            proxies,
            grants,
            user_header: self.api_proxy_user_header.clone().unwrap_or(defaults.user_header),
            groups_header: self.api_proxy_groups_header.clone().unwrap_or(defaults.groups_header),
        })
    }
}

/// A network, or an address. An empty text is nothing, so that an empty variable is like none.
fn network(text: &str) -> Result<Option<IpNet>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map(Some)
        .map_err(|_| "must be a network such as 10.1.0.0/16".to_owned())
}

fn grant(text: &str) -> Result<Option<ProxyGrant>, String> {
    if text.trim().is_empty() { Ok(None) } else { text.parse().map(Some) }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        proxy: ProxyArgs,
    }

    fn settings(args: &[&str]) -> Result<ProxySettings, String> {
        let line = ["api"].into_iter().chain(args.iter().copied());
        let parsed = Line::try_parse_from(line).map_err(|error| error.to_string())?;
        parsed.proxy.settings().map_err(|error| error.0)
    }

    #[test]
    fn proxies_and_grants_belong_together() {
        let both =
            ["--api-trusted-proxies", "10.1.0.0/16, ::1", "--api-proxy-grants", "sre=read+admin;*=read"];
        let given = settings(&both).unwrap();
        assert_eq!((given.proxies.len(), given.grants.len()), (2, 2));
        assert!(settings(&both[..2]).unwrap_err().contains("or neither"));
        assert!(settings(&both[2..]).unwrap_err().contains("or neither"));
        assert!(settings(&["--api-trusted-proxies", "10.1.0.0/40"]).unwrap_err().contains("a network"));
        assert!(
            settings(&["--api-trusted-proxies", "", "--api-proxy-grants", ""]).unwrap().proxies.is_empty()
        );
        assert_eq!(settings(&[]).unwrap().user_header, "x-auth-request-user");
    }
}
