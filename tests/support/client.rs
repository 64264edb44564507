//! A platform's HTTP client: sends what it is told and keeps the whole answer.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{eventually, seconds, unique};

pub const KEY_A: &str = "sk_sandbox_a";
pub const KEY_B: &str = "sk_sandbox_b";
pub const SECRET_A: &str = "whsec_c2FuZGJveC1hLXdlYmhvb2stc2VjcmV0LTAwMDE=";
pub const SECRET_B: &str = "whsec_c2FuZGJveC1iLXdlYmhvb2stc2VjcmV0LTAwMDI=";

/// Longer than any answer takes.
const PATIENCE: Duration = seconds(15);

/// A client for tests: no proxies, no certificates of the machine it runs on, no redirects.
pub fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .build()
        .expect("a client is made")
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// Null when the text is no JSON.
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header of text"))
    }

    /// Checks for a problem of this status and code, shaped as the contract has it; the field that it names.
    pub fn problem(&self, status: u16, code: &str) -> Option<&str> {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.body["status"], status);
        for field in ["type", "title", "detail", "request_id"] {
            assert!(self.body[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {}", self.text);
        }
        assert_eq!(self.header("x-request-id"), self.body["request_id"].as_str());
        self.body.get("field").map(|field| field.as_str().expect("a field's name"))
    }

    /// The order in it.
    pub fn order(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.body["object"], "order", "{}", self.text);
        self.body.clone()
    }
}

#[derive(Clone)]
pub struct Client {
    pub base: String,
    pub key: Option<String>,
    http: reqwest::Client,
}

impl Client {
    pub fn new(base: String, key: &str) -> Self {
        Client { base, key: Some(key.to_owned()), http: http() }
    }

    /// The same place with another key.
    pub fn with_key(&self, key: &str) -> Self {
        Client { key: Some(key.to_owned()), ..self.clone() }
    }

    pub fn anonymous(&self) -> Self {
        Client { key: None, ..self.clone() }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let request = self.http.request(method, url);
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// # Errors
    /// No answer came.
    pub async fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Answer> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, headers, text, body })
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.expect("an answer")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// A POST whose body is sent as it stands.
    pub async fn post_text(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.send(self.request(Method::POST, path).header("content-type", content_type).body(body)).await
    }

    pub async fn create(&self, body: &Value) -> Answer {
        self.post("/v1/orders", body).await
    }

    pub async fn order(&self, id: &str) -> Value {
        self.get(&format!("/v1/orders/{id}")).await.order(200)
    }

    pub async fn pay(&self, id: &str, channel: &str) -> Answer {
        self.post(&format!("/v1/orders/{id}/pay"), &json!({ "channel": channel })).await
    }

    pub async fn cancel(&self, id: &str) -> Answer {
        self.send(self.request(Method::POST, &format!("/v1/orders/{id}/cancel"))).await
    }

    /// Reads an order until it is as wanted.
    pub async fn until(&self, id: &str, what: &str, within: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("{id} {what}"), within, || async {
            let order = self.order(id).await;
            wanted(&order).then_some(order)
        })
        .await
    }

    pub async fn reaches(&self, id: &str, state: &str, within: Duration) -> Value {
        self.until(id, state, within, |order| order["state"] == state).await
    }
}

/// An order of 200.00 CNY by simpay, paid as `description` says.
pub fn an_order(description: &str) -> Value {
    json!({
        "merchant_order_id": unique("m"),
        "amount": "200.00",
        "currency": "CNY",
        "channel": "simpay",
        "description": description,
    })
}

/// The same with more or other fields.
pub fn with(mut order: Value, fields: Value) -> Value {
    let fields = fields.as_object().expect("fields").clone();
    order.as_object_mut().expect("an order").extend(fields);
    order
}

/// The text of a field.
pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is a text in {value}"))
}
