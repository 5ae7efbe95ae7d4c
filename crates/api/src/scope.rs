//! Who may call a route. Owns the term; does not check a key.

pub use jobqueue_core::Scope;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every caller, without a key: probes, metrics, documentation.
    Public,
    /// Callers whose key has this scope.
    Needs(Scope),
}
