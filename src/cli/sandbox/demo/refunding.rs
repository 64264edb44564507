//! What a platform asks back of a paid order, and where that ends.

use crate::domain::channel::Channel;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refunding {
    Whole,
    Part,
    Parts,
    Poor,
    Refuse,
    End,
    Return,
}

/// How much a refund asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Portion {
    /// A third of the order's amount.
    Third,
    /// All that is left.
    Rest,
}

/// Where each of its refunds ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefundEnding {
    pub state: &'static str,
    /// The code of its failure.
    pub failure: Option<&'static str>,
}

impl Refunding {
    pub const ALL: [Refunding; 7] = [
        Refunding::Whole,
        Refunding::Part,
        Refunding::Parts,
        Refunding::Poor,
        Refunding::Refuse,
        Refunding::End,
        Refunding::Return,
    ];

    /// What it is called in a mix.
    pub const fn word(self) -> &'static str {
        match self {
            Refunding::Whole => "refund",
            Refunding::Part => "part",
            Refunding::Parts => "parts",
            Refunding::Poor => "poor",
            Refunding::Refuse => "refuse",
            Refunding::End => "end",
            Refunding::Return => "return",
        }
    }

    /// The reason that it gives, whose first word is the gateway's script.
    pub const fn reason(self) -> &'static str {
        match self {
            Refunding::Whole => "sent back",
            Refunding::Part | Refunding::Parts => "sent back in part",
            Refunding::Poor => "sim:poor",
            Refunding::Refuse => "sim:refuse",
            Refunding::End => "sim:end",
            Refunding::Return => "sim:return",
        }
    }

    /// What it plays, for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Refunding::Whole => "all of it is given back",
            Refunding::Part => "a third is given back",
            Refunding::Parts => "a third is given back, then the rest",
            Refunding::Poor => "the channel has no money for 5 s, then given back",
            Refunding::Refuse => "the channel refuses",
            Refunding::End => "the channel ends it under every number",
            Refunding::Return => "given back, and returned 3 s later",
        }
    }

    /// The refunds that it asks for, one after the other.
    pub const fn portions(self) -> &'static [Portion] {
        match self {
            Refunding::Part => &[Portion::Third],
            Refunding::Parts => &[Portion::Third, Portion::Rest],
            Refunding::Whole | Refunding::Poor | Refunding::Refuse | Refunding::End | Refunding::Return => {
                &[Portion::Rest]
            }
        }
    }

    pub const fn ending(self) -> RefundEnding {
        let (state, failure) = match self {
            Refunding::Whole | Refunding::Part | Refunding::Parts | Refunding::Poor => ("succeeded", None),
            Refunding::Refuse => ("failed", Some("channel_refused")),
            Refunding::End => ("failed", Some("channel_ended")),
            Refunding::Return => ("returned", None),
        };
        RefundEnding { state, failure }
    }

    /// Whether the channel has words for it; what it has none for goes as if nothing were asked.
    pub const fn is_expressed_by(self, channel: Channel) -> bool {
        match (self, channel) {
            (Refunding::End, Channel::Alipay)
            | (Refunding::Poor, Channel::Unionpay)
            | (Refunding::Return, Channel::Wechat | Channel::Alipay | Channel::Unionpay) => false,
            (Refunding::Whole | Refunding::Part | Refunding::Parts | Refunding::Refuse, _)
            | (Refunding::End, Channel::Simpay | Channel::Wechat | Channel::Unionpay | Channel::Stripe)
            | (Refunding::Poor, Channel::Simpay | Channel::Wechat | Channel::Alipay | Channel::Stripe)
            | (Refunding::Return, Channel::Simpay | Channel::Stripe) => true,
        }
    }
}
