//! Whose hand changes the store for a command: the running server's, or else this process's own, which takes the store
//! for as long.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use reqwest::Client;

use super::{Failure, opening};
use crate::config::Config;
use crate::engine::changes::{Change, ChangeError, Changes, Done};
use crate::engine::lane::Lanes;
use crate::engine::lease::LeaseError;
use crate::engine::start;
use crate::http::control::{self, Wanted};
use crate::store::{STORE_ID, Store};

/// Longer than the server ever waits for its store.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Hand {
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

impl Hand {
    /// # Errors
    /// There is no store, or it is another one than the server's here; a server elsewhere holds it.
    pub async fn reach(config: &Config, absent: Absent) -> Result<Self, Failure> {
        let socket = control::path(config);
        if UnixStream::connect(&socket).is_ok() {
            let store = opening::open(config).await?;
            let id = store.kept_setting(STORE_ID).await?.ok_or("the store has no id")?;
            let client = Client::builder().unix_socket(socket).timeout(PATIENCE).build()?;
            return Ok(Hand { store, way: Way::Server { client, store: id } });
        }
        match absent {
            Absent::Make => {}
            Absent::Refuse => opening::open(config).await?.close().await?,
        }
        let (store, owner) = opening::take(config).await.map_err(|error| match error.downcast::<LeaseError>() {
            Ok(held) => format!(
                "{held}, and no server answers at {}: run this where that server runs, with its data.dir",
                socket.display()
            )
            .into(),
            Err(error) => error,
        })?;
        let lanes = opening::start_lanes(config, store.clone(), &owner).await?;
        let changes = start::start_changes(config, store.clone(), lanes.clone(), vec![Arbiter::current()]);
        Ok(Hand { store, way: Way::Own { changes, lanes } })
    }

    /// # Errors
    /// As the change's, or the server was lost meanwhile: then it may have been made.
    pub async fn make(&self, change: Change) -> Result<Done, Failure> {
        match &self.way {
            Way::Own { changes, .. } => Ok(changes.make(change).await?),
            Way::Server { client, store } => {
                let wanted = Wanted { store: store.clone(), change };
                let ask = client.post(format!("http://localhost{}", control::CHANGES)).json(&wanted);
                let answer = ask.send().await.map_err(|error| lost(&error))?;
                if answer.status().is_success() {
                    return answer.json().await.map_err(|error| lost(&error));
                }
                Err(answer.json::<ChangeError>().await.map_err(|error| lost(&error))?.into())
            }
        }
    }

    /// # Errors
    /// The store does not answer.
    pub async fn leave(self) -> Result<(), Failure> {
        match self.way {
            Way::Own { lanes, .. } => lanes.stop().await,
            Way::Server { .. } => {}
        }
        self.store.close().await?;
        Ok(())
    }
}

fn lost(error: &reqwest::Error) -> Failure {
    format!("the server was lost meanwhile ({error}): look whether it was done").into()
}
