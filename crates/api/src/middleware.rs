//! What happens around every request: its id, its span, its metric, its problem document, and its key.

pub(crate) mod auth;
pub(crate) mod observe;
mod request_id;
