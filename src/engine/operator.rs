//! The operator in the engine: what it may be told, and what its steps write.

use super::lane::WriteError;
use super::quiet::{Dates, Quiet, Quietly, unit_of};
use crate::domain::journal::Salt;
use crate::domain::operator::{Event, Fact, Key, Operator, OperatorId, Person, Role, Step, Write};
use crate::domain::platform::KeyHash;
use crate::domain::time::Instant;
use crate::store::{
    AddedOperatorKey, ChangedRole, OperatorAct, RevokedOperatorKey, Row, StepUnit, StoreError, StoredOperator,
};

pub enum Told {
    /// The first letter of a new operator.
    Add {
        person: Person,
        key: Key,
    },
    ChangeRole(Role),
    AddKey(Key),
    /// All of them or none.
    RevokeKeys(Vec<KeyHash>),
}

pub struct OperatorKind;

pub type Operators = Quietly<OperatorKind>;

impl Quiet for OperatorKind {
    type Machine = Operator;
    type Told = Told;
    type Beside = ();

    fn hear(told: Told, at: Instant) -> (Vec<Event>, ()) {
        let facts = match told {
            Told::Add { person, key } => vec![Fact::Added { person, key }],
            Told::ChangeRole(role) => vec![Fact::RoleChanged { role }],
            Told::AddKey(key) => vec![Fact::KeyAdded(key)],
            Told::RevokeKeys(hashes) => hashes.into_iter().map(|hash| Fact::KeyRevoked { hash }).collect(),
        };
        (facts.into_iter().map(|fact| Event { at, fact }).collect(), ())
    }

    fn read(id: u128, snapshot: &str) -> Result<Option<Operator>, StoreError> {
        u32::try_from(id).ok().map(|id| read(OperatorId(id), snapshot)).transpose()
    }

    fn unit(step: &Step, events: &[Event], salt: Salt, (): &mut ()) -> Result<StepUnit, WriteError> {
        unit(step, events, salt)
    }
}

/// What makes an operator's step durable.
///
/// # Errors
/// [`WriteError::Culprit`] for a row of an operator who was not added.
pub fn unit(step: &Step, events: &[Event], salt: Salt) -> Result<StepUnit, WriteError> {
    let (after, at) = (&step.after, step.after.last_at);
    let rows = step.writes.iter().map(|write| row(write, after)).collect::<Result<_, _>>()?;
    let decided_at = events.last().map_or(at, |event| event.at);
    unit_of(step, events, salt, Dates { at, decided_at }, rows)
}

fn row(write: &Write, after: &Operator) -> Result<Row, WriteError> {
    let (operator, at) = (after.id, after.last_at);
    Ok(match write {
        Write::Person => {
            let person = after.person.as_ref();
            let person = person.ok_or_else(|| WriteError::Culprit("an operator is added as nobody".to_owned()))?;
            Row::Operator(StoredOperator { id: operator, name: person.name.clone(), role: person.role })
        }
        Write::ChangeRole(role) => Row::RoleChanged(ChangedRole { operator, role: *role }),
        Write::AddKey(key) => Row::OperatorKey(AddedOperatorKey { operator, key: key.clone(), created_at: at }),
        Write::RevokeKey(hash) => Row::OperatorKeyRevoked(RevokedOperatorKey { operator, hash: *hash, revoked_at: at }),
    })
}

/// A row about what somebody did, or was refused: what a stranger sends in a text is cut off.
pub fn acted(at: Instant, operator: &str, act: &str, subject: &str, outcome: &str) -> OperatorAct {
    let text = |text: &str| {
        let seen = text.chars().filter(|character| !character.is_control());
        seen.take(OperatorAct::TEXT_MAX).collect::<String>().into()
    };
    OperatorAct {
        id: uuid::Uuid::now_v7().as_u128(),
        at,
        operator: text(operator),
        act: text(act),
        subject: text(subject),
        outcome: text(outcome),
    }
}

/// Reads an operator from its snapshot.
///
/// # Errors
/// [`StoreError::Corrupt`] where it is damaged, or another's.
pub fn read(id: OperatorId, snapshot: &str) -> Result<Operator, StoreError> {
    let read = serde_json::from_str::<Operator>(snapshot).ok().filter(|operator| operator.id == id);
    read.ok_or_else(|| StoreError::Corrupt(format!("the stored operator {} cannot be read", id.0)))
}
