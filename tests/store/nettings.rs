//! Netting runs over a real store: entries 16 to 18 of the example, from the closing on.

use tongbao::domain::closing::Cycle;
use tongbao::domain::cycle::{CalendarId, CycleId};
use tongbao::domain::id::PlatformId;
use tongbao::domain::ledger::{Heading, LedgerAccount};
use tongbao::domain::money::Currency;
use tongbao::domain::netting::{Fact, Made, NettingRun, Refusal, stream_number};
use tongbao::domain::payee::{ClosedCycle, PayeeId};
use tongbao::domain::settlement::CycleTotals;
use tongbao::domain::time::Instant;
use tongbao::engine::letter::TellError;
use tongbao::engine::payees;
use tongbao::engine::quiet::Word;

use super::book::Place;
use super::directory::Hall;

const A: PlatformId = PlatformId(101);
const B: PlatformId = PlatformId(102);
const C: PlatformId = PlatformId(103);

async fn close(hall: &Hall, cycle: CycleId, currency: Currency, platform: PlatformId, others: &[(PlatformId, i64)]) {
    let mut totals = CycleTotals::default();
    for (other, gets) in others {
        let position = LedgerAccount::Position(platform);
        totals.add(&position, Heading::Positions, Some(*other), -gets).expect("a sum");
    }
    let told = payees::Told::CycleClosed {
        closed: Box::new(ClosedCycle {
            calendar: cycle.calendar,
            covers: Vec::new(),
            cycle: Cycle { from: Instant(0), number: cycle.number, to: Instant(1_000) },
            payout_min_minor: 0,
            totals,
        }),
        kept: Vec::new(),
    };
    let payee = PayeeId { currency, platform };
    hall.engine.payees.tell(payee.as_u128(), told).await.expect("it is settled");
}

async fn tell(hall: &Hall, cycle: CycleId, fact: Fact) -> Result<NettingRun, TellError<Refusal>> {
    hall.engine.nettings.tell(stream_number(cycle), Word::Told(fact)).await
}

async fn confirm(
    hall: &Hall,
    cycle: CycleId,
    number: u32,
    platform: PlatformId,
) -> Result<NettingRun, TellError<Refusal>> {
    tell(hall, cycle, Fact::Confirmed { number, platform }).await
}

/// What each of the three still has to be netted.
async fn left(hall: &Hall) -> [i64; 3] {
    let balances = hall.store.balances().await.expect("balances are read");
    [A, B, C].map(|platform| {
        let account = LedgerAccount::Netting(platform).to_string();
        balances.iter().filter(|balance| balance.account == account).map(|balance| balance.amount_minor).sum()
    })
}

async fn states(hall: &Hall, cycle: CycleId) -> Vec<&'static str> {
    let mut states = Vec::new();
    for platform in [A, B, C] {
        let settlement = hall.store.settlement(platform, cycle).await.expect("it is read").expect("it is there");
        states.push(settlement.state_name());
    }
    states
}

pub async fn what_platforms_owe_each_other_is_netted_once_and_booked_when_both_confirm(place: Place) {
    let hall = Hall::new(&place).await;
    let currency = Currency::parse("CNY").expect("a currency");
    let cycle = CycleId { calendar: CalendarId::of_currency(currency), number: 7 };
    close(&hall, cycle, currency, A, &[(B, -1_000), (C, -250)]).await;
    close(&hall, cycle, currency, B, &[(A, 1_000)]).await;
    close(&hall, cycle, currency, C, &[(A, 250)]).await;
    assert_eq!(left(&hall).await, [1_250, -1_000, -250]);

    let mut bilateral = Vec::new();
    let mut after = PlatformId(0);
    loop {
        let page = hall.store.totals_of_cycle(cycle, after, 2).await.expect("totals are read");
        let Some((last, _)) = page.last() else { break };
        after = *last;
        bilateral.extend(page.into_iter().map(|(platform, totals)| (platform, totals.sums.positions)));
    }
    let made = Made::of(currency, &bilateral).expect("sums");
    assert_eq!(made.positions, [(A, -1_250), (B, 1_000), (C, 250)]);
    assert_eq!(confirm(&hall, cycle, 1, A).await, Err(TellError::Refused(Refusal::OutOfPlace)), "there is no run yet");
    let run = tell(&hall, cycle, Fact::Made(made.clone())).await.expect("it is made");
    let again = tell(&hall, cycle, Fact::Made(made)).await.expect("it is there");
    assert_eq!((&again, run.version), (&run, 1));

    let newest = hall.store.nettings_of_platform(A, None, 1).await.expect("transfers are read");
    assert_eq!(newest, [(run.made_at, cycle, 2)]);
    let rest = hall.store.nettings_of_platform(A, newest.last().copied(), 10).await.expect("transfers are read");
    assert_eq!(rest, [(run.made_at, cycle, 1)]);
    assert_eq!(hall.store.nettings_of_platform(C, None, 10).await.expect("read"), [(run.made_at, cycle, 2)]);

    assert_eq!(confirm(&hall, cycle, 1, C).await, Err(TellError::Refused(Refusal::NotAParty)));
    confirm(&hall, cycle, 1, A).await.expect("A has paid");
    assert_eq!(left(&hall).await, [1_250, -1_000, -250], "one word is none");
    for _ in 0..2 {
        confirm(&hall, cycle, 1, B).await.expect("B has got it");
        assert_eq!(left(&hall).await, [250, 0, -250], "it is booked once");
    }
    assert_eq!(states(&hall, cycle).await, ["carried", "netted", "carried"]);
    confirm(&hall, cycle, 2, C).await.expect("C has got it");
    let done = confirm(&hall, cycle, 2, A).await.expect("A has paid");
    assert_eq!((done.state_name(), left(&hall).await), ("done", [0, 0, 0]));
    assert_eq!(states(&hall, cycle).await, ["netted"; 3]);
    let (stream, head) = (cycle.into(), hall.store.head(cycle.into()).await.expect("read").expect("it is there"));
    assert_eq!((&*head.state, hall.store.entries(stream).await.expect("entries are read").len()), ("done", 2));
}
