//! Who changes the store for a command: the running server, or else this process, which takes the store for as long.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Arbiter;
use reqwest::Client;

use super::{Failure, opening};
use crate::config::Config;
use crate::engine::accounts::Accounts;
use crate::engine::changes::{Change, ChangeError, Changes, Done};
use crate::engine::lane::Lanes;
use crate::engine::lease::{LeaseError, Role};
use crate::engine::start;
use crate::http::control::{self, Wanted};
use crate::store::{STORE_ID, Store};

/// Longer than the server ever waits for its store.
const PATIENCE: Duration = Duration::from_secs(30);
/// A server that starts has the store before it can be asked, and another command has it for a moment.
const HELD_FOR: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// What a store has that may not answer any more.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

pub struct Changer {
    /// For whoever reads.
    pub store: Arc<dyn Store>,
    way: Way,
}

enum Way {
    Server { client: Client, store: String },
    Own { changes: Arc<Changes>, lanes: Lanes },
}

/// What is done where there is no store yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    Make,
    Refuse,
}

impl Changer {
    /// Waits for a while for a server that is starting, and for another command to end.
    ///
    /// # Errors
    /// There is no store, or somebody else holds it.
    pub async fn reach(config: &Config, absent: Absent) -> Result<Self, Failure> {
        let deadline = Instant::now() + HELD_FOR;
        loop {
            match Self::try_to_reach(config, absent).await {
                Err(Unreached::Held(_)) if Instant::now() < deadline => tokio::time::sleep(LOOK_AGAIN).await,
                Err(Unreached::Held(why)) => return Err(why.into()),
                Err(Unreached::Failed(why)) => return Err(why),
                Ok(changer) => return Ok(changer),
            }
        }
    }

    async fn try_to_reach(config: &Config, absent: Absent) -> Result<Self, Unreached> {
        let mut looked_at = None;
        if opening::is_there(config).await? || absent == Absent::Refuse {
            let store = opening::open(config).await?;
            let id = store.kept_setting(STORE_ID).await?.ok_or("the store has no id")?;
            let socket = control::path(config, &id);
            match UnixStream::connect(&socket) {
                Ok(_) => {
                    let client = Client::builder().unix_socket(socket).timeout(PATIENCE).build()?;
                    return Ok(Changer { store, way: Way::Server { client, store: id } });
                }
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {}
                Err(error) => {
                    let socket = socket.display();
                    return Err(format!("{socket}, by which the server is asked, cannot be used: {error}").into());
                }
            }
            store.close().await?;
            looked_at = Some(socket);
        }
        let (store, owner) = opening::take(config, Role::Command).await.map_err(|error| match error.downcast() {
            Ok(error) => held(*error, looked_at.as_deref()),
            Err(error) => Unreached::Failed(error),
        })?;
        let lanes = match opening::start_lanes(config, store.clone(), &owner).await {
            Ok(lanes) => lanes,
            Err(error) => {
                store.release(owner.epoch).await?;
                return Err(error.into());
            }
        };
        // No account is served here.
        let accounts = Arc::new(Accounts::new(Arc::new(config.clone())));
        let changes = start::start_changes(config, store.clone(), lanes.clone(), accounts, vec![Arbiter::current()]);
        Ok(Changer { store, way: Way::Own { changes, lanes } })
    }

    /// # Errors
    /// As the change's; [`ChangeError::OutcomeUnknown`] too where the server was lost meanwhile.
    pub async fn make(&self, change: Change) -> Result<Done, ChangeError> {
        match &self.way {
            Way::Own { changes, .. } => changes.make(change).await,
            Way::Server { client, store } => {
                let wanted = Wanted { store: store.clone(), change };
                let ask = client.post(format!("http://localhost{}", control::CHANGES)).json(&wanted);
                let answer = ask.send().await.map_err(|_| ChangeError::OutcomeUnknown)?;
                let status = answer.status();
                if status.is_success() {
                    return answer.json().await.map_err(|_| ChangeError::OutcomeUnknown);
                }
                let told = answer.json::<ChangeError>().await;
                Err(told.unwrap_or_else(|_| ChangeError::Refused(format!("the server answers {status}"))))
            }
        }
    }

    /// # Errors
    /// The store does not answer.
    pub async fn leave(self) -> Result<(), Failure> {
        match self.way {
            Way::Own { lanes, .. } => tokio::time::timeout(LEAVE_WITHIN, lanes.stop()).await?,
            Way::Server { .. } => {}
        }
        tokio::time::timeout(LEAVE_WITHIN, self.store.close()).await??;
        Ok(())
    }
}

/// Why nothing can be changed.
enum Unreached {
    /// Somebody else holds the store, for now.
    Held(String),
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Unreached {
    fn from(error: E) -> Self {
        Unreached::Failed(error.into())
    }
}

fn held(error: LeaseError, socket: Option<&Path>) -> Unreached {
    match (error, socket) {
        (error @ LeaseError::Held(_), Some(socket)) => Unreached::Held(format!(
            "{error}, and no server answers at {}: run this where that server runs, with its data.dir",
            socket.display()
        )),
        (error @ LeaseError::Held(_), None) => Unreached::Held(error.to_string()),
        (error @ LeaseError::Store(_), _) => Unreached::Failed(error.into()),
    }
}
