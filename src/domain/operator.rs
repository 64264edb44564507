//! The operator: one person who works on the payments of others, with a role and the keys that the person is known by.

use std::convert::Infallible;

use serde::{Deserialize, Serialize};

use super::machine::{self, Machine};
use super::platform::KeyHash;
use super::stream::{Kind, StreamId};
use super::time::Instant;

/// Keys in force at once: one for each of a person's machines, and one that takes over.
pub const KEYS_MAX: usize = 8;

/// An operator's number: they are given one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperatorId(pub u32);

/// What a person is trusted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Viewer,
    Support,
    Finance,
    Risk,
    Operator,
    Admin,
}

/// What a route asks of whoever comes to it: one for each group of routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// Looks at lists.
    Read,
    /// Has what is held back tried again: nothing is decided by it.
    Retry,
    /// Proposes something: what, is a right of its own.
    Propose,
    /// Proposes how a payment or a refund ended.
    ProposeOutcome,
    /// Proposes entries.
    ProposeEntry,
    /// Proposes what platforms may owe.
    ProposeDebt,
    /// Proposes payouts, and where platforms are paid to.
    ProposePayout,
    /// Records what a bank says.
    RecordBank,
    /// Proposes operators and their roles.
    ProposeOperator,
    /// Approves what another one proposed.
    Approve,
    /// The same of operators and their roles.
    ApproveOperator,
    /// Ends cycles early, and says when they end.
    Settle,
    /// Makes and takes back keys of one's own.
    KeepKeys,
    /// Revokes keys of others, which only takes rights away.
    RevokeKeys,
}

impl Role {
    pub const ALL: [Role; 6] = [Role::Viewer, Role::Support, Role::Finance, Role::Risk, Role::Operator, Role::Admin];

    pub const fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Support => "support",
            Role::Finance => "finance",
            Role::Risk => "risk",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }

    /// The one table of who may what.
    pub const fn may(self, right: Right) -> bool {
        use Role::{Admin, Finance, Operator, Risk, Support};
        match right {
            Right::Read | Right::KeepKeys => true,
            Right::Retry => matches!(self, Support | Operator | Admin),
            Right::Propose => matches!(self, Support | Finance | Risk | Operator | Admin),
            Right::ProposeOutcome => matches!(self, Support | Finance | Operator | Admin),
            Right::ProposePayout => matches!(self, Finance | Operator | Admin),
            Right::RecordBank => matches!(self, Finance | Admin),
            Right::ProposeEntry => matches!(self, Finance | Operator | Admin),
            Right::ProposeDebt => matches!(self, Finance | Risk | Operator | Admin),
            Right::Approve => matches!(self, Finance | Admin),
            Right::ProposeOperator | Right::ApproveOperator | Right::RevokeKeys => matches!(self, Admin),
            Right::Settle => matches!(self, Finance | Operator | Admin),
        }
    }
}

impl Right {
    /// The roles that have it, for whoever has not.
    pub fn roles(self) -> String {
        let names = Role::ALL.into_iter().filter(|role| role.may(self)).map(Role::name);
        names.collect::<Vec<_>>().join(", ")
    }
}

/// A key that was not revoked. Whether it has run out is for whoever knows the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// None: it holds until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Instant>,
    pub hash: KeyHash,
    /// The first characters of the key, by which people tell keys apart.
    pub hint: Box<str>,
}

impl Key {
    pub fn is_in_force(&self, now: Instant) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// Who somebody is and what for: it is fixed once the operator is there, but for the role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// No two operators have one name: see [`is_name`](super::platform::is_name).
    pub name: Box<str>,
    pub role: Role,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    pub id: OperatorId,
    /// Those that were not revoked, in the order in which they were added.
    pub keys: Vec<Key>,
    pub last_at: Instant,
    /// None before the person was added.
    pub person: Option<Person>,
    pub version: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at: Instant,
    #[serde(flatten)]
    pub fact: Fact,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Fact {
    /// With the first key, without which nobody could tell that it is that person.
    Added {
        person: Person,
        key: Key,
    },
    RoleChanged {
        role: Role,
    },
    KeyAdded(Key),
    KeyRevoked {
        hash: KeyHash,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The event does not belong to the state, such as a second addition.
    OutOfPlace,
    TooManyKeys,
    /// No such key is in force.
    KeyUnknown,
    /// The very key is in force already.
    KeyTaken,
}

/// A row beside the operator's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    Person,
    ChangeRole(Role),
    AddKey(Key),
    RevokeKey(KeyHash),
}

pub type Step = machine::Step<Operator>;

impl Operator {
    /// One who is about to be added.
    pub const fn unborn(id: OperatorId) -> Self {
        Operator { id, keys: Vec::new(), last_at: Instant(0), person: None, version: 0 }
    }

    fn take(&mut self, fact: &Fact, writes: &mut Vec<Write>) -> Result<(), Refusal> {
        match (fact, &mut self.person) {
            (Fact::Added { person, key }, None) => {
                self.person = Some(person.clone());
                self.keys.push(key.clone());
                writes.extend([Write::Person, Write::AddKey(key.clone())]);
                Ok(())
            }
            (Fact::Added { .. }, Some(_))
            | (Fact::RoleChanged { .. } | Fact::KeyAdded(_) | Fact::KeyRevoked { .. }, None) => {
                Err(Refusal::OutOfPlace)
            }
            (Fact::RoleChanged { role }, Some(person)) => {
                if person.role != *role {
                    person.role = *role;
                    writes.push(Write::ChangeRole(*role));
                }
                Ok(())
            }
            (Fact::KeyAdded(key), Some(_)) => {
                if self.keys.iter().any(|known| known.hash == key.hash) {
                    return Err(Refusal::KeyTaken);
                }
                if self.keys.len() >= KEYS_MAX {
                    return Err(Refusal::TooManyKeys);
                }
                self.keys.push(key.clone());
                writes.push(Write::AddKey(key.clone()));
                Ok(())
            }
            (Fact::KeyRevoked { hash }, Some(_)) => {
                let place = self.keys.iter().position(|key| key.hash == *hash).ok_or(Refusal::KeyUnknown)?;
                self.keys.remove(place);
                writes.push(Write::RevokeKey(*hash));
                Ok(())
            }
        }
    }
}

impl From<OperatorId> for StreamId {
    fn from(operator: OperatorId) -> Self {
        StreamId { kind: Kind::OPERATOR, id: u128::from(operator.0) }
    }
}

impl Machine for Operator {
    const KIND: Kind = Kind::OPERATOR;
    const NAME: &'static str = "operator";

    type Event = Event;
    type Refusal = Refusal;
    type Write = Write;
    type Effect = Infallible;
    type Note = Infallible;
    type Target = Infallible;

    fn id(&self) -> u128 {
        u128::from(self.id.0)
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn decide(&self, events: &[Event]) -> Result<Step, Refusal> {
        let mut after = self.clone();
        let mut writes = Vec::new();
        for event in events {
            let before = writes.len();
            after.take(&event.fact, &mut writes)?;
            if writes.len() > before {
                // A clock that was set back makes no step older than the one before.
                after.last_at = after.last_at.max(event.at);
            }
        }
        if !writes.is_empty() {
            after.version += 1;
        }
        Ok(Step { after, writes, effects: Vec::new(), notes: Vec::new(), messages: Vec::new() })
    }

    fn resume(&self, _: Instant) -> Vec<Infallible> {
        Vec::new()
    }

    fn next_due_at(&self, _: Instant) -> Option<Instant> {
        None
    }

    fn is_at_rest(&self, _: Instant) -> bool {
        true
    }

    fn target(effect: Infallible) -> Option<Infallible> {
        Some(effect)
    }

    fn answered(_: &Event) -> Option<Infallible> {
        None
    }

    fn takes_back(_: Infallible, pending: Infallible) -> bool {
        match pending {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Instant = Instant(1_800_000_000_000);

    fn key(number: u8) -> Key {
        Key { expires_at: None, hash: KeyHash([number; 32]), hint: format!("ok_{number}").into() }
    }

    fn person(role: Role) -> Person {
        Person { name: "li".into(), role }
    }

    fn take(operator: &Operator, fact: Fact) -> Result<(Operator, Vec<Write>), Refusal> {
        operator.decide(&[Event { at: AT, fact }]).map(|step| (step.after, step.writes))
    }

    fn added(keys: u8) -> Operator {
        let first = Fact::Added { person: person(Role::Viewer), key: key(0) };
        let mut operator = take(&Operator::unborn(OperatorId(7)), first).unwrap().0;
        for number in 1..keys {
            operator = take(&operator, Fact::KeyAdded(key(number))).unwrap().0;
        }
        operator
    }

    #[test]
    fn each_fact_has_its_situations() {
        let unborn = || Operator::unborn(OperatorId(7));
        let revoke = |number| Fact::KeyRevoked { hash: key(number).hash };
        let full = u8::try_from(KEYS_MAX).unwrap();
        let table = [
            (
                "added once",
                unborn(),
                Fact::Added { person: person(Role::Risk), key: key(0) },
                Ok(vec![Write::Person, Write::AddKey(key(0))]),
            ),
            (
                "and not again",
                added(1),
                Fact::Added { person: person(Role::Risk), key: key(1) },
                Err(Refusal::OutOfPlace),
            ),
            (
                "who is not there has no role",
                unborn(),
                Fact::RoleChanged { role: Role::Risk },
                Err(Refusal::OutOfPlace),
            ),
            ("and no keys", unborn(), Fact::KeyAdded(key(0)), Err(Refusal::OutOfPlace)),
            ("and loses none", unborn(), revoke(0), Err(Refusal::OutOfPlace)),
            ("another role", added(1), Fact::RoleChanged { role: Role::Risk }, Ok(vec![Write::ChangeRole(Role::Risk)])),
            ("the same role", added(1), Fact::RoleChanged { role: Role::Viewer }, Ok(vec![])),
            ("a key more", added(1), Fact::KeyAdded(key(1)), Ok(vec![Write::AddKey(key(1))])),
            ("the very key", added(1), Fact::KeyAdded(key(0)), Err(Refusal::KeyTaken)),
            ("a key too many", added(full), Fact::KeyAdded(key(full)), Err(Refusal::TooManyKeys)),
            ("a key less", added(2), revoke(1), Ok(vec![Write::RevokeKey(key(1).hash)])),
            ("a key that is not there", added(2), revoke(2), Err(Refusal::KeyUnknown)),
        ];
        for (what, before, fact, expected) in table {
            let taken = take(&before, fact);
            if let Ok((after, writes)) = &taken {
                assert_eq!(after.version, before.version + u32::from(!writes.is_empty()), "{what}");
            }
            assert_eq!(taken.map(|(_, writes)| writes), expected, "{what}");
        }
    }

    #[test]
    fn a_key_holds_until_its_end() {
        let ending = Key { expires_at: Some(AT), ..key(0) };
        assert!(ending.is_in_force(AT.plus_ms(-1)) && !ending.is_in_force(AT));
        assert!(key(0).is_in_force(AT));
    }

    #[test]
    fn every_role_may_read_and_viewers_may_nothing_else() {
        for role in Role::ALL {
            assert!(role.may(Right::Read), "{role:?}");
            assert_eq!(Role::parse(role.name()), Some(role));
        }
        for right in
            [Right::Retry, Right::Propose, Right::ProposeEntry, Right::Settle, Right::Approve, Right::RevokeKeys]
        {
            assert!(!Role::Viewer.may(right) && Role::Admin.may(right), "{right:?}");
        }
        assert_eq!(Right::RevokeKeys.roles(), "admin");
    }

    #[test]
    fn journal_rows_of_operators_are_read_back() {
        let facts = [
            Fact::Added { person: person(Role::Admin), key: Key { expires_at: Some(AT), ..key(1) } },
            Fact::RoleChanged { role: Role::Finance },
            Fact::KeyAdded(key(2)),
            Fact::KeyRevoked { hash: key(1).hash },
        ];
        for fact in facts {
            let event = Event { at: AT, fact };
            let text = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event, "{text}");
        }
    }
}
