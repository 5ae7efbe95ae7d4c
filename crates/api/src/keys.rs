//! API keys: who calls, what the caller may do, and how this process knows. Owns the memory of keys, their rates and their limits; routes decide
//! nothing about keys.

mod caller;
mod keyring;
pub(crate) mod limits;
mod page;
mod proxy;
mod rate;
mod reach;
pub(crate) mod veil;

pub(crate) use caller::Caller;
pub(crate) use keyring::Keyring;
pub(crate) use page::{GrantedPage, first};
pub use proxy::{ProxyGrant, ProxySettings};
pub(crate) use reach::{Reach, RouteGuard};
