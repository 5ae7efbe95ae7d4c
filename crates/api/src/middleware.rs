//! Middleware: the id, span, metric and problem document of each request, the check of the key, the check of query and body,
//! and the replay of an earlier response.

pub(crate) mod accepts;
pub(crate) mod auth;
pub(crate) mod observe;
pub(crate) mod replay;
pub(crate) mod request_id;
