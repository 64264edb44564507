//! How a place and its reason are told, to platforms and to payers.

use serde::Serialize;

use super::Message;
use crate::domain::channel::Channel;
use crate::domain::money::format_minor;
use crate::domain::order::Order;
use crate::domain::routing::{Reason, Route};
use crate::domain::success::BasisPoints;
use crate::domain::validation::{Health, Unsuited};

/// A channel in its place, as the order's platform reads it.
#[derive(Serialize)]
pub struct RouteView {
    pub channel: Channel,
    pub usable: bool,
    pub health: Health,
    pub success_rate: Option<BasisPoints>,
    pub fee: Option<String>,
    pub payable: Option<String>,
    pub reason: ReasonView,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ReasonView {
    pub code: &'static str,
    pub message: Message,
}

pub fn route_view(order: &Order, route: &Route) -> RouteView {
    let money = |amount_minor| format_minor(amount_minor, order.currency);
    RouteView {
        channel: route.channel,
        usable: route.is_usable(),
        health: route.health,
        success_rate: route.success_rate,
        fee: route.price.ok().map(|quote| money(quote.fee_minor)),
        payable: route.price.ok().map(|quote| money(quote.payable_minor)),
        reason: reason_view(route.reason),
    }
}

pub fn reason_view(reason: Reason) -> ReasonView {
    let (code, zh, en) = match reason {
        Reason::UsedBefore => ("used_before", "您上次用的就是它", "You paid this way last time"),
        Reason::OnlyOne => ("only_one", "目前唯一可用的渠道", "The only channel available now"),
        Reason::HigherSuccessRate => ("higher_success_rate", "近期成功率较高", "Succeeds more often of late"),
        Reason::LowerFee => ("lower_fee", "手续费较低", "Lower fee"),
        Reason::LowerSuccessRate => ("lower_success_rate", "近期成功率较低", "Succeeds less often of late"),
        Reason::HigherFee => ("higher_fee", "手续费较高", "Higher fee"),
        Reason::Available => ("available", "也可使用", "Available too"),
        Reason::Down => ("down", "暂时不可用", "Out of order for now"),
        Reason::Unsuited(Unsuited::Currency) => ("currency_unsuitable", "不支持该币种", "Does not take this currency"),
        Reason::Unsuited(Unsuited::BelowMinimum) => ("below_minimum", "低于最低金额", "Below its minimum amount"),
        Reason::Unsuited(Unsuited::AboveMaximum) => ("above_maximum", "超过最高金额", "Above its maximum amount"),
        Reason::Unsuited(Unsuited::TooLate) => ("too_late", "订单剩余时间不足", "The order expires too soon for it"),
    };
    ReasonView { code, message: Message { zh, en } }
}
