//! The TLS provider of the process. Chooses ring, which needs no C toolchain and no aws-lc; never handles
//! certificates.

/// Makes ring the TLS provider of this process, which `reqwest` needs before its first client.
///
/// [`boot`](crate::boot) calls it; a test or another program that builds an HTTP client without `boot` must
/// call it itself. Calling it again, or after another provider was installed, changes nothing.
pub fn install_tls_provider() {
    // the error means that a provider is already installed: it is kept, because the embedding program chose
    // it
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
}
