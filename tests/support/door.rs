//! A door before a gateway, which can be shut or held: the channel behind it refuses connections, or says nothing.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Open,
    /// Connections are taken and nothing is said.
    Silent,
    /// Connections are cut off at once.
    Shut,
}

pub struct Door {
    pub address: SocketAddr,
    state: watch::Sender<State>,
}

impl Door {
    pub async fn before(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the door listens");
        let address = listener.local_addr().expect("it has an address");
        let (state, seen) = watch::channel(State::Open);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, gateway, seen.clone()));
            }
        });
        Door { address, state }
    }

    pub fn becomes(&self, state: State) {
        self.state.send_replace(state);
    }
}

/// Carries bytes both ways for as long as the door is open. A connection that was held ends once that is over.
async fn pass(mut client: TcpStream, gateway: SocketAddr, mut state: watch::Receiver<State>) -> io::Result<()> {
    if *state.borrow_and_update() == State::Open {
        let mut server = TcpStream::connect(gateway).await?;
        tokio::select! {
            carried = tokio::io::copy_bidirectional(&mut client, &mut server) => return carried.map(drop),
            _ = state.changed() => {}
        }
    }
    while *state.borrow_and_update() == State::Silent && state.changed().await.is_ok() {}
    Ok(())
}
