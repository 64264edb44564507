//! What the demo ends with.

use comfy_table::Table;

use super::ledger::{Ledger, Outcome, Picture};
use super::mix::Script;
use super::progress::{milliseconds, name};
use crate::cli::audit::{right, table};
use crate::cli::output::{Lost, say};

/// Whether the platforms saw what was to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    AsScripted,
    Otherwise,
}

pub fn verdict(ledger: &Ledger) -> Verdict {
    let webhooks = ledger.picture().webhooks;
    let is_scripted = |outcome: &Outcome| outcome.as_scripted == outcome.in_all;
    let scripted = ledger.outcomes(|kind| kind.script).values().all(is_scripted)
        && ledger.refund_outcomes().values().all(is_scripted);
    match scripted && webhooks.verified == webhooks.received && webhooks.strangers == 0 {
        true => Verdict::AsScripted,
        false => Verdict::Otherwise,
    }
}

pub fn print(ledger: &Ledger) -> Result<(), Lost> {
    let picture = ledger.picture();
    let mut scripts = table(["script", "what happens", "orders", "as scripted", "where they ended"]);
    for (script, outcome) in ledger.outcomes(|kind| kind.script) {
        scripts.add_row([
            script.word(),
            Script::meaning(script),
            &outcome.in_all.to_string(),
            &outcome.as_scripted.to_string(),
            &ends(&outcome),
        ]);
    }
    say!("{}", right(scripts, &[2, 3]))?;
    let mut refunds = table(["asked back", "what happens", "refunds", "as scripted", "where they ended"]);
    for (refunding, outcome) in ledger.refund_outcomes() {
        refunds.add_row([
            refunding.word(),
            refunding.meaning(),
            &outcome.in_all.to_string(),
            &outcome.as_scripted.to_string(),
            &ends(&outcome),
        ]);
    }
    if !refunds.is_empty() {
        say!("{}", right(refunds, &[2, 3]))?;
    }
    let mut channels = table(["channel", "orders", "as scripted", "where they ended"]);
    for (name, outcome) in ledger.outcomes(|kind| kind.channel.name()) {
        let (orders, as_scripted) = (outcome.in_all.to_string(), outcome.as_scripted.to_string());
        channels.add_row([name, &orders, &as_scripted, &ends(&outcome)]);
    }
    say!("{}", right(channels, &[1, 2]))?;
    say!("{}", right(figures(&picture), &[1]))?;
    Ok(())
}

fn ends(outcome: &Outcome) -> String {
    let ends = outcome.standings.iter().map(|(standing, count)| format!("{} {count}", name(standing)));
    ends.collect::<Vec<_>>().join(", ")
}

fn figures(picture: &Picture) -> Table {
    let webhooks = &picture.webhooks;
    let mut table = table(["figure", "value"]);
    for (figure, value) in [
        ("orders accepted", picture.accepted.to_string()),
        ("orders settled", picture.settled.to_string()),
        ("orders of which another platform has a share", picture.shared.to_string()),
        ("refunds accepted", picture.refunds.accepted.to_string()),
        ("acceptance, median", milliseconds(picture.p50)),
        ("acceptance, 99 of 100", milliseconds(picture.p99)),
        ("acceptance, slowest", milliseconds(picture.latency_max)),
        ("webhooks received", webhooks.received.to_string()),
        ("webhooks with the right signature", webhooks.verified.to_string()),
        ("webhooks that came again", webhooks.duplicates.to_string()),
        ("webhooks of unknown orders and refunds", webhooks.strangers.to_string()),
    ] {
        table.add_row([figure.to_owned(), value]);
    }
    for (why, count) in &picture.in_vain {
        table.add_row([format!("requests in vain: {why}"), count.to_string()]);
    }
    table
}
