//! What an account needs of its channel now and then to go on understanding it, such as new keys.

use std::rc::Rc;
use std::time::Duration;

use super::{Connection, Desk, Room, client, fresh_stamp, traceparent};
use crate::channels::sender::{self, Allowance, Undelivered};
use crate::domain::request::Trace;

/// How often the adapter is asked whether anything is due. To say no costs nothing, and a key that the channel signs
/// with but nobody here knows holds up every callback.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Looks for as long as the account is served, and at once when its credentials were renewed.
pub async fn run(desk: Rc<Desk>) {
    loop {
        if let Err(why) = once(&desk).await {
            let account = desk.adapter.account();
            metrics::counter!("tongbao_channel_upkeep_failures_total", "channel" => account.channel().name())
                .increment(1);
            tracing::error!(%account, why, "the account's upkeep failed");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = desk.adapter.renewed() => {}
        }
    }
}

async fn once(desk: &Desk) -> Result<(), String> {
    let adapter = desk.adapter.current();
    let stamp = fresh_stamp();
    let Some(outgoing) = adapter.upkeep(&stamp) else { return Ok(()) };
    desk.gate.turn(Room::Creates).await;
    let client = client(desk, Connection::Kept)?;
    let traceparent = traceparent(Trace(rand::random()));
    match sender::send(&client, outgoing, &traceparent, Allowance::of_call(desk.settings.timeout)).await {
        Ok(answer) => adapter.read_upkeep(&stamp, &answer),
        Err(Undelivered::HeldBack(why) | Undelivered::NotSent(why) | Undelivered::Unknown(why)) => Err(why),
    }
}
