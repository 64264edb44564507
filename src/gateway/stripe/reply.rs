//! What a caller reads.

use std::sync::Arc;

use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub body: Arc<str>,
}

impl Reply {
    pub fn ok(body: &Value) -> Self {
        Reply { status: 200, body: body.to_string().into() }
    }
}
