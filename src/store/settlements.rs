//! Rows of cycles and settlements as they are read.

use sqlx::FromRow;
use sqlx::types::Uuid;

use super::rows::Readable;
use super::{NettingPlace, PayoutRow, StoreError, StoredBankDetails, StoredSettlement};
use crate::domain::closing::Cover;
use crate::domain::cycle::CycleId;
use crate::domain::id::PlatformId;
use crate::domain::money::Currency;
use crate::domain::partition::LaneId;
use crate::domain::payee::PayeeId;
use crate::domain::payout::Payout;
use crate::domain::settlement::{SettlementState, Totals};
use crate::domain::time::Instant;

#[derive(FromRow)]
pub struct CoverColumns {
    lane: i64,
    place: i64,
}

impl Readable for CoverColumns {
    type Value = Cover;
    fn read(self) -> Result<Cover, StoreError> {
        let lane = u32::try_from(self.lane).map(LaneId);
        let lane = lane.map_err(|_| StoreError::Corrupt(format!("there is no lane {}", self.lane)))?;
        Ok(Cover { lane, places: self.place })
    }
}

/// A text that is all of a row.
#[derive(FromRow)]
pub struct NameColumn(String);

impl Readable for NameColumn {
    type Value = String;
    fn read(self) -> Result<String, StoreError> {
        Ok(self.0)
    }
}

/// What heads of one kind are found by.
#[derive(FromRow)]
pub struct StreamIdColumn {
    id: Uuid,
}

impl Readable for StreamIdColumn {
    type Value = u128;
    fn read(self) -> Result<u128, StoreError> {
        Ok(self.id.as_u128())
    }
}

#[derive(FromRow)]
pub struct ClosedColumns {
    platform_id: i64,
    cycle: i64,
}

impl Readable for ClosedColumns {
    type Value = (PlatformId, CycleId);
    fn read(self) -> Result<(PlatformId, CycleId), StoreError> {
        let corrupt = || StoreError::Corrupt(format!("a settlement of platform {} cannot be read", self.platform_id));
        let platform = u32::try_from(self.platform_id).map(PlatformId).map_err(|_| corrupt())?;
        Ok((platform, CycleId::from_number(self.cycle).ok_or_else(corrupt)?))
    }
}

#[derive(FromRow)]
pub struct SettlementColumns {
    platform_id: i64,
    cycle: i64,
    currency: String,
    number: i64,
    starts_at: i64,
    ends_at: i64,
    closed_at: i64,
    totals: String,
    state: String,
    payout: Option<i64>,
    netted_at: Option<i64>,
}

impl Readable for SettlementColumns {
    type Value = StoredSettlement;
    fn read(self) -> Result<StoredSettlement, StoreError> {
        let (platform, number) = (self.platform_id, self.number);
        let corrupt = |what: &str| {
            StoreError::Corrupt(format!("the {what} of settlement {number} of platform {platform} cannot be read"))
        };
        Ok(StoredSettlement {
            platform: u32::try_from(platform).map(PlatformId).map_err(|_| corrupt("platform"))?,
            cycle: CycleId::from_number(self.cycle).ok_or_else(|| corrupt("cycle"))?,
            currency: Currency::parse(&self.currency).ok_or_else(|| corrupt("currency"))?,
            number: u32::try_from(number).map_err(|_| corrupt("number"))?,
            starts_at: Instant(self.starts_at),
            ends_at: Instant(self.ends_at),
            closed_at: Instant(self.closed_at),
            totals: serde_json::from_str(&self.totals).map_err(|_| corrupt("totals"))?,
            state: SettlementState::parse(&self.state).ok_or_else(|| corrupt("state"))?,
            payout: self.payout.map(u32::try_from).transpose().map_err(|_| corrupt("payout"))?,
            netted_at: self.netted_at.map(Instant),
        })
    }
}

#[derive(FromRow)]
pub struct PayoutColumns {
    platform_id: i64,
    currency: String,
    number: i64,
    body: String,
}

impl Readable for PayoutColumns {
    type Value = PayoutRow;
    fn read(self) -> Result<PayoutRow, StoreError> {
        let (platform, number) = (self.platform_id, self.number);
        let corrupt = || StoreError::Corrupt(format!("payout {number} of platform {platform} cannot be read"));
        let payee = PayeeId {
            currency: Currency::parse(&self.currency).ok_or_else(corrupt)?,
            platform: u32::try_from(platform).map(PlatformId).map_err(|_| corrupt())?,
        };
        let payout: Payout = serde_json::from_str(&self.body).map_err(|_| corrupt())?;
        if i64::from(payout.number) != number {
            return Err(corrupt());
        }
        Ok(PayoutRow { payee, payout })
    }
}

#[derive(FromRow)]
pub struct BankDetailsColumns {
    details: String,
    in_force_at: Option<i64>,
}

impl Readable for BankDetailsColumns {
    type Value = StoredBankDetails;
    fn read(self) -> Result<StoredBankDetails, StoreError> {
        // What was wrong with them would tell of them.
        let corrupt = |_| StoreError::Corrupt("bank details cannot be read".to_owned());
        let details = serde_json::from_str(&self.details).map_err(corrupt)?;
        Ok(StoredBankDetails { details, in_force_at: self.in_force_at.map(Instant) })
    }
}

#[derive(FromRow)]
pub struct TotalsColumns {
    platform_id: i64,
    totals: String,
}

impl Readable for TotalsColumns {
    type Value = (PlatformId, Totals);
    fn read(self) -> Result<(PlatformId, Totals), StoreError> {
        let platform = self.platform_id;
        let corrupt = || StoreError::Corrupt(format!("a settlement of platform {platform} cannot be read"));
        let id = u32::try_from(platform).map(PlatformId).map_err(|_| corrupt())?;
        Ok((id, serde_json::from_str(&self.totals).map_err(|_| corrupt())?))
    }
}

#[derive(FromRow)]
pub struct NettingPlaceColumns {
    made_at: i64,
    cycle: i64,
    number: i64,
}

impl Readable for NettingPlaceColumns {
    type Value = NettingPlace;
    fn read(self) -> Result<NettingPlace, StoreError> {
        let corrupt = || StoreError::Corrupt(format!("a transfer of the netting of {} cannot be read", self.cycle));
        let cycle = CycleId::from_number(self.cycle).ok_or_else(corrupt)?;
        Ok((Instant(self.made_at), cycle, u32::try_from(self.number).map_err(|_| corrupt())?))
    }
}
