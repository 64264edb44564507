//! What is read again from the request that the store keeps of an order.

use std::sync::Arc;

use serde_json::Value;
use serde_json::value::to_raw_value;

use super::ask::{Addressee, Details, Trace};
use crate::channels::Payer;
use crate::domain::id::OrderId;
use crate::domain::view::Metadata;
use crate::store::{Frozen, Request, StoredOrder};

/// What a new attempt of a stored order needs to know.
pub fn details(stored: &StoredOrder) -> Details {
    let body = parse(&stored.request.body);
    let payer = stored.payer.as_deref().map(parse).unwrap_or_default();
    Details {
        description: field(&body, "description").unwrap_or_else(|| stored.request.merchant_order_id.to_string()),
        return_url: field(&body, "return_url"),
        named: stored.payer.as_deref().map(Arc::from),
        payer_id: field(&payer, "id"),
        payer: told(&payer),
    }
}

/// The same with another payer, as the store keeps one.
pub fn paid_by(details: &Details, named: Arc<str>) -> Details {
    let payer = parse(&named);
    Details { named: Some(named), payer_id: field(&payer, "id"), payer: told(&payer), ..details.clone() }
}

/// An attempt's request, as every send of it is made from.
#[derive(Debug)]
pub struct Original {
    pub frozen: Box<str>,
    pub payer: Payer,
}

impl From<Frozen> for Original {
    fn from(stored: Frozen) -> Self {
        let payer = stored.payer.as_deref().map(parse).unwrap_or_default();
        Original { frozen: stored.request, payer: told(&payer) }
    }
}

fn told(payer: &Value) -> Payer {
    Payer { openid: field(payer, "openid"), ip: field(payer, "ip") }
}

/// The trace that the order was posted under, its own id where it had none, and who is told of the order; none where
/// nobody wants to be.
pub fn trace_and_addressee(id: OrderId, request: &Request) -> (Trace, Option<Arc<Addressee>>) {
    let mut body = parse(&request.body);
    let given = field(&body, "trace").and_then(|text| u128::from_str_radix(&text, 16).ok());
    let trace = Trace(given.filter(|trace| *trace != 0).unwrap_or(id.as_u128()));
    let metadata: Metadata = body
        .get_mut("metadata")
        .map(Value::take)
        .and_then(|metadata| serde_json::from_value(metadata).ok())
        .unwrap_or_default();
    (trace, addressee(request, &metadata))
}

/// Who is told of an order that was posted by this request; none where nobody wants to be.
pub fn addressee(request: &Request, metadata: &Metadata) -> Option<Arc<Addressee>> {
    let url = request.webhook_url.as_deref()?;
    let metadata = to_raw_value(metadata).expect("a map of texts is JSON");
    Some(Arc::new(Addressee { url: url.into(), merchant_order_id: request.merchant_order_id.clone(), metadata }))
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

fn field(json: &Value, name: &str) -> Option<String> {
    json.get(name)?.as_str().map(str::to_owned)
}
