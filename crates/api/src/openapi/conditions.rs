//! The headers `If-Match` and `If-None-Match` in the document.

use utoipa::openapi::Required;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

/// The routes that take them.
pub(super) const TAKEN_BY: [(&str, &str); 7] = [
    ("PATCH", "/v1/jobs/{id}"),
    ("PUT", "/v1/schedules/{name}"),
    ("PATCH", "/v1/schedules/{name}"),
    ("DELETE", "/v1/schedules/{name}"),
    ("PUT", "/v1/routes/{name}"),
    ("PATCH", "/v1/routes/{name}"),
    ("DELETE", "/v1/routes/{name}"),
];

/// Adds them to an operation. `creates` is whether it can create what does not exist.
pub(super) fn add(operation: &mut Operation, creates: bool) {
    let matches = "The `ETag` of the version that may be changed, or `*` for any version. Another version is refused with 412.";
    let mut headers = vec![("If-Match", matches)];
    if creates {
        headers
            .push(("If-None-Match", "`*`: create, but do not replace. One that exists is refused with 412."));
    }
    for (name, description) in headers {
        let text =
            ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(1024)).build();
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(text))
            .build();
        operation.parameters.get_or_insert_default().push(parameter.into());
    }
}
