//! What can happen in a run.

use tongbao::domain::id::{Account, AttemptNumber, OrderId};

use crate::cycles::Which;
use crate::gateways::{Reply, Request, Shown};
use crate::life::{Notice, RefundTold};
use crate::people::Extent;

/// What can happen. What belongs to one life of the server carries its number, and is nothing after that life.
#[derive(Debug, Clone)]
pub enum What {
    Create {
        buyer: usize,
    },
    Pay {
        buyer: usize,
    },
    Cancel {
        buyer: usize,
    },
    Agree {
        buyer: usize,
    },
    /// The platform wants money of an order back at its payer, under a name that it may have used before.
    Refund {
        buyer: usize,
        name: u32,
    },
    /// Somebody sets a reminder for an order.
    Remind {
        buyer: usize,
        wait_ms: i64,
    },
    /// An operator ends a calendar's cycle, so many ahead of the open one.
    CloseEarly {
        calendar: Which,
        ahead: i64,
    },
    /// A platform belongs to another calendar from its next cut on.
    Join {
        platform: u32,
    },
    /// A browser brings what it was given.
    Browse {
        number: AttemptNumber,
    },
    /// The payer pays when there is hardly any time left.
    LastMoment {
        shown: Shown,
    },
    Resolve {
        extent: Extent,
    },
    /// A timer, a sweep, a lane or a sleeper comes up.
    Wake {
        life: u32,
    },
    Scan {
        life: u32,
    },
    LookIntoInbox {
        life: u32,
    },
    Post {
        life: u32,
        key: (OrderId, u32),
    },
    LookIntoOutbox {
        life: u32,
    },
    Deliver {
        life: u32,
    },
    Depart {
        life: u32,
        call: u64,
    },
    TimeOut {
        life: u32,
        call: u64,
    },
    Answer {
        life: u32,
        call: u64,
        reply: Reply,
    },
    Arrive {
        number: AttemptNumber,
        account: Account,
        request: Request,
        copy: Copy,
    },
    StoreAnswers {
        life: u32,
        lane: usize,
    },
    Land,
    /// An order's row can neither be read nor written, and later it can again.
    Damage {
        buyer: usize,
    },
    Repair {
        id: OrderId,
    },
    Take {
        number: AttemptNumber,
    },
    /// The payer's bank says no.
    Decline {
        number: AttemptNumber,
    },
    Lie {
        number: AttemptNumber,
    },
    Notify {
        notice: Notice,
    },
    /// The payer's bank sends the money of a refund back.
    ComeBack {
        number: AttemptNumber,
        refund_number: String,
    },
    NotifyRefund {
        notice: RefundTold,
    },
    Restart,
    Calm,
}

/// Which copy of a request arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    First {
        life: u32,
        call: u64,
    },
    /// Sent again on the way; nobody waits for its answer.
    Second,
}

impl What {
    /// The life of the server that it belongs to.
    pub fn life(&self) -> Option<u32> {
        match self {
            What::Wake { life }
            | What::Scan { life }
            | What::LookIntoInbox { life }
            | What::Post { life, .. }
            | What::LookIntoOutbox { life }
            | What::Deliver { life }
            | What::Depart { life, .. }
            | What::TimeOut { life, .. }
            | What::Answer { life, .. }
            | What::StoreAnswers { life, .. } => Some(*life),
            What::Create { .. }
            | What::Pay { .. }
            | What::Cancel { .. }
            | What::Agree { .. }
            | What::Refund { .. }
            | What::Remind { .. }
            | What::CloseEarly { .. }
            | What::Join { .. }
            | What::Browse { .. }
            | What::LastMoment { .. }
            | What::Resolve { .. }
            | What::Arrive { .. }
            | What::Land
            | What::Damage { .. }
            | What::Repair { .. }
            | What::Take { .. }
            | What::Decline { .. }
            | What::Lie { .. }
            | What::Notify { .. }
            | What::ComeBack { .. }
            | What::NotifyRefund { .. }
            | What::Restart
            | What::Calm => None,
        }
    }
}
