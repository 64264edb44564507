//! PostgreSQL over TLS: who is believed to be the server.
//!
//! The certificates beside this were made with `openssl` for a hundred years, for the name `localhost` and for nothing
//! but these tests; the authorities' keys were thrown away.

use std::sync::OnceLock;
use std::time::Duration;

use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, query_as};
use tongbao::domain::time::Instant;
use tongbao::store::{self, Birth, StoreError};

use super::postgres::{self, Cluster};

const AUTHORITY: &str = "authority.pem";
const STRANGER: &str = "stranger.pem";

/// The URL of a database by its socket, and by TLS if the server's name is `host` and `authority` vouches for it.
fn urls(cluster: &Cluster, host: &str, authority: &str) -> (String, String) {
    let socket = cluster.database();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/store/certificates/");
    let tcp = cluster.over_tcp(&socket).replace("127.0.0.1", host);
    (socket, format!("{tcp}?sslmode=verify-full&sslrootcert={root}{authority}"))
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        Cluster::start_with_tls(include_str!("certificates/server.pem"), include_str!("certificates/server.key"))
    })
}

/// As libpq has it: whoever names an authority wants the server to be vouched for, whatever the name of the mode.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn report_an_authority_that_is_named_is_asked_under_sslmode_require() {
    let require = |authority| urls(cluster(), "127.0.0.1", authority).1.replace("verify-full", "require");
    migrate(&require(AUTHORITY)).await.expect("the server is believed, whatever its name");
    let refused = migrate(&require(STRANGER)).await.err().expect("a stranger's word is none");
    assert!(matches!(&refused, StoreError::Unavailable(text) if text.contains("UnknownIssuer")), "{refused}");
}

async fn migrate(url: &str) -> Result<std::sync::Arc<dyn store::Store>, StoreError> {
    let store = store::open(&SecretString::from(url), 2, Duration::from_secs(1))?;
    store.migrate(Birth { mode: "sandbox", at: Instant::EPOCH }).await?;
    Ok(store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_the_right_authority_vouches_for_is_spoken_to_in_secret() {
    let (socket, tls) = urls(cluster(), "localhost", AUTHORITY);
    let store = migrate(&tls).await.expect("the server is believed");
    let owner = store.owner().await.expect("readers connect as well");
    store.take_over(&owner, "test").await.expect("the writer writes").expect("nobody else is there");

    let options: PgConnectOptions = socket.parse().expect("the address is PostgreSQL's");
    let mut beside = options.connect().await.expect("another comes by the socket");
    let sessions: Vec<(bool,)> = query_as(
        "SELECT s.ssl FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
         WHERE a.application_name = 'tongbao' AND a.datname = current_database()",
    )
    .fetch_all(&mut beside)
    .await
    .expect("sessions are listed");
    assert!(sessions.len() >= 2, "the writer's and a reader's: {sessions:?}");
    assert!(sessions.iter().all(|(encrypted,)| *encrypted), "{sessions:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_be_believed_is_refused_in_clear_words() {
    for (why, server, host, authority, says) in [
        ("a strange authority", cluster(), "localhost", STRANGER, "UnknownIssuer"),
        ("another name", cluster(), "127.0.0.1", AUTHORITY, "not valid for name"),
        ("no TLS at all", postgres::shared(), "localhost", AUTHORITY, "server does not support TLS"),
    ] {
        let (_, url) = urls(server, host, authority);
        let refused = migrate(&url).await.err().expect(why);
        assert!(matches!(&refused, StoreError::Unavailable(text) if text.contains(says)), "{why}: {refused}");
    }
}
