//! What a run has come by: a simulation that never gets into trouble proves nothing.

use std::cell::RefCell;
use std::collections::BTreeSet;

thread_local! {
    static SEEN: RefCell<BTreeSet<Sight>> = const { RefCell::new(BTreeSet::new()) };
}

/// Situations that the runs are there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sight {
    /// Money was taken when that would soon have been impossible.
    TakenInTheLastMoment,
    /// A payer left an attempt that cannot be closed and was told to wait.
    ToldToWait,
    /// A query found nothing of what was then paid.
    PaidAfterNotExist,
    /// A code that had died was tried.
    DeadCode,
    /// Money was taken although a close had been answered as done.
    PaidWhileClosing,
    /// A decline left the attempt open, and it was paid all the same.
    PaidAfterDecline,
    /// A callback was ahead of money that never came.
    CallbackCameFalse,
    /// An issuer was at work for longer than any grace.
    IssuerSlow,
    /// A create was repeated and met the error of its first run.
    FailureRepeated,
    /// A browser came too late.
    BrowserLate,
    /// A refund was paid under another number than its first.
    RefundedAnew,
    /// A platform asked for more than was left.
    RefundExceeded,
    /// Two refunds were asked for under one name.
    RefundNameTaken,
    /// A refund waited because its channel wants a pause.
    RefundWaited,
    /// A refund waited for money at its channel.
    RefundLackedMoney,
    /// A refund that a platform asked for came to nothing.
    RefundFailed,
    /// A refund stuck at its channel.
    RefundStuck,
    /// An operator ended a refund, as failed and as paid by other means.
    RefundGivenUp,
    RefundPaidOtherwise,
    /// A refund was refused while an earlier send of it might have arrived.
    RefundRefusedInDoubt,
    /// Money of a refund came back.
    RefundCameBack,
    /// A refund took its parts from more than one party.
    RefundOfShares,
    /// A look that nobody had told of found that a refund had come back.
    RefundFoundBack,
    /// A create that never arrived was found to be nowhere, by asking long enough.
    NowhereForGood,
    /// A group whose outcome was open was found to have been written.
    ReadBackAsWritten,
    /// An order has left memory that still waits for something.
    WaitsElsewhere,
    /// And was taken up again before anything was due.
    CameBack,
    /// A stored due time was moved without a step.
    PutOff,
    /// A callback was parked because its order was quarantined, and then taken.
    CallbackParked,
    CallbackDelivered,
    /// A webhook that was refused was taken later.
    WebhookRepeated,
    /// Somebody asked for an order that nobody knew whether it was written.
    OutcomeUnknown,
    /// A reminder's message was taken by its order.
    MessageTaken,
    /// A message was delivered once more when it had been taken.
    ToldTwice,
    /// A group failed by one of its units, and was tried in halves.
    GroupSplit,
    /// A platform was settled more than once, carried something, and was settled by a calendar that it had joined.
    SettledTwice,
    Carried,
    /// Platforms of a closed cycle owe each other something.
    Netted,
    SettledElsewhere,
}

impl Sight {
    pub const ALL: [Sight; 39] = [
        Sight::TakenInTheLastMoment,
        Sight::ToldToWait,
        Sight::PaidAfterNotExist,
        Sight::DeadCode,
        Sight::PaidWhileClosing,
        Sight::PaidAfterDecline,
        Sight::CallbackCameFalse,
        Sight::IssuerSlow,
        Sight::FailureRepeated,
        Sight::BrowserLate,
        Sight::RefundedAnew,
        Sight::RefundExceeded,
        Sight::RefundNameTaken,
        Sight::RefundWaited,
        Sight::RefundLackedMoney,
        Sight::RefundFailed,
        Sight::RefundStuck,
        Sight::RefundGivenUp,
        Sight::RefundPaidOtherwise,
        Sight::RefundRefusedInDoubt,
        Sight::RefundCameBack,
        Sight::RefundOfShares,
        Sight::RefundFoundBack,
        Sight::NowhereForGood,
        Sight::ReadBackAsWritten,
        Sight::WaitsElsewhere,
        Sight::CameBack,
        Sight::PutOff,
        Sight::CallbackParked,
        Sight::CallbackDelivered,
        Sight::WebhookRepeated,
        Sight::OutcomeUnknown,
        Sight::MessageTaken,
        Sight::ToldTwice,
        Sight::GroupSplit,
        Sight::SettledTwice,
        Sight::Carried,
        Sight::Netted,
        Sight::SettledElsewhere,
    ];
}

pub fn note(sight: Sight) {
    SEEN.with_borrow_mut(|seen| {
        seen.insert(sight);
    });
}

/// Takes what was noted in this thread.
pub fn take() -> BTreeSet<Sight> {
    SEEN.take()
}
