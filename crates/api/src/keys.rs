//! API keys: who calls, what the caller may do, and how this process knows. Owns the memory of keys, their rates and their limits; routes decide
//! nothing about keys.

mod caller;
pub(crate) mod limits;
mod proxy;
mod rate;
mod reach;
mod ring;
pub(crate) mod veil;

pub(crate) use caller::Caller;
pub use proxy::{ProxyGrant, ProxySettings};
pub(crate) use reach::{Guard, Reach};
pub(crate) use ring::Keyring;
