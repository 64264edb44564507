//! How UnionPay tells of money: signed forms, of purchases that were paid and of refunds.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use rand::RngExt;

use super::clock;
use super::fields::{FAILED, Kept, PENDING, Refused, SUCCESS};
use super::form::{Fields, notification};
use super::signing::{Merchant, Signer};
use crate::gateway::books::{BookedRefund, Capture, Notice, RefundNotice};
use crate::gateway::fate::RefundState;
use crate::gateway::wire::{Callback, EndedBy, TimeScale, Wire};

const MINUTE_MS: i64 = 60_000;
/// Five tries in all.
const GAPS_MS: [i64; 4] = [MINUTE_MS, 2 * MINUTE_MS, 4 * MINUTE_MS, 5 * MINUTE_MS];
/// The first two digits of every `queryId` that was seen.
const QUERY_ID_HEAD: &str = "05";
const SERIAL_DIGITS: usize = 7;
const SERIALS: u32 = 10u32.pow(SERIAL_DIGITS as u32);
/// Where the `traceNo` stands in a `queryId`: the first six digits of its serial, as in the messages that were seen.
const TRACE: std::ops::Range<usize> = 14..20;
/// An encrypted card number; its base64 has what decoding as a form would spoil.
const ACC_NO: &str = "kx+7Zk/0fH8mA+b1VQ==";

pub struct UnionpayWire {
    pub merchant: Merchant,
    pub signer: Signer,
    /// Made when the first forged notification is asked for: an RSA key takes its time.
    forger: OnceLock<Signer>,
    retry_ms: Vec<i64>,
}

impl UnionpayWire {
    pub fn new(merchant: Merchant, signer: Signer, scale: TimeScale) -> Self {
        UnionpayWire { merchant, signer, forger: OnceLock::new(), retry_ms: scale.all(&GAPS_MS) }
    }

    fn callback_by(&self, signer: &Signer, fields: Fields) -> Callback {
        let content_type = "application/x-www-form-urlencoded;charset=UTF-8";
        Callback { headers: Vec::new(), content_type, body: notification(&signer.sign(fields)) }
    }

    fn purchase(&self, notice: &Notice) -> Fields {
        let kept = Kept::read(notice.data.as_deref());
        let mut fields = self.told(&notice.number, "01", "01", kept);
        fields.extend(paid(&notice.capture));
        fields.extend([("payCardType".into(), "01".into()), ("payType".into(), "0001".into())]);
        fields
    }

    /// What every notification has.
    fn told(&self, order_id: &str, txn_type: &str, txn_sub_type: &str, kept: Option<Kept>) -> Fields {
        let mut fields: Fields = [
            ("version", "5.1.0"),
            ("encoding", "UTF-8"),
            ("bizType", "000201"),
            ("accessType", "0"),
            ("merId", &self.merchant.mer_id),
            ("txnType", txn_type),
            ("txnSubType", txn_sub_type),
            ("orderId", order_id),
            ("respCode", SUCCESS.code),
            ("respMsg", SUCCESS.message),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        if let Some(kept) = kept {
            fields.insert("txnTime".into(), kept.txn_time);
            fields.extend(kept.reserved.map(|text| ("reqReserved".to_owned(), text)));
        }
        fields
    }
}

/// What notifications and queries say of money that moved.
pub fn paid(capture: &Capture) -> Fields {
    let amount = capture.amount_minor.to_string();
    [
        ("queryId", &*capture.reference),
        ("traceNo", trace_no(&capture.reference)),
        ("traceTime", &clock::within_year(capture.at)),
        ("settleAmt", &amount),
        ("settleCurrencyCode", "156"),
        ("settleDate", &clock::day_of(capture.at)),
        ("txnAmt", &amount),
        ("currencyCode", "156"),
        ("accNo", ACC_NO),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// The same of a refund in this state: what did not move has nothing to be settled. None if it has no name.
pub fn moved(refund: &BookedRefund, state: RefundState) -> Option<Fields> {
    let (reference, amount_minor) = (Arc::clone(refund.reference.as_ref()?), refund.amount_minor);
    match state {
        RefundState::Refunded | RefundState::Returned => {
            let at = refund.fate.refunded_at().unwrap_or(refund.at);
            Some(paid(&Capture { reference, amount_minor, at }))
        }
        RefundState::Pending | RefundState::Ended | RefundState::Stuck => {
            let mut fields = paid(&Capture { reference, amount_minor, at: refund.at });
            fields.retain(|name, _| !name.starts_with("settle"));
            Some(fields)
        }
    }
}

/// How UnionPay calls a refund's state. None of its refunds leaves success again, or waits for a person.
pub const fn said(state: RefundState) -> Refused {
    match state {
        RefundState::Pending | RefundState::Stuck => PENDING,
        RefundState::Refunded | RefundState::Returned => SUCCESS,
        RefundState::Ended => FAILED,
    }
}

/// The number under which the settlement system knows what a `queryId` names.
pub fn trace_no(query_id: &str) -> &str {
    query_id.get(TRACE).unwrap_or_default()
}

/// A fresh `queryId`: 21 digits, of which twelve are the time. The serial is counted rather than drawn: of a thousand
/// drawn within one second two are the same in one second of twenty.
pub fn query_id(at: i64) -> String {
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(rand::rng().random_range(0..SERIALS)));
    let serial = NEXT.fetch_add(1, Ordering::Relaxed) % SERIALS;
    format!("{QUERY_ID_HEAD}{}{serial:0SERIAL_DIGITS$}", clock::query_id(at))
}

impl Wire for UnionpayWire {
    fn reference(&self, at: i64) -> String {
        query_id(at)
    }

    fn callback(&self, notice: &Notice, _sent_at: i64) -> Callback {
        self.callback_by(&self.signer, self.purchase(notice))
    }

    fn forged(&self, notice: &Notice, _sent_at: i64) -> Callback {
        self.callback_by(self.forger.get_or_init(|| self.signer.forger()), self.purchase(notice))
    }

    /// Purchases are told of when they succeed; of what merchants ask for themselves failures are told too.
    fn tells(&self, state: RefundState) -> bool {
        match state {
            RefundState::Refunded | RefundState::Ended => true,
            RefundState::Pending | RefundState::Stuck | RefundState::Returned => false,
        }
    }

    fn refund_callback(&self, notice: &RefundNotice, _sent_at: i64) -> Option<Callback> {
        let news = Some(notice.news).filter(|news| self.tells(news.state))?;
        let kept = Kept::read(notice.refund.data.as_deref());
        let mut fields = self.told(&notice.refund_number, "04", "00", kept);
        let said = said(news.state);
        fields.extend([("respCode".into(), said.code.into()), ("respMsg".into(), said.message.into())]);
        fields.extend(moved(&notice.refund, news.state)?);
        let original = notice.payment.reference.as_deref().map(|text| ("origQryId".to_owned(), text.to_owned()));
        fields.extend(original);
        Some(self.callback_by(&self.signer, fields))
    }

    fn is_acknowledgement(&self, status: u16, _body: &[u8]) -> bool {
        status == 200
    }

    fn retry_ms(&self) -> &[i64] {
        &self.retry_ms
    }

    fn ended_by(&self) -> EndedBy {
        EndedBy::Time
    }
}
