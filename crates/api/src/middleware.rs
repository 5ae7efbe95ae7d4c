//! What happens around every request: its id, its span, its metric, its problem document, its key, and
//! the answer that it got before.

pub(crate) mod auth;
pub(crate) mod observe;
pub(crate) mod replay;
pub(crate) mod request_id;
