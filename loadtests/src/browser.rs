//! The payer's browser: posts the forms that orders show to the gateway, over connections of its own.
//!
//! What it costs is the generator's time, never the server's. It goes nowhere but to the gateway of the run.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;
use crate::pool::Pool;
use crate::tally::{Latency, Percentiles};
use crate::wire::{Connection, Reuse};

/// A form as an order shows it, ready to be posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    url: String,
    body: String,
}

#[derive(Deserialize)]
struct Order {
    next_action: Option<NextAction>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum NextAction {
    Form {
        url: String,
        fields: BTreeMap<String, String>,
    },
    #[serde(other)]
    Other,
}

impl Form {
    /// The form in an order's JSON; none where it shows another thing or nothing.
    pub fn read(order: &[u8]) -> Option<Self> {
        match serde_json::from_slice::<Order>(order).ok()?.next_action? {
            NextAction::Form { url, fields } => {
                let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
                Some(Self { url, body })
            }
            NextAction::Other => None,
        }
    }
}

/// What became of the forms.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Visits {
    /// Accepted orders that showed no form although they cannot be paid without one.
    pub unshown: u64,
    /// Forms that lead to another place than the gateway of the run; they were not followed.
    pub elsewhere: u64,
    /// The gateway's answers, by status.
    pub answers: BTreeMap<u16, u64>,
    pub broken: BTreeMap<&'static str, u64>,
    pub latency: Percentiles,
}

impl Visits {
    pub fn is_empty(&self) -> bool {
        self.unshown == 0 && self.elsewhere == 0 && self.answers.is_empty() && self.broken.is_empty()
    }
}

#[derive(Default)]
struct Diary {
    visits: Visits,
    latency: Latency,
}

pub struct Browser {
    pool: Pool,
    patience: Duration,
    diary: Mutex<Diary>,
}

impl Browser {
    pub fn new(gateway: Endpoint, sockets_max: usize, patience: Duration) -> Self {
        Self { pool: Pool::new(gateway, sockets_max), patience, diary: Mutex::new(Diary::default()) }
    }

    fn diary(&self) -> MutexGuard<'_, Diary> {
        self.diary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn unshown(&self) {
        self.diary().visits.unshown += 1;
    }

    /// Posts a form. How it is answered changes nothing for the payment, which its webhook alone tells of.
    pub async fn carry(&self, form: &Form) {
        let gateway = self.pool.endpoint();
        let here = form.url.strip_prefix("http://").and_then(|rest| rest.strip_prefix(gateway.host()));
        let Some(path) = here.filter(|path| path.starts_with('/')) else {
            self.diary().visits.elsewhere += 1;
            return;
        };
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-www-form-urlencoded; charset=UTF-8\r\n\
             content-length: {}\r\n\r\n{}",
            gateway.host(),
            form.body.len(),
            form.body
        );
        let Some(mut lease) = self.pool.lease().await else { return };
        let begun = Instant::now();
        let opened = match lease.slot.take() {
            Some(connection) => Ok(connection),
            None => Connection::open(gateway).await,
        };
        let mut connection = match opened {
            Ok(connection) => connection,
            Err(broken) => return self.broke(broken.name()),
        };
        let (status, reuse) = match connection.exchange(request.as_bytes(), self.patience).await {
            Ok(answer) => (answer.status, answer.reuse),
            Err(broken) => return self.broke(broken.name()),
        };
        match reuse {
            Reuse::Keep => lease.slot = Some(connection),
            Reuse::Close => {}
        }
        let mut diary = self.diary();
        *diary.visits.answers.entry(status).or_default() += 1;
        diary.latency.record(begun.elapsed());
    }

    fn broke(&self, why: &'static str) {
        *self.diary().visits.broken.entry(why).or_default() += 1;
    }

    pub fn visits(&self) -> Visits {
        let diary = self.diary();
        Visits { latency: diary.latency.percentiles(), ..diary.visits.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_with_its_fields_escaped() {
        let order = r#"{"id":"ord_1","next_action":{"type":"form","url":"http://127.0.0.1:1/pay?charset=UTF-8",
            "fields":{"sign":"a+b/c=","subject":"茶 & more"},"expires_at":"2026-01-01T00:00:00.000Z"}}"#;
        let form = Form::read(order.as_bytes()).unwrap();
        assert_eq!(form.url, "http://127.0.0.1:1/pay?charset=UTF-8");
        assert_eq!(form.body, "sign=a%2Bb%2Fc%3D&subject=%E8%8C%B6+%26+more");
    }

    #[test]
    fn what_shows_no_form_has_none() {
        for order in [
            r#"{"next_action":null}"#,
            r#"{"next_action":{"type":"qr_code","qr_code":"weixin://x"}}"#,
            r#"{"next_action":{"type":"form","url":"http://127.0.0.1:1/"}}"#,
            "{}",
            "",
        ] {
            assert_eq!(Form::read(order.as_bytes()), None, "{order}");
        }
    }

    #[tokio::test]
    async fn a_form_that_leads_elsewhere_is_not_followed() {
        let gateway: Endpoint = "http://127.0.0.1:8090".parse().unwrap();
        let browser = Browser::new(gateway, 1, Duration::from_millis(1));
        for url in
            ["http://127.0.0.1:80901/", "https://127.0.0.1:8090/", "http://192.0.2.1/", "http://127.0.0.1:8090@x/"]
        {
            browser.carry(&Form { url: url.into(), body: String::new() }).await;
        }
        assert_eq!((browser.visits().elsewhere, browser.visits().broken.len()), (4, 0));
    }
}
