//! What commands change in a store: the process that owns it does it for them, by its lanes. One change at a time, so that
//! what one has read is still true when it writes.

use std::sync::Arc;

use actix::ArbiterHandle;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::accounts::Accounts;
use super::carrier::Threads;
use super::cell::Cell;
use super::directory::{Bounds, Directory, Gauge};
use super::lane::{Admission, WriteError};
use super::letter::TellError;
use super::operator::{self, Operators};
use super::platform::{self, Platforms, Told};
use super::ports::{DeadLetters, HeadReads, Lanes, OperatorReads, PlatformReads, Salts, Time};
use super::quiet::{Quietly, Word};
use crate::domain::id::PlatformId;
use crate::domain::money::Currency;
use crate::domain::operator::{Operator, OperatorId, Person, Role};
use crate::domain::platform::{Key, KeyHash, Platform, Terms, is_name};
use crate::domain::stream::StreamId;
use crate::domain::time::Instant;
use crate::domain::{operator as person, platform as shop};
use crate::store::{DeadLetterChange, OperatorAct, StoreError, Unit, last_key};

/// Admins without whom nobody could approve what another one proposes.
const ADMINS_MIN: i64 = 2;
/// Streams of a kind that are told something at once; changes come one by one.
const IN_MEMORY_MAX: usize = 64;
/// Dead letters that one change goes through: it ends within a second or so, and the next one goes on.
const DEAD_LETTERS_AT_ONCE: u32 = 500;

/// What a command wants done.
#[derive(Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// With its first key.
    CreatePlatform {
        terms: Terms,
        key: Key,
        webhook_secret: Box<str>,
    },
    AddKey {
        platform: Box<str>,
        key: Key,
    },
    /// Without a hint all that are in force.
    RevokeKeys {
        platform: Box<str>,
        hint: Option<Box<str>>,
    },
    /// A platform gets shares from another one, from now on.
    AcceptShares {
        platform: Box<str>,
        from: Box<str>,
    },
    /// And no more. Orders that were created before keep their shares.
    RefuseShares {
        platform: Box<str>,
        from: Box<str>,
    },
    /// An admin more, with a first key, as long as there are too few for two to agree: see [`Staffing`] for all else.
    AddAdmin {
        name: Box<str>,
        key: person::Key,
    },
    ReplayDeadLetters(Choice),
    EraseDeadLetters(Choice),
}

/// What becomes of operators, once somebody with the right to it wants it. No command can ask for it without a key.
#[derive(Debug)]
pub enum Staffing {
    Add {
        person: Person,
        key: person::Key,
    },
    ChangeRole {
        name: Box<str>,
        role: Role,
    },
    AddKey {
        name: Box<str>,
        key: person::Key,
    },
    /// Without a hint all.
    RevokeKeys {
        name: Box<str>,
        hint: Option<Box<str>>,
    },
}

/// Which dead letters are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// Only of this stream.
    pub stream: Option<StreamId>,
    /// Only what tells of facts before this instant.
    pub before: Option<Instant>,
    /// Those after this one: where the change before ended.
    pub after: Option<(StreamId, u32)>,
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// What changed: platforms, operators, keys or dead letters.
    pub count: u64,
    /// What could not be read, and was left as it is.
    pub unreadable: u64,
    /// Where the next change goes on; none when all is done.
    pub next: Option<(StreamId, u32)>,
}

impl Done {
    const fn whole(count: u64) -> Self {
        Done { count, unreadable: 0, next: None }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeError {
    /// Nothing was done, for a reason that whoever asked can do something about.
    Refused(String),
    /// Nothing was done: the store does not answer, or cannot be read.
    StoreAway(String),
    /// It was done for so many, and the rest is as it was.
    Partly { count: u64, why: String },
    /// It may have been done.
    OutcomeUnknown,
}

impl std::fmt::Display for ChangeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ChangeError::Refused(why) | ChangeError::StoreAway(why) => f.write_str(why),
            ChangeError::Partly { count, why } => write!(f, "{count} are done, and no more: {why}"),
            ChangeError::OutcomeUnknown => f.write_str("the store went away meanwhile: look whether it was done"),
        }
    }
}

impl std::error::Error for ChangeError {}

impl From<StoreError> for ChangeError {
    fn from(error: StoreError) -> Self {
        ChangeError::StoreAway(error.to_string())
    }
}

impl From<WriteError> for ChangeError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Unknown => ChangeError::OutcomeUnknown,
            WriteError::Culprit(why) | WriteError::Conflict(why) => ChangeError::StoreAway(why),
            WriteError::Overloaded
            | WriteError::Duplicate
            | WriteError::Away
            | WriteError::ReferenceTaken
            | WriteError::NameTaken => ChangeError::StoreAway("the store takes nothing at the moment".to_owned()),
        }
    }
}

impl From<TellError<shop::Refusal>> for ChangeError {
    fn from(error: TellError<shop::Refusal>) -> Self {
        not_told(error, "platform", |refusal| match refusal {
            shop::Refusal::OutOfPlace => "there is such a platform already",
            shop::Refusal::TooManyKeys => "it has as many keys as it may have: revoke some",
            shop::Refusal::KeyUnknown => "no such key is in force",
            shop::Refusal::KeyTaken => "the key is in force already",
            shop::Refusal::SharesUnacceptable => {
                "a platform gets shares from at most 1,000 others, and none from itself"
            }
        })
    }
}

impl From<TellError<person::Refusal>> for ChangeError {
    fn from(error: TellError<person::Refusal>) -> Self {
        not_told(error, "operator", |refusal| match refusal {
            person::Refusal::OutOfPlace => "there is such an operator already",
            person::Refusal::TooManyKeys => "the operator has as many keys as one may have: revoke some",
            person::Refusal::KeyUnknown => "no such key is in force",
            person::Refusal::KeyTaken => "the key is in force already",
        })
    }
}

/// Why a stream of this kind does not change.
fn not_told<R>(error: TellError<R>, kind: &str, why: impl Fn(R) -> &'static str) -> ChangeError {
    match error {
        TellError::Refused(refusal) => ChangeError::Refused(why(refusal).to_owned()),
        TellError::Duplicate => ChangeError::Refused(format!("there is such a {kind} already")),
        TellError::NotFound => ChangeError::Refused(format!("there is no such {kind}")),
        TellError::Quarantined => ChangeError::Refused(format!(
            "the store does not take this {kind}'s step, or what it has of the {kind} is damaged: see the server's log, \
             and run `tongbao audit`"
        )),
        TellError::Overloaded | TellError::StoreAway => {
            ChangeError::StoreAway("the store did not take it: try again".to_owned())
        }
        TellError::OutcomeUnknown => ChangeError::OutcomeUnknown,
    }
}

/// The way to changes.
pub struct Changes {
    platforms: Arc<Directory<Platforms>>,
    operators: Arc<Directory<Operators>>,
    heads: Arc<dyn HeadReads>,
    platform_reads: Arc<dyn PlatformReads>,
    operator_reads: Arc<dyn OperatorReads>,
    dead_letters: Arc<dyn DeadLetters>,
    accounts: Arc<Accounts>,
    turn: Mutex<()>,
}

/// What changes need of the rest of the engine.
pub struct Needs {
    pub time: Arc<dyn Time>,
    pub salts: Arc<dyn Salts>,
    pub heads: Arc<dyn HeadReads>,
    pub platforms: Arc<dyn PlatformReads>,
    pub operators: Arc<dyn OperatorReads>,
    pub dead_letters: Arc<dyn DeadLetters>,
    pub lanes: Arc<dyn Lanes>,
    pub gauge: Arc<dyn Gauge>,
    pub accounts: Arc<Accounts>,
    /// In milliseconds.
    pub quarantine_retry: Vec<u64>,
    pub threads: Vec<ArbiterHandle>,
}

impl Changes {
    pub fn new(needs: Needs) -> Self {
        let (time, salts, heads, lanes) = (needs.time, needs.salts, needs.heads, needs.lanes);
        let bounds = Bounds { in_memory_max: IN_MEMORY_MAX, idle_ms: 0 };
        let (retry, gauge) = (needs.quarantine_retry, needs.gauge);
        let platforms = Quietly::new(time.clone(), salts.clone(), heads.clone(), lanes.clone());
        let carrier = Box::new(Threads::new(needs.threads.clone()));
        let platforms = Directory::new(Arc::new(platforms), carrier, gauge.clone(), bounds, retry.clone());
        let operators = Quietly::new(time, salts, heads.clone(), lanes);
        let carrier = Box::new(Threads::new(needs.threads));
        let operators = Directory::new(Arc::new(operators), carrier, gauge, bounds, retry);
        Changes {
            platforms,
            operators,
            heads,
            platform_reads: needs.platforms,
            operator_reads: needs.operators,
            dead_letters: needs.dead_letters,
            accounts: needs.accounts,
            turn: Mutex::new(()),
        }
    }

    /// Where platforms are at home.
    pub fn platforms(&self) -> &Arc<Directory<Platforms>> {
        &self.platforms
    }

    /// Where operators are at home.
    pub fn operators(&self) -> &Arc<Directory<Operators>> {
        &self.operators
    }

    /// Does what a command wants; returns once it is durable. Runs on a thread that may hold cells.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing was done unless it is [`ChangeError::OutcomeUnknown`].
    pub async fn make(&self, change: Change) -> Result<Done, ChangeError> {
        let _turn = self.turn.lock().await;
        match change {
            Change::CreatePlatform { terms, key, webhook_secret } => self.create(terms, key, webhook_secret).await,
            Change::AddKey { platform, key } => {
                let id = self.named(&platform).await?;
                self.check_unknown(key.hash).await?;
                self.tell_platform(id, Told::AddKey(key)).await?;
                Ok(Done::whole(1))
            }
            Change::RevokeKeys { platform, hint } => self.revoke(&platform, hint.as_deref()).await,
            Change::AcceptShares { platform, from } => {
                let (id, from) = (self.named(&platform).await?, self.named(&from).await?);
                self.tell_platform(id, Told::AcceptShares(from)).await?;
                Ok(Done::whole(1))
            }
            Change::RefuseShares { platform, from } => {
                let (id, from) = (self.named(&platform).await?, self.named(&from).await?);
                self.tell_platform(id, Told::RefuseShares(from)).await?;
                Ok(Done::whole(1))
            }
            Change::AddAdmin { name, key } => {
                if self.operator_reads.in_force(Role::Admin, self.now()).await? >= ADMINS_MIN {
                    return Err(ChangeError::Refused(
                        "two admins are in force: one of them proposes an operator, and the other one approves"
                            .to_owned(),
                    ));
                }
                let act = operator::acted(self.now(), "command line", "operator_added", &name, "done");
                self.add_operator(Person { name, role: Role::Admin }, key).await?;
                self.audit(act).await?;
                Ok(Done::whole(1))
            }
            Change::ReplayDeadLetters(choice) => {
                let at = self.now();
                self.each(choice, |(stream, sequence)| DeadLetterChange::Replayed { stream, sequence, at }).await
            }
            Change::EraseDeadLetters(choice) => {
                self.each(choice, |(stream, sequence)| DeadLetterChange::Erased { stream, sequence }).await
            }
        }
    }

    /// Does what becomes of operators; returns once it is durable. Whether it may be done was decided before.
    ///
    /// # Errors
    /// As [`Changes::make`].
    pub async fn staff(&self, staffing: Staffing) -> Result<Done, ChangeError> {
        let _turn = self.turn.lock().await;
        match staffing {
            Staffing::Add { person, key } => self.add_operator(person, key).await,
            Staffing::ChangeRole { name, role } => {
                let id = self.operator_named(&name).await?;
                self.tell_operator(id, operator::Told::ChangeRole(role)).await
            }
            Staffing::AddKey { name, key } => {
                let id = self.operator_named(&name).await?;
                self.check_operator_key(key.hash).await?;
                self.tell_operator(id, operator::Told::AddKey(key)).await
            }
            Staffing::RevokeKeys { name, hint } => self.revoke_of_operator(&name, hint.as_deref()).await,
        }
    }

    /// Bounds what a platform may owe; returns once it is durable.
    ///
    /// # Errors
    /// As [`Changes::make`].
    pub async fn bound_debt(
        &self,
        platform: PlatformId,
        currency: Currency,
        most_minor: Option<i64>,
    ) -> Result<Done, ChangeError> {
        let _turn = self.turn.lock().await;
        self.tell_platform(platform, Told::BoundDebt(currency, most_minor)).await?;
        Ok(Done::whole(1))
    }

    /// Writes what somebody did, or was refused.
    ///
    /// # Errors
    /// It may not have been written.
    pub async fn audit(&self, act: OperatorAct) -> Result<(), WriteError> {
        self.platforms.host().lanes.write(Admission::Existing, Unit::OperatorAct(Box::new(act))).await
    }

    fn now(&self) -> Instant {
        self.platforms.host().time.now()
    }

    fn reads(&self) -> &dyn PlatformReads {
        self.platform_reads.as_ref()
    }

    async fn tell_platform(&self, id: PlatformId, told: Told) -> Result<(), ChangeError> {
        self.platforms.tell(u128::from(id.0), Word::Told(told)).await?;
        Ok(())
    }

    async fn tell_operator(&self, id: OperatorId, told: operator::Told) -> Result<Done, ChangeError> {
        self.operators.tell(u128::from(id.0), Word::Told(told)).await?;
        Ok(Done::whole(1))
    }

    async fn add_operator(&self, person: Person, key: person::Key) -> Result<Done, ChangeError> {
        if !is_name(&person.name) {
            return Err(ChangeError::Refused("an operator's name is 1 to 64 of 0-9, a-z and -".to_owned()));
        }
        if self.operator_reads.named(&person.name).await?.is_some() {
            return Err(ChangeError::Refused(format!("there is an operator {} already", person.name)));
        }
        self.check_operator_key(key.hash).await?;
        let last = self.operator_reads.last().await?.map_or(0, |last| last.0);
        let id = last.checked_add(1).map(OperatorId);
        let id = id.ok_or_else(|| ChangeError::Refused("no further operator has a number".to_owned()))?;
        let told = Word::Told(operator::Told::Add { person, key });
        self.operators.create(Cell::fresh(Operator::unborn(id), ()), told).await?;
        Ok(Done::whole(1))
    }

    async fn revoke_of_operator(&self, name: &str, hint: Option<&str>) -> Result<Done, ChangeError> {
        let id = self.operator_named(name).await?;
        let head = self.heads.head(id.into()).await?;
        let head = head.ok_or_else(|| ChangeError::Refused(format!("the operator {name} has no journal")))?;
        let operator = operator::read(id, &head.snapshot)?;
        let meant = operator.keys.iter().filter(|key| hint.is_none_or(|hint| *key.hint == *hint));
        let hashes: Vec<KeyHash> = meant.map(|key| key.hash).collect();
        if hashes.is_empty() {
            return Err(ChangeError::Refused(format!("{name} has no such key in force")));
        }
        let count = hashes.len() as u64;
        self.tell_operator(id, operator::Told::RevokeKeys(hashes)).await?;
        Ok(Done::whole(count))
    }

    async fn operator_named(&self, name: &str) -> Result<OperatorId, ChangeError> {
        let named = self.operator_reads.named(name).await?;
        Ok(named.ok_or_else(|| ChangeError::Refused(format!("there is no operator {name}")))?.id)
    }

    /// A key belongs to one operator, for ever.
    async fn check_operator_key(&self, hash: KeyHash) -> Result<(), ChangeError> {
        match self.operator_reads.has_key(hash).await? {
            true => Err(ChangeError::Refused("the key is or was an operator's already".to_owned())),
            false => Ok(()),
        }
    }

    async fn create(&self, terms: Terms, key: Key, webhook_secret: Box<str>) -> Result<Done, ChangeError> {
        if !is_name(&terms.name) {
            return Err(ChangeError::Refused("a platform's name is 1 to 64 of 0-9, a-z and -".to_owned()));
        }
        if self.reads().named(&terms.name).await?.is_some() {
            return Err(ChangeError::Refused(format!("there is a platform {} already", terms.name)));
        }
        self.check_unknown(key.hash).await?;
        let last = self.reads().last().await?.map_or(0, |last| last.0);
        let id = last.checked_add(1).map(PlatformId);
        let id = id.ok_or_else(|| ChangeError::Refused("no further platform has a number".to_owned()))?;
        // Before its key is in force: no order of it may come before it is known where its money goes.
        self.accounts.know(id, &terms.name);
        let told = Word::Told(Told::Create { terms, key, webhook_secret });
        self.platforms.create(Cell::fresh(Platform::unborn(id), ()), told).await?;
        Ok(Done::whole(1))
    }

    async fn revoke(&self, name: &str, hint: Option<&str>) -> Result<Done, ChangeError> {
        let id = self.named(name).await?;
        let head = self.heads.head(id.into()).await?;
        let head = head.ok_or_else(|| ChangeError::Refused(format!("the platform {name} has no journal")))?;
        let platform = platform::read(id, &head.snapshot)?;
        let meant = platform.keys.iter().filter(|key| hint.is_none_or(|hint| *key.hint == *hint));
        let hashes: Vec<KeyHash> = meant.map(|key| key.hash).collect();
        if hashes.is_empty() {
            return Err(ChangeError::Refused(format!("{name} has no such key in force")));
        }
        let count = hashes.len() as u64;
        self.tell_platform(id, Told::RevokeKeys(hashes)).await?;
        Ok(Done::whole(count))
    }

    async fn named(&self, name: &str) -> Result<PlatformId, ChangeError> {
        let named = self.reads().named(name).await?;
        named.ok_or_else(|| ChangeError::Refused(format!("there is no platform {name}")))
    }

    /// A key belongs to one platform, for ever.
    async fn check_unknown(&self, hash: KeyHash) -> Result<(), ChangeError> {
        match self.reads().has_key(hash).await? {
            true => Err(ChangeError::Refused("the key is or was a platform's already".to_owned())),
            false => Ok(()),
        }
    }

    async fn each(
        &self,
        choice: Choice,
        fate: impl Fn((StreamId, u32)) -> DeadLetterChange,
    ) -> Result<Done, ChangeError> {
        // Sequences begin at 1.
        let after = choice.after.or(choice.stream.map(|stream| (stream, 0)));
        let page = self.dead_letters.dead(after, DEAD_LETTERS_AT_ONCE).await?;
        let is_full = page.len() >= usize::try_from(DEAD_LETTERS_AT_ONCE).unwrap_or(usize::MAX);
        let last = last_key(&page);
        if is_full && last.is_none() {
            return Err(ChangeError::StoreAway(format!("{DEAD_LETTERS_AT_ONCE} dead letters in a row cannot be read")));
        }
        let is_meant = |stream: StreamId| choice.stream.is_none_or(|only| only == stream);
        let next = last.filter(|(stream, _)| is_full && is_meant(*stream));
        let (mut meant, mut unreadable) = (Vec::new(), 0);
        for row in page {
            match (row.key, row.value, choice.before) {
                (Some((stream, _)), _, _) if !is_meant(stream) => {}
                (Some(key), _, None) => meant.push(key),
                (Some(key), Ok(letter), Some(before)) if letter.at < before => meant.push(key),
                (Some(_), Ok(_), Some(_)) => {}
                // Nobody knows how old it is, or whose.
                (Some(_), Err(_), Some(_)) | (None, _, _) => unreadable += 1,
            }
        }
        let lanes = &self.platforms.host().lanes;
        let writes = meant.into_iter().map(|key| lanes.write(Admission::Existing, Unit::DeadLetter(fate(key))));
        let verdicts = join_all(writes).await;
        let count = verdicts.iter().filter(|verdict| verdict.is_ok()).count() as u64;
        if verdicts.contains(&Err(WriteError::Unknown)) {
            return Err(ChangeError::OutcomeUnknown);
        }
        match verdicts.into_iter().find_map(Result::err).map(ChangeError::from) {
            None => Ok(Done { count, unreadable, next }),
            Some(error) if count == 0 => Err(error),
            Some(error) => Err(ChangeError::Partly { count, why: error.to_string() }),
        }
    }
}
