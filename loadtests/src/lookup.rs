//! Whether what was accepted is there: asks the server for a sample of the run's orders.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::drive::Load;
use crate::wire::{Broken, Connection};

const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Clone, Debug, Default, Serialize)]
pub struct Lookup {
    pub looked_up: u64,
    /// Accepted, but the server says that there is none.
    pub lost: Vec<String>,
    /// The server could not tell.
    pub unanswered: Vec<String>,
}

#[derive(Deserialize)]
struct List {
    data: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    merchant_order_id: String,
}

enum Found {
    Yes,
    No,
}

pub async fn look_up(load: &Load, patience: Duration) -> Lookup {
    let mut lookup = Lookup::default();
    for serial in load.accepted_sample() {
        let id = load.orders().id(serial);
        lookup.looked_up += 1;
        match find(load, load.orders().key(serial), &id, patience).await {
            Ok(Found::Yes) => {}
            Ok(Found::No) => lookup.lost.push(id),
            Err(problem) => lookup.unanswered.push(format!("{id}: {problem}")),
        }
    }
    lookup
}

async fn find(load: &Load, key: &str, id: &str, patience: Duration) -> Result<Found, String> {
    let mut problem = String::new();
    for _ in 0..TRIES {
        match ask(load, key, id, patience).await {
            Ok((200, body)) => {
                let list: List = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
                let found = list.data.iter().any(|order| order.merchant_order_id == id);
                return Ok(if found { Found::Yes } else { Found::No });
            }
            Ok((status, _)) => problem = format!("status {status}"),
            Err(broken) => problem = broken.name().to_owned(),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(problem)
}

async fn ask(load: &Load, key: &str, id: &str, patience: Duration) -> Result<(u16, Vec<u8>), Broken> {
    let request = format!(
        "GET /v1/orders?merchant_order_id={id} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {key}\r\n\r\n",
        load.endpoint().host()
    );
    let mut connection = Connection::open(load.endpoint()).await?;
    let answer = connection.exchange(request.as_bytes(), patience).await?;
    Ok((answer.status, answer.body.to_vec()))
}
