//! The TLS provider of the process. Owns the choice (ring: no C toolchain, no aws-lc); never a certificate.

/// Makes ring the TLS provider of this process, which `reqwest` needs before its first client.
///
/// [`boot`](crate::boot) calls it; a test or an embedding program that builds an HTTP client without `boot` calls it
/// itself. Calling it again, or after another provider was installed, changes nothing.
pub fn install_tls_provider() {
    // The error means that a provider is installed already: an embedding program chose its own, which we respect.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
}
